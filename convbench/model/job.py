"""Jobs of the service: what is to be measured, its states, and what happened to it. Frozen data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from convbench.model.campaign import How

#: The device of a job that a cluster measures: its hosts lock their own devices, and one such job runs at a time.
FLEET = "fleet"


class JobKind(StrEnum):
    """What a job does. Its result is a run, a campaign, or the answer of a bisection."""

    SWEEP = "sweep"  # measures a sweep on one host
    CAMPAIGN = "campaign"  # measures a sweep on the hosts of a cluster
    BISECTION = "bisection"  # finds the commit since which cases of a sweep take another time


class JobState(StrEnum):
    """The state of a job. Measuring and the making of its page are separate, so no page can lose what was measured."""

    QUEUED = "queued"
    RUNNING = "running"
    MEASURED = "measured"
    REPORTED = "reported"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: The states that nothing follows.
ENDED = frozenset({JobState.REPORTED, JobState.FAILED, JobState.CANCELLED})
#: The number of failures that end a job, or end the making of its page.
MOST_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as stored. Times are ISO 8601 in UTC; `cases` is the number that its sweep has.

    `host` is the machine that must measure it, None for any; `against` names the run to compare with. Jobs with a
    higher `priority` come first. `tries` and `page_tries` count failures. `cancelling` is whether somebody has asked
    to cancel it while it runs. `reason` says why it failed, or why its page did. `schedule_id` is the schedule that it
    belongs to, and `due_at` the time for which it was due there.

    `task` is JSON: what a job of another kind than a sweep is asked besides its sweep. `answer` is JSON: what a
    bisection has decided so far, and found. `campaign_id` is the campaign that the job measures.
    """

    id: str
    state: JobState
    name: str
    sweep: str
    cases: int
    devices: tuple[str, ...]
    host: str | None
    against: str | None
    priority: int
    submitted_at: str
    submitted_by: str
    not_before: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    tries: int = 0
    page_tries: int = 0
    cancelling: bool = False
    run_id: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    schedule_id: str | None = None
    due_at: str | None = None
    kind: JobKind = JobKind.SWEEP
    task: str | None = None
    answer: str | None = None
    campaign_id: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED or (self.state is JobState.MEASURED and self.page_tries >= MOST_TRIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetTask:
    """What a job asks of the hosts of a cluster: how they divide the sweep, and the labels that each must have."""

    how: How = How.EACH
    where: tuple[tuple[str, str], ...] = ()
    every_host: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BisectionTask:
    """What a job asks of a bisection: two commits of a checkout that the service knows by its name.

    `base_run_id` and `new_run_id` are the runs that differ; they were measured at `good` and at `bad`. `case_ids` are
    the cases that may decide.
    """

    checkout: str
    good: str
    bad: str
    base_run_id: str
    new_run_id: str
    case_ids: tuple[str, ...]


class EventKind(StrEnum):
    """What happened to a job: its state changed, its run began or went on, a case was measured, a line was printed."""

    STATE = "state"
    PROGRESS = "progress"
    CASE = "case"
    LOG = "log"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """Something that happened to a job. `key` rises with every event of the database; `data` is JSON."""

    key: int
    at: str
    kind: EventKind
    data: str
