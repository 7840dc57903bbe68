"""The store. What every database must do comes first and runs on each backend; SQLite's own cases come after it."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import itertools
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st
from postgres import Server
from sqlalchemy import Engine, MetaData, Text, create_engine, event, make_url, select
from sqlalchemy.exc import OperationalError

from convbench.errors import DatabaseError, RequestError, RunNotFoundError, StoreError
from convbench.model.campaign import Campaign, CampaignState, DeviceKind, How, MachineKey, Shard, ShardState
from convbench.model.case import Case
from convbench.model.problem import Direction, PaddingWord, Problem
from convbench.model.references import VERSION
from convbench.model.result import (
    BLOCK_LAYOUTS,
    CASE_FACTS,
    LAYOUT,
    NO_FACTS,
    PACKED,
    Baseline,
    Block,
    Check,
    Environment,
    Git,
    Measure,
    ProcessFacts,
    ReferenceBlocks,
    Rejection,
    Roof,
    RoofKind,
    Run,
    RunState,
    Status,
    StopReason,
    Visit,
    joined,
    merge,
    pack_blocks,
    unpack_blocks,
)
from convbench.model.samples import BlockSamples, pack_samples
from convbench.model.schedule import Schedule
from convbench.store import Store, Writer, backup, digest, loading, new_run_id, opening, patience, progress
from convbench.store import schema as store_schema
from convbench.store.place import Place
from convbench.store.schedules import Schedules

DATA = Path(__file__).parent.parent / "data"
ME = Writer.of_this_process()
GONE = dataclasses.replace(ME, started=ME.started + 1)  # this process id, but another process had it
HOST = socket.gethostname()
BLOCK = Block(**{name: index for index, name in enumerate(BLOCK_LAYOUTS[1])})

CASES = tuple(
    Case(
        problem=Problem(
            in_channels=3,
            out_channels=8,
            kernel_size=(3, kernel),
            input_size=(32, 33),
            padding=PaddingWord.SAME,
            batch_size=None,
        ),
        direction=direction,
        given_label="conv 1",
        count=2,
    )
    for kernel in (1, 3)
    for direction in (Direction.FORWARD, Direction.BACKWARD)
)
ENVIRONMENT = Environment(
    hostname="h",
    system="Linux 6.1",
    machine="x86_64",
    cpu="AMD EPYC",
    cores=2,
    memory_bytes=2**34,
    l2_bytes=2**20,
    l3_bytes=None,
    python="3.11.7",
    torch="2.13.0",
    onednn="3.9",
    libc="glibc 2.36",
    accelerator=None,
    cpu_capability="AVX512",
    allocator="steady",
    variables=(("OMP_NUM_THREADS", "1"),),
)
RUN = Run(
    id="20261124-031502-k7q2",
    name="first",
    description="a <b> & 'c'",
    source="name: first # ä\n",
    seed=2**64 - 1,
    measure=Measure(processes=2),
    version="0.1.0",
    started_at="2026-11-24T03:15:02+00:00",
    finished_at=None,
    state=RunState.RUNNING,
    environment=ENVIRONMENT,
    rejections=(Rejection(label="n1 c3", reason="in_channels (3) must be divisible by groups (2)"),),
)


def visit(case: Case, process_index: int = 0, status: Status = Status.PASSED, **more: object) -> Visit:
    facts = {name: more.pop(name) for name in ("check", *CASE_FACTS) if name in more}
    return Visit(
        case_id=case.id,
        process_index=process_index,
        status=status,
        facts=dataclasses.replace(NO_FACTS, **facts),
        **{"blocks": pack_blocks([BLOCK]), **more},
    )


def begin(
    store: Store, *, run: Run = RUN, cases: tuple[Case, ...] = CASES, writer: Writer = ME, what: str = "d"
) -> str:
    """Begin `run` with an id of its own; returns it."""
    tail = new_run_id(datetime.now(UTC))[-4:]
    run = dataclasses.replace(run, id=f"{datetime.fromisoformat(run.started_at):%Y%m%d-%H%M%S}-{tail}")
    store.begin(run, cases, run.rejections, writer, digest=what)
    return run.id


@contextlib.contextmanager
def with_engine(url: str, *, reads: bool = False) -> Iterator[tuple[Store, Engine]]:
    """A store to write, or to read alone, and the engine whose connections it takes."""
    place = Place.of(url)
    engine, version = opening.open_to_read(place) if reads else (opening.create(place), store_schema.VERSION)
    with Store(engine, place, version=version) as store:
        yield store, engine


def started(minute: int) -> Run:
    return dataclasses.replace(RUN, started_at=f"2026-11-24T03:{minute:02}:00+00:00")


# ---- what every database must do


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def backend(request: pytest.FixtureRequest) -> Iterator[Iterator[str]]:
    """Fresh databases of one kind, as a user names them."""
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        yield (server.new_database() for _ in itertools.count())
        return
    with tempfile.TemporaryDirectory() as folder:
        yield (f"{folder}/{number}/runs.db" for number in itertools.count())


@pytest.fixture
def url(backend: Iterator[str]) -> str:
    return next(backend)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.create(url) as store:
        yield store


@pytest.fixture(scope="module")
def shared(backend: Iterator[str]) -> Iterator[Store]:
    """One database for all examples of a property."""
    with Store.create(next(backend)) as store:
        yield store


@st.composite
def stored_runs(draw: st.DrawFn) -> tuple[Run, tuple[Case, ...], list[Visit]]:
    cases = tuple(draw(st.lists(strategies.cases, min_size=1, max_size=4, unique_by=lambda case: case.id)))
    visits = [
        dataclasses.replace(draw(strategies.visits), case_id=case.id, process_index=process_index)
        for case in cases
        for process_index in draw(st.sets(st.integers(0, 3), max_size=3))
    ]
    return draw(strategies.headers), cases, draw(st.permutations(visits))


def test_the_references_of_a_machine_are_those_of_all_its_runs(store: Store) -> None:
    """Another torch or processor is another machine. References of other versions or lengths do not count."""

    def facts(version: int, start_s: float, block_s: float = 0.02) -> ProcessFacts:
        rows = struct.pack("<2f", start_s, 1e-3)
        found = ReferenceBlocks(version=version, device="cpu", threads=None, layers=1, block_s=block_s, rows=rows)
        return ProcessFacts(process_index=0, seconds=1.0, references=(found,))

    def stored(environment: Environment, block_s: float = 0.02) -> list[float]:
        every = store.processes_with_references(environment, block_s)
        return sorted(struct.unpack("<2f", one.rows)[0] for facts in every for one in facts.references)

    assert stored(ENVIRONMENT) == []
    others = [facts(VERSION + 1, 9.0), facts(VERSION, 7.0, block_s=0.005)]
    for minute, noted in enumerate([*(facts(VERSION, float(minute)) for minute in range(3)), *others]):
        store.note_process(begin(store, run=started(minute)), noted)
    begin(store, run=started(10))
    other = dataclasses.replace(ENVIRONMENT, torch="2.14.0")
    store.note_process(begin(store, run=dataclasses.replace(started(11), environment=other)), facts(VERSION, 8.0))
    assert stored(ENVIRONMENT) == [0.0, 1.0, 2.0]
    assert stored(ENVIRONMENT, 0.005) == [7.0]
    assert stored(other) == [8.0]
    assert stored(dataclasses.replace(ENVIRONMENT, hostname="another")) == [0.0, 1.0, 2.0]
    assert stored(dataclasses.replace(ENVIRONMENT, cores=64)) == []


@pytest.mark.slow
@given(stored_runs())
@settings(max_examples=60, deadline=None)  # a server on a busy machine takes its time
def test_run_comes_back_as_it_was_written(shared: Store, made: tuple[Run, tuple[Case, ...], list[Visit]]) -> None:
    run, cases, visits = made
    run = dataclasses.replace(run, id=new_run_id(datetime.now(UTC)) + os.urandom(4).hex())
    shared.begin(run, cases, run.rejections, ME, digest="d")
    shared.append(run.id, visits)
    by_case = {
        case.id: sorted((v for v in visits if v.case_id == case.id), key=lambda v: v.process_index) for case in cases
    }
    results = {case.id: merge(case, by_case[case.id]) for case in cases}
    expected = dataclasses.replace(
        run,
        results=tuple(result for result in results.values() if result is not None),
        unmeasured=tuple(case for case in cases if results[case.id] is None),
    )
    loaded = shared.load(run.id)
    assert dataclasses.asdict(loaded) == dataclasses.asdict(expected)
    assert shared.visits(run.id) == {case_id: those for case_id, those in by_case.items() if those}
    [summary] = [summary for summary in shared.runs() if summary.id == run.id]
    assert summary.statuses == Counter(result.status for result in expected.results)
    assert (summary.cases, summary.name, summary.state) == (len(cases), run.name, run.state)
    assert (summary.cpu, summary.torch) == (run.environment.cpu, run.environment.torch)


def test_result_is_what_merging_all_visits_makes_whichever_visit_brought_something(store: Store) -> None:
    checked = Check(output_shape=(8, 32, 33), max_error=0.5, elements=2048, method="exact")
    usual = {"threads": 1, "timer": "perf_counter_ns"}
    more: tuple[dict[str, object], ...] = (
        {},
        {"check": checked, "implementation": "Mkldnn", "first_call_s": 0.25, "reorder_share": 0.0, "peak_bytes": 0},
        {"note": "a note", "reason": "for some reason"},
        {"check": checked, "system_blocks": pack_blocks([BLOCK] * 2)},
        {"implementation": "Slow2d", "kernel_blocks": pack_blocks([BLOCK])},
        {"threads": None},
        {"threads": 2, "timer": None},
        {"blocks": b""},
        {"status": Status.FAILED, "reason": "wrong", "check": checked},
        {"status": Status.CRASHED, "reason": "signal 11", "blocks": b"", **dict.fromkeys(usual)},
    )
    ends = tuple(itertools.product((None, *more), more))
    cases = tuple(
        Case(problem=dataclasses.replace(CASES[0].problem, out_channels=number + 1)) for number in range(len(ends))
    )
    visits = {
        case.id: [
            *([] if first is None else [visit(case, 0, **{**usual, **first})]),
            visit(case, 1, **usual),
            visit(case, 2, stop_reason=StopReason.SETTLED, **{**usual, **last}),
        ]
        for case, (first, last) in zip(cases, ends, strict=True)
    }
    run_id = begin(store, cases=(*cases, CASES[1]))
    store.append(run_id, [one for those in visits.values() for one in those])
    loaded, [past], [summary] = store.load(run_id), store.past(), store.runs()
    assert loaded.results == tuple(merge(case, visits[case.id]) for case in cases)
    assert loaded.unmeasured == (CASES[1],)

    store.finish(run_id, RunState.FINISHED, loaded.started_at)
    assert store.load(run_id).results == loaded.results, "fewer rows tell the same"
    assert store.past()[0].results == past.results
    assert store.runs()[0].statuses == summary.statuses
    stored = store.visits(run_id)
    places = itertools.product((None, *range(len(more))), range(len(more)))
    rows = {place: len(stored[case.id]) for place, case in zip(places, cases, strict=True)}
    assert rows[0, 0] == rows[1, 0] == 1, "nothing came after the first process but blocks"
    assert rows[None, 0] == 2, "there was no first process"
    assert {rows[0, last] for last in range(1, len(more)) if last not in (5, 7)} == {3}, "the last visit knew more"
    assert rows[5, 0] == 3, "the second visit knew more"


def test_visits_of_a_run_that_may_go_on_stay_as_they_are(store: Store) -> None:
    every = [visit(CASES[0], number) for number in range(3)]
    run_id = begin(store)
    store.append(run_id, every)
    store.finish(run_id, RunState.INTERRUPTED, "2026-11-24T03:16:00+00:00")
    assert store.visits(run_id) == {CASES[0].id: every}
    store.take_over(run_id, ME)
    store.append(run_id, [visit(CASES[0], 3), visit(CASES[1], 0), visit(CASES[1], 1, complete=False)])
    store.finish(run_id, RunState.FINISHED, "2026-11-24T03:18:00+00:00")
    stored = store.visits(run_id)
    assert stored[CASES[0].id] == [dataclasses.replace(every[0], blocks=every[0].blocks * 4)]
    assert len(stored[CASES[1].id]) == 2, "one was cut short"


def test_folded_visits_count_as_progress_and_the_fastest_sample_is_that_of_all_processes(store: Store) -> None:
    run_id = begin(store, cases=CASES[:2])
    for number in range(3):
        block = dataclasses.replace(BLOCK, process_index=number, minimum_s=(3 - number) * 2.0**-10)
        store.append(run_id, [visit(case, number, blocks=pack_blocks([block] * 2)) for case in CASES[:2]])
        if number == 0:
            assert [case.fastest_s for case in progress.arrived(store, run_id, (), most=9)] == [3 * 2.0**-10] * 2
    before = progress.progress_of(store, run_id)
    assert before is not None and (before.seen, before.visits) == (2, 6)
    store.finish(run_id, RunState.FINISHED, "2026-11-24T03:16:00+00:00")
    assert [len(some) for some in store.visits(run_id).values()] == [1, 1]
    assert progress.progress_of(store, run_id) == before
    assert [case.fastest_s for case in progress.arrived(store, run_id, (), most=9)] == [2.0**-10] * 2
    assert [case.position for case in progress.arrived(store, run_id, {0}, most=9)] == [1]


@given(strategies.raw_texts)
@settings(max_examples=30, deadline=None)
def test_any_text_can_be_stored(shared: Store, text: str) -> None:
    run_id = begin(shared, run=dataclasses.replace(RUN, name=text, rejections=()))
    shared.append(run_id, [visit(CASES[0], status=Status.ERROR, reason=text, implementation=text)])
    loaded = shared.load(run_id)
    assert loaded.name == loaded.results[0].reason
    assert loaded.name == text or any(mark in loaded.name for mark in ("\\ud", "\N{REPLACEMENT CHARACTER}"))


def test_past_of_a_case_is_what_its_runs_hold(store: Store) -> None:
    """Every database tells the same of one case, or of all, as loading whole runs does."""
    git = Git(commit="c" * 40, branch="main")
    first = begin(store, run=dataclasses.replace(started(1), git=git))
    second = begin(store, run=started(2), cases=CASES[1:])
    third = begin(store, run=started(3))
    store.append(first, [visit(case, number, threads=2) for number in (1, 0) for case in CASES])
    store.append(
        second,
        [
            visit(CASES[1], 0, implementation="Slow2d"),
            visit(CASES[1], 1, Status.CRASHED, reason="signal 11", blocks=b""),
        ],
    )
    every = store.past()
    assert [run.id for run in every] == [first, second, third], "the oldest first"
    assert every[0].git == git
    for run in every:
        whole = store.load(run.id)
        kept = [
            dataclasses.replace(r, facts=dataclasses.replace(r.facts, check=None, timer=None, note=None))
            for r in whole.results
        ]
        assert list(run.results) == kept
        assert run == dataclasses.replace(whole, results=run.results, rejections=(), unmeasured=(), processes=())
    assert [(run.id, len(run.results)) for run in store.past(case_id=CASES[1].id)] == [(first, 1), (second, 1)]
    assert store.past(case_id=CASES[1].id)[1].results == every[1].results
    assert [run.id for run in store.past(case_id=CASES[0].id, run_ids=[first, second])] == [first]
    assert [run.id for run in store.past(run_ids=[third, "no such run"])] == [third]
    assert store.past(run_ids=[]) == store.past(case_id="none") == []


def test_new_run_has_its_cases_unmeasured_and_its_rejections(store: Store) -> None:
    run_id = begin(store)
    loaded = store.load(run_id)
    assert loaded == dataclasses.replace(RUN, id=run_id, unmeasured=CASES)
    assert [case.count for case in loaded.unmeasured] == [2] * 4
    assert [case.label for case in loaded.unmeasured] == [case.label for case in CASES]


def test_finished_run_says_when(store: Store) -> None:
    run_id = begin(store)
    store.finish(run_id, RunState.FINISHED, "2026-11-24T03:18:00+00:00")
    loaded = store.load(run_id)
    assert (loaded.state, loaded.finished_at) == (RunState.FINISHED, "2026-11-24T03:18:00+00:00")


def test_run_is_found_by_latest_id_and_unique_prefix(store: Store) -> None:
    second = begin(store, run=started(30))
    first = begin(store, run=started(10))  # stored later, started earlier
    assert store.load("latest").id == second
    assert store.load(first).id == first
    assert store.load(first[:13]).id == first
    assert [summary.id for summary in store.runs()] == [second, first]


@pytest.mark.parametrize(
    ("ref", "message", "hint"),
    [
        ("2026", "'2026' begins the ids of 2 runs", "(first)"),
        ("2025", "no run '2025' is stored", "20261124-"),
        ("", "no run '' is stored", "20261124-"),
        ("%", "no run '%' is stored", "20261124-"),
    ],
)
def test_run_that_is_not_found_names_the_candidates(store: Store, ref: str, message: str, hint: str) -> None:
    begin(store, run=started(10))
    begin(store, run=started(20))
    with pytest.raises(RunNotFoundError) as caught:
        store.load(ref)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_long_list_of_candidates_is_cut(store: Store) -> None:
    for minute in range(7):
        begin(store, run=started(minute))
    with pytest.raises(RunNotFoundError) as caught:
        store.load("2025")
    assert (caught.value.hint or "").endswith(", and 2 more")


def test_database_without_runs_says_how_to_make_one(store: Store) -> None:
    assert store.runs() == []
    with pytest.raises(RunNotFoundError, match="no run is stored") as caught:
        store.load("latest")
    assert "convbench run" in (caught.value.hint or "")


def test_visit_stored_again_replaces_the_first(store: Store) -> None:
    run_id = begin(store)
    store.append(run_id, [visit(CASES[0], complete=False, stop_reason=StopReason.INTERRUPTED), visit(CASES[1])])
    again = visit(CASES[0], blocks=pack_blocks([BLOCK] * 2), stop_reason=StopReason.ROUNDS)
    store.append(run_id, [again])
    store.append(run_id, [again])
    store.append(run_id, [])
    assert store.visits(run_id) == {CASES[0].id: [again], CASES[1].id: [visit(CASES[1])]}


def test_visits_are_stored_all_or_none(store: Store) -> None:
    run_id = begin(store)
    with pytest.raises(StoreError, match=r"UNIQUE|unique"):
        store.append(run_id, [visit(CASES[1]), visit(CASES[0]), visit(CASES[0])])
    assert store.visits(run_id) == {}


def test_visit_of_a_case_that_is_not_in_the_run_is_refused(store: Store) -> None:
    run_id = begin(store, cases=CASES[:1])
    with pytest.raises(StoreError, match="no case of this run"):
        store.append(run_id, [visit(CASES[1])])


def test_summary_counts_cases_by_how_they_ended(store: Store) -> None:
    run_id = begin(store)
    store.append(run_id, [visit(CASES[0]), visit(CASES[1], status=Status.FAILED), visit(CASES[2])])
    store.append(run_id, [visit(CASES[0], 1), visit(CASES[1], 1), visit(CASES[2], 1, Status.CRASHED)])
    [summary] = store.runs()
    assert summary.statuses == {Status.PASSED: 1, Status.FAILED: 1, Status.CRASHED: 1}
    assert (summary.cases, summary.measured, summary.failed) == (4, 2, 1)


def resumable(store: Store, **changes: object) -> str | None:
    wanted = {"digest": "d", "version": RUN.version, "environment": ENVIRONMENT, "host": HOST, **changes}
    return store.resumable(**wanted)


def test_unfinished_run_of_a_process_that_is_gone_is_resumable(store: Store) -> None:
    assert resumable(store) is None
    run_id = begin(store, writer=GONE)
    assert resumable(store) == run_id


@pytest.mark.parametrize(
    "changes",
    [
        {"digest": "other"},
        {"version": "0.2.0"},
        {"environment": dataclasses.replace(ENVIRONMENT, torch="2.14.0")},
        {"host": "another"},
    ],
)
def test_run_of_something_else_is_not_resumable(store: Store, changes: dict[str, object]) -> None:
    begin(store, writer=GONE)
    assert resumable(store, **changes) is None


def test_run_of_a_living_process_is_not_resumable_nor_taken_over(store: Store) -> None:
    run_id = begin(store, writer=ME)
    assert resumable(store) is None
    with pytest.raises(StoreError, match="being written by another process"):
        store.take_over(run_id, GONE)
    store.append(run_id, [visit(CASES[0])])


def test_run_of_another_host_is_never_taken_over(store: Store) -> None:
    elsewhere = dataclasses.replace(GONE, host="another")
    run_id = begin(store, writer=elsewhere)
    assert resumable(store, host="another") is None
    assert store.load(run_id).state is RunState.RUNNING
    with pytest.raises(StoreError, match="being written"):
        store.take_over(run_id, ME)


def test_newest_of_several_is_resumed(store: Store) -> None:
    newest = begin(store, run=started(40), writer=GONE)
    begin(store, run=started(20), writer=GONE)
    assert resumable(store) == newest


def test_interrupted_run_is_resumable_while_its_process_lives(store: Store) -> None:
    run_id = begin(store, writer=ME)
    store.finish(run_id, RunState.INTERRUPTED, "2026-11-24T03:16:00+00:00")
    assert resumable(store) == run_id
    store.take_over(run_id, ME)
    loaded = store.load(run_id)
    assert (loaded.state, loaded.finished_at) == (RunState.RUNNING, None)


def test_finished_run_is_neither_resumed_nor_written(store: Store) -> None:
    run_id = begin(store, writer=GONE)
    store.finish(run_id, RunState.FINISHED, "2026-11-24T03:16:00+00:00")
    assert resumable(store) is None
    with pytest.raises(StoreError, match="is finished"):
        store.take_over(run_id, ME)
    with pytest.raises(StoreError, match="not begun or taken over here"):
        store.append(run_id, [visit(CASES[0])])
    with pytest.raises(RunNotFoundError):
        store.take_over("nothing", ME)


def test_killed_run_shows_as_interrupted(store: Store) -> None:
    run_id = begin(store, writer=GONE)
    assert store.load(run_id).state is RunState.INTERRUPTED
    assert store.runs()[0].state is RunState.INTERRUPTED


def test_resume_keeps_all_visits_until_the_same_are_stored_again(url: str) -> None:
    cut_short = visit(CASES[1], complete=False, stop_reason=StopReason.INTERRUPTED)
    with Store.create(url) as first:
        run_id = begin(first, writer=GONE)
        first.append(run_id, [visit(CASES[0]), cut_short])
        loaded = first.load(run_id)
        assert len(loaded.results) == 2  # shown also while it is not complete
    with Store.create(url) as second:
        assert second.take_over(run_id, ME) == loaded.started_at
        assert second.visits(run_id) == {CASES[0].id: [visit(CASES[0])], CASES[1].id: [cut_short]}
        second.append(run_id, [visit(CASES[1])])
        assert second.visits(run_id)[CASES[1].id] == [visit(CASES[1])]
        assert [result.case for result in second.load(run_id).results] == list(CASES[:2])


def test_process_whose_run_was_taken_over_cannot_write_any_more(url: str) -> None:
    with Store.create(url) as first, Store.create(url) as second:
        run_id = begin(first, writer=GONE)
        second.take_over(run_id, ME)
        for act in (
            lambda: first.append(run_id, [visit(CASES[0])]),
            lambda: first.finish(run_id, RunState.FINISHED, "2026-11-24T03:16:00+00:00"),
        ):
            with pytest.raises(StoreError, match="taken over by another process"):
                act()
        assert second.visits(run_id) == {}


def python(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """A process of this test's Python with the names of this module; `arguments` are its sys.argv[1:]."""
    names = "import sys, os, time; at = sys.argv.pop(1); sys.path[:0] = [at, at + '/store']; from test_store import *\n"
    return subprocess.Popen(
        [sys.executable, "-c", names + textwrap.dedent(code), str(Path(__file__).parent.parent), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def outcome(process: subprocess.Popen[str]) -> str:
    """What it printed; fails with its traceback where it failed."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.strip()


APPENDS_FOR_EVER = """
    with Store.create(sys.argv[1]) as store:
        run_id = begin(store)
        print(run_id, flush=True)
        for process_index in itertools.count():
            store.append(run_id, [visit(case, process_index) for case in CASES])
"""


@pytest.mark.slow
def test_run_killed_at_any_moment_is_whole_and_resumable(url: str) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for _ in range(4):
        process = python(APPENDS_FOR_EVER, url)
        assert process.stdout is not None
        run_id = process.stdout.readline().strip()
        time.sleep(chance.uniform(0.0, 0.15))
        process.kill()
        process.communicate()
        with Store.create(url) as store:
            assert resumable(store) == run_id, f"seed {seed}"
            found = store.visits(run_id)
            processes = len(next(iter(found.values()), []))
            assert found == {case.id: [visit(case, i) for i in range(processes)] for case in CASES if processes}
            store.take_over(run_id, ME)
            store.append(run_id, [visit(CASES[0], processes)])
            store.finish(run_id, RunState.FINISHED, "2026-11-24T04:00:00+00:00")
            assert store.load(run_id).state is RunState.FINISHED


@pytest.mark.slow
def test_four_processes_make_and_write_one_database_at_once(url: str) -> None:
    code = """
        while time.time() < float(sys.argv[2]):
            time.sleep(0.001)
        with Store.create(sys.argv[1]) as store:
            run_id = begin(store)
            for process_index in range(25):
                store.append(run_id, [visit(case, process_index) for case in CASES])
                if process_index % 10 == 0:
                    store.load(run_id)
            store.finish(run_id, RunState.FINISHED, "2026-11-24T04:00:00+00:00")
            print(run_id)
    """
    at_once = time.time() + 4  # by then all have imported what they need
    ids = {outcome(process) for process in [python(code, url, at_once) for _ in range(4)]}
    with Store.open(url) as store:
        assert {summary.id for summary in store.runs()} == ids
        assert len(ids) == 4
        for run_id in ids:
            [every] = {result.blocks for result in store.load(run_id).results}
            assert every == joined([(LAYOUT, visit(CASES[0]).blocks)] * 25)


def test_reader_sees_what_is_stored_while_another_writes(url: str) -> None:
    with Store.create(url) as writer:
        run_id = begin(writer)
        with Store.open(url) as reader:
            assert reader.load(run_id).results == ()
            writer.append(run_id, [visit(CASES[0])])
            assert len(reader.load(run_id).results) == 1


@pytest.mark.parametrize(
    ("stored", "now", "resumed"),
    [
        (None, None, True),
        (None, Git(commit="a"), True),  # stored by an older convbench
        (Git(commit="a"), Git(commit="a", branch="other", dirty=True), True),
        (Git(commit="a"), Git(commit="b"), False),
        (Git(commit="a"), None, False),
    ],
)
def test_run_goes_on_at_its_own_commit_alone(store: Store, stored: Git | None, now: Git | None, resumed: bool) -> None:
    run_id = begin(store, run=dataclasses.replace(RUN, git=stored), writer=GONE)
    assert resumable(store, git=now) == (run_id if resumed else None)


WHEN = "2026-11-25T08:00:00+00:00"


def test_baseline_is_set_moved_listed_and_removed(store: Store) -> None:
    first, second = begin(store, run=started(10)), begin(store, run=started(20))
    assert store.baselines() == []
    assert store.set_baseline("main", "latest", set_at=WHEN) == Baseline(name="main", run_id=second, set_at=WHEN)
    store.set_baseline("release/1.2", first[:13], set_at=WHEN)
    assert [(baseline.name, baseline.run_id) for baseline in store.baselines()] == [
        ("main", second),
        ("release/1.2", first),
    ]
    third = begin(store, run=started(30))
    assert (store.load("main").id, store.load("latest").id) == (second, third), "a baseline stays with its run"
    store.set_baseline("main", "baseline:release/1.2", set_at=WHEN)
    assert store.load("baseline:main").id == first
    store.remove_baseline("main")
    assert [baseline.name for baseline in store.baselines()] == ["release/1.2"]
    assert store.load(first).id == first, "the run stays"


@pytest.mark.parametrize(
    "act",
    [
        lambda store: store.load("main"),
        lambda store: store.load("baseline:main"),
        lambda store: store.visits("main"),
        lambda store: store.remove_baseline("main"),
        lambda store: store.set_baseline("other", "main", set_at=WHEN),
    ],
)
def test_baseline_that_is_not_set_is_told_with_those_that_are(store: Store, act: Callable[[Store], object]) -> None:
    begin(store)
    store.set_baseline("nightly", "latest", set_at=WHEN)
    with pytest.raises(RunNotFoundError, match="there is no baseline 'main'") as caught:
        act(store)
    assert "set are nightly" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["", "2026", "latest", "run.json", "a b", "-x", "a\n", "ä", "x" * 101])
def test_baseline_may_not_be_called_what_means_something_else(store: Store, name: str) -> None:
    begin(store)
    with pytest.raises(RequestError, match="a baseline cannot be called"):
        store.set_baseline(name, "latest", set_at=WHEN)


def test_runs_are_deleted_all_or_none_and_a_baseline_stays(store: Store) -> None:
    first, second, third = (begin(store, run=started(minute), writer=GONE) for minute in (10, 20, 30))
    alive = begin(store, run=started(40), writer=ME)
    store.set_baseline("main", first, set_at=WHEN)
    assert store.protected() == {first: "it is the baseline main", alive: f"a process on {HOST} is writing it"}
    for kept in (first, alive):
        with pytest.raises(RequestError, match=f"run {kept} stays"):
            store.delete({second, kept})
    assert [run.id for run in store.runs()] == [alive, third, second, first]
    store.delete({second, third})
    assert [run.id for run in store.runs()] == [alive, first]
    assert len(store.load(first).unmeasured) == len(CASES), "what belongs to other runs stays"
    with pytest.raises(RunNotFoundError):
        store.visits(second)


# ---- SQLite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


def filled(path: Path, cases: tuple[Case, ...] = CASES) -> str:
    """A database with one finished run that nobody has open."""
    with Store.create(str(path)) as store:
        run_id = begin(store, cases=cases)
        store.append(run_id, [visit(case) for case in cases])
        store.finish(run_id, RunState.FINISHED, "2026-11-24T04:00:00+00:00")
    return run_id


def test_eight_threads_that_load_at_once_get_what_one_gets(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "MOST_KNOWN", 4)
    with Store.create(str(path)) as store:
        for number in range(8):
            problems = [dataclasses.replace(CASES[0].problem, in_channels=100 * number + i + 1) for i in range(100)]
            begin(store, cases=tuple(Case(problem=problem) for problem in problems), run=started(number))
        ids = [run.id for run in store.runs()]
        alone = {run_id: store.load(run_id).unmeasured for run_id in ids}

    def load(run_id: str) -> None:
        with Store.open(str(path)) as store:
            for _ in range(20):
                assert store.load(run_id).unmeasured == alone[run_id]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            assert [*threads.map(load, ids)] == [None] * 8
    finally:
        sys.setswitchinterval(interval)
    assert gc.isenabled()


def test_what_threads_have_known_at_once_is_forgotten_by_none_while_another_takes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loading, "MOST_KNOWN", 4)

    def read(stored: Sequence[int]) -> list[str]:
        time.sleep(1e-3)  # other threads have their turn
        return [str(one) for one in stored]

    known = loading.Known(read)
    with ThreadPoolExecutor(8) as threads:
        numbers = [(0, number) for number in range(1, 81)]
        assert [*threads.map(known.of, numbers)] == [[str(a), str(b)] for a, b in numbers]


def test_folder_is_made_and_default_is_below_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Store.create() as store:
        begin(store)
    with Store.open() as store:
        assert len(store.runs()) == 1
    assert (tmp_path / "reports/convbench.db").is_file()


@pytest.mark.parametrize("name", ["a b?c#d%20.db", "ä\U0001f600.db", "-x.db", "no_ending"])
def test_any_file_name_does(tmp_path: Path, name: str) -> None:
    filled(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    with Store.open(str(tmp_path / name)) as store:
        assert len(store.runs()) == 1


def test_url_and_path_name_the_same_file(path: Path) -> None:
    run_id = filled(path)
    with Store.open(f"sqlite:///{path}") as store:
        assert store.load("latest").id == run_id


def test_settings_of_a_connection(path: Path) -> None:
    with with_engine(str(path)) as (_, engine), engine.connect() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 1, "busy_timeout": 30_000}


def test_reading_makes_no_database(path: Path) -> None:
    with pytest.raises(StoreError, match="there is no database") as caught:
        Store.open(str(path))
    assert "convbench run" in (caught.value.hint or "")
    assert not path.exists()


def test_empty_file_holds_no_runs_and_becomes_a_database(path: Path) -> None:
    path.touch()
    with pytest.raises(StoreError, match="holds no runs"):
        Store.open(str(path))
    filled(path)
    with Store.open(str(path)) as store:
        assert len(store.runs()) == 1


def test_database_that_another_process_made_just_now_is_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = filled(path)
    with monkeypatch.context() as patched:
        # It looked before the other process made it.
        patched.setattr("convbench.store.opening.schema_version", lambda engine, place: None)
        with with_engine(str(path)) as (store, engine), engine.connect() as connection:
            assert store.load("latest").id == run_id
            assert connection.exec_driver_sql("SELECT version FROM convbench_schema").scalars().all() == [
                store_schema.VERSION
            ]


def test_reading_store_does_not_write(path: Path) -> None:
    filled(path)
    before = path.read_bytes()
    with Store.open(str(path)) as store, pytest.raises(StoreError, match="it is read-only"):
        begin(store)
    assert path.read_bytes() == before


@pytest.mark.parametrize("opened", [Store.open, Store.create])
def test_file_of_another_kind_is_refused_and_left_alone(path: Path, opened: type[Store]) -> None:
    path.write_text("name: a sweep, not a database\n" * 100)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not an SQLite database"):
        opened(str(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("opened", "message"), [(Store.open, "holds no runs"), (Store.create, "belongs to another program .table 'books'.")]
)
def test_database_of_another_program_is_refused_and_left_alone(path: Path, opened: type[Store], message: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE books (title)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=message):
        opened(str(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize("opened", [Store.open, Store.create])
@pytest.mark.parametrize(("version", "hint"), [(0, "it is damaged"), (99, "a newer convbench")])
def test_other_schema_version_is_named(path: Path, opened: type[Store], version: int, hint: str) -> None:
    filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE convbench_schema SET version = ?", (version,))
    connection.close()
    with pytest.raises(StoreError, match=f"schema version {version}, this convbench knows versions 1 to") as caught:
        opened(str(path))
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("opened", [Store.open, Store.create])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "postgresql://joe:s3cret@127.0.0.1:1/x?password=s3cret",
            "postgresql://127.0.0.1:1/x: the server does not answer",
        ),
        ("nosuch://joe:s3cret@host/x", "nosuch"),
        ("postgresql://joe:s3cret@host:port/x", "URL is not understood"),
        ("sqlite://", "plain file"),
        ("sqlite:///:memory:", "plain file"),
        ("sqlite:///x.db?mode=ro", "plain file"),
        ("a\0b", "no name"),
    ],
)
def test_url_that_will_not_do_is_refused_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: type[Store], name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=message) as caught:
        opened(name)
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"
    assert list(tmp_path.iterdir()) == []


def test_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    for opened in (Store.open, Store.create):
        with pytest.raises(StoreError, match="is a folder"):
            opened(str(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot make the folder"):
        Store.create(str(tmp_path / "file" / "runs.db"))
    with pytest.raises(StoreError, match="there is no database"):
        Store.open(str(tmp_path / "file" / "runs.db"))


def test_damaged_database_is_one_error(path: Path) -> None:
    filled(path, cases=tuple(dataclasses.replace(CASES[0], threads=threads) for threads in range(1, 400)))
    content = bytearray(path.read_bytes())
    content[8192:] = os.urandom(len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(StoreError), Store.open(str(path)) as store:
        store.load("latest")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE cases SET problem = '{'", "cannot read"),
        ("UPDATE cases SET settings = '{\"new\": 1}'", "unknown entry 'new'"),
        ("UPDATE visits SET status = 'good'", "good"),
        ("UPDATE runs SET environment = '{}'", "lacks hostname"),
    ],
)
def test_content_of_a_newer_convbench_is_one_error(path: Path, change: str, message: str) -> None:
    run_id = filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute(change)
    connection.close()
    with Store.open(str(path)) as store, pytest.raises(StoreError, match=message) as caught:
        store.load("latest")
    assert run_id in caught.value.message


def test_full_disk_is_one_error_and_what_was_stored_stays(path: Path) -> None:
    with with_engine(str(path)) as (store, engine):
        run_id = begin(store)
        with engine.connect() as connection:  # the pool's only connection: the limit stays with it
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 20}")
        appended = 0
        with pytest.raises(StoreError, match="the disk is full") as caught:
            for appended in range(1000):
                store.append(run_id, [visit(case, appended, blocks=pack_blocks([BLOCK] * 25)) for case in CASES])
        assert "--db" in (caught.value.hint or "")
        assert 0 < appended < 999
        assert [len(visits) for visits in store.visits(run_id).values()] == [appended] * len(CASES)


def test_disk_that_refuses_to_write_is_one_error_and_what_was_stored_stays(path: Path) -> None:
    code = """
        import resource
        with Store.create(sys.argv[1]) as store:
            run_id = begin(store)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
            try:
                for appended in range(1000):
                    store.append(run_id, [visit(case, appended, blocks=pack_blocks([BLOCK] * 25)) for case in CASES])
            except StoreError as error:
                print(json.dumps([appended, error.message, error.hint]))
    """
    appended, message, hint = json.loads(outcome(python(code, path)))
    assert appended > 0
    assert "the disk reports an error" in message or "the disk is full" in message
    assert "--db" in hint
    with Store.open(str(path)) as store:
        [summary] = store.runs()
        assert [len(visits) for visits in store.visits(summary.id).values()] == [appended] * len(CASES)


def test_disk_full_from_the_start_is_one_error(path: Path) -> None:
    code = """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        try:
            Store.create(sys.argv[1])
        except StoreError as error:
            print(error.message)
    """
    assert "cannot use the database" in outcome(python(code, path))
    filled(path)


#: Reads databases as a user who may write nowhere, one a line of its input: root may write to read-only folders.
READS_AS_NOBODY = """
    import tempfile
    with tempfile.TemporaryDirectory() as folder, Store.create(folder + "/warm.db"):  # imports all that is needed
        pass
    if os.getuid() == 0:
        os.setuid(65534)
    for line in sys.stdin:
        opened, path = json.loads(line)
        try:
            with getattr(Store, opened)(path) as store:
                if opened == "create":
                    begin(store)
                print(json.dumps([len(store.load("latest").results), None]), flush=True)
        except StoreError as error:
            print(json.dumps([error.message, error.hint]), flush=True)
"""
AsNobody = Callable[[str, Path], list[Any]]


@pytest.fixture(scope="module")
def as_nobody() -> Iterator[AsNobody]:
    """Opens a database by a method of Store: how many results it holds, or message and hint of the error."""
    with python(READS_AS_NOBODY, stdin=subprocess.PIPE) as process:

        def answer(opened: str, path: Path) -> list[Any]:
            assert process.stdin is not None
            assert process.stdout is not None
            print(json.dumps([opened, str(path)]), file=process.stdin, flush=True)
            return json.loads(process.stdout.readline() or "null")

        yield answer
        assert outcome(process) == ""


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder for everyone to read, to be made read-only by the test; pytest's own are for one user's eyes."""
    folder = Path(tempfile.mkdtemp(prefix="convbench-test-"))
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_read_only_folder_can_be_read(as_nobody: AsNobody, closed_folder: Path) -> None:
    filled(closed_folder / "runs.db")
    closed_folder.chmod(0o555)
    assert as_nobody("open", closed_folder / "runs.db") == [len(CASES), None]


@pytest.mark.parametrize("name", ["runs.db", "new.db", "folder/new.db"])
def test_read_only_folder_cannot_be_written(as_nobody: AsNobody, closed_folder: Path, name: str) -> None:
    filled(closed_folder / "runs.db")
    closed_folder.chmod(0o555)
    message, hint = as_nobody("create", closed_folder / name)
    assert message.startswith(("cannot use the database", "cannot make the folder"))
    assert name.split("/")[0] in message
    assert "--db" in hint


def test_database_that_may_not_be_read_is_one_error(as_nobody: AsNobody, closed_folder: Path) -> None:
    filled(closed_folder / "runs.db")
    (closed_folder / "runs.db").chmod(0o000)
    closed_folder.chmod(0o555)
    message, _ = as_nobody("open", closed_folder / "runs.db")
    assert "cannot be opened" in message


def test_log_of_a_killed_process_in_a_read_only_folder_is_not_passed_over(
    as_nobody: AsNobody, closed_folder: Path
) -> None:
    process = python(APPENDS_FOR_EVER, closed_folder / "runs.db")
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate()
    (closed_folder / "runs.db-shm").unlink()
    assert (closed_folder / "runs.db-wal").stat().st_size
    closed_folder.chmod(0o555)
    message, hint = as_nobody("open", closed_folder / "runs.db")
    assert "runs.db-wal" in message
    assert "copy" in hint


def test_locked_database_is_one_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(path)
    monkeypatch.setattr("convbench.store.opening.BUSY_TIMEOUT_S", 0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with Store.create(str(path)) as store, pytest.raises(StoreError, match="kept it locked"):
        begin(store)
    other.close()


# ---- PostgreSQL


@pytest.mark.postgres
@pytest.mark.parametrize("opened", [Store.open, Store.create])
@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"password": "s3cret%/"}, "it refuses user or password", "~/.pgpass"),
        ({"database": "absent"}, "the user or the database does not exist", "createdb"),
        ({"database": "password"}, "the user or the database does not exist", "createdb"),
        ({"database": "password", "password": "s3cret%/"}, "it refuses user or password", "~/.pgpass"),
        ({"port": 1}, "the server does not answer", "is it running"),
        ({"host": "nosuch.invalid"}, "its host is not known", "the host in the URL"),
        ({"query": {"sslmode": "require"}}, "do not agree on SSL", "sslmode"),
        ({"query": {"nosuch": "1"}}, "an unknown option", "after ?"),
        ({"query": {"options": "-c nosuch=1"}}, "the server refuses the connection", "options in the URL"),
    ],
)
def test_server_that_refuses_is_one_error_without_the_password(
    postgres: Server, opened: type[Store], change: dict[str, object], message: str, hint: str
) -> None:
    url = make_url(postgres.url("postgres")).set(**change)
    with pytest.raises(DatabaseError, match=message) as caught:
        opened(url.render_as_string(hide_password=False))
    told = f"{caught.value} {caught.value.hint}"
    assert hint in told
    assert str(url.password) not in told
    assert "s3cret" not in told


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("statement", "message", "hint"),
    [
        ("", "there is no permission", "grant this user CREATE"),
        ("ALTER DATABASE {0} SET default_transaction_read_only = on", "it is read-only", "--db"),
        ("REVOKE CONNECT ON DATABASE {0} FROM PUBLIC", "it refuses this user", "grant CONNECT"),
        ("ALTER DATABASE {0} CONNECTION LIMIT 0", "it allows no more connections", "allow more"),
        ("ALTER ROLE plain CONNECTION LIMIT 0", "it allows no more connections", "allow more"),
        ("ALTER ROLE plain NOLOGIN", "the server refuses the connection", "user"),
    ],
)
def test_server_that_allows_too_little_says_what_is_missing(
    postgres: Server, statement: str, message: str, hint: str
) -> None:
    url = postgres.new_database()
    name = url.rpartition("/")[2]
    postgres.execute("postgres", "CREATE ROLE plain LOGIN PASSWORD 'pl4in-word'")
    try:
        if "read_only" in statement:  # which whoever may not write at all would never hear of
            postgres.execute(name, "GRANT CREATE ON SCHEMA public TO plain")
        if statement:
            postgres.execute("postgres", statement.format(name))
        plain = make_url(url).set(username="plain", password="pl4in-word")
        with pytest.raises(DatabaseError, match=message) as caught:
            Store.create(plain.render_as_string(hide_password=False))
        assert hint in (caught.value.hint or "")
    finally:
        postgres.execute("postgres", f"ALTER DATABASE {name} RESET ALL")
        postgres.execute(name, "DROP OWNED BY plain")
        postgres.execute("postgres", "DROP ROLE plain")


