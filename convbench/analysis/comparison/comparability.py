"""Whether two runs can be compared, and in what they differ: machine, software, settings, probes. Pure.

A difference that decides makes two runs incomparable. `refuse` raises an error for such differences.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from convbench import units
from convbench.errors import NotComparableError
from convbench.measure.estimate import BlockTable, Floats, Integers
from convbench.model.case import Case
from convbench.model.result import DeviceState, Environment, Git, Measure, ProcessFacts, Result, Run
from convbench.model.settings import PROCESS_SETTINGS

#: The lowest probes of comparable runs differ by at most this, as ratios minus 1. A product in the second-level cache
#: took 324 us whenever the machine was quiet. Copies through memory drift by 2-3.6 %.
COMPUTE_PROBE = 0.01
MEMORY_PROBE = 0.05
#: The fewest probes whose lowest one is repeatable: the lowest of 10 copies differed by 16 % in two runs of one minute.
#: The default of 5 processes of 5 rounds takes 25. Probes of so many blocks are counted.
FEWEST_PROBES = 20
COUNTED_BLOCKS = 10_000
#: Frequencies that differ by less count as equal, as a ratio; so do shares of stolen time, as a difference.
SAME_FREQUENCY = 0.01
SAME_STOLEN = 0.01
UNKNOWN = "unknown"
#: The settings that decide the worker of a case, as a tuple: faster than `Case.worker` for each case.
_KIND_OF_WORKER = attrgetter(*PROCESS_SETTINGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What differs between two sides, each side's value as text.

    - One that `decides` makes runs incomparable, except with --across-environments.
    - `cases` counts the cases that differ so, None where the runs as such do.
    """

    what: str
    base: str
    new: str
    decides: bool = False
    cases: int | None = None

    def __str__(self) -> str:
        """`torch 2.12.0 -> 2.13.0`, `threads 1 -> 2 in 12 cases`."""
        where = f" in {units.plural(self.cases, 'case')}" if self.cases is not None else ""
        return f"{self.what} {self.base} -> {self.new}{where}"


#: Fields of an environment: their names in messages, and whether a difference makes runs incomparable.
_FIELDS: dict[str, tuple[str, bool]] = {
    "cpu": ("processor", True),
    "torch": ("torch", True),
    "onednn": ("oneDNN", True),
    "allocator": ("allocator", True),
    "machine": ("architecture", True),
    "cpu_capability": ("processor capability", False),
    "cores": ("cores", False),
    "memory_bytes": ("memory", False),
    "l2_bytes": ("second-level cache", False),
    "l3_bytes": ("third-level cache", False),
    "hostname": ("host", False),
    "system": ("system", False),
    "libc": ("C library", False),
    "python": ("Python", False),
    "executable": ("interpreter", False),
}
#: The software whose difference makes runs incomparable, by its field of an environment.
COMPARED_SOFTWARE = {name: _FIELDS[name][0] for name in ("torch", "onednn", "allocator")}
#: Software below devices whose versions do not decide.
_HARMLESS = ("driver",)
#: Those of them that are sizes in bytes.
_SIZES = ("memory_bytes", "l2_bytes", "l3_bytes")


def differences(
    base: Run,
    new: Run,
    pairs: Sequence[tuple[Result, Result]],
    probed: Sequence[Difference] = (),
) -> tuple[Difference, ...]:
    """Every difference between two runs, those that decide first.

    `pairs` are the results of the cases that both sides measured, `probed` the differences of their `probes`.
    """
    cases = [result.case for result, _ in pairs]
    found = [
        *_environment(base.environment, new.environment, any(case.device != "cpu" for case in cases)),
        *_resolved(pairs),
        *probed,
        *_measure(base.measure, new.measure),
        *_between("convbench", base.version, new.version),
        *_between("commit", _commit(base.git), _commit(new.git)),
        *_state(base.processes, new.processes),
    ]
    return tuple(sorted(found, key=lambda difference: not difference.decides))


