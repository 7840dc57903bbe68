"""A campaign as terminal, page and export show it: its machines side by side, computed once. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from convbench.analysis.campaign.costs import images_per_dollar, prices_of
from convbench.analysis.campaign.members import Member, members
from convbench.analysis.campaign.network import NetworkTime, network_times
from convbench.analysis.campaign.ranking import Ranking, ranking
from convbench.analysis.campaign.shards import Split
from convbench.analysis.campaign.turns import Across, across
from convbench.analysis.comparison.comparability import COMPARED_SOFTWARE
from convbench.analysis.findings.findings import Examined, examined
from convbench.analysis.table.roofs import Roofs, highest
from convbench.measure.estimate import Floats
from convbench.model.case import Case
from convbench.model.result import Result, Run

_NO_PRICES: Mapping[str, float] = {}


@dataclass(frozen=True, kw_only=True, eq=False)
class CampaignView:
    """The machines of a campaign and their cases. Arrays are (cases, machines), in the order of `cases` and `members`.

    `name` is the sweep's. `id` is that of a stored campaign, None of the newest runs of a sweep. `cases` are those of
    all machines, in the sweep's order. `prices` are those of an hour of each machine, NaN where unknown. `splits` are
    the machines whose hosts shared the cases out, and `notes` what the reader should know of the campaign.
    """

    id: str | None
    name: str
    members: tuple[Member, ...]
    seen: tuple[Examined, ...]
    cases: tuple[Case, ...]
    results: tuple[tuple[Result | None, ...], ...]  # of each machine
    time_s: Floats
    spread: Floats
    prices: tuple[float, ...]
    splits: tuple[Split, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def runs(self) -> tuple[Run, ...]:
        """The run of each machine."""
        return tuple(member.run for member in self.members)

    @property
    def names(self) -> tuple[str, ...]:
        """The short name of each machine."""
        return tuple(member.name for member in self.members)

    @cached_property
    def ranking(self) -> Ranking:
        """The machines by their times."""
        return ranking(self.results, self.time_s, [1.0] * len(self.members), self._precision)

    @cached_property
    def by_cost(self) -> Ranking | None:
        """The machines by what a case costs; None unless all have a price."""
        if not all(price > 0 for price in self.prices):
            return None
        return ranking(self.results, self.time_s, self.prices, self._precision)

    @property
    def _precision(self) -> float:
        return max((run.measure.precision for run in self.runs), default=0.0)

    @cached_property
    def images_per_dollar(self) -> Floats:
        """Images that a dollar pays for, NaN where the machine has no price or no right result."""
        images = [case.problem.images for case in self.cases]
        right = self.ranking.ranked
        found = np.full(self.time_s.shape, np.nan)
        for machine, price in enumerate(self.prices):
            for at in np.flatnonzero(right[:, machine]).tolist():
                found[at, machine] = images_per_dollar(images[at], float(self.time_s[at, machine]), price)
        return found

    @cached_property
    def across(self) -> tuple[Across, ...]:
        """Every comparison of two values of a setting, machine by machine."""
        return across(self.seen)

    @cached_property
    def networks(self) -> tuple[NetworkTime, ...]:
        """The sums of counted networks."""
        return network_times(self.seen)

    @cached_property
    def roofs(self) -> tuple[Roofs, ...]:
        """The highest roofs of each machine."""
        return tuple(highest(run.processes) for run in self.runs)

    @property
    def software(self) -> list[tuple[str, tuple[str, ...]]]:
        """(what, its value on each machine) of what differs between the machines' software, and would decide a
        comparison of two runs.
        """
        found = []
        for name, what in COMPARED_SOFTWARE.items():
            values = tuple(str(getattr(run.environment, name) or "unknown") for run in self.runs)
            if len(set(values)) > 1:
                found.append((what, values))
        versions = tuple(run.version for run in self.runs)
        return [*found, *([("convbench", versions)] if len(set(versions)) > 1 else [])]


def view(
    runs: Sequence[tuple[Run, Sequence[str]]],
    *,
    name: str,
    id: str | None = None,
    prices: Mapping[str, float] = _NO_PRICES,
    splits: Sequence[Split] = (),
    notes: Sequence[str] = (),
) -> CampaignView:
    """The view of some runs, each with the hosts that measured it. RequestError for a price of an unknown host."""
    found = members(runs)
    paid = prices_of(found, prices)
    seen = tuple(examined(member.run) for member in found)
    places = [{case: at for at, case in enumerate(one.rows.cases)} for one in seen]
    cases = tuple(dict.fromkeys(case for one in seen for case in one.rows.cases))
    time_s, spread = (np.full((len(cases), len(found)), math.nan) for _ in range(2))
    results: list[tuple[Result | None, ...]] = []
    for machine, (one, place) in enumerate(zip(seen, places, strict=True)):
        at = [place.get(case) for case in cases]
        results.append(tuple(None if row is None else one.rows.results[row] for row in at))
        there = [row is not None for row in at]
        rows = [row for row in at if row is not None]
        time_s[there, machine] = one.rows.estimates.time_s[rows]
        spread[there, machine] = one.rows.estimates.spread[rows]
    return CampaignView(
        id=id,
        name=name,
        members=found,
        seen=seen,
        cases=cases,
        results=tuple(results),
        time_s=time_s,
        spread=spread,
        prices=paid,
        splits=tuple(splits),
        notes=tuple(notes),
    )
