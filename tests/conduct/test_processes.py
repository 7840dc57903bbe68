from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
from fake_engine import GLIBC, FakeEngine, Script
from fake_nvml import FakeCard, install
from numbered_cases import case

from convbench.conduct import processes as processes_module
from convbench.conduct.budget import Budget
from convbench.conduct.processes import Hooks, Processes, Progress
from convbench.engine.client import WorkerClient
from convbench.engine.nvidia import opened
from convbench.engine.pool import WorkerPool
from convbench.measure import schedule
from convbench.measure.references import leading_times as rows_of
from convbench.model.case import Allocator, Case, WorkerSettings
from convbench.model.problem import Direction
from convbench.model.result import (
    Device,
    Measure,
    ProcessFacts,
    Result,
    RoofKind,
    Status,
    StopReason,
    Visit,
    merge,
    unpack_blocks,
)

MEASURE = Measure(precision=1e-6)  # never settles, unless a test says otherwise


class Recorder:
    """Collects the calls of the hooks."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        self.progress: list[Progress] = []
        self.finished: list[int] = []
        self.noted: list[ProcessFacts] = []

    def hooks(self) -> Hooks:
        return Hooks(
            stored=self.visits.extend,
            progressed=self.progress.append,
            process_noted=self.noted.append,
            process_finished=self.finished.append,
        )

    def of(self, wanted: Case) -> list[Visit]:
        return [visit for visit in self.visits if visit.case_id == wanted.id]


def processes_of(result: Result) -> list[int]:
    """Which processes the result has blocks of."""
    every = [block for layout, packed in result.blocks for block in unpack_blocks(packed, layout)]
    return sorted({block.process_index for block in every})


def measure(
    cases: Sequence[Case],
    script: Script | None = None,
    *,
    measure: Measure = MEASURE,
    history: Sequence[Visit] = (),
    memory_limit: int = 10**12,
) -> tuple[Recorder, FakeEngine]:
    recorder, engine = Recorder(), FakeEngine(script)
    processes = Processes(
        cases,
        measure,
        seed=1,
        pool=WorkerPool(engine),
        memory_limit=memory_limit,
        hooks=recorder.hooks(),
        history=history,
        clock=lambda: 0.0,
    )
    try:
        processes.run()
    finally:
        assert engine.workers >= engine.closed
        assert engine.late == 0, "nothing is asked of a worker that is known to be gone"
    return recorder, engine


def test_every_process_is_a_fresh_worker_and_checks_come_first() -> None:
    cases = [case(1), case(2)]
    recorder, engine = measure(cases, Script(drift=0.1))
    assert engine.workers == engine.closed == 5
    assert engine.log[:2] == [("check", 1), ("check", 2)]
    assert len(engine.asked("check")) == 2
    assert len(engine.asked("prepare")) == 2 * 4
    assert len(engine.asked("block")) == 2 * 25
    assert recorder.finished == [facts.process_index for facts in recorder.noted] == [0, 1, 2, 3, 4]
    assert all(facts.seconds > 0 for facts in recorder.noted)
    for each in cases:
        visits = recorder.of(each)
        assert [visit.process_index for visit in visits] == [0, 1, 2, 3, 4]
        assert [len(unpack_blocks(visit.blocks)) for visit in visits] == [5] * 5
        assert visits[0].facts.check is not None
        assert visits[1].facts.check is None
        assert [visit.stop_reason for visit in visits] == [StopReason.UNFINISHED] * 4 + [StopReason.ROUNDS]


def test_a_round_is_one_block_of_every_case_after_one_memory_probe() -> None:
    _, engine = measure([case(name) for name in range(1, 6)], Script(drift=0.1), measure=Measure(processes=1))
    rounds = [entry for entry in engine.log if entry[0] in ("block", "memory_probe")]
    assert len(rounds) == 5 * 6
    orders = []
    for start in range(0, 30, 6):
        assert rounds[start] == ("memory_probe", 0)
        orders.append([name for _, name in rounds[start + 1 : start + 6]])
    assert all(sorted(order) == [1, 2, 3, 4, 5] for order in orders)
    assert len({tuple(order) for order in orders}) > 1, "the order is fresh in each round"


def test_a_settled_case_is_left_out_of_later_processes() -> None:
    recorder, engine = measure([case(1)], measure=Measure(precision=0.01))
    assert [visit.stop_reason for visit in recorder.visits] == [StopReason.UNFINISHED] * 3 + [StopReason.SETTLED]
    assert engine.workers == 4
    assert recorder.progress[-1].visits_planned == recorder.progress[-1].visits_done == 4


def test_a_drifting_case_never_settles() -> None:
    recorder, _ = measure([case(1)], Script(drift=0.02), measure=Measure(precision=0.01))
    assert len(recorder.visits) == 5


def test_a_slow_case_gets_fewer_rounds_and_says_why() -> None:
    slow, fast = case(1), case(2)
    recorder, _ = measure([slow, fast], Script(iteration_s={1: 0.3}, drift=0.1))
    counts = [(visit.process_index, len(unpack_blocks(visit.blocks))) for visit in recorder.of(slow)]
    assert counts == [(0, 1), (1, 1), (2, 1), (3, 1)], "as many processes as a comparison needs"
    assert recorder.of(slow)[-1].stop_reason is StopReason.TIME
    assert len(recorder.of(fast)) == 5


def test_a_segfault_costs_that_case_alone() -> None:
    cases = [case(1), case(2), case(3)]
    recorder, engine = measure(cases, Script(segfault_in_block={2}, drift=0.1))
    crashed = merge(cases[1], recorder.of(cases[1]))
    assert crashed is not None
    assert (crashed.status, crashed.reason) == (Status.CRASHED, "the worker was ended by SIGSEGV")
    assert engine.asked("block").count(2) == 1
    for other in (cases[0], cases[2]):
        assert [len(unpack_blocks(visit.blocks)) for visit in recorder.of(other)] == [5] * 5
        assert all(visit.status is Status.PASSED for visit in recorder.of(other))
    assert engine.workers == 6, "one replacement"
    assert engine.asked("check").count(1) == engine.asked("check").count(3) == 1, "not checked a second time"


def test_a_hang_is_timed_out_and_the_rest_goes_on() -> None:
    cases = [case(1), case(2)]
    recorder, _ = measure(cases, Script(hang_in_prepare={1}, drift=0.1))
    (visit,) = recorder.of(cases[0])
    assert (visit.status, visit.reason) == (Status.TIMED_OUT, "no answer within 60 s")
    assert visit.stop_reason is StopReason.STATUS
    assert len(recorder.of(cases[1])) == 5


def test_blocks_received_before_a_death_survive() -> None:
    script = Script(drift=0.1)
    killer = FakeEngine(script)
    recorder = Recorder()

    def arm(progress: Progress) -> None:
        if killer.blocks == 3:
            script.segfault_in_block.add(1)

    hooks = Hooks(
        stored=recorder.visits.extend,
        progressed=arm,
        process_noted=recorder.noted.append,
        process_finished=recorder.finished.append,
    )
    Processes([case(1)], MEASURE, seed=1, pool=WorkerPool(killer), memory_limit=10**12, hooks=hooks).run()
    (visit,) = recorder.visits
    assert visit.status is Status.CRASHED
    assert len(unpack_blocks(visit.blocks)) == 3


def test_out_of_memory_in_a_cohort_is_tried_once_alone() -> None:
    cases = [case(1), case(2), case(3)]
    recorder, engine = measure(cases, Script(out_of_memory_among_others={2}, out_of_memory={3}, drift=0.1))
    assert [visit.status for visit in recorder.of(cases[1])] == [Status.PASSED] * 5
    (visit,) = recorder.of(cases[2])
    assert (visit.status, visit.reason) == (Status.OUT_OF_MEMORY, "can't allocate memory")
    assert engine.asked("check").count(3) == 2


def test_a_kill_that_was_not_ours_is_out_of_memory() -> None:
    recorder, _ = measure([case(1)], Script(killed_in_block={1}))
    (visit,) = recorder.visits
    assert visit.status is Status.OUT_OF_MEMORY
    assert "out of memory" in str(visit.reason)


def test_a_layer_that_raises_is_an_error_and_a_wrong_one_is_timed() -> None:
    raising, wrong = case(1), case(2)
    recorder, _ = measure([raising, wrong], Script(raises={1}, wrong={2}, drift=0.1))
    (visit,) = recorder.of(raising)
    assert (visit.status, visit.reason) == (Status.ERROR, "ValueError: no")
    result = merge(wrong, recorder.of(wrong))
    assert result is not None
    assert result.status is Status.FAILED
    assert result.reason == "output[0, 0, 0, 0] is 7, should be 9"
    assert processes_of(result) == [0, 1, 2, 3, 4]
    assert recorder.progress[-1].failed == 1
    assert recorder.progress[-1].unmeasured == 1


def test_an_imprecise_layer_is_timed_and_looked_at_once_more() -> None:
    coarse, worse = case(1), case(2)
    recorder, engine = measure([coarse, worse], Script(imprecise={1, 2}, wrong_afterwards={2}, drift=0.1))
    result, wrong = merge(coarse, recorder.of(coarse)), merge(worse, recorder.of(worse))
    assert result is not None and wrong is not None
    assert (result.status, result.reason) == (Status.IMPRECISE, "less precision than float32")
    assert processes_of(result) == [0, 1, 2, 3, 4]
    assert engine.asked("verify") == [1, 2]
    assert (wrong.status, wrong.reason) == (Status.FAILED, "output was right before it was timed")
    last = recorder.progress[-1]
    assert (last.failed, last.imprecise, last.unmeasured) == (1, 1, 0)


@pytest.mark.parametrize("after", [0, 1, 7, 23, 49])
def test_an_interrupt_keeps_what_was_measured_and_a_resume_completes_it(after: int) -> None:
    cases = [case(1), case(2)]
    recorder, engine = Recorder(), FakeEngine(Script(drift=0.1, interrupt_after_blocks=after))
    processes = Processes(cases, MEASURE, seed=1, pool=WorkerPool(engine), memory_limit=10**12, hooks=recorder.hooks())
    with pytest.raises(KeyboardInterrupt):
        processes.run()
    assert engine.closed == engine.workers
    kept = sum(len(unpack_blocks(visit.blocks)) for visit in recorder.visits)
    assert kept == after, "no block is lost"
    cut = [visit for visit in recorder.visits if not visit.complete]
    assert all(visit.stop_reason is StopReason.INTERRUPTED for visit in cut)
    complete = [visit for visit in recorder.visits if visit.complete]

    resumed, engine = measure(cases, Script(drift=0.1), history=recorder.visits)
    both = sorted((visit.case_id, visit.process_index) for visit in complete + resumed.visits)
    assert both == sorted((each.id, index) for each in cases for index in range(5))
    assert len(engine.asked("check")) == 2, "a resume has no digest to compare with"
    assert engine.blocks == 2 * 25 - after, "no block is taken twice"
    for each in cases:
        taken = [
            block
            for visit in complete + resumed.visits
            if visit.case_id == each.id
            for block in unpack_blocks(visit.blocks)
        ]
        rounds = sorted((block.process_index, block.round_index) for block in taken)
        assert rounds == [(index, number) for index in range(5) for number in range(5)]


def test_blocks_are_handed_on_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill costs what was measured since: here each block takes a second."""
    now = iter(range(10**6))
    monkeypatch.setattr(processes_module.time, "monotonic", lambda: float(next(now)))
    cases = [case(name, direction=Direction.BACKWARD) for name in (1, 2, 3)]
    recorder, _ = measure(cases, Script(drift=0.1), measure=Measure(processes=1))
    partial = [visit for visit in recorder.visits if not visit.complete]
    assert len(partial) > 10
    assert all(visit.stop_reason is StopReason.UNFINISHED for visit in partial)
    counts = [len(unpack_blocks(visit.blocks)) for visit in partial if visit.case_id == cases[0].id]
    assert counts == sorted(counts)
    assert set(counts) >= {1, 2, 3, 4}

    before = [visit for visit in partial if len(unpack_blocks(visit.blocks)) == 2][-3:]
    kernels = sum(len(unpack_blocks(visit.kernel_blocks)) for visit in before)
    assert kernels > 0
    resumed, engine = measure(cases, Script(drift=0.1), measure=Measure(processes=1), history=before)
    kept = {visit.case_id: len(unpack_blocks(visit.blocks)) for visit in before}
    assert engine.blocks == 3 * (5 + 3) - sum(kept.values()) - sum(
        len(unpack_blocks({visit.case_id: visit for visit in before}[one].kernel_blocks)) for one in kept
    )
    for each in cases:
        (visit,) = [visit for visit in resumed.of(each) if visit.complete]
        assert sorted(block.round_index for block in unpack_blocks(visit.blocks)) == [0, 1, 2, 3, 4]
        assert sorted(block.round_index for block in unpack_blocks(visit.kernel_blocks)) == [0, 1, 2]


