"""Runs workers as processes of this machine: starts them, talks to them under a deadline, ends them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from convbench.engine.client import Json, Message, WorkerClient
from convbench.errors import WorkerDiedError, WorkerStartError, WorkerTimedOutError
from convbench.model.case import Allocator, WorkerSettings
from convbench.model.variables import HIDDEN, Variables

#: What malloc must be told to keep freed memory: the threshold for memory maps of its own, the trim threshold, and
#: how much more to ask for at a time. Some versions of glibc refuse a map threshold over 32 MiB.
MALLOC_MAP_THRESHOLDS = (1 << 30, 1 << 25)
MALLOC_TRIM_THRESHOLD = 1 << 33
MALLOC_TOP_PAD = 1 << 26
#: What torch asks for where deterministic algorithms are wanted of CUDA (torch.use_deterministic_algorithms).
CUBLAS_WORKSPACE = ":4096:8"
#: How much of what a worker wrote to standard error is kept to explain its death, bytes.
TAIL_BYTES = 4000
#: How much of its last line is told, characters.
LONGEST_WORDS = 300
#: How much of an answer is received, bytes; the longest that a worker gives by itself has some thousand.
MOST_RECEIVED = 2**22
#: How often a worker that does not answer is looked after, seconds.
LOOK_S = 1.0
#: How long a worker may take to end by itself, seconds, before it is killed.
GRACE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What workers run under, where that is not what the conductor runs under.

    `python` is an interpreter that has torch; it needs nothing else. `path` are folders in which the user's modules are
    looked for first, instead of the current one. `variables` are set in the workers' environment, those in `unset` are
    not. `threads` stands for the number that a case names; None leaves it.
    """

    python: str = sys.executable
    path: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    unset: tuple[str, ...] = ()
    threads: int | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of a process of this setup, before what a case sets."""
        inherited = {name: value for name, value in os.environ.items() if name not in self.unset}
        return {**inherited, **dict(self.variables)}


#: The file by which a worker starts under any interpreter.
START = Path(__file__).resolve().parent.parent / "worker" / "start.py"


class LocalEngine:
    """Starts workers as processes of this machine."""

    def __init__(
        self,
        setup: Setup = Setup(),  # frozen
        *,
        memory_limit: int | None = None,
        secrets: Variables = (),
    ) -> None:
        """Workers run under `setup` and may take `memory_limit` bytes; None: a share of what is free then.

        `secrets` are the variables that cases name without their values.
        """
        self._setup = setup
        self._secrets = dict(secrets)
        self._memory_limit = memory_limit
        self._map_thresholds = list(MALLOC_MAP_THRESHOLDS)

    def start(self, settings: WorkerSettings) -> WorkerClient:
        """A client whose worker is starting; `WorkerClient.describe` waits for it."""
        limit = "share" if self._memory_limit is None else str(self._memory_limit)
        setup = self._setup
        transport = LocalTransport(
            [setup.python, str(START), str(os.getpid()), limit, *setup.path],
            environment={**setup.environment, **self.variables(settings)},
        )
        return WorkerClient(transport, settings)

    def fall_back(self) -> bool:
        """Ask for a smaller map threshold from now on; False where the smallest did not help."""
        if len(self._map_thresholds) == 1:
            return False
        self._map_thresholds.pop(0)
        return True

    def variables(self, settings: WorkerSettings) -> dict[str, str]:
        """The environment variables that the settings ask for; those that a case names win.

        Those of malloc are glibc's; another C library, which only the worker knows of, does not read them.
        A secret whose value is not known here is left out: the worker inherits it, where it is set.
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
        named = {name: self._secrets.get(name, value) for name, value in settings.env}
        return {**variables, **{name: value for name, value in named.items() if value != HIDDEN}}


class LocalTransport:
    """JSON lines over the pipes of a process in a session of its own, so that Ctrl-C reaches the conductor alone."""

    def __init__(self, command: list[str], *, environment: Mapping[str, str]) -> None:
        self._command = command
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=dict(environment),
                start_new_session=True,
            )
        except OSError as error:
            raise WorkerStartError(f"cannot start a worker with {command[0]}: {error.strerror}") from None
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
        """The worker's process id."""
        return self._process.pid

    def wait_until_up(self, *, deadline_s: float) -> None:
        """Return when the worker has said its first word; raises WorkerStartError with what it wrote instead."""
        if self._up:
            return
        if self._requests.closed:
            raise WorkerStartError("the worker did not start: it was ended")
        try:
            self._read_line(deadline_s)
            self._up = True
        except WorkerDiedError as error:
            python = self._command[0]
            lacks_torch = "No module named 'torch'" in error.message
            raise WorkerStartError(
                f"the worker did not start: {error}",
                hint=f"torch is missing there: {python} -m pip install torch"
                if lacks_torch
                else f"try: {python} -c 'import torch'",
                signal=error.signal,
            ) from None
        except WorkerTimedOutError as error:
            raise WorkerStartError(f"the worker did not start: {error}") from None

    def request(self, message: Message, *, deadline_s: float) -> Mapping[str, Json]:
        """The answer to `message`; raises WorkerDiedError or WorkerTimedOutError."""
        if self._requests.closed:
            raise WorkerDiedError("the worker is gone")
        self._forget_words()
        try:
            self._requests.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        except OSError:
            raise self._died() from None
        line = self._read_line(deadline_s)
        try:
            answer: dict[str, Json] = json.loads(line)
        except ValueError:
            self.close()
            raise WorkerDiedError(f"the worker answered what is no JSON: {line[:100]!r}") from None
        return answer

    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the worker at once: it holds nothing that is not stored, and unloading torch would take 0.3 s.

        Does nothing where it has ended: its process id may be another's by then.
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
            ready = select.select(watched, [], [], max(0.0, min(left, LOOK_S)))[0] if left > 0 else []
            if not ready and left > LOOK_S:
                # A child that the layer left behind holds the pipe open after the worker's own end.
                if self._process.poll() is not None and not select.select(watched, [], [], 0)[0]:
                    raise self._died()
                continue
            if not ready:
                self._kill()
                self._close_pipes()
                raise WorkerTimedOutError(f"no answer within {deadline_s:g} s{self._last_words()}")
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

    def _forget_words(self) -> None:
        """What was said before this request explains nothing that happens in it."""
        while self._open_errors and select.select([self._errors], [], [], 0)[0]:
            self._read_errors()
        self._tail = b""

    def _read_errors(self) -> None:
        chunk = os.read(self._errors, 1 << 16)
        self._open_errors = bool(chunk)
        self._tail = (self._tail + chunk)[-TAIL_BYTES:]

    def _died(self) -> WorkerDiedError:
        """What ended the worker, with its last words."""
        try:
            code = self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._kill()
            code = self._process.returncode
        while self._open_errors and select.select([self._errors], [], [], 0)[0]:
            self._read_errors()
        self._kill()  # what the layer may have started
        self._close_pipes()
        number = -code if code < 0 else None
        how = f"ended with exit code {code}" if number is None else f"was ended by {_signal_name(number)}"
        return WorkerDiedError(f"the worker {how}{self._last_words()}", signal=number)

    def _last_words(self) -> str:
        lines = self._tail.decode(errors="ignore").splitlines()
        told = [line for line in ("".join(filter(str.isprintable, line)).strip() for line in lines) if line]
        return f" ({told[-1][:LONGEST_WORDS]})" if told else ""

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()

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
