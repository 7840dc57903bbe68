"""The pages of runs, of a job and of a comparison as HTML: what they answer to what the address asks."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
import service
from service import serving
from starlette.testclient import TestClient

from convbench.actions import jobs as verbs
from convbench.errors import ExitCode
from convbench.model.job import Job, JobState
from convbench.model.result import Git, Run, RunState, Status
from convbench.store import Store, Writer
from convbench.store.jobs import Jobs
from convbench.web.routes import pages

V1 = "/api/v1"
#: More than two pages of the list, at 50 runs each.
MANY = 130
#: Two of three runs are of `wide`, and the newest of these are of the branch `fast`.
WIDE = {
    "sweep": "wide",
    "branch": "fast",
    "torch": "2.13.0",
    "commit": "f00d",
    "state": "finished",
    "text": "FAST wide",
}


def many() -> list[Run]:
    runs = []
    for number in range(MANY):
        run = service.run_of(number)
        run = replace(run, results=run.results[:1], environment=replace(run.environment, torch="2.13.0"))
        name, git = ("wide", Git(commit=f"f00d{number:04}" + "0" * 32, branch="fast" if number > 9 else "main"))
        runs.append(replace(run, name=name, git=git) if number % 3 else run)
    return runs


def ids_on(page: str) -> list[str]:
    return re.findall(r'<tr data-run="([^"]+)"', page)


def test_all_filters_together_over_many_pages_leave_each_run_once(tmp_path: Path) -> None:
    runs = many()
    with serving(service.filled(tmp_path / "runs.db", *runs)) as (client, made):
        machine = client.get(f"{V1}/machines").json()[0]["machine"]
        wanted = [run.id for run in reversed(runs) if run.git and run.git.branch == "fast"]
        query = WIDE | {"machine": machine, "host": made.host}
        page = client.get("/runs", params=query)
        assert page.status_code == 200 and "The newest runs" not in page.text
        found = ids_on(page.text)
        while older := re.search(r'<a href="([^"]+)">Older runs</a>', page.text):
            page = client.get(unescape(older[1]))
            assert 'name="text" value="FAST wide"' in page.text and "The newest runs" in page.text
            found += ids_on(page.text)
        assert found == wanted and len(wanted) > 50
        assert client.get(f"{V1}/lists/runs.csv", params=query).text.count("\n") == len(wanted) + 1
        for name in query:
            nothing = client.get("/runs", params=query | {name: "finished" if name == "state" else "%_'\0<b>"})
            assert nothing.status_code == 200 and (ids_on(nothing.text) == [] or name == "state")
        assert "These filters leave no run." in client.get("/runs", params={"torch": "none"}).text


@pytest.mark.parametrize("root", ["", "/bench"])
def test_fields_of_a_form_that_are_empty_ask_for_nothing(tmp_path: Path, root: str) -> None:
    with serving(service.filled(tmp_path / "runs.db", service.run_of(1)), root=root, public_read=True) as (client, _):
        for sent, address in (
            ("/runs?text=a+b&sweep=&commit=&state=", "/runs?text=a+b"),
            ("/runs?text=&sweep=&state=", "/runs"),
            ("/changes?since=2026-11-01&sweep=&machine=", "/changes?since=2026-11-01"),
            ("/layers?text=&run=latest&after=", "/layers?run=latest"),
            ("/measure?sweep=", "/measure"),
            ("/jobs?before=", "/jobs"),
        ):
            answer = client.get(f"{root}{sent}")
            assert (answer.status_code, answer.headers["location"]) == (303, f"{root}{address}")
            assert client.get(answer.headers["location"]).status_code == 200
        assert client.get(f"{root}{V1}/runs?state=").status_code == 422, "the API is strict"


def test_a_filter_that_only_the_address_has_stays_when_the_form_is_sent(tmp_path: Path) -> None:
    run = service.run_of(1)
    with serving(service.filled(tmp_path / "runs.db", run)) as (client, made):
        assert 'name="host"' not in client.get("/runs").text
        page = unescape(client.get("/runs", params={"host": made.host}).text)
        assert f'name="host" value="{made.host}"' in page and ids_on(page) == [run.id]


def test_runs_that_match_on_an_older_page_alone_can_be_reached(tmp_path: Path) -> None:
    """Which runs are interrupted is known once they are read, so a page may have none of them."""
    me = Writer.of_this_process()
    first, *others = (replace(service.run_of(number), state=RunState.RUNNING, finished_at=None) for number in range(51))
    with Store.create(str(tmp_path / "runs.db")) as store:
        store.begin(first, [], [], replace(me, started=me.started - 1), digest="made up")
        for run in others:
            store.begin(run, [], [], me, digest="made up")
    with serving(tmp_path / "runs.db") as (client, _):
        page = client.get("/runs", params={"state": "interrupted"}).text
        assert "These filters leave no run among the newest ones." in page and ids_on(page) == []
        found = re.search(r'<a href="([^"]+)">Older runs</a>', page)
        assert found and ids_on(client.get(unescape(found[1])).text) == [first.id]


def ended(client: TestClient, jobs: Jobs, run: Run, code: int) -> Job:
    """A job that has been measured, with this run and exit code."""
    me = Writer.of_this_process()
    job_id = client.post(f"{V1}/jobs", json={"sweep": service.TINY}).json()["id"]
    claimed = jobs.claim(me, verbs.now())
    assert claimed is not None and claimed.id == job_id
    jobs.note_begun(claimed, run.id)
    jobs.end(job_id, me, JobState.MEASURED, verbs.now(), code=code)
    return jobs.get(job_id)


def test_the_page_of_a_job_says_what_its_run_came_to(tmp_path: Path) -> None:
    good = service.run_of(1)
    skipped = [replace(one, status=Status.SKIPPED, reason="no device", blocks=()) for one in good.results]
    nothing = replace(service.run_of(2), results=tuple(skipped))
    with serving(service.filled(tmp_path / "runs.db", good, nothing)) as (client, made):
        for run, code, said in (
            (good, ExitCode.DONE, None),
            (good, ExitCode.FAILED_OR_REGRESSED, "a case got slower"),
            (good, ExitCode.NOT_MEASURED, "Some cases could not be measured"),
            (good, ExitCode.TOO_NOISY, "too noisy to compare"),
            (nothing, ExitCode.DONE, "No case could be measured"),
        ):
            job = ended(client, made.jobs, run, code)
            outcome = client.get(f"{V1}/jobs/{job.id}").json()["outcome"]
            page = client.get(f"/jobs/{job.id}").text
            assert said in outcome if said else outcome is None
            assert f'id="reason">{outcome or ""}</p>' in page
            assert page.count('class="free"') == job.cases == 1, "an empty row for each case, so that nothing moves"


def test_a_comparison_that_cannot_be_made_says_what_would_help(tmp_path: Path) -> None:
    first, second = service.run_of(1), service.run_of(2)
    apart = (replace(first, results=first.results[:6]), replace(second, results=second.results[6:]))
    with serving(service.filled(tmp_path / "runs.db", *apart)) as (client, _):
        page = client.get("/compare", params={"base": first.id, "new": second.id}).text
        assert "have no case in common" in page and "Compare runs of the same sweep" in page
        assert "to compare them anyway" not in page
    other = replace(second, environment=replace(second.environment, cpu="another processor"))
    with serving(service.filled(tmp_path / "other.db", first, other)) as (client, _):
        query = {"base": first.id, "new": other.id}
        assert "to compare them anyway" in client.get("/compare", params=query).text
        answer = client.get(f"{V1}/compare", params=query).json()
        assert answer["hint"] == "`across_environments=true` compares them anyway"
        assert client.get(f"{V1}/compare", params=query | {"across_environments": "true"}).status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "title"),
    [
        ("/runs/none", 404, "This is not here"),
        ("/runs?state=bogus", 422, "The address is not right"),
        ("/nowhere", 404, "This is not here"),
    ],
)
def test_a_page_that_is_not_there_says_so_without_words_of_http(
    tmp_path: Path, path: str, status: int, title: str
) -> None:
    with serving(service.filled(tmp_path / "runs.db", service.run_of(1))) as (client, _):
        answer = client.get(path)
        assert answer.status_code == status and f"<h1>{title}</h1>" in answer.text
        assert "`convbench" not in answer.text, "no command, on a page"
        assert "To the runs" in answer.text


def test_a_run_leads_to_its_comparison_with_the_run_before(tmp_path: Path) -> None:
    first, second, other, third = (service.run_of(number) for number in range(4))
    elsewhere = replace(other, environment=replace(other.environment, cpu="another processor"))
    third = replace(third, state=RunState.INTERRUPTED)
    last = service.run_of(4)
    with serving(service.filled(tmp_path / "runs.db", first, second, elsewhere, third, last)) as (client, _):
        for run, before in ((first, None), (second, first), (elsewhere, None), (last, second)):
            link = re.search(
                r'href="/compare\?base=([^&]+)&amp;new=([^"]+)">Compare with the run before', page_of(client, run)
            )
            assert (link and link.groups()) == (before and (before.id, run.id))


def page_of(client: TestClient, run: Run) -> str:
    return client.get(f"/runs/{run.id}").text


def test_jobs_of_one_state_are_a_link(tmp_path: Path) -> None:
    with serving(tmp_path / "runs.db") as (client, _):
        ids = [client.post(f"{V1}/jobs", json={"sweep": service.TINY}).json()["id"] for _ in range(53)]
        for job_id in ids[:52]:
            client.post(f"{V1}/jobs/{job_id}/cancel")
        page = client.get("/jobs", params={"state": "cancelled"}).text
        assert "No job in the queue is cancelled." in page and 'href="/api/v1/lists/jobs.csv?state=cancelled"' in page
        assert re.findall(r'href="/jobs/(j[^"]+)"', page) == ids[51:1:-1]
        older = re.search(r'href="([^"]+)">Older jobs', page)
        assert older and "state=cancelled" in older[1]
        assert re.findall(r'href="/jobs/(j[^"]+)"', client.get(unescape(older[1])).text) == ids[1::-1]
        page = client.get("/jobs", params={"state": "queued"}).text
        assert re.findall(r'href="/jobs/(j[^"]+)"', page) == ids[52:] and "No job that has ended is queued." in page


def test_a_job_for_another_host_says_for_which_it_waits(tmp_path: Path) -> None:
    with serving(service.filled(tmp_path / "runs.db", service.run_of(1))) as (client, made):
        for host, said in ((None, "waits for its turn"), (made.host, "waits for its turn"), ("east", "host east")):
            body = {"sweep": service.TINY, "host": host, "priority": 3 if host == "east" else 0}
            job = client.post(f"{V1}/jobs", json=body).json()
            found = re.search(r'id="meaning">([^<]*)<', client.get(f"/jobs/{job['id']}").text)
            assert found and said in found[1]
        assert (
            client.get("/jobs").text.count("priority 3")
            == 1
            == client.get(f"/jobs/{job['id']}").text.count("priority 3")
        )
        for path in ("/measure", "/schedules"):
            assert f'<datalist id="hosts"><option value="{made.host}">' in client.get(path).text


def test_the_form_of_a_schedule_begins_with_its_times_and_a_sweep_that_can_be_compared(tmp_path: Path) -> None:
    with serving(tmp_path / "runs.db") as (client, _):
        page = client.get("/schedules").text
        times = client.get(f"{V1}/cron", params={"cron": pages._CRON, "zone": pages._ZONE}).json()["local"]
        assert f"Next: {'; '.join(times)}." in page and len(times) == 5
        assert "name: channels-and-kernels" in page
