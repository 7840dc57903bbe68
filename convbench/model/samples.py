"""Raw samples: the time of each timed stretch of a block, in the order in which they were taken.

They are kept where `measure.samples` asks for it. Packed, a block begins with its round and the number of its samples,
as 32-bit integers. Each sample follows in seconds per iteration, as float32. All are little endian.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass

#: Bytes of a packed sample, and of what stands before the samples of a block.
SAMPLE_BYTES = 4
_HEAD = struct.Struct("<II")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSamples:
    """The samples of one block of a visit, in seconds per iteration."""

    round_index: int
    seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitSamples:
    """The samples of one process of a case."""

    case_id: str
    process_index: int
    blocks: tuple[BlockSamples, ...]


def pack_samples(blocks: Iterable[BlockSamples]) -> bytes:
    """The samples of blocks, packed."""
    return b"".join(
        _HEAD.pack(block.round_index, len(block.seconds)) + struct.pack(f"<{len(block.seconds)}f", *block.seconds)
        for block in blocks
    )


def unpack_samples(packed: bytes) -> tuple[BlockSamples, ...]:
    """The blocks of `packed`; raises ValueError where it is incomplete, or a sample is no time above 0."""
    found, at = [], 0
    while at < len(packed):
        if len(packed) - at < _HEAD.size:
            raise ValueError(f"samples: {len(packed) - at} bytes are too few for a block")
        round_index, count = _HEAD.unpack_from(packed, at)
        at += _HEAD.size
        if count * SAMPLE_BYTES > len(packed) - at:
            raise ValueError(f"samples: expected {count} samples in round {round_index}, got fewer bytes")
        seconds = struct.unpack_from(f"<{count}f", packed, at)
        if not all(0 < each < math.inf for each in seconds):
            raise ValueError(f"samples: expected times above 0 in round {round_index}")
        at += count * SAMPLE_BYTES
        found.append(BlockSamples(round_index=round_index, seconds=seconds))
    return tuple(found)
