"""What the API returns of layers, changes and noise over time. Times are seconds; moments are ISO 8601 in UTC."""

from __future__ import annotations

from datetime import date
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from convbench.web.over_time import Changes, Group


class _Read(BaseModel):
    """An answer that is read from the fields of what it is of."""

    model_config = ConfigDict(from_attributes=True)


class LayerAnswer(BaseModel):
    """A layer: the number of runs with it, and the one that was stored last."""

    case_id: str
    label: str
    runs: int
    last_run_id: str
    last_at: str


class LayerList(BaseModel):
    """Layers; `after` is where the next page begins, null on the last one."""

    layers: list[LayerAnswer]
    after: str | None


class LayerPointAnswer(_Read):
    """One run of a layer. `time_s` is null where it did not pass; steps are searched in `judged` points alone."""

    run_id: str
    sweep: str
    started_at: str
    host: str
    torch: str
    commit: str | None
    branch: str | None
    status: str
    reason: str | None
    time_s: float | None
    judged: bool


class LayerStepAnswer(_Read):
    """A lasting change of a layer between two runs; times are medians over the runs on either side.

    `differences` say what else changed there.
    """

    base_run_id: str
    new_run_id: str
    at: str
    ratio: float
    base_s: float
    new_s: float
    base_runs: int
    new_runs: int
    differences: list[str]


class LayerSeriesAnswer(_Read):
    """A layer on one machine, the oldest run first. `threshold` is the smallest step, a ratio minus 1.

    Judged times are over `processes` processes, and `blocks` blocks in all.
    """

    machine: str
    machine_id: str
    threshold: float
    processes: int
    blocks: int
    points: list[LayerPointAnswer]
    steps: list[LayerStepAnswer]


class LayerHistoryAnswer(_Read):
    """A layer over all runs that measured it, by machine. `figure` is what its time is: floor or median."""

    case_id: str
    label: str
    figure: str
    series: list[LayerSeriesAnswer]


class MovedLayerAnswer(_Read):
    """A layer of a change; its times are medians over the runs on either side."""

    case_id: str
    label: str
    ratio: float
    base_s: float
    new_s: float


class ChangeAnswer(_Read):
    """Steps of some cases of a sweep on one machine, in one direction, at one run or the run beside it.

    `ratio` is the median of the `stepped` cases out of `cases`. `layers` are those that moved most.
    """

    sweep: str
    machine: str
    machine_id: str
    ratio: float
    stepped: int
    cases: int
    base_run_id: str
    base_at: str
    new_run_id: str
    new_at: str
    differences: list[str]
    layers: list[MovedLayerAnswer]


class GroupAnswer(BaseModel):
    """The runs of a sweep on one machine: how many are looked at, and when the oldest one began."""

    sweep: str
    machine: str
    runs: int
    from_at: str

    @classmethod
    def of(cls, group: Group) -> Self:
        """The answer for a group."""
        return cls(sweep=group.sweep, machine=group.machine, runs=len(group.runs), from_at=group.runs[-1].started_at)


class FailedAnswer(GroupAnswer):
    """Runs whose changes cannot be computed, and why."""

    reason: str


class ChangesAnswer(BaseModel):
    """Changes since a day: the slower ones, then the faster ones, each the largest first."""

    since: date
    slower: list[ChangeAnswer]
    faster: list[ChangeAnswer]
    more: int = Field(description="Changes that are left out, since they are smaller than these.")
    waiting: list[GroupAnswer] = Field(description="Runs whose changes are still computed: ask again.")
    short: list[GroupAnswer] = Field(description="Runs of which older ones, also since that day, are not looked at.")
    failed: list[FailedAnswer]

    @classmethod
    def of(cls, since: date, found: Changes, most: int) -> Self:
        """The answer for what was found, with `most` changes in each direction at most."""
        left_out = max(0, len(found.slower) - most) + max(0, len(found.faster) - most)
        return cls(
            since=since,
            slower=[ChangeAnswer.model_validate(one) for one in found.slower[:most]],
            faster=[ChangeAnswer.model_validate(one) for one in found.faster[:most]],
            more=left_out,
            waiting=[GroupAnswer.of(one) for one in found.waiting],
            short=[GroupAnswer.of(one) for one in found.short],
            failed=[FailedAnswer(**GroupAnswer.of(one).model_dump(), reason=why) for one, why in found.failed],
        )


class NoisePoint(BaseModel):
    """A run's noise: how much longer its reference layers took than at their fastest, as the median minus 1.

    Of a run without them it is the same of the probe. It is null where no probe ran either, or not computed yet.
    """

    run_id: str
    started_at: str
    noise: float | None


class MachineNoise(BaseModel):
    """The noise of a machine in its newest runs, the oldest first."""

    machine: str
    runs: list[NoisePoint]