@pytest.mark.postgres
def test_server_without_room_says_so_to_its_owner_and_to_others(postgres: Server) -> None:
    url, taken = postgres.new_database(), []
    postgres.execute("postgres", "CREATE ROLE plain LOGIN PASSWORD 'pl4in-word'")
    plain = make_url(url).set(username="plain", password="pl4in-word").render_as_string(hide_password=False)
    try:
        for somebody in (plain, url):  # the last places are the owner's
            with pytest.raises(psycopg.OperationalError):
                while True:
                    taken.append(psycopg.connect(somebody))
            with pytest.raises(DatabaseError, match="it allows no more connections") as caught:
                Store.open(somebody)
            assert "max_connections" in (caught.value.hint or "")
    finally:
        for connection in taken:
            connection.close()
        for _ in range(600):  # they go away one by one
            with contextlib.suppress(psycopg.OperationalError):
                postgres.execute("postgres", "DROP ROLE plain")
                break
            time.sleep(0.05)


@pytest.mark.postgres
def test_server_that_locks_or_goes_down_says_so(postgres: Server) -> None:
    url = postgres.new_database()
    impatient = make_url(url).update_query_dict({"options": "-c lock_timeout=50"})
    with with_engine(url) as (store, engine):
        run_id = begin(store)
        with psycopg.connect(url) as other:
            other.execute("LOCK TABLE runs, convbench_schema")
            with pytest.raises(DatabaseError, match="another process has kept it locked"):
                Store.open(impatient.render_as_string(hide_password=False))
        going_down = pytest.raises(DatabaseError, match="the server is going down or starting")
        with going_down, Place.of(url).explaining(), engine.begin() as connection:
            process = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            postgres.execute("postgres", f"SELECT pg_terminate_backend({process}, 10000)")
            connection.exec_driver_sql("SELECT 1")
        assert store.load(run_id).id == run_id


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("connection failed: FATAL:  the database system is starting up", "the server is going down or starting"),
        ('connection to server at "h", port 53300 failed: Connection refused', "the server does not answer"),
        ('connection to server at "FATAL", port 1 failed: timeout expired', "the server does not answer"),
        ("connection failed: refused\nAll failures:\n- FATAL:  sorry, too many clients already", "it allows no more"),
    ],
)
def test_words_of_a_server_are_understood_and_names_are_not_words(said: str, message: str) -> None:
    with pytest.raises(DatabaseError, match=message), Place.of("postgresql://h/x").explaining():
        raise OperationalError("", None, Exception(said))


