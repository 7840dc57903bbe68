"""The timer, on the real clock for its bookkeeping and on a fake accelerator for its order of events."""

from __future__ import annotations

import gc
import time
import weakref
from collections import deque
from dataclasses import dataclass

import pytest

from convbench.worker import timer


class FakeAccelerator:
    """A device whose work finishes later than its launch returns, on a clock of its own.

    Launching costs `launch_s` of the host's time, the work `work_s` of the device's, and to make an event `event_s` of
    the host's. A mark read before the device has reached it raises, as elapsed_time does. Where `longest` launches are
    queued, the next one waits.
    """

    def __init__(
        self,
        *,
        work_s: float,
        launch_s: float = 1e-6,
        has_events: bool = True,
        can_hold: bool = False,
        event_s: float = 0.0,
        longest: int = 1024,
    ) -> None:
        self.has_events = has_events
        self.can_hold = can_hold
        self.work_s = work_s
        self.launch_s = launch_s
        self.event_s = event_s
        self.longest = longest
        self.host_s = 0.0
        self.busy_until_s = 0.0
        self.synchronized_at_s = -1.0
        self.launches = 0
        self.unread_launches = 0
        self.synchronizations = 0
        self.holds: list[float] = []
        self.waiting: deque[float] = deque()
        self.made: list[Mark] = []

    def step(self) -> None:
        self.launches += 1
        self.unread_launches += 1
        self.host_s += self.launch_s
        self.queue(self.work_s)

    def queue(self, seconds: float) -> None:
        """Work that takes so long, after all that is queued; beyond `longest` the host waits for room."""
        while self.waiting and self.waiting[0] <= self.host_s:
            self.waiting.popleft()
        if len(self.waiting) >= self.longest:
            self.host_s = self.waiting.popleft()
        self.busy_until_s = max(self.host_s, self.busy_until_s) + seconds
        self.waiting.append(self.busy_until_s)

    def events(self, count: int) -> list[Mark]:
        while len(self.made) < count:
            self.host_s += self.event_s
            self.made.append(Mark(reached_s=self.host_s))
        return self.made[:count]

    def record(self, event: Mark) -> None:
        event.reached_s = max(self.host_s, self.busy_until_s)

    def hold(self, seconds: float) -> None:
        self.holds.append(seconds)
        self.queue(seconds)

    def is_reached(self, event: Mark) -> bool:
        return event.reached_s <= self.host_s

    def synchronize(self) -> None:
        self.synchronizations += 1
        self.host_s = max(self.host_s, self.busy_until_s)
        self.synchronized_at_s = self.host_s
        self.unread_launches = 0

    def seconds_between(self, first: Mark, second: Mark) -> float:
        if second.reached_s > self.synchronized_at_s:
            raise RuntimeError("both events must be completed before calculating elapsed time")
        return second.reached_s - first.reached_s

    def perf_counter_ns(self) -> int:
        """The host's clock; nobody may read it as an end while work is under way."""
        return round(self.host_s * 1e9)


@dataclass
class Mark:
    reached_s: float


@pytest.fixture
def on_fake_clock(monkeypatch: pytest.MonkeyPatch) -> object:
    def use(device: FakeAccelerator) -> FakeAccelerator:
        monkeypatch.setattr(timer, "perf_counter_ns", device.perf_counter_ns)
        return device

    return use


@pytest.mark.parametrize("work_s", [3e-6, 2e-4, 5e-3])
@pytest.mark.parametrize("has_events", [True, False])
def test_device_time_is_the_works_time_not_the_launchs(on_fake_clock, work_s: float, has_events: bool) -> None:
    device = on_fake_clock(FakeAccelerator(work_s=work_s, has_events=has_events))
    timing = timer.time_block(device.step, 0.02, device)
    seen_launch_s = 0.0 if has_events else device.launch_s  # a synchronized wall clock sees a launch as well
    assert work_s * 0.99 <= timing.minimum_s <= timing.median_s <= (work_s + seen_launch_s) * 1.01
    assert timing.iterations * work_s == pytest.approx(0.02, rel=0.4)
    assert device.unread_launches == 0, "the device is idle when the block ends"


def test_the_clock_is_not_read_before_the_work_is_done(on_fake_clock, monkeypatch: pytest.MonkeyPatch) -> None:
    device = on_fake_clock(FakeAccelerator(work_s=1e-3))
    monkeypatch.setattr(device, "synchronize", lambda: None)
    with pytest.raises(RuntimeError, match="must be completed"):
        timer.time_block(device.step, 0.02, device)


def test_without_waiting_a_wall_clock_would_see_launches_only(on_fake_clock, monkeypatch: pytest.MonkeyPatch) -> None:
    device = on_fake_clock(FakeAccelerator(work_s=1e-3, has_events=False, longest=10**6))
    monkeypatch.setattr(device, "synchronize", lambda: None)
    timing = timer.time_block(device.step, 0.002, device)
    assert timing.median_s < 1e-5, "what the tests above would catch"


