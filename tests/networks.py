"""Made-up runs of a small network, for tests of pages that show one."""

from __future__ import annotations

from dataclasses import replace

import synthetic

from convbench.model.case import MemoryFormat
from convbench.model.problem import Direction
from convbench.model.result import ProcessFacts, Result, Roof, RoofKind, Run

MS = 1e-3
ROOFS = (
    Roof(kind=RoofKind.COMPUTE, rate=1e13, device="cpu", threads=1, source="made up", dtype="float32"),
    Roof(kind=RoofKind.BANDWIDTH, rate=1e10, device="cpu", threads=1, source="copy", footprint_bytes=2**20),
)


def timed(name: str, channels: int, ms: float, count: int = 1, **given: object) -> Result:
    case = synthetic.layer(channels, given_label=name, count=count, threads=1, **given)
    made = tuple(replace(block, minimum_s=ms * MS) for block in synthetic.blocks(1.0, noise=0.0))
    return synthetic.with_facts(synthetic.result(case, made=made), threads=1)


def network(name: str = "base", *, hostile: str = "") -> Run:
    """Forward 8 ms, step 20 ms contiguous; channels_last takes half. The second stage has 1x1 kernels."""
    results = [
        timed(path, channels, ms * factor, count, direction=direction, memory_format=memory_format, kernel_size=kernel)
        for path, channels, count, kernel in ((f"a.0{hostile}", 16, 2, (3, 3)), ("b.0", 24, 2, (1, 1)))
        for direction, ms in ((Direction.FORWARD, 2.0), (Direction.BACKWARD, 3.0))
        for memory_format, factor in zip(MemoryFormat, (1.0, 0.5), strict=True)
    ]
    facts = (ProcessFacts(process_index=0, seconds=1.0, roofs=ROOFS),)
    run = synthetic.empty_run()
    return replace(run, id=f"20261124-{name}", source="", results=tuple(results), processes=facts)
