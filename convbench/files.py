"""Files that users name: read whole, written whole, and tried before hours are spent on what goes into them."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from convbench.errors import RequestError


def read_text(path: Path) -> str:
    """The text of a file; raises RequestError with the system's reason."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RequestError(f"cannot read {path}: it is not UTF-8 text") from None


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; raises RequestError with the system's reason."""
    _refuse_folder(path)
    scratch = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            path.write_bytes(content)  # a pipe or a device, which cannot be replaced
            return
        scratch.write_bytes(content)
        scratch.replace(path)
    except OSError as error:
        with suppress(OSError):
            scratch.unlink()
        raise RequestError(f"cannot write {path}: {error.strerror}") from None


def check_writable(path: Path) -> None:
    """Raise RequestError where `write_bytes` is sure to fail, as far as can be told without writing anything."""
    _refuse_folder(path)
    if path.exists() and not path.is_file():  # a pipe or a device
        if not os.access(path, os.W_OK):
            raise RequestError(f"cannot write {path}: it may not be written to")
        return
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    if not nearest.is_dir():
        raise RequestError(f"cannot write {path}: {nearest} is no folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise RequestError(f"cannot write {path}: nothing may be written in {nearest}")


def _refuse_folder(path: Path) -> None:
    """Raise RequestError for a folder, and for what is too long for the name of a file."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise RequestError(f"cannot write {path}: {error.strerror}") from None
    if stat.S_ISDIR(mode):
        raise RequestError(f"cannot write {path}: it is a folder", hint=f"name a file in it: {path / 'run.csv'}")
