"""Made-up runs of one sweep on three machines, for tests of campaigns: each machine has its own strengths.

The first is a usual server. The second has fast bfloat16 and is slow with channels_last. The third is an accelerator's
host: all fast, except for small layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import synthetic
from commands import visits_of

from convbench.model.campaign import Campaign, CampaignState, How, Shard, ShardState, machine_key
from convbench.model.case import Case, MemoryFormat
from convbench.model.problem import Direction
from convbench.model.result import (
    Device,
    DeviceState,
    Environment,
    ProcessFacts,
    Result,
    Roof,
    RoofKind,
    Run,
    Status,
)
from convbench.store import Store, Writer

EPYC = replace(synthetic.environment(), hostname="epyc-1")
XEON = replace(EPYC, hostname="xeon-1", cpu="Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", cores=4)
ARM = replace(EPYC, hostname="arm-1", cpu="Neoverse-V2", machine="aarch64", cores=8)
GPU = Device(name="cuda:0", model="NVIDIA H200", memory_bytes=150 * 2**30, uuid="GPU-1")
#: FLOP/s of each machine's roof in float32 and in bfloat16, and bytes/s of its largest copy.
RATES = {"epyc-1": (9e10, 1.6e11, 1.2e10), "xeon-1": (1.2e11, 4.8e11, 2e10), "arm-1": (1.6e11, 2e11, 4e10)}


def floor_s(case: Case, environment: Environment) -> float:
    """What a machine needs for a case."""
    time = synthetic.floor_s(case)
    if environment.cpu == XEON.cpu:
        time *= 0.5 if case.dtype == "bfloat16" else 0.8
        time *= 1.9 if case.memory_format is MemoryFormat.CHANNELS_LAST else 1.0
    if environment.cpu == ARM.cpu:
        time = 4e-5 + time * 0.6
    return time


def roofs(environment: Environment) -> tuple[Roof, ...]:
    """The roofs of a machine."""
    float32, bfloat16, copy = RATES.get(environment.hostname, RATES["epyc-1"])
    base = Roof(kind=RoofKind.COMPUTE, device="cpu", threads=1, rate=float32, source="matmul", dtype="float32")
    bandwidth = replace(base, kind=RoofKind.BANDWIDTH, dtype=None, source="copy")
    copies = [(2**15, 6.0), (2**20, 3.0), (2**28, 1.0)]
    return (
        base,
        replace(base, dtype="bfloat16", rate=bfloat16),
        *(replace(bandwidth, rate=copy * much, footprint_bytes=size) for size, much in copies),
    )


def run(
    environment: Environment,
    cases: Sequence[Case],
    *,
    id: str = "",
    name: str = "three-machines",
    started_at: str = "2026-11-24T03:30:00+00:00",
    factor: float = 1.0,
    process: float = 0.003,
    processes: int = 5,
    broken: Sequence[Case] = (),
    only: Sequence[Case] = (),
) -> Run:
    """A finished run of these cases on a machine; the `broken` cases crash.

    `factor` makes all of them slower, or `only` some.
    """
    results = [
        synthetic.result(case, status=Status.CRASHED, reason="the worker ended by signal 11")
        if case in broken
        else _timed(case, environment, factor if case in (only or cases) else 1.0, process, processes)
        for case in cases
    ]
    return replace(
        synthetic.empty_run(),
        id=id or f"20261124-033000-{environment.hostname.replace('-', '')}",
        name=name,
        description="",
        source=f"name: {name}\n",
        started_at=started_at,
        finished_at=started_at.replace("03:30", "03:33"),
        environment=environment,
        results=tuple(results),
        processes=tuple(
            ProcessFacts(process_index=index, seconds=20.0, roofs=roofs(environment)) for index in range(processes)
        ),
    )


def _timed(case: Case, environment: Environment, factor: float, process: float, processes: int) -> Result:
    time = floor_s(case, environment) * factor
    seed = f"{environment.hostname} {case.id}"
    made = synthetic.noisy_blocks(time, processes=processes, process=process, noise=0.1, seed=seed)
    return synthetic.result(case, made=made)


def runs(count: int = 48, **about: object) -> list[tuple[Run, tuple[str, ...]]]:
    """The runs of three machines with their hosts."""
    cases = synthetic.cases(count)
    return [(run(each, cases, **about), (each.hostname,)) for each in (EPYC, XEON, ARM)]


def on_gpu(made: Run, *, watts: float = 700.0) -> Run:
    """The run with a device, whose power limit is known."""
    state = DeviceState(device=GPU.name, power_limit_w=watts)
    return replace(
        made,
        environment=replace(made.environment, devices=(GPU,), accelerator=GPU.model),
        processes=tuple(replace(facts, device_states=(state,)) for facts in made.processes),
    )


def layers(*machines: Environment, counts: Sequence[int] = (3, 1, 2)) -> list[tuple[Run, tuple[str, ...]]]:
    """The runs of a counted network, forward and backward, on some machines."""
    cases = [
        synthetic.layer(16 * (at + 1), direction=direction, count=count, given_label=f"layer{at}", threads=1)
        for at, count in enumerate(counts)
        for direction in (Direction.FORWARD, Direction.BACKWARD)
    ]
    return [(run(each, cases, name="net"), (each.hostname,)) for each in machines]


def stored(runs: Sequence[Run], path: Path | str) -> None:
    """Put runs with their processes into a database."""
    with Store.create(str(path)) as opened:
        for made in runs:
            cases = [result.case for result in made.results]
            opened.begin(made, cases, made.rejections, Writer.of_this_process(), digest="made up")
            opened.append(made.id, [visit for result in made.results for visit in visits_of(result)])
            for facts in made.processes:
                opened.note_process(made.id, facts)
            opened.finish(made.id, made.state, made.finished_at or made.started_at)


def conducted(
    runs: Sequence[Run], *, how: How = How.EACH, id: str = "c20261124-033000-k7q2", **about: object
) -> Campaign:
    """The finished campaign of some runs, a shard each."""
    shards = tuple(
        Shard(
            position=position,
            machine=machine_key(one.environment, one.processes),
            state=ShardState.FINISHED,
            host=one.environment.hostname,
            run_ids=(one.id,),
        )
        for position, one in enumerate(runs)
    )
    campaign = Campaign(
        id=id,
        name=runs[0].name,
        how=how,
        source=runs[0].source,
        started_at=runs[0].started_at,
        finished_at=runs[0].finished_at,
        state=CampaignState.FINISHED,
        shards=shards,
    )
    return replace(campaign, **about)


def shared(
    count: int = 24, controls: int = 6, *, factor: float = 1.0, process: float = 0.01
) -> tuple[list[Run], tuple[str, ...]]:
    """The runs of two hosts of one key that shared the cases, the second slower by a factor, and the controls' ids."""
    cases = synthetic.cases(count)
    common, rest = cases[:controls], cases[controls:]
    hosts = [replace(EPYC, hostname=f"epyc-{number}") for number in (1, 2)]
    runs = [
        run(host, [*common, *rest[at::2]], factor=(1.0, factor)[at], process=process) for at, host in enumerate(hosts)
    ]
    return runs, tuple(case.id for case in common)
