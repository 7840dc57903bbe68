"""What runs on a host of a fleet: it says what it is, starts a shard there, and keeps the shard's lines until received.

The shard is a process of its own, in the environment in which the engine was started on the host. It reads standard
input, which ends when this process does, however that happens: then the shard ends too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from convbench.engine.client import read_host
from convbench.engine.nvidia import every_device
from convbench.fleet import messages
from convbench.fleet.leftovers import remove_old
from convbench.fleet.messages import Hello, Order
from convbench.model.campaign import DeviceKind
from convbench.store.writer import boot_id
from convbench.units import flat
from convbench.version import __version__
from convbench.worker import host as worker_host

#: The module that a shard's process runs.
SHARD = "convbench.actions.shard"
#: What the engine's processes have in their environment that is not the host's: secrets, and threads set by Ray.
_OF_ENGINE = re.compile(r"RAY_|SPT_NOENV$|PYTHONBREAKPOINT$")
_SET_BY_ENGINE = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
#: The allocator that Ray loads into its own processes. Shards that inherited it had floors up to a quarter lower.
_PRELOADED, _ALLOCATOR_OF_ENGINE = "LD_PRELOAD", re.compile(r"/ray/core/libjemalloc")
#: The variable by which CUDA shows a process one device alone.
_VISIBLE = "CUDA_VISIBLE_DEVICES"
#: How much of a shard's standard error is kept, bytes, and of its last line, characters.
_TAIL_BYTES = 4000
_LONGEST_LINE = 300
#: How long a shard that was asked to stop may take before it is killed, seconds; it ends itself before.
_KILL_S = 45.0


def hello() -> str:
    """What this host is: a text (messages.Hello). It needs no torch, so that it takes no processor time from a run."""
    found = read_host(worker_host.facts())
    devices = [
        (
            device.uuid,
            DeviceKind(
                model=flat(device.model),
                memory_gib=None if device.memory_bytes is None else round(device.memory_bytes / 2**30),
                power_limit_w=None if limit_w is None else round(limit_w),
            ),
        )
        for device, limit_w in every_device()
        if device.uuid
    ]
    return messages.hello_text(
        Hello(
            version=__version__,
            boot=boot_id(),
            hostname=found.hostname,
            cpu=flat(found.cpu),
            architecture=found.machine,
            cores=found.cores,
            devices=tuple(devices),
        )
    )


def environment(order: Order, environ: Mapping[str, str], of_engine: bytes | None) -> dict[str, str]:
    """The environment of a shard's process: the one in which the engine was started on this host, without its own.

    `environ` is that of a process of the engine, `of_engine` the engine's own as the kernel has it, None where that
    cannot be read. Ray sets the threads of OpenMP in each of its processes; a worker sets its own.
    """
    if of_engine is None:
        base = {name: value for name, value in environ.items() if name not in _SET_BY_ENGINE}
    else:
        pairs = (part.split(b"=", 1) for part in of_engine.split(b"\0") if b"=" in part)
        base = {os.fsdecode(name): os.fsdecode(value) for name, value in pairs}
    base = {name: value for name, value in base.items() if not _OF_ENGINE.match(name)}
    preloaded = [path for path in re.split(r"[ :]", base.pop(_PRELOADED, "")) if not _ALLOCATOR_OF_ENGINE.search(path)]
    if any(preloaded):
        base[_PRELOADED] = ":".join(filter(None, preloaded))
    if order.device != "cpu":
        base[_VISIBLE] = order.device
    if order.with_modules:  # the engine has copied them to the current folder of its processes
        base["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path.cwd()), base.get("PYTHONPATH"))))
    return base


def _engine_pid() -> str:
    """The process id of Ray's raylet on this host."""
    return os.environ.get("RAY_RAYLET_PID") or str(os.getppid())


def engine_environment() -> bytes | None:
    """The environment in which Ray's raylet was started on this host; None where the system does not show it."""
    with suppress(OSError):
        return Path("/proc", _engine_pid(), "environ").read_bytes()
    return None


def engine_priority() -> list[str]:
    """The niceness and the readiness to be killed for memory of Ray's raylet; empty where the system does not show it.

    Ray gives its other processes a niceness of 15, and has the kernel kill them first. A shard takes the raylet's.
    """
    with suppress(OSError, ValueError):
        pid = _engine_pid()
        killed_first = Path("/proc", pid, "oom_score_adj").read_text().strip()
        return [str(os.getpriority(os.PRIO_PROCESS, int(pid))), killed_first]
    return []


def folder(order: Order, environ: Mapping[str, str]) -> Path:
    """Where a shard keeps its run on this host: below the user's folder for state (XDG Base Directory 0.8)."""
    state = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or "/tmp", ".local", "state")
    return Path(state, "convbench", "fleet", order.campaign, str(order.position))


class Runner:
    """Runs one shard on this host. Its methods take and return text alone, and may be called at the same time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._first = 0  # the number of the first line that is kept
        self._lines: list[str] = []
        self._tail = b""
        self._code: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._is_stopped = False

    def start(self, order_text: str) -> str:
        """Start the shard of an order; answers as `lines` does."""
        order = messages.order_of(order_text)
        own = environment(order, os.environ, engine_environment())
        self._folder = folder(order, own)
        self._folder.mkdir(parents=True, exist_ok=True)
        remove_old(self._folder.parent.parent, time.time())
        with self._changed:
            if self._is_stopped:
                self._code = 130
                return self._answer()
            self._process = subprocess.Popen(
                [sys.executable, "-m", SHARD, *engine_priority()],
                cwd=self._folder,
                env=own,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        assert self._process.stdin
        with suppress(BrokenPipeError):
            self._process.stdin.write(order_text.encode() + b"\n")
            self._process.stdin.flush()
        threading.Thread(target=self._read_lines, args=(self._process,), daemon=True).start()
        threading.Thread(target=self._read_errors, args=(self._process,), daemon=True).start()
        return self._answer()

    def lines(self, received: int, wait_s: float) -> str:
        """The lines after the first `received`, which are forgotten; waits up to `wait_s` for one, or for the end."""
        with self._changed:
            del self._lines[: max(0, received - self._first)]
            self._first = max(self._first, received)
            self._changed.wait_for(lambda: self._lines or self._code is not None, wait_s)
            return self._answer()

    def _answer(self) -> str:
        last = [text for text in self._tail.decode(errors="replace").splitlines() if text.strip()][-1:]
        return json.dumps({"lines": self._lines, "code": self._code, "tail": "".join(last)[:_LONGEST_LINE]})

    def stop(self) -> None:
        """Interrupt the shard: it stores what it has and ends."""
        with self._changed:
            self._is_stopped = True
            process = self._process
        if process is not None and process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
            threading.Timer(_KILL_S, process.kill).start()

    def forget(self) -> None:
        """Remove what the shard kept on this host: its caller has everything."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            with suppress(OSError):  # another shard of the campaign has its folder there
                self._folder.parent.rmdir()

    def _read_lines(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout and process.stdin
        with process.stdout:
            for data in process.stdout:
                if not data.endswith(b"\n"):  # the shard was killed while it wrote: what it says is on its disk
                    break
                with self._changed:
                    self._lines.append(data.decode().rstrip("\n"))
                    self._changed.notify_all()
        code = process.wait()
        with suppress(OSError):
            process.stdin.close()
        with self._changed:
            self._code = code
            self._changed.notify_all()

    def _read_errors(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr
        with process.stderr:
            while chunk := os.read(process.stderr.fileno(), 1 << 16):
                self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
