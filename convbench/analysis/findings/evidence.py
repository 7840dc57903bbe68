"""What findings rest on: the table of cases in an order of its own, matched pairs, and where some of them are found.

The order is by work, then by label, so that no sentence depends on the order in which cases were measured, and the case
that stands for many is the smallest: the easiest to look into.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from convbench.analysis.findings.finding import listed, setting_text, value_text
from convbench.analysis.findings.pairs import Comparer, Mask, Matched, Pairs, RoundMinima, matched
from convbench.analysis.table.columns import Rows
from convbench.model.result import Run, Status
from convbench.model.settings import SETTINGS, TABLE

#: The columns of the frame that findings read, beside the settings.
_READ = (
    "case_id",
    "label",
    "name",
    "status",
    "reason",
    "floor_s",
    "spread",
    "support",
    "flops",
    "tflops",
    "max_error",
    "implementation",
    "efficiency",
    "allocator_penalty",
    "system_page_faults",
    "noise",
    "note",
    "count",
)

#: Values of a setting that are named where they explain something; more are no explanation.
MOST_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A run as findings read it. `table` has a row per case, `pairs` the ranked ones among them, in the same order."""

    run: Run
    rows: Rows
    table: pd.DataFrame
    pairs: Matched
    comparer: Comparer
    ids: np.ndarray  # of the ranked cases

    def of_status(self, *statuses: Status) -> pd.DataFrame:
        """The cases that ended so, in one of these ways."""
        return self.table[self.table["status"].isin([status.value for status in statuses]).to_numpy(dtype=bool)]

    def base(self, axis: str) -> object:
        """What the other values of a setting are compared with: the usual one, the smallest where that is none."""
        values, usual = self.pairs.values[axis], TABLE[axis].usual
        return usual if usual is not None and usual in values else min(values, key=_by_size)

    def against(self, axis: str, base: object, *, per_flop: bool = False) -> list[tuple[object, Pairs]]:
        """The pairs of every other value of a setting with `base`, the smallest value first."""
        return sorted(self.comparer.against(axis, base, per_flop=per_flop), key=lambda other: _by_size(other[0]))

    def cases(self, pairs: Pairs, some: Mask) -> tuple[str, ...]:
        """The ids of both sides of some pairs."""
        positions = np.stack([pairs.base[some], pairs.other[some]], axis=1).ravel()
        return tuple(self.ids[np.unique(positions)].tolist())

    def label(self, position: int) -> str:
        """The label of a ranked case."""
        return str(self.pairs.table["label"].iloc[position])

    def ran(self, positions: np.ndarray) -> np.ndarray:
        """The implementations of some ranked cases; "" where none is known."""
        ran: np.ndarray = self.pairs.table["implementation"].iloc[positions].fillna("").to_numpy(dtype=object)
        return ran

    def place(self, axis: str, pairs: Pairs, some: Mask) -> str:
        """Where some of the pairs are found: `at in_channels=3`, `unbatched`; "" where no one setting tells.

        A setting that all of them share and no other pair has, of several the one with the fewest values; else one that
        all of them share though others have it too: `all at in_channels=3`.
        """
        if some.all() or not some.any():
            return ""
        disjoint: list[tuple[int, str]] = []
        shared: list[str] = []
        for name in self.pairs.swept():
            if name == axis:
                continue
            values, codes = self.pairs.values[name], self.pairs.codes[name].to_numpy()[pairs.base]
            inside = np.unique(codes[some])
            if len(inside) > MOST_NAMED:
                continue
            told = sorted((values[code] for code in inside), key=_by_size)
            words = listed([setting_text(name, told[0]), *map(value_text, told[1:])], "or")
            words = words if TABLE[name].absent and told[0] is None else f"at {words}"
            if not np.isin(codes[~some], inside).any():
                disjoint.append((len(inside), words))
            elif len(inside) == 1 and int(some.sum()) > 1 and (codes != inside[0]).any():
                shared.append(words)
        if disjoint:
            return min(disjoint, key=lambda found: found[0])[1]
        return f"all {shared[0]}" if shared else ""


def evidence(run: Run, table: pd.DataFrame, rows: Rows) -> Evidence:
    """What is known of a run, from its frame and its rows."""
    # The work of a layer that nobody could run may be over 64 bits, and stands in no column then.
    work = table["flops"].to_numpy(dtype=float, na_value=math.inf)
    order = np.lexsort((table["case_id"].to_numpy(dtype=str), table["label"].to_numpy(dtype=str), work))
    ordered = table[list(dict.fromkeys((*_READ, *SETTINGS)))].iloc[order].reset_index(drop=True)
    sound = np.flatnonzero(~_waiting(run, ordered))
    pairs = matched(ordered.iloc[sound])
    comparer = Comparer(pairs=pairs, rounds=RoundMinima(rows.blocks), rows=order[sound[pairs.positions]])
    return Evidence(
        run=run,
        rows=rows,
        table=ordered,
        pairs=pairs,
        comparer=comparer,
        ids=pairs.table["case_id"].to_numpy(dtype=object),
    )


def _waiting(run: Run, table: pd.DataFrame) -> Mask:
    """Cases whose threads waited for cores in every pass: floors of whole processes then grow a hundredfold.

    measurement.md, fact 6. Passes that disagree need no such rule: they show in the spread.
    """
    ratios = [facts.twin_ratio for facts in run.passes if facts.twin_ratio is not None]
    if not ratios or min(ratios) <= 1:
        return np.zeros(len(table), dtype=bool)
    waiting: Mask = (table["threads"] >= max(run.environment.cores, 2)).fillna(False).to_numpy(dtype=bool)
    return waiting


def number(value: object) -> float:
    """The number that a value is, NaN where it is none: 3 -> 3, "3x3" -> 3, "1x7" -> NaN."""
    if isinstance(value, str):
        sides = value.split("x")
        return float(sides[0]) if len(set(sides)) == 1 and sides[0].isdecimal() else math.nan
    if value is None or isinstance(value, bool | np.bool_):
        return math.nan
    return float(value)  # type: ignore[arg-type]  # an integer of pandas or numpy


def _by_size(value: object) -> tuple[int, float, str]:
    """Absent first, numbers and pairs by size, then words."""
    if value is None:
        return 0, 0.0, ""
    sides = str(value).split("x")
    if all(side.isdecimal() for side in sides):
        return 1, float(math.prod(int(side) for side in sides)), str(value)
    return 2, 0.0, str(value)


def in_order(values: Sequence[object]) -> list[object]:
    """Values of a setting, the smallest first."""
    return sorted(values, key=_by_size)
