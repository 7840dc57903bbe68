"""What `convbench check` tells about this machine: what disturbs a measurement here, and the command that mends it."""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass

from convbench import units
from convbench.engine.client import Description
from convbench.engine.machine import Host
from convbench.engine.pool import Engine, WorkerPool
from convbench.model.case import WorkerSettings

#: How long the noise is listened to, seconds.
LISTEN_S = 4.0
#: Between two probes, seconds: as far apart as blocks are.
PROBE_EVERY_S = 0.02
#: A probe within this ratio of the fastest one ran in a quiet moment.
QUIET = 1.03
#: A machine is called noisy when fewer probes than this share were quiet; the floor then still finds its moments
#: down to about a tenth.
NOISY_SHARE = 0.5
#: Share of stolen processor time that is worth a word.
STEAL = 0.01
DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One thing about the machine. `mend` is the command or setting that makes it better, where there is one."""

    topic: str
    good: bool
    text: str
    mend: str | None = None


def check_machine(engine: Engine, *, listen_s: float = LISTEN_S) -> list[Remark]:
    """Start a worker, listen to the machine for some seconds, and say what was found."""
    pool = WorkerPool(engine)
    try:
        default = pool.description(WorkerSettings())
        one = WorkerSettings(threads=1)
        steady = pool.description(one)
        before = pool.host_state(deadline_s=DEADLINE_S)
        probes = _listen(pool, one, listen_s)
        after = pool.host_state(deadline_s=DEADLINE_S)
    finally:
        pool.close()
    host = steady.host
    return [
        _processor(steady),
        _threads(default.threads, host.cores, os.environ.get("OMP_NUM_THREADS")),
        _allocator(keeps_memory=steady.keeps_memory),
        _frequency(host.governor, host.boost),
        noise(probes, stolen=after.stolen_since(before), load=after.load, cores=host.cores),
        _memory(host),
        _devices(steady.accelerator),
    ]


def checkup_text(remarks: list[Remark]) -> str:
    """The remarks as lines for a terminal."""
    lines = []
    for remark in remarks:
        lines.append(f"{'ok  ' if remark.good else 'WARN'}  {remark.topic:<10}  {remark.text}")
        lines += [f"{'':18}-> {remark.mend}"] if remark.mend else []
    return "\n".join(lines)


def noise(probes: list[float], *, stolen: float | None, load: float | None, cores: int) -> Remark:
    """How much a fixed piece of work varied; `probes` are its seconds, in order."""
    floor, median = min(probes), statistics.median(probes)
    quiet = sum(value <= floor * QUIET for value in probes) / len(probes)
    told = (
        f"a fixed matrix product took {units.seconds(floor)} at best, {units.percent(median / floor - 1, 0)} more in"
        f" the median, {units.percent(max(probes) / floor - 1, 0)} more at worst; {units.percent(quiet, 0)} of"
        f" {len(probes)} were quiet"
    )
    busy = load is not None and load > cores / 2
    told += f"; load {load:.1f} on {units.plural(cores, 'core')}" if load is not None else ""
    steals = stolen is not None and stolen > STEAL
    told += f"; {units.percent(stolen)} of the processor was stolen by other guests" if steals else ""
    good = quiet >= NOISY_SHARE and not busy and not steals
    mend = None
    if busy:
        mend = "stop what else runs here (top shows it)"
    elif not good:
        mend = "floors find the quiet moments; give more of them: measure: {processes: 8}"
    return Remark(topic="noise", good=good, text=told, mend=mend)


def _listen(pool: WorkerPool, settings: WorkerSettings, listen_s: float) -> list[float]:
    client = pool.client(settings)
    probes: list[float] = []
    end = time.monotonic() + listen_s
    while not probes or time.monotonic() < end:
        probes.append(client.compute_probe(deadline_s=DEADLINE_S))
        time.sleep(PROBE_EVERY_S)
    return probes


def _processor(description: Description) -> Remark:
    capability = f", {description.cpu_capability}" if description.cpu_capability else ""
    onednn = f", oneDNN {description.onednn}" if description.onednn else ""
    text = f"{description.host.cpu}{capability}; torch {description.torch}{onednn}, Python {description.python}"
    return Remark(topic="processor", good=True, text=text)


def _threads(default: int, cores: int, variable: str | None) -> Remark:
    told = f"torch would use {units.plural(default, 'thread')} on {units.plural(cores, 'core')}"
    told += f" (OMP_NUM_THREADS={variable})" if variable else ""
    if default > max(1, cores - 1):
        return Remark(
            topic="threads",
            good=False,
            text=f"{told}: beside anything else that runs they wait for each other, and times become many times longer",
            mend="in the sweep: threads: 1" + (f", or at most {cores - 1}" if cores > 2 else ""),
        )
    return Remark(topic="threads", good=True, text=told)


def _allocator(*, keeps_memory: bool) -> Remark:
    if keeps_memory:
        text = "workers keep freed memory (tried: memory taken again does not fault); users get the system's allocator"
        return Remark(topic="allocator", good=True, text=text)
    return Remark(
        topic="allocator",
        good=False,
        text="freed memory goes back to the system at every call, and asking malloc to keep it did not help: layers"
        " with large outputs pay page faults, in some processes and not in others",
        mend="LD_PRELOAD=libjemalloc.so.2 convbench run ...   (apt-get install libjemalloc2)",
    )


def _frequency(governor: str | None, boost: bool | None) -> Remark:
    told = f"governor {governor}" if governor else "the system does not tell the governor, as in most virtual machines"
    told += "" if boost is None else f", boost {'on' if boost else 'off'}"
    if governor in (None, "performance"):
        return Remark(topic="frequency", good=True, text=told)
    return Remark(topic="frequency", good=False, text=told, mend="sudo cpupower frequency-set --governor performance")


def _memory(host: Host) -> Remark:
    if host.available_bytes is None:
        return Remark(topic="memory", good=True, text="the system does not tell how much is free for layers")
    good = host.available_bytes >= 2 * 2**30
    mend = None if good else "stop what else runs here, or measure smaller layers"
    return Remark(topic="memory", good=good, text=f"{units.size(host.available_bytes)} free for layers", mend=mend)


def _devices(accelerator: str | None) -> Remark:
    text = accelerator or "cpu only: torch finds no accelerator; cases on one are skipped"
    return Remark(topic="devices", good=True, text=text)
