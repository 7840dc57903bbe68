"""Matched pairs: cases of one run that differ in one setting alone, and by how much they differ.

What is compared may be any column of the frame; which pairs are worth telling is for findings.py to say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from convbench.case import SETTINGS
from convbench.measure.estimate import BlockTable, common_floors

#: The spread taken for a case that only one pass has measured: floors of one process repeat to 0.4-6 %, 95 of 100 pairs
#: of runs (measurement.md, fact 4), and a little more is wanted than what just covers that.
ONE_PASS_SPREAD = 0.10

#: Statuses whose times may be compared: a wrong layer is never ranked.
RANKED = "passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """Cases that can be compared, and numbers for the values of their settings.

    `table` has a row per ranked case, in the frame's order; `codes` has the same rows and a column per setting: the
    position of its value in `values`, where an absent one is None. Row i of the table is row `positions[i]` of the
    frame.
    """

    table: pd.DataFrame
    codes: pd.DataFrame
    values: dict[str, list[object]]
    positions: NDArray[np.int64]

    def swept(self) -> tuple[str, ...]:
        """The settings with more than one value."""
        return tuple(axis for axis, values in self.values.items() if len(values) > 1)

    def against(
        self, axis: str, base: object, blocks: BlockTable, *, per_flop: bool = False
    ) -> list[tuple[object, pd.DataFrame]]:
        """For each other value of `axis` the pairs that differ in it alone, with the value `base` on one side.

        A row per pair: `base` and `other` are positions in `table`, `ratio` is the time (per FLOP) of other over base,
        by their floors over the rounds that both have (`blocks` are those of the frame's cases); `sure` says whether
        they differ by more than the larger spread of both. Values without a pair are left out.
        """
        rest = [name for name in self.codes if name != axis]
        sides = pd.DataFrame(
            {
                "group": self.codes.groupby(rest, sort=False).ngroup().to_numpy(),
                "position": np.arange(len(self.codes)),
                "value": self.codes[axis].to_numpy(),
            }
        )
        # One thread that was asked for and one by default are the same point.
        sides = sides.drop_duplicates(["group", "value"])
        is_base = sides["value"] == self.values[axis].index(base)
        both = sides[is_base].merge(sides[~is_base], on="group", suffixes=("_base", "_other"))
        a, b = both["position_base"].to_numpy(), both["position_other"].to_numpy()
        spread = self.table["spread"].fillna(ONE_PASS_SPREAD).to_numpy(dtype=float)
        floor_a, floor_b = common_floors(blocks, self.positions[a], self.positions[b])
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            ratio = floor_b / floor_a
            if per_flop:
                flops = self.table["flops"].to_numpy(dtype=float)
                ratio *= flops[a] / flops[b]
            sure = np.abs(np.log(ratio)) > np.log1p(np.maximum(spread[a], spread[b]))
        pairs = pd.DataFrame({"base": a, "other": b, "ratio": ratio, "sure": sure})
        told = np.isfinite(ratio)
        pairs, values = pairs[told], both["value_other"].to_numpy()[told]
        order = pairs.groupby(values).indices
        return [(value, pairs.iloc[order[i]]) for i, value in enumerate(self.values[axis]) if i in order]


def matched(frame: pd.DataFrame) -> Matched:
    """The ranked cases of a frame, ready to be paired."""
    ranked = (frame["status"] == RANKED).fillna(False).to_numpy(dtype=bool) & (frame["floor_s"] > 0).to_numpy()
    table = frame[ranked].reset_index(drop=True)
    factors = {axis: pd.factorize(table[axis], use_na_sentinel=False) for axis in SETTINGS}
    return Matched(
        table=table,
        codes=pd.DataFrame({axis: codes for axis, (codes, _) in factors.items()}),
        values={axis: [None if pd.isna(value) else value for value in values] for axis, (_, values) in factors.items()},
        positions=np.flatnonzero(ranked),
    )
