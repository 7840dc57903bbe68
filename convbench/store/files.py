"""Files that users name: read and written as a whole, and checked before hours are spent on their contents."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    """Write a whole file or nothing; raises RequestError with the system's reason.

    The content is written to a new file in the same folder, which then replaces the file at the path. Of two writers
    the last one wins, and neither reads an incomplete file of the other. A file that is replaced keeps its permissions.
    A link at the path is replaced and not followed, because another user may have made it to get a file overwritten.
    """
    _refuse_folder(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if _is_stream(path):
            path.write_bytes(content)
            return
        with fresh_file(path) as scratch:
            if path.is_file() and not path.is_symlink():
                scratch.chmod(stat.S_IMODE(path.stat().st_mode) & 0o777)
            with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_NOFOLLOW), "wb") as file:
                file.write(content)
            scratch.replace(path)
    except OSError as error:
        raise RequestError(f"cannot write {path}: {error.strerror}") from None


@contextmanager
def fresh_file(path: Path) -> Iterator[Path]:
    """A new empty file in the folder of `path` with an unpredictable name; it is removed at the end unless renamed.

    It has the permissions of any new file. Raises OSError.
    """
    while True:
        scratch = path.with_name(f".convbench-{secrets.token_hex(8)}.part")
        with suppress(FileExistsError):
            os.close(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
            break
    try:
        yield scratch
    finally:
        scratch.unlink(missing_ok=True)


#: Folders of links to the streams of this process: `/dev/stdout` may be a file, which must not be replaced.
_STREAMS = (Path("/dev"), Path("/dev/fd"), Path("/proc/self/fd"))


def _is_stream(path: Path) -> bool:
    """Whether it is a pipe or a device, which cannot be replaced."""
    return path.exists() and (not path.is_file() or (path.is_symlink() and path.parent in _STREAMS))


def check_writable(path: Path) -> None:
    """Raise RequestError where `write_bytes` would certainly fail. It makes a file to try, and leaves nothing."""
    _refuse_folder(path)
    if _is_stream(path):
        if not os.access(path, os.W_OK):
            raise RequestError(f"cannot write {path}: it may not be written to")
        return
    nearest = next(folder for folder in path.absolute().parents if folder.exists() or folder.is_symlink())
    if not nearest.is_dir():
        raise RequestError(f"cannot write {path}: {nearest} is no folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise RequestError(f"cannot write {path}: nothing may be written in {nearest}")
    try:
        if max(map(len, map(os.fsencode, path.parts))) > os.pathconf(nearest, "PC_NAME_MAX"):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        with fresh_file(nearest / path.name):
            pass
    except OSError as error:
        raise RequestError(f"cannot write {path}: {error.strerror}") from None


def _refuse_folder(path: Path) -> None:
    """Raise RequestError for a folder, and for a name that is too long for a file."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise RequestError(f"cannot write {path}: {error.strerror}") from None
    if stat.S_ISDIR(mode):
        raise RequestError(f"cannot write {path}: it is a folder", hint=f"name a file in it: {path / 'run.csv'}")
