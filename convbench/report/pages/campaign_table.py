"""The cases of a campaign as a table: each machine's time, the best one, settings, and each machine's figures. Pure.

`convbench.report.pages.campaign` shows it. static/campaign_main.js reads it as static/cases.js reads a run's cases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from convbench import units
from convbench.analysis.campaign.view import CampaignView
from convbench.analysis.table.columns import COLUMNS, numbers
from convbench.model.lead import leading_word
from convbench.model.result import UNMEASURED, WRONG, Result, Status
from convbench.report.pages.comparison_table import FilledColumn, filled, settings_columns
from convbench.report.pages.tables import Cell, DisplayKind

#: A machine's columns are called by their figure and the machine's place: `time_0`.
NAME = "{}_{}"
#: Machines whose times are shown at first: more do not fit beside the case's name into 1440 pixels.
MOST_SHOWN = 6
#: The order of statuses, the worst first: that of a case is the worst of its machines.
_WORST = (*WRONG, *sorted(UNMEASURED), Status.SKIPPED, Status.PASSED)


def case_columns(view: CampaignView, order: Sequence[int]) -> list[FilledColumn]:
    """The columns of the table in their order; row i of the table is row `order[i]` of the view."""
    times = view.time_s[np.isfinite(view.time_s)]
    factor, unit = units.time_unit(float(np.median(times)) if len(times) else 1.0)
    seconds: dict[str, object] = {"kind": DisplayKind.NUMBER, "factor": factor, "unit": unit, "significant": 3}
    cases = [view.cases[row] for row in order]
    word = leading_word(case.device for case in cases)
    several = len(view.members) > 1
    columns = [
        filled("label", "case", "the case in words", [case.label for case in cases], narrow=True),
        *_counts(view, order),
        *(_best(view, order) if several else []),
    ]
    ranked = view.ranking
    for at, name in enumerate(view.names):
        right = np.where(ranked.ranked[:, at], view.time_s[:, at], np.nan)[order]
        shown = at < MOST_SHOWN
        about = f"the {word} of one iteration on {name}"
        columns.append(filled(NAME.format("time", at), name, about, numbers(right), shown=shown, **seconds))
    columns.append(_status(view, order))
    columns += settings_columns(view.runs[0], cases)
    columns.append(filled("case_id", "id", "short stable hash of the settings", [c.id for c in cases], shown=False))
    for figure in ("flops", "bytes"):
        work = [float(getattr(case, figure)) for case in cases]
        known = COLUMNS[figure]
        columns.append(filled(figure, known.heading, known.about, work, shown=False))
    for at in range(len(view.members)):
        columns += _of_machine(view, order, at)
    always = {"label", "case_id", "status"}
    return [c for c in columns if c.spec.name in always or any(value is not None for value in c.values)]


def _counts(view: CampaignView, order: Sequence[int]) -> list[FilledColumn]:
    """How often each case occurs, where any occurs several times."""
    counts: list[Cell] = [view.cases[row].count for row in order]
    if not any(isinstance(count, int) and count > 1 for count in counts):
        return []
    return [filled("count", "count", COLUMNS["count"].about, counts)]


def _best(view: CampaignView, order: Sequence[int]) -> list[FilledColumn]:
    """The best machine of each case, and how far it is ahead of the next one."""
    ranked = view.ranking
    best: list[Cell] = [best_name(view, row) or None for row in order]
    lead: list[Cell] = [*numbers(ranked.lead[order])]
    about, ahead = "the fastest machine", "the next machine's time over that of the best one"
    return [
        filled("best", "best", about, best, kind=DisplayKind.WORD, narrow=True),
        filled("ahead", "next takes", ahead, lead, kind=DisplayKind.NUMBER, unit="x", significant=3, narrow=True),
    ]


def best_name(view: CampaignView, row: int) -> str:
    """The best machine's name; `within noise` where noise hides which it is, "" where none has a right result."""
    alike = int(view.ranking.alike[row].sum())
    return "within noise" if alike > 1 else view.names[view.ranking.best[row]] if alike else ""


def _status(view: CampaignView, order: Sequence[int]) -> FilledColumn:
    """The worst status of each case among the machines that reached it."""
    found: list[Cell] = []
    for row in order:
        statuses = {result.status for side in view.results if (result := side[row]) is not None}
        worst = next((status for status in _WORST if status in statuses), None)
        found.append(None if worst is None else worst.value.replace("_", " "))
    unusual = any(text != Status.PASSED.value for text in found)
    about = "how the case ended, on the machine where it ended worst"
    return filled("status", "check", about, found, kind=DisplayKind.STATUS, shown=unusual)


def _of_machine(view: CampaignView, order: Sequence[int], at: int) -> list[FilledColumn]:
    """Hidden columns of one machine, which pictures and the page of a case read."""
    ranked, name = view.ranking, view.names[at]
    rows = np.asarray(order, dtype=np.int64)

    def of_result(get: Callable[[Result], Cell]) -> list[Cell]:
        return [None if (result := view.results[at][row]) is None else get(result) for row in order]

    def column(figure: str, heading: str, about: str, values: Sequence[Cell], **how: object) -> FilledColumn:
        return filled(
            NAME.format(figure, at), f"{heading}, {name}", f"{about} on {name}", values, **{"shown": False} | how
        )

    def ratio(values: np.ndarray) -> list[Cell]:
        return [*numbers(values[rows, at])]

    number = {"kind": DisplayKind.NUMBER}
    times: dict[str, object] = {**number, "unit": "x", "significant": 3}
    percent: dict[str, object] = {**number, "unit": "%", "factor": 100.0, "decimals": 1}
    return [
        column("ratio", "over the best", "its time over that of the best machine", ratio(ranked.ratio), **times),
        column("low", "from", "the lower end of that ratio's interval", ratio(ranked.low), **times),
        column("high", "to", "the upper end of that ratio's interval", ratio(ranked.high), **times),
        column("spread", "spread", "spread of the times of processes", ratio(view.spread), **percent),
        column("status", "check", "how the case ended", of_result(lambda r: r.status.value.replace("_", " "))),
        column("reason", "reason", "why it did not pass", of_result(lambda r: r.reason)),
        column("implementation", "implementation", "what ran it", of_result(lambda r: r.facts.implementation)),
        column("host", "host", "the host that measured it", of_result(lambda r: r.host)),
        column(
            "images",
            "images for a dollar",
            "images that a dollar pays for",
            ratio(view.images_per_dollar),
            **{**number, "unit": "million", "factor": 1e-6, "significant": 3},
        ),
    ]