def env(value: int) -> tuple[tuple[str, str], ...]:
    return (("A", str(value)),)


def test_no_more_workers_are_alive_than_fit_and_the_rows_say_so() -> None:
    cases = [case(name, env=env(value)) for name in (1, 2) for value in range(5)] + [case(3)]
    engine = FakeEngine(Script(drift=0.1))
    recorder = Recorder()
    Processes(
        cases,
        Measure(processes=2),
        seed=1,
        pool=WorkerPool(engine),
        memory_limit=10**12,
        most_workers=4,
        has_steady_allocator=True,
        hooks=recorder.hooks(),
    ).run()
    assert engine.most_alive == 4
    assert all(visit.status is Status.PASSED for visit in recorder.visits)
    for each in cases[:10]:
        assert recorder.of(each)[0].facts.note == schedule.APART
        assert [len(unpack_blocks(visit.blocks)) for visit in recorder.of(each)] == [5, 5]
        assert len(unpack_blocks(recorder.of(each)[0].system_blocks)) == 3
    assert recorder.of(cases[10])[0].facts.note is None
    assert [facts.process_index for facts in recorder.noted] == [0, 1]
    assert len({(roof.device, roof.threads) for roof in recorder.noted[0].roofs}) == 1, "measured once a process"


def test_settings_that_fit_at_once_are_interleaved() -> None:
    cases = [case(1, env=env(value)) for value in range(8)]
    recorder, engine = measure(cases, Script(drift=0.1), measure=Measure(processes=1))
    assert engine.most_alive == 8
    assert all(visit.facts.note is None for visit in recorder.visits)


