"""Raw samples: asked for, measured, stored with their visits, and exported."""

from __future__ import annotations

import csv
import io
import itertools
import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest
from commands import Command
from fake_engine import FakeEngine, Script
from hypothesis import given
from hypothesis import strategies as st
from layers import PLAIN, spec

from convbench import sweep as sweeps
from convbench.actions import measure, read
from convbench.conduct import run as runner
from convbench.conduct.listening import Listener
from convbench.engine.client import WorkerClient
from convbench.errors import RequestError, WorkerDiedError
from convbench.measure.schedule import block_seconds, samples_bytes
from convbench.model.case import WorkerSettings
from convbench.model.result import Measure, unpack_blocks
from convbench.model.samples import BlockSamples, VisitSamples, pack_samples, unpack_samples
from convbench.store import Store, digest
from convbench.sweep import Sweep
from convbench.sweep.parse import parse as parse_sweep
from convbench.worker import timer
from convbench.worker.serve import Worker

AXES = "axes: {in_channels: [1, 2], out_channels: 1, kernel_size: 1, input_size: 4}\n"
TEXT = AXES + "measure: {processes: 2, rounds: 3, max_time: 0.06, samples: true}\n"
#: Blocks of 10 ms hold 10 iterations of 1 ms.
EACH = 10


def sweep(text: str = TEXT) -> Sweep:
    return parse_sweep(text, "sweep.yaml")


def measured(text: str = TEXT, script: Script | None = None, *, db: str = "my.db") -> str:
    made = sweep(text)
    engine = FakeEngine(script or Script())
    return runner.run(made, sweeps.cases(made), engine=engine, db=db, listener=Listener())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# What they are

moments = st.floats(2**-60, 2**30, width=32)
blocks = st.lists(
    st.builds(BlockSamples, round_index=st.integers(0, 999), seconds=st.lists(moments, max_size=5).map(tuple)),
    max_size=4,
)


