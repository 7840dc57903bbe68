"""The checks of `convbench check`: what disturbs a measurement on this machine, and the command that fixes it."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from convbench import units
from convbench.engine import nvidia
from convbench.engine.client import Description, Devices
from convbench.engine.machine import Host
from convbench.engine.pool import Engine, WorkerPool
from convbench.model.case import Case, WorkerSettings
from convbench.model.result import DeviceState

#: How long probes run, seconds.
PROBING_S = 4.0
#: Time between two probes, seconds: about that between two blocks.
PROBE_EVERY_S = 0.02
#: A probe is quiet if it takes at most this factor of the fastest probe's time.
QUIET = 1.03
#: A machine is noisy if a smaller share of the probes was quiet. The floor stays reliable down to about 0.1.
NOISY_SHARE = 0.5
#: Share of stolen processor time from which it is reported.
STEAL = 0.01
#: Maximum time for one request, seconds.
DEADLINE_S = 60.0
_CPU_ONLY = "cpu only: torch finds no accelerator, so its cases are skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One observation about the machine. `fix` is the command or setting that improves it, if there is one."""

    topic: str
    good: bool
    text: str
    fix: str | None = None


def check_machine(engine: Engine, *, probing_s: float = PROBING_S) -> list[Remark]:
    """Start workers, run probes for `probing_s` seconds, and return the remarks."""
    pool = WorkerPool(engine)
    try:
        default = pool.description(WorkerSettings())
        one = WorkerSettings(threads=1)
        steady = pool.description(one)
        before = pool.host_state(deadline_s=DEADLINE_S)
        probes = _run_probes(pool, one, probing_s)
        after = pool.host_state(deadline_s=DEADLINE_S)
        found = pool.client(one).devices(["accelerator"], deadline_s=DEADLINE_S)
    finally:
        pool.close()
    host = steady.host
    return [
        _processor(steady),
        threads_remark(default.threads, host.cores),
        _allocator(keeps_memory=steady.keeps_memory),
        _frequency(host.governor, host.boost),
        noise(probes, stolen=after.stolen_since(before), load=after.load, cores=host.cores),
        _memory(host),
        _devices(found),
        *clocks(found),
    ]


def remarks_text(remarks: list[Remark]) -> str:
    """The remarks as lines for a terminal."""
    lines = []
    for remark in remarks:
        lines.append(f"{'ok  ' if remark.good else 'WARN'}  {remark.topic:<10}  {remark.text}")
        lines += [f"{'':18}-> {remark.fix}"] if remark.fix else []
    return "\n".join(lines)


def noise(probes: list[float], *, stolen: float | None, load: float | None, cores: int) -> Remark:
    """The remark on noise; `probes` are the seconds that a fixed piece of work took, in order."""
    floor, median = min(probes), statistics.median(probes)
    quiet = sum(value <= floor * QUIET for value in probes) / len(probes)
    text = (
        f"a fixed matrix product took {units.seconds(floor)} at best, {units.percent(median / floor - 1, 0)} more in"
        f" the median, {units.percent(max(probes) / floor - 1, 0)} more at worst; {units.percent(quiet, 0)} of"
        f" {len(probes)} probes were quiet"
    )
    busy = load is not None and load > cores / 2
    text += f"; load {load:.1f} on {units.plural(cores, 'core')}" if load is not None else ""
    steals = stolen is not None and stolen > STEAL
    text += f"; other guests of the host took {units.percent(stolen)} of the processor's time" if steals else ""
    good = quiet >= NOISY_SHARE and not busy and not steals
    fix = None
    if busy:
        fix = "stop other programs on this machine (top lists them)"
    elif not good:
        fix = "measure in more processes, in the sweep: measure: {processes: 8}"
    return Remark(topic="noise", good=good, text=text, fix=fix)


def _run_probes(pool: WorkerPool, settings: WorkerSettings, probing_s: float) -> list[float]:
    client = pool.client(settings)
    probes: list[float] = []
    end = time.monotonic() + probing_s
    while not probes or time.monotonic() < end:
        probes.append(client.compute_probe(deadline_s=DEADLINE_S))
        time.sleep(PROBE_EVERY_S)
    return probes


