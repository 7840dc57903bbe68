"""The file that is read: its first bytes, and its bytes or lines as a stream. Compressed files are read as they are.

Nothing here depends on how large the file is, and nothing opens one: the caller does.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import BinaryIO

from convbench import units
from convbench.errors import RequestError

#: How much of the file decides what format it has, bytes. A log of a training run may begin with other output.
HEAD_BYTES = 2**20
#: The longest line, bytes. A longer one is no line of text.
LONGEST_LINE = 2**22
#: Bytes that are read at once.
PIECE_BYTES = 2**18

_COMPRESSED: tuple[tuple[bytes, Callable[[BinaryIO], io.BufferedIOBase]], ...] = (
    (b"\x1f\x8b", lambda stream: gzip.GzipFile(fileobj=stream)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
)


class Source:
    """One file. `beside` opens another file that a line names, relative to this one.

    `identity` is the same for all names of one file, by default the name.
    """

    def __init__(
        self,
        name: str,
        stream: BinaryIO,
        beside: Callable[[str], Source] | None = None,
        *,
        identity: str | None = None,
    ) -> None:
        """Read the head; raises RequestError for an empty file, and where the system cannot read it."""
        self.name = name
        self.identity = name if identity is None else identity
        self._beside = beside
        self._stream: io.BufferedIOBase = io.BufferedReader(_Again(b"", stream), PIECE_BYTES)
        self.head = self._first()
        for magic, opened in _COMPRESSED:
            if self.head.startswith(magic):
                self._stream = opened(io.BufferedReader(_Again(self.head, stream), PIECE_BYTES))
                self.head = self._first()
                break
        if not self.head.strip():
            raise RequestError(f"{name} is empty")
        self._stream = io.BufferedReader(_Again(self.head, self._stream), PIECE_BYTES)

    def _first(self) -> bytes:
        """The first `HEAD_BYTES`: a pipe may give fewer in one read."""
        pieces, left = [], HEAD_BYTES
        while left and (piece := self._read(self._stream.read, left)):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def _read(self, read: Callable[[int], bytes], size: int) -> bytes:
        try:
            return read(size)
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile):
            hint = "the file was cut or changed: copy it again"
            raise RequestError(f"cannot read {self.name}: its compressed data end in the middle", hint=hint) from None
        except OSError as error:
            raise RequestError(f"cannot read {self.name}: {error.strerror or error}") from None

    @cached_property
    def text(self) -> str:
        """The head as text."""
        return self.head.decode("utf-8-sig", errors="replace")

    @property
    def is_binary(self) -> bool:
        """Whether the head is no text in UTF-8 or another encoding with single bytes."""
        return b"\0" in self.head

    def beside(self, name: str) -> Source:
        """The file that a line of this one names; raises RequestError where there is none."""
        if self._beside is None:
            raise RequestError(f"cannot read {name}: {self.name} has no folder")
        return self._beside(name)

    def read_all(self) -> bytes:
        """All bytes, for a format that a library reads as a whole."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """The bytes, some at a time."""
        while piece := self._read(self._stream.read, PIECE_BYTES):
            yield piece

    def lines(self) -> Iterator[tuple[int, str]]:
        """Each line with its number, from 1, without its end. Raises RequestError for a file that is no text."""
        number, first = 0, "utf-8-sig"
        while raw := self._read(self._stream.readline, LONGEST_LINE):
            number += 1
            if len(raw) == LONGEST_LINE and not raw.endswith(b"\n"):
                raise RequestError(f"{self.name}:{number}: a line of more than {units.size(LONGEST_LINE)} is no text")
            if b"\0" in raw:
                raise RequestError(f"{self.name}:{number}: expected text, got a NUL character", hint=NOT_TEXT)
            yield number, raw.decode(first if number == 1 else "utf-8", errors="replace").rstrip("\r\n")


#: What to do with a file that should be text.
NOT_TEXT = "the file is binary, or text in UTF-16: save it as UTF-8"


class _Again(io.RawIOBase):
    """Bytes that were read already, and then the rest of their stream."""

    def __init__(self, head: bytes, rest: BinaryIO | io.BufferedIOBase) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed's type is private
        if self._head:
            taken, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        else:
            taken = self._rest.read(len(buffer))
        buffer[: len(taken)] = taken
        return len(taken)
