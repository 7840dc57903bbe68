"""Layers that do what a user's own module may do to its worker: `module: misbehaving:Segfault`."""

from __future__ import annotations

import ctypes
import os
import stat
import time

import torch


class Segfault(torch.nn.Conv2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        ctypes.string_at(0)
        return super().forward(input)


class SegfaultLater(torch.nn.Conv2d):
    """Right at first, so that it passes its check and its first block, and dies while it is timed."""

    calls = 0

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        time.sleep(1e-3)
        if self.calls > 20:
            ctypes.string_at(0)
        return super().forward(input)


class Hang(torch.nn.Conv2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        while True:
            time.sleep(60)


class HangInC(torch.nn.Conv2d):
    """Hangs where no Python signal handler would ever run."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        libc = ctypes.PyDLL(None)  # keeps the interpreter's lock
        while True:
            libc.sleep(60)


class Hungry(torch.nn.Conv2d):
    """Takes memory until there is no more, touching all of it."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        eaten = []
        while True:
            eaten.append(torch.ones(64 * 2**20, dtype=torch.uint8))


class BreaksTheDevice(torch.nn.Conv2d):
    """Right at first. Then an error after which CUDA refuses everything that this process asks."""

    calls = 0

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        time.sleep(1e-3)
        if self.calls > 20:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors ...")
        return super().forward(input)


class Raising(torch.nn.Conv2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        raise ValueError("this layer does not want to\nand says so at length")


class Exits(torch.nn.Conv2d):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        os._exit(3)


class Chatty(torch.nn.Conv2d):
    """Right, but prints from Python and from C, reads its input, and closes what it should not."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        print('{"status": "passed", "max_error": 0}')
        os.write(1, b'{"status":"error"}\n')
        ctypes.CDLL(None).puts(b"hello from C")
        assert os.read(0, 1) == b""
        return super().forward(input)


def intrude(text: bytes) -> None:
    """Write into every pipe that the worker holds beside the usual ones: the protocol's is among them."""
    for descriptor in range(3, 64):
        try:
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                os.write(descriptor, text)
        except OSError:
            continue


class Babbles(torch.nn.Conv2d):
    """Answers in the worker's place, with what is no answer."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        intrude(b"no json\n")
        return super().forward(input)


class Floods(torch.nn.Conv2d):
    """Answers without an end."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        while True:
            intrude(b"x" * 65536)


class NotAModule:
    def __init__(self, *args: object, **kwargs: object) -> None:
        pass


class OtherConstructor(torch.nn.Conv2d):
    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 1)