def test_a_worker_that_ends_while_it_waits_costs_no_case() -> None:
    recorder, engine = measure([case(1), case(2)], Script(killed_while_waiting_after=7, drift=0.1))
    assert all(visit.status is Status.PASSED for visit in recorder.visits)
    assert engine.deaths == 1
    assert [len(unpack_blocks(visit.blocks)) for visit in recorder.of(case(1))] == [5] * 5


def test_workers_that_end_again_and_again_while_they_wait_are_given_up() -> None:
    recorder, _ = measure([case(1)], Script(always_ends_while_waiting=True), measure=Measure(processes=1))
    (visit,) = recorder.visits
    assert visit.status is Status.CRASHED
    assert visit.reason == "idle workers ended, 3 were replaced"


def test_a_resume_of_a_finished_run_measures_nothing() -> None:
    first, _ = measure([case(1)])
    again, engine = measure([case(1)], history=first.visits)
    assert (again.visits, engine.workers, again.finished) == ([], 0, [])


def test_settings_of_the_process_get_workers_of_their_own_in_one_cohort() -> None:
    cases = [case(1, threads=1), case(1, threads=2), case(1, allocator=Allocator.SYSTEM)]
    recorder, engine = measure(cases, Script(drift=0.1), measure=Measure(processes=2))
    assert engine.workers == 3 * 2
    blocks = [block for visit in recorder.visits for block in unpack_blocks(visit.blocks) if block.process_index == 0]
    firsts = sorted(block.order for block in blocks if block.round_index == 0)
    assert firsts == [1, 2, 3], "the rounds interleave the workers"