@pytest.mark.postgres
@pytest.mark.parametrize("opened", [Store.open, Store.create])
def test_server_that_is_frozen_ends_in_a_sentence(
    postgres: Server, monkeypatch: pytest.MonkeyPatch, opened: type[Store]
) -> None:
    url = make_url(postgres.new_database()).update_query_dict({"connect_timeout": "2"})
    monkeypatch.setattr(patience, "ANSWER_S", 1.0)
    with Store.create(postgres.url(url.database or "")) as store:
        run_id = begin(store)
        postgres.freeze()
        try:
            with pytest.raises(DatabaseError, match="the server does not answer"):
                opened(url.render_as_string(hide_password=False))
            with pytest.raises(DatabaseError, match="the server does not answer"):
                store.append(run_id, [visit(CASES[0])])
        finally:
            postgres.thaw()
        store.append(run_id, [visit(CASES[0])])
        assert store.visits(run_id) == {CASES[0].id: [visit(CASES[0])]}


@pytest.mark.postgres
def test_silence_within_a_transaction_ends_it_and_nothing_of_it_is_stored(
    postgres: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    url = postgres.new_database()
    with with_engine(url) as (store, engine):
        run_id = begin(store)
        rows = [{"run_key": 1, "position": position, "label": "", "reason": ""} for position in range(5, 2000)]

        def interrupt(number: int, frame: object) -> None:
            raise KeyboardInterrupt

        def silent(error: type[BaseException], *, after_s: float) -> None:
            try:
                impatient, told = patience.answering_within(1.0), Place.of(url).explaining()
                with pytest.raises(error), impatient, told, engine.begin() as connection:
                    connection.exec_driver_sql("SELECT 1")
                    postgres.freeze()
                    signal.setitimer(signal.ITIMER_REAL, after_s)
                    connection.execute(store_schema.rejections.insert(), rows)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                postgres.thaw()

        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            silent(DatabaseError, after_s=100.0)
            silent(KeyboardInterrupt, after_s=0.3)
        finally:
            signal.signal(signal.SIGALRM, before)
        assert store.load(run_id).rejections == RUN.rejections
    assert capfd.readouterr().err == ""


def test_what_the_url_says_in_confidence_is_in_no_message() -> None:
    place = Place.of("postgresql://joe:p%2Fss%20w@h/x?password=other&host=a")
    with pytest.raises(DatabaseError) as caught, place.explaining():
        raise OperationalError("", None, Exception("joe:p%2Fss%20w 'p/ss w' other"))
    assert caught.value.message == "cannot use the database postgresql://h/x: joe:*** '***' ***"


def test_missing_driver_is_told_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match="needs the Python package 'psycopg'") as caught:
        Store.open("postgresql://joe:s3cret@host/x")
    assert caught.value.hint == "pip install 'convbench[postgres]'"
    assert "s3cret" not in caught.value.message


