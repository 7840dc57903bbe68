"""Exports and databases with something wrong in them: each reads as a run that every verb can use, or is refused."""

from __future__ import annotations

import base64
import copy
import json
import math
import os
import shutil
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import commands
import pytest
import synthetic
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from convbench import api
from convbench import sweep as sweeps
from convbench.actions import pages
from convbench.analysis.comparison.comparison import compare
from convbench.analysis.comparison.judgment import RunComparison
from convbench.analysis.findings.findings import examined
from convbench.analysis.history.history import history
from convbench.errors import NotComparableError, RequestError
from convbench.measure.forecast import forecast_s
from convbench.model.case import Allocator, Autocast, Cache, Data, Fp32Precision, MemoryFormat
from convbench.model.problem import Direction, PaddingMode, PaddingWord
from convbench.model.reading import Json
from convbench.model.result import (
    BLOCK_LAYOUTS,
    LAYOUT,
    PACKED,
    Block,
    Git,
    ProcessFacts,
    Result,
    Roof,
    RoofKind,
    Run,
    RunState,
    Status,
    StopReason,
    Visit,
    unpack_blocks,
)
from convbench.report.export import FORMATS, comparison_to_junit, export, read_json
from convbench.report.pages import comparison as comparison_page
from convbench.report.pages import explain as explain_page
from convbench.report.pages import run as page
from convbench.report.pages.index_cache import glance
from convbench.report.text.compare import compare_text
from convbench.report.text.explain import explain
from convbench.report.text.history import history_text
from convbench.report.text.repro import repro
from convbench.report.text.runs import baselines_text, runs_text
from convbench.store import Store, Writer, schema

SOUND = replace(
    synthetic.run(14, unmeasured=1),
    git=Git(commit="0123456789abcdef0123456789abcdef01234567", branch="main"),
    processes=(
        ProcessFacts(
            process_index=0,
            seconds=60.0,
            roofs=(
                Roof(kind=RoofKind.COMPUTE, device="cpu", threads=1, rate=5e10, source="mm", dtype="float32"),
                Roof(kind=RoofKind.BANDWIDTH, device="cpu", threads=1, rate=1e10, source="copy", footprint_bytes=2**24),
            ),
            load=1.0,
            stolen=0.01,
            frequency_hz=3e9,
            throttled=0,
            twin_ratio=0.6,
        ),
    ),
)
#: With blocks of kernels and of the system's allocator, which real runs have.
SOUND = replace(
    SOUND,
    results=tuple(
        replace(
            result,
            system_blocks=result.blocks[:1],
            kernel_blocks=result.blocks[:1],
            facts=replace(result.facts, reorder_share=0.25, first_call_s=0.125, peak_bytes=4096, precision="ieee"),
        )
        for result in SOUND.results
    ),
)
command = commands.command
Command = commands.Command
NEWER = replace(SOUND, id="20261125-033000-cd34", started_at="2026-11-25T03:30:00Z", finished_at="2026-11-25T03:33:20Z")
EXPORT: dict[str, Any] = json.loads(export(SOUND, "json"))

#: Each example takes a third of a second. For a longer search: CONVBENCH_MUTANTS=20 pytest tests/store/test_mutants.py
MORE = int(os.environ.get("CONVBENCH_MUTANTS", "1"))

T = TypeVar("T")
NUMBERS: tuple[Json, ...] = (-1, 0, 1, 2, -0.001, 0.5, 3e9, 1e38, 1e308, 2**31 - 1, 2**31, 2**53, 2**63, 2**64, 10**400)
TEXTS: tuple[Json, ...] = (
    "",
    "nan",
    "inf",
    "-inf",
    "x/../../../../evil",
    "..",
    "--output=evil",
    "a\0b",
    "\ud800",
    "\u202e\x1b[31m",
    '"]); import os #',
    "<script>",
    "2026-02-30T00:00:00Z",
    "0001-01-01T00:00:00",
    "é" * 300,
)
OTHERS: tuple[Json, ...] = (None, True, False, [], {}, [1], [[]], {"a": 1}, [1, ""], [2**31, 2**31])


