from __future__ import annotations

import base64
import dataclasses
import json
import math
import re
import struct
from typing import Any

import pytest
import strategies
import synthetic
from hypothesis import given
from hypothesis import strategies as st

from convbench.errors import RequestError
from convbench.model import bounds, reading, serial
from convbench.model.case import Case
from convbench.model.fact import facts_of
from convbench.model.problem import PaddingWord, Problem
from convbench.model.result import (
    BLOCK_LAYOUTS,
    LAYOUT,
    NO_FACTS,
    Block,
    Check,
    Environment,
    Measure,
    ProcessFacts,
    Rejection,
    Result,
    Run,
    RunState,
    Status,
    StopReason,
    Visit,
    pack_blocks,
)
from convbench.model.serial import run_from_json, to_json
from convbench.model.values import visible

KINDS = {
    "problem": (strategies.problems, serial.problem_from_json),
    "case": (strategies.cases, serial.case_from_json),
    "block": (strategies.blocks, reading.reader(Block)),
    "check": (strategies.checks, serial.check_from_json),
    "visit": (strategies.visits, reading.reader(Visit)),
    "result": (strategies.results, reading.reader(Result)),
    "rejection": (strategies.rejections, reading.reader(Rejection)),
    "measure": (strategies.measures, reading.reader(Measure)),
    "process facts": (strategies.process_facts, serial.process_facts_from_json),
    "environment": (strategies.environments, serial.environment_from_json),
    "machine key": (strategies.machine_keys, serial.machine_key_from_json),
    "shard": (strategies.shards, serial.shard_from_json),
    "campaign": (strategies.campaigns, serial.campaign_from_json),
}


def through_text(document: reading.Json) -> reading.Json:
    return json.loads(json.dumps(document, allow_nan=False))


def fields_of(made: object) -> object:
    """All fields, those that equality leaves out among them."""
    return dataclasses.asdict(made)


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data(), defaults=st.booleans())
def test_what_is_written_comes_back_as_it_was(name: str, data: st.DataObject, defaults: bool) -> None:
    strategy, read = KINDS[name]
    made = data.draw(strategy)
    again = read(through_text(serial.to_json(made, defaults=defaults)))
    assert type(again) is type(made)
    assert fields_of(again) == fields_of(made)


@given(strategies.runs)
def test_run_comes_back_as_it_was(run: Run) -> None:
    assert fields_of(serial.run_from_json(through_text(serial.to_json(run)))) == fields_of(run)


@given(strategies.raw_texts)
def test_any_text_that_is_written_can_be_read(text: str) -> None:
    written = serial.to_json(Rejection(label=text, reason=text))
    assert reading.reader(Rejection)(through_text(written)).reason == visible(text)
    assert serial.stored(json.dumps({"label": text, "reason": text})) == written


@given(strategies.texts)
def test_a_text_that_every_database_takes_survives(text: str) -> None:
    assert reading.reader(Rejection)(through_text({"label": text, "reason": text})).label == text


CASE = Case(
    problem=Problem(in_channels=3, out_channels=8, kernel_size=(3, 3), input_size=(9, 9), padding=PaddingWord.SAME)
)
ENVIRONMENT = Environment(
    hostname="h",
    system="Linux",
    machine="x86_64",
    cpu="c",
    cores=2,
    memory_bytes=None,
    l2_bytes=None,
    l3_bytes=None,
    python="3.11",
    torch="2.13",
    onednn=None,
    libc="glibc 2.36",
    accelerator=None,
    cpu_capability=None,
    allocator="steady",
)
BLOCK = Block(**dict.fromkeys(BLOCK_LAYOUTS[LAYOUT], 1))
RUN = Run(
    id="20261124-031502-k7q2",
    name="n",
    description="",
    source="",
    seed=1,
    measure=Measure(),
    version="0.1.0",
    started_at="2026-11-24T03:15:02+00:00",
    finished_at=None,
    state=RunState.RUNNING,
    environment=ENVIRONMENT,
    results=(
        Result(
            case=CASE,
            status=Status.PASSED,
            reason=None,
            facts=dataclasses.replace(
                NO_FACTS, check=Check(output_shape=(1, 8, 9, 9), max_error=0.5, elements=3, method="exact"), threads=1
            ),
            stop_reason=StopReason.ROUNDS,
            blocks=((LAYOUT, pack_blocks([BLOCK])),),
        ),
    ),
)