@pytest.mark.postgres
def test_server_without_runs_is_told_and_not_written_by_a_reader(postgres: Server) -> None:
    url = postgres.new_database()
    with pytest.raises(StoreError, match="holds no runs of convbench"):
        Store.open(url)
    assert postgres.execute(url.rpartition("/")[2], "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [
        (0,)
    ]


@pytest.mark.postgres
def test_server_is_shared_with_other_programs_but_not_with_tables_of_our_names(postgres: Server) -> None:
    shared, taken = postgres.new_database(), postgres.new_database()
    postgres.execute(shared.rpartition("/")[2], "CREATE TABLE books (title text)")
    postgres.execute(taken.rpartition("/")[2], "CREATE TABLE runs (title text)")
    with Store.create(shared) as store:
        begin(store)
    with pytest.raises(StoreError, match=r"belongs to another program \(table 'runs'\)"):
        Store.create(taken)


@pytest.mark.postgres
def test_reader_of_a_server_sees_one_moment(postgres: Server) -> None:
    url = postgres.new_database()
    with Store.create(url) as writer, with_engine(url, reads=True) as (reader, engine):
        run_id = begin(writer)

        def append(*about: object) -> None:
            writer.append(run_id, [visit(CASES[0])])

        event.listen(engine, "after_cursor_execute", append, once=True)
        assert reader.load(run_id).results == (), "appended after the first of its queries"
        assert len(reader.load(run_id).results) == 1


