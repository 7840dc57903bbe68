"""A run as csv, json, parquet, markdown, junit XML or benchdnn; a comparison as junit. Pure: from a run to bytes.

The caller writes the bytes to a file. A new format of a run is one function and one line in `FORMATS`.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from xml.etree import ElementTree

from convbench import units
from convbench.analysis.campaign.members import Member
from convbench.analysis.comparison.judgment import JUDGED, Comparison, Judgment, Verdict
from convbench.analysis.table.columns import COLUMNS, NOT_REACHED, ColumnType, Rows, Value, columns, in_64_bits
from convbench.errors import RequestError
from convbench.model.nearest import did_you_mean
from convbench.model.result import UNMEASURED, WRONG, Run, Status
from convbench.model.serial import parsed, run_from_json, to_json
from convbench.model.variables import may_hold_secrets
from convbench.report.text import times
from convbench.report.text.markdown import escaped
from convbench.workloads.benchdnn_lines import line_of


def export(run: Run, form: str) -> bytes:
    """The run in the format named `form`, text as UTF-8; raises RequestError where there is no such format."""
    if form not in FORMATS:
        known = tuple(FORMATS)
        raise RequestError(
            f"unknown format {form!r}, expected one of {', '.join(known)}", hint=did_you_mean(form, known)
        )
    return FORMATS[form](run)


#: Spreadsheets read a cell that begins so as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\n")


def to_csv(run: Run) -> bytes:
    """A header and one row per case, with commas; lines end in a newline, and absent values are empty.

    Numbers have seven significant digits, because blocks are stored as float32. A text that a spreadsheet would read as
    a formula gets an apostrophe before it, as OWASP advises: other people may have written it. Numbers never do. The
    json has such a text unchanged.
    """
    cells = [_cells(COLUMNS[name].kind, values) for name, values in columns(run).items()]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(zip(*cells, strict=True))
    return _utf8(text.getvalue())


#: The columns of a campaign's CSV before those of its runs.
_OF_MEMBER = ("machine", "machine_key", "hosts", "run")


def campaign_to_csv(members: Sequence[Member]) -> bytes:
    """The rows of the CSV of each machine's run, one machine after the other, behind columns that name the machine."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*_OF_MEMBER, *COLUMNS))
    for member in members:
        named = (member.name, member.key.id, ", ".join(member.hosts), member.run.id)
        start = tuple(map(text_cell, named))
        cells = [_cells(COLUMNS[name].kind, values) for name, values in columns(member.run).items()]
        writer.writerows((*start, *row) for row in zip(*cells, strict=True))
    return _utf8(text.getvalue())


def _cells(kind: ColumnType, values: list[Value]) -> list[str]:
    """The cells of one column. Most columns hold few different values."""
    cell = _CELL[kind]
    if kind is ColumnType.NUMBER:
        return [cell(value) for value in values]
    known = {value: cell(value) for value in set(values)}
    return [known[value] for value in values]


def text_cell(value: Value) -> str:
    """A text as a cell of csv that no spreadsheet reads as a formula; "" for None."""
    # Python's csv does not quote a lone \r, and its readers end the row there.
    text = "" if value is None else str(value).replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if text.startswith(_FORMULA) else text


def _plain_cell(value: Value) -> str:
    return "" if value is None else str(value)


_CELL: dict[ColumnType, Callable[[Value], str]] = {
    ColumnType.TEXT: text_cell,
    ColumnType.INTEGER: _plain_cell,
    ColumnType.NUMBER: lambda value: units.plain(value) if isinstance(value, float) else "",
    ColumnType.BOOLEAN: lambda value: _plain_cell(value).lower(),
}


def to_json_text(run: Run) -> bytes:
    """The whole run, as `read_json` reads it: environment, sweep, results, rejections, blocks in base64 float32."""
    return json.dumps(to_json(run), allow_nan=False).encode("ascii") + b"\n"


def read_json(text: str) -> Run:
    """The run of an exported json file; raises RequestError if it is not one, or one of an unknown version."""
    try:
        document = parsed(text)
    except ValueError as error:
        raise RequestError(
            f"not a run that convbench exported: it is not JSON ({error})",
            hint="`convbench export RUN --format json` writes one",
        ) from None
    run = run_from_json(document)
    if may_hold_secrets(run.source):
        from convbench.sweep.document import of_today  # it loads YAML, which few runs need

        run = of_today(run)
    return run


