"""Builds the model and its inputs from what a user named: `package.module:Model`, `net.py:Net`, shapes and dtypes."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .problems import CaptureError, of_error


def found(name: str) -> Any:
    """What `package.module:name` or `file.py:name` names; raises CaptureError."""
    path, _, attribute = name.rpartition(":")
    is_file = path.endswith(".py")
    what_to_do = f"see how Python runs it: python {path if is_file else f'-m {path}'}"
    with of_error(f"cannot import {path}", hint=what_to_do):
        module = _file(Path(path)) if is_file else importlib.import_module(path)
    thing: Any = module
    for part in attribute.split("."):
        if not hasattr(thing, part):
            offered = sorted(name for name, value in vars(module).items() if _is_own(value, module))
            raise CaptureError(
                f"{path} has no {attribute}", hint=f"it has {', '.join(offered[:10])}" if offered else None
            )
        thing = getattr(thing, part)
    return thing


def _file(path: Path) -> Any:
    """A module from a file, whose folder becomes importable as for a script."""
    if not path.is_file():
        raise CaptureError(f"{path}: no such file")
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _is_own(value: object, module: object) -> bool:
    """Whether a module defines a class or function, so that it may be what the user meant."""
    return callable(value) and getattr(value, "__module__", None) == getattr(module, "__name__", "")


def model(thing: Any, arguments: dict[str, Any], name: str) -> nn.Module:
    """The module that `thing` is or returns; raises CaptureError.

    A class of transformers takes a configuration, which is made from the arguments.
    """
    if isinstance(thing, nn.Module):
        if arguments:
            raise CaptureError(f"{name} is a module already and takes no arguments", hint="leave out --arg")
        return thing
    if not callable(thing):
        raise CaptureError(
            f"{name} is of type {type(thing).__name__}; expected a module, or what returns one when called"
        )
    configured = getattr(thing, "config_class", None)
    if isinstance(thing, type) and callable(configured) and "config" not in arguments:
        arguments = {"config": configured(**arguments)}
    built = thing(**arguments)
    if not isinstance(built, nn.Module):
        raise CaptureError(
            f"{name} returned an object of type {type(built).__name__}; expected a torch.nn.Module",
            hint="write a function that returns the module alone, and name that",
        )
    return built


@contextlib.contextmanager
def without_weights() -> Iterator[None]:
    """Modules that are built inside have parameters without memory, on torch's `meta` device.

    Other tensors stay real, because constructors read numbers from them.
    """
    register = nn.Module.register_parameter

    def on_meta(self: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        register(self, name, parameter)
        registered = self._parameters[name]
        if registered is not None and not registered.is_meta and type(registered) is nn.Parameter:
            meta = nn.Parameter(registered.detach().to("meta"), requires_grad=registered.requires_grad)
            meta.__dict__.update(registered.__dict__)
            self._parameters[name] = meta

    nn.Module.register_parameter = on_meta  # type: ignore[assignment, method-assign]  # for the time of this block
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]  # the same function again


def inputs(wanted: list[Any], named: str | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of the model: from shapes and dtypes as [name or None, shape, dtype], or from a user's function.

    Numbers are zeros and truths are true; they are valid indices for any table.
    """
    if named is None:
        made = [(name, _tensor(shape, getattr(torch, dtype))) for name, shape, dtype in wanted]
        return tuple(each for name, each in made if name is None), {name: each for name, each in made if name}
    thing = found(named)
    with of_error(f"{named} failed", hint="it is called without arguments, and returns what the model is called with"):
        made_by_user = thing() if callable(thing) else thing
    if isinstance(made_by_user, dict):
        return (), made_by_user
    return (tuple(made_by_user), {}) if isinstance(made_by_user, (tuple, list)) else ((made_by_user,), {})


def _tensor(shape: list[int], dtype: torch.dtype) -> torch.Tensor:
    return torch.ones(shape, dtype=dtype) if dtype is torch.bool else torch.zeros(shape, dtype=dtype)