@pytest.mark.postgres
def test_server_that_came_back_between_two_appends_is_used_again(postgres: Server) -> None:
    with Store.create(postgres.new_database()) as store:
        run_id = begin(store)
        postgres.stop()
        postgres.start()
        store.append(run_id, [visit(CASES[0])])
        assert store.visits(run_id) == {CASES[0].id: [visit(CASES[0])]}


# ---- schema versions: a database of each stays readable for ever


GIT = Git(commit="0123456789abcdef0123456789abcdef01234567", branch="main", dirty=True)


#: Two hosts of one kind share out the cases of a sweep; one of them was lost.
CAMPAIGN = Campaign(
    id="c20261124-031500-abcd",
    name="first",
    how=How.SPLIT,
    source="name: first # ä\n",
    started_at="2026-11-24T03:15:00+00:00",
    finished_at="2026-11-24T03:19:00+00:00",
    state=CampaignState.INTERRUPTED,
    controls=tuple(case.id for case in CASES[:2]),
    shards=(
        Shard(
            position=0,
            machine=MachineKey(cpu="AMD EPYC", architecture="x86_64", cores=2, devices=(DeviceKind(model="H200"),)),
            state=ShardState.FINISHED,
            host="a",
            run_ids=(RUN.id,),
            case_ids=(CASES[2].id,),
            device="GPU-0b1c",
            boot="8d6c",
        ),
        Shard(
            position=1,
            machine=MachineKey(cpu="AMD EPYC", architecture="x86_64", cores=2),
            state=ShardState.INTERRUPTED,
            case_ids=(CASES[3].id,),
            note="host b was lost: ä",
        ),
    ),
)


