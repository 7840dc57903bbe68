"""Runs workers as processes of this machine: starts them, sends requests with a deadline, ends them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass

from convbench.engine.client import Json, Message, WorkerClient
from convbench.engine.forks import START, ForkedProcess, ForkServer, can_fork
from convbench.errors import WorkerDiedError, WorkerStartError, WorkerTimedOutError
from convbench.model.case import Allocator, Execution, WorkerSettings
from convbench.model.variables import HIDDEN, Variables

#: Settings with which glibc's malloc keeps freed memory, bytes: the mmap threshold, the trim threshold and the top pad.
#: Some versions of glibc reject an mmap threshold over 32 MiB, so a smaller one is tried next.
MALLOC_MAP_THRESHOLDS = (1 << 30, 1 << 25)
MALLOC_TRIM_THRESHOLD = 1 << 33
MALLOC_TOP_PAD = 1 << 26
#: The value that torch requires for deterministic algorithms on CUDA (torch.use_deterministic_algorithms).
CUBLAS_WORKSPACE = ":4096:8"
#: torch compiles in the worker itself: processes and threads of a compiler would run during blocks.
COMPILE_THREADS = "1"
#: How much of a worker's standard error is kept to explain its death, bytes.
TAIL_BYTES = 4000
#: Maximum length of the last line of standard error in a message, characters.
LONGEST_LAST_LINE = 300
#: Maximum size of an answer, bytes; a worker's longest answers have a few thousand.
MOST_RECEIVED = 2**22
#: Interval for checking whether a silent worker is alive, seconds.
POLL_S = 1.0
#: Maximum number of processes that fork workers. Each has torch in memory, about 145 MiB, and one environment.
MOST_SERVERS = 4
#: Time for a worker to end by itself before it is killed, seconds.
GRACE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The environment of workers, where it differs from the conductor's.

    `python` is an interpreter that has torch; it needs nothing else. `path` are folders from which the user's modules
    are imported, instead of the current folder. `variables` are set in the workers' environment, those in `unset` are
    removed. `threads` replaces a case's number of threads; None keeps it.
    """

    python: str = sys.executable
    path: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    unset: tuple[str, ...] = ()
    threads: int | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of a process of this setup, without those that a case sets."""
        inherited = {name: value for name, value in os.environ.items() if name not in self.unset}
        return {**inherited, **dict(self.variables)}


class LocalEngine:
    """Starts workers as processes of this machine."""

    def __init__(
        self,
        setup: Setup = Setup(),  # frozen
        *,
        memory_limit: int | None = None,
        secrets: Variables = (),
    ) -> None:
        """Workers run under `setup` and may use `memory_limit` bytes; None is a share of the free memory.

        `secrets` are the values of variables that cases name without values.
        """
        self._setup = setup
        self._secrets = dict(secrets)
        self._memory_limit = memory_limit
        self._map_thresholds = list(MALLOC_MAP_THRESHOLDS)
        self._can_fork = can_fork()
        self._servers: dict[tuple[tuple[str, str], ...], ForkServer] = {}  # by environment, the last used one last
        self._compiled: str | None = None  # the folder of the compiler's cache

    def warm_up(self, settings: WorkerSettings) -> None:
        """Start to import torch for workers of these settings; `start` reports an error."""
        if self._can_fork:
            with contextlib.suppress(OSError):
                self._server({**self._setup.environment, **self.variables(settings)})

    def start(self, settings: WorkerSettings) -> WorkerClient:
        """A client whose worker is starting; `WorkerClient.describe` waits for it."""
        limit = "share" if self._memory_limit is None else str(self._memory_limit)
        setup = self._setup
        environment = {**setup.environment, **self._cache_of(settings), **self.variables(settings)}
        try:
            server = self._server(environment) if self._can_fork else None
            process = (
                FreshProcess([setup.python, str(START), str(os.getpid()), limit, *setup.path], environment)
                if server is None
                else server.fork(limit, setup.path)
            )
        except OSError as error:
            raise WorkerStartError(f"cannot start a worker with {setup.python}: {error.strerror}") from None
        return WorkerClient(LocalTransport(process, python=setup.python), settings)

    def _cache_of(self, settings: WorkerSettings) -> dict[str, str]:
        """The variable for a folder of compiled code, which this engine's workers share and which it removes."""
        if settings.execution is not Execution.COMPILED:
            return {}
        if self._compiled is None:
            self._compiled = tempfile.mkdtemp(prefix="convbench-")
            self._remove_compiled = weakref.finalize(self, shutil.rmtree, self._compiled, ignore_errors=True)
        return {"TORCHINDUCTOR_CACHE_DIR": self._compiled}

    def _server(self, environment: Mapping[str, str]) -> ForkServer | None:
        """The process that forks workers with these variables; None where too many others have workers."""
        key = tuple(sorted(environment.items()))
        server = self._servers.pop(key, None)
        if server is not None and not server.is_usable and not server.has_forked:
            self._can_fork = False  # a fresh process may start where it did not, or say why
            return None
        if server is None or not server.is_usable:
            for other in [other for other in self._servers if self._servers[other].is_idle]:
                if len(self._servers) >= MOST_SERVERS:
                    self._servers.pop(other).close()
            if len(self._servers) >= MOST_SERVERS:
                return None
            server = ForkServer(self._setup.python, environment)
        self._servers[key] = server
        return server

    def fall_back(self) -> bool:
        """Use the next smaller mmap threshold from now on; False if there is none."""
        if len(self._map_thresholds) == 1:
            return False
        self._map_thresholds.pop(0)
        return True

    def close(self) -> None:
        """End the processes that fork workers, and their workers, and remove what they compiled."""
        while self._servers:
            self._servers.popitem()[1].close()
        if self._compiled is not None:
            self._remove_compiled()
            self._compiled = None

    def variables(self, settings: WorkerSettings) -> dict[str, str]:
        """The environment variables for the settings; those that a case names have priority.

        The MALLOC_ variables are glibc's; other C libraries ignore them. A secret without a known value is left out:
        the worker inherits it, if it is set.
        """
        variables = {}
        if settings.allocator is Allocator.STEADY:
            variables = {
                "MALLOC_MMAP_THRESHOLD_": str(self._map_thresholds[0]),
                "MALLOC_TRIM_THRESHOLD_": str(MALLOC_TRIM_THRESHOLD),
                "MALLOC_TOP_PAD_": str(MALLOC_TOP_PAD),
            }
        if settings.deterministic:
            variables["CUBLAS_WORKSPACE_CONFIG"] = CUBLAS_WORKSPACE
        if settings.execution is Execution.COMPILED:
            variables["TORCHINDUCTOR_COMPILE_THREADS"] = COMPILE_THREADS
        named = {name: self._secrets.get(name, value) for name, value in settings.env}
        return {**variables, **{name: value for name, value in named.items() if value != HIDDEN}}


