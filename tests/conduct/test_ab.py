"""Two environments side by side, conducted: pairs, who is first, what is measured again, what one side cannot do."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

import pytest
from fake_engine import GLIBC, FakeEngine, Script
from numbered_cases import case
from synthetic import blocks_of

from convbench.analysis.comparison import side_by_side
from convbench.analysis.comparison.judgment import RunComparison, Verdict
from convbench.analysis.comparison.side_by_side import CONFIRMATION, FEWEST_PAIRS, MORE_BEYOND_L2, SCREEN, THRESHOLD
from convbench.cli import exits
from convbench.cli.progress import RunProgress
from convbench.conduct import ab, pairs
from convbench.conduct.described import COHORT_MEMORY_SHARE
from convbench.conduct.listening import Listener
from convbench.conduct.pairs import BLOCK_S, LONGEST_S, ROUNDS, rounds_of
from convbench.conduct.processes import Progress
from convbench.engine.client import WorkerClient
from convbench.engine.local import LocalEngine, Setup
from convbench.errors import ExitCode, RequestError
from convbench.measure import schedule
from convbench.model.case import Case, MemoryFormat, WorkerSettings
from convbench.model.problem import Problem
from convbench.model.result import Result, RunState, Status, StopReason
from convbench.sweep.parse import parse as parse_sweep

SWEEP = parse_sweep(
    "name: made up\nseed: 3\naxes: {in_channels: 1, out_channels: 1, kernel_size: 1, input_size: 4}\n", "made up"
)
#: A factor on one side's time that exceeds any threshold.
SLOWER = 1 + 4 * THRESHOLD


class Log(list[tuple[str, int]]):
    """What one side's workers are asked, which also enters the events of both."""

    def __init__(self, side: str, events: list[tuple[str, str, int]]) -> None:
        super().__init__()
        self.side, self.events = side, events

    def append(self, entry: tuple[str, int]) -> None:
        super().append(entry)
        self.events.append((self.side, *entry))


class SideEngine(FakeEngine):
    """A fake engine whose workers' starts are events as well; remembers what they were started with."""

    def __init__(self, side: str, script: Script, events: list[tuple[str, str, int]]) -> None:
        super().__init__(script)
        self.log: list[tuple[str, int]] = Log(side, events)
        self.settings: list[WorkerSettings] = []

    def start(self, settings: WorkerSettings) -> WorkerClient:
        self.log.append(("start", self.workers + 1))
        self.settings.append(settings)
        return super().start(settings)


@dataclass
class Pair:
    """Both sides, with all that happened in its order."""

    a: Script = field(default_factory=Script)
    b: Script = field(default_factory=Script)
    setups: tuple[Setup, Setup] = (Setup(), Setup())
    events: list[tuple[str, str, int]] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    when_told: Callable[[str], None] = lambda line: None

    def __post_init__(self) -> None:
        self.engines = SideEngine("A", self.a, self.events), SideEngine("B", self.b, self.events)
        self.listener = Listener(progressed=self.progress.append, message=self._hear)

    def _hear(self, line: str) -> None:
        self.told.append(line)
        self.when_told(line)

    @property
    def sides(self) -> tuple[ab.Side, ab.Side]:
        a, b = (
            ab.Side(name=name, setup=setup, engine=engine)
            for name, setup, engine in zip("AB", self.setups, self.engines, strict=True)
        )
        return a, b

    def measure(self, cases: Sequence[Case], **options: float) -> RunComparison:
        try:
            return ab.ab(SWEEP, cases, self.sides, listener=self.listener, **options)
        finally:
            assert [engine.workers for engine in self.engines] == [
                engine.closed + engine.deaths for engine in self.engines
            ], "no worker is left"
            assert not any(engine.late for engine in self.engines)

    def confirm(self, cases: Sequence[Case], control: Collection[int], **options: int) -> RunComparison:
        return ab.confirm(SWEEP, cases, self.sides, control=control, listener=self.listener, **options)

    def asked(self, op: str) -> tuple[list[int], list[int]]:
        a, b = (engine.asked(op) for engine in self.engines)
        return a, b


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "CHANGE_PAUSE_S", 0.0)


def counted(result: Result) -> dict[int, int]:
    """How many blocks each pair of a result has."""
    found: dict[int, int] = {}
    for block in blocks_of(result):
        found[block.process_index] = found.get(block.process_index, 0) + 1
    return found