#: What databases since version 6 hold of the service.
SCHEDULE = Schedule(
    id="s20261124-031600-ab12cd34",
    name="nightly",
    cron="30 2 * * *",
    zone="Europe/Berlin",
    sweep="name: ä\n",
    sweep_name="ä",
    host="a",
    baseline="main",
    priority=1,
    made_at="2026-11-24T03:16:00.000000+00:00",
    made_by="ann",
    next_at="2026-11-25T01:30:00.000000+00:00",
)


def known_run(version: int) -> tuple[Run, list[Visit]]:
    """What tests/data/schema_v<version>.db holds: the run as it was begun, and its visits; since 2 a baseline.

    Since 5 it also holds CAMPAIGN, and since 6 SCHEDULE.
    """
    checked = Check(output_shape=(8, 32, 33), max_error=0.5, elements=2048, method="exact")
    wrong = dataclasses.replace(checked, max_error=float("inf"), reason="output[0, 1, 2] is 3.0, should be 2.0")
    processes = (
        ProcessFacts(
            process_index=0,
            seconds=60.5,
            roofs=(
                Roof(kind=RoofKind.COMPUTE, device="cpu", threads=1, rate=1e11, source="product", dtype="float32"),
                Roof(kind=RoofKind.BANDWIDTH, device="cpu", threads=1, rate=8e10, source="copy", footprint_bytes=2**15),
            ),
            load=0.5,
            stolen=0.01,
            frequency_hz=2.6e9,
            throttled=3,
        ),
        ProcessFacts(process_index=1, seconds=59.0),
    )
    return dataclasses.replace(RUN, processes=processes, git=GIT if version >= 2 else None), [
        visit(
            CASES[0],
            check=checked,
            implementation="Mkldnn jit:avx512_core",
            threads=1,
            timer="perf_counter_ns",
            note="a note",
            stop_reason=StopReason.ROUNDS,
            system_blocks=pack_blocks([BLOCK] * 3),
            kernels="void gemm<float, 128>(Params); nchwToNhwc" if version >= 4 else None,
            samples=pack_samples([BlockSamples(round_index=0, seconds=(0.5, 0.25))]) if version >= 3 else b"",
        ),
        visit(CASES[0], 1, threads=1, stop_reason=StopReason.SETTLED),
        visit(
            CASES[1], status=Status.FAILED, reason="wrong: ä \U0001f600", check=wrong, blocks=pack_blocks([BLOCK] * 5)
        ),
        visit(CASES[2], status=Status.CRASHED, reason="signal 11", blocks=b"", stop_reason=StopReason.STATUS),
    ]


