"""Wrong convolutions, each wrong in one way, for `module: planted:<Class>`; with tests/ on PYTHONPATH.

Every class has nn.Conv2d's constructor and is right but for what its name says.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

Gradients = Callable[[Tensor, Tensor], list[Tensor]]


class Honest(torch.nn.Conv2d):
    """Nothing is wrong: a user's module that passes."""


class PadOffByOne(torch.nn.Conv2d):
    """The input lies one column further right than it should; the shape is as expected."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.roll(1, -1))


class WiderPad(torch.nn.Conv2d):
    """One more row and column of padding on each side: the shape grows."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.nn.functional.pad(x, (1, 1, 1, 1)))


class PadsItself(torch.nn.Conv2d):
    """Two more rows above and one more column on the left: right, where its output's size is declared."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.nn.functional.pad(x, (1, 0, 2, 0)))


class CutsOff(torch.nn.Conv2d):
    """The output lacks its first column and its last two rows."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[..., :-2, 1:]


class PadsItselfAndAddsOne(PadsItself):
    """One element of the output is too large."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x).clone()
        y[..., 1, 2] += 1
        return y


class GradientOfNothing(torch.nn.Conv2d):
    """The gradient of the weight is 1 too large, also for a batch without images."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight + 0
        weight.register_hook(lambda gradient: gradient + 1)
        return torch.nn.functional.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class AlwaysZero(torch.nn.Conv2d):
    """The output does not depend on the weight."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 0


class SwappedStride(torch.nn.Conv2d):
    """The strides of height and width are swapped."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(
            x, self.weight, self.bias, self.stride[::-1], self.padding, self.dilation, self.groups
        )


class SwappedDilation(torch.nn.Conv2d):
    """The dilations of height and width are swapped."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation[::-1], self.groups
        )


class SlightlyWrong(torch.nn.Conv2d):
    """One element in the middle of the last image is too large by a factor of 1.001."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        factor = torch.ones_like(y)
        factor[-1:, ..., -1, y.shape[-2] // 2, y.shape[-1] // 3] = 1.001
        return y * factor


class WrongLastTile(torch.nn.Conv2d):
    """The last channels at the last column of the last image leave out the last input channel."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        short = x.clone()
        short.select(-3, -1).zero_()
        mask = torch.zeros_like(y, dtype=torch.bool)
        mask[-1:, ..., -2:, :, -1:] = True
        return torch.where(mask, super().forward(short), y)


class ForgottenBias(torch.nn.Conv2d):
    """The bias is there and is not added."""

    def forward(self, x: Tensor) -> Tensor:
        y = self._conv_forward(x, self.weight, None)
        return y if self.bias is None else y + 0 * self.bias.view(-1, 1, 1)


class Unwritten(torch.nn.Conv2d):
    """The result's memory is handed out and never written."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return _Unwritten.apply(y)


class _Unwritten(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, y: Tensor) -> Tensor:
        return torch.empty_like(y)

    @staticmethod
    def backward(ctx: object, g: Tensor) -> Tensor:
        return torch.empty_like(g)


class OneNan(torch.nn.Conv2d):
    """One element is not a number."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        mask = torch.zeros_like(y, dtype=torch.bool)
        mask.view(-1)[7 * mask.numel() // 11] = True
        return y.masked_fill(mask, float("nan"))


class WrongWeightShape(torch.nn.Conv2d):
    """The weight has one row too many."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: tuple[int, int], **rest: object) -> None:
        super().__init__(in_channels, out_channels, kernel_size, **rest)
        full = self.weight.detach()
        self.weight = torch.nn.Parameter(torch.cat([full, full[:, :, :1]], dim=2))

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight[:, :, :-1], self.bias)


class WrongDtype(torch.nn.Conv2d):
    """The output is wider than the layer's dtype."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).double()


class Unsteady(torch.nn.Conv2d):
    """Every second call gives one more than it should."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) + (self.calls % 2 == 0)


class Accumulating(torch.nn.Conv2d):
    """Adds to the same memory at each call on the same input, and hands that out."""

    seen: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x).detach()
        if self.seen is None or not torch.equal(x, self.seen):
            self.seen, self.total = x.detach().clone(), y
        else:
            self.total += y
        return self.total


class IntegersOnly(torch.nn.Conv2d):
    """Rounds the weight to an integer: right on integers, wrong on what is timed."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight.round(), self.bias)


class Noisy(torch.nn.Conv2d):
    """As inexact as a Winograd kernel."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y * (1 + 1e-6 * torch.cos(y))