def _processor(description: Description) -> Remark:
    capability = f", {description.cpu_capability}" if description.cpu_capability else ""
    onednn = f", oneDNN {description.onednn}" if description.onednn else ""
    text = f"{description.host.cpu}{capability}; torch {description.torch}{onednn}, Python {description.python}"
    return Remark(topic="processor", good=True, text=text)


def threads_remark(default: int, cores: int) -> Remark:
    """The remark on the number of threads that torch uses where a sweep gives none."""
    variable = os.environ.get("OMP_NUM_THREADS")
    text = f"torch would use {units.plural(default, 'thread')} on {units.plural(cores, 'core')}"
    text += f" (OMP_NUM_THREADS={variable})" if variable else ""
    if default > max(1, cores - 1):
        return Remark(
            topic="threads",
            good=False,
            text=f"{text}; if another program runs too, threads wait for each other and times become much longer",
            fix="in the sweep: threads: 1" + (f", or at most {cores - 1}" if cores > 2 else ""),
        )
    return Remark(topic="threads", good=True, text=text)


def threads_note(cases: Sequence[Case], threads: int, cores: int) -> str | None:
    """What to know where cases leave the number of threads to torch, which takes `threads`; None where that is well."""
    undecided = sum(case.threads is None for case in cases)
    remark = threads_remark(threads, cores)
    if not undecided or remark.good:
        return None
    return f"threads is null for {units.plural(undecided, 'case')}: {remark.text}; {remark.fix}"


def _allocator(*, keeps_memory: bool) -> Remark:
    if keeps_memory:
        text = "workers keep freed memory (tested); your own programs use the system's allocator"
        return Remark(topic="allocator", good=True, text=text)
    return Remark(
        topic="allocator",
        good=False,
        text="malloc returns freed memory to the system in spite of its settings: layers with large outputs cause page"
        " faults in some processes",
        fix="LD_PRELOAD=libjemalloc.so.2 convbench run ...   (apt-get install libjemalloc2)",
    )


def _frequency(governor: str | None, boost: bool | None) -> Remark:
    text = f"governor {governor}" if governor else "governor unknown, as in most virtual machines"
    text += "" if boost is None else f", boost {'on' if boost else 'off'}"
    if governor in (None, "performance"):
        return Remark(topic="frequency", good=True, text=text)
    return Remark(topic="frequency", good=False, text=text, fix="sudo cpupower frequency-set --governor performance")


def _memory(host: Host) -> Remark:
    if host.available_bytes is None:
        return Remark(topic="memory", good=True, text="free memory unknown")
    good = host.available_bytes >= 2 * 2**30
    fix = None if good else "stop other programs on this machine, or measure smaller layers"
    return Remark(topic="memory", good=good, text=f"{units.size(host.available_bytes)} free for layers", fix=fix)


def clocks(found: Devices) -> list[Remark]:
    """What NVIDIA's library says of each device; where it is absent, how to get it."""
    if not any(name == "CUDA" for name, _ in found.software):
        return []
    known = nvidia.opened(found.devices)
    if known is None:
        fix = None if nvidia.is_installed() else "pip install 'convbench[nvidia]'"
        return [Remark(topic="clock", good=True, text="clock, power and heat of the device are unknown", fix=fix)]
    try:
        states = [known.state(device.name) for device in found.devices if device.name in known.names]
    finally:
        known.close()
    return [_clock(state) for state in states]


def _clock(state: DeviceState) -> Remark:
    if state.other_processes:
        fix = "stop other programs on this device (nvidia-smi lists them)"
    elif state.slowdowns:
        fix = "cool the device, or raise its power limit"
    else:
        fix = None
    return Remark(topic="clock", good=fix is None, text=f"{state.device}: {state}", fix=fix)


def _devices(found: Devices) -> Remark:
    software = "".join(f", {name} {version}" for name, version in found.software)
    text = f"{found.accelerator}{software}" if found.accelerator else _CPU_ONLY
    return Remark(topic="devices", good=True, text=text)