def make_known(path: Path) -> None:
    """Write the newest version's fixture: `cd tests && python -c "from test_store import *; make_known(Path(...))"`."""
    run, visits = known_run(store_schema.VERSION)
    with Store.create(str(path)) as store:
        store.begin(run, CASES, run.rejections, GONE, digest="d")
        store.append(run.id, visits)
        for facts in run.processes:
            store.note_process(run.id, facts)
        store.finish(run.id, RunState.FINISHED, "2026-11-24T03:18:00+00:00")
        store.set_baseline("main", run.id, set_at="2026-11-24T03:20:00+00:00")
        store.begin_campaign(CAMPAIGN, GONE)
        store.finish_campaign(CAMPAIGN.id, CAMPAIGN.state, "2026-11-24T03:19:00+00:00")
        Schedules(store).add(SCHEDULE)


#: The layout of blocks in the databases of each schema version.
LAYOUTS = {1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 2, 7: 2, 8: 2}


def in_layout(visit: Visit, layout: int) -> Visit:
    """The visit with its blocks in a layout."""
    row = struct.Struct(f"<{len(BLOCK_LAYOUTS[layout])}f")
    packed = {
        name: b"".join(
            row.pack(*(getattr(block, column) for column in BLOCK_LAYOUTS[layout]))
            for block in unpack_blocks(getattr(visit, name), visit.layout)
        )
        for name in PACKED
    }
    return dataclasses.replace(visit, layout=layout, **packed)


def assert_known(url: str, version: int) -> None:
    run, visits = known_run(version)
    visits = [in_layout(visit, LAYOUTS[version]) for visit in visits]
    results = [merge(case, [v for v in visits if v.case_id == case.id]) for case in CASES]
    expected = dataclasses.replace(
        run,
        state=RunState.FINISHED,
        finished_at="2026-11-24T03:18:00+00:00",
        results=tuple(result for result in results if result is not None),
        unmeasured=CASES[3:],
    )
    with Store.open(url) as store:
        assert dataclasses.asdict(store.load("latest")) == dataclasses.asdict(expected)
        assert [(summary.id, summary.git) for summary in store.runs()] == [(run.id, expected.git)]
        assert [baseline.name for baseline in store.baselines()] == ["main"] * (version >= 2)
        assert store.campaigns() == [CAMPAIGN] * (version >= 5)
        if version >= store_schema.SERVICE_SINCE:
            assert Schedules(store).list() == [SCHEDULE]


def test_what_is_known_of_a_process_is_stored_and_the_last_word_counts(store: Store) -> None:
    run_id = begin(store)
    store.note_process(run_id, ProcessFacts(process_index=1, seconds=2.0))
    store.note_process(run_id, ProcessFacts(process_index=0, seconds=1.0, load=0.25))
    store.note_process(run_id, ProcessFacts(process_index=1, seconds=3.0, stolen=0.5))
    assert store.load(run_id).processes == (
        ProcessFacts(process_index=0, seconds=1.0, load=0.25),
        ProcessFacts(process_index=1, seconds=3.0, stolen=0.5),
    )


@pytest.mark.parametrize("version", range(1, store_schema.VERSION + 1))
def test_database_of_each_schema_version_stays_readable(tmp_path: Path, version: int) -> None:
    copy = tmp_path / "copy.db"
    shutil.copyfile(DATA / f"schema_v{version}.db", copy)
    before = copy.read_bytes()
    assert_known(str(copy), version)
    assert copy.read_bytes() == before, "reading does not upgrade"