class _Gradients(torch.nn.Conv2d, ABC):
    """Right forward; what `spoil` does to (grad_input, grad_weight, grad_bias) shows in the gradients alone."""

    @abstractmethod
    def spoil(self, grads: list[Tensor | None], x: Tensor, g: Tensor, again: Gradients) -> list[Tensor | None]:
        """Change what is right; `again` computes the gradients of another x and g."""

    def forward(self, x: Tensor) -> Tensor:
        return _Spoiled.apply(x, self.weight, self.bias, self)


class _Spoiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor, weight: Tensor, bias: Tensor | None, layer: _Gradients) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        ctx.layer = layer
        return layer._conv_forward(x, weight, bias)

    @staticmethod
    def backward(ctx: object, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        with torch.enable_grad():
            leaves = [t.detach().requires_grad_() for t in (x, weight, bias) if t is not None]

            def gradients(x: Tensor, g: Tensor) -> list[Tensor]:
                used = [x, *leaves[1:]]
                y = ctx.layer._conv_forward(x, leaves[1], leaves[2] if len(leaves) > 2 else None)
                return list(torch.autograd.grad(y, used, g))

            found = ctx.layer.spoil(gradients(leaves[0], g), leaves[0], g, gradients)
        return (*found, *[None] * (4 - len(found)))


class ZeroGradWeight(_Gradients):
    """The gradient of the weight is zero everywhere."""

    def spoil(self, grads: list[Tensor | None], x: Tensor, g: Tensor, again: Gradients) -> list[Tensor | None]:
        grads[1] = torch.zeros_like(grads[1])
        return grads


class ImageLeftOut(_Gradients):
    """The gradient of the weight leaves out the second image of the batch."""

    def spoil(self, grads: list[Tensor | None], x: Tensor, g: Tensor, again: Gradients) -> list[Tensor | None]:
        others = g.clone()
        others[1] = 0
        grads[1] = again(x, others)[1]
        return grads


class OneTapWrong(_Gradients):
    """One element of the gradient of the weight is one too large."""

    def spoil(self, grads: list[Tensor | None], x: Tensor, g: Tensor, again: Gradients) -> list[Tensor | None]:
        grads[1].view(-1)[5 * grads[1].numel() // 7] += 1
        return grads


class OneInputGradientWrong(_Gradients):
    """One element of the gradient of the input is one too large."""

    def spoil(self, grads: list[Tensor | None], x: Tensor, g: Tensor, again: Gradients) -> list[Tensor | None]:
        grads[0] = grads[0].contiguous()
        grads[0].view(-1)[3 * grads[0].numel() // 7] += 1
        return grads


class WrongGradBias(_Gradients):
    """The gradient of the bias is a mean where it should be a sum."""

    def spoil(self, grads: list[Tensor | None], x: Tensor, g: Tensor, again: Gradients) -> list[Tensor | None]:
        grads[2] = grads[2] / g.shape[0]
        return grads


class UnwrittenGradWeight(_Gradients):
    """The gradient of the weight is handed out and never written."""

    def spoil(self, grads: list[Tensor | None], x: Tensor, g: Tensor, again: Gradients) -> list[Tensor | None]:
        grads[1] = torch.full_like(grads[1], float("nan"))  # what poisoned memory holds
        return grads


class NoGradWeight(_Gradients):
    """The gradient of the weight is missing: None."""

    def spoil(self, grads: list[Tensor | None], x: Tensor, g: Tensor, again: Gradients) -> list[Tensor | None]:
        grads[1] = None
        return grads


class DropsLastChannel(torch.nn.Conv2d):
    """The last input channel is left out, as by a loop that ends one short."""

    def forward(self, x: Tensor) -> Tensor:
        kept = torch.ones(x.shape[-3], 1, 1, dtype=x.dtype)
        kept[-1] = 0
        return super().forward(x * kept)


class ClampsInput(torch.nn.Conv2d):
    """Exact on the integers of the check, which lie in -2..2."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.clamp(-2, 2))


class DropsSmall(torch.nn.Conv2d):
    """Numbers below a half are lost; integers are not."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.nn.functional.hardshrink(x.float(), 0.4).to(x.dtype))


class GoesWrong(torch.nn.Conv2d):
    """Right for some calls, zeros afterwards."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        y = super().forward(x)
        return y if self.calls < 40 else y * 0


class Memo(torch.nn.Conv2d):
    """Gives its last result again while it believes that nothing was changed."""

    key: tuple[int, ...] | None = None
    last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        key = (x.data_ptr(), x._version, self.weight._version)
        if key != self.key or self.last is None:
            self.key, self.last = key, super().forward(x)
        return self.last


class ComputesIn(torch.nn.Conv2d):
    """Takes and gives the layer's dtype, and computes in a coarser one."""

    dtype_inside = torch.bfloat16

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(self.dtype_inside)
        return self._conv_forward(x.to(self.dtype_inside), self.weight.to(self.dtype_inside), bias).to(x.dtype)


class ComputesInBfloat16(ComputesIn):
    """Right to 8 significant bits."""


class ComputesInFloat32(ComputesIn):
    """What a layer of float64 must not do."""

    dtype_inside = torch.float32


class RoundsGradients(_Gradients):
    """Every gradient is rounded to bfloat16."""

    def spoil(self, grads: list[Tensor | None], x: Tensor, g: Tensor, again: Gradients) -> list[Tensor | None]:
        return [None if grad is None else grad.bfloat16().to(grad.dtype) for grad in grads]


class AddsUpImages(_Gradients):
    """The gradient of the weight is summed image by image in its own dtype, as torch does without bfloat16 units."""

    def spoil(self, grads: list[Tensor | None], x: Tensor, g: Tensor, again: Gradients) -> list[Tensor | None]:
        parts = [again(x[at : at + 1], g[at : at + 1])[1] for at in range(len(x))]
        grads[1] = functools.reduce(torch.add, parts)
        return grads


class SameBuffer(torch.nn.Conv2d):
    """Right, and hands out the same memory at every call."""

    buffer: Tensor | None = None
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x).detach()
        self.calls += 1
        if self.buffer is None:
            self.buffer = torch.empty_like(y)
        if self.computes():
            self.buffer.copy_(y)
        return self.buffer

    def computes(self) -> bool:
        """Whether this call writes anything."""
        return True


class StaleBuffer(SameBuffer):
    """Hands out at every second call what the call before it left there."""

    def computes(self) -> bool:
        return self.calls % 2 == 1


class SameGradientBuffers(_Gradients):
    """Right, and each gradient comes in the same memory at every call."""

    buffers: list[Tensor | None] | None = None

    def spoil(self, grads: list[Tensor | None], x: Tensor, g: Tensor, again: Gradients) -> list[Tensor | None]:
        if self.buffers is None:
            self.buffers = [torch.empty_like(grad) for grad in grads]
        return [buffer.copy_(grad) for buffer, grad in zip(self.buffers, grads, strict=True)]


class UpstreamHandedOut(_Gradients):
    """Of a 1x1 layer with one filter whose weight is 1, so that its gradient is the upstream gradient itself."""

    def spoil(self, grads: list[Tensor | None], x: Tensor, g: Tensor, again: Gradients) -> list[Tensor | None]:
        return [g if torch.equal(grads[0], g) else grads[0], *grads[1:]]


class ClampsOutput(torch.nn.Conv2d):
    """No output is larger than 128: exact on few small integers, and on what is timed."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).clamp(-128, 128)


class CutsOffOneChannel(ClampsOutput):
    """Large outputs of the first channel are cut off, and lose a per cent on what is timed."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.nn.Conv2d.forward(self, x)
        fraction = bool((y != y.round()).any())
        first = y[:, :1] * 0.99 if fraction else y[:, :1].clamp(-128, 128)
        return torch.cat([first, y[:, 1:]], dim=1)


class CoarseAndShifted(ComputesIn):
    """Computes in bfloat16, and reads the input one column further right."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.roll(1, -1))


class WrongOnceInTen(torch.nn.Conv2d):
    """One element is one too large in every tenth call, but for the first thirty."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y + self.error(y)

    def error(self, like: Tensor) -> Tensor:
        """What this call adds to a result."""
        self.calls += 1
        added = torch.zeros_like(like)
        if self.calls > 30 and self.calls % 10 == 0:
            added.view(-1)[3 * added.numel() // 7] = 1.0
        return added


class GradientWrongOnceInTen(_Gradients):
    """The same of the gradient of the weight."""

    calls = 0
    error = WrongOnceInTen.error

    def spoil(self, grads: list[Tensor | None], x: Tensor, g: Tensor, again: Gradients) -> list[Tensor | None]:
        return [grads[0], grads[1] + self.error(grads[1]), *grads[2:]]


class LosesATile(torch.nn.Conv2d):
    """The first row is lost in every tenth call, but for the first thirty."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        y = super().forward(x).clone()
        if self.calls > 30 and self.calls % 10 == 0:
            y[..., :1, :] = 0
        return y


class RoundsDifferently(torch.nn.Conv2d):
    """Right, and every second call rounds numbers with a fraction another way."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        y = super().forward(x)
        return torch.where(y == y.round(), y, y * (1 + self.calls % 2 * 2**-22))
