"""Times one block: untimed warm-up, then samples until the block is full, with garbage collection off.

A sample is one iteration, or as many as the clock's resolution needs. On a CPU the clock is read around each sample. On
an accelerator events are recorded around groups of iterations. The device is awaited once at the end of the block, and
the events' times are read after that.
"""

from __future__ import annotations

import gc
import resource
import statistics
from itertools import repeat
from time import perf_counter_ns
from typing import Any, Callable, NamedTuple, Protocol

Step = Callable[[], Any]

#: Shortest sample on a CPU, seconds: perf_counter_ns takes 50 ns and the loop as much, together 1 % of 10 us.
SHORTEST_SAMPLE_S = 10e-6
#: Shortest group between two events on an accelerator, seconds: the resolution of events is about 0.5 us.
SHORTEST_GROUP_S = 50e-6
#: Warm-up before a block: at least this number of iterations and of seconds, or one iteration above the last value.
WARMUP_ITERATIONS = 2
WARMUP_S = 3e-3
WARMUP_ONCE_S = 10e-3
#: An accelerator's clock frequency is steady when this number of groups of this duration agree within this ratio. The
#: last value limits the seconds spent on it. Boost clocks follow load and temperature within a few hundred ms.
STEADY_GROUPS = 4
STEADY_GROUP_S = 0.02
STEADY_RATIO = 0.01
STEADY_LIMIT_S = 1.0
#: Maximum number of events of one block: each needs some memory and launch time.
MOST_GROUPS = 2000


class Timing(NamedTuple):
    """One block: seconds per iteration, minor page faults per iteration; `host_s` is the time to launch, or None.

    `each_s` are the samples in the order in which they were taken. `last` is what the last iteration returned, where
    each iteration is a sample on a CPU, else None.
    """

    iterations: int
    samples: int
    minimum_s: float
    q1_s: float
    median_s: float
    q3_s: float
    p95_s: float
    mean_s: float
    host_s: float | None
    page_faults: float
    each_s: list[float]
    last: Any = None


class Warm(NamedTuple):
    """Untimed iterations that ran before a block's warm-up: their number, their seconds, and those of the fastest."""

    iterations: int
    seconds: float
    fastest_s: float

    def after(self, seconds: float) -> Warm:
        """With one more iteration of so many seconds."""
        return Warm(self.iterations + 1, self.seconds + seconds, min(self.fastest_s, seconds))


NOT_WARM = Warm(0, 0.0, float("inf"))


class Queue(Protocol):
    """The device's queue of work (see devices.Stream)."""

    has_events: bool

    def mark(self) -> Any:
        """Record an event in the queue."""

    def synchronize(self) -> None:
        """Wait until the queue is empty."""

    def seconds_between(self, first: Any, second: Any) -> float:
        """Device time between two events."""


def first_call(step: Step, queue: Queue | None) -> float:
    """Seconds of one iteration until its work is done."""
    before = perf_counter_ns()
    step()
    if queue:
        queue.synchronize()
    return (perf_counter_ns() - before) * 1e-9


def steady_clock(step: Step, queue: Queue) -> None:
    """Keep a device busy until its clock is steady, so that successive groups take equal times, or until time is up."""
    calls = _group(STEADY_GROUP_S, warm_up(step, queue))
    end = perf_counter_ns() + int(STEADY_LIMIT_S * 1e9)
    spent: list[int] = []
    while True:
        before = perf_counter_ns()
        for _ in repeat(None, calls):
            step()
        queue.synchronize()
        after = perf_counter_ns()
        spent = [*spent, after - before][-STEADY_GROUPS:]
        if after >= end or (len(spent) == STEADY_GROUPS and max(spent) <= (1 + STEADY_RATIO) * min(spent)):
            return


def warm_up(step: Step, queue: Queue | None, seconds: float = WARMUP_S, warm: Warm = NOT_WARM) -> float:
    """Run untimed iterations for `seconds`, at least `WARMUP_ITERATIONS`; those before, in `warm`, count.

    At least one runs, unless all of those before took longer than `WARMUP_ONCE_S`.

    Returns the seconds of the fastest one, the first estimate of an iteration. Another one may have been interrupted.
    With its longer time samples would have too few iterations for the clock's resolution.
    """
    done, spent_before, fastest = warm
    if done and fastest > WARMUP_ONCE_S:
        return fastest
    begin = perf_counter_ns()
    while True:
        before = perf_counter_ns()
        step()
        if queue:
            queue.synchronize()
        now = perf_counter_ns()
        done += 1
        last, spent = (now - before) * 1e-9, spent_before + (now - begin) * 1e-9
        fastest = min(fastest, last)
        if last > WARMUP_ONCE_S or (done >= WARMUP_ITERATIONS and spent >= seconds):
            return max(fastest, 1e-9)