def differences(url: str) -> list[object]:
    """What Alembic finds different between a database's tables and those of the schema."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with with_engine(url, reads=True) as (_, engine), engine.connect() as connection:
        found: list[object] = compare_metadata(MigrationContext.configure(connection), store_schema.metadata)
        return found


def assert_upgraded(url: str, version: int) -> None:
    """A database that held the known run of an older version holds it still, and takes what is new."""
    assert differences(url) == []
    assert_known(url, version)
    with with_engine(url) as (store, engine):
        run_id = begin(store, run=dataclasses.replace(started(59), git=GIT))
        store.set_baseline("main", RUN.id, set_at="2026-11-25T00:00:00+00:00")
        assert (store.load(run_id).git, store.load("main").id) == (GIT, RUN.id)
        with engine.connect() as connection:
            version, identity = connection.exec_driver_sql("SELECT version, identity FROM convbench_schema").one()
    assert (version, len(identity)) == (store_schema.VERSION, 32)


OLDER = range(1, store_schema.VERSION)


@pytest.mark.parametrize("version", OLDER)
def test_older_schema_is_upgraded_when_it_is_opened_to_write(tmp_path: Path, version: int) -> None:
    copy = tmp_path / "copy.db"
    shutil.copyfile(DATA / f"schema_v{version}.db", copy)
    with Store.create(str(copy)):
        pass
    assert_upgraded(str(copy), version)


@pytest.mark.parametrize("version", OLDER)
def test_a_copy_is_kept_of_a_database_that_will_be_upgraded(tmp_path: Path, version: int) -> None:
    path = tmp_path / "runs.db"
    assert backup.copy_before_upgrade(str(path)) is None, "there is none yet"
    shutil.copyfile(DATA / f"schema_v{version}.db", path)
    copy = backup.copy_before_upgrade(str(path))
    assert copy == tmp_path / f"runs.db.schema-{version}"
    assert_known(str(copy), version)
    with Store.create(str(path)):
        assert backup.copy_before_upgrade(str(path)) is None, "it is upgraded"
    assert_known(str(copy), version)
    assert sorted(each.name for each in tmp_path.glob("*.part")) == []


def tables_as_of(path: Path, url: str) -> None:
    """Make the tables of an SQLite database on a server, with all their rows."""
    source, target = create_engine(f"sqlite:///{path}"), create_engine(url.replace("://", "+psycopg://"))
    tables = MetaData()
    tables.reflect(source)
    for table in tables.tables.values():
        for column in table.columns:
            column.type = column.type.as_generic()
            if isinstance(column.type, Text):
                column.type = Text(collation="C")
    with source.connect() as reading, target.begin() as writing:
        tables.create_all(writing)
        for table in tables.sorted_tables:
            rows = [row._asdict() for row in reading.execute(select(table))]
            if rows:
                writing.execute(table.insert(), rows)
        writing.exec_driver_sql("SELECT setval(pg_get_serial_sequence('runs', 'key'), max(key)) FROM runs")
    source.dispose()
    target.dispose()


@pytest.mark.postgres
@pytest.mark.parametrize("version", OLDER)
def test_older_schema_on_a_server_is_read_and_upgraded(postgres: Server, version: int) -> None:
    url = postgres.new_database()
    tables_as_of(DATA / f"schema_v{version}.db", url)
    assert_known(url, version)
    with Store.change(url):
        pass
    assert_upgraded(url, version)


@pytest.mark.slow
def test_processes_that_upgrade_at_once_do_it_once(tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    shutil.copyfile(DATA / "schema_v1.db", copy)
    code = """
        while time.time() < float(sys.argv[2]):
            time.sleep(0.001)
        with Store.create(sys.argv[1]) as store:
            print(begin(store))
    """
    at_once = time.time() + 2.5
    ids = {outcome(process) for process in [python(code, copy, at_once) for _ in range(4)]}
    with Store.open(str(copy)) as store:
        assert {summary.id for summary in store.runs()} == ids | {RUN.id}
    assert differences(str(copy)) == []


def test_upgrade_that_fails_leaves_the_database_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from convbench.store import migrations

    def fails(operations: object) -> None:
        raise OperationalError("", None, Exception("no"))

    monkeypatch.setattr(migrations, "STEPS", {**migrations.STEPS, store_schema.VERSION: fails, 1: lambda _: None})
    copy = tmp_path / "copy.db"
    shutil.copyfile(DATA / "schema_v1.db", copy)
    with pytest.raises(StoreError):
        Store.create(str(copy))
    assert_known(str(copy), 1)


def test_every_version_has_its_step_and_a_database_of_today_needs_no_alembic(path: Path) -> None:
    from convbench.store import migrations

    facts = {row.since for row in CASE_FACTS.values()}
    assert sorted(facts - {1} | set(migrations.STEPS)) == list(range(2, store_schema.VERSION + 1))
    filled(path)
    code = """
        with Store.create(sys.argv[1]) as store:
            begin(store)
        print(*(name for name in ("alembic", "psycopg") if name in sys.modules))
    """
    assert outcome(python(code, path)).split() == ["psycopg"], "which this module imports itself"


def test_older_schema_in_a_read_only_folder_can_be_read(as_nobody: AsNobody, closed_folder: Path) -> None:
    shutil.copyfile(DATA / "schema_v1.db", closed_folder / "runs.db")
    (closed_folder / "runs.db").chmod(0o444)
    closed_folder.chmod(0o555)
    assert as_nobody("open", closed_folder / "runs.db") == [3, None]
    message, hint = as_nobody("create", closed_folder / "runs.db")
    assert "cannot use the database" in message
    assert "--db" in hint


def test_tables_of_the_fixture_are_those_of_the_schema(tmp_path: Path) -> None:
    def tables(path: Path) -> set[str]:
        connection = sqlite3.connect(path)
        try:
            return {row[0] for row in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
        finally:
            connection.close()

    make_known(tmp_path / "new.db")
    assert_known(str(tmp_path / "new.db"), store_schema.VERSION)
    copy = tmp_path / "copy.db"
    shutil.copyfile(DATA / f"schema_v{store_schema.VERSION}.db", copy)
    assert tables(copy) == tables(tmp_path / "new.db")


# ---- who writes, what a run is called, which sweeps are the same


def test_this_process_is_not_gone() -> None:
    assert not ME.is_gone()
    assert Writer.of_this_process() == ME


@pytest.mark.parametrize("change", [{"started": ME.started - 1}, {"boot": "another"}])
def test_process_id_used_again_is_another_process(change: dict[str, object]) -> None:
    assert dataclasses.replace(ME, **change).is_gone()


def test_process_of_another_host_is_never_called_gone() -> None:
    assert not dataclasses.replace(GONE, host="another").is_gone()


def test_process_is_gone_when_it_was_killed_even_before_it_is_reaped() -> None:
    process = python("print(json.dumps(dataclasses.asdict(Writer.of_this_process())), flush=True); time.sleep(60)")
    assert process.stdout is not None
    writer = Writer(**json.loads(process.stdout.readline()))
    assert writer.pid == process.pid
    assert not writer.is_gone()
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, but still in the table of processes
    assert writer.is_gone()
    process.communicate()
    assert writer.is_gone()


def test_run_ids_sort_by_age_and_differ() -> None:
    now = datetime(2026, 11, 24, 3, 15, 2, tzinfo=UTC)
    ids = {new_run_id(now) for _ in range(50)}
    assert len(ids) > 45
    assert all(run_id.startswith("20261124-031502-") and len(run_id) == 20 for run_id in ids)
    assert max(ids) < new_run_id(now.replace(second=3))


def test_digests_of_unfinished_runs_that_were_stored_before_stay() -> None:
    case = Case(problem=Problem(in_channels=3, out_channels=4, kernel_size=(3, 3), input_size=(8, 8)))
    found = digest([case], Measure(processes=3, rounds=2, budget=60.0), seed=7, name="n", description="d")
    assert found == "7bd415d2a599e1dfd4e1c3d6030170e66eb83f6e617f5f7f530bdd8c90a473d7"


def test_labels_of_equal_layers_are_stored(tmp_path: Path) -> None:
    named = dataclasses.replace(CASES[0], labels=("conv 1", "conv 'ä'"))
    path = str(tmp_path / "runs.db")
    with Store.create(path) as store:
        store.begin(RUN, (named, *CASES[1:]), (), ME, digest="d")
    with Store.open(path) as store:
        assert [case.labels for case in store.load("latest").unmeasured] == [named.labels, (), (), ()]


def test_digest_tells_sweeps_apart_by_what_they_measure() -> None:
    base = digest(CASES, Measure(), seed=1)
    assert base == digest(list(CASES), Measure(), seed=1)
    others = [
        digest(CASES[1:], Measure(), seed=1),
        digest(CASES, Measure(processes=4), seed=1),
        digest(CASES, Measure(), seed=2),
        digest(CASES, Measure(), seed=1, name="n"),
        digest([dataclasses.replace(case, count=3) for case in CASES], Measure(), seed=1),
        digest([dataclasses.replace(case, given_label=None) for case in CASES], Measure(), seed=1),
        digest([dataclasses.replace(case, labels=("conv 1", "conv 2")) for case in CASES], Measure(), seed=1),
    ]
    assert len({base, *others}) == len(others) + 1


def test_texts_that_an_older_convbench_stored_as_they_came_are_read_and_made_visible(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with Store.create(str(path)) as store:
        store.begin(RUN, CASES, (), ME, digest="d")
        check = Check(output_shape=None, max_error=None, elements=1, method="exact", reason="REASON")
        store.append(
            RUN.id,
            [
                Visit(
                    case_id=CASES[0].id,
                    process_index=0,
                    status=Status.FAILED,
                    facts=dataclasses.replace(NO_FACTS, check=check),
                )
            ],
        )
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(
            r"UPDATE visits SET check_result = replace(check_result, 'REASON', 'half \udce4, \u0000, \ud83e\uddee')"
        )
        connection.commit()
    with Store.open(str(path)) as store:
        [result] = store.load(RUN.id).results
        check = result.facts.check
        assert check is not None and check.reason == "half \\udce4, \N{REPLACEMENT CHARACTER}, \U0001f9ee"
        [[visit]] = store.visits(RUN.id).values()
        assert visit.facts == result.facts