def test_one_wait_a_block_once_its_size_is_known(on_fake_clock) -> None:
    device = on_fake_clock(FakeAccelerator(work_s=2e-4))
    timing = timer.time_block(device.step, 0.02, device)
    warm_up_waits = round(timer.WARMUP_S / 2e-4) + 1
    assert timing.samples == 100
    assert device.synchronizations <= warm_up_waits + 2


@pytest.mark.parametrize(("work_s", "launch_s"), [(3e-6, 21e-6), (1e-6, 20e-6), (4e-5, 60e-6), (15e-6, 20e-6)])
def test_a_launch_bound_kernels_time_is_the_devices_and_the_launch_stands_beside(
    on_fake_clock, work_s: float, launch_s: float
) -> None:
    device = on_fake_clock(FakeAccelerator(work_s=work_s, launch_s=launch_s, event_s=3e-6, can_hold=True))
    timing = timer.time_block(device.step, 0.02, device)
    assert timing.minimum_s == pytest.approx(work_s, rel=1e-6)
    assert timing.p95_s == pytest.approx(work_s, rel=1e-6)
    assert timing.host_s == pytest.approx(launch_s, rel=1e-3), "events are made before, not between launches"
    assert device.host_s < 0.02 * 4, "launching counts into the block's length"
    cold = timer.time_block(device.step, 0.02, device, lambda: device.queue(1e-3))
    assert cold.minimum_s == pytest.approx(timing.minimum_s, rel=1e-6), "cold and hot are comparable"


def test_a_hold_that_was_too_short_is_made_longer_and_its_groups_do_not_count(on_fake_clock) -> None:
    device = on_fake_clock(FakeAccelerator(work_s=3e-6, launch_s=10e-6, can_hold=True))
    steps = iter(range(10**6))

    def slower() -> None:
        if next(steps) > 3000:
            device.launch_s = 25e-6  # longer than the margin allows
        device.step()

    timing = timer.time_block(slower, 0.05, device)
    assert timing.p95_s == pytest.approx(3e-6, rel=1e-6)
    per_launch = {round(hold / 500 * 1e6) for hold in device.holds[1:]}
    assert len(per_launch) > 1


@pytest.mark.parametrize("can_hold", [True, False])
def test_a_kernel_that_takes_longer_than_its_launch_is_not_held(on_fake_clock, can_hold: bool) -> None:
    device = on_fake_clock(FakeAccelerator(work_s=1e-4, launch_s=2e-5, can_hold=can_hold))
    timing = timer.time_block(device.step, 0.02, device)
    assert (timing.minimum_s, device.holds) == (pytest.approx(1e-4), [])
    assert timing.host_s == pytest.approx(2e-5)


def test_a_long_iteration_is_not_probed_again(on_fake_clock) -> None:
    device = on_fake_clock(FakeAccelerator(work_s=0.05))
    timing = timer.time_block(device.step, 0.02, device)
    assert (timing.iterations, device.launches) == (1, 2)


def test_groups_between_events_last_long_enough(on_fake_clock) -> None:
    device = on_fake_clock(FakeAccelerator(work_s=3e-6, launch_s=1e-6))
    assert timer.SHORTEST_GROUP_S == 200e-6
    timing = timer.time_block(device.step, 0.02, device)
    assert timing.iterations / timing.samples * 3e-6 >= timer.SHORTEST_GROUP_S * 0.99
    assert timing.samples <= timer.MOST_GROUPS


@pytest.mark.parametrize("has_events", [True, False])
def test_what_goes_on_between_iterations_is_not_timed(on_fake_clock, has_events: bool) -> None:
    """A cold cache: a buffer is overwritten before each iteration, on the same queue."""
    device = on_fake_clock(FakeAccelerator(work_s=2e-4, has_events=has_events))
    flushes = []

    def flush() -> None:
        flushes.append(device.host_s)
        device.busy_until_s = max(device.host_s, device.busy_until_s) + 1e-3

    timing = timer.time_block(device.step, 0.02, device, flush)
    seen_launch_s = 0.0 if has_events else device.launch_s
    assert 2e-4 * 0.99 <= timing.minimum_s <= timing.p95_s <= (2e-4 + seen_launch_s) * 1.01
    assert timing.iterations == timing.samples == len(flushes) - 1
    assert timing.iterations == pytest.approx(0.02 / 1.2e-3, abs=1), "what is between counts into the block's length"
    assert device.unread_launches == 0


