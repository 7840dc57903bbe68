"""The text of a job's summary and of a comment on a pull request, in markdown, the worst first. Pure.

GitHub accepts comments of 65,536 characters. Lines that do not fit are left out and counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from convbench import units
from convbench.analysis.comparison.judgment import Comparison, How, Judgment, Verdict
from convbench.model.lead import leading_word
from convbench.model.result import UNMEASURED, WRONG, Run, Status
from convbench.report.text.compare import (
    by_size,
    difference_text,
    group_text,
    reshaped_text,
    size,
    sum_text,
    verdict_text,
    why_text,
)
from convbench.report.text.markdown import escaped
from convbench.report.text.runs import minute

#: Characters of a summary at most: below GitHub's limit, with room for a further line.
MOST = 60_000
#: Rows outside the fold.
_OPEN_ROWS = 12
#: Characters at most of one user text in a cell, of one in a line, and of a list above the table. So long labels and
#: reasons leave room for the rest. Escaping makes five characters of one at most.
_CELL, _LINE, _LIST = 300, 1500, 9000
#: Characters kept free for the text after the rows.
_CLOSING = 400


def comparison_summary(comparison: Comparison, *, most: int = MOST) -> str:
    """The verdict, the groups with their causes, what differs, and every case that is not unchanged, worst first.

    At most `most` characters, 60,000 or fewer; 45,000 hold everything above the table of cases.
    """
    verdict, _, why = verdict_text(comparison).partition(": ")
    lines = [
        f"### convbench, {escaped(comparison.new.name, most=_CELL)}: {verdict}",
        "",
        escaped(why, most=_LINE),
        "",
        _sides(comparison),
    ]
    if comparison.network:
        lines += _list("The network", [sum_text(each) for each in comparison.network.sums])
        lines += _list("Matched by path", [reshaped_text(each) for each in by_size(comparison.network.reshaped)])
    lines += _list("Changes that belong together", [group_text(group) for group in comparison.groups])
    differing = [difference_text(each).removeprefix("differs: ") for each in comparison.differences]
    lines += _list("Other differences", differing)
    judgments = worst_first(comparison)
    word = leading_word(judgment.case.device for judgment in judgments)
    header = [f"| verdict | change | interval | {word} | case | why |", "|---|--:|---|---|---|---|"]
    return _with_table(lines, header, map(_row, judgments), len(judgments), most)


def run_summary(run: Run, findings: Sequence[str] = ()) -> str:
    """The number of cases per status, the machine, the findings, and every case that did not pass, the wrong first."""
    env = run.environment
    counts = Counter(result.status for result in run.results)
    ended = [f"{units.count(counts[status])} {_words(status)}" for status in Status if counts[status]]
    ended += [f"{units.count(len(run.unmeasured))} not reached yet"] if run.unmeasured else []
    where = (
        f"On {env.cpu}, torch {env.torch}, convbench {run.version}; run {run.id}, started {minute(run.started_at)} UTC."
    )
    lines = [
        f"### convbench, {escaped(run.name, most=_CELL)}: {', '.join(ended) or 'no cases'}",
        "",
        escaped(where, most=_LINE),
    ]
    lines += _list("Findings", findings)
    bad = [result for result in run.results if result.status not in (Status.PASSED, Status.SKIPPED)]
    bad.sort(key=lambda result: WRONG.index(result.status) if result.status in WRONG else len(WRONG))
    rows = (_cells(_words(result.status), _cell(result.case.label), _cell(result.reason or "")) for result in bad)
    return _with_table(lines, ["| status | case | reason |", "|---|---|---|"], rows, len(bad), MOST)


def worst_first(comparison: Comparison) -> list[Judgment]:
    """Every case that is not unchanged: wrong, imprecise, slower, not measured, inconclusive, not judged, faster."""
    changed = [judgment for judgment in comparison.judgments if judgment.verdict is not Verdict.UNCHANGED]
    return sorted(changed, key=lambda judgment: (_rank(judgment), -size(judgment)))


def _rank(judgment: Judgment) -> int:
    if judgment.new_status in WRONG:
        return WRONG.index(judgment.new_status)
    if judgment.verdict is Verdict.NOT_JUDGED:
        return 3 if judgment.new_status in UNMEASURED else 5
    return {Verdict.REGRESSED: 2, Verdict.INCONCLUSIVE: 4}.get(judgment.verdict, 6)


def _words(status: Status) -> str:
    return status.value.replace("_", " ")


def _sides(comparison: Comparison) -> str:
    """The compared runs, and how they were measured."""
    base, new = comparison.base, comparison.new
    if comparison.how is How.SIDE_BY_SIDE:
        return f"Measured side by side, {escaped(minute(new.started_at), most=_CELL)} UTC."
    sides = " -> ".join(f"{side.id} ({minute(side.started_at)} UTC)" for side in (base, new))
    return escaped(f"From {comparison.how}: {sides}.", most=_LINE)


def _row(judgment: Judgment) -> str:
    change = interval = times = ""
    if not math.isnan(judgment.ratio):
        change = units.change(judgment.ratio)
        interval = f"{units.change(judgment.low)} to {units.change(judgment.high)}"
        times = f"{units.seconds(judgment.base_s)} -> {units.seconds(judgment.new_s)}"
    verdict = judgment.new_status.value if judgment.new_status in WRONG else judgment.verdict.value
    case = f"{_cell(judgment.case.label)} {judgment.case.id}"
    return _cells(verdict, change, interval, times, case, _cell(why_text(judgment)))


def _cell(text: str) -> str:
    return escaped(text, most=_CELL)


def _cells(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _list(title: str, sentences: Sequence[str]) -> list[str]:
    """A list under a title, up to the longest length; [] where there are no sentences."""
    kept = _fitting((f"- {escaped(sentence, most=_LINE)}" for sentence in sentences), _LIST)
    left_out = len(sentences) - len(kept)
    more = [f"- and {units.count(left_out)} more"] if left_out else []
    return ["", f"**{title}**", "", *kept, *more] if sentences else []


def _with_table(lines: Sequence[str], header: Sequence[str], rows: Iterable[str], total: int, most: int) -> str:
    """The lines and as many rows, one a case, as fit: the first rows outside a fold, the others inside it."""
    lines = list(lines)
    opening = "<details><summary>{} more</summary>"
    table = ["", *header]
    taken = sum(len(line) + 1 for line in [*lines, *table, *table, opening]) + _CLOSING
    kept = _fitting(rows, most - taken)
    if kept:
        lines += [*table, *kept[:_OPEN_ROWS]]
    if len(kept) > _OPEN_ROWS:
        more = units.plural(len(kept) - _OPEN_ROWS, "case")
        lines += ["", opening.format(more), *table, *kept[_OPEN_ROWS:], "", "</details>"]
    left_out = total - len(kept)
    if left_out:
        lines += ["", f"{units.plural(left_out, 'case is', 'cases are')} left out here; the log has all."]
    return "\n".join(lines) + "\n"


def _fitting(lines: Iterable[str], room: int) -> list[str]:
    """The first lines that fit, counted with their line ends; further lines are not made."""
    kept = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return kept
