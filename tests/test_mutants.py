"""Exports and databases with something wrong in them: each reads as a run that every verb can use, or is refused."""

from __future__ import annotations

import base64
import copy
import json
import math
import shutil
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import pytest
import synthetic
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convbench import api
from convbench.analysis.comparison import compare
from convbench.analysis.findings import findings
from convbench.analysis.history import history
from convbench.analysis.judgment import Compared
from convbench.case import Allocator, Autocast, Cache, Data, Fp32Precision, MemoryFormat
from convbench.errors import NotComparableError, RequestError
from convbench.export import FORMATS, comparison_to_junit, export, read_json
from convbench.measure.forecast import forecast_s
from convbench.problem import Direction, PaddingMode, PaddingWord
from convbench.report import comparison_page, explain_page, page
from convbench.report.compare import compare_text
from convbench.report.explain import explain
from convbench.report.history import history_text
from convbench.report.index import glance
from convbench.report.repro import repro
from convbench.report.runs import baselines_text, runs_text
from convbench.result import (
    BLOCK_LAYOUTS,
    FOUND_ONCE,
    LAYOUT,
    PACKED,
    Block,
    Git,
    PassFacts,
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
from convbench.serial import Json
from convbench.store import Store, Writer, schema

SOUND = replace(
    synthetic.run(14, unmeasured=1),
    git=Git(commit="0123456789abcdef0123456789abcdef01234567", branch="main"),
    passes=(
        PassFacts(
            pass_index=0,
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
            reorder_share=0.25,
            first_call_s=0.125,
            peak_bytes=4096,
            precision="ieee",
        )
        for result in SOUND.results
    ),
)
NEWER = replace(SOUND, id="20261125-033000-cd34", started_at="2026-11-25T03:30:00Z", finished_at="2026-11-25T03:33:20Z")
EXPORT: dict[str, Any] = json.loads(export(SOUND, "json"))

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
    assert page.render(run)
    assert "/" not in page.file_name(run) and not page.file_name(run).startswith(".")
    glance(run, [finding.sentence for finding in findings(run)])
    for base, new in ((run, NEWER), (NEWER, run)):
        found = compare(base, new)
        compare_text(found)
        comparison_to_junit(found)
        assert comparison_page.render(Compared(comparison=found, base=base, new=new))
    if run.results:
        history_text(history([run], api.thresholds(SOUND)))
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
        assert refused.exit_code in (2, 4) and refused.message.strip() and len(refused.message) < 2000
        assert refused.message.isprintable()
        return None


def test_what_is_not_changed_can_be_used() -> None:
    use(read_json(json.dumps(EXPORT)))


@pytest.mark.slow
@given(mutants())
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
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
            for facts in run.passes:
                opened.note_pass(run.id, facts)
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
    once = {name: getattr(result, name) for name in ("check", *FOUND_ONCE)}
    beside = {name: b"".join(packed for _, packed in getattr(result, name)) for name in PACKED[1:]}
    return [
        Visit(
            case_id=result.case.id,
            pass_index=index,
            status=result.status,
            reason=result.reason,
            blocks=blocks,
            layout=layout,
            stop_reason=result.stop_reason,
            **(once | beside if index == 0 else {}),
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
    read_or_refused(lambda: api.write_index(folder, db=str(path), looking_s=10.0))
    for run in {repr(run): run for run in found if run is not None}.values():
        if run not in KNOWN:
            use(run)


def resumable(opened: Store) -> str | None:
    return opened.resumable(
        digest="made up", version=SOUND.version, environment=SOUND.environment, host=Writer.of_this_process().host
    )


KNOWN: list[Run] = []


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


@pytest.mark.slow
@given(statements=changed_databases())
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
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