def start_capture(setup: Setup) -> LocalTransport:
    """Start a process that captures one model (worker/capture/process.py); WorkerStartError where that fails."""
    try:
        process = FreshProcess(
            [setup.python, str(START), "capture", str(os.getpid()), "share", *setup.path], setup.environment
        )
    except OSError as error:
        raise WorkerStartError(f"cannot start a worker with {setup.python}: {error.strerror}") from None
    return LocalTransport(process, python=setup.python)


class FreshProcess(subprocess.Popen[bytes]):
    """A worker that is a process of its own, with a session of its own: Ctrl-C does not reach it."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        super().__init__(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=dict(environment),
            start_new_session=True,
        )

    def kill_group(self) -> None:
        """Kill it and the processes that it started."""
        os.killpg(self.pid, signal.SIGKILL)

    def release(self) -> None:
        """Its process id is given back by `wait`."""


class LocalTransport:
    """Exchanges JSON lines with a process over pipes; `python` is its interpreter."""

    def __init__(self, process: FreshProcess | ForkedProcess, *, python: str) -> None:
        self._python = python
        self._process = process
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._requests = self._process.stdin
        self._answers = self._process.stdout.fileno()
        self._errors = self._process.stderr.fileno()
        self._received = b""
        self._tail = b""
        self._open_errors = True
        self._up = False

    @property
    def pid(self) -> int:
        """The worker's process id, after its first answer."""
        self._process.poll()  # receives the id from the process that forked it
        assert self._process.pid is not None
        return self._process.pid

    def wait_until_up(self, *, deadline_s: float) -> None:
        """Return after the worker's first line; raises WorkerStartError with the worker's error output."""
        if self._up:
            return
        if self._requests.closed:
            raise WorkerStartError("the worker did not start: it was ended")
        try:
            self._read_line(deadline_s)
            self._up = True
        except WorkerDiedError as error:
            python = self._python
            lacks_torch = "No module named 'torch'" in error.message
            raise WorkerStartError(
                f"the worker did not start: {error}",
                hint=f"install torch there: {python} -m pip install torch"
                if lacks_torch
                else f"check the interpreter: {python} -c 'import torch'",
                signal=error.signal,
            ) from None
        except WorkerTimedOutError as error:
            raise WorkerStartError(f"the worker did not start: {error}") from None

    def request(self, message: Message, *, deadline_s: float) -> Mapping[str, Json]:
        """The answer to `message`; raises WorkerDiedError or WorkerTimedOutError."""
        if self._requests.closed:
            raise WorkerDiedError("the worker has ended")
        self._discard_errors()
        try:
            self._requests.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        except OSError:
            raise self._died() from None
        line = self._read_line(deadline_s)
        try:
            answer: dict[str, Json] = json.loads(line)
        except ValueError:
            self.close()
            raise WorkerDiedError(f"the worker answered with invalid JSON: {line[:100]!r}") from None
        return answer

    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return not self._requests.closed and self._process.poll() is None

    def close(self) -> None:
        """Kill the worker: all its results are stored, and unloading torch would take 0.3 s.

        Does nothing after it has ended: another process may have its process id.
        """
        if not self._requests.closed:
            self._kill()
            self._close_pipes()

    def _read_line(self, deadline_s: float) -> bytes:
        """Sleep until the worker has written a whole line; keep the tail of its standard error meanwhile."""
        end = time.monotonic() + deadline_s
        while b"\n" not in self._received:
            left = end - time.monotonic()
            watched = [self._answers] + ([self._errors] if self._open_errors else [])
            ready = select.select(watched, [], [], max(0.0, min(left, POLL_S)))[0] if left > 0 else []
            if not ready and left > POLL_S:
                # A child process of the layer may keep the pipe open after the worker has ended.
                if self._process.poll() is not None and not select.select(watched, [], [], 0)[0]:
                    raise self._died()
                continue
            if not ready:
                self._kill()
                self._close_pipes()
                raise WorkerTimedOutError(f"no answer within {deadline_s:g} s{self._last_line()}")
            if self._errors in ready:
                self._read_errors()
            if self._answers in ready:
                chunk = os.read(self._answers, 1 << 16)
                if not chunk:
                    raise self._died()
                self._received += chunk
                if len(self._received) > MOST_RECEIVED:
                    self.close()
                    raise WorkerDiedError(f"the worker answered more than {MOST_RECEIVED:,} bytes")
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _discard_errors(self) -> None:
        """Discard standard error from before this request, as it does not explain errors in it."""
        while self._open_errors and select.select([self._errors], [], [], 0)[0]:
            self._read_errors()
        self._tail = b""

    def _read_errors(self) -> None:
        chunk = os.read(self._errors, 1 << 16)
        self._open_errors = bool(chunk)
        self._tail = (self._tail + chunk)[-TAIL_BYTES:]

    def _died(self) -> WorkerDiedError:
        """The error with the exit code or signal of the worker, and its last line of standard error."""
        try:
            code = self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._kill()
            code = self._process.wait()
        while self._open_errors and select.select([self._errors], [], [], 0)[0]:
            self._read_errors()
        self._kill()  # child processes of the layer too
        self._close_pipes()
        number = -code if code < 0 else None
        how = f"ended with exit code {code}" if number is None else f"was ended by {_signal_name(number)}"
        return WorkerDiedError(f"the worker {how}{self._last_line()}", signal=number)

    def _last_line(self) -> str:
        lines = self._tail.decode(errors="ignore").splitlines()
        filled = [line for line in ("".join(filter(str.isprintable, line)).strip() for line in lines) if line]
        return f" ({filled[-1][:LONGEST_LAST_LINE]})" if filled else ""

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            self._process.kill_group()
        self._process.kill()
        if self._process.pid is not None:
            self._process.wait()
        self._process.release()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