def refuse(base: Run, new: Run, found: Sequence[Difference]) -> None:
    """Raise NotComparableError where a difference decides."""
    decisive = [one for one in found if one.decides]
    if decisive:
        others = "; ".join(str(one) for one in found if one not in decisive)
        raise NotComparableError(
            f"{base.id} and {new.id} are not comparable: {'; '.join(map(str, decisive))}"
            + (f" (also: {others})" if others else ""),
            hint="--across-environments compares them anyway",
        )


def _between(what: str, base: object, new: object, *, decides: bool = False) -> list[Difference]:
    if base == new:
        return []
    texts = [UNKNOWN if value is None else " ".join(str(value).split()) or "none" for value in (base, new)]
    return [Difference(what=what, base=texts[0], new=texts[1], decides=decides)]


def _environment(base: Environment, new: Environment, accelerated: bool) -> list[Difference]:
    found = []
    for name, (what, decides) in _FIELDS.items():
        values = [getattr(side, name) for side in (base, new)]
        if values[0] != values[1] and name in _SIZES:
            values = [None if value is None else units.size(value) for value in values]
        found += _between(what, *values, decides=decides)
    found += _between("accelerator", base.accelerator, new.accelerator, decides=accelerated)
    found += _devices(base, new) if accelerated else []
    variables = [dict(side.variables) for side in (base, new)]
    for name in sorted({*variables[0], *variables[1]}):
        found += _between(name, *(side.get(name, "not set") for side in variables))
    return found


def _devices(base: Environment, new: Environment) -> list[Difference]:
    """What differs between the devices, and the software below them; one that a side does not know never decides."""
    found = []
    software = [dict(side.device_software) for side in (base, new)]
    for name in dict.fromkeys(key for side in software for key in side):
        versions = [side.get(name) for side in software]
        found += _between(name, *versions, decides=None not in versions and name not in _HARMLESS)
    known = [{device.name: device for device in side.devices} for side in (base, new)]
    for name in [name for name in known[0] if name in known[1]]:
        before, after = known[0][name], known[1][name]
        sizes = [None if each.memory_bytes is None else units.size(each.memory_bytes) for each in (before, after)]
        found += _between(name, before.model, after.model, decides=True)
        found += _between(f"memory of {name}", *sizes)
        found += _between(f"UUID of {name}", before.uuid, after.uuid)
    return found


def _resolved(pairs: Sequence[tuple[Result, Result]]) -> list[Difference]:
    """Settings that torch resolved to different values; a value that one side lacks is no difference."""
    found = []
    for name, what in (("threads", "threads"), ("precision", "float32 precision")):
        resolved = attrgetter(f"facts.{name}")
        seen = Counter(zip((resolved(base) for base, _ in pairs), (resolved(new) for _, new in pairs), strict=True))
        for (before, after), cases in seen.items():
            if before != after and before is not None and after is not None:
                found.append(Difference(what=what, base=str(before), new=str(after), decides=True, cases=cases))
    return found


def probes(cases: Sequence[Case], base: BlockTable, new: BlockTable) -> list[Difference]:
    """Probes whose lowest times differ too much and whose processes do not overlap, in every kind of worker.

    Other work on the machine can move the lowest probe of a run by more than another machine would. But it does not
    move all processes alike. Between runs of one busy machine the lowest probe moved by up to 7 % (compute) and 18 %
    (memory). Noise may disturb some kinds of workers alone, whose threads wait for each other. Another machine changes
    all.
    """
    numbers: dict[Hashable, int] = {}
    kinds = map(_KIND_OF_WORKER, cases)
    client = np.array([numbers.setdefault(kind, len(numbers)) for kind in kinds], dtype=np.int64)
    where = [(client[table.cases], table.integers("process_index")) for table in (base, new)]
    found = []
    for name, what, limit in (
        ("compute_probe_s", "compute probe's floor", COMPUTE_PROBE),
        ("memory_probe_s", "memory probe's floor", MEMORY_PROBE),
    ):
        low_before, high_before = _extremes(base.column(name), *where[0], len(numbers))
        low_after, high_after = _extremes(new.column(name), *where[1], len(numbers))
        known = np.flatnonzero(np.isfinite(low_before) & np.isfinite(low_after))
        if not len(known):
            continue
        moved = np.abs(np.log(low_after[known] / low_before[known]))
        overlap = (low_after <= high_before) & (low_before <= high_after)
        if np.all((moved > math.log1p(limit)) & ~overlap[known]):
            nearest = known[moved.argmin()]
            before, after = float(low_before[nearest]), float(low_after[nearest])
            change = f"{units.change(after / before)}, at most {units.percent(limit, 0)} is comparable"
            found.append(Difference(what=what, base=units.seconds(before), new=f"{units.seconds(after)} ({change})"))
    return found


