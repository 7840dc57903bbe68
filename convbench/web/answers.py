"""What the API takes and returns, as models of pydantic; the committed docs/openapi.json is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from convbench.actions.cron import LONGEST_CRON
from convbench.actions.jobs import MOST_BYTES, PRIORITIES, Checked
from convbench.actions.schedules import LONGEST_NAME as LONGEST_SCHEDULE
from convbench.actions.schedules import LONGEST_REASON, edition
from convbench.actions.tokens import LONGEST_NAME, MOST_DAYS, NAME, USUAL_DAYS
from convbench.errors import Mistake
from convbench.model.result import Baseline, Git, Roof, RoofKind, RunState
from convbench.model.schedule import Acceptance, ChangedCase, JobVerdict, Schedule
from convbench.model.token import Scope, Token, Write
from convbench.store.listing import ListedMachine, ListedRun
from convbench.sweep.shipped_sweeps import named

#: Where the API begins; below it answers are for programs.
API = "/api/v1"

SweepText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MOST_BYTES,
        description="The sweep's YAML text, or the name of one that comes with convbench.",
    ),
    AfterValidator(named),
]


def _number(value: object) -> object:
    """The value; ValueError for `true` and for a text, which pydantic would take as an integer."""
    if isinstance(value, bool | str):
        raise ValueError("expected an integer")
    return value


#: What makes an `int` of a body one that JSON Schema has too. It stands behind the bounds, which it would hide.
Strictly = BeforeValidator(_number)
Integer = Annotated[int, Strictly]
Priority = Annotated[int, Field(ge=PRIORITIES[0], le=PRIORITIES[1], description="Higher comes first."), Strictly]


class Given(BaseModel):
    """A body of a request: unknown entries are mistakes."""

    model_config = ConfigDict(extra="forbid")


class MistakeAnswer(BaseModel):
    """A mistake in a sweep: its line, its place in the file, what was expected and what was found."""

    line: int
    where: str
    message: str
    hint: str | None = None

    @classmethod
    def of(cls, mistake: Mistake) -> Self:
        """The answer for a mistake."""
        return cls(line=mistake.line, where=mistake.where, message=mistake.message, hint=mistake.hint)


class Problem(BaseModel):
    """What was wrong with a request, or why it cannot be answered now; `hint` says what to do."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    hint: str | None = None
    mistakes: list[MistakeAnswer] | None = None


# ---- schedules


class ScheduleRequest(Given):
    """A sweep that is to be measured again and again, each run compared with a baseline."""

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_SCHEDULE)]
    cron: Annotated[str, Field(min_length=1, max_length=LONGEST_CRON, description="Five fields, or `@daily`.")]
    zone: Annotated[str, Field(min_length=1, max_length=60)] = Field(
        default="UTC", description="A name of the IANA time zone database, such as `Europe/Berlin`."
    )
    sweep: SweepText
    host: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        default=None, description="The name of the host that measures it; without it, the host of this service."
    )
    baseline: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        default=None,
        description="The baseline. Where there is none, the first run in which every case is right becomes it.",
    )
    priority: Priority = 0


class ScheduleAnswer(BaseModel):
    """A schedule. Times are ISO 8601 in UTC; `next_times` are the next five, none while it is paused.

    `last_at` is the time for which it was due last; `reason` says why that time had no job. `edition` changes with what
    people can change.
    """

    id: str
    name: str
    cron: str
    zone: str
    sweep_name: str
    host: str
    baseline: str
    priority: int
    paused: bool
    made_at: str
    made_by: str
    last_at: str | None
    last_job_id: str | None
    reason: str | None
    edition: str
    next_times: list[str]

    @classmethod
    def of(cls, schedule: Schedule, times: Sequence[datetime]) -> Self:
        """The answer for a schedule that is due at these times."""
        plain = {name: getattr(schedule, name) for name in cls.model_fields if hasattr(schedule, name)}
        return cls(**plain, edition=edition(schedule), next_times=[time.isoformat() for time in times])


class WholeSchedule(ScheduleAnswer):
    """A schedule with the text of its sweep."""

    sweep: str


