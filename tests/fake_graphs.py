"""CUDA graphs on a CPU: a fake of the part of torch.cuda that worker/graphs.py uses.

A capture records torch's operations with the tensors that they read and wrote. A replay runs them again on the same
tensors, and copies what they return into the tensors of the capture. So operands are read at their addresses, and
results lie at theirs, as on a device. Streams do not run beside each other here; they are written down.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode


class FakeStream:
    """A stream that is known by its number."""

    def __init__(self, number: int, log: list[str]) -> None:
        self.number, self._log = number, log

    def wait_stream(self, other: FakeStream) -> None:
        self._log.append(f"{self.number} waits for {other.number}")


class FakeGraph(TorchDispatchMode):
    """What ran in a capture."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[tuple[Any, Any, Any, Any]] = []
        self.replays = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.ran.append((func, args, kwargs or {}, found))
        return found

    def replay(self) -> None:
        self.replays += 1
        with torch.no_grad():
            for func, args, kwargs, kept in self.ran:
                again = func(*args, **kwargs)
                pairs = [(kept, again)] if isinstance(kept, torch.Tensor) else zip(kept or (), again or (), strict=True)
                for before, after in pairs:
                    if before is not None and before.data_ptr() != after.data_ptr():
                        before.detach().copy_(after)


def install(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put the fake in the place of torch.cuda's graphs; returns the log of streams."""
    log: list[str] = []
    streams = [FakeStream(0, log)]

    def stream() -> FakeStream:
        streams.append(FakeStream(len(streams), log))
        return streams[-1]

    @contextlib.contextmanager
    def on(chosen: FakeStream) -> Iterator[None]:
        log.append(f"runs on {chosen.number}")
        yield
        log.append("runs on 0")

    @contextlib.contextmanager
    def capture(graph: FakeGraph, stream: FakeStream) -> Iterator[None]:
        log.append(f"captures on {stream.number}")
        with graph:
            yield
        log.append("captured")

    monkeypatch.setattr(torch.cuda, "Stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: streams[0])
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    return log
