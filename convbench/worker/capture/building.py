"""Builds the model and its inputs from what a user named: `package.module:Model`, `net.py:Net`, shapes and dtypes."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from .problems import CaptureError, configuration_of, of_error, one_of


def found(name: str) -> Any:
    """What `package.module:name` or `file.py:name` names; raises CaptureError."""
    path, _, attribute = name.rpartition(":")
    is_file = path.endswith(".py")
    command = f"python {path}" if is_file else f"python -c 'import {path}'"
    with of_error(f"cannot import {path}", hint=f"see how Python runs it: {command}"):
        module = _file(Path(path)) if is_file else _module(path)
    thing: Any = module
    for part in attribute.split("."):
        with of_error(f"cannot import {path}:{attribute}"):  # a package may import what it has only now
            thing = getattr(thing, part, _ABSENT)
        if thing is _ABSENT:
            raise CaptureError(f"{path} has no {attribute}", hint=_offered(module, attribute))
    return thing


_ABSENT = object()


def _offered(module: Any, attribute: str) -> str:
    """What a module has in place of a name: similar names, else its own classes and functions."""
    held = vars(module)
    names = [each for each in dir(module) if each[0] != "_" and not isinstance(held.get(each), ModuleType)]
    if similar := one_of(attribute, names):
        return similar
    if own := sorted(name for name, value in held.items() if _is_own(value, module)):
        return f"it has {', '.join(own[:10])}"
    name = module.__name__
    how = f"none of its {len(names)} names is similar: python -c 'import {name}; print(dir({name}))' lists them"
    return how if names else "it defines no class and no function"


def _module(name: str) -> Any:
    """An installed module, or one of the current folder."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # another module that it imports is missing
        similar = one_of(name, [each.name for each in pkgutil.iter_modules()])
        what_to_do = "install it in this environment, or name a file: path/to/net.py:Net"
        raise CaptureError(f"no module is called {error.name}", hint=similar or what_to_do) from None


def _file(path: Path) -> Any:
    """A module from a file, whose folder becomes importable as for a script.

    A file that is loaded already is not run again: the model and its inputs may come from one.
    """
    loaded = sys.modules.get(path.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path.resolve()):
        return loaded
    if not path.is_file():
        files = [each.name for each in path.parent.glob("*.py")] if path.parent.is_dir() else []
        similar = one_of(path.name, files)
        raise CaptureError(f"{path}: no such file", hint=similar or f"this folder is {Path.cwd()}")
    if not path.read_bytes().strip():
        raise CaptureError(f"{path} is empty", hint="write a class or a function there that makes the model")
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _is_own(value: object, module: object) -> bool:
    """Whether a module defines a class or function, so that it may be what the user meant."""
    return callable(value) and getattr(value, "__module__", None) == getattr(module, "__name__", "")


def model(thing: Any, arguments: dict[str, Any]) -> nn.Module:
    """The module that `thing` is or returns; raises CaptureError.

    A class of transformers takes a configuration, which is made from the arguments.
    """
    if isinstance(thing, nn.Module):
        if arguments:
            raise CaptureError("it is a module already and takes no arguments", hint="give it none")
        return thing
    if not callable(thing):
        raise CaptureError(
            f"it is of type {type(thing).__name__}; expected a module, or what returns one when called",
            hint="name a class, a function or a model",
        )
    configuration = configuration_of(thing)
    if configuration and "config" not in arguments:
        arguments = {"config": configuration(**arguments)}
    built = thing(**arguments)
    if not isinstance(built, nn.Module):
        raise CaptureError(
            f"it returned an object of type {type(built).__name__}; expected a torch.nn.Module",
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


def inputs(wanted: list[Any], named: str | None, *, real: bool = True) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of the model: from shapes and dtypes as [name or None, shape, dtype], or from a user's function.

    Numbers are zeros and truths are true; they are valid indices for any table. Where they are not `real`, they have no
    memory.
    """
    if named is None:
        made = [
            (name, _tensor(shape, getattr(torch, dtype), "cpu" if real else "meta")) for name, shape, dtype in wanted
        ]
        return tuple(each for name, each in made if name is None), {name: each for name, each in made if name}
    thing = found(named)
    with of_error(f"{named} failed", hint="it is called without arguments, and returns what the model is called with"):
        made_by_user = thing() if callable(thing) else thing
    if isinstance(made_by_user, dict):
        return (), made_by_user
    return (tuple(made_by_user), {}) if isinstance(made_by_user, (tuple, list)) else ((made_by_user,), {})


def _tensor(shape: list[int], dtype: torch.dtype, device: str) -> torch.Tensor:
    make = torch.ones if dtype is torch.bool else torch.zeros
    return make(shape, dtype=dtype, device=device)