def test_with_something_between_the_clock_is_not_read_before_the_work_is_done(
    on_fake_clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = on_fake_clock(FakeAccelerator(work_s=1e-3))
    monkeypatch.setattr(device, "synchronize", lambda: None)
    with pytest.raises(RuntimeError, match="must be completed"):
        timer.time_block(device.step, 0.02, device, lambda: None)


def test_the_first_call_lasts_until_its_work_is_done(on_fake_clock) -> None:
    device = on_fake_clock(FakeAccelerator(work_s=1e-3, launch_s=1e-5))
    assert timer.first_call(device.step, device) == pytest.approx(1.01e-3)
    assert timer.first_call(device.step, None) == pytest.approx(1e-5), "without a queue, until the call returns"


def test_a_device_is_kept_busy_until_its_clock_is_steady(on_fake_clock, monkeypatch: pytest.MonkeyPatch) -> None:
    device = on_fake_clock(FakeAccelerator(work_s=2e-3))
    lasted = []

    def speeding_up() -> None:
        device.work_s = max(1e-3, device.work_s * 0.99)
        lasted.append(device.work_s)
        device.step()

    timer.steady_clock(speeding_up, device)
    assert lasted[-1] == lasted[-40] == 1e-3, "several groups at the last clock"
    assert device.unread_launches == 0
    assert device.host_s < timer.STEADY_LIMIT_S
    never = on_fake_clock(FakeAccelerator(work_s=1e-3))

    def wavering() -> None:
        never.work_s = 1e-3 if never.launches % 40 < 20 else 2e-3
        never.step()

    timer.steady_clock(wavering, never)
    assert timer.STEADY_LIMIT_S <= never.host_s < 1.2 * timer.STEADY_LIMIT_S


def test_host_time_shows_where_launching_is_the_longer_one(on_fake_clock) -> None:
    device = on_fake_clock(FakeAccelerator(work_s=1e-6, launch_s=20e-6))
    timing = timer.time_block(device.step, 0.02, device)
    assert timing.host_s == pytest.approx(20e-6, rel=0.01)
    assert timing.host_s > 1e-6


def test_a_block_on_the_cpu_counts_what_it_ran() -> None:
    calls = []
    timing = timer.time_block(lambda: calls.append(time.sleep(1e-4)), 0.005)
    warm_up = len(calls) - timing.iterations
    assert timing.samples == timing.iterations >= 1
    assert warm_up >= timer.WARMUP_ITERATIONS
    assert 1e-4 <= timing.minimum_s <= timing.q1_s <= timing.median_s <= timing.q3_s <= timing.p95_s
    assert timing.host_s is None


def test_short_iterations_are_grouped_into_samples_and_long_ones_run_once() -> None:
    short = timer.time_block(lambda: None, 0.002)
    assert short.iterations > 10 * short.samples
    assert short.last is None
    long_calls = []
    long = timer.time_block(lambda: long_calls.append(time.sleep(0.012)), 0.001)
    assert (long.iterations, len(long_calls)) == (1, 2), "one warm-up iteration is enough for a long one"


def test_the_last_result_is_kept_and_freed_before_the_next_iteration() -> None:
    alive: list[weakref.ref[set[int]]] = []

    def step() -> set[int]:
        assert not any(result() for result in alive), "a second result would get other memory"
        result = {len(alive)}
        alive.append(weakref.ref(result))
        time.sleep(1e-4)
        return result

    timing = timer.time_block(step, 0.005)
    assert timing.last == {len(alive) - 1}


def test_iterations_before_a_block_count_as_its_warm_up() -> None:
    calls: list[None] = []
    long = timer.NOT_WARM.after(0.012)
    timer.time_block(lambda: calls.append(time.sleep(0.012)), 0.001, warm=long)
    assert len(calls) == 1, "none but the timed one, after one that was long"
    assert timer.warm_up(lambda: None, None, warm=long.after(0.011)) == 0.011, "the fastest of those before"
    short = timer.Warm(iterations=5, seconds=2.9e-3, fastest_s=1.0)
    calls.clear()
    timer.warm_up(lambda: calls.append(time.sleep(2e-4)), None, warm=short._replace(fastest_s=5e-4))
    assert len(calls) == 1, "one call more, which fills the 3 ms"
    calls.clear()
    timer.warm_up(lambda: calls.append(time.sleep(2e-4)), None, warm=short._replace(seconds=1.9e-3, fastest_s=5e-4))
    assert 2 <= len(calls) <= 6


def test_an_interrupted_warm_up_makes_no_short_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(
        [0, *(tick for start in (0, 1_000_000, 2_000_000) for tick in (start, start + 200)), 2_999_000, 3_100_000]
    )
    monkeypatch.setattr(timer, "perf_counter_ns", lambda: next(ticks))
    assert timer.warm_up(lambda: None, None) == pytest.approx(2e-7)


def test_garbage_collection_is_off_in_a_block_and_comes_back() -> None:
    seen = set()
    assert gc.isenabled()
    timer.time_block(lambda: seen.add(gc.isenabled()), 0.001)
    assert seen == {False}
    assert gc.isenabled()

    def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        timer.time_block(fails, 0.001)
    assert gc.isenabled()


def test_page_faults_are_counted_per_iteration() -> None:
    import mmap

    pages = 64

    def touch() -> None:
        with mmap.mmap(-1, pages * mmap.PAGESIZE) as fresh:
            for page in range(pages):
                fresh[page * mmap.PAGESIZE] = 1

    assert timer.time_block(touch, 0.005).page_faults >= pages * 0.9
    assert timer.time_block(lambda: None, 0.005).page_faults < 1


def test_quantiles_are_numpys() -> None:
    import numpy

    values = sorted(float(value) for value in numpy.random.default_rng(0).exponential(size=37))
    for fraction in (0.25, 0.5, 0.75, 0.95):
        assert timer._quantile(values, fraction) == pytest.approx(numpy.quantile(values, fraction))