def test_cohorts_follow_each_other_within_a_process() -> None:
    cases = [case(name) for name in range(1, 5)]
    _, engine = measure(cases, Script(drift=0.1), measure=Measure(processes=2), memory_limit=1)
    assert engine.asked("check") == [1, 2, 3, 4]
    assert engine.asked("block") == [name for _ in range(2) for name in (1, 2, 3, 4) for _ in range(5)]


def test_an_allocator_that_is_not_steady_is_asked_again_in_another_way() -> None:
    _, engine = measure([case(1)], Script(unsteady_first=1, drift=0.1, host=GLIBC), measure=Measure(processes=1))
    assert (engine.workers, engine.falls) == (2, 1)
    _, engine = measure([case(1)], Script(unsteady_first=9, drift=0.1, host=GLIBC), measure=Measure(processes=1))
    assert (engine.workers, engine.falls) == (2, 2), "given up after the last way"


def test_progress_counts_towards_its_end() -> None:
    recorder, _ = measure([case(1), case(2)], Script(drift=0.1, raises={2}))
    last = recorder.progress[-1]
    assert (last.visits_done, last.visits_planned, last.cases) == (6, 6, 2)
    assert last.busy_s > 0
    assert recorder.progress[0].visits_planned == 10


def test_in_the_first_process_a_few_blocks_follow_under_the_systems_allocator() -> None:
    cases = [case(1), case(2), case(3, allocator=Allocator.SYSTEM), case(4, device="accelerator")]
    recorder, engine = Recorder(), FakeEngine(Script(drift=0.1))
    processes = Processes(
        cases,
        Measure(processes=2),
        seed=1,
        pool=WorkerPool(engine),
        memory_limit=10**12,
        has_steady_allocator=True,
        hooks=recorder.hooks(),
    )
    processes.run()
    for tried in cases[:2]:
        first, second = recorder.of(tried)
        assert [block.round_index for block in unpack_blocks(first.system_blocks)] == [0, 1, 2]
        assert second.system_blocks == b""
        assert len(unpack_blocks(first.blocks)) == 5, "they are not mixed up with the others"
    for left_out in cases[2:]:
        assert all(visit.system_blocks == b"" for visit in recorder.of(left_out))
    assert engine.workers == 2 * 2, "the system's allocator has a worker already, which cases share"
    assert engine.asked("check").count(1) == 1, "checked once"


def test_a_death_under_the_systems_allocator_costs_that_figure_alone() -> None:
    class Moody(FakeEngine):
        def start(self, settings: WorkerSettings) -> WorkerClient:
            if settings.allocator is Allocator.SYSTEM:
                return FakeEngine(Script(segfault_in_block={1})).start(settings)
            return super().start(settings)

    recorder = Recorder()
    processes = Processes(
        [case(1), case(2)],
        MEASURE,
        seed=1,
        pool=WorkerPool(Moody()),
        memory_limit=10**12,
        has_steady_allocator=True,
        hooks=recorder.hooks(),
    )
    processes.run()
    assert all(visit.status is Status.PASSED for visit in recorder.visits)
    assert recorder.of(case(1))[0].system_blocks == b""
    assert len(unpack_blocks(recorder.of(case(2))[0].system_blocks)) == 3


def test_roofs_are_measured_in_every_process_for_each_worker_device_and_dtype() -> None:
    cases = [case(1), case(2, dtype="bfloat16"), case(3, threads=2), case(4, device="accelerator")]
    recorder, _ = measure(cases, Script(drift=0.1), measure=Measure(processes=2))
    assert len(recorder.noted) == 2
    for facts in recorder.noted:
        compute = [(roof.device, roof.threads, roof.dtype) for roof in facts.roofs if roof.kind is RoofKind.COMPUTE]
        assert compute == [("cpu", None, "float32"), ("cpu", None, "bfloat16"), ("cpu", 2, "float32")]
        assert [roof.footprint_bytes for roof in facts.roofs if roof.kind is RoofKind.BANDWIDTH] == [65536] * 2