def to_parquet(run: Run) -> bytes:
    """The columns of the CSV with their types and units; the run's id, name, machine and version in the metadata.

    Raises RequestError where pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise RequestError("parquet needs pyarrow", hint="pip install 'convbench[parquet]'") from None
    types = {
        ColumnType.TEXT: pa.string(),
        ColumnType.INTEGER: pa.int64(),
        ColumnType.NUMBER: pa.float64(),
        ColumnType.BOOLEAN: pa.bool_(),
    }
    fields, arrays = [], []
    for name, values in columns(run).items():
        column = COLUMNS[name]
        if column.kind is ColumnType.TEXT:
            values = [value if value is None else _utf8(str(value)).decode() for value in values]
        arrays.append(pa.array(in_64_bits(values), type=types[column.kind]))
        fields.append(pa.field(name, types[column.kind], metadata={"unit": column.unit, "about": column.about}))
    facts = {
        "convbench.run": run.id,
        "convbench.name": run.name,
        "convbench.version": run.version,
        "convbench.started_at": run.started_at,
        "convbench.cpu": run.environment.cpu,
        "convbench.torch": run.environment.torch,
    }
    schema = pa.schema(fields, metadata={key: _utf8(value) for key, value in facts.items()})
    sink = io.BytesIO()
    parquet.write_table(pa.table(arrays, schema=schema), sink)
    return sink.getvalue()


def to_markdown(run: Run) -> bytes:
    """What a person pastes into a pull request: where it ran, then one row per case with the figures that matter."""
    rows = Rows(run)
    figures = rows.estimates
    reasons = COLUMNS["reason"].values(rows)
    implementations = COLUMNS["implementation"].values(rows)
    rates = rows.rates(rows.flops)
    env = run.environment
    noise = rows.noise.ratio
    leading, beside = times.heads(rows.cases)
    lines = [
        f"**{escaped(run.name)}** ({escaped(run.id)}): {units.plural(len(rows.cases), 'case')} on "
        f"{escaped(env.cpu)}, torch {escaped(env.torch)}, convbench {escaped(run.version)}"
        + (f", probe {units.apart(noise - 1)} over its fastest" if noise == noise else ""),
        "",
        f"| case | status | {leading} | {beside} | spread | FLOP/s | implementation |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    for i, (case, result) in enumerate(zip(rows.cases, rows.results, strict=True)):
        status = result.status.value.replace("_", " ") if result else ""
        reason = f"{status}: {reasons[i]}" if status and reasons[i] else reasons[i] or status
        cells = [
            escaped(case.label),
            escaped(str(reason)),
            *times.cells(rows, i),
            units.apart(float(figures.spread[i])),
            units.si(rates[i], "FLOP/s"),
            escaped(str(implementations[i] or "")),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return _utf8("\n".join(lines) + "\n")


def to_junit(run: Run) -> bytes:
    """One test case per case: a failure where it is wrong or imprecise, an error where it could not be measured.

    A test case's time is the leading one in seconds (model/lead.py), and so is a CI's history of times. The other
    figures are properties. Cases not reached yet are skipped. Characters that XML 1.0 refuses (control characters) are
    removed.
    """
    table = columns(run)
    statuses = table["status"]
    suite = ElementTree.Element(
        "testsuite",
        name=_xml(run.name),
        timestamp=_xml(run.started_at),
        hostname=_xml(run.environment.hostname),
        tests=str(len(statuses)),
        failures=str(sum(status in WRONG for status in statuses)),
        errors=str(sum(status in UNMEASURED for status in statuses)),
        skipped=str(statuses.count(Status.SKIPPED) + statuses.count(None)),
    )
    for i, status in enumerate(statuses):
        test = ElementTree.SubElement(suite, "testcase", classname=_xml(run.name), name=_xml(str(table["label"][i])))
        time = table["time_s"][i]
        if isinstance(time, float):
            test.set("time", f"{time:.9f}")
        properties = ElementTree.SubElement(test, "properties")
        for name in _PROPERTIES:
            text = _CELL[COLUMNS[name].kind](table[name][i])
            if text:
                ElementTree.SubElement(properties, "property", name=name, value=_xml(text))
        if status != Status.PASSED:
            kind = "skipped" if status is None else _JUNIT[Status(str(status))]
            reason = _xml(str(table["reason"][i] or status or NOT_REACHED))
            outcome = ElementTree.SubElement(test, kind, message=" ".join(reason.split()))
            if kind != "skipped":
                outcome.set("type", str(status))
                outcome.text = reason
    return _document(suite)


def to_benchdnn(run: Run) -> bytes:
    """A batch file of oneDNN's benchmark: a line for each case, and a comment for each that it cannot run."""
    lines = [f"# {units.line(run.name)} ({run.id}), for benchdnn --conv --batch=FILE"]
    for case in Rows(run).cases:
        try:
            lines.append(line_of(case))
        except ValueError as error:
            lines.append(f"# left out, {error}: {units.line(case.label)}")
    return _utf8("\n".join(lines) + "\n")


