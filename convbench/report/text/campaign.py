"""What `convbench campaign` prints: the machines, their times case by case, and the findings. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from string import ascii_uppercase

import numpy as np

from convbench import units
from convbench.analysis.campaign.findings import CampaignFinding
from convbench.analysis.campaign.view import CampaignView
from convbench.analysis.table.roofs import Roofs
from convbench.measure.references import disturbance
from convbench.model.lead import leading_word
from convbench.model.result import Status
from convbench.report.text.results import distinct
from convbench.report.text.tables import folded, table

#: So many cases are listed, those that take the most time first.
MOST_CASES = 20


def campaign_text(view: CampaignView, found: Sequence[CampaignFinding], columns: int | None = None) -> str:
    """The machines with a letter each, a line a case with each machine's time and the best one, and the findings.

    No line is longer than `columns`.
    """
    parts = [
        folded(head_text(view), columns),
        table(_machines(view), columns),
        _cases(view, columns),
        "\n".join(folded(one.sentence, columns) for one in found),
    ]
    return "\n\n".join(part for part in parts if part)


def head_text(view: CampaignView) -> str:
    """`resnet50: 46 cases on 3 machines`."""
    return (
        f"{units.flat(view.name)}: {units.plural(len(view.cases), 'case')} on "
        f"{units.plural(len(view.members), 'machine')}"
    )


def letters(count: int) -> list[str]:
    """A, B ... Z, AA, AB ...: a short name for each of so many machines."""
    return [_letter(at) for at in range(count)]


def _letter(at: int) -> str:
    above, last = divmod(at, len(ascii_uppercase))
    return (_letter(above - 1) if above else "") + ascii_uppercase[last]


def _machines(view: CampaignView) -> list[tuple[str, ...]]:
    """A row a machine: its letter, its key, run, noise as `convbench machines` has it, best roofs and hosts."""
    priced = any(math.isfinite(price) for price in view.prices)
    heads = ("", "machine", "cores", "key", "run", "noise", "roofs", *(("an hour",) if priced else ()), "host")
    rows: list[tuple[str, ...]] = [heads]
    for letter, member, roofs, price in zip(
        letters(len(view.members)), view.members, view.roofs, view.prices, strict=True
    ):
        cost = (f"${price:,.2f}" if math.isfinite(price) else "",) if priced else ()
        noise = disturbance(member.run.processes)
        rows.append(
            (
                letter,
                member.name,
                units.count(member.key.cores),
                member.key.id,
                member.run.id,
                units.apart(noise) if math.isfinite(noise) else "-",
                roofs_text(roofs),
                *cost,
                ", ".join(member.hosts),
            )
        )
    return rows


def roofs_text(roofs: Roofs) -> str:
    """`float32 90 GFLOP/s, bfloat16 160 GFLOP/s, copy 12 GB/s`: the highest of each dtype; "-" without any."""
    best: dict[str, float] = {}
    for roof, rate in roofs.compute.items():
        best[roof.dtype] = max(rate, best.get(roof.dtype, 0.0))
    parts = [f"{dtype} {units.si(rate, 'FLOP/s')}" for dtype, rate in best.items()]
    copies = [copy for key in roofs.copies if (copy := roofs.memory(*key)) is not None]
    parts += [f"copy {units.si(max(copies), 'B/s')}"] if copies else []
    return ", ".join(parts) or "-"


def _cases(view: CampaignView, columns: int | None) -> str:
    """The cases that take the most time: each machine's time, and the best machine with how far it is ahead."""
    if not view.cases:
        return ""
    order = by_weight(view)
    labels, shared = distinct([case.label for case in view.cases])
    names = letters(len(view.members))
    several = len(view.members) > 1
    rows: list[tuple[str, ...]] = [(*names, *(("best",) if several else ()), "case")]
    for row in order[:MOST_CASES]:
        times = [_time(view, row, machine) for machine in range(len(names))]
        rows.append((*times, *((best_text(view, row, names),) if several else ()), labels[row]))
    word = leading_word(case.device for case in view.cases)
    every = f"; every case: {shared}" if shared else ""
    above = [folded(f"{word}s of one iteration{every}", columns)]
    left = len(order) - MOST_CASES
    below = [f"and {units.plural(left, 'case')} more (the page has all)"] if left > 0 else []
    return "\n".join([*above, table(rows, columns, right=range(len(names))), *below])


def by_weight(view: CampaignView) -> list[int]:
    """The rows of the cases, those first whose best time, as often as the case occurs, is the longest."""
    right = np.where(view.ranking.ranked, view.time_s, np.inf)
    best = right.min(axis=1, initial=np.inf)
    count = np.array([case.count for case in view.cases], dtype=np.float64)
    weight = np.where(np.isfinite(best), best * count, -1.0)
    return [int(row) for row in np.argsort(-weight, kind="stable")]


def _time(view: CampaignView, row: int, machine: int) -> str:
    """A machine's time of a case, or what became of it."""
    result = view.results[machine][row]
    if result is None:
        return "-"
    if result.status is not Status.PASSED:
        return result.status.value.replace("_", " ")
    return units.seconds(float(view.time_s[row, machine]))


def best_text(view: CampaignView, row: int, names: Sequence[str]) -> str:
    """`B 1.25x`: the best machine and how far it is ahead; `A or B` where noise hides which it is; "" where none is."""
    ranked = view.ranking
    alike = np.flatnonzero(ranked.alike[row]).tolist()
    if not alike:
        return ""
    if len(alike) > 1:
        return " or ".join(names[machine] for machine in alike)
    ahead = ranked.lead[row]
    return f"{names[alike[0]]} {units.ratio(ahead)}" if math.isfinite(ahead) else f"{names[alike[0]]} alone"