def use(run: Run) -> None:
    """Have every verb that can read an exported run do so."""
    for form in FORMATS:
        assert export(run, form)
    assert read_json(export(run, "json").decode()).id == run.id
    seen = examined(run)
    assert page.render(run, seen)
    assert "/" not in page.file_name(run) and not page.file_name(run).startswith(".")
    glance(run, [finding.sentence for finding in seen.findings])
    for base, new in ((run, NEWER), (NEWER, run)):
        try:
            found = compare(base, new)
        except NotComparableError as refused:  # a change may have left both without a case in common
            _is_a_sentence(refused)
            continue
        compare_text(found)
        comparison_to_junit(found)
        assert comparison_page.render(RunComparison(comparison=found, base=base, new=new))
    if run.results:
        history_text(history([run], sweeps.thresholds(SOUND)))
    forecast_s([result.case for result in NEWER.results], NEWER.measure, run)
    for case in [*(result.case for result in run.results), *run.unmeasured][:2]:
        compile(repro(case), "repro.py", "exec")
        explain(case)
        explain_page.render(case)


def places(document: Any, *before: str | int) -> Iterator[tuple[str | int, ...]]:
    """Where anything stands in a document, the outermost first."""
    if before:
        yield before
    inside = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for name, value in inside:
        yield from places(value, *before, name)


def by_kind() -> dict[tuple[str, ...], list[tuple[str | int, ...]]]:
    """The places of the export by the names on the way there, so that many results do not hide what stands once."""
    kinds: dict[tuple[str, ...], list[tuple[str | int, ...]]] = {}
    for place in places(EXPORT):
        kinds.setdefault(tuple("*" if isinstance(part, int) else part for part in place), []).append(place)
    return kinds


KINDS = by_kind()