def test_roofs_are_reported_by_the_plainest_worker() -> None:
    class Tells(FakeEngine):
        tellers: ClassVar[list[WorkerSettings]] = []

        def start(self, settings: WorkerSettings) -> WorkerClient:
            client = super().start(settings)
            roofs = client.roofs
            client.roofs = lambda *a, **k: (self.tellers.append(settings), roofs(*a, **k))[1]
            return client

    engine = Tells()
    cases = [case(1, module="a.b:C"), case(2, env=(("A", "1"),)), case(3, deterministic=True), case(4), case(5)]
    processes = Processes(
        cases, Measure(processes=1), seed=1, pool=WorkerPool(engine), memory_limit=10**12, hooks=Recorder().hooks()
    )
    processes.run()
    assert engine.tellers == [WorkerSettings()]


def test_a_worker_that_dies_measuring_roofs_is_replaced() -> None:
    recorder, engine = measure([case(1)], Script(dies_at_roofs=True, drift=0.1), measure=Measure(processes=2))
    assert [facts.roofs for facts in recorder.noted] == [(), ()]
    assert engine.workers == 2 * 2
    assert [visit.status for visit in recorder.visits] == [Status.PASSED] * 2


def test_a_layer_that_is_wrong_after_it_was_timed_is_failed() -> None:
    recorder, engine = measure([case(1), case(2)], Script(wrong_afterwards={1}, drift=0.1))
    wrong = merge(case(1), recorder.of(case(1)))
    assert wrong is not None
    assert (wrong.status, wrong.reason) == (Status.FAILED, "output was right before it was timed")
    assert processes_of(wrong) == [0, 1, 2, 3, 4], "timed all the same"
    assert engine.asked("verify") == [1, 2], "in the first process alone"
    assert all(visit.status is Status.PASSED for visit in recorder.of(case(2)))


def test_every_process_compares_its_results_with_those_of_the_check() -> None:
    _, engine = measure([case(1), case(2)], Script(drift=0.1, wrong={2}))
    assert engine.asked("again") == [1] * 4, "not those of a layer that failed"
    recorder, _ = measure([case(1)], Script(drift=0.1, wrong_again={1}))
    wrong = merge(case(1), recorder.of(case(1)))
    assert wrong is not None
    assert (wrong.status, wrong.reason) == (Status.FAILED, "in process 2: output[0] is 7, should be 9")
    assert processes_of(wrong) == [0, 1, 2, 3, 4]


def test_of_a_slow_layer_the_second_process_alone_compares_its_results() -> None:
    _, engine = measure([case(1), case(2)], Script(iteration_s={1: 1.6e-3, 2: 1.7e-3}, drift=0.01))
    assert sorted(engine.asked("again")) == [1, 1, 1, 1, 2], "three iterations are a quarter of a block of 20 ms"


def test_without_a_digest_every_process_checks_in_full() -> None:
    _, engine = measure([case(1)], Script(without_digest={1}, drift=0.1))
    assert engine.asked("check") == [1] * 5
    assert engine.asked("again") == []


def test_where_cudnn_chooses_anew_every_process_checks_and_names_what_it_ran() -> None:
    chosen = replace(case(1), cudnn_benchmark=True)
    script = Script(implementation=lambda worker: "Cudnn implicit" if worker < 3 else "Cudnn winograd", drift=0.1)
    recorder, engine = measure([chosen, case(2)], script)
    assert engine.asked("check").count(1) == 5
    assert engine.asked("check").count(2) == 1
    merged = merge(chosen, recorder.of(chosen))
    assert merged is not None
    assert merged.facts.implementation == "Cudnn implicit"
    assert merged.facts.note == "not every process ran the same kernels: one ran Cudnn winograd"


def test_a_layer_whose_calls_differ_is_failed_in_its_block_and_timed_all_the_same() -> None:
    recorder, engine = measure([case(1), case(2)], Script(wrong_in_block={1}, varies_in_block={2}, drift=0.1))
    wrong, varies = (merge(case(i), recorder.of(case(i))) for i in (1, 2))
    assert wrong is not None and varies is not None
    assert (wrong.status, wrong.reason) == (Status.FAILED, "output changed")
    assert processes_of(wrong) == [0, 1, 2, 3, 4]
    assert (varies.status, varies.facts.note) == (Status.PASSED, "calls differ")
    assert engine.asked("verify") == [2]


def test_the_notes_of_all_processes_are_kept_each_once() -> None:
    recorder, _ = measure([case(1)], Script(varies_in_block={1}, drift=0.1))
    visits = recorder.of(case(1))
    later = [replace(visit, facts=replace(visit.facts, note="calls differ; another")) for visit in visits[1:]]
    merged = merge(case(1), [visits[0], *later])
    assert merged is not None
    assert merged.facts.note == "calls differ; another"


def test_one_slow_block_does_not_decide_how_many_a_case_gets() -> None:
    recorder, _ = measure([case(1)], Script(slow_first_block_s=0.4, drift=0.1))
    counts = [len(unpack_blocks(visit.blocks)) for visit in recorder.visits]
    assert counts[-1] == 5
    assert recorder.visits[-1].stop_reason is StopReason.ROUNDS


