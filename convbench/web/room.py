"""Where the service writes: whether there is room on these disks, and folders that killed services have left."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from convbench import units
from convbench.store.place import Place
from convbench.store.writer import Writer, started

#: Free space under which the service says that it is not ready, bytes: one part of a run has as much at most.
LEAST_FREE = 16 * 2**20
#: The beginning of the name of a folder for pages. The process that made it, and when that started, follow.
_BEGINNING = "convbench-pages-"
_NAME = re.compile(rf"{_BEGINNING}(?:(\d+)-(\d+(?:\.\d+)?)-)?\w+")


def obstacles(place: Place) -> Iterator[str]:
    """Why the service cannot write what comes next, as far as its disks say so. A server's disk says nothing here."""
    if place.path is not None:
        yield from _obstacles("the database", place.path.absolute().parent)
        if place.path.exists() and not os.access(place.path, os.W_OK):
            yield "the database may not be written"
    yield from _obstacles("temporary files", Path(tempfile.gettempdir()))


def _obstacles(what: str, folder: Path) -> Iterator[str]:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield f"the folder for {what} cannot be used: {error.strerror}"
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield f"the folder for {what} may not be written"
    if free < LEAST_FREE:
        yield f"the disk for {what} has {units.size(free)} free, and {units.size(LEAST_FREE)} are needed"


def folder_for_pages() -> tempfile.TemporaryDirectory[str]:
    """A new temporary folder of this process, after those of killed services were removed."""
    _remove_left(Path(tempfile.gettempdir()))
    me = Writer.of_this_process()
    return tempfile.TemporaryDirectory(prefix=f"{_BEGINNING}{me.pid}-{me.started:.0f}-", ignore_cleanup_errors=True)


def _remove_left(folder: Path) -> None:
    """Remove this user's folders whose process has ended. A service goes on where its folder is removed by mistake."""
    with suppress(OSError):
        for path in list(folder.glob(f"{_BEGINNING}*")):
            found = _NAME.fullmatch(path.name)
            if found is not None and _is_mine(path) and not _is_in_use(found[1], found[2]):
                shutil.rmtree(path, ignore_errors=True)


def _is_in_use(pid: str | None, since: str | None) -> bool:
    """Whether the process that a name holds lives; a name without one is of an older version, which kept none."""
    if pid is None or since is None or (began := started(int(pid))) is None:
        return False
    return f"{began:.0f}" == since


def _is_mine(path: Path) -> bool:
    """Whether it is a folder of this user, and no link."""
    with suppress(OSError):
        status = path.lstat()
        return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    return False