def packed_with(packed: str, row: int, name: str, value: float) -> str:
    """Packed blocks with one value of one row replaced."""
    held = bytearray(base64.b64decode(packed))
    names = BLOCK_LAYOUTS[LAYOUT]
    rows = max(1, len(held) // (4 * len(names)))
    struct.pack_into("<f", held, 4 * (row % rows * len(names) + names.index(name)), value)
    return base64.b64encode(held).decode()


WORDS: tuple[type[StrEnum], ...] = (
    *(Status, StopReason, RunState, RoofKind, Direction, PaddingMode, PaddingWord),
    *(MemoryFormat, Allocator, Cache, Data, Autocast, Fp32Precision),
)
FLOATS = (-1.0, -0.001, 0.0, 0.5, 3e9, 1e38, math.inf, -math.inf, math.nan)


@st.composite
def mutants(draw: st.DrawFn) -> dict[str, Any]:
    """The export with one to three entries changed, taken out, doubled, or exchanged for what stands elsewhere."""
    document = copy.deepcopy(EXPORT)
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        place = draw(st.sampled_from(KINDS[draw(st.sampled_from(sorted(KINDS)))]))
        *way, last = place
        holder: Any = document
        try:
            for part in way:
                holder = holder[part]
            value = holder[last]
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took it away
        change = draw(
            st.sampled_from(("fit", "fit", "fit", "number", "text", "other", "nudge", "drop", "double", "move"))
        )
        if isinstance(value, str) and place[-3:-2] and str(place[-3]).endswith("blocks") and change != "drop":
            name = draw(st.sampled_from(BLOCK_LAYOUTS[LAYOUT]))
            with_rows = len(value) >= 4 * len(BLOCK_LAYOUTS[LAYOUT])
            if with_rows:
                holder[last] = packed_with(value, draw(st.integers(0, 24)), name, draw(st.sampled_from(FLOATS)))
        elif change == "fit" and alike(value):
            holder[last] = draw(st.sampled_from(alike(value)))
        elif change == "drop" or (change == "double" and not isinstance(holder, list)):
            del holder[last]
        elif change == "double":
            holder.insert(draw(st.integers(0, len(holder))), copy.deepcopy(value))
        elif change == "nudge" and isinstance(value, int | float) and not isinstance(value, bool):
            holder[last] = value + draw(st.sampled_from((-2 * value, -1, 1, 0.5, 100, 2**31 - 2)))
        elif change == "move":
            holder[last] = copy.deepcopy(at(EXPORT, draw(st.sampled_from(KINDS[draw(st.sampled_from(sorted(KINDS)))]))))
        else:
            holder[last] = draw(st.sampled_from({"number": NUMBERS, "text": TEXTS}.get(change, OTHERS)))
    if draw(st.booleans()):  # so that what stands in a case is looked at, and not only that its id is another
        for found in [*of(document, "results"), *of(document, "unmeasured")]:
            case = found.get("case", found) if isinstance(found, dict) else {}
            if isinstance(case, dict):
                case.pop("id", None)
    return document


def alike(value: Any) -> tuple[Any, ...]:
    """Values of the same type, most of which may stand in place of this one."""
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return (0, 1, 2, 3, 99, 2**31 - 1, 2**53, 2**62)
    if isinstance(value, float):
        return (0.0, 1e-300, 1e-9, 0.5, 1.0, 3600.0, 1e38, 1e300)
    if isinstance(value, str):
        words = next((tuple(word.value for word in kind) for kind in WORDS if value in list(kind)), ())
        return words or TEXTS
    return ()


def at(document: Any, place: tuple[str | int, ...]) -> Any:
    for part in place:
        document = document[part]
    return document


def of(document: dict[str, Any], name: str) -> list[Any]:
    found = document.get(name)
    return found if isinstance(found, list) else []


def read_or_refused(read: Callable[[], T]) -> T | None:
    """What is read, None where it is refused as a wrong request with a sentence."""
    try:
        return read()
    except (RequestError, NotComparableError) as refused:
        _is_a_sentence(refused)
        return None


def _is_a_sentence(refused: RequestError | NotComparableError) -> None:
    assert refused.exit_code in (2, 4) and refused.message.strip() and len(refused.message) < 2000
    assert refused.message.isprintable()


def test_what_is_not_changed_can_be_used() -> None:
    read = read_json(json.dumps(EXPORT))
    use(read)
    assert compare(read, NEWER).judgments and compare(NEWER, read).judgments, "use() compares them"


@pytest.mark.slow
@given(mutants())
@settings(
    max_examples=100 * MORE, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
def test_a_changed_export_is_a_sound_run_or_refused(document: dict[str, Any]) -> None:
    run = read_or_refused(lambda: read_json(json.dumps(document)))
    if run is not None:
        use(run)


def database(path: Path) -> Path:
    """Two runs and a baseline in a database whose tables keep anything: without types, keys and constraints."""
    with Store.create(str(path)) as opened:
        for run in (SOUND, NEWER):
            cases = [*(result.case for result in run.results), *run.unmeasured]
            opened.begin(run, cases, run.rejections, Writer.of_this_process(), digest="made up")
            opened.append(run.id, [visit for result in run.results for visit in visits_of(result)])
            for facts in run.processes:
                opened.note_process(run.id, facts)
            opened.finish(run.id, run.state, run.finished_at or run.started_at)
        opened.set_baseline("main", SOUND.id, set_at="2026-11-26T03:30:00+00:00")
    with closing(sqlite3.connect(path)) as connection:
        for table in TABLES:
            connection.execute(f"CREATE TABLE bare AS SELECT * FROM {table}")
            connection.execute(f"DROP TABLE {table}")
            connection.execute(f"ALTER TABLE bare RENAME TO {table}")
        connection.commit()
    return path


def visits_of(result: Result) -> list[Visit]:
    """The visits of a result as they are stored: what is found once comes with the first."""
    beside = {name: b"".join(packed for _, packed in getattr(result, name)) for name in PACKED[1:]}
    return [
        Visit(
            case_id=result.case.id,
            process_index=index,
            status=result.status,
            reason=result.reason,
            blocks=blocks,
            layout=layout,
            stop_reason=result.stop_reason,
            **({"facts": result.facts, **beside} if index == 0 else {}),
        )
        for index, (layout, blocks) in enumerate(result.blocks or ((LAYOUT, b""),))
    ]


TABLES = ("convbench_schema", "runs", "baselines", "rejections", "passes", "cases", "visits")
JSON_COLUMNS = ("measure", "environment", "facts", "problem", "settings", "check_result")
#: What SQLite keeps in any column; no UTF-8 where it says TEXT among that.
STORED: tuple[object, ...] = (
    *(
        None,
        -1,
        0,
        1,
        2,
        9999,
        2**31,
        2**62,
        -0.5,
        0.5,
        1e300,
        b"",
        b"\xff\xfe",
        b"12",
        "",
        "x",
        "12",
        "a\0b",
        "{",
        "[1]",
    ),
    *("nan", "../../evil", "--output=evil", "passed", "failed", "2026-11-24T03:30:00", "[" * 1200, '{"a": NaN}'),
)


@st.composite
def changed_databases(draw: st.DrawFn) -> list[tuple[str, tuple[object, ...]]]:
    """Statements that change one to three values or rows, and what they are filled in with."""
    statements = []
    for _ in range(draw(st.sampled_from((1, 1, 2, 3)))):
        table = draw(st.sampled_from(TABLES))
        column = draw(st.sampled_from([each.name for each in schema.metadata.tables[table].columns]))
        row = f"rowid = (SELECT 1 + {draw(st.integers(0, 60))} % max(1, count(*)) FROM {table})"
        change = draw(st.sampled_from(("value", "value", "value", "inside", "bytes", "drop", "double")))
        if change == "drop":
            statements.append((f"DELETE FROM {table} WHERE {row}", ()))
        elif change == "double":
            statements.append((f"INSERT INTO {table} SELECT * FROM {table} WHERE {row}", ()))
        elif change == "bytes":  # which are no UTF-8
            statements.append((f"UPDATE {table} SET {column} = CAST(x'61ff' AS TEXT) WHERE {row}", ()))
        elif change == "inside" and column in JSON_COLUMNS:
            key = draw(st.sampled_from(sorted({str(place[-1]) for place in places(EXPORT) if place[-1:]} | {"x"})))
            value = draw(st.sampled_from([*NUMBERS[:-1], *TEXTS[:7], None, True]))
            changed = f"json_set({column}, '$.{key}', json(?))"
            statements.append((f"UPDATE {table} SET {column} = {changed} WHERE {row}", (json.dumps(value),)))
        elif change == "inside" and column in PACKED:
            name, value = draw(st.sampled_from(BLOCK_LAYOUTS[LAYOUT])), draw(st.sampled_from(FLOATS))
            block = replace(unpack_blocks(SOUND.results[0].blocks[0][1])[0], **{name: value})
            statements.append((f"UPDATE {table} SET {column} = ? WHERE {row}", (pack_any(block),)))
        else:
            statements.append((f"UPDATE {table} SET {column} = ? WHERE {row}", (draw(st.sampled_from(STORED)),)))
    return statements


def pack_any(block: Block) -> bytes:
    return struct.pack(f"<{len(BLOCK_LAYOUTS[LAYOUT])}f", *(getattr(block, name) for name in BLOCK_LAYOUTS[LAYOUT]))


@pytest.fixture(scope="module")
def sound_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return database(tmp_path_factory.mktemp("sound") / "runs.db")


def look_at(path: Path, folder: Path) -> None:
    """Have everything that reads a database do so."""
    case_id = SOUND.results[0].case.id
    with Store.open(str(path)) as opened:
        read_or_refused(lambda: runs_text(opened.runs()))
        read_or_refused(lambda: baselines_text(opened.baselines()))
        read_or_refused(opened.identity)
        for run_id in (SOUND.id, NEWER.id):
            read_or_refused(lambda run_id=run_id: opened.visits(run_id))
            read_or_refused(lambda run_id=run_id: opened.is_being_written(run_id))
        read_or_refused(lambda: opened.past(run_ids=[SOUND.id, NEWER.id]))
        read_or_refused(lambda: resumable(opened))
        found = [read_or_refused(lambda ref=ref: opened.load(ref)) for ref in ("latest", SOUND.id, "main")]
    read_or_refused(lambda: history_text(api.history(case_id, db=str(path))))
    read_or_refused(lambda: pages.write_index(folder, db=str(path), examine_s=10.0))
    for run in {repr(run): run for run in found if run is not None}.values():
        if run not in KNOWN:
            use(run)


def resumable(opened: Store) -> str | None:
    return opened.resumable(
        digest="made up", version=SOUND.version, environment=SOUND.environment, host=Writer.of_this_process().host
    )


KNOWN: list[Run] = []


@pytest.mark.slow
def test_what_is_not_changed_in_a_database_can_be_used(sound_database: Path, tmp_path: Path) -> None:
    with Store.open(str(sound_database)) as opened:
        assert [run.id for run in opened.runs()] == [NEWER.id, SOUND.id]
        for run in (SOUND, NEWER):
            loaded = opened.load(run.id)
            assert export(loaded, "csv") == export(run, "csv")
            use(loaded)
        assert opened.load("main").id == SOUND.id
    assert api.history(SOUND.results[0].case.id, db=str(sound_database))
    look_at(sound_database, tmp_path)


_FIRST_RUN_TWICE = "INSERT INTO runs SELECT * FROM runs WHERE rowid = 1"
_FIRST_RUN_WITHOUT_KEY = "UPDATE runs SET key = ? WHERE rowid = 1"


@pytest.mark.slow
@given(statements=changed_databases())
@example(statements=[(_FIRST_RUN_TWICE, ()), (_FIRST_RUN_WITHOUT_KEY, (None,))])
@example(statements=[("UPDATE visits SET pass_index = NULL", ())])
@settings(max_examples=50 * MORE, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_changed_database_is_sound_or_refused(
    statements: list[tuple[str, tuple[object, ...]]], sound_database: Path, tmp_path: Path
) -> None:
    path = tmp_path / "changed.db"
    shutil.copy(sound_database, path)
    with closing(sqlite3.connect(path)) as connection:
        for statement, values in statements:
            with suppress(sqlite3.OperationalError):  # what was changed before is no JSON any more
                connection.execute(statement, values)
        connection.commit()
    with Store.open(str(sound_database)) as opened:
        KNOWN[:] = [opened.load(run.id) for run in (SOUND, NEWER)]
    read_or_refused(lambda: look_at(path, tmp_path))


def wrong(*place: str | int, value: Json) -> dict[str, Any]:
    """The export with one value that no run holds; a case's id is left out, so that its settings are looked at."""
    document = copy.deepcopy(EXPORT)
    at(document, place[:-1])[place[-1]] = copy.deepcopy(value)
    for found in document["results"]:
        found["case"].pop("id", None)
    return document


def with_block(name: str, value: float) -> dict[str, Any]:
    return wrong("results", 3, "blocks", 1, 1, value=packed_with(EXPORT["results"][3]["blocks"][1][1], 2, name, value))


PROBLEM = ("results", 1, "case", "problem")
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a path for an id": (wrong("id", value="x/../../../../evil"), "id: expected letters and digits"),
    "an id that begins with a dot": (wrong("id", value=".hidden"), "id: expected letters and digits"),
    "an id of 101": (wrong("id", value="x" * 101), "id: expected letters and digits"),
    "an option for a commit": (wrong("git", "commit", value="--output=evil"), "git.commit: expected a commit"),
    "code for a device": (
        wrong("results", 1, "case", "device", value='cpu"); evil("'),
        "results[1].case.device: expected",
    ),
    "code for a module": (wrong("results", 1, "case", "module", value="a.b:c;d"), "results[1].case.module: expected"),
    "a negative time": (
        with_block("minimum_s", -0.001),
        "results[3].blocks[1]: row 2: minimum_s is -0.001, expected a",
    ),
    "an infinite time": (with_block("p95_s", math.inf), "results[3].blocks[1]: row 2: p95_s is inf, expected a finite"),
    "no time": (with_block("mean_s", math.nan), "results[3].blocks[1]: row 2: mean_s is nan, expected a finite number"),
    "times out of order": (with_block("median_s", 1.0), "results[3].blocks[1]: row 2: median_s is 1, expected no more"),
    "a process before the first": (
        with_block("process_index", -1),
        "results[3].blocks[1]: row 2: process_index is -1, expected",
    ),
    "a process of 3e9": (
        with_block("process_index", 3e9),
        "results[3].blocks[1]: row 2: process_index is 3e+09, expected an int",
    ),
    "half a round": (
        with_block("round_index", 0.5),
        "results[3].blocks[1]: row 2: round_index is 0.5, expected an int",
    ),
    "no iteration": (with_block("iterations", 0), "results[3].blocks[1]: row 2: iterations is 0, expected an integer"),
    "a negative footprint": (
        wrong("processes", 0, "roofs", 1, "footprint_bytes", value=-1),
        "processes[0].roofs[1].footprint_bytes: expected an integer of at least 1, got -1",
    ),
    "a case twice": (wrong("results", 2, value=EXPORT["results"][0]), "results[2].case: case "),
    "a case reached and not": (wrong("unmeasured", 0, value=EXPORT["results"][0]["case"]), "unmeasured[0]: case "),
    "a process twice": (
        wrong("processes", value=EXPORT["processes"] * 2),
        "processes[1]: process 0 occurs twice",
    ),
    "a size of 2^31": (wrong(*PROBLEM, "in_channels", value=2**31), "results[1].case.problem.in_channels: expected"),
    "a layer that torch refuses": (
        wrong(*PROBLEM, "groups", value=7),
        "results[1].case.problem: torch would refuse it",
    ),
    "NUL": (wrong("name", value="a\0b"), "name: expected text without NUL"),
    "half of a pair": (wrong("environment", "cpu", value="\ud800"), "environment.cpu: expected text without NUL"),
    "no time of day": (wrong("started_at", value="yesterday"), "started_at: expected a time like 2026-11-24T03:15:02"),
    "a time without a zone": (wrong("finished_at", value="2026-11-24T03:15:02"), "finished_at: expected a time like"),
    "no cores": (wrong("environment", "cores", value=0), "environment.cores: expected an integer of at least 1"),
    "a share above 1": (wrong("results", 0, "reorder_share", value=1.5), "results[0].reorder_share: expected a finite"),
    "an endless budget": (wrong("measure", "budget", value="inf"), "measure.budget: expected a finite number above 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_in_an_export_ends_with_2_and_names_its_place(
    name: str, command: Command, tmp_path: Path
) -> None:
    document, told = WRONG[name]
    Path("sound.json").write_bytes(export(NEWER, "json"))
    Path("wrong.json").write_text(json.dumps(document))
    for verb in (("report", "wrong.json"), ("export", "wrong.json"), ("compare", "wrong.json", "sound.json")):
        said = command(*verb)
        assert (said.code, said.out) == (2, "")
        assert f"wrong.json: {told}" in said.err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["sound.json", "wrong.json"]


def test_the_largest_sizes_of_a_sweep_are_reported_at_once(command: Command) -> None:
    largest = 2**31 - 1
    document = wrong(*PROBLEM, value={**at(EXPORT, PROBLEM), "kernel_size": [largest, 1], "input_size": [largest, 28]})
    Path("large.json").write_text(json.dumps(document))
    assert command("report", "large.json").code == 0


IN_DATABASE: dict[str, tuple[str, str]] = {
    "no UTF-8": ("UPDATE runs SET name = CAST(x'61ff' AS TEXT)", "Could not decode to UTF-8"),
    "no UTF-8 in a reason": ("UPDATE visits SET reason = CAST(x'61ff' AS TEXT)", "Could not decode to UTF-8"),
    "a path for an id": ("UPDATE runs SET id = 'x/../../evil'", "id: expected letters and digits"),
    "bytes for a name": ("UPDATE runs SET name = x'61'", "name: expected a text, got b'a'"),
    "a path for a process": (
        "UPDATE runs SET state = 'running', writer_pid = '../../etc', writer_host = '', writer_boot = ''",
        "pid: expected an integer, got '../../etc'",
    ),
    "a position of its own": (
        "UPDATE visits SET position = 'x'",
        "visits: position is 'x', expected an integer under 14",
    ),
    "a number for blocks": (
        "UPDATE visits SET blocks = 1000000000000",
        "visits: blocks is of type int, expected bytes",
    ),
    "a text for threads": ("UPDATE visits SET threads = 'x'", "visits[0].threads: expected an integer, got 'x'"),
    "no such status": ("UPDATE visits SET status = 'fine'", "expected one of passed, failed"),
    "a list for settings": ("UPDATE cases SET settings = '[1]'", "expected an object of settings, got '[1]'"),
    "deep settings": (f"UPDATE cases SET problem = '{'[' * 9000}'", "nested too deeply"),
    "a case twice": (
        "UPDATE cases SET problem = (SELECT problem FROM cases WHERE position = 0),"
        " settings = (SELECT settings FROM cases WHERE position = 0) WHERE position = 5",
        "occurs twice",
    ),
    "a negative time": (
        "UPDATE visits SET blocks = x'BLOCK'",
        "row 0: minimum_s is -1, expected a finite number above 0",
    ),
}


@pytest.mark.parametrize("name", IN_DATABASE)
def test_what_is_wrong_in_a_database_ends_with_2_and_a_sentence(
    name: str, command: Command, sound_database: Path
) -> None:
    statement, told = IN_DATABASE[name]
    block = replace(unpack_blocks(SOUND.results[0].blocks[0][1])[0], minimum_s=-1.0)
    shutil.copy(sound_database, "wrong.db")
    with closing(sqlite3.connect("wrong.db")) as connection:
        connection.execute(statement.replace("BLOCK", pack_any(block).hex()))
        connection.commit()
    said = [command(*verb, "--db", "wrong.db") for verb in (("runs",), ("report",), ("export",))]
    refused = [one for one in said if one.code]
    assert refused and {one.code for one in refused} == {2}
    assert all("wrong.db" in one.err for one in refused)
    assert any(told in one.err for one in refused)
    assert not list(Path().rglob("*evil*"))


def test_a_case_whose_settings_make_another_id_has_no_history(command: Command, sound_database: Path) -> None:
    shutil.copy(sound_database, "wrong.db")
    with closing(sqlite3.connect("wrong.db")) as connection:
        connection.execute("UPDATE cases SET case_id = 'abcdefghijkl' WHERE position = 0")
        connection.commit()
    said = command("history", "abcdefghijkl", "--db", "wrong.db")
    assert said.code == 2 and "make the id" in said.err
