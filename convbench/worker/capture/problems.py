"""What keeps a model from being captured, as one message and what to do."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

#: Folders whose lines are not the user's. Packages that are installed may lie in Python's own.
_LIBRARIES = (str(Path(torch.__file__).parent), str(Path(__file__).parent), "<frozen")
_PYTHON, _INSTALLED = sysconfig.get_path("stdlib"), "-packages"
#: The longest list of arguments in a hint, characters.
_LONGEST_ARGUMENTS = 300
#: How many similar names a hint has, and from which ratio of difflib on a name is similar.
MOST_MEANT, SIMILAR = 3, 0.75
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
        raise CaptureError(
            f"{what}{place(error)}: {described(error)}", hint=of_device(error) or of_import(error) or hint
        ) from error


def of_device(error: BaseException) -> str | None:
    """What to do where the code wants a graphics processor or its compiler; None for any other error."""
    text = str(error).lower()
    if any(word in text for word in ("cuda_home", "nvcc", "rocm_home", "hipcc")) or _is_of_triton(error):
        return "its kernels need a graphics processor: build the model with kernels for the processor, or without them"
    wants_one = any(word in text for word in ("cuda", "nvidia"))
    return "a capture runs on the processor: build the model without a device of its own" if wants_one else None


def _is_of_triton(error: BaseException) -> bool:
    return isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] == "triton"


def building_failed(error: BaseException, thing: Any) -> CaptureError:
    """Why what the user named cannot be called, with its arguments, or those of its configuration."""
    made_from = configuration_of(thing)
    takes = arguments_of(made_from or thing)
    whose = f"the arguments of {made_from.__name__}" if made_from else "its arguments"
    hint = (
        of_device(error)
        or of_import(error)
        or (f"--arg NAME=VALUE gives {whose}: {takes}" if takes else "call it in Python to see this error alone")
    )
    return CaptureError(f"building it failed{place(error)}: {described(error)}", hint=hint)


def configuration_of(thing: Any) -> Any:
    """The class of the configuration that a class of transformers takes; None for anything else."""
    configured = getattr(thing, "config_class", None)
    return configured if isinstance(thing, type) and isinstance(configured, type) else None


def of_import(error: BaseException) -> str | None:
    """What to do where a module is missing; None for any other error."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    return f"install what provides {error.name}, or run in the folder that has it"


def one_of(word: str, words: Iterable[str]) -> str | None:
    """`did you mean Net, Nets or Next?`: at most three similar words, None without any."""
    known = {each.lower(): each for each in sorted(words)}
    near = [known[each] for each in difflib.get_close_matches(word.lower(), known, MOST_MEANT, SIMILAR)]
    if not near:
        return None
    return f"did you mean {' or '.join(filter(None, (', '.join(near[:-1]), near[-1])))}?"


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