def test_case_written_short_holds_what_is_not_default_and_its_id() -> None:
    assert serial.to_json(CASE, defaults=False) == {
        "id": CASE.id,
        "problem": {
            "in_channels": 3,
            "out_channels": 8,
            "kernel_size": [3, 3],
            "input_size": [9, 9],
            "padding": "same",
        },
    }


def test_numbers_that_json_does_not_know_are_words() -> None:
    check = Check(output_shape=None, max_error=math.nan, elements=0, method="exact")
    document = through_text(serial.to_json(check))
    assert isinstance(document, dict) and document["max_error"] == "nan"
    again = serial.check_from_json(document)
    assert again.max_error is not None and math.isnan(again.max_error)


def changed(place: str, value: object) -> reading.Json:
    """RUN's JSON with one entry replaced; the place as RequestError writes it."""
    document = through_text(serial.to_json(RUN))
    *parents, last = [int(p) if p.isdigit() else p for p in re.findall(r"\w+", place)]
    holder = document
    for parent in parents:
        holder = holder[parent]
    holder[last] = value
    return document


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("seed", "1", "seed: expected an integer, got '1'"),
        ("seed", True, "seed: expected an integer, got True"),
        ("name", None, "name: expected a text, got None"),
        ("environment.cores", 2.0, "environment.cores: expected an integer, got 2.0"),
        ("environment.variables", [["A"]], "environment.variables[0]: expected a list of 2, got ['A']"),
        ("measure.precision", "small", "measure.precision: expected a number, got 'small'"),
        ("measure", [], "measure: expected an object, got []"),
        ("state", "done", "state: expected one of running, finished, interrupted, got 'done'"),
        ("results[0].stauts", "x", "results[0]: unknown entry 'stauts'"),
        ("results[0].blocks[0]", [3, ""], "results[0].blocks[0]: expected a block layout of [1, 2], got 3"),
        ("results[0].blocks[0]", [1, "AAAA"], "results[0].blocks[0]: 3 bytes are no whole number of blocks"),
        ("results[0].blocks[0][1]", "AAA", "results[0].blocks[0][1]: expected base64, got 'AAA'"),
        ("results[0].case.problem.bias", 1, "results[0].case.problem.bias: expected true or false, got 1"),
        ("results[0].case.problem.in_channels", 4, "results[0].case: the settings make the id"),
        ("results[0].case.dtype", "int8", "results[0].case.dtype: expected a dtype of"),
        ("results[0].case.problem.stride", [1], "results[0].case.problem: expected stride of 2 integers of at least 1"),
        ("results[0].case.problem.stride", [0, 1], "results[0].case.problem.stride[0]: expected an integer of at"),
        ("results[0].case.problem.padding", [-1, 1], "results[0].case.problem.padding[0]: expected an integer of"),
        ("results[0].case.problem.padding", "half", "results[0].case.problem.padding: expected one of same, valid"),
        ("results[0].case.problem.groups", 0, "results[0].case.problem.groups: expected an integer of at least 1"),
        ("block_layouts", {"1": ["minimum_s"]}, "its block layout 1 has other columns than convbench's"),
        ("git", {"branch": "main"}, "git: lacks commit"),
        ("format", "other", "not a run that convbench exported"),
        ("format_version", 2, "the run has format version 2, this convbench reads version 1"),
    ],
)
def test_mistake_in_a_run_names_its_place(place: str, value: object, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        serial.run_from_json(changed(place, value))
    assert str(caught.value).startswith(message)


def test_run_exported_before_commits_were_kept_is_read() -> None:
    document = through_text(serial.to_json(RUN))
    assert isinstance(document, dict)
    del document["git"]
    assert serial.run_from_json(document) == RUN


def test_missing_entries_are_named() -> None:
    with pytest.raises(RequestError, match=r"^lacks label, reason$"):
        reading.reader(Rejection)({})


@pytest.mark.parametrize("document", [None, [], "run", {"name": "n"}])
def test_what_is_no_run_says_so(document: reading.Json) -> None:
    with pytest.raises(RequestError, match="not a run") as caught:
        serial.run_from_json(document)
    assert "export" in (caught.value.hint or "")


def test_only_dataclasses_and_plain_values_are_written() -> None:
    with pytest.raises(TypeError, match="object has no JSON"):
        serial.to_json(object())


def test_many_checks_are_read_as_one_is() -> None:
    documents = [
        {"output_shape": [8, 32], "max_error": 0.5, "elements": 2048, "method": "exact"},
        {"output_shape": None, "max_error": "nan", "elements": 0, "method": "normwise", "reason": "wrong"},
        {"reason": None, "output_shape": [1], "max_error": None, "elements": 1, "method": "exact"},
    ]
    assert repr(serial.checks_from_json(documents)) == repr(
        [serial.check_from_json(document) for document in documents]
    )
    assert serial.checks_from_json([]) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"output_shape": [8], "max_error": 0.5, "elements": 1},
        {"output_shape": [8], "max_error": 0.5, "elements": 1.5, "method": "exact"},
        {"output_shape": [8], "max_error": 0.5, "elements": 1, "method": "exact", "colour": "red"},
        ["exact"],
        "exact",
        None,
        7,
    ],
)
def test_of_many_checks_the_one_that_is_wrong_is_told_as_alone(wrong: reading.Json) -> None:
    right: reading.Json = {"output_shape": [8], "max_error": 0.5, "elements": 1, "method": "exact"}
    with pytest.raises(RequestError) as alone:
        serial.check_from_json(wrong)
    with pytest.raises(RequestError) as among:
        serial.checks_from_json([right, wrong])
    assert among.value.message == alone.value.message