def test_a_worker_that_dies_at_its_start_is_replaced_once() -> None:
    recorder, engine = measure([case(1)], Script(dies_at_start={1, 3}, drift=0.1), measure=Measure(processes=2))
    assert [visit.status for visit in recorder.visits] == [Status.PASSED] * 2
    assert engine.workers == 4


def test_where_no_worker_comes_up_any_more_the_cases_bear_it_and_nothing_is_lost() -> None:
    cases = [case(1), case(2)]
    recorder, _ = measure(cases, Script(dies_at_start=set(range(2, 99)), drift=0.1), measure=Measure(processes=2))
    for each in cases:
        first, second = recorder.of(each)
        assert (first.status, len(unpack_blocks(first.blocks))) == (Status.PASSED, 5)
        assert second.status is Status.OUT_OF_MEMORY


def test_an_interrupt_while_a_cohort_is_stored_loses_nothing() -> None:
    recorder, stored = Recorder(), []

    def store(visits: Sequence[Visit]) -> None:
        if not stored:
            stored.append(visits)
            raise KeyboardInterrupt
        recorder.visits.extend(visits)

    hooks = Hooks(
        stored=store,
        progressed=recorder.progress.append,
        process_noted=recorder.noted.append,
        process_finished=recorder.finished.append,
    )
    with pytest.raises(KeyboardInterrupt):
        Processes([case(1)], MEASURE, seed=1, pool=WorkerPool(FakeEngine()), memory_limit=10**12, hooks=hooks).run()
    (visit,) = recorder.visits
    assert visit.complete
    assert len(unpack_blocks(visit.blocks)) == 5


def test_a_backward_that_is_one_kernel_call_has_that_timed_beside_it() -> None:
    alone = case(1, direction=Direction.BACKWARD)
    others = [case(2), case(3, direction=Direction.BACKWARD, module="mine:Conv")]
    recorder, engine = measure([alone, *others], Script(drift=0.1), measure=Measure(processes=2))
    first, second = recorder.of(alone)
    assert [block.round_index for block in unpack_blocks(first.kernel_blocks)] == [0, 1, 2]
    assert second.kernel_blocks == b""
    assert all(visit.kernel_blocks == b"" for other in others for visit in recorder.of(other))
    assert engine.asked("prepare").count(1) == 2, "once for the kernels, once for the second process"


def test_memory_is_reported_once() -> None:
    cases = [case(1), case(2, allocator=Allocator.SYSTEM), case(3, device="accelerator")]
    recorder, engine = measure(cases, Script(drift=0.1), measure=Measure(processes=2))
    assert engine.asked("peak_memory") == [1, 2, 3]
    assert [visit.facts.peak_bytes for visit in recorder.of(cases[0])] == [4096, None]
    assert merge(cases[0], recorder.of(cases[0])).facts.peak_bytes == 4096


def test_a_twin_with_one_thread_is_timed_where_all_cores_are_asked_for() -> None:
    script = Script(drift=0.1, twin_ratio=3.0, host={"cores": 3})
    recorder, engine = measure([case(1, threads=3)], script, measure=Measure(processes=2))
    assert [facts.twin_ratio for facts in recorder.noted] == [3.0, 3.0]
    assert len(engine.asked("twin")) == 2 * 5
    recorder, engine = measure([case(1, threads=2)], script, measure=Measure(processes=2))
    assert [facts.twin_ratio for facts in recorder.noted] == [None, None]
    assert engine.asked("twin") == []


def test_the_facts_of_a_process_are_those_of_the_workers_machine() -> None:
    first = {"ticks": [0] * 8, "throttled": 3, "load": 0.0, "frequency_hz": 1e9}
    last = {"ticks": [75, 0, 0, 0, 0, 0, 0, 25], "throttled": 5, "load": 7.5, "frequency_hz": 2e9}
    recorder, _ = measure([case(1)], Script(drift=0.1, states=[first, last]), measure=Measure(processes=2))
    told, untold = recorder.noted
    assert (told.stolen, told.throttled, told.load, told.frequency_hz) == (0.25, 2, 7.5, 2e9)
    assert (untold.stolen, untold.throttled, untold.load, untold.frequency_hz) == (None, None, None, None)


def test_where_the_last_worker_is_gone_nothing_is_reported_of_the_machine() -> None:
    states = [{"load": 1.0, "ticks": [0] * 8}] * 3
    recorder, engine = measure([case(1)], Script(segfault_in_block={1}, states=states), measure=Measure(processes=1))
    assert [visit.status for visit in recorder.visits] == [Status.CRASHED]
    assert (recorder.noted[0].load, recorder.noted[0].stolen) == (None, None)
    assert engine.workers == 1, "none is started to tell"


def test_the_variables_of_one_case_leave_the_allocator_of_others_alone() -> None:
    engine = FakeEngine(Script(unsteady_first=99, drift=0.1, host=GLIBC))
    pool = WorkerPool(engine)
    pool.client(case(1, env=(("MALLOC_TOP_PAD_", "0"),)).worker)
    assert (engine.workers, engine.falls) == (1, 0)
    pool.client(case(1).worker)
    assert engine.falls == 2