@given(blocks)
def test_packed_samples_are_read_back(made: list[BlockSamples]) -> None:
    packed = pack_samples(made)
    assert unpack_samples(packed) == tuple(made)
    assert len(packed) == sum(8 + 4 * len(block.seconds) for block in made)


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (b"abc", "3 bytes are too few for a block"),
        (struct.pack("<IIf", 1, 2, 0.5), "expected 2 samples in round 1, got fewer bytes"),
        (struct.pack("<IIf", 0, 1, float("nan")), "expected times above 0 in round 0"),
        (struct.pack("<IIf", 0, 1, 0.0), "expected times above 0 in round 0"),
    ],
)
def test_what_no_convbench_writes_is_refused(packed: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unpack_samples(packed)


def test_a_sweep_asks_for_them() -> None:
    assert sweep().measure.samples is True
    assert sweep(AXES).measure == Measure(), "not by default"
    with pytest.raises(RequestError, match=r"measure\.samples: expected true or false, got 'yes'"):
        sweep(AXES + "measure: {samples: yes}")


def test_a_sweep_without_them_resumes_the_runs_of_before() -> None:
    cases, without = sweeps.cases(sweep()).cases, Measure(processes=2)
    assert digest(cases, without, seed=0) != digest(cases, replace(without, samples=True), seed=0)
    assert digest(cases[:1], Measure(), seed=0) == "634ccd04d561d822a9c16d94460add2352c96b95f5f1949c0c9ec60ce3e9d42f"


# What a worker does


def test_a_worker_returns_each_sample_where_it_is_asked() -> None:
    worker = Worker()
    worker.answer({"op": "prepare", "key": 1, "check": False, "spec": spec(PLAIN)._asdict()})
    asked = worker.answer({"op": "block", "key": 1, "seconds": 0.005, "samples": True})
    each = asked["each_s"]
    assert len(each) == asked["samples"]
    assert (min(each), sum(each) / len(each)) == (asked["minimum_s"], pytest.approx(asked["mean_s"]))
    assert "each_s" not in worker.answer({"op": "block", "key": 1, "seconds": 0.005})


def test_samples_have_the_order_of_time() -> None:
    """Not that of quantiles: every other iteration is long."""
    lengths = itertools.cycle((0.001, 0.005))
    each = timer.time_block(lambda: time.sleep(next(lengths)), 0.1).each_s
    assert len(each) > 2
    assert each != sorted(each)
    assert {each[0] < each[1], each[1] < each[2]} == {True, False}


class Answering:
    """A worker that has one answer."""

    def __init__(self, **answer: object) -> None:
        quantiles = dict.fromkeys(("minimum_s", "q1_s", "median_s", "q3_s", "p95_s", "mean_s"), 1e-3)
        facts = {"iterations": 2, "samples": 2, "host_s": 0.0, "compute_probe_s": 1.0, "page_faults": 0, "busy_s": 1.0}
        self.answer = {"status": "passed", **quantiles, **facts, **answer}

    def request(self, message: object, *, deadline_s: float) -> dict[str, object]:
        return self.answer

    def close(self) -> None:
        pass


@pytest.mark.parametrize("each_s", [[1e-3], [1e-3, 0.0], [1e-3, -1.0], [1e-3, float("inf")], ["a", "b"], "ab"])
def test_samples_that_make_no_sense_end_the_worker(each_s: object) -> None:
    with pytest.raises(WorkerDiedError):
        WorkerClient(Answering(each_s=each_s), WorkerSettings()).block(1, 0.1, deadline_s=1, samples=True)
    sound = WorkerClient(Answering(each_s=[1e-3, 2e-3]), WorkerSettings()).block(1, 0.1, deadline_s=1, samples=True)
    assert sound.each_s == (1e-3, 2e-3)


# What is stored


def test_every_block_of_a_case_has_its_samples() -> None:
    run_id = measured()
    run, found = read.samples(run_id, db="my.db")
    ids = [result.case.id for result in run.results]
    assert [(visit.case_id, visit.process_index) for visit in found] == [(id_, p) for id_ in ids for p in (0, 1)]
    for visit in found:
        assert [block.round_index for block in visit.blocks] == [0, 1, 2]
        for block in visit.blocks:
            expected = [1e-3 + number * 1e-9 for number in range(EACH)]
            assert block.seconds == pytest.approx(expected, rel=1e-7)
    held = [b for result in run.results for layout, packed in result.blocks for b in unpack_blocks(packed, layout)]
    assert sum(block.samples for block in held) == sum(len(b.seconds) for visit in found for b in visit.blocks) == 120


def test_nothing_is_kept_where_nothing_was_asked_for() -> None:
    run_id = measured(AXES)
    with Store.open("my.db") as store:
        assert store.samples(run_id) == []
    with pytest.raises(RequestError, match=f"run {run_id} has no samples") as caught:
        read.samples(run_id, db="my.db")
    assert caught.value.hint == "a sweep keeps them with measure: {samples: true}"


def test_a_resumed_run_has_the_samples_of_before() -> None:
    """Also of a visit that was cut short."""
    whole = measured(db="whole.db")
    with pytest.raises(KeyboardInterrupt):
        measured(script=Script(interrupt_after_blocks=8))
    run_id = measured()
    with Store.open("my.db") as resumed, Store.open("whole.db") as at_once:
        assert sorted(resumed.samples(run_id), key=by_place) == sorted(at_once.samples(whole), key=by_place)


def by_place(visit: VisitSamples) -> tuple[str, int]:
    return visit.case_id, visit.process_index


def test_samples_change_no_result() -> None:
    """Rows with samples are not folded, and load as those that are."""
    with_samples, without = measured(), measured(TEXT.replace(", samples: true", ""), db="other.db")
    one, other = read.load(with_samples, db="my.db").run, read.load(without, db="other.db").run
    assert [result.case for result in one.results] == [result.case for result in other.results]
    for first, second in zip(one.results, other.results, strict=True):
        assert (first.status, first.stop_reason) == (second.status, second.stop_reason)
        assert len(first.blocks[0][1]) == len(second.blocks[0][1])


# What is exported


def test_export_gives_a_row_for_each_sample(command: Command) -> None:
    measured()
    text = command("export", "latest", "--samples", "--db", "my.db").out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == ["case_id", "process_index", "round_index", "sample_index", "iterations", "seconds"]
    assert len(rows) == 2 * 2 * 3 * EACH
    case_id = sweeps.cases(sweep()).cases[0].id
    assert rows[EACH + 1] == {
        "case_id": case_id,
        "process_index": "0",
        "round_index": "1",
        "sample_index": "1",
        "iterations": "1",
        "seconds": "0.001000001",
    }
    command("export", "latest", "--samples", "--db", "my.db", "-o", "samples.csv")
    assert Path("samples.csv").read_text() == text
    wrong = command("export", "latest", "--samples", "--format", "json", "--db", "my.db")
    assert (wrong.code, "got --samples and --format json" in wrong.err) == (2, True)


def test_an_export_has_none(command: Command) -> None:
    measured()
    Path("run.json").write_text(command("export", "--format", "json", "--db", "my.db").out)
    said = command("export", "run.json", "--samples")
    assert (said.code, "run.json: an export of a run has no samples" in said.err) == (2, True)


def test_plan_says_what_they_take(command: Command) -> None:
    Path("sweep.yaml").write_text(TEXT)
    made = sweep()
    cases = sweeps.cases(made).cases
    assert block_seconds(made.measure) == pytest.approx(0.01)
    assert samples_bytes(cases, made.measure) == 2 * 2 * 3 * 1000 * 4
    assert "samples: at most about 46.9 KiB in the database" in command("plan", "sweep.yaml").out
    Path("sweep.yaml").write_text(AXES)
    assert "samples" not in command("plan", "sweep.yaml").out


def test_the_python_api_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("sweep.yaml").write_text(TEXT)
    monkeypatch.setattr("convbench.engine.local.LocalEngine", lambda **rest: FakeEngine(Script()))
    made = measure.run("sweep.yaml", db="api.db")
    assert len(read.samples(made.id, db="api.db")[1]) == 4
