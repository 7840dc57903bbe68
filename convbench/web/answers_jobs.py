"""What the API takes and returns of jobs and campaigns, as models of pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Discriminator, Field, Tag

from convbench.actions.bisecting import read_decided
from convbench.actions.bisection_jobs import MOST_CASES
from convbench.actions.jobs import task_of
from convbench.model.bisection import Outcome, Step
from convbench.model.campaign import Campaign, CampaignState, How, Shard, ShardState
from convbench.model.job import BisectionTask, FleetTask, Job, JobKind, JobState
from convbench.report.text.bisection import answer_text
from convbench.web.answers import Given, Priority, SweepText
from convbench.workloads.request import Request, request_of

#: Maximum number of labels by which hosts are chosen, and characters of each part of one.
MOST_LABELS, LONGEST_LABEL = 10, 255
#: The seconds that a captured model's run may take: the usual number, and the bounds.
BUDGET_S, BUDGETS_S = 150.0, (5.0, 36_000.0)

_Label = Annotated[str, Field(min_length=1, max_length=LONGEST_LABEL)]
_RunRef = Annotated[str, Field(min_length=1, max_length=200, description="The run, as in paths.")]


class FleetRequest(Given):
    """That the hosts of the service's cluster measure it, each machine key the whole sweep or all of one a share.

    `where` are labels of Ray that a host must have. `every_host` takes all hosts of a machine key.
    """

    how: How = How.EACH
    where: dict[_Label, _Label] = Field(default_factory=dict, max_length=MOST_LABELS)
    every_host: bool = False

    def task(self) -> FleetTask:
        """What the job asks."""
        return FleetTask(how=self.how, where=tuple(sorted(self.where.items())), every_host=self.every_host)


class _JobRequest(Given):
    """What every submission may say."""

    host: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        default=None, description="The name of the host that must measure it; without it, any service may."
    )
    against: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="The run or baseline to compare with; suspected changes are confirmed."
    )
    priority: Priority = 0
    fleet: FleetRequest | None = Field(default=None, description="Without it, one host measures it.")


class JobRequest(_JobRequest):
    """A sweep that is to be measured."""

    sweep: SweepText


class CaptureRequest(Given):
    """A model whose convolutions are captured, as by `convbench run --model`. The service imports and runs it."""

    model: Annotated[str, Field(min_length=1, max_length=300, description="`package.module:Model` or `file.py:Net`.")]
    input: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        default_factory=list, max_length=50, description="Its inputs: `8x3x224x224`, or `ids=1x77:int64`."
    )
    arguments: list[Annotated[str, Field(min_length=1, max_length=1000)]] = Field(
        default_factory=list, max_length=50, description="Arguments of what builds it: `depth=50`."
    )
    train: bool = Field(default=False, description="Run a training step.")
    autocast: Literal["bfloat16", "float16"] | None = None
    channels_last: bool = False
    real: bool = Field(default=False, description="Run the model on real numbers, for one that decides on them.")
    budget: float = Field(
        default=BUDGET_S, ge=BUDGETS_S[0], le=BUDGETS_S[1], description="Seconds that its run may take."
    )

    def request(self) -> Request:
        """What to capture; RequestError for a text that says no model, input or argument."""
        return request_of(
            self.model,
            inputs=self.input,
            arguments=self.arguments,
            train=self.train,
            autocast=self.autocast,
            channels_last=self.channels_last,
            real=self.real,
        )


class CapturedAnswer(BaseModel):
    """The text of the sweep that measures a model."""

    sweep: str


class ModelJobRequest(_JobRequest, CaptureRequest):
    """A model whose convolutions are to be measured."""


def _kind_of(body: Any) -> str:
    return "model" if isinstance(body, ModelJobRequest) or (isinstance(body, dict) and "model" in body) else "sweep"


#: The kinds of a submission, by the entry that each must have.
KINDS = ("sweep", "model")
#: A submission: a sweep, or a model.
AnyJobRequest = Annotated[
    Annotated[JobRequest, Tag("sweep")] | Annotated[ModelJobRequest, Tag("model")], Discriminator(_kind_of)
]


class BisectionRequest(Given):
    """Two runs of different commits, between which the commit is to be found that changed a case's time."""

    base: _RunRef
    new: _RunRef
    cases: list[Annotated[str, Field(min_length=1, max_length=100)]] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_CASES,
        description="The ids of cases that may decide; without them, those that moved most between both runs.",
    )
    checkout: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="A checkout of the service; without it, the first one that has both commits."
    )
    priority: Priority = 0


