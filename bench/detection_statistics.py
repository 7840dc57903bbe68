"""The statistics of bench/detection.py: its trials, the cases that wait in them, shares and their bounds. Pure.

A row is a trial, which bench/detection.py writes. Bounds are of the exact binomial (Clopper and Pearson, 1934),
one-sided.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from table import show_table

#: How many trials each part has; of `same` the first run has nothing before it.
TRIALS = {"same": 21, "planted": 6, "ab": 4, "identical": 4}
#: By how much a third of the cases is slower.
SLOWER = {"planted": 0.10, "ab": 0.05}
#: The targets: shares that `compare` and `ab` must find in the caches and beyond L2, and of intervals that hold 1.0.
FOUND, FOUND_BEYOND = 0.95, 0.90
HELD = 0.95
#: The threshold, which 10 % exceeds; by default layers beyond L2 have 12 %.
THRESHOLD = 0.05
CONFIDENCE = 0.95

Row = dict[str, Any]


def drawn(part: str, trial: int, cases: int) -> set[int]:
    """The third of the cases that waits in a trial."""
    return set(random.Random(f"{part} {trial}").sample(range(cases), round(cases / 3)))


def order(trials: Mapping[str, int]) -> list[tuple[str, int]]:
    """All trials, each part's spread over the whole."""
    every = [(part, trial) for part, count in trials.items() for trial in range(count)]
    return sorted(every, key=lambda each: ((each[1] + 0.5) / trials[each[0]], list(TRIALS).index(each[0])))


def at_most(count: int, of: int) -> float:
    """The exact upper bound of a share, one-sided; 1 where nothing was tried."""
    from scipy.stats import binomtest

    return float(binomtest(count, of, alternative="less").proportion_ci(CONFIDENCE).high) if of else 1.0


def at_least(count: int, of: int) -> float:
    """The exact lower bound of a share, one-sided; 0 where nothing was tried."""
    from scipy.stats import binomtest

    return float(binomtest(count, of, alternative="greater").proportion_ci(CONFIDENCE).low) if of else 0.0


def flagged(case: Row) -> bool:
    return case["verdict"] in {"regressed", "improved"}


def slower(case: Row) -> bool:
    return case["verdict"] == "regressed"


def inconclusive(case: Row) -> bool:
    return case["verdict"] == "inconclusive"


def moved(case: Row) -> bool:
    """Whether the case by itself is slower than threshold and noise allow, whatever all moved by."""
    return case["ratio"] > max(1 + THRESHOLD, case["noise"])


def moved_either_way(case: Row) -> bool:
    return moved(case) or moved({**case, "ratio": 1 / case["ratio"]})


def holds_1(case: Row) -> bool:
    return case["low"] <= 1.0 <= case["high"]


