"""`python start.py fork CONTROL CONDUCTOR_PID`: imports torch once, then forks a worker for each request (Linux).

Importing torch takes 1.5 s, a fork 0.01 s. The process computes nothing, so that a worker starts as a fresh one does;
bench/fork.py compares the floors of both. CONTROL is a descriptor of a socket that keeps the bounds of messages:

- `{"memory_limit": ..., "folders": [...], "cwd": ...}` with three descriptors forks a worker whose standard streams
  they are. The answer is `{"forked": PID}`.
- `{"ended": PID, "code": ...}` follows when that worker has ended, by exit code, or by minus the number of a signal.
  Its process id stays its own until `{"reap": PID}` arrives.

The process ends with its conductor, or when the socket is closed, and its workers end with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
from typing import Any

from .setup import become_worker, die_with

#: Maximum size of a message, bytes.
MOST_BYTES = 1 << 20


def main() -> None:
    """Answer requests until the conductor closes the socket."""
    control = socket.socket(fileno=int(sys.argv[2]))
    die_with(int(sys.argv[3]))
    os.close(os.pidfd_open(os.getpid()))  # fails here, where the error is seen, if this interpreter has none
    from . import serve  # noqa: F401 - its import of torch and the worker's modules is what forked workers share

    with contextlib.suppress(ImportError):  # torch imports it, and sympy with it, for the first gradient: 0.25 s
        import torch.fx.experimental.symbolic_shapes  # noqa: F401 - forked workers share it too, and import it no more

    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # errors of the import went to the first worker's standard error
        os.dup2(null, descriptor)
    os.close(null)
    Forks(control).serve()


class Forks:
    """The forked workers: their process ids by the descriptors that become readable at their end."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._alive: dict[int, int] = {}

    def serve(self) -> None:
        """Sleep until a request comes or a worker ends, and answer."""
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor in self._alive:
                    self._report_end(descriptor)
                elif not self._answer():
                    return

    def _answer(self) -> bool:
        """Answer one request; False if there is none any more."""
        data, descriptors, _, _ = socket.recv_fds(self._control, MOST_BYTES, 3)
        if not data:
            return False
        request = json.loads(data)
        if "reap" in request:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(request["reap"], os.WNOHANG)
            return True
        pid = os.fork()
        if pid == 0:
            self._become(request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        watched = os.pidfd_open(pid)
        self._alive[watched] = pid
        self._poll.register(watched, select.POLLIN)
        self._send({"forked": pid})
        return True

    def _become(self, request: dict[str, Any], descriptors: list[int]) -> None:
        """Turn this forked process into a worker; it ends here."""
        code = 1
        try:
            server = os.getppid()
            os.setsid()
            for target, descriptor in enumerate(descriptors):
                os.dup2(descriptor, target)
            for descriptor in (*descriptors, *self._alive, self._control.detach()):
                os.close(descriptor)
            os.chdir(str(request["cwd"]))
            become_worker(server, str(request["memory_limit"]), request["folders"])
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            with contextlib.suppress(Exception):
                sys.stderr.flush()
            os._exit(code)

    def _report_end(self, descriptor: int) -> None:
        """Report how a worker ended; it is reaped on request, so that its process id names no other process before."""
        ended = os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOWAIT)
        pid = self._alive.pop(descriptor)
        self._poll.unregister(descriptor)
        os.close(descriptor)
        code = 1 if ended is None else ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        self._send({"ended": pid, "code": code})

    def _send(self, answer: dict[str, int]) -> None:
        self._control.send(json.dumps(answer).encode())
