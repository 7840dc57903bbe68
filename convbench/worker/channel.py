"""JSON lines over the worker's standard input and a private copy of its standard output."""

from __future__ import annotations

import json
import os
from typing import Any, BinaryIO


class Channel:
    """Reads one request per line and writes one answer per line."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self._requests = requests
        self._answers = answers

    def receive(self) -> dict[str, Any] | None:
        """The next request, or None when the conductor has closed the pipe."""
        line = self._requests.readline()
        return json.loads(line) if line else None

    def send(self, answer: dict[str, Any]) -> None:
        """Send one answer; NaN and infinities are written as Python's JSON extension."""
        self._answers.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
        self._answers.flush()


def private_channel() -> Channel:
    """Use copies of descriptors 0 and 1 for the protocol, and redirect 1 to 2 so that a C library cannot print into it.

    Descriptor 0 becomes the null device, so a layer that reads input gets none.
    """
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return Channel(requests, answers)