def slow(*names: int, factor: float = SLOWER, since: int = 1, until: float = math.inf) -> Script:
    """A side on which these layers are slower, in some of its pairs."""
    return Script(factor=lambda name, worker: factor if name in names and since <= worker <= until else 1.0)


# Pairs


def test_nothing_differs_and_the_screen_is_all() -> None:
    pair, cases = Pair(), [case(1), case(2), case(3)]
    found = pair.measure(cases)
    assert found.comparison.verdict is Verdict.UNCHANGED
    assert [engine.workers for engine in pair.engines] == [SCREEN, SCREEN], "fresh ones in each pair"
    starts = [side for side, what, _ in pair.events if what == "start"]
    assert "".join(starts) == ("ABBA" * SCREEN)[: 2 * SCREEN], "who is first alternates"
    for blocks, checks, verified in zip(*(pair.asked(op) for op in ("block", "check", "verify")), strict=True):
        assert {name: blocks.count(name) for name in (1, 2, 3)} == dict.fromkeys((1, 2, 3), SCREEN * ROUNDS)
        assert sorted(checks) == sorted(verified) == [1, 2, 3], "once a side"
    assert pair.told == []
    assert not any(judgment.confirmed for judgment in found.comparison.judgments)
    for run in (found.base, found.new):
        assert [counted(result) for result in run.results] == [dict.fromkeys(range(SCREEN), ROUNDS)] * 3
        assert all(result.facts.check for result in run.results)


def test_who_is_first_is_also_prepared_first_and_blocks_take_turns() -> None:
    pair = Pair()
    pair.measure([case(1), case(2)])
    prepared = [(side, name) for side, what, name in pair.events if what in ("check", "prepare")]
    first, second = prepared[:4], prepared[4:8]
    assert first == [("A", 1), ("B", 1), ("A", 2), ("B", 2)]
    assert second == [("B", 1), ("A", 1), ("B", 2), ("A", 2)]
    blocks = [(side, name) for side, what, name in pair.events if what == "block"]
    orders = [tuple(blocks[i : i + 4]) for i in range(0, len(blocks), 4)]
    assert all(len(set(order)) == 4 for order in orders), "a round is a block of every case on either side"
    assert len(set(orders)) > 1, "the order is fresh in each round"


def test_suspects_and_as_many_controls_are_measured_again_and_nobody_else() -> None:
    pair = Pair(b=slow(2))
    cases = [case(name) for name in range(1, 7)]
    found = pair.measure(cases)
    again = SCREEN + CONFIRMATION
    assert [engine.workers for engine in pair.engines] == [again, again]
    [told] = pair.told
    assert told == "1 of 6 cases suspected, measured again beside 1 control"
    chosen = [i for i, judgment in enumerate(found.comparison.judgments) if judgment.confirmed]
    assert len(chosen) == 2
    assert 1 in chosen
    for run, blocks in zip((found.base, found.new), pair.asked("block"), strict=True):
        for i, result in enumerate(run.results):
            took = again if i in chosen else SCREEN
            assert blocks.count(i + 1) == took * ROUNDS
            counts = range(SCREEN, again) if i in chosen else range(SCREEN)
            assert counted(result) == dict.fromkeys(counts, ROUNDS), "what came before the suspicion does not count"
            assert result.facts.check is not None
    assert [judgment.verdict for judgment in found.comparison.judgments] == [
        Verdict.UNCHANGED,
        Verdict.REGRESSED,
        *[Verdict.UNCHANGED] * 4,
    ]
    flagged = found.comparison.judgments[1]
    assert flagged.ratio == pytest.approx(SLOWER, rel=1e-5)
    assert (flagged.processes, flagged.blocks) == (CONFIRMATION, CONFIRMATION * ROUNDS)
    assert found.comparison.verdict is Verdict.REGRESSED
    assert exits.of_comparison(found.comparison) is ExitCode.FAILED_OR_REGRESSED
    starts = [side for side, what, _ in pair.events if what == "start"]
    assert "".join(starts) == ("ABBA" * again)[: 2 * again]