def time_block(
    step: Step,
    seconds: float,
    queue: Queue | None = None,
    between: Callable[[], None] | None = None,
    *,
    warmup_s: float = WARMUP_S,
    warm: Warm = NOT_WARM,
) -> Timing:
    """Warm up, then time iterations for `seconds`, at least one sample. Iterations in `warm` count as warm-up.

    `between` is queued before each iteration and not timed; it needs a queue.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        estimate = warm_up(step, queue, warmup_s, warm)
        if queue is None:
            return _time_on_cpu(step, seconds, estimate)
        if between:
            return _time_each(step, seconds, queue, between)
        if queue.has_events:
            return _time_with_events(step, seconds, estimate, queue)
        return _time_synchronized(step, seconds, estimate, queue)
    finally:
        if collecting:
            gc.enable()


def _time_on_cpu(step: Step, seconds: float, estimate: float) -> Timing:
    now = perf_counter_ns
    samples: list[int] = []
    add = samples.append
    per_sample = _group(SHORTEST_SAMPLE_S, estimate)
    faults = _minor_faults()
    last = None
    end = now() + int(seconds * 1e9)
    if per_sample == 1:
        while True:
            before = now()
            last = None  # frees it first, as without `last`: the next result then gets the same memory
            last = step()
            after = now()
            add(after - before)
            if after >= end:
                break
    else:
        while True:
            before = now()
            for _ in repeat(None, per_sample):
                step()
            after = now()
            add(after - before)
            if after >= end:
                break
    faults = _minor_faults() - faults
    return _summary([sample * 1e-9 for sample in samples], per_sample, faults, None)._replace(last=last)


def _time_with_events(step: Step, seconds: float, estimate: float, queue: Queue) -> Timing:
    """Time groups of iterations between events. The estimate includes a wait, so a short group gives a better one."""
    probe = _group(SHORTEST_GROUP_S, estimate)
    first = queue.mark()
    for _ in repeat(None, 4 * probe):
        step()
    second = queue.mark()
    queue.synchronize()
    estimate = max(queue.seconds_between(first, second) / (4 * probe), 1e-9)
    per_group = _group(SHORTEST_GROUP_S, estimate)
    groups = max(1, min(MOST_GROUPS, round(seconds / (estimate * per_group))))
    faults = _minor_faults()
    begin = perf_counter_ns()
    marks = [queue.mark()]
    for _ in repeat(None, groups):
        for _ in repeat(None, per_group):
            step()
        marks.append(queue.mark())
    launched = perf_counter_ns()
    queue.synchronize()
    faults = _minor_faults() - faults
    samples = [queue.seconds_between(a, b) for a, b in zip(marks, marks[1:])]
    return _summary(samples, per_group, faults, (launched - begin) * 1e-9 / (groups * per_group))


def _time_each(step: Step, seconds: float, queue: Queue, between: Callable[[], None]) -> Timing:
    """Time each iteration separately, after `between`: with a pair of events, or with the clock around a wait.

    The time of `between` counts as part of the block's duration.
    """
    before = perf_counter_ns()
    between()
    step()
    queue.synchronize()
    count = max(1, min(MOST_GROUPS, int(seconds * 1e9 / max(1, perf_counter_ns() - before))))
    faults = _minor_faults()
    if not queue.has_events:
        samples = []
        for _ in repeat(None, count):
            between()
            queue.synchronize()
            samples.append(first_call(step, queue))
        return _summary(samples, 1, _minor_faults() - faults, None)
    pairs, launching = [], 0
    for _ in repeat(None, count):
        between()
        first = queue.mark()
        before = perf_counter_ns()
        step()
        launching += perf_counter_ns() - before
        pairs.append((first, queue.mark()))
    queue.synchronize()
    faults = _minor_faults() - faults
    return _summary([queue.seconds_between(*pair) for pair in pairs], 1, faults, launching * 1e-9 / count)


def _time_synchronized(step: Step, seconds: float, estimate: float, queue: Queue) -> Timing:
    """Time groups with the wall clock, with a wait after each, where the backend has no events that measure time."""
    per_group = _group(SHORTEST_GROUP_S, estimate)
    samples = []
    faults = _minor_faults()
    end = perf_counter_ns() + int(seconds * 1e9)
    while True:
        before = perf_counter_ns()
        for _ in repeat(None, per_group):
            step()
        queue.synchronize()
        after = perf_counter_ns()
        samples.append((after - before) * 1e-9)
        if after >= end:
            break
    return _summary(samples, per_group, _minor_faults() - faults, None)


def _group(shortest_s: float, estimate_s: float) -> int:
    """The number of iterations that a sample needs to last `shortest_s`."""
    return max(1, -int(-shortest_s // estimate_s))


def _summary(samples_s: list[float], per_sample: int, faults: int, host_s: float | None) -> Timing:
    each = [sample / per_sample for sample in samples_s]
    ordered = sorted(each)
    iterations = len(ordered) * per_sample
    return Timing(
        iterations=iterations,
        samples=len(ordered),
        minimum_s=ordered[0],
        q1_s=_quantile(ordered, 0.25),
        median_s=_quantile(ordered, 0.5),
        q3_s=_quantile(ordered, 0.75),
        p95_s=_quantile(ordered, 0.95),
        mean_s=statistics.fmean(ordered),
        host_s=host_s,
        page_faults=faults / iterations,
        each_s=each,
    )


def _quantile(ordered: list[float], fraction: float) -> float:
    """Linear interpolation between order statistics, numpy's default."""
    position = fraction * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def _minor_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
