"""Small models whose convolutions are captured, and some that cannot be."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

#: A batch that most of these models take.
IMAGES = (2, 3, 16, 16)


class Plain(nn.Module):
    """Two equal convolutions behind a first one, and a linear layer."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, (1, 3), padding=(0, 1), groups=2) for _ in range(2))
        self.head = nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.stem(x)).relu()
        for block in self.blocks:
            x = block(x).relu()
        return self.head(x.mean((2, 3)))


class Functional(nn.Module):
    """Convolutions without modules of their own, and one module that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.second = nn.Parameter(torch.randn(4, 4, 1, 1))
        self.shared = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.conv2d(functional.conv2d(x, self.first), self.second)
        return self.shared(self.shared(x))


class Kinds(nn.Module):
    """Convolutions of all kinds; the one over two dimensions computes 2 * 36 * 1 * 4 * 4 FLOPs."""

    def __init__(self) -> None:
        super().__init__()
        self.flat = nn.Conv2d(1, 1, 6)
        self.line = nn.Conv1d(1, 1, 3)
        self.solid = nn.Conv3d(1, 1, 3)
        self.up = nn.ConvTranspose2d(1, 1, 2, stride=2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.flat(x), self.line(x[:, :, 0]), self.solid(x[:, :, None].expand(-1, -1, 3, -1, -1)), self.up(x)


class Padded(nn.Module):
    """Convolutions that torch computes on an input that is padded before."""

    def __init__(self) -> None:
        super().__init__()
        self.reflect = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")
        self.same = nn.Conv2d(4, 4, 4, padding="same")
        self.odd = nn.Conv2d(4, 4, 3, padding="same")
        self.none = nn.Conv2d(4, 4, 3, padding="valid")
        self.around = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.around(self._before(x))

    def _before(self, x: torch.Tensor) -> torch.Tensor:
        return self.none(functional.pad(self.odd(self.same(self.reflect(x))), (0, 0)))


class Inference(Padded):
    """The same in inference mode, where torch leaves operators whole."""

    @torch.inference_mode()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)


class Checkpointed(nn.Module):
    """Two convolutions of which the second is computed again in the backward pass."""

    def __init__(self, use_reentrant: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.second = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        self.use_reentrant = use_reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.second, self.first(x), use_reentrant=self.use_reentrant)


class Frozen(Plain):
    """The blocks' weights are frozen, so they compute the gradient of their input alone."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks.requires_grad_(False)


class Branching(nn.Module):
    """Decides on a number that it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        return self.layer(y) if y.sum() > 1e9 else y


class Reading(nn.Module):
    """Its constructor reads a weight, so it cannot be built without weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.largest = self.layer.weight.max().item()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) / self.largest


class Viewing(nn.Module):
    """Its constructor keeps a view of a weight that is no parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.scale = self.layer.weight.detach()[:, :1, :1, :1].flatten()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).movedim(1, 3) @ self.scale


class Caching(nn.Module):
    """Keeps what it computed, counts its calls and changes a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.lstm = nn.LSTM(14, 3, batch_first=True)
        self.calls: list[int] = []
        self.kept: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.append(1)
        self.kept = self.norm(self.layer(x))
        self.added = self.kept
        return self.lstm(self.kept.flatten(1, 2))[0]


class Linear(nn.Module):
    """Computes no convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


class Named(nn.Module):
    """Takes an argument by its name, of integers, and returns a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 3)
        self.layer = nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor, *, ids: torch.Tensor) -> dict[str, Any]:
        return {"out": self.layer(x + self.table(ids)[:, :, None, None]), "ids": ids}


class Large(nn.Module):
    """40 GB of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.rest = nn.ModuleList(nn.Linear(100_000, 10_000, bias=False) for _ in range(10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(x)


class Ten(nn.Sequential):
    """Ten different convolutions, all large enough for oneDNN."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 32, 7, stride=2, padding=3, bias=False),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.Conv2d(32, 64, 1, stride=2),
            nn.Conv2d(64, 64, 3, padding=1, groups=64),
            nn.Conv2d(64, 64, 3, padding=2, dilation=2),
            nn.Conv2d(64, 96, (1, 5), padding=(0, 2), stride=(1, 2)),
            nn.Conv2d(96, 64, (5, 1), stride=(2, 1)),
            nn.Conv2d(64, 64, 3, padding="same", groups=4),
            nn.Conv2d(64, 128, 3, padding=1, padding_mode="reflect"),
            nn.Conv2d(128, 64, 4, padding="same"),
        )


def plain(width: int) -> nn.Module:
    """A function that makes a model; what it prints is not an answer."""
    print("building", flush=True)
    return Plain(width)


def pair() -> tuple[nn.Module, str]:
    """Not a model alone."""
    return Plain(), "and a name"


def on_gpu() -> torch.Tensor:
    """As a torch without CUDA answers."""
    raise AssertionError("Torch not compiled with CUDA enabled")


def batch() -> dict[str, torch.Tensor]:
    """What `Named` takes."""
    return {"x": torch.zeros(2, 3, 8, 8), "ids": torch.zeros(2, dtype=torch.int64)}


in_hand = Plain()
number = 3


def fails() -> nn.Module:
    """Takes no arguments and fails."""
    raise ValueError("boom")


_calls: list[int] = []


def compiles() -> nn.Module:
    """Fails as an extension for CUDA does, whose second error hides the first."""
    _calls.append(1)
    if len(_calls) % 2:
        raise OSError("CUDA_HOME environment variable is not set.")
    raise ImportError("x.so: cannot open shared object file")


def lacks() -> nn.Module:
    """Needs a package that is missing."""
    import no_such_package  # type: ignore[import-not-found]  # it is missing on purpose

    return no_such_package.Net()
