"""Made-up runs by the floors of their processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import synthetic
from hypothesis import strategies as st

from convbench.model.case import Case
from convbench.model.result import Block, Run


def blocks(process_floors: Sequence[float], *, rounds: int = 2, page_faults: float = 0.0) -> tuple[Block, ...]:
    """Blocks with exactly these process floors: the first block of each process has it."""
    return tuple(
        replace(
            block,
            minimum_s=process_floors[block.process_index] * (1 + 0.01 * block.round_index),
            page_faults=page_faults,
        )
        for block in synthetic.blocks(1e-3, processes=len(process_floors), rounds=rounds, seed=len(process_floors))
    )


def run(sides: Sequence[Sequence[float]], cases: Sequence[Case] | None = None, **about: object) -> Run:
    """A run whose cases have these process floors."""
    cases = cases or synthetic.cases(len(sides))
    results = tuple(synthetic.result(c, made=blocks(floors)) for c, floors in zip(cases, sides, strict=True))
    return replace(synthetic.empty_run(), results=results, **about)


STEADY = [1e-3, 1.01e-3, 1.01e-3, 1.02e-3, 1.02e-3]  # u is 1.01


def times(factor: float, floors: Sequence[float] = STEADY) -> list[float]:
    return [floor * factor for floor in floors]


process_floors = st.lists(st.floats(1e-4, 1.5e-4), min_size=3, max_size=3)