class JobAnswer(BaseModel):
    """A job. Times are ISO 8601 in UTC; `tries` counts failures."""

    id: str
    state: JobState
    name: str
    cases: int
    devices: list[str]
    host: str | None
    against: str | None
    priority: int
    submitted_at: str
    submitted_by: str
    started_at: str | None
    ended_at: str | None
    tries: int
    cancelling: bool
    run_id: str | None
    exit_code: int | None
    reason: str | None
    schedule_id: str | None
    due_at: str | None
    kind: JobKind
    campaign_id: str | None

    @classmethod
    def of(cls, job: Job) -> Self:
        """The answer for a job."""
        return cls(**{name: getattr(job, name) for name in cls.model_fields if hasattr(job, name)})


class StepAnswer(BaseModel):
    """A comparison of two commits: the ratio is new over base. `moved` is null where it was not decided."""

    base: str
    new: str
    moved: int | None
    case_id: str
    ratio: float | None
    low: float | None
    high: float | None
    pairs: int
    refused: str | None

    @classmethod
    def of(cls, step: Step) -> Self:
        """The answer for a comparison."""
        plain = {name: getattr(step, name) for name in cls.model_fields}
        numbers = {name: plain[name] or None for name in ("ratio", "low", "high")}
        return cls(**plain | numbers)


class CommitAnswer(BaseModel):
    """A commit with its author and the first line of its message."""

    id: str
    author: str
    subject: str


class BisectionAnswer(BaseModel):
    """What a bisection searches, has decided so far, and found. `outcome` and `text` are null until it has an answer.

    `first` are the commits that may have made the change, the oldest first.
    """

    checkout: str
    good: str
    bad: str
    base_run_id: str
    new_run_id: str
    case_ids: list[str]
    steps: list[StepAnswer]
    outcome: Outcome | None
    first: list[CommitAnswer]
    text: str | None

    @classmethod
    def of(cls, task: BisectionTask, decided: str | None) -> Self:
        """The answer for a task and what the job has decided, as JSON."""
        known = read_decided(decided) if decided else None
        found = known.answer if known else None
        first = found.first if found else ()
        return cls(
            checkout=task.checkout,
            good=task.good,
            bad=task.bad,
            base_run_id=task.base_run_id,
            new_run_id=task.new_run_id,
            case_ids=list(task.case_ids),
            steps=[StepAnswer.of(step) for step in known.steps] if known else [],
            outcome=found.outcome if found else None,
            first=[CommitAnswer(id=one.id, author=one.author, subject=one.subject) for one in first],
            text=answer_text(found) if found else None,
        )


class WholeJob(JobAnswer):
    """A job with the text of its sweep, and what it asks beyond a run on one host."""

    sweep: str
    outcome: str | None = Field(default=None, description="What to know of its run; null where all is well.")
    fleet: FleetRequest | None = None
    bisection: BisectionAnswer | None = None

    @classmethod
    def of(cls, job: Job, outcome: str | None = None) -> Self:
        """The answer for a job."""
        plain: Mapping[str, Any] = {name: getattr(job, name) for name in (*JobAnswer.model_fields, "sweep")}
        task = task_of(job)
        fleet, bisection = None, None
        if isinstance(task, FleetTask):
            fleet = FleetRequest(how=task.how, where=dict(task.where), every_host=task.every_host)
        if isinstance(task, BisectionTask):
            bisection = BisectionAnswer.of(task, job.answer)
        return cls(**plain, outcome=outcome, fleet=fleet, bisection=bisection)


class JobList(BaseModel):
    """Jobs, the newest first; `before` is where the next page begins, null on the last one."""

    jobs: list[JobAnswer]
    before: int | None


# ---- campaigns


class ShardAnswer(BaseModel):
    """What one host measures of a campaign. `cases` is null where it measures all."""

    position: int
    machine: str
    state: ShardState
    host: str | None
    device: str
    run_ids: list[str]
    cases: int | None
    note: str | None

    @classmethod
    def of(cls, shard: Shard) -> Self:
        """The answer for a shard."""
        plain = {name: getattr(shard, name) for name in ("position", "state", "host", "device", "note")}
        cases = len(shard.case_ids) or None
        return cls(**plain, machine=str(shard.machine), run_ids=list(shard.run_ids), cases=cases)


class CampaignAnswer(BaseModel):
    """A sweep that was measured on several hosts. Times are ISO 8601 in UTC; `controls` is a number of cases."""

    id: str
    name: str
    how: How
    state: CampaignState
    started_at: str
    finished_at: str | None
    controls: int
    shards: list[ShardAnswer]

    @classmethod
    def of(cls, campaign: Campaign) -> Self:
        """The answer for a campaign."""
        plain = {name: getattr(campaign, name) for name in ("id", "name", "how", "state", "started_at", "finished_at")}
        shards = [ShardAnswer.of(shard) for shard in campaign.shards]
        return cls(**plain, controls=len(campaign.controls), shards=shards)