def test_an_allocator_that_gives_memory_back_is_reported_in_the_row() -> None:
    engine, recorder = FakeEngine(Script(unsteady_first=99, drift=0.1, host=GLIBC)), Recorder()
    Processes(
        [case(1)], Measure(processes=1), seed=1, pool=WorkerPool(engine), memory_limit=10**12, hooks=recorder.hooks()
    ).run()
    assert recorder.visits[0].facts.note == "freed memory goes back to the system"


def test_what_is_measured_beside_a_case_is_in_the_same_rounds() -> None:
    cases = [case(1, direction=Direction.BACKWARD), case(2)]
    recorder, _ = measure(cases, Script(drift=0.1), measure=Measure(processes=1))
    own = {block.round_index: block.order for block in unpack_blocks(recorder.of(cases[0])[0].blocks)}
    beside = {block.round_index: block.order for block in unpack_blocks(recorder.of(cases[0])[0].kernel_blocks)}
    assert all(abs(own[index] - beside[index]) <= 2 for index in range(3))


def test_reference_layers_are_timed_once_a_round_for_each_number_of_threads() -> None:
    """By the plain worker where there are several, and the rows go to the facts of the process with the record."""
    cases = [case(3), case(4), case(5, threads=1), case(6, deterministic=True)]
    recorder, engine = measure(cases, measure=Measure(precision=1e-6, processes=2, rounds=3))
    assert len(engine.asked("references")) == 2 * 3 * 2
    assert len(recorder.noted) == 2
    for facts in recorder.noted:
        assert {(one.device, one.threads) for one in facts.references} == {("cpu", None), ("cpu", 1)}
        for one in facts.references:
            starts, minima = rows_of(one)
            assert starts.tolist() == [0.0] * 3
            assert minima.shape == (3, 8)
            assert minima[0] == pytest.approx([1e-4 * (1 + at) for at in range(8)])
            assert one.record_s == ()
    deterministic = {number for what, number in engine.log if what == "references"}
    assert len(deterministic) == 4, "two workers of each process, not the third"


def test_a_worker_without_references_costs_no_case() -> None:
    recorder, engine = measure([case(3)], Script(no_references={"cpu"}), measure=Measure(processes=2, rounds=2))
    assert [facts.references for facts in recorder.noted] == [(), ()]
    assert engine.blocks == 4
    assert {visit.status for visit in recorder.visits} == {Status.PASSED}


def test_an_accelerator_has_references_of_its_own() -> None:
    recorder, _ = measure([case(3, device="cuda:1"), case(4)], measure=Measure(processes=1, rounds=2))
    [facts] = recorder.noted
    assert {one.device: one.layers for one in facts.references} == {"cuda:1": 3, "cpu": 8}
    assert all(len(rows_of(one)[0]) == 2 for one in facts.references)
    first = {one.device: rows_of(one)[1][0, 0] for one in facts.references}
    assert first == pytest.approx({"cuda:1": 2e-4, "cpu": 1e-4}), "the medians of a device, the minima of a CPU"


def test_references_take_a_fifth_of_a_block_in_larger_sweeps() -> None:
    for count, share in ((10, 1.0), (11, 0.2)):
        recorder, _ = measure([case(name) for name in range(1, count + 1)], measure=Measure(processes=1, rounds=1))
        [one] = recorder.noted[0].references
        assert one.block_s == pytest.approx(share * 0.025)


def within(budget: float, count: int, most: int = 10**12, **settings: Any) -> tuple[Recorder, FakeEngine, list[Case]]:
    """The cases measured within a budget, where each request to a worker takes a second."""
    recorder, engine = Recorder(), FakeEngine(Script(drift=0.1))
    cases = [replace(case(name), **settings) for name in range(1, count + 1)]
    Processes(
        cases,
        MEASURE,
        seed=1,
        pool=WorkerPool(engine),
        memory_limit=most,
        hooks=recorder.hooks(),
        budget=Budget(budget, now=lambda: float(len(engine.log))),
    ).run()
    return recorder, engine, cases


def test_a_run_ends_when_its_budget_is_spent_and_every_case_has_had_blocks() -> None:
    free = len(measure([case(name) for name in range(1, 9)], Script(drift=0.1))[1].log)
    budget = free // 2
    recorder, engine, cases = within(budget, 8)
    assert 0.8 * budget < len(engine.log) <= budget + 8
    for each in cases:
        assert sum(len(unpack_blocks(visit.blocks)) for visit in recorder.of(each)) >= 5
        assert {visit.status for visit in recorder.of(each)} == {Status.PASSED}
    assert {visit.process_index for visit in recorder.visits} == {0, 1, 2, 3, 4}, "later processes get their share"


def test_cases_that_the_budget_leaves_no_time_for_are_skipped_with_the_reason() -> None:
    recorder, engine, cases = within(30, 100)
    skipped = [visit for visit in recorder.visits if visit.status is Status.SKIPPED]
    timed = [visit for visit in recorder.visits if visit.blocks]
    assert {visit.case_id for visit in (*skipped, *timed)} == {each.id for each in cases}
    assert 10 <= len(timed) <= 20
    assert {visit.reason for visit in skipped} == {"the budget of 30 s was spent before this case was measured"}
    assert len(engine.log) <= 30 + 3 * len(timed)


