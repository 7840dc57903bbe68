"""Runs an A/B measurement: it screens all cases, then measures suspected cases and controls in fresh pairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from convbench import units
from convbench.analysis.comparison import side_by_side
from convbench.analysis.comparison.comparability import Difference
from convbench.analysis.comparison.judgment import RunComparison
from convbench.conduct.described import Capacity, devices_of, environment_of, plainest
from convbench.conduct.listening import Listener
from convbench.conduct.pairs import BLOCK_S, ROUNDS, PairVisits, ProcessPairs
from convbench.engine.client import Description, Devices
from convbench.engine.device_locks import held
from convbench.engine.local import Setup
from convbench.engine.pool import Engine, WorkerPool
from convbench.errors import RequestError, WorkerError
from convbench.model.case import Allocator, Case
from convbench.model.result import Environment, Git, Rejection, Result, Run, RunState, Visit, merge
from convbench.model.variables import HIDDEN, is_secret, shown
from convbench.store import new_run_id
from convbench.sweep import Sweep
from convbench.version import __version__

#: Makes an engine that starts workers under a setup.
Launcher = Callable[[Setup], Engine]
#: Visits of a case by its position.
Visits = Mapping[int, list[Visit]]


class SideError(RequestError):
    """One side cannot measure: `side` is its name, and `reason` the error without it."""

    def __init__(self, side: str, reason: str, *, hint: str | None = None) -> None:
        super().__init__(f"side {side}: {reason}", hint=hint)
        self.side, self.reason = side, reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One environment: its name in messages, the setup of its workers and the engine that starts them.

    `git` is the git state of its modules, None if unknown or irrelevant. `recorded` is the stored environment that this
    side must match.
    """

    name: str
    setup: Setup
    engine: Engine
    git: Git | None = None
    recorded: Environment | None = None

    def cases(self, cases: Sequence[Case]) -> tuple[Case, ...]:
        """The cases with the number of threads that the setup asks for."""
        if self.setup.threads is None:
            return tuple(cases)
        return tuple(replace(case, threads=self.setup.threads) for case in cases)


def ab(
    sweep: Sweep,
    cases: Sequence[Case],
    sides: tuple[Side, Side],
    *,
    listener: Listener,
    threshold: float = side_by_side.THRESHOLD,
    pairs: int = side_by_side.CONFIRMATION,
    rejections: Sequence[Rejection] = (),
) -> RunComparison:
    """Measure the cases in both environments side by side, and compare the second with the first.

    A screen selects suspected cases, which are measured again in `pairs` pairs. Only the later pairs decide about them.
    `threshold` is a ratio minus 1. Raises SideError where a side's worker does not start, or a module of the user
    cannot be imported there.
    """
    with _conducted(sweep, cases, sides, listener, pairs=pairs) as both:
        screen = both.pairs.take(side_by_side.SCREEN, range(len(cases)), stage="screen, pair")
        base, new = both.runs(screen)
        suspected = side_by_side.suspects(base, new, threshold)
        control = side_by_side.controls(base, new, suspected, seed=sweep.seed)
        if suspected:
            again = f"{units.count(len(suspected))} of {units.plural(len(cases), 'case')} suspected"
            listener.message(f"{again}, measured again beside {units.plural(len(control), 'control')}")
        chosen = sorted({*suspected, *control})
        base, new = both.runs(_later(screen, _confirmation(both, cases, chosen, [threshold] * len(cases))))
    comparison = side_by_side.compare(
        base, new, names=_names(sides), confirmed=chosen, control=control, threshold=threshold
    )
    return RunComparison(
        comparison=replace(comparison, differences=(*comparison.differences, *_paths(sides), *_secrets(sides))),
        base=replace(base, rejections=tuple(rejections)),
        new=replace(new, rejections=tuple(rejections)),
    )


def confirm(
    sweep: Sweep,
    cases: Sequence[Case],
    sides: tuple[Side, Side],
    *,
    control: Collection[int],
    listener: Listener,
    threshold: float | Sequence[float] = side_by_side.THRESHOLD,
    pairs: int = side_by_side.CONFIRMATION,
) -> RunComparison:
    """Measure cases in both environments without a screen: the caller suspects all except those in `control`.

    `control` holds positions among the cases. `threshold` is one ratio minus 1 for all cases, or one per case. Raises
    the errors of `ab`, and RequestError where a side's software differs from the recorded one.
    """
    everything = range(len(cases))
    limits = np.broadcast_to(np.asarray(threshold, dtype=np.float64), len(cases)).tolist()
    with _conducted(sweep, cases, sides, listener, pairs=pairs) as both:
        base, new = both.runs(_confirmation(both, cases, everything, limits))
    comparison = side_by_side.compare(
        base, new, names=_names(sides), confirmed=everything, control=control, threshold=threshold
    )
    return RunComparison(comparison=comparison, base=base, new=new)


