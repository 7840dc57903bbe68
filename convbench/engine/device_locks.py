"""One run at a time on a device of this host: a lock that people, CI and fleets take, and that ends with its process.

The lock is flock(2) on a file. It is the host's, not a user's: each user's runs wait for those of the others. A file
names its holder, so that the user of a run that waits can see why.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

#: The variable that names another folder for the locks.
FOLDER = "CONVBENCH_LOCKS"
#: Where a system lets every user make lock files that survive for days (Filesystem Hierarchy Standard 3.0, 5.9).
_SHARED = Path("/run/lock")
#: Interval between two tries to take a lock that another process holds, seconds.
POLL_S = 0.25
#: The most that is read of a file: another user may have written anything.
_MOST_BYTES = 10_000
PROCESSOR = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a device: a user's process that measures `what`, since a time (ISO 8601 in UTC)."""

    user: str
    pid: int
    what: str
    since: str

    def __str__(self) -> str:
        """`sweep, process 4711 of joe, since 10:20 UTC`."""
        return f"{self.what}, process {self.pid} of {self.user}, since {self.since[11:16]} UTC"


@contextmanager
def held(
    devices: Iterable[str], *, what: str, waiting: Callable[[str], None], message: Callable[[str], None]
) -> Iterator[None]:
    """Hold these devices of this host, `cpu` or UUIDs, inside the block; waits until other processes give them up.

    `waiting` receives a line before a wait, and may raise to refuse it. `message` receives a line where a device
    cannot be locked because of its file; then it is used without a lock.
    """
    with ExitStack() as stack:
        for device in sorted(set(devices)):  # all processes take them in one order, so that none waits for ever
            try:
                descriptor = _open(lock_file(device))
            except OSError as error:
                message(f"note: {_named(device)} is not locked for other runs: {lock_file(device)}: {error.strerror}")
                continue
            stack.callback(os.close, descriptor)
            _take(descriptor, device, waiting)
            _write(descriptor, what)
        yield


def lock_file(device: str) -> Path:
    """The file whose lock a device has."""
    return _folder() / f"convbench-{re.sub(r'[^A-Za-z0-9-]', '-', device)}.lock"


def _folder() -> Path:
    named = os.environ.get(FOLDER)
    if named:
        return Path(named)
    with suppress(OSError):
        if stat.S_IMODE(_SHARED.stat().st_mode) & 0o1777 == 0o1777:
            return _SHARED
    return Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())


def _open(path: Path) -> int:
    """The file, which is made where there is none; readable is enough for a lock, so other users' files do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with suppress(FileNotFoundError):
            try:
                return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            except PermissionError:
                return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with suppress(FileExistsError):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
            os.fchmod(descriptor, 0o666)  # whatever the umask: the next holder may be another user
            return descriptor


def _take(descriptor: int, device: str, waiting: Callable[[str], None]) -> None:
    said = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not said:
                waiting(f"{_named(device)} is in use by another run: {holder(descriptor) or 'an unknown process'}")
                said = True
        time.sleep(POLL_S)


def _named(device: str) -> str:
    return "the processor" if device == PROCESSOR else f"device {device}"


def holder(descriptor: int) -> Holder | None:
    """Who holds the open file's lock, or held it last; None where the file does not say."""
    try:
        found = json.loads(os.pread(descriptor, _MOST_BYTES, 0))
        return Holder(
            user=str(found["user"]), pid=int(found["pid"]), what=str(found["what"]), since=str(found["since"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(descriptor: int, what: str) -> None:
    """Say in the file who holds it; another user's file may not be writable."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, in a container
        user = f"user {os.getuid()}"
    own = Holder(user=user, pid=os.getpid(), what=what, since=datetime.now(UTC).isoformat(timespec="seconds"))
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(own)).encode(), 0)