class CronAnswer(BaseModel):
    """The next times of cron's words in a time zone: ISO 8601 in UTC, and as people there read them.

    `refused` says why there are none, null where there are some.
    """

    times: list[str]
    local: list[str]
    refused: str | None = None


class ChangedAnswer(BaseModel):
    """A case that changed: new over base, with the interval of this ratio."""

    case_id: str
    label: str
    verdict: str
    ratio: float
    low: float
    high: float

    @classmethod
    def of(cls, changed: ChangedCase) -> Self:
        """The answer for a changed case."""
        return cls(**{name: getattr(changed, name) for name in cls.model_fields})


class VerdictAnswer(BaseModel):
    """What a job's run became of its baseline, after suspected changes were measured again."""

    job_id: str
    schedule_id: str | None
    at: str
    sweep_name: str
    baseline: str
    base_id: str | None
    run_id: str
    verdict: str
    text: str
    changes: list[ChangedAnswer]

    @classmethod
    def of(cls, verdict: JobVerdict) -> Self:
        """The answer for a verdict."""
        plain = {name: getattr(verdict, name) for name in cls.model_fields if name != "changes"}
        return cls(**plain, changes=[ChangedAnswer.of(one) for one in verdict.changes])


class AcceptanceRequest(Given):
    """A run that is to be the baseline, and why."""

    baseline: Annotated[str, Field(min_length=1, max_length=100)]
    run: Annotated[str, Field(min_length=1, max_length=200, description="The run, as in paths.")]
    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)]
    expected: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="The id of the run that was the baseline when the person looked."
    )


class AcceptanceAnswer(BaseModel):
    """Who made which run the baseline in place of which other one, when and why."""

    at: str
    who: str
    baseline: str
    before_id: str
    run_id: str
    sweep_name: str
    reason: str

    @classmethod
    def of(cls, acceptance: Acceptance) -> Self:
        """The answer for an acceptance."""
        return cls(**{name: getattr(acceptance, name) for name in cls.model_fields})


class SweepRequest(Given):
    """A sweep that is to be checked."""

    sweep: SweepText


class CheckAnswer(BaseModel):
    """What a sweep would measure, or what is wrong with it.

    `labels` are those of its first cases; `code` names code of the sweep's author. A sweep with mistakes has no cases.
    """

    name: str
    cases: int
    rejections: int
    devices: list[str]
    labels: list[str]
    code: list[str]
    mistakes: list[MistakeAnswer]
    refused: str | None = Field(description="Why this service does not measure it; null where it does.")

    @classmethod
    def of(cls, found: Checked, refused: str | None) -> Self:
        """The answer for a checked sweep."""
        return cls(
            name=found.name,
            cases=found.cases,
            rejections=found.rejections,
            devices=list(found.devices),
            labels=list(found.labels),
            code=list(found.code),
            mistakes=[],
            refused=refused,
        )

    @classmethod
    def of_wrong(cls, refused: str, mistakes: Sequence[Mistake] = ()) -> Self:
        """The answer for a sweep that cannot be measured."""
        wrong = [MistakeAnswer.of(mistake) for mistake in mistakes]
        return cls(name="", cases=0, rejections=0, devices=[], labels=[], code=[], mistakes=wrong, refused=refused)


class ShippedSweep(BaseModel):
    """A sweep that comes with convbench."""

    name: str
    sweep: str


# ---- runs


class GitAnswer(BaseModel):
    """The commit that was checked out where the run was started; `dirty` is whether files differed from it."""

    commit: str
    branch: str | None
    dirty: bool

    @classmethod
    def of(cls, git: Git | None) -> Self | None:
        """The answer for a commit."""
        return None if git is None else cls(commit=git.commit, branch=git.branch, dirty=git.dirty)


class RunAnswer(BaseModel):
    """A stored run without its results. `statuses` counts its cases by status."""

    id: str
    name: str
    state: RunState
    started_at: str
    finished_at: str | None
    host: str
    machine: str
    torch: str
    cases: int
    statuses: dict[str, int]
    git: GitAnswer | None

    @classmethod
    def of(cls, run: ListedRun) -> Self:
        """The answer for a listed run."""
        one = run.summary
        return cls(
            id=one.id,
            name=one.name,
            state=one.state,
            started_at=one.started_at,
            finished_at=one.finished_at,
            host=one.host,
            machine=run.machine,
            torch=one.torch,
            cases=one.cases,
            statuses={status.value: number for status, number in one.statuses.items()},
            git=GitAnswer.of(one.git),
        )