def test_layers_beyond_the_second_level_cache_get_more_pairs() -> None:
    wide = Case(problem=Problem(in_channels=9, out_channels=1, kernel_size=(1, 1), input_size=(64, 64)))
    cases = [case(1), wide]
    pair = Pair(b=replace(slow(1, 9), host={"l2_bytes": (case(1).bytes + wide.bytes) // 2}))
    found = pair.measure(cases)
    more = round(CONFIRMATION * MORE_BEYOND_L2)
    assert more > CONFIRMATION
    assert [judgment.processes for judgment in found.comparison.judgments] == [CONFIRMATION, more]
    assert [counted(result) for result in found.new.results] == [
        dict.fromkeys(range(SCREEN, SCREEN + CONFIRMATION), ROUNDS),
        dict.fromkeys(range(SCREEN, SCREEN + more), ROUNDS),
    ]
    assert len({progress.stage for progress in pair.progress}) == 3


def test_what_the_pairs_leave_open_gets_as_many_again() -> None:
    """B's lucky pair hides that it is slower from the floors until A has some that are as lucky, if it has."""
    early, late = SCREEN + 3, range(SCREEN + CONFIRMATION + 2, SCREEN + CONFIRMATION + 8)

    def script(side: str, *lucky: int) -> Script:
        slower = SLOWER if side == "B" else 1.0
        return Script(factor=lambda name, worker: (0.9 if worker in lucky else 1.0) * slower if name == 1 else 1.0)

    cases = [case(1), case(2), case(3)]
    pair = Pair(a=script("A", *late), b=script("B", early, *late))
    found = pair.measure(cases)
    told = found.comparison.judgments
    assert (told[0].verdict, told[0].ratio) == (Verdict.REGRESSED, pytest.approx(SLOWER, rel=1e-5))
    assert [judgment.processes for judgment in told if judgment.confirmed] == [2 * CONFIRMATION, CONFIRMATION]
    assert [engine.workers for engine in pair.engines] == [SCREEN + 2 * CONFIRMATION] * 2
    open_still = Pair(b=script("B", early)).confirm(cases, control=[1]).comparison.judgments
    assert [judgment.processes for judgment in open_still] == [2 * CONFIRMATION, CONFIRMATION, CONFIRMATION]
    assert open_still[0].verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("l2_bytes", [None, 1])
def test_all_are_beyond_a_cache_that_is_not_known(l2_bytes: int | None) -> None:
    found = Pair(b=replace(slow(1), host={"l2_bytes": l2_bytes})).measure([case(1), case(2)], pairs=FEWEST_PAIRS)
    assert {judgment.processes for judgment in found.comparison.judgments} == {round(FEWEST_PAIRS * MORE_BEYOND_L2)}


def test_the_number_of_pairs_and_the_threshold_may_be_others() -> None:
    found = Pair(b=slow(1)).measure([case(1), case(2)], pairs=5)
    assert [judgment.processes for judgment in found.comparison.judgments] == [5, 5]
    assert (found.new.measure.processes, found.new.measure.rounds) == (5, ROUNDS)
    pair = Pair(b=slow(1))
    assert pair.measure([case(1), case(2)], threshold=2 * (SLOWER - 1)).comparison.verdict is Verdict.UNCHANGED
    assert pair.told == []


def test_only_what_is_taken_after_the_screen_decides() -> None:
    lucky = Pair(b=slow(1, until=SCREEN)).measure([case(1), case(2)])
    assert lucky.comparison.verdict is Verdict.UNCHANGED
    assert lucky.comparison.judgments[0].confirmed
    assert lucky.comparison.judgments[0].ratio == pytest.approx(1.0)


def test_a_control_that_moves_makes_all_inconclusive() -> None:
    script = Script(factor=lambda name, worker: SLOWER if name == 1 or worker > SCREEN else 1.0)
    found = Pair(b=script).measure([case(1), case(2), case(3)]).comparison
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.discredited
    assert not found.counts[Verdict.REGRESSED]
    assert exits.of_comparison(found) is ExitCode.TOO_NOISY


def test_an_improvement_is_reported_like_a_regression() -> None:
    found = Pair(a=slow(2)).measure([case(1), case(2)]).comparison
    assert (found.verdict, found.judgments[1].verdict) == (Verdict.IMPROVED, Verdict.IMPROVED)
    assert exits.of_comparison(found) is ExitCode.DONE


def test_the_rounds_of_a_slow_case() -> None:
    assert rounds_of(0.0) == rounds_of(BLOCK_S) == rounds_of(LONGEST_S / ROUNDS) == ROUNDS
    assert rounds_of(LONGEST_S / 2) == 2
    assert rounds_of(LONGEST_S) == rounds_of(100 * LONGEST_S) == 1
    counts = [rounds_of(seconds * 1e-3) for seconds in range(1, 1000)]
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize("sides", ["A", "B", "AB"])
def test_a_slow_case_gets_fewer_rounds_on_both_sides(sides: str) -> None:
    times = [LONGEST_S / 2 if side in sides else LONGEST_S / ROUNDS for side in "AB"]
    pair = Pair(*(Script(iteration_s={1: time}) for time in times))
    found = pair.measure([case(1), case(2)], threshold=9)
    for run in (found.base, found.new):
        assert [counted(result) for result in run.results] == [
            dict.fromkeys(range(SCREEN), rounds) for rounds in (2, ROUNDS)
        ]
    expected = [StopReason.TIME if side in sides else StopReason.ROUNDS for side in "AB"]
    assert [run.results[0].stop_reason for run in (found.base, found.new)] == expected
    assert found.new.results[1].stop_reason is StopReason.ROUNDS


# What a side cannot do


MISDEEDS: dict[str, tuple[Status, str]] = {
    "segfault_in_block": (Status.CRASHED, "the worker was ended by SIGSEGV"),
    "killed_in_block": (Status.OUT_OF_MEMORY, "the system was probably out of memory"),
    "hang_in_prepare": (Status.TIMED_OUT, "no answer within 60 s"),
    "raises": (Status.ERROR, "ValueError: no"),
    "out_of_memory": (Status.OUT_OF_MEMORY, "can't allocate memory"),
    "wrong": (Status.FAILED, "output[0, 0, 0, 0] is 7, should be 9"),
    "wrong_afterwards": (Status.FAILED, "output was right before it was timed"),
}


@pytest.mark.parametrize("misdeed", MISDEEDS)
@pytest.mark.parametrize("side", ["A", "B"])
def test_what_one_side_cannot_do_is_reported_and_left_out_of_later_pairs_on_both(misdeed: str, side: str) -> None:
    status, reason = MISDEEDS[misdeed]
    bad = Script(**{misdeed: {2}})
    pair = Pair(a=bad) if side == "A" else Pair(b=bad)
    found = pair.measure([case(1), case(2), case(3)])
    judgment = found.comparison.judgments[1]
    told = status.value.replace("_", " ")
    assert judgment.verdict is Verdict.NOT_JUDGED
    assert judgment.reason.startswith(f"{told} in {side}: ")
    assert reason in judgment.reason
    good, bad_run = (found.new, found.base) if side == "A" else (found.base, found.new)
    assert (bad_run.results[1].status, good.results[1].status) == (status, Status.PASSED)
    assert max(max(counted(run.results[1]), default=0) for run in (good, bad_run)) == 0, "no later pair"
    later = max(i for i, (_, what, _) in enumerate(pair.events) if what == "verify")
    assert {name for _, what, name in pair.events[later:] if what in ("check", "prepare", "block")} == {1, 3}
    assert [counted(run.results[i]) for run in (good, bad_run) for i in (0, 2)] == [
        dict.fromkeys(range(SCREEN), ROUNDS)
    ] * 4
    assert [j.verdict for j in found.comparison.judgments if j is not judgment] == [Verdict.UNCHANGED] * 2
    if misdeed in ("hang_in_prepare", "raises", "out_of_memory"):
        assert all(2 not in blocks for blocks in pair.asked("block")), "what cannot be compared is not timed"
    expected = ExitCode.FAILED_OR_REGRESSED if status is Status.FAILED else ExitCode.NOT_MEASURED
    assert exits.of_comparison(found.comparison) is (expected if side == "B" else ExitCode.DONE)
    last = pair.progress[-1]
    assert (last.failed, last.unmeasured) == ((1, 0) if status is Status.FAILED else (0, 1))


def test_what_breaks_in_the_confirmation_is_not_judged() -> None:
    pair = Pair(b=slow(1))
    pair.when_told = lambda line: pair.b.segfault_in_block.add(1)
    found = pair.measure([case(1), case(2)])
    [first, second] = found.comparison.judgments
    assert (first.verdict, second.verdict) == (Verdict.NOT_JUDGED, Verdict.UNCHANGED)
    assert "SIGSEGV" in first.reason
    assert second.processes == CONFIRMATION
    assert max(counted(found.base.results[0]), default=SCREEN) <= SCREEN


def test_where_nothing_works_one_pair_is_all() -> None:
    pair = Pair(b=Script(raises={1, 2}))
    found = pair.measure([case(1), case(2)])
    assert [engine.workers for engine in pair.engines] == [1, 1]
    assert [j.verdict for j in found.comparison.judgments] == [Verdict.NOT_JUDGED] * 2
    assert found.comparison.verdict is Verdict.INCONCLUSIVE
    assert exits.of_comparison(found.comparison) is ExitCode.NOT_MEASURED


def test_a_case_that_runs_out_of_memory_among_others_is_tried_once_alone() -> None:
    pair = Pair(b=Script(out_of_memory_among_others={2}))
    found = pair.measure([case(1), case(2), case(3)])
    assert found.comparison.verdict is Verdict.UNCHANGED
    for run in (found.base, found.new):
        assert [counted(result) for result in run.results] == [dict.fromkeys(range(SCREEN), ROUNDS)] * 3
    assert [engine.workers for engine in pair.engines] == [2 * SCREEN, 2 * SCREEN], "in fresh workers"


@pytest.mark.parametrize("after", [0, 3, SCREEN * ROUNDS])
@pytest.mark.parametrize("side", ["A", "B"])
def test_an_interrupt_ends_all_workers(side: str, after: int) -> None:
    script = Script(interrupt_after_blocks=after)
    pair = Pair(a=script) if side == "A" else Pair(b=script)
    with pytest.raises(KeyboardInterrupt):
        pair.measure([case(1), case(2)])  # which asserts that none is left


def test_no_more_is_held_at_once_than_memory_allows() -> None:
    cases = [case(7, memory_format=form) for form in MemoryFormat] + [case(8), case(9)]
    cases = [cases[0], cases[2], cases[1], cases[3]]  # those of one problem are not neighbours
    two = 2 * schedule.memory_bytes(cases[3], 2**20)
    available = math.ceil(2 * two / COHORT_MEMORY_SHARE)  # both sides hold them
    pair = Pair(b=Script(host={"available_bytes": available}))
    pair.measure(cases)
    events = [(what, name) for side, what, name in pair.events if side == "A" and what in ("check", "block")]
    events = events[: 4 + 4 * ROUNDS]
    assert [what for what, _ in events] == (["check"] * 2 + ["block"] * 2 * ROUNDS) * 2
    assert {name for _, name in events[: 2 + 2 * ROUNDS]} == {7}, "what shares a problem stays together"
    steps(pair.progress)


# What is told meanwhile


def steps(progress: Sequence[Progress]) -> None:
    """Progress goes forwards within each stage, and ends where it said it would."""
    by_stage: dict[str, list[Progress]] = {}
    for each in progress:
        by_stage.setdefault(each.stage, []).append(each)
    for stage, some in by_stage.items():
        done = [each.visits_done for each in some]
        assert done == sorted(done), stage
        assert all(each.visits_done <= each.visits_planned for each in some)
        assert all(0 <= each.process_done <= each.process_cases <= each.cases for each in some)
        assert all(0 <= each.process_index < each.processes for each in some)
        assert some[-1].visits_done == some[-1].visits_planned, stage
        places = [(each.process_index, each.process_done) for each in some]
        assert places == sorted(places)
        trouble = [each.failed + each.unmeasured for each in some]
        assert trouble == sorted(trouble)


@pytest.mark.parametrize("misdeed", [None, *MISDEEDS, "out_of_memory_among_others"])
def test_progress_goes_forwards(misdeed: str | None) -> None:
    script = slow(3)
    if misdeed:
        getattr(script, misdeed).add(2)
    pair = Pair(b=script)
    pair.measure([case(name) for name in (1, 2, 3, 4)])
    steps(pair.progress)
    stages = list(dict.fromkeys(progress.stage for progress in pair.progress))
    assert [stage.partition(",")[0] for stage in stages] == ["screen", "confirmation"]
    assert pair.progress[-1].busy_s > 0


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_is_shown_without_a_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: bool
) -> None:
    pair = Pair(b=slow(1))
    pair.measure([case(1), case(2)])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    shown = RunProgress()
    shown.progressed(replace(pair.progress[0], is_waiting=True, failed=3, imprecise=2))
    shown.close()
    err = capsys.readouterr().err
    assert "results wait on this disk" in err
    assert "0 of 2 cases, 3 wrong, 2 imprecise" in err
    assert f"screen, pair 1 of {SCREEN}" in err
    assert "0 of 2 cases" in err
    assert ("\x1b[" in err) is terminal, "a bar on a terminal, a line elsewhere"


def test_both_runs_record_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVBENCH_TEST_VARIABLE", "1")
    setups = (
        Setup(path=("/one",)),
        Setup(path=("/other", "/two"), variables=(("CONVBENCH_TEST_VARIABLE", "2"), ("OMP_PLACES", "cores"))),
    )
    cases = [case(1), case(2)]
    found = Pair(setups=setups).measure(cases)
    assert (found.base.id[-2:], found.new.id[-2:]) == ("-a", "-b")
    for run in (found.base, found.new):
        assert (run.state, run.name, run.seed) == (RunState.FINISHED, "made up", 3)
        assert [result.case for result in run.results] == cases
        assert run.started_at <= str(run.finished_at)
        assert run.unmeasured == ()
    told = [str(difference) for difference in found.comparison.differences]
    assert told == [
        "CONVBENCH_TEST_VARIABLE 1 -> 2",
        "OMP_PLACES not set -> cores",
        "module path /one -> /other /two",
    ]
    assert (found.comparison.base.id, found.comparison.new.id) == (found.base.id, found.new.id)


def test_each_side_is_described_by_its_own_worker() -> None:
    """Another interpreter may have another C library, and so another allocator."""
    unsteady = Script(unsteady_first=99, host={"libc": "musl 1.2.5"})
    pair = Pair(a=replace(unsteady, host=GLIBC), b=unsteady)
    found = pair.measure([case(1)])
    assert [run.environment.libc for run in (found.base, found.new)] == ["glibc 2.36", "musl 1.2.5"]
    assert "C library glibc 2.36 -> musl 1.2.5" in [str(difference) for difference in found.comparison.differences]
    assert (pair.engines[0].falls > 0, pair.engines[1].falls) == (True, 0), (
        "asked for in another way where there is one"
    )
    notes = [run.results[0].facts.note for run in (found.base, found.new)]
    assert notes == ["freed memory goes back to the system", None]


def test_a_side_may_have_its_own_number_of_threads() -> None:
    pair = Pair(setups=(Setup(), Setup(threads=3)))
    cases = [case(1, threads=1), case(2, threads=2)]
    found = pair.measure(cases)
    threads = [[settings.threads for settings in engine.settings] for engine in pair.engines]
    assert threads == [[1, 2] * SCREEN, [3] * SCREEN]
    assert [result.case for result in found.new.results] == cases, "the same cases on both sides"
    assert found.comparison.verdict is Verdict.UNCHANGED


# Where a side cannot be had at all


def test_a_side_whose_workers_do_not_start_is_reported() -> None:
    pair = Pair(b=Script(dies_at_start={1, 2}))
    with pytest.raises(RequestError, match="side B: the worker did not start: it was ended by SIGKILL"):
        pair.measure([case(1)])
    assert pair.asked("check") == ([], [])


def test_a_side_whose_interpreter_is_none_is_reported() -> None:
    pair = Pair()
    missing = LocalEngine(Setup(python="/no/such/python"))
    sides = (pair.sides[0], ab.Side(name="B", setup=Setup(), engine=missing))
    with pytest.raises(RequestError, match="side B: cannot start a worker with /no/such/python: No such file"):
        ab.ab(SWEEP, [case(1)], sides, listener=pair.listener)
    assert pair.engines[0].workers == pair.engines[0].closed


@pytest.mark.parametrize(
    ("path", "hint"), [((), "the current folder"), (("/one", "/two"), "importable from /one or /two, or through")]
)
def test_a_side_that_lacks_the_users_module_is_reported_with_where_it_was_looked_for(
    path: tuple[str, ...], hint: str
) -> None:
    pair = Pair(setups=(Setup(path=path), Setup()))
    with pytest.raises(RequestError, match="side A: module absent:Conv: ModuleNotFoundError") as told:
        pair.measure([case(1), case(2, module="absent:Conv")])
    assert hint in str(told.value.hint)


def test_a_confirmation_has_no_screen_and_knows_its_controls() -> None:
    pair = Pair(b=slow(1))
    found = pair.confirm([case(1), case(2)], [1], pairs=FEWEST_PAIRS)
    assert [engine.workers for engine in pair.engines] == [FEWEST_PAIRS] * 2
    assert [judgment.verdict for judgment in found.comparison.judgments] == [Verdict.REGRESSED, Verdict.UNCHANGED]
    assert all(judgment.confirmed for judgment in found.comparison.judgments)
    moved = Pair(b=slow(1, 2)).confirm([case(1), case(2)], [1], pairs=FEWEST_PAIRS)
    assert moved.comparison.discredited


def test_constants_that_belong_together() -> None:
    assert side_by_side.SCREEN >= FEWEST_PAIRS, "or nothing could be told of an unchanged case"
    assert CONFIRMATION > SCREEN
    assert pairs.LONGEST_S > BLOCK_S * ROUNDS