def comparison_to_junit(comparison: Comparison) -> bytes:
    """One test case per case: a failure where it regressed, is wrong or imprecise, an error where it was not measured.

    Cases that could not be judged are skipped, with the reason. A test case's time is the new side's in seconds.
    """
    return _document(_suite_of(comparison, comparison.new.name))


def comparisons_to_junit(compared: Sequence[tuple[str, Comparison]]) -> bytes:
    """The same for the machines of two campaigns, given with their names: a test suite for each."""
    return _document(*(_suite_of(comparison, f"{comparison.new.name} on {name}") for name, comparison in compared))


def _suite_of(comparison: Comparison, title: str) -> ElementTree.Element:
    name = _xml(title)
    suite = ElementTree.Element("testsuite", name=name, timestamp=_xml(comparison.new.started_at))
    outcomes: Counter[str | None] = Counter()
    for judgment in comparison.judgments:
        test = ElementTree.SubElement(suite, "testcase", classname=name, name=_xml(judgment.case.label))
        if math.isfinite(judgment.new_s):
            test.set("time", f"{judgment.new_s:.9f}")
        properties = ElementTree.SubElement(test, "properties")
        for key in _JUDGED_PROPERTIES:
            value = getattr(judgment, key)
            if value == value:  # not NaN
                text = units.plain(value) if isinstance(value, float) else str(value)
                ElementTree.SubElement(properties, "property", name=key, value=text)
        ElementTree.SubElement(properties, "property", name="case_id", value=judgment.case.id)
        kind, what = _outcome(judgment)
        outcomes[kind] += 1
        if kind is not None:
            causes = [*filter(None, [judgment.reason]), *map(str, judgment.causes)]
            change = [] if math.isnan(judgment.ratio) else [_change(judgment)]
            message = _xml(" ".join("; ".join([*change, *causes]).split()) or what)
            outcome = ElementTree.SubElement(test, kind, message=message)
            if kind != "skipped":
                outcome.set("type", what)
                outcome.text = message
    suite.set("tests", str(len(comparison.judgments)))
    for kind, plural in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(plural, str(outcomes[kind]))
    return suite


def _outcome(judgment: Judgment) -> tuple[str | None, str]:
    """JUnit's name for a judgment, None where it is a pass, and the status or verdict behind it."""
    status = judgment.new_status
    if status is not None and _JUNIT.get(status) in ("failure", "error"):
        return _JUNIT[status], status.value
    if judgment.verdict is Verdict.REGRESSED:
        return "failure", judgment.verdict.value
    return (None if judgment.verdict in JUDGED else "skipped"), judgment.verdict.value


def _change(judgment: Judgment) -> str:
    return (
        f"{units.change(judgment.ratio)} ({units.change(judgment.low)} to {units.change(judgment.high)}), "
        f"{units.seconds(judgment.base_s)} -> {units.seconds(judgment.new_s)}"
    )


def _document(*suites_: ElementTree.Element) -> bytes:
    suites = ElementTree.Element("testsuites", name="convbench")
    suites.extend(suites_)
    ElementTree.indent(suites)
    document: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


#: JUnit's name for what is not a pass.
_JUNIT: dict[Status, str] = {
    Status.SKIPPED: "skipped",
    **dict.fromkeys(WRONG, "failure"),
    **dict.fromkeys(UNMEASURED, "error"),
}
_PROPERTIES = ("case_id", "status", "floor_s", "typical_s", "spread", "support", "blocks", "tflops", "implementation")
_JUDGED_PROPERTIES = (
    "verdict",
    "ratio",
    "low",
    "high",
    "base_s",
    "new_s",
    "noise",
    "shift",
    "threshold",
    "q",
    "processes",
)
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _xml(text: str) -> str:
    return _NOT_XML.sub("", text)


def _utf8(text: str) -> bytes:
    """The text as UTF-8; halves of surrogate pairs, from file names or workers, become escapes."""
    return text.encode("utf-8", errors="backslashreplace")


#: The formats by their names for `--format`.
FORMATS: dict[str, Callable[[Run], bytes]] = {
    "csv": to_csv,
    "json": to_json_text,
    "parquet": to_parquet,
    "markdown": to_markdown,
    "junit": to_junit,
    "benchdnn": to_benchdnn,
}
