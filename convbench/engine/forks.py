"""A process that has imported torch and forks workers, as the conductor sees it (worker/forks.py is its other end).

A fork takes 0.01 s where a fresh process takes 1.5 s, and measures the same floors (bench/fork.py).
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path

#: Maximum size of an answer, bytes.
_MOST_BYTES = 1 << 16
#: The script that starts a worker, or the process that forks workers, under any interpreter.
START = Path(__file__).resolve().parent.parent / "worker" / "start.py"


def can_fork() -> bool:
    """Whether this system has what forking needs: process descriptors, and descriptors sent over a socket (Linux)."""
    if sys.platform != "linux":
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):  # an old kernel, or a sandbox
        return False
    return True


class ForkServer:
    """The process that forks workers. The first worker's standard error gets the errors of its start.

    It ends when nothing refers to it any more: no engine, and no worker of it. `close` ends it before. Raises OSError
    where the interpreter cannot be started.
    """

    def __init__(self, python: str, environment: Mapping[str, str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._errors: tuple[int, int] | None = os.pipe()  # of the first worker
        try:
            self._process = subprocess.Popen(
                [python, str(START), "fork", str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors[1],
                env=dict(environment),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError:
            self._control.close()
            for descriptor in self._errors:
                os.close(descriptor)
            raise
        finally:
            theirs.close()
        self.close = weakref.finalize(self, _end, self._control, self._process)
        self.has_forked = False
        # Workers refer to this object, so that it ends after them. It must not keep them.
        self._asked: deque[weakref.ref[ForkedProcess]] = deque()  # whose process id is not known yet
        self._known: weakref.WeakValueDictionary[int, ForkedProcess] = weakref.WeakValueDictionary()

    @property
    def is_usable(self) -> bool:
        """Whether it can fork further workers."""
        return self._process.poll() is None

    @property
    def is_idle(self) -> bool:
        """Whether none of its workers is alive."""
        self.receive(0.0)
        return not self._asked and all(worker.code is not None for worker in list(self._known.values()))

    def fork(self, memory_limit: str, folders: tuple[str, ...]) -> ForkedProcess:
        """A worker that is being forked; its standard streams are pipes to it."""
        errors, self._errors = self._errors or os.pipe(), None
        (reads, writes), answers = os.pipe(), os.pipe()
        outer, inner = (writes, answers[0], errors[0]), (reads, answers[1], errors[1])
        worker = ForkedProcess(self, outer)
        request = {"memory_limit": memory_limit, "folders": list(folders), "cwd": str(Path.cwd())}
        with suppress(OSError):  # it has ended: the closed pipes show it
            socket.send_fds(self._control, [json.dumps(request).encode()], list(inner))
            self._asked.append(weakref.ref(worker))
        for descriptor in inner:
            os.close(descriptor)
        return worker

    def receive(self, timeout_s: float) -> bool:
        """Take the messages that are there, after at most `timeout_s` seconds; False where none came or `close` ran."""
        came = False
        while self._control.fileno() >= 0 and select.select([self._control], [], [], 0.0 if came else timeout_s)[0]:
            try:
                data = self._control.recv(_MOST_BYTES)
            except OSError:
                data = b""
            if not data:
                break
            came = True
            message = json.loads(data)
            if "forked" in message:
                self.has_forked = True
                worker = self._asked.popleft()()
                if worker is not None:
                    worker.pid = message["forked"]
                    self._known[worker.pid] = worker
                continue
            worker = self._known.get(message["ended"])
            if worker is None or worker.stdin.closed:  # nobody asks how it ended
                self.reap(message["ended"])
            if worker is not None:
                worker.code = message["code"]
        return came

    def code(self) -> int | None:
        """The exit code of the process itself, None while it runs."""
        return self._process.poll()

    def reap(self, pid: int) -> None:
        """Give a worker's process id back to the system."""
        self._known.pop(pid, None)
        with suppress(OSError):  # it has ended, and its workers with it
            self._control.send(json.dumps({"reap": pid}).encode())


def _end(control: socket.socket, process: subprocess.Popen[bytes]) -> None:
    """End the process that forks workers, and its workers with it."""
    control.close()
    process.kill()
    process.wait()


class ForkedProcess:
    """A forked worker, with the methods of `subprocess.Popen` that a transport needs."""

    def __init__(self, server: ForkServer, streams: tuple[int, ...]) -> None:
        self._server = server
        stdin, stdout, stderr = streams
        self.stdin, self.stdout, self.stderr = FileIO(stdin, "wb"), FileIO(stdout, "rb"), FileIO(stderr, "rb")
        self.pid: int | None = None
        self.code: int | None = None

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the number of the signal that ended it; None while it runs."""
        return self.code if self.code is not None else self._server.code()

    def poll(self) -> int | None:
        """The exit code, None while it runs or is being forked."""
        self._server.receive(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; raises subprocess.TimeoutExpired."""
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            left = 1.0 if end is None else end - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired("a forked worker", timeout or 0.0)
            self._server.receive(min(left, 1.0))
        return code

    def kill(self) -> None:
        """Kill it; one that is still being forked ends by itself, as its pipe is closed."""
        if self.poll() is None and self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)

    def kill_group(self) -> None:
        """Kill it and the processes that it started. Its process id is its own until `release`."""
        self._server.receive(0.0)
        if self.pid is not None and self._server.is_usable:  # otherwise the kernel has ended it, and freed its id
            os.killpg(self.pid, signal.SIGKILL)

    def release(self) -> None:
        """Give its process id back, after it has ended."""
        if self.pid is not None:
            self._server.reap(self.pid)
