"""Made-up runs of many nights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import synthetic
from synthetic import blocks, cases

from convbench.model.result import Git, Run

NIGHT = "2026-11-{day:02}T03:30:00+00:00"


def run_of(night: int, floor_s: float, *, torch: str = "2.12.0", many: int = 1, **changes: object) -> Run:
    """The run of one night with some cases, each with this floor but for half a percent of noise."""
    empty = synthetic.empty_run()
    results = [
        synthetic.result(case, made=blocks(floor_s, processes=3, rounds=4, noise=0.2, seed=f"{night} {case.id}"))
        for case in cases(many)
    ]
    return replace(
        empty,
        id=f"202611{night:02}-033000-ab{night:02}",
        name="nightly",
        started_at=NIGHT.format(day=night),
        finished_at=NIGHT.format(day=night),
        source="name: nightly\naxes: {}\n",
        environment=replace(empty.environment, torch=torch, hostname=f"runner-{night}"),
        results=tuple(results),
        git=Git(commit=f"{night:x}" * 40, branch="main"),
        **changes,
    )


def nights(floors: Sequence[float], *, upgrade: int | None = None, many: int = 1) -> list[Run]:
    """A run for each floor; from the night `upgrade` on with another torch."""
    return [
        run_of(night, floor, torch="2.12.0" if upgrade is None or night < upgrade else "2.13.0", many=many)
        for night, floor in enumerate(floors, 1)
    ]