def _names(sides: tuple[Side, Side]) -> tuple[str, str]:
    return sides[0].name, sides[1].name


def _paths(sides: tuple[Side, Side]) -> list[Difference]:
    """The difference in module paths, if there is one."""
    a, b = (" ".join(side.setup.path) or "the current folder" for side in sides)
    return [Difference(what="module path", base=a, new=b)] if a != b else []


def _secrets(sides: tuple[Side, Side]) -> list[Difference]:
    """The variables that hold different secrets on both sides, without their values."""
    a, b = (dict(side.setup.variables) for side in sides)
    both = sorted(name for name in a.keys() & b.keys() if a[name] != b[name])
    return [
        Difference(what=n, base=HIDDEN, new="another value") for n in both if is_secret(n, a[n]) and is_secret(n, b[n])
    ]


def _confirmation(both: _Both, cases: Sequence[Case], chosen: Sequence[int], thresholds: Sequence[float]) -> PairVisits:
    """Take the confirming pairs. Cases larger than the L2 cache get more pairs, undecided cases more again.

    `thresholds` has one ratio minus 1 for each of `cases`.
    """
    l2_bytes, count = both.environments[1].l2_bytes, both.confirming
    first = both.pairs.take(count, chosen, stage="confirmation, pair")
    beyond = [i for i in chosen if not cases[i].fits(l2_bytes)]
    more = both.pairs.take(
        round(count * side_by_side.MORE_BEYOND_L2) - count, beyond, stage="more for layers larger than L2, pair"
    )
    taken = _together(first, more)
    a, b = ([_result(cases[i], visits[i]) for i in chosen] for visits in (taken.a, taken.b))
    undecided = [chosen[at] for at in side_by_side.undecided(a, b, [thresholds[i] for i in chosen])]
    return _together(taken, both.pairs.take(count, undecided, stage="more for undecided cases, pair"))


def _together(first: PairVisits, more: PairVisits) -> PairVisits:
    return PairVisits(a=_joined(first.a, more.a), b=_joined(first.b, more.b))


def _joined(first: Visits, more: Visits) -> Visits:
    return {position: [*visits, *more.get(position, [])] for position, visits in first.items()}


def _later(screen: PairVisits, confirmation: PairVisits) -> PairVisits:
    """The visits that decide: blocks of the screen are dropped for cases that were measured again."""

    def of_side(early: Visits, late: Visits) -> Visits:
        return {
            position: [*(replace(visit, blocks=b"") for visit in visits), *late[position]]
            if position in late
            else visits
            for position, visits in early.items()
        }

    return PairVisits(a=of_side(screen.a, confirmation.a), b=of_side(screen.b, confirmation.b))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Both:
    """Two environments during a measurement; `confirming` is the number of confirming pairs."""

    sweep: Sweep
    cases: tuple[Case, ...]
    sides: tuple[Side, Side]
    environments: tuple[Environment, ...]
    pairs: ProcessPairs
    confirming: int
    began: datetime

    def runs(self, taken: PairVisits) -> tuple[Run, Run]:
        """The visits of each side as a run, with one process per pair."""
        a, b = (self._run(at, visits) for at, visits in enumerate((taken.a, taken.b)))
        return a, b

    def _run(self, at: int, visits: Visits) -> Run:
        side, sweep = self.sides[at], self.sweep
        measure = replace(sweep.measure, rounds=ROUNDS, processes=self.confirming, budget=None)
        return Run(
            id=f"{new_run_id(self.began)[:-5]}-{side.name.lower()}",
            name=sweep.name,
            description=sweep.description,
            source=sweep.source,
            seed=sweep.seed,
            measure=replace(measure, max_time=BLOCK_S * ROUNDS * measure.processes),
            version=__version__,
            started_at=self.began.isoformat(),
            finished_at=datetime.now(UTC).isoformat(),
            state=RunState.FINISHED,
            environment=self.environments[at],
            results=tuple(_result(case, visits[position]) for position, case in enumerate(self.cases)),
            git=side.git,
        )