def test_a_budget_goes_to_the_costly_layers_of_a_network_first() -> None:
    """The work grows with the name. Of other sweeps the first cases are measured."""
    for settings, wanted in (({"given_label": "a layer"}, range(100, 80, -1)), ({}, range(1, 21))):
        recorder, _, cases = within(30, 100, **settings)
        timed = {visit.case_id for visit in recorder.visits if visit.blocks}
        assert timed and timed <= {cases[name - 1].id for name in wanted}, settings
    recorder, _, cases = within(800, 40, most=schedule.memory_bytes(case(40)) * 8, given_label="a layer")
    blocks = [sum(len(unpack_blocks(visit.blocks)) for visit in recorder.of(each)) for each in cases]
    assert min(blocks) >= 1, "every layer is measured"
    assert sum(blocks[20:]) > 1.5 * sum(blocks[:20]), "the costly half gets more"


def test_a_cohort_without_due_cases_beside_one_that_goes_on_ends_no_run() -> None:
    """The second cohort is wrong in its first process's block and ends; the first one drifts and goes on."""
    cases = [case(1), case(2)]
    one = max(schedule.memory_bytes(each) for each in cases)
    recorder, _ = measure(cases, Script(drift=0.1, raises={2}), memory_limit=one)
    assert len({visit.process_index for visit in recorder.of(cases[0])}) == 5
    assert len({visit.process_index for visit in recorder.of(cases[1])}) == 1


def test_a_case_that_only_its_preparing_had_time_for_is_skipped_not_passed() -> None:
    for budget in range(3, 40):
        recorder, _, cases = within(budget, 6, most=1)
        for each in cases:
            visits = recorder.of(each)
            assert visits, budget
            timed = any(visit.blocks for visit in visits)
            assert timed == (visits[0].status is Status.PASSED), budget


def test_a_worker_that_hangs_when_the_budget_ends_costs_no_timeout() -> None:
    spent = Budget(0.0)
    assert spent.deadline_s(600.0) == 1.0
    assert Budget(5.0, now=lambda: 3.0).deadline_s(600.0) == 3.0
    recorder, engine = Recorder(), FakeEngine(Script(hang_in_prepare={2}))
    seconds = iter([0.0, *[1.0] * 3, *[100.0] * 1000])
    Processes(
        [case(2)],
        MEASURE,
        seed=1,
        pool=WorkerPool(engine),
        memory_limit=10**12,
        hooks=recorder.hooks(),
        budget=Budget(50.0, now=lambda: next(seconds)),
    ).run()
    assert [visit.status for visit in recorder.visits] == [Status.SKIPPED]


@pytest.mark.parametrize("counted_hz", [None, 1.5e9])
def test_the_librarys_readings_go_to_blocks_and_processes(
    monkeypatch: pytest.MonkeyPatch, counted_hz: float | None
) -> None:
    """After each block of the device its clock, once a round its state; none for the CPU.

    The clock that the worker counted on the device itself is more direct.
    """
    card = FakeCard(sm_mhz=[1980, 1200], reasons=[0, 0x04])
    called = install(monkeypatch, card)
    nvidia = opened([Device(name="cuda:1", model="H100", uuid="0000-1111")])
    cases, recorder = [case(3, device="cuda:1"), case(4)], Recorder()
    engine = FakeEngine(Script(drift=0.1, clock_hz=counted_hz))
    Processes(
        cases,
        Measure(processes=2, rounds=3),
        seed=1,
        pool=WorkerPool(engine),
        memory_limit=10**12,
        hooks=recorder.hooks(),
        nvidia=nvidia,
    ).run()
    blocks = [block for visit in recorder.of(cases[0]) for block in unpack_blocks(visit.blocks)]
    assert [block.throttled for block in blocks] == [0.0] + [1.0] * 5
    assert {block.clock_hz for block in blocks[1:]} == {float(np.float32(counted_hz or 1.2e9))}
    on_cpu = [block for visit in recorder.of(cases[1]) for block in unpack_blocks(visit.blocks)]
    assert all(math.isnan(block.throttled) for block in on_cpu)
    assert called.count("nvmlDeviceGetPowerUsage") == 6
    assert [[state.slowdowns for state in facts.device_states] for facts in recorder.noted] == [[("power limit",)]] * 2


def test_who_reads_along_has_every_block_stored() -> None:
    recorder, engine = Recorder(), FakeEngine()
    cases = [case(1), case(2)]
    processes = Processes(
        cases,
        Measure(precision=1e-6, processes=1, rounds=3),
        seed=1,
        pool=WorkerPool(engine),
        memory_limit=10**12,
        hooks=recorder.hooks(),
        store_every_s=0.0,
    )
    processes.run()
    of_first = [visit for visit in recorder.of(cases[0]) if not visit.complete]
    assert {len(unpack_blocks(visit.blocks, visit.layout)) for visit in of_first} == {1, 2, 3}
    assert [visit.complete for visit in recorder.visits].count(True) == 2
