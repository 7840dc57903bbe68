"""Measured facts: each that is declared is read, stored, exported and shown, and so is a new one."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numbered_cases
import package_copy
import pytest
import synthetic
from fake_engine import Answering

from convbench.analysis.table.columns import COLUMNS, Rows
from convbench.engine.client import Json, Message, Timing, WorkerClient
from convbench.errors import WorkerDiedError
from convbench.model.case import WorkerSettings
from convbench.model.fact import Fact
from convbench.model.result import (
    BLOCK_FACTS,
    BLOCK_LAYOUTS,
    CASE_FACTS,
    CHECK_FACTS,
    LAYOUT,
    NO_FACTS,
    Block,
    BlockFacts,
    Check,
    RunState,
    Status,
    Visit,
    pack_blocks,
    unpack_blocks,
)
from convbench.model.values import Number, Whole
from convbench.report.export import export, read_json
from convbench.store import Store, Writer

CASE = numbered_cases.case(1)
TIMED: dict[str, Json] = {name: 2 if row.kind is int else 0.25 for name, row in BLOCK_FACTS.items()}
#: Facts of blocks by which figures are computed, rather than shown as they are.
NOT_SHOWN = {"iterations", "samples", "minimum_s", "q1_s", "median_s", "q3_s", "mean_s", "compute_probe_s"}


def some(row: Fact) -> int | float | str:
    """A value that the fact may have."""
    values: dict[type, int | float | str] = {int: 7, float: 0.75, str: "a word"}
    return values[row.kind]


def wrong(row: Fact) -> list[Json]:
    """What no worker may say of the fact."""
    if isinstance(row.bound, Whole):
        return [row.bound.low - 1, row.bound.high + 1, 1.5, True, "7"]
    if isinstance(row.bound, Number):
        return [row.bound.low - 1, row.bound.high * 2, math.inf, "7", True, *([] if row.bound.unknown else [math.nan])]
    return [7, ["a word"]]


def client(answer: dict[str, Json]) -> WorkerClient:
    return WorkerClient(Answering({"status": "passed", **answer}), WorkerSettings())


@pytest.mark.parametrize("name", CASE_FACTS)
def test_a_fact_of_a_case_is_read_stored_exported_and_shown(name: str, tmp_path: Path) -> None:
    value = some(CASE_FACTS[name])
    read = client({name: value}).prepare(0, CASE, check=True, seed=1, deadline_s=1).facts
    assert read == replace(NO_FACTS, **{name: value})
    run = synthetic.empty_run()
    with Store.create(str(tmp_path / "runs.db")) as store:
        store.begin(run, [CASE], [], Writer.of_this_process(), digest="d")
        store.append(run.id, [Visit(case_id=CASE.id, process_index=0, status=Status.PASSED, facts=read)])
        assert store.visits(run.id)[CASE.id][0].facts == read
        store.finish(run.id, RunState.FINISHED, run.started_at)
        loaded = store.load(run.id)
    [result] = read_json(export(loaded, "json").decode()).results
    assert result.facts == read
    column = CASE_FACTS[name].column or name
    assert COLUMNS[column].values(Rows(loaded)) == [value]


@pytest.mark.parametrize("name", CASE_FACTS)
def test_a_fact_of_a_case_that_could_not_be_read_again_is_no_answer(name: str) -> None:
    for value in wrong(CASE_FACTS[name]):
        with pytest.raises(WorkerDiedError, match=f"without a valid {name}"):
            client({name: value}).prepare(0, CASE, check=True, seed=1, deadline_s=1)


@pytest.mark.parametrize("name", BLOCK_FACTS)
def test_a_fact_of_a_block_is_read_packed_and_shown(name: str) -> None:
    row = BLOCK_FACTS[name]
    timing = client({**TIMED, "busy_s": 1.0}).block(0, 0.1, deadline_s=1)
    assert isinstance(timing, Timing)
    assert getattr(timing, name) == TIMED[name]
    block = Block(process_index=0, round_index=0, order=1, start_s=0.5, memory_probe_s=0.5, **timing.facts)
    assert unpack_blocks(pack_blocks([block])) == (block,)
    assert BLOCK_LAYOUTS[LAYOUT].count(name) == 1
    assert (not row.heading) == (name in NOT_SHOWN)
    if row.heading:
        run = replace(synthetic.empty_run(), results=(synthetic.result(CASE, made=(block,)),))
        assert COLUMNS[row.column or name].values(Rows(run)) == [TIMED[name]]


@pytest.mark.parametrize("name", BLOCK_FACTS)
def test_a_fact_of_a_block_that_could_not_be_read_again_is_no_answer(name: str) -> None:
    for value in (None, *wrong(BLOCK_FACTS[name])):
        with pytest.raises(WorkerDiedError, match=f"without a valid {name}"):
            client({**TIMED, "busy_s": 1.0, name: value}).block(0, 0.1, deadline_s=1)


@pytest.mark.parametrize("rows", [CASE_FACTS, CHECK_FACTS, BLOCK_FACTS], ids=["case", "check", "block"])
def test_a_fact_with_a_heading_has_a_column_with_its_words(rows: dict[str, Fact]) -> None:
    for name, row in rows.items():
        assert bool(row.heading) == bool(row.about)
        if row.heading:
            column = COLUMNS[row.column or name]
            assert (column.heading, column.about, column.unit) == (row.heading, row.about, row.unit)


def test_the_first_layout_is_that_of_all_stored_blocks() -> None:
    assert BLOCK_LAYOUTS[1] == (
        *("process_index", "round_index", "order", "start_s", "iterations", "samples", "minimum_s", "q1_s", "median_s"),
        *("q3_s", "p95_s", "mean_s", "host_s", "compute_probe_s", "memory_probe_s", "page_faults"),
    )
    assert {field.name for field in fields(Block)} == set(BLOCK_LAYOUTS[LAYOUT])
    assert set(BLOCK_FACTS) == {field.name for field in fields(BlockFacts)}


def test_a_worker_answers_with_every_fact() -> None:
    from convbench.worker.serve import Worker
    from convbench.worker.settings import Settings

    worker = Worker()

    class InProcess(Answering):
        def request(self, message: Message, *, deadline_s: float) -> dict[str, Json]:
            answer: dict[str, Json] = worker.answer(json.loads(json.dumps(message)))
            told.update(answer)
            return answer

    told: dict[str, Json] = {}
    real = WorkerClient(InProcess({}), WorkerSettings(threads=Settings().threads))
    assert real.prepare(0, CASE, check=True, seed=1, deadline_s=60).status is Status.PASSED
    real.peak_memory(0, deadline_s=60)
    assert {"check", *CASE_FACTS} <= told.keys()
    assert isinstance(told["check"], dict)
    assert told["check"].keys() == {field.name for field in fields(Check)}
    told.clear()
    assert isinstance(real.block(0, 0.001, deadline_s=60, samples=True), Timing)
    assert told.keys() == {"status", *(field.name for field in fields(Timing))}


# Made-up facts

#: What a developer adds for a fact of a case and for one of a block: file, what stands behind the new text, the text.
ADDED = [
    (
        "model/result.py",
        "\n\n#: The facts of a case that are single values, unlike `check`.",
        """    kernel_calls: int | None = field(
        default=None, metadata=fact("kernel calls", "kernels that an iteration calls", since=3)
    )
