"""The two times of a case in a table of text: the leading one (model/lead.py) and one beside it. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from convbench import units
from convbench.analysis.table.columns import Rows
from convbench.model.case import Case
from convbench.model.lead import Lead, lead_of, leading_word

#: The other figure beside the leading one. Where cases have different leads, the word for each stands there.
_BESIDE = {Lead.FLOOR.value: "typical", Lead.MEDIAN.value: "floor"}


def heads(cases: Iterable[Case]) -> tuple[str, str]:
    """The headings of both columns."""
    word = leading_word(case.device for case in cases)
    return word, _BESIDE.get(word, "leads")


def cells(rows: Rows, place: int) -> tuple[str, str]:
    """The cells of a case in both columns."""
    figures, (word, _) = rows.estimates, heads(rows.cases)
    leading = units.seconds(float(figures.time_s[place]))
    if word not in _BESIDE:
        return leading, str(lead_of(rows.cases[place].device))
    other = figures.typical_s if word == Lead.FLOOR else figures.floor_s
    return leading, units.seconds(float(other[place]))