def _extremes(probe: Floats, client: Integers, process_index: Integers, pool: int) -> tuple[Floats, Floats]:
    """The lowest and the highest of the processes' lowest probes, by kind of worker; NaN where there are too few.

    `probe`, `client` and `process_index` are those of the blocks.
    """
    ran = probe > 0  # NaN where no probe ran
    if not ran.all():
        probe, process_index, client = probe[ran], process_index[ran], client[ran]
    processes = int(process_index.max(initial=0)) + 1
    every = np.full(pool * processes, np.nan)
    np.fmin.at(every, client * processes + process_index, probe)  # one index: two indices take five times as long
    floors = every.reshape(pool, processes)
    for number in range(pool):  # blocks of one round share the memory probe
        some = np.flatnonzero(client == number)[:COUNTED_BLOCKS] if pool > 1 else slice(COUNTED_BLOCKS)
        if len(np.unique(probe[some])) < FEWEST_PROBES:
            floors[number] = np.nan
    return np.fmin.reduce(floors, axis=1), np.fmax.reduce(floors, axis=1)


def _measure(base: Measure, new: Measure) -> list[Difference]:
    texts: dict[str, Callable[[float], str]] = {
        "processes": str,
        "rounds": str,
        "max_time": units.seconds,
        "precision": units.percent,
    }
    return [
        one
        for name, text in texts.items()
        if getattr(base, name) != getattr(new, name)
        for one in _between(f"measure.{name}", text(getattr(base, name)), text(getattr(new, name)))
    ]


def _commit(git: Git | None) -> str | None:
    """The commit that was checked out, as text."""
    return None if git is None else git.commit + (" with changes" if git.dirty else "")


def _state(base: Sequence[ProcessFacts], new: Sequence[ProcessFacts]) -> list[Difference]:
    """Differences in the state of the machine during the runs, as far as the system reports it."""
    found = []
    before, after = (_median([facts.frequency_hz for facts in side]) for side in (base, new))
    if before and after and abs(math.log(after / before)) > math.log1p(SAME_FREQUENCY):
        found += _between("frequency", units.si(before, "Hz"), units.si(after, "Hz"))
    before, after = (_median([facts.stolen for facts in side]) for side in (base, new))
    if before is not None and after is not None and abs(after - before) > SAME_STOLEN:
        found += _between("time given to other guests", units.percent(before), units.percent(after))
    clocks = [
        {name: _median([state.sm_hz for state in states if state.device == name]) for name in _names(states)}
        for states in ([state for facts in side for state in facts.device_states] for side in (base, new))
    ]
    for name, before in clocks[0].items():
        after = clocks[1].get(name)
        if before and after and abs(math.log(after / before)) > math.log1p(SAME_FREQUENCY):
            found += _between(f"SM clock of {name}", units.si(before, "Hz"), units.si(after, "Hz"))
    counts = [[facts.throttled for facts in side if facts.throttled is not None] for side in (base, new)]
    if counts[0] and counts[1]:
        found += _between("times slowed down for heat or quota", *(units.count(sum(side)) for side in counts))
    return found


def _names(states: Sequence[DeviceState]) -> list[str]:
    return list(dict.fromkeys(state.device for state in states))


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