@pytest.mark.parametrize("kind", bounds.BOUNDS, ids=lambda kind: kind.__name__)
def test_every_row_of_bounds_is_of_a_field_that_is_no_fact(kind: type) -> None:
    fields = {field.name for field in dataclasses.fields(kind)}
    assert bounds.BOUNDS[kind].keys() <= fields - facts_of(kind).keys()


def test_a_block_without_a_row_is_a_finite_number_from_0() -> None:
    for name in BLOCK_LAYOUTS[LAYOUT]:
        for value in (-1.0, math.inf, -math.inf):
            packed = pack_blocks([dataclasses.replace(BLOCK, **{name: value})])
            found = bounds.wrong_blocks([(LAYOUT, pack_blocks([BLOCK])), (LAYOUT, packed)])
            assert found is not None
            assert found[0] == 1 and found[1].startswith(f"row 0: {name} is {value:g}, expected")


@given(st.lists(st.lists(strategies.blocks, max_size=3).map(pack_blocks), max_size=5))
def test_sound_blocks_are_sound_however_many(parts: list[bytes]) -> None:
    assert bounds.wrong_blocks([(LAYOUT, packed) for packed in parts]) is None


def test_the_roundoff_of_a_quantile_is_no_mistake() -> None:
    lower = dataclasses.replace(BLOCK, q3_s=1 - 1e-7)
    assert bounds.wrong_blocks([(LAYOUT, pack_blocks([lower]))]) is None
    found = bounds.wrong_blocks([(LAYOUT, pack_blocks([dataclasses.replace(BLOCK, q3_s=1 - 1e-5)]))])
    assert found == (0, "row 0: median_s is 1, expected no more than q3_s, 0.99999")


def test_a_wrong_block_is_found_among_thousands() -> None:
    parts = [(LAYOUT, pack_blocks([BLOCK] * 2))] * 3000
    parts[2500] = (LAYOUT, pack_blocks([BLOCK, dataclasses.replace(BLOCK, samples=0)]))
    expected = f"row 1: samples is 0, expected an integer of at least 1 and at most {2**53}"
    assert bounds.wrong_blocks(parts) == (2500, expected)


