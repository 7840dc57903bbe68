"""What `convbench time` prints: the table of its cases, and which value of a setting is the fastest. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convbench import units
from convbench.analysis.faster import Slower
from convbench.analysis.table.columns import NOT_REACHED, Rows
from convbench.model.case import Case, canonical
from convbench.model.lead import leading_word
from convbench.model.result import Run, Status, StopReason
from convbench.model.settings import TABLE
from convbench.model.threshold import FEWEST_PROCESSES
from convbench.report.text import times
from convbench.report.text.results import distinct
from convbench.report.text.tables import folded, table

_HEADS = ("spread", "rate", "of roof", "check", "case", "implementation")
_FIGURES = range(5)


def times_text(rows: Rows, order: Sequence[Case], columns: int | None = None) -> str:
    """A line a case in this order: its times, its rate, its share of the roof, its check, its code.

    What all labels share stands above them, and below them why a case has no right result. No line is longer than
    `columns`.
    """
    labels, shared = distinct([case.label for case in rows.cases])
    place = {case: at for at, case in enumerate(rows.cases)}
    cells = [(*times.heads(rows.cases), *_HEADS), *(_cells(rows, place[case], labels[place[case]]) for case in order)]
    above = [folded(f"every case: {shared}", columns)] if shared else []
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    reasons = [folded(_reason(rows, place[case], labels[place[case]]), columns) for case in order]
    below = [reason for reason in reasons if reason]
    if columns is None or sum(widths) + 2 * (len(widths) - 1) <= columns:
        return "\n".join([*above, table(cells, right=_FIGURES), *below])
    if sum(widths[:-1]) + 2 * (len(widths) - 2) <= columns:
        ran = [folded(f"{row[6]}: {row[7]}", columns) for row in cells[1:] if row[7]]
        return "\n".join([*above, table([row[:-1] for row in cells], right=_FIGURES), *ran, *below])
    stacked = [(row[6], *row[:6], row[7]) for row in cells]
    return "\n".join([*above, table(stacked, columns), *below])


def _reason(rows: Rows, at: int, label: str) -> str:
    """Why a case has no right result: `bfloat16 crashed: signal 11`; "" where it has one or gives no reason."""
    result = rows.results[at]
    if result is None or result.status is Status.PASSED or not result.reason:
        return ""
    reason = units.line(units.flat(result.reason), most=units.LONGEST_TEXT)
    return f"{label} {result.status.value.replace('_', ' ')}: {reason}"


def _cells(rows: Rows, at: int, label: str) -> tuple[str, ...]:
    figures, result = rows.estimates, rows.results[at]
    efficiency = float(rows.efficiency[at])
    status = NOT_REACHED if result is None else result.status.value.replace("_", " ")
    has_check = result is not None and (result.facts.check is not None or status != "passed")
    timed = bool(np.isfinite(figures.time_s[at]))
    bound = rows.bound[at]
    return (
        *times.cells(rows, at),
        units.apart(float(figures.spread[at])),
        units.si(float(rows.rates(rows.flops)[at]), "FLOP/s") if timed else "-",
        units.percent(efficiency, 0) + (f" {bound}" if bound and np.isfinite(efficiency) else ""),
        status if has_check or result is None else "",
        label,
        (result.facts.implementation or "") if result else "",
    )


def answer_text(run: Run, found: Sequence[Slower], columns: int | None = None) -> str:
    """Which value of each setting is the fastest, as `bfloat16 ran 1.41x faster than float32 (1.38 to 1.44)`."""
    lines = [_sentence(one) for one in found]
    unsettled = [result for result in run.results if result.stop_reason in (StopReason.ROUNDS, StopReason.TIME)]
    if unsettled:
        of = units.plural(len(run.results), "case")
        word = leading_word(result.case.device for result in unsettled)
        which = "the lowest times" if word == "floor" else f"the {word}s of processes"
        lines.append(
            f"{units.count(len(unsettled))} of {of} did not settle: {which} had not agreed within "
            f"{units.percent(run.measure.precision, 0)} when the rounds or the time ended"
        )
    return "\n".join(folded(line, columns) for line in lines)


def _sentence(one: Slower) -> str:
    where = ", ".join(_named(name, value) for name, value in one.others)
    start = f"{where}: " if where else ""
    fastest, value = _named(one.axis, one.fastest), _named(one.axis, one.value)
    if one.status is not None:
        return f"{start}{value} is not compared: {one.status.value.replace('_', ' ')}"
    interval = f"({units.digits(one.low)} to {units.digits(one.high)})"
    if not one.is_sure:
        few = f"{units.plural(one.processes, 'process', 'processes')} of {FEWEST_PROCESSES} that it takes to compare"
        return f"{start}{fastest} ran {units.ratio(one.ratio)} faster than {value} so far: {few}"
    if not one.is_shown:
        return f"{start}no difference is shown between {fastest} and {value} {interval}"
    if one.work != 1:
        work = f", for {units.ratio(one.work)} the work" if np.isfinite(one.work) else ""
        return f"{start}{value} took {units.ratio(one.ratio)} as long as {fastest} {interval}{work}"
    return f"{start}{fastest} ran {units.ratio(one.ratio)} faster than {value} {interval}"


def _named(axis: str, value: object) -> str:
    """A value with its setting, where it does not say by itself what it is: `bfloat16`, `batch_size=8`, `unbatched`."""
    row = TABLE[axis]
    if value is None and row.absent:
        return row.absent
    text = units.flat(canonical(value)) or "{}"
    return row.phrase.format(text) if row.phrase else f"{axis}={text}"
