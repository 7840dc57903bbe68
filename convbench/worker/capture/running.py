"""Runs a model once under fake tensors, and records its convolutions. The model stays as it was."""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from .problems import CaptureError, arguments_of, described, of_device, place
from .recorder import Modules, Paddings, Recorder

#: The largest buffer whose numbers the model may read, elements; larger ones are fake.
MOST_COPIED = 1 << 20
#: Errors of torch where code reads numbers that a fake tensor does not have.
_NEEDS_NUMBERS = ("DataDependentOutputException", "DynamicOutputShapeException", "GuardOnDataDependentSymNode")
#: Errors of torch where an operator does not say which shape it returns, by their types and by their texts.
_UNKNOWN_OPERATOR = ("UnsupportedOperatorException", "UnsupportedFakeTensorException", "UnsupportedMutationAliasing")
_NO_FAKE = re.compile("fake impl|register_fake|meta kernel|abstract impl", re.IGNORECASE)
#: The text of the error of batch normalization that gets one value of each channel.
_NEEDS_BATCH = "Expected more than 1 value per channel when training"
#: Texts of errors where code wants the memory of a tensor that has none: `.numpy()`, `.data_ptr()`, `.tolist()`.
_NEEDS_MEMORY = re.compile(
    r"\.(numpy|data_ptr|tolist|storage)\(\)|not supported for tensor subclasses|Cannot access (data pointer|storage)"
    r"|data pointer of Tensor|doesn't have storage|does not have storage"
)


class NeedsWeightsError(CaptureError):
    """The model reads a parameter that was built without memory; it has to be built for real."""


def captured(
    model: Any,
    inputs: Sequence[Any],
    named: Mapping[str, Any],
    *,
    train: bool = False,
    autocast: str | None = None,
    channels_last: bool = False,
    real: bool = False,
) -> dict[str, Any]:
    """The convolutions of one forward pass, with `train` of the backward pass too, and the size of the model.

    `inputs` and `named` are the arguments of the model. Parameters may be on torch's `meta` device. With `real` the
    model computes with real numbers. Raises CaptureError.
    """
    if not isinstance(model, nn.Module):
        raise CaptureError(f"expected a torch.nn.Module, got a {type(model).__name__}")
    modules = Modules(model)
    recorder = Recorder(modules)
    has_weights = not any(each.is_meta for each in model.parameters())
    with contextlib.ExitStack() as stack:
        stack.enter_context(_unchanged(model))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # the user's code may use what is deprecated
        if "torch._dynamo" in sys.modules:  # importing it takes a second
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        model.train(train)
        try:
            convert = _Real(channels_last=channels_last) if real else _Fake(channels_last=channels_last)
            for context in (convert, recorder, Paddings(recorder), modules, torch.set_grad_enabled(train)):
                stack.enter_context(context)
            _replace(model, convert)
            args, kwargs = convert.nested(tuple(inputs)), convert.nested(dict(named))
            with _autocast(autocast):
                output = model(*args, **kwargs)
            if train:
                recorder.is_backward = True
                _backward(output)
        except (CaptureError, KeyboardInterrupt):
            raise
        except BaseException as error:  # SystemExit too
            inner = modules.place or type(model).__name__
            if not has_weights and "meta" in str(error):
                raise NeedsWeightsError(f"in {inner}: {described(error)}") from error
            raise _problem(error, model, inner, is_backward=recorder.is_backward) from error
        parameters = sum(each.numel() for each in model.parameters())
    return {**recorder.answer(), "model": type(model).__name__, "parameters": parameters}


def _replace(model: nn.Module, convert: _Fake | _Real) -> None:
    """Give the modules converted parameters and buffers; one that several modules share stays shared.

    Parameters of lazy modules have no shape yet. They get one in the first call.
    """
    made: dict[int, torch.Tensor] = {}
    for module in model.modules():
        for tensors, converted in ((module._parameters, convert.parameter), (module._buffers, convert.buffer)):
            for name, each in list(tensors.items()):
                if each is not None and not nn.parameter.is_lazy(each):
                    if id(each) not in made:
                        made[id(each)] = converted(each)
                    setattr(module, name, made[id(each)])


def _autocast(dtype: str | None) -> contextlib.AbstractContextManager[Any]:
    return contextlib.nullcontext() if dtype is None else torch.autocast("cpu", dtype=getattr(torch, dtype))