""",
    ),
    (
        "model/result.py",
        "\n    @property\n    def facts(self)",
        """    switches: float = field(
        default=NAN,
        metadata=fact("switches", "context switches per iteration", bound=Number(unknown=True), since=3),
    )
""",
    ),
    ("worker/serve.py", '        answer["timer"] =', '        answer["kernel_calls"] = 3\n'),
    ("worker/serve.py", '            "busy_s": busy,\n', '            "switches": 0.5,\n'),
]
SCRIPT = """
import csv, io, json, sys
from dataclasses import replace
import numbered_cases, synthetic
from convbench.engine.client import WorkerClient
from convbench.model.case import WorkerSettings
from convbench.model.result import BLOCK_LAYOUTS, Block, RunState, Status, Visit, pack_blocks
from convbench.report.export import export, read_json
from convbench.store import Store, Writer
from convbench.worker.serve import Worker

case, worker = numbered_cases.case(1), Worker()

class Transport:
    def wait_until_up(self, *, deadline_s): pass
    def request(self, message, *, deadline_s): return worker.answer(json.loads(json.dumps(message)))
    def close(self): pass

def written(found):
    again = read_json(export(found, "json").decode())
    assert again == found
    text = io.StringIO(export(again, "csv").decode(), newline="")
    return [[row["kernel_calls"], row["switches"]] for row in csv.DictReader(text)]

client = WorkerClient(Transport(), WorkerSettings())
facts = client.prepare(0, case, check=True, seed=1, deadline_s=60).facts
timing = client.block(0, 0.001, deadline_s=60)
block = Block(process_index=0, round_index=0, order=1, start_s=0.5, memory_probe_s=0.5, **timing.facts)
run = synthetic.empty_run()
told = {}
with Store.open(sys.argv[1]) as store:
    told["old"] = written(store.load("latest"))
with Store.create(sys.argv[1]) as store:
    told["upgraded"] = written(store.load("latest"))
    old = store.load("latest").results[0].blocks
    run = replace(run, started_at="2027-01-01T00:00:00+00:00")
    store.begin(run, [case], [], Writer.of_this_process(), digest="d")
    store.append(run.id, [
        Visit(case_id=case.id, process_index=0, status=Status.PASSED, facts=facts, blocks=pack_blocks([block]))
    ])
    store.finish(run.id, RunState.FINISHED, "2027-01-01T00:00:00+00:00")
    told["new"] = written(store.load(run.id))
told["layouts"] = [BLOCK_LAYOUTS[3][:-1] == BLOCK_LAYOUTS[2], BLOCK_LAYOUTS[3][-1], [layout for layout, _ in old]]
print(json.dumps(told))
"""


def test_a_made_up_fact_is_found_everywhere(tmp_path: Path) -> None:
    """Its field, and where the worker finds it: nothing else has to know of it."""
    database = tmp_path / "runs.db"
    shutil.copy(package_copy.TESTS / "data" / "schema_v2.db", database)
    told = json.loads(package_copy.run(SCRIPT, str(database), added=ADDED, folder=tmp_path))
    assert told["old"] and all(row == ["", ""] for row in told["old"]), "an older run does not have them"
    assert told["upgraded"] == told["old"]
    assert told["new"] == [["3", "0.5"]]
    assert told["layouts"] == [True, "switches", [1]]
