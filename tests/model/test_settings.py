"""The table of settings: the places that name a setting themselves agree with it, and a new row is found everywhere."""

from __future__ import annotations

import gzip
import json
from dataclasses import MISSING, fields
from pathlib import Path

import package_copy
import pytest
import typer

from convbench import sweep
from convbench.cli.options import app
from convbench.model.case import Case, WorkerSettings
from convbench.model.operators import DEFAULT_OPERATOR
from convbench.model.operators.given import PerDimension, default_for
from convbench.model.problem import Problem
from convbench.model.serial import case_from_json
from convbench.model.settings import OF_CASE, OF_PROBLEM, PROCESS_SETTINGS, SETTINGS, TABLE, Sent
from convbench.sweep.document import Mistakes, Node
from convbench.sweep.parse import read_value

TESTS = Path(__file__).parent.parent
GOLDEN = TESTS / "golden" / "cases.jsonl.gz"


def golden() -> list[tuple[Case, str, str]]:
    """(case, id, label) of every case of configs/ and of 2,000 drawn ones, written before the table was made."""
    with gzip.open(GOLDEN, "rt", encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    labels = [document.pop("label") for document in documents]
    return [(case_from_json(d), d["id"], label) for d, label in zip(documents, labels, strict=True)]


def test_ids_and_labels_of_thousands_of_cases_stay_what_they_are() -> None:
    known = golden()
    assert len(known) > 2000
    assert [(case.id, case.label) for case, *_ in known] == [(id_, label) for _, id_, label in known]


def test_the_sweeps_that_come_along_plan_the_cases_that_they_always_did() -> None:
    known = {(id_, label) for _, id_, label in golden()}
    configs = sorted((TESTS.parent / "configs").glob("*.yaml"))
    planned = {(case.id, case.label) for path in configs for case in sweep.cases(sweep.load(path)).cases}
    assert len(configs) >= 4
    assert planned <= known


@pytest.mark.parametrize(("kind", "rows", "others"), [(Problem, OF_PROBLEM, []), (Case, OF_CASE, ["problem"])])
def test_dataclasses_have_the_fields_of_the_table_in_its_order(
    kind: type, rows: dict[str, object], others: list[str]
) -> None:
    of_kind = [field for field in fields(kind) if field.compare]
    assert [field.name for field in of_kind] == [*others, *rows]
    for field in of_kind:
        if field.name in rows:
            row = TABLE[field.name]
            assert row.required == (field.default is MISSING)
            assert row.required or (row.default == field.default and type(row.default) is type(field.default))


def test_a_worker_has_the_settings_of_its_process() -> None:
    assert {field.name for field in fields(WorkerSettings)} == set(PROCESS_SETTINGS)
    assert all(field.default == TABLE[field.name].default for field in fields(WorkerSettings))
    for case, *_ in golden():
        assert all(getattr(case.worker, name) == getattr(case, name) for name in PROCESS_SETTINGS)


@pytest.mark.parametrize("verb", ["explain", "time"])
def test_a_verb_on_one_layer_has_an_option_for_every_setting(verb: str) -> None:
    options = {name for option in typer.main.get_command(app).commands[verb].params for name in option.opts}
    assert {f"--{name.replace('_', '-')}" for name in SETTINGS} <= options


@pytest.mark.parametrize("name", SETTINGS)
def test_a_row_holds_together(name: str) -> None:
    row = TABLE[name]
    assert row.heading
    assert row.about
    assert row.label
    assert row.work + row.execution + (name == "direction") == 1
    assert bool(row.phrase) != row.work
    assert row.execution or not row.choice
    assert row.process or row.sent in (Sent.LAYER, Sent.SHAPES)
    assert row.default is None or row.usual in (None, row.default)
    if not row.required and not row.kind.variables:
        mistakes = Mistakes("a row")
        default = row.default[0] if isinstance(row.default, PerDimension) else row.default
        plain = str(default) if isinstance(default, str) else default
        assert read_value(row.kind, Node(value=plain, line=1), name, mistakes) == default_for(
            DEFAULT_OPERATOR.rank, row.default
        )
        assert not mistakes.found


# A made-up setting

#: What a developer adds for a setting of a layer and for one of the process: file, text, what stands before that text.
ADDED = [
    (
        "model/settings.py",
        "}\n# fmt: on",
        """    "algorithm": Setting(kind=Kind(words=("direct", "winograd")), default="direct", execution=True,
        usual="direct", choice=True, phrase="the {} algorithm", label="{}-algorithm",
        heading="algorithm", about="how it is computed"),
    "streams": Setting(kind=Kind(least=1), default=1, execution=True, usual=1, phrase="streams={}",
        label="{}-streams", process=True, sent=Sent.PROCESS, heading="streams", about="queues of the device"),
""",
    ),
    ("model/case.py", "    given_label: str | None =", '    algorithm: str = "direct"\n    streams: int = 1\n'),
    ("model/case.py", "    execution: Execution = Execution.EAGER\n\n", "    streams: int = 1\n"),
    ("model/case.py", "            env=self.env,\n", "            streams=self.streams,\n"),
    ("worker/spec.py", '    autocast: str = "none"\n', '    algorithm: str = "direct"\n'),
    ("worker/settings.py", "    cudnn_benchmark: bool = False\n", "    streams: int = 1\n"),
]
SWEEP = """
axes:
  in_channels: [3, 16, 64]
  out_channels: 8
  kernel_size: 3
  input_size: 8
  algorithm: [direct, winograd]
  streams: [1, 4]
"""
SCRIPT = """
import json, sys
from dataclasses import replace
from pathlib import Path
import synthetic
from convbench import sweep
from convbench.analysis.findings.findings import findings
from convbench.analysis.table.columns import COLUMNS, CONTRACT
from convbench.engine.client import WorkerClient, spec
from convbench.model.serial import case_from_json, to_json
from convbench.report.export import export
from convbench.worker.spec import Spec
from convbench.worker.serve import Worker

cases = sweep.cases(sweep.load(Path(sys.argv[1]))).cases
seconds = {"direct": 2e-3, "winograd": 1e-3}
results = [
    synthetic.result(case, made=tuple(synthetic.blocks(seconds[case.algorithm] * case.streams, noise=0.0)))
    for case in cases
]
run = replace(synthetic.empty_run(), results=tuple(results))
asked = []

class Recorder:
    def wait_until_up(self, *, deadline_s): pass
    def request(self, message, *, deadline_s):
        asked.append(json.loads(json.dumps(message)))
        return Worker().answer(asked[-1])

last = cases[-1]
WorkerClient(Recorder(), last.worker).describe(deadline_s=60)
print(json.dumps({
    "labels": [case.label for case in cases[:4]],
    "ids": [cases[0].id, len({case.id for case in cases})],
    "workers": len({case.worker for case in cases}),
    "read again": [case_from_json(to_json(case, defaults=False)) == case for case in cases],
    "contract": "algorithm" in CONTRACT,
    "columns": [(COLUMNS[name].heading, COLUMNS[name].kind) for name in ("algorithm", "streams")],
    "csv": export(run, "csv").decode().splitlines()[0].split(",")[-2:],
    "findings": [found.sentence for found in findings(run) if found.axis in ("algorithm", "streams")],
    "spec": Spec.from_json(json.loads(json.dumps(spec(last, 0)))).algorithm,
    "asked": asked[0],
}))
"""


def test_a_made_up_setting_is_found_everywhere(tmp_path: Path) -> None:
    """Its row, its field, its meaning in the worker: nothing else has to know of it."""
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    told = json.loads(package_copy.run(SCRIPT, str(tmp_path / "sweep.yaml"), added=ADDED, folder=tmp_path))
    layer = "n1 c3 8x8 -> k8 3x3 s1 p0 forward float32 contiguous cpu"
    assert told["labels"] == [
        layer,
        f"{layer} 4-streams",
        f"{layer} winograd-algorithm",
        f"{layer} winograd-algorithm 4-streams",
    ]
    plain = Problem(in_channels=3, out_channels=8, kernel_size=(3, 3), input_size=(8, 8))
    assert told["ids"] == [Case(problem=plain).id, 12], "a default enters no id, another value does"
    assert told["workers"] == 2
    assert all(told["read again"])
    assert not told["contract"]
    assert told["columns"] == [["algorithm", "text"], ["streams", "integer"]]
    assert told["csv"] == ["algorithm", "streams"]
    assert (
        "the winograd algorithm is 2.00x faster than the direct algorithm in 6 of 6 matched cases" in told["findings"]
    )
    assert "streams=4 is 4.00x slower than streams=1 in 6 of 6 matched cases" in told["findings"]
    assert told["spec"] == "winograd"
    assert told["asked"]["streams"] == 4