class _Fake(FakeTensorMode):  # type: ignore[no-untyped-call]  # torch has no types there
    """Makes fake tensors on the processor of tensors of any device: they need no memory for numbers."""

    def __init__(self, *, channels_last: bool) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self._channels_last = channels_last

    def parameter(self, tensor: torch.Tensor) -> torch.Tensor:
        return nn.Parameter(self._fake(tensor), requires_grad=tensor.requires_grad)

    def buffer(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy of a small one, because constructors put numbers there on which a model may decide."""
        if tensor.is_meta or tensor.numel() > MOST_COPIED or isinstance(tensor, FakeTensor):
            return self._fake(tensor)
        return tensor.detach().cpu().clone()

    def nested(self, value: Any) -> Any:
        """The same structure of tuples, lists and dictionaries with fake tensors."""
        if isinstance(value, torch.Tensor):
            return self._fake(value).requires_grad_(value.requires_grad)
        return _mapped(self.nested, value)

    def _fake(self, tensor: torch.Tensor) -> torch.Tensor:
        with torch.utils._python_dispatch._disable_current_modes():
            meta = _in_format(tensor.detach().to("meta"), self._channels_last)
        return FakeTensor(self, meta, torch.device("cpu"))


class _Real(contextlib.nullcontext[None]):
    """Leaves tensors as they are, but those that the model may change are copies."""

    def __init__(self, *, channels_last: bool) -> None:
        super().__init__()
        self._channels_last = channels_last

    def parameter(self, tensor: torch.Tensor) -> torch.Tensor:
        formatted = _in_format(tensor.detach(), self._channels_last)
        return nn.Parameter(formatted, requires_grad=tensor.requires_grad)

    def buffer(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.detach().clone()

    def nested(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return _in_format(value, self._channels_last)
        return _mapped(self.nested, value)


def _mapped(function: Any, value: Any) -> Any:
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(map(function, value))
    return {key: function(each) for key, each in value.items()} if type(value) is dict else value


def _in_format(tensor: torch.Tensor, channels_last: bool) -> torch.Tensor:
    is_image = channels_last and tensor.dim() == 4
    return tensor.contiguous(memory_format=torch.channels_last) if is_image else tensor


@contextlib.contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Undo at the end what the run has set on modules: their modes, what they cache, hooks."""
    before = [
        (module, {name: (value, _copied(value)) for name, value in vars(module).items()}) for module in model.modules()
    ]
    try:
        yield
    finally:
        for module, kept in before:
            now = vars(module)
            for name in [name for name in now if name not in kept]:
                del now[name]
            for name, (value, copy) in kept.items():
                now[name] = value
                if type(value) in _MAPPINGS:
                    value.clear()
                    value.update(copy)
                elif type(value) is list:
                    value[:] = copy


def _copied(value: Any) -> Any:
    """A shallow copy of what can be changed in place, any other value as it is."""
    return value.copy() if type(value) is list or type(value) in _MAPPINGS else value


#: Types whose values a run may change in place; what derives from them may refuse that.
_MAPPINGS = (dict, OrderedDict, set)


def _backward(output: Any) -> None:
    """Compute the gradients of the sum of all outputs."""
    wanted = [each for each in _tensors(output, set()) if each.requires_grad]
    if not wanted:
        raise CaptureError(
            "no output depends on a parameter, so there is no backward pass", hint="capture the forward pass alone"
        )
    torch.autograd.backward(wanted, [torch.ones_like(each) for each in wanted])


def _tensors(value: Any, seen: set[int]) -> Iterator[torch.Tensor]:
    """The tensors in what a model returns: itself, or in tuples, lists, dictionaries and objects with fields."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        yield value
        return
    inner: Any = ()
    if isinstance(value, Mapping):
        inner = value.values()
    elif isinstance(value, (list, tuple, set)):
        inner = value
    elif hasattr(value, "__dict__") and not isinstance(value, (nn.Module, type)):
        inner = vars(value).values()
    for each in inner:
        yield from _tensors(each, seen)


def _problem(error: BaseException, model: nn.Module, path: str, *, is_backward: bool) -> CaptureError:
    """What went wrong in a run, with the module in which it did, and what to do."""
    name, text = type(error).__name__, str(error)
    where = f"in {path}{place(error)}"
    if name in _NEEDS_NUMBERS:
        reason = f"the model decides on numbers that it computes, {where}: {described(error)}"
        return CaptureError(reason, hint="--real runs it on real numbers, which are zeros if you give none")
    if name in _UNKNOWN_OPERATOR or _NO_FAKE.search(text):
        reason = f"the shape that an operator returns is not known, {where}: {described(error)}"
        return CaptureError(reason, hint="register it with torch.library.register_fake, or let --real run it")
    if _NEEDS_MEMORY.search(text):
        reason = f"the model reads the memory of a tensor, which has none, {where}: {described(error)}"
        return CaptureError(reason, hint="--real runs it on real numbers, with its weights")
    what = "the backward pass" if is_backward else "the forward pass"
    reason = f"{what} failed {where}: {described(error)}"
    if of_device(error):
        return CaptureError(reason, hint=of_device(error))
    if isinstance(error, MemoryError) or "allocate memory" in text:
        return CaptureError(reason, hint="run it without --real, or on a machine with more memory")
    if _NEEDS_BATCH in text:
        return CaptureError(reason, hint="batch normalization in training needs a batch of at least 2")
    return CaptureError(reason, hint=f"check the inputs: forward takes {arguments_of(model.forward) or 'nothing'}")
