"""JSON lines over the worker's standard input and a private copy of its standard output."""

from __future__ import annotations

import json
import os
from typing import Any, BinaryIO


class Channel:
    """One request a line in, one answer a line out."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self._requests = requests
        self._answers = answers

    def receive(self) -> dict[str, Any] | None:
        """The next request, or None when the conductor has closed its end."""
        line = self._requests.readline()
        return json.loads(line) if line else None

    def send(self, answer: dict[str, Any]) -> None:
        """Send one answer; NaN and infinities travel as JSON's usual extension."""
        self._answers.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
        self._answers.flush()


def private_channel() -> Channel:
    """Take descriptors 0 and 1 for the protocol and point 1 at 2, so that nothing a C library prints enters it.

    Must run before torch is imported. Descriptor 0 becomes the null device: a layer that reads input gets none.
    """
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return Channel(requests, answers)