def parted(cases: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Those in the caches and those beyond L2."""
    return [case for case in cases if not case["beyond"]], [case for case in cases if case["beyond"]]


def cases_of(rows: Sequence[Row], which: str, *, planted: bool | None = None) -> list[Row]:
    """The cases of a comparison in all rows; those planted or not."""
    return [case for row in rows for case in row[which]["cases"] if planted in (None, case["planted"])]


#: What, how many of how many, the bound of the share, and whether the target is reached; "" without a target.
Line = tuple[str, str, str, str]


def line(
    what: str, some: Sequence[Row], test: Callable[[Row], bool], wanted: float | None = None, *, few: bool = False
) -> Line:
    """How many fulfil a test. `wanted` is the least share of them, or the largest where there should be `few`."""
    count, of = sum(bool(test(each)) for each in some), len(some)
    bound = f"at most {at_most(count, of):.2%}" if few else f"at least {at_least(count, of):.1%}"
    share = count / of if of else float("nan")
    reached = ""
    if wanted is not None and of:
        reached = "reached" if (share <= wanted if few else share >= wanted) else "MISSED"
    return what, f"{count} of {of}" + (f" ({share:.1%})" if of else ""), bound, reached


def lines_of_same(rows: Sequence[Row]) -> list[Line]:
    pairs = [row for row in rows if "base" in row]
    judged = [row for row in pairs if row["refused"] is None]
    cases = cases_of(judged, "after")
    return [
        line("pairs not confirmed: the machine is in another state", pairs, lambda row: row["refused"], few=True),
        line("cases flagged before the confirmation", cases_of(pairs, "before"), flagged, few=True),
        line("... by a threshold of 5 % beyond L2 too", cases_of(pairs, "at_5"), flagged, few=True),
        line("cases flagged", cases, flagged, 0.0, few=True),
        line("pairs with a flagged case", judged, lambda row: any(map(flagged, row["after"]["cases"])), 0.0, few=True),
        line("pairs in which a control moved", judged, lambda row: row["after"]["discredited"], few=True),
        line("cases measured again", cases, lambda case: case["confirmed"], few=True),
        line("cases inconclusive", cases, inconclusive, few=True),
    ]


def lines_of_planted(rows: Sequence[Row]) -> list[Line]:
    planted, others = (cases_of(rows, "at_5", planted=which) for which in (True, False))
    return [
        line("10 % slower, found by a threshold of 5 %", planted, slower, FOUND),
        line("... inconclusive", planted, inconclusive, few=True),
        line("... called unchanged", planted, lambda case: case["verdict"] == "unchanged", few=True),
        line("not planted, flagged: not confirmed here", others, flagged, few=True),
        line("... by the plain ratios, whatever all moved by", others, moved_either_way, few=True),
        line("runs called another machine", rows, lambda row: row["at_5"]["is_machine"], few=True),
        line("runs in another state of the machine", rows, lambda row: not row["at_5"]["comparable"], few=True),
    ]


def lines_of_ab(rows: Sequence[Row]) -> list[Line]:
    planted, others = cases_of(rows, "found", planted=True), cases_of(rows, "found", planted=False)
    near, far = parted(planted)
    return [
        line("5 % slower in the caches, found", near, slower, FOUND),
        line("5 % slower beyond L2, found", far, slower, FOUND_BEYOND),
        line("5 % slower, lost by the screen", planted, lambda case: not case["confirmed"], few=True),
        line("5 % slower, inconclusive", planted, inconclusive, few=True),
        line("not planted, flagged", others, flagged, few=True),
        line("trials in which a control moved", rows, lambda row: row["found"]["discredited"], few=True),
    ]


def lines_of_identical(rows: Sequence[Row]) -> list[Line]:
    cases = cases_of(rows, "found")
    near, far = parted(cases)
    screens = [
        {"low": low, "high": high}
        for row in rows
        for screen in row["screens"]
        for low, high in zip(screen["low"], screen["high"], strict=True)
    ]
    return [
        line("intervals that hold 1.0", cases, holds_1, HELD),
        line("... in the caches", near, holds_1),
        line("... beyond L2", far, holds_1),
        line("intervals of 4 pairs, as of a screen", screens, holds_1),
        line("cases flagged", cases, flagged, few=True),
    ]


PARTS: dict[str, Callable[[Sequence[Row]], list[Line]]] = {
    "same": lines_of_same,
    "planted": lines_of_planted,
    "ab": lines_of_ab,
    "identical": lines_of_identical,
}


def show(rows: Sequence[Row], *, markdown: bool) -> None:
    """Print what each part found."""
    heads = ("part", "what", "found", f"bound at {CONFIDENCE:.0%}", "asked for")
    cells = []
    for part, lines in PARTS.items():
        own = [row for row in rows if row["part"] == part]
        cells += [(part if first == 0 else "", *each) for first, each in enumerate(lines(own))] if own else []
    show_table(heads, cells, markdown=markdown)
    for part in PARTS:
        own = [row for row in rows if row["part"] == part]
        loads = sorted(row["load_after"][0] for row in own)
        if own:
            typical = sum(row["wall_s"] for row in own) / len(own)
            told = f"load {loads[0]:.1f} to {loads[-1]:.1f}"
            print(f"{part}: {len(own)} trials of {typical:.0f} s, {told} at their ends")
