"""The pages for a browser. Each asks for what its URL names, and writes go through the API."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from convbench.actions.jobs import outcome
from convbench.actions.schedules import edition, next_times
from convbench.errors import NotComparableError, RunNotFoundError
from convbench.model.job import Job, JobState
from convbench.report.pages.rendering import when
from convbench.store import listing, verdicts
from convbench.sweep import shipped_sweeps
from convbench.web.access import Reader, Who, who
from convbench.web.kept import may_be_kept
from convbench.web.over_time import NOISY_RUNS
from convbench.web.problems import NotThereError
from convbench.web.routes.campaigns import CampaignRef
from convbench.web.routes.jobs import MOST_KEY, JobId
from convbench.web.routes.runs import FORMATS, After, RunRef, TheFilters
from convbench.web.routes.schedules import ScheduleId, due
from convbench.web.state import Service, TheService
from convbench.web.views import campaigns as campaign_views
from convbench.web.views import frame
from convbench.web.views import jobs as job_views
from convbench.web.views import over_time as over_time_views
from convbench.web.views import runs as run_views
from convbench.web.views import schedules as schedule_views
from convbench.web.views.finding import finding

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

#: Seconds that a browser keeps the style and the script, whose names change with them.
_YEAR_S = 365 * 24 * 3600
#: The usual time of a schedule: at night, where few measure.
_CRON, _ZONE = "30 2 * * *", "UTC"
#: The sweep that the form of a schedule begins with: `quick` has too few processes to be compared.
_NIGHTLY = "sweep"
#: The option that the hint of a refused comparison names, where both runs can be compared nevertheless.
INSIST = "--across-environments"
#: Empty rows of the table of cases at most: what stands below it stays where it is when they fill.
_FREE_ROWS = 10
#: Layers that the page of a run links to.
_MOST_LAYERS = 200


def _page(request: Request, reader: Who, template: str, title: str, **context: object) -> str:
    return frame.page(request, template, title=title, reader=reader.name, scopes=reader.scopes, **context)


@router.get("/")
def first(service: TheService, reader: Reader, request: Request) -> Response:
    """Lead to the runs, or offer a first measurement where nothing is stored."""
    root = request.scope.get("root_path", "")
    jobs, _ = service.jobs.list(most=1)
    if jobs or listing.listed(service.store, listing.Filters(), most=1).runs:
        return RedirectResponse(f"{root}/runs", status_code=HTTPStatus.SEE_OTHER)
    sweep = shipped_sweeps.text_of("quick")
    return HTMLResponse(_page(request, reader, "service_first.html.j2", "A first measurement", sweep=sweep))


@router.get("/runs")
def runs(service: TheService, reader: Reader, request: Request, wanted: TheFilters, after: After = None) -> str:
    """Show the list of runs."""
    found = listing.listed(service.store, wanted, after=after, most=50)
    may_be_kept(request, if_true=found.is_settled)
    ids = [run.summary.id for run in found.runs]
    marks: dict[str, list[str]] = {}
    for one in verdicts.verdicts(service.store, run_ids=ids):
        marks.setdefault(one.run_id, []).append(one.verdict)
    for accepted in verdicts.acceptances(service.store, run_ids=ids):
        marks.setdefault(accepted.run_id, []).append("accepted")
    context = run_views.context(found, wanted, listing.values(service.store), is_first=after is None)
    return _page(request, reader, "service_runs.html.j2", "Runs", marks=marks, **context)


@router.get("/runs/{run}")
def run(service: TheService, reader: Reader, request: Request, run: RunRef) -> str:
    """Show a run: its facts, its exports, and its report."""
    found = listing.one(service.store, service.store.run_id(run))
    baselines = service.store.baselines()
    own = [baseline.name for baseline in baselines if baseline.run_id == found.summary.id]
    others = [baseline.name for baseline in baselines if baseline.run_id != found.summary.id]
    row = run_views.row(found)
    title = f"{row.sweep}, {row.when}"
    layers = service.pages.over_time.layers(found.summary.id)
    service.pages.over_time.prepare()
    return _page(
        request,
        reader,
        "service_run.html.j2",
        title,
        run=row,
        before=listing.before(service.store, found),
        own=own,
        others=others,
        formats=list(FORMATS),
        verdicts=[schedule_views.verdict_row(one) for one in verdicts.verdicts(service.store, run_ids=[row.id])],
        acceptances=[
            schedule_views.acceptance_row(one) for one in verdicts.acceptances(service.store, run_ids=[row.id])
        ],
        layers=layers[:_MOST_LAYERS],
        more_layers=len(layers) > _MOST_LAYERS,
    )


@router.get("/compare")
def compare(
    service: TheService,
    reader: Reader,
    request: Request,
    base: Annotated[str, Query(max_length=200)] = "",
    new: Annotated[str, Query(max_length=200)] = "",
    across_environments: bool = False,
) -> str:
    """Show two runs compared, or why they cannot be compared."""
    query, refused, advice, may_insist = "", "", "", False
    if base and new:
        base, new = service.store.run_id(base), service.store.run_id(new)
        query = urlencode({"base": base, "new": new} | ({"across_environments": "true"} if across_environments else {}))
        try:
            service.pages.comparison(base, new, across=across_environments)
        except NotComparableError as error:
            refused, may_insist = error.message, INSIST in (error.hint or "")
            advice = "" if may_insist else error.hint or ""
    return _page(
        request,
        reader,
        "service_compare.html.j2",
        "Two runs compared",
        base=base,
        new=new,
        query=query,
        refused=refused,
        advice=advice,
        may_insist=may_insist,
        baselines=[baseline.name for baseline in service.store.baselines()],
        accepting=[one.name for one in service.store.baselines() if query and base != new and one.run_id == base],
        across_environments=across_environments,
        can_find=bool(query) and base != new and finding(service, reader).between(base, new),
    )


@router.get("/jobs")
def jobs(
    service: TheService,
    reader: Reader,
    request: Request,
    state: JobState | None = None,
    before: Annotated[int | None, Query(ge=1, le=MOST_KEY)] = None,
) -> str:
    """Show the queue and the jobs that have ended, or the jobs in one state."""
    may_be_kept(request)
    queue = [job_views.row(job) for job in service.jobs.queue() if state in (None, job.state)]
    some, older = service.jobs.list(states=[state] if state else (), before=before, most=50)
    ended = [job_views.row(job) for job in some if job.is_over]
    return _page(
        request,
        reader,
        "service_jobs.html.j2",
        "Jobs",
        queue=queue,
        ended=ended,
        older=over_time_views.query(state=state, before=str(older)) if older else "",
        state=state or "",
        states=[one.value for one in JobState],
    )


@router.get("/jobs/{job_id}")
def job(service: TheService, reader: Reader, request: Request, job_id: JobId) -> str:
    """Show a job. What happens to it is added as it comes."""
    found = service.jobs.get(job_id)
    row = job_views.row(found)
    return _page(
        request,
        reader,
        "service_job.html.j2",
        f"Job: {row.sweep}",
        job=row,
        base=_base_of(service, found),
        outcome=outcome(service.store, found) or "",
        sweep=found.sweep,
        search=job_views.search(found),
        fleet=job_views.fleet(found),
        rows=min(found.cases, _FREE_ROWS),
        meanings={state.value: text for state, text in job_views.meanings(found, service.host).items()},
    )


@router.get("/campaigns")
def campaigns(service: TheService, reader: Reader, request: Request) -> str:
    """Show the campaigns."""
    rows = [campaign_views.row(one) for one in service.store.campaigns()]
    return _page(request, reader, "service_campaigns.html.j2", "Campaigns", campaigns=rows)


@router.get("/campaigns/{campaign}")
def campaign(service: TheService, reader: Reader, request: Request, campaign: CampaignRef) -> str:
    """Show a campaign: its shards, and its report."""
    row = campaign_views.row(service.store.campaign(campaign))
    return _page(request, reader, "service_campaign.html.j2", f"Campaign: {row.name}", campaign=row)


def _base_of(service: Service, job: Job) -> str:
    """What the run of a job is compared with; "" where it is the baseline itself, or there was none."""
    if job.against is None or job.run_id is None:
        return ""
    for verdict in verdicts.verdicts(service.store, run_ids=[job.run_id]):
        if verdict.job_id == job.id:
            return verdict.base_id or ""
    with suppress(RunNotFoundError):
        return "" if service.store.run_id(job.against) == job.run_id else job.against
    return ""


@router.get("/measure")
def measure(
    service: TheService, reader: Reader, request: Request, sweep: Annotated[str, Query(max_length=100)] = "quick"
) -> str:
    """Show the form that submits a sweep."""
    if sweep not in shipped_sweeps.NAMES:
        raise NotThereError(f"no sweep {sweep!r} comes with convbench")
    shipped = {name: shipped_sweeps.text_of(name) for name in shipped_sweeps.NAMES}
    names = [baseline.name for baseline in service.store.baselines()]
    return _page(
        request,
        reader,
        "service_measure.html.j2",
        "Measure",
        shipped=shipped,
        chosen=sweep,
        baselines=names,
        hosts=_hosts(service),
        captures=service.settings.trust_modules,
        has_fleet=service.settings.ray is not None,
    )


def _hosts(service: Service) -> list[str]:
    """The hosts that a form offers: the one of the service, and those that have runs."""
    return sorted({service.host, *listing.hosts(service.store)})


@router.get("/schedules")
def schedules(
    service: TheService, reader: Reader, request: Request, sweep: Annotated[str, Query(max_length=100)] = _NIGHTLY
) -> str:
    """Show the schedules, and the form that makes one."""
    if sweep not in shipped_sweeps.NAMES:
        raise NotThereError(f"no sweep {sweep!r} comes with convbench")
    at = datetime.now(UTC)
    return _page(
        request,
        reader,
        "service_schedules.html.j2",
        "Schedules",
        schedules=[schedule_views.row(one, next_times(one, at)) for one in service.schedules.list()],
        shipped=list(shipped_sweeps.NAMES),
        chosen=sweep,
        sweep=shipped_sweeps.text_of(sweep),
        cron=_CRON,
        zone=_ZONE,
        times=due(_CRON, _ZONE).local,
        baselines=[baseline.name for baseline in service.store.baselines()],
        host=service.host,
        hosts=_hosts(service),
    )


@router.get("/schedules/{schedule_id}")
def schedule(service: TheService, reader: Reader, request: Request, schedule_id: ScheduleId) -> str:
    """Show a schedule: its next times, and what became of its baseline each time."""
    found = service.schedules.get(schedule_id)
    return _page(
        request,
        reader,
        "service_schedule.html.j2",
        f"Schedule: {found.name}",
        schedule=schedule_views.row(found, next_times(found, datetime.now(UTC))),
        edition=edition(found),
        times=due(found.cron, found.zone).local,
        sweep=found.sweep,
        hosts=_hosts(service),
        verdicts=[schedule_views.verdict_row(one) for one in verdicts.verdicts(service.store, schedule_id=found.id)],
        acceptances=[
            schedule_views.acceptance_row(one) for one in verdicts.acceptances(service.store, baseline=found.baseline)
        ],
    )


@router.get("/machines")
def machines(service: TheService, reader: Reader, request: Request) -> str:
    """Show the machines that have runs, and their noise over time."""
    noise = service.pages.over_time.noise()
    may_be_kept(request, if_true=not noise.waiting)
    rows = [
        (run_views.machine_row(one), over_time_views.noise(noise.runs.get(one.machine, ())))
        for one in listing.machines(service.store)
    ]
    return _page(
        request,
        reader,
        "service_machines.html.j2",
        "Machines",
        machines=rows,
        size=over_time_views.NOISE_SIZE,
        most=NOISY_RUNS,
        waiting=noise.waiting,
    )


@router.get("/tokens")
def tokens(service: TheService, reader: Reader, request: Request) -> str:
    """Show the tokens and the list of writes to an administrator, and to anybody the field for a token."""
    context: dict[str, object] = {"tokens": [], "writes": []}
    if "admin" in reader.scopes:
        context["tokens"] = [
            (token, ", ".join(sorted(token.scopes)), when(token.created_at), _ends(token.expires_at, token.revoked_at))
            for token in service.tokens.list()
        ]
        context["writes"] = [(write, when(write.at)) for write in service.tokens.writes(most=50)]
    return _page(request, reader, "service_tokens.html.j2", "Tokens", **context)


def _ends(expires_at: str | None, revoked_at: str | None) -> str:
    if revoked_at is not None:
        return f"revoked {when(revoked_at)}"
    return "never" if expires_at is None else when(expires_at)


@router.get("/sign-in")
def sign_in(service: TheService, request: Request) -> str:
    """Show the field for a token, to anybody."""
    sender = who(request, service)
    return frame.page(request, "service_sign_in.html.j2", title="Give a token", sender=sender.name)


@router.get("/static/{name}")
def static(name: Annotated[str, Path(max_length=100)]) -> Response:
    """Get the style sheet or the script."""
    found = frame.assets().get(name)
    if found is None:
        raise NotThereError("there is no such file")
    headers = {"cache-control": f"public, max-age={_YEAR_S}, immutable"}
    return Response(found[1], media_type=found[0], headers=headers)
