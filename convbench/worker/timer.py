"""Times one block: untimed warm-up, then samples until the block is full, with garbage collection off.

A sample is one iteration, or as many as the clock's resolution needs. On a CPU the clock is read around each sample. On
an accelerator events are recorded around groups of iterations. They exist before, and their times are read after the
device is awaited. Where launching takes longer than the work, the device is held until the launches are queued. Then
the work runs without gaps, so that device time and host time are two figures.
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
#: Shortest group between two events on an accelerator, seconds: the resolution of events is about 0.5 us, 0.25 % of it.
SHORTEST_GROUP_S = 200e-6
#: An iteration of more seconds, with its wait, is not probed further: the wait takes about 10 us of it.
LONG_S = 2e-3
#: Launching limits where the device takes less than this multiple of the time to launch.
LAUNCH_BOUND = 1.2
#: Maximum number of launches behind a hold: CUDA's queue takes about a thousand before launching blocks.
MOST_HELD = 500
#: The time of a hold as a multiple of the expected time to launch what is behind it; doubled where that was too short.
HOLD_MARGIN = 1.5
HOLD_TRIES = 4
#: Warm-up before a block: at least this number of iterations and of seconds, or one iteration above the last value.
WARMUP_ITERATIONS = 2
WARMUP_S = 3e-3
WARMUP_ONCE_S = 10e-3
#: The warm-up of a device that was idle for longer than the second value, seconds; Triton's `do_bench` takes as much.
DEVICE_WARMUP_S = 25e-3
IDLE_S = 10e-3
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
    can_hold: bool

    def events(self, count: int) -> list[Any]:
        """So many events, which exist and were recorded before."""

    def record(self, event: Any) -> None:
        """Record an event after all work launched so far."""

    def hold(self, seconds: float) -> None:
        """Make the device do nothing for so long, before what is launched next."""

    def is_reached(self, event: Any) -> bool:
        """Whether the device has done everything before the event."""

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
    """Keep a device busy until its clock is steady, so that successive groups take equal times, or until time is up.

    The first call, which may load libraries, is not an estimate.
    """
    first_call(step, queue)
    calls = _group(STEADY_GROUP_S, first_call(step, queue))
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
        calls = _group(STEADY_GROUP_S, min(spent) * 1e-9 / calls)


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
    return _summary([sample * 1e-9 / per_sample for sample in samples], per_sample, faults, None)._replace(last=last)


class _Launched(NamedTuple):
    """Groups of iterations: device seconds of each, and the host's seconds to launch one iteration."""

    groups_s: list[float]
    host_s: float
    held: bool  # whether the device began after all were launched


def _time_with_events(step: Step, seconds: float, estimate: float, queue: Queue) -> Timing:
    """Time groups of iterations between events, behind a hold where launching takes longer than the work."""
    held_s = 0.0
    if estimate < LONG_S:
        count = min(MOST_HELD, 4 * _group(SHORTEST_GROUP_S, estimate))
        probed = _launch(step, queue, 1, count, 0.0)
        [estimate] = probed.groups_s
        if queue.can_hold and estimate < LAUNCH_BOUND * probed.host_s:
            held_s = HOLD_MARGIN * probed.host_s
            probed, held_s = _held(step, queue, 1, count, held_s)
            [estimate] = probed.groups_s
        estimate = max(estimate, 1e-9)
    per_group = min(MOST_HELD, _group(SHORTEST_GROUP_S, estimate))
    groups = max(1, min(MOST_GROUPS, round(seconds / (estimate * per_group))))
    faults = _minor_faults()
    if not held_s:
        taken = [_launch(step, queue, groups, per_group, 0.0)]
    else:
        taken, end = [], perf_counter_ns() + int(seconds * 1e9)
        at_once = min(groups, MOST_HELD // per_group)
        while not taken or (perf_counter_ns() < end and sum(len(some.groups_s) for some in taken) < groups):
            some, held_s = _held(step, queue, at_once, per_group, held_s)
            taken.append(some)
    faults = _minor_faults() - faults
    host_s = statistics.fmean([some.host_s for some in taken])
    return _summary([group for some in taken for group in some.groups_s], per_group, faults, host_s)


def _held(step: Step, queue: Queue, groups: int, per_group: int, held_s: float) -> tuple[_Launched, float]:
    """Groups behind a hold of `held_s` for each iteration, which grows where it was too short; also the last value."""
    for last in (*[False] * (HOLD_TRIES - 1), True):
        launched = _launch(step, queue, groups, per_group, held_s * groups * per_group)
        if launched.held or last:
            break
        held_s *= 2
    return launched, held_s


def _launch(step: Step, queue: Queue, groups: int, per_group: int, hold_s: float) -> _Launched:
    """Launch groups of iterations between events, behind a hold of `hold_s` seconds, and wait for them."""
    now = perf_counter_ns
    first, *others = queue.events(groups + 1)
    launching = 0
    if hold_s:
        queue.hold(hold_s)
    queue.record(first)
    for event in others:
        before = now()
        for _ in repeat(None, per_group):
            step()
        launching += now() - before
        queue.record(event)
    held = not queue.is_reached(first)
    queue.synchronize()
    each = [queue.seconds_between(a, b) / per_group for a, b in zip([first, *others], others)]
    return _Launched(each, launching * 1e-9 / (groups * per_group), held)


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
    events, launching = queue.events(2 * count), 0
    pairs = list(zip(events[::2], events[1::2]))
    for first, second in pairs:
        between()
        queue.record(first)
        before = perf_counter_ns()
        step()
        launching += perf_counter_ns() - before
        queue.record(second)
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
        samples.append((after - before) * 1e-9 / per_group)
        if after >= end:
            break
    return _summary(samples, per_group, _minor_faults() - faults, None)


def _group(shortest_s: float, estimate_s: float) -> int:
    """The number of iterations that a sample needs to last `shortest_s`."""
    return max(1, -int(-shortest_s // estimate_s))


def _summary(each_s: list[float], per_sample: int, faults: int, host_s: float | None) -> Timing:
    """The figures of a block from the seconds per iteration of its samples, which have `per_sample` iterations."""
    ordered = sorted(each_s)
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
        each_s=each_s,
    )


def _quantile(ordered: list[float], fraction: float) -> float:
    """Linear interpolation between order statistics, numpy's default."""
    position = fraction * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def _minor_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
