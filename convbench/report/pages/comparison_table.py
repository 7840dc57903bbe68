"""The cases of a comparison as a table, the worst first: judgments, settings, both sides' figures. Pure.

`convbench.report.pages.comparison` shows it. static/comparison_main.js reads it as static/cases.js reads a run's cases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from convbench import units
from convbench.analysis.comparison.judgment import Comparison, How, Judgment, RunComparison, Verdict
from convbench.analysis.table.columns import COLUMNS, ColumnType, Rows, numbers
from convbench.measure import estimate
from convbench.model.case import Case, canonical
from convbench.model.lead import leading_word
from convbench.model.result import Result, Run
from convbench.model.settings import SETTINGS, TABLE
from convbench.report.pages.payload import Payload, words_into
from convbench.report.pages.tables import Cell, DisplayKind, TableColumn
from convbench.report.text.compare import why_text
from convbench.report.text.summary import worst_first

#: The names of both sides, which are prefixes of their columns.
SIDES = ("base", "new")
#: How ratios minus 1 are shown: as percent.
_PERCENT = {"unit": "%", "factor": 100.0, "decimals": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledColumn:
    """A column and its cells, a row each; None where there is nothing."""

    spec: TableColumn
    values: Sequence[Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The judgments in the order of the rows, the columns, and each side's blocks by row."""

    judgments: tuple[Judgment, ...]
    columns: tuple[FilledColumn, ...]
    blocks: tuple[estimate.BlockTable, estimate.BlockTable]
    floors: tuple[estimate.Floats, estimate.Floats]

    def rows(self, most: int) -> list[list[tuple[TableColumn, str]]]:
        """The first rows as text, of the columns that are shown at first."""
        shown = [column for column in self.columns if column.spec.shown]
        return [
            [(column.spec, column.spec.show(column.values[row])) for column in shown]
            for row in range(min(most, len(self.judgments)))
        ]

    def into(self, payload: Payload) -> dict[str, object]:
        """What the page's scripts read of the table: {length, settings, columns, cases}."""
        return {
            "length": len(self.judgments),
            "settings": [column.spec.name for column in self.columns if column.spec.name in SETTINGS],
            "columns": [asdict(column.spec) for column in self.columns],
            "cases": {column.spec.name: column_into(payload, column) for column in self.columns},
        }


def table(compared: RunComparison) -> Table:
    """The table of a comparison; what no case has is left out."""
    comparison = compared.comparison
    judgments = ordered(comparison)
    sides = [_SideColumns.of(run, judgments) for run in (compared.base, compared.new)]
    times = [judgment.base_s for judgment in judgments if math.isfinite(judgment.base_s)]
    time = units.time_unit(float(np.median(times)) if times else 1.0)
    columns = [
        *_judged(judgments, comparison.how, time),
        *settings_columns(compared.new, [judgment.case for judgment in judgments]),
        *_more(judgments, processes_of(comparison.how)[1]),
        *(column for side, name in zip(sides, SIDES, strict=True) for column in side.columns(name, time)),
    ]
    always = {"case_id", "label", "verdict", "change", "why"}
    return Table(
        judgments=judgments,
        columns=tuple(c for c in columns if c.spec.name in always or any(value is not None for value in c.values)),
        blocks=(sides[0].blocks, sides[1].blocks),
        floors=(sides[0].figures.floor_s, sides[1].figures.floor_s),
    )


def processes_of(how: How) -> tuple[str, str]:
    """The word for one round of fresh processes, and its plural."""
    return ("pair", "pairs") if how is How.SIDE_BY_SIDE else ("process", "processes")


def ordered(comparison: Comparison) -> tuple[Judgment, ...]:
    """The judgments, the worst first and unchanged cases last."""
    unchanged = [judgment for judgment in comparison.judgments if judgment.verdict is Verdict.UNCHANGED]
    return (*worst_first(comparison), *unchanged)


@dataclass(frozen=True, slots=True, kw_only=True)
class _SideColumns:
    """One run's results and figures for each row. Its figures are over all its blocks, not only over compared ones."""

    results: list[Result | None]
    blocks: estimate.BlockTable
    figures: estimate.Estimates

    @classmethod
    def of(cls, run: Run, judgments: Sequence[Judgment]) -> _SideColumns:
        known = {result.case: result for result in run.results}
        results = [known.get(judgment.case) for judgment in judgments]
        blocks = estimate.table(results)
        return cls(results=results, blocks=blocks, figures=estimate.estimate(blocks))

    def columns(self, side: str, time: tuple[float, str]) -> list[FilledColumn]:
        """Hidden columns that the reader may show. The page of a case shows them side by side."""

        def column(name: str, heading: str, about: str, values: Sequence[Cell], **how: object) -> FilledColumn:
            return filled(
                f"{side}_{name}", f"{side} {heading}", f"{about}, on the {side}'s side", values, **hidden | how
            )

        def fact(name: str, values: Sequence[Cell], **how: object) -> FilledColumn:
            return column(name, COLUMNS[name].heading, COLUMNS[name].about, values, **how)

        def of_result(get: Callable[[Result], Cell]) -> list[Cell]:
            return [None if result is None else get(result) for result in self.results]

        hidden: dict[str, object] = {"shown": False}
        seconds = {"factor": time[0], "unit": time[1], "significant": 3}
        figures = self.figures
        measured = figures.blocks > 0
        count = [value or None for value in figures.blocks.tolist()]
        return [
            column("status", "check", "how the case ended", of_result(lambda r: r.status.value.replace("_", " "))),
            column("reason", "reason", "why it did not pass", of_result(lambda r: r.reason)),
            column("floor_s", "floor, all blocks", "the lowest block minimum", numbers(figures.floor_s), **seconds),
            column("typical_s", "typical", "the median of blocks", numbers(figures.typical_s), **seconds),
            column("time_s", "time, all blocks", "the time that leads", numbers(figures.time_s), **seconds),
            column(
                "spread",
                "spread",
                "highest time of a process over the lowest, minus 1",
                numbers(figures.spread),
                **_PERCENT,
            ),
            column(
                "all_processes", "processes", "processes that timed it", _where(measured, figures.processes.tolist())
            ),
            column("all_blocks", "blocks", "blocks timed", count),
            fact("page_faults", numbers(figures.median_block["page_faults"]), significant=2),
            fact("implementation", of_result(lambda r: r.facts.implementation)),
            fact("threads", of_result(lambda r: r.facts.threads)),
            fact("resolved_precision", of_result(lambda r: r.facts.precision)),
            fact("note", of_result(lambda r: r.facts.note)),
        ]


