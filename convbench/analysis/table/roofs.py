"""The highest roofs of a run: noise only lowers a measured roof, so the highest of all processes counts. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from convbench.model.result import ProcessFacts, RoofKind


class ComputeRoof(NamedTuple):
    """What a roof of compute holds for; `precision` is torch's setting for float32."""

    device: str
    threads: int | None
    precision: str
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofs:
    """The highest FLOP/s of each kind, and the highest bytes/s by device, threads and the bytes of a copy."""

    compute: Mapping[ComputeRoof, float]
    copies: Mapping[tuple[str, int | None], Mapping[int, float]]

    def memory(self, device: str, threads: int | None) -> float | None:
        """Bytes/s of the largest copy, which reaches memory; None where no copy was measured."""
        rates = self.copies.get((device, threads))
        return rates[max(rates)] if rates else None


def highest(processes: Iterable[ProcessFacts]) -> Roofs:
    """The highest roofs of some processes of one machine."""
    compute: dict[ComputeRoof, float] = {}
    copies: defaultdict[tuple[str, int | None], dict[int, float]] = defaultdict(dict)
    for roof in (roof for facts in processes for roof in facts.roofs):
        if roof.kind is RoofKind.COMPUTE:
            key = ComputeRoof(roof.device, roof.threads, str(roof.precision), str(roof.dtype))
            compute[key] = max(compute.get(key, 0.0), roof.rate)
        elif roof.footprint_bytes:
            rates = copies[roof.device, roof.threads]
            rates[roof.footprint_bytes] = max(rates.get(roof.footprint_bytes, 0.0), roof.rate)
    return Roofs(compute=compute, copies=dict(copies))