def test_a_column_is_judged_as_its_field_is() -> None:
    reading.check_columns(Visit, {"threads": [1, None, 1], "note": ["a", None, "b"]}, "visits")
    for name, value, message in (
        ("threads", 1.0, "visits[1].threads: expected an integer, got 1.0"),
        ("threads", 0, "visits[1].threads: expected an integer of at least 1"),
        ("note", b"a", "visits[1].note: expected a text, got b'a'"),
        ("note", "a\0", "visits[1].note: expected text without NUL"),
    ):
        with pytest.raises(RequestError) as refused:
            reading.check_columns(Visit, {name: [1 if name == "threads" else "a", value]}, "visits")
        assert refused.value.message.startswith(message)


@pytest.mark.parametrize("run_id", ["20261124-031502-k7q2", "20261128-031502-a", "20261124t033000-ab12", "7", "base"])
def test_ids_that_convbench_made_are_ids(run_id: str) -> None:
    assert bounds.RUN_ID.fullmatch(run_id)


@pytest.mark.parametrize(
    "run_id",
    ["", ".", "..", ".a", "a/b", "a\\b", "a..b", "-a", "a-", "a b", 'a"b', "a\n", "a\0", "\u00e4", "x" * 101, "a%2fb"],
)
def test_what_could_be_a_path_or_more_is_no_id(run_id: str) -> None:
    assert not bounds.RUN_ID.fullmatch(run_id)


def test_an_export_whose_entries_have_their_old_names_is_read() -> None:
    facts = (ProcessFacts(process_index=0, seconds=1.0), ProcessFacts(process_index=2, seconds=2.0))
    run = dataclasses.replace(RUN, measure=Measure(processes=3), processes=facts)
    text = json.dumps(serial.to_json(run))
    old = text.replace('"processes"', '"passes"').replace('"process_index"', '"pass_index"')
    assert old.count('"passes"') == 2 and old.count('"pass_index"') == 4  # two are columns of blocks
    assert serial.run_from_json(json.loads(old)) == run
    document = json.loads(text)
    document["measure"]["passes"] = 3
    with pytest.raises(RequestError, match=r"^measure: processes is given under two names$"):
        serial.run_from_json(document)
    del document["measure"]["passes"]
    document["processes"][1]["pass_index"] = -1
    del document["processes"][1]["process_index"]
    with pytest.raises(RequestError, match=r"^processes\[1\].pass_index: expected an integer of at least 0 and"):
        serial.run_from_json(document)


def test_an_export_whose_columns_have_their_old_names_is_read() -> None:
    document = serial.to_json(RUN)
    assert isinstance(document, dict)
    layouts = document["block_layouts"]
    assert isinstance(layouts, dict)
    old = [str(name).replace("probe", "canary") for name in layouts["1"]]
    assert "compute_canary_s" in old
    assert serial.run_from_json({**document, "block_layouts": {"1": old}}) == RUN
    with pytest.raises(RequestError, match="has other columns"):
        serial.run_from_json({**document, "block_layouts": {"1": [*old, "another"]}})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": "AAAA"}, "expected rows of 36 bytes"),
        ({"rows": base64.b64encode(struct.pack("<9f", 0.0, *[0.0] * 8)).decode()}, "expected rows of finite times"),
        (
            {"rows": base64.b64encode(struct.pack("<9f", math.inf, *[1.0] * 8)).decode()},
            "expected rows of finite times",
        ),
        ({"record_s": [1.0, 2.0]}, "expected record_s of 8 numbers or none"),
        ({"record_s": [0.0] * 8}, "record_s[0]: expected a finite number above 0"),
        ({"layers": 0}, "layers: expected"),
        ({"device": "toaster"}, "expected a device of"),
    ],
)
def test_references_that_no_run_has_are_refused(change: dict[str, object], said: str) -> None:
    run = synthetic.referred(synthetic.run(4, troubles=False))
    document = to_json(run)
    assert isinstance(document, dict)
    assert run_from_json(document) == run
    held: Any = document["processes"]
    held[0]["references"][0] |= change
    with pytest.raises(RequestError, match=re.escape(said)):
        run_from_json(document)