class RunList(BaseModel):
    """Runs, the newest first; `after` is where the next page begins, null on the last one."""

    runs: list[RunAnswer]
    after: str | None


class BaselineAnswer(BaseModel):
    """A name for a run."""

    name: str
    run_id: str
    set_at: str

    @classmethod
    def of(cls, baseline: Baseline) -> Self:
        """The answer for a baseline."""
        return cls(name=baseline.name, run_id=baseline.run_id, set_at=baseline.set_at)


class WholeRun(RunAnswer):
    """A run with what was asked for and the baselines that name it. Its results are an export."""

    baselines: list[str]
    sweep: str = Field(description="The sweep's YAML text; values of secrets are left out.")


class RoofAnswer(BaseModel):
    """The highest rate that a run measured, in FLOP/s or bytes/s."""

    kind: RoofKind
    device: str
    threads: int | None
    dtype: str | None
    rate: float

    @classmethod
    def of(cls, roof: Roof) -> Self:
        """The answer for a roof."""
        return cls(**{name: getattr(roof, name) for name in cls.model_fields})


class MachineAnswer(BaseModel):
    """A machine with runs: its hosts, how many runs, the newest one, and the roofs of the last finished one."""

    machine: str
    hosts: list[str]
    runs: int
    first_at: str
    last_at: str
    last_run_id: str
    roofs: list[RoofAnswer]

    @classmethod
    def of(cls, machine: ListedMachine) -> Self:
        """The answer for a machine."""
        plain = {name: getattr(machine, name) for name in cls.model_fields if name not in ("hosts", "roofs")}
        return cls(**plain, hosts=list(machine.hosts), roofs=[RoofAnswer.of(roof) for roof in machine.roofs])


# ---- comparisons


class JudgmentAnswer(BaseModel):
    """What became of one case. Times are seconds; a number is null where there is nothing to compare."""

    case_id: str
    label: str
    verdict: str
    reason: str
    ratio: float | None
    low: float | None
    high: float | None
    base_s: float | None
    new_s: float | None


class CompareAnswer(BaseModel):
    """Two runs compared. `differences` says what differs between both; `comparable` is whether none of it decides."""

    base: str
    new: str
    verdict: str
    text: str
    comparable: bool
    differences: list[str]
    counts: dict[str, int]
    judgments: list[JudgmentAnswer]


# ---- access


class SessionRequest(Given):
    """A token that the browser keeps as a cookie."""

    token: Annotated[str, Field(min_length=1, max_length=200)]


class WhoAnswer(BaseModel):
    """Who sends the request, and what they may do."""

    name: str
    scopes: list[Scope]


class TokenRequest(Given):
    """A token that is to be created."""

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME, pattern=f"^{NAME}$")]
    scopes: list[Scope] = Field(min_length=1)
    days: Integer = Field(default=USUAL_DAYS, ge=1, le=MOST_DAYS, description="Days until it expires.")


class TokenAnswer(BaseModel):
    """A token without its secret part."""

    name: str
    prefix: str
    scopes: list[Scope]
    created_at: str
    expires_at: str | None
    revoked_at: str | None

    @classmethod
    def of(cls, token: Token) -> Self:
        """The answer for a token."""
        plain = {name: getattr(token, name) for name in cls.model_fields if name != "scopes"}
        return cls(**plain, scopes=sorted(token.scopes))


class NewToken(TokenAnswer):
    """A new token with its text, which is shown this once."""

    token: str


class WriteAnswer(BaseModel):
    """An entry of the list of writes."""

    key: int
    at: str
    who: str
    address: str
    action: str
    target: str
    status: int

    @classmethod
    def of(cls, write: Write) -> Self:
        """The answer for an entry."""
        return cls(**{name: getattr(write, name) for name in cls.model_fields})
