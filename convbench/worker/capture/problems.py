"""What keeps a model from being captured, as one message and what to do."""

from __future__ import annotations

import contextlib
import inspect
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

#: Folders whose lines are not the user's. Packages that are installed may lie in Python's own.
_LIBRARIES = (str(Path(torch.__file__).parent), str(Path(__file__).parent), "<frozen")
_PYTHON, _INSTALLED = sysconfig.get_path("stdlib"), "-packages"
#: The longest list of arguments in a hint, characters.
_LONGEST_ARGUMENTS = 300
#: Characters of an error's text that are kept.
LONGEST = 600


class CaptureError(Exception):
    """Why a model cannot be captured; `hint` is what to do."""

    def __init__(self, reason: str, *, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


@contextlib.contextmanager
def of_error(what: str, *, hint: str | None = None) -> Iterator[None]:
    """Turn an error of the user's code into a CaptureError: what failed, where in the user's code, and how."""
    try:
        yield
    except (CaptureError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit too: a script that is imported may end
        raise CaptureError(f"{what}{place(error)}: {described(error)}", hint=of_device(error) or hint) from error


def of_device(error: BaseException) -> str | None:
    """What to do where the code wants a graphics processor; None for any other error."""
    wants_one = any(word in str(error).lower() for word in ("cuda", "nvidia"))
    return "a capture runs on the processor: build the model without a device of its own" if wants_one else None


def described(error: BaseException) -> str:
    """`ValueError: expected 3 channels`, with the first lines of a long text."""
    text = " ".join(str(error).split())
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def place(error: BaseException) -> str:
    """` at net.py:31`, the last line of the user's code; nothing where there is none."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    return f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def _is_users(file: str) -> bool:
    is_pythons = file.startswith(_PYTHON) and _INSTALLED not in file
    return not is_pythons and not file.startswith(_LIBRARIES)


def arguments_of(function: Any) -> str:
    """`x, mask=None, *, ids`, the arguments of a function or class without their types."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return "what its class says"
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    text = str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))[1:-1]
    return text if len(text) <= _LONGEST_ARGUMENTS else f"{text[:_LONGEST_ARGUMENTS]}..."
