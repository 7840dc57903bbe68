"""Files as streams: compressed, cut, binary, and of any length."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tracemalloc
from collections.abc import Callable

import pytest
from imports import read, source
from other_programs import DIALECTS, Repeated

from convbench.errors import RequestError
from convbench.workloads.importers import imported
from convbench.workloads.importers.json_stream import NotJsonError, entries
from convbench.workloads.importers.source import LONGEST_LINE, Source

LINE = "mb1ic4ih8oc4kh3\n"


@pytest.mark.parametrize("packed", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_files_are_read_as_what_is_in_them(packed: Callable[[bytes], bytes]) -> None:
    content = "".join(f"mb{at}ic4ih8oc4kh3\n" for at in range(1, 2000)).encode()
    assert read(packed(content)).distinct == 1999
    with pytest.raises(RequestError, match="cannot read given: its compressed data end in the middle"):
        read(packed(content)[:-30])


@pytest.mark.parametrize("content", ["", "\n  \n", gzip.compress(b"")], ids=["empty", "blank", "packed"])
def test_an_empty_file_is_one_error(content: str | bytes) -> None:
    with pytest.raises(RequestError, match="given is empty"):
        read(content)


def test_a_mark_of_utf_8_and_other_line_ends_are_taken() -> None:
    assert read(b"\xef\xbb\xbf" + LINE.replace("\n", "\r\n").encode() * 2).read == 2


@pytest.mark.parametrize(
    "content", [LINE.encode("utf-16"), b"\x7fELF" + bytes(900), bytes(range(256)) * 9], ids=["UTF-16", "ELF", "bytes"]
)
def test_a_binary_file_says_what_to_do(content: bytes) -> None:
    for form in (None, "benchdnn"):
        with pytest.raises(RequestError) as error:
            read(content, form)
        assert error.value.hint == "the file is binary, or text in UTF-16: save it as UTF-8"


def test_binary_data_behind_the_head_are_one_error_with_their_line() -> None:
    with pytest.raises(RequestError, match="given:90002: expected text, got a NUL character"):
        read(DIALECTS["v1"] + "\n" + "other output\n" * 90_000 + "\0\n")


def test_a_line_without_an_end_is_one_error() -> None:
    with pytest.raises(RequestError, match=r"given:2: a line of more than 4\.00 MiB is no text"):
        read(LINE + "x" * (LONGEST_LINE + 1))


class Pipe(io.RawIOBase):
    """A stream that gives a few bytes at a time, as a pipe does."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed's type is private
        taken, self._content = self._content[:7], self._content[7:]
        buffer[: len(taken)] = taken
        return len(taken)


def test_a_pipe_that_gives_little_at_a_time_is_read() -> None:
    content = gzip.compress(LINE.encode() * 100)
    assert imported(Source("pipe", Pipe(content)), name="x").read == 100  # type: ignore[arg-type]  # reads as a file does


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_log() -> None:
    def peak(times: int) -> int:
        tracemalloc.start()
        stream = Repeated(DIALECTS["v1"].encode() + b"\nother\n" + DIALECTS["v1"][:-30].encode() + b"\n", times)
        made = imported(Source("long.log", stream), name="long")  # type: ignore[arg-type]  # reads as a file does
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert made.read == 2 * times
        return most

    peak(10)
    assert peak(16_000) < peak(4_000) + 2**20


def test_json_is_read_entry_by_entry() -> None:
    def pieces(text: str, size: int) -> list[bytes]:
        return [text[at : at + size].encode() for at in range(0, len(text), size)]

    text = ' {"a": [1, {"b": "x,]}\\""}], "list": [1, 22, {"c": [3]}, "ü", -4.5e1, null], "d": {}} '
    for size in (1, 2, 3, 7, 1000):
        assert list(entries(iter(pieces(text, size)), "list")) == [1, 22, {"c": [3]}, "ü", -45.0, None]
        assert list(entries(iter(pieces("[12, 3]", size)), "list")) == [12, 3]
        for end in range(1, len(text.rstrip())):
            with pytest.raises(NotJsonError):
                list(entries(iter(pieces(text[:end], size)), "list"))


def test_a_source_without_a_folder_has_nothing_beside_it() -> None:
    with pytest.raises(RequestError, match="has no folder"):
        source(LINE).beside("other")