def _where(known: np.ndarray, values: list[int]) -> list[Cell]:
    return [value if is_known else None for value, is_known in zip(values, known.tolist(), strict=True)]


def _judged(judgments: Sequence[Judgment], how: How, time: tuple[float, str]) -> list[FilledColumn]:
    """The columns of the judgments."""

    def values(get: Callable[[Judgment], float]) -> list[Cell]:
        return [value if math.isfinite(value) else None for value in map(get, judgments)]

    seconds: dict[str, object] = {"factor": time[0], "unit": time[1], "significant": 3}
    signed: dict[str, object] = {**_PERCENT, "signed": True}
    noise = "a smaller change would not be seen: the interval would hold no change"
    why = [why_text(judgment) or None for judgment in judgments]
    again: list[Cell] = ["yes" if judgment.confirmed else None for judgment in judgments]
    label, verdict = [j.case.label for j in judgments], [j.verdict.value for j in judgments]
    word = leading_word(judgment.case.device for judgment in judgments)
    return [
        filled("label", "case", "the case in words, after the label that the sweep gives it", label, narrow=True),
        filled("verdict", "verdict", "the judgment of the case", verdict, kind=DisplayKind.STATUS, narrow=True),
        filled(
            "change",
            "change",
            f"the new {word} over the base's, minus 1",
            values(lambda j: j.ratio - 1),
            **signed | {"narrow": True},
        ),
        filled("low", "from", "the lower end of the change's interval", values(lambda j: j.low - 1), **signed),
        filled("high", "to", "the upper end of the change's interval", values(lambda j: j.high - 1), **signed),
        filled("base_s", "base", f"the base's {word}, per iteration", values(lambda j: j.base_s), **seconds),
        filled("new_s", "new", f"the new {word}, per iteration", values(lambda j: j.new_s), **seconds),
        filled("why", "why", "the reason of the verdict, and what else differs in this case", why),
        filled(
            "median_change",
            "median pair",
            "the median of the pairs' changes",
            values(lambda j: j.median_ratio - 1),
            **signed,
        ),
        filled("noise", "noise", noise, values(lambda j: j.noise - 1), **_PERCENT),
        filled("threshold", "threshold", "the smallest change that counts", values(lambda j: j.threshold), **_PERCENT),
        filled(
            "q",
            "q",
            "the false discovery rate at which it would count",
            values(lambda j: j.q),
            significant=2,
            shown=False,
        ),
        filled(
            "again", "measured again", "whether the case was suspected and measured again", again, kind=DisplayKind.WORD
        ),
    ]


def settings_columns(run: Run, cases: Sequence[Case]) -> list[FilledColumn]:
    """The settings that differ among the cases: hidden columns, as the case's name has them."""
    known = Rows(replace(run, results=(), unmeasured=tuple(cases)))
    found = []
    for name in SETTINGS:
        column = COLUMNS[name]
        values = column.values(known)
        if len(set(values)) < 2:
            continue
        is_number = column.kind is ColumnType.INTEGER
        cells: list[Cell] = [value if is_number or value is None else canonical(value) for value in values]
        kind = DisplayKind.NUMBER if is_number else DisplayKind.WORD
        found.append(filled(name, TABLE[name].heading, column.about, cells, kind=kind, shown=False))
    return found


def _more(judgments: Sequence[Judgment], several: str) -> list[FilledColumn]:
    """Hidden columns that are searched or shown on demand."""
    ids, processes, blocks = zip(*((j.case.id, j.processes or None, j.blocks or None) for j in judgments), strict=True)
    return [
        filled("case_id", "id", "short stable hash of the settings", ids, shown=False),
        filled("processes", f"{several} compared", f"{several} of each side that are compared", processes, shown=False),
        filled("blocks", "blocks compared", "blocks of each side that are compared", blocks, shown=False),
    ]


def filled(name: str, heading: str, about: str, values: Sequence[Cell], **how: Any) -> FilledColumn:
    """A column with these cells; `how` are further fields of its description."""
    kind = DisplayKind.NUMBER if any(isinstance(value, int | float) for value in values) else DisplayKind.TEXT
    spec = TableColumn(name=name, heading=heading, about=about, **{"kind": kind, **how})
    return FilledColumn(spec=spec, values=values)


def column_into(payload: Payload, column: FilledColumn) -> dict[str, object]:
    """A column for the page's scripts. Numbers that are shown at first stay float64, as the scripts format them."""
    if column.spec.kind is not DisplayKind.NUMBER:
        return words_into(payload, pd.Series(list(column.values), dtype="object"))
    kept = np.float64 if column.spec.shown or column.spec.name.endswith("floor_s") else np.float32
    return {"array": payload.add(np.array([math.nan if v is None else v for v in column.values], dtype=kept))}
