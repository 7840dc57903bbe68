"""What `convbench run` prints at its end: the cases with their times, the fastest first. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from convbench import units
from convbench.analysis.table.columns import NOT_REACHED, Rows
from convbench.model.result import Status
from convbench.report.text import times
from convbench.report.text.tables import folded, table
from convbench.units import flat

#: So many cases are all listed. Of more, so many of the fastest, of the slowest and of those that findings name.
MOST_CASES = 20
MOST_OF_A_KIND = 5


def results_text(rows: Rows, named: Sequence[str] = (), *, columns: int | None = None) -> str:
    """The cases with their leading and their other time, spread and rate; what all labels share stands above them.

    `named` are the ids of cases that findings name, the most important first. No line is longer than `columns`.
    """
    if not rows.cases:
        return ""
    chosen, left = _chosen(rows, named)
    labels, shared = distinct([case.label for case in rows.cases])
    heads = (*times.heads(rows.cases), "spread", "rate", "case")
    lines = [heads, *((*_figures(rows, place), labels[place]) for place in chosen)]
    more = [f"{left} (the report has all)"] if left else []
    every = [folded(f"every case: {shared}", columns)] if shared else []
    return "\n".join([*every, table(lines, columns, right=range(4)), *more])


def _chosen(rows: Rows, named: Sequence[str]) -> tuple[list[int], str]:
    """The places of the listed cases, the fastest first and those without a time last; and what is left out."""
    seconds = rows.estimates.time_s
    order = np.argsort(np.where(np.isfinite(seconds), seconds, np.inf), kind="stable").tolist()
    if len(order) <= MOST_CASES:
        return order, ""
    timed = [place for place in order if np.isfinite(seconds[place])]
    place_of = {case.id: place for place, case in enumerate(rows.cases)}
    found = [place_of[one] for one in dict.fromkeys(named) if one in place_of][:MOST_OF_A_KIND]
    kept = {*timed[:MOST_OF_A_KIND], *timed[-MOST_OF_A_KIND:], *found}
    left = len(order) - len(kept)
    return [place for place in order if place in kept], f"and {units.plural(left, 'case')} more"


def _figures(rows: Rows, place: int) -> tuple[str, str, str, str]:
    """The cells of a case; the status in place of times that it does not have."""
    figures, result = rows.estimates, rows.results[place]
    if not np.isfinite(figures.time_s[place]):
        status = NOT_REACHED if result is None else result.status.value.replace("_", " ")
        return (status, "", "", "")
    wrong = result is not None and result.status is not Status.PASSED
    return (
        *times.cells(rows, place),
        units.apart(float(figures.spread[place])),
        result.status.value if wrong and result else units.si(float(rows.rates(rows.flops)[place]), "FLOP/s"),
    )


def distinct(labels: Sequence[str]) -> tuple[list[str], str]:
    """The labels without the words that all of them have, and these words; a single label stays as it is."""
    words = [flat(label).split() for label in labels]
    common = _common(words) if len(words) > 1 else set()
    shared = " ".join(word for word in words[0] if word in common)
    return [" ".join(_without(some, common)) for some in words], shared


def _common(words: Sequence[Sequence[str]]) -> set[str]:
    """The words that stand once in every label. One that stands twice in some may mean two settings, as `7x7` does."""
    counts = [Counter(some) for some in words]
    return {word for word in counts[0] if word != "->" and all(count[word] == 1 for count in counts)}


def _without(words: Sequence[str], common: Collection[str]) -> list[str]:
    """The words that are not `common`; an arrow stays between two that are left."""
    left = [word for word in words if word not in common]
    return left if "->" not in left or 0 < left.index("->") < len(left) - 1 else [w for w in left if w != "->"]
