"""The section of a comparison's page on two networks: the sums first, then layers that are not equal. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from convbench import units
from convbench.analysis.comparison.sums import Alone, NetworkChange, Recounted, Reshaped, Sum
from convbench.report.pages.plain import Row, Table
from convbench.report.pages.rendering import left_out
from convbench.report.text.compare import by_size, differing_settings, moved_text, times_text

#: Rows of one table; the table of all cases has the others.
MOST_ROWS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkChangeView:
    """The section as the page shows it."""

    sums: Table
    notes: tuple[str, ...]
    tables: tuple[Table, ...]


def network_change_view(found: NetworkChange | None) -> NetworkChangeView | None:
    """The section on what changed between two networks; None where the runs are none, or nothing can be added up."""
    if found is None or not found.sums:
        return None
    tables = (
        _reshaped(by_size(found.reshaped)),
        _recounted(found.recounted),
        _alone("Only in base", found.only_base),
        _alone("Only in new", found.only_new),
    )
    lacks = dict.fromkeys(
        f"The sums of {side} are {words}."
        for each in found.sums
        for side, words in (("base", each.base_lacks), ("new", each.new_lacks))
        if words
    )
    return NetworkChangeView(
        sums=_sums(found.sums), notes=tuple(lacks), tables=tuple(table for table in tables if table.rows)
    )


def _sums(sums: Sequence[Sum]) -> Table:
    rows = tuple(
        Row(
            name=f"one {each.part}{f' with {each.name}' if each.name else ''}",
            cells=(units.seconds(each.base_s), units.seconds(each.new_s), moved_text(each)),
        )
        for each in sums
    )
    return Table(title="Sums over all layers", heads=("all convolutions", "base", "new", "change"), rows=rows)


def _reshaped(found: Sequence[Reshaped]) -> Table:
    rows = tuple(
        Row(
            name=each.new.label,
            case_id=each.new.id,
            cells=(
                _often(each),
                units.seconds(each.base_s),
                units.seconds(each.new_s),
                units.ratio(each.ratio) if math.isfinite(each.ratio) else "-",
            ),
            text=", ".join(differing_settings(each)),
        )
        for each in found[:MOST_ROWS]
    )
    return Table(
        title=_title("Matched by path, with another shape or other settings", found),
        heads=("layer in new", "times", "base", "new", "new over base"),
        rows=rows,
        text="what differs",
    )


def _recounted(found: Sequence[Recounted]) -> Table:
    rows = tuple(
        Row(name=each.case.label, case_id=each.case.id, cells=(times_text(each.before, each.after),))
        for each in found[:MOST_ROWS]
    )
    return Table(title=_title("Equal, in other numbers", found), heads=("layer", "occurs"), rows=rows)


def _alone(title: str, found: Sequence[Alone]) -> Table:
    rows = tuple(
        Row(
            name=each.case.label,
            case_id=each.case.id,
            cells=(units.count(each.case.count), units.seconds(each.seconds)),
        )
        for each in found[:MOST_ROWS]
    )
    return Table(title=_title(title, found), heads=("layer", "times", "in all"), rows=rows)


def _title(title: str, found: Sequence[object]) -> str:
    more = left_out(len(found), MOST_ROWS, "layer")
    return f"{title} ({more})" if more else title


def _often(each: Reshaped) -> str:
    before, after = each.base.count, each.new.count
    return units.count(after) if before == after else f"{units.count(before)} -> {units.count(after)}"