def _result(case: Case, visits: Sequence[Visit]) -> Result:
    """The result of a case on one side."""
    result = merge(case, visits)
    assert result is not None, "every case is visited in the first pair"
    return result


@contextmanager
def _conducted(
    sweep: Sweep, cases: Sequence[Case], sides: tuple[Side, Side], listener: Listener, *, pairs: int
) -> Iterator[_Both]:
    """Start and check the workers of both sides; ends all workers at the end."""
    pool = tuple(WorkerPool(side.engine, timeout_s=sweep.measure.timeout) for side in sides)
    own = [side.cases(cases) for side in sides]
    began, zero = datetime.now(UTC), time.monotonic()
    try:
        for side, each, some in zip(sides, pool, own, strict=True):
            with _naming_side(side):
                each.start([plainest(some)])
        descriptions: list[Description] = []
        for side, each, some in zip(sides, pool, own, strict=True):
            with _naming_side(side):
                descriptions.append(each.description(plainest(some)))
        capacities = [Capacity.of(description) for description in descriptions]
        most_workers = min(capacity.most_workers for capacity in capacities)
        for side, each, some in zip(sides, pool, own, strict=True):
            with _naming_side(side):
                workers = dict.fromkeys([plainest(some), *(case.worker for case in some)])
                each.start(list(workers)[: most_workers // 2])
                each.find_modules(workers, deadline_s=sweep.measure.timeout)
        named = {name for side in sides for name, _ in side.setup.variables}
        devices = [
            devices_of(each, some, deadline_s=sweep.measure.timeout) for each, some in zip(pool, own, strict=True)
        ]
        environments = tuple(
            _environment(side, description, found, plainest(some).allocator, named)
            for side, description, found, some in zip(sides, descriptions, devices, own, strict=True)
        )
        locks = [one.uuid or one.name for found in devices for one in found.devices]
        with held(locks, what=sweep.name, waiting=listener.waiting, message=listener.message):
            yield _Both(
                sweep=sweep,
                cases=tuple(cases),
                sides=sides,
                environments=environments,
                pairs=ProcessPairs(
                    ((pool[0], own[0]), (pool[1], own[1])),
                    seed=sweep.seed,
                    timeout_s=sweep.measure.timeout,
                    memory_limit=min(capacity.memory_limit for capacity in capacities),
                    device_limits=capacities[0].with_devices(devices[0]).device_limits,
                    most_workers=most_workers,
                    cache_bytes=max(capacity.cache_bytes for capacity in capacities),
                    progressed=listener.progressed,
                    clock=lambda: time.monotonic() - zero,
                ),
                confirming=pairs,
                began=began,
            )
    finally:
        for each in pool:
            each.close()


@contextmanager
def _naming_side(side: Side) -> Iterator[None]:
    """Turn an error into a SideError."""
    try:
        yield
    except (WorkerError, RequestError) as error:
        hint = error.hint
        if isinstance(error, RequestError) and side.setup.path:
            hint = f"make it importable from {' or '.join(side.setup.path)}, or through PYTHONPATH"
        raise SideError(side.name, error.message, hint=hint) from None


def _environment(
    side: Side, description: Description, devices: Devices, allocator: Allocator, named: Collection[str]
) -> Environment:
    """The environment of a side, as its plainest worker describes it; `allocator` is the requested one.

    Always includes the variables in `named`. Raises RequestError where the software differs from the recorded one.
    """
    found = environment_of(
        description,
        devices,
        allocator=allocator,
        executable=side.setup.python,
        variables=side.setup.environment,
    )
    own = {name: value for name, value in side.setup.environment.items() if name in named}
    found = replace(found, variables=tuple(sorted((dict(found.variables) | dict(shown(own.items()))).items())))
    changed = [name for name in _SOFTWARE if side.recorded and getattr(side.recorded, name) != getattr(found, name)]
    if changed:
        versions = ", ".join(
            f"{name} is {getattr(found, name)} now, was {getattr(side.recorded, name)}" for name in changed
        )
        raise RequestError(f"side {side.name}: {versions}")
    return found


#: Fields of an environment that must equal the recorded ones.
_SOFTWARE = ("torch", "python", "onednn", "libc")
