"""Schedules, acceptances, badges, the feed and lists over HTTP, and the pages that show them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from csv import DictReader
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pandas
import pytest
import service
from service import serving
from starlette.testclient import TestClient

from convbench.actions import schedules as verbs
from convbench.model.job import JobState
from convbench.model.schedule import ChangedCase
from convbench.model.token import Scope
from convbench.report.pages.badge import badge
from convbench.store import Writer
from convbench.web.state import Service

V1 = "/api/v1"
AT = "2026-11-30T12:00:00.000000+00:00"
HOSTILE = "<script>alert(1)</script>\x07\x00"
BODY = {"name": "nightly", "cron": "30 2 * * *", "zone": "Europe/Berlin", "sweep": service.TINY}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Service]]:
    path = tmp_path_factory.mktemp("schedules") / "runs.db"
    service.filled(path, *(service.run_of(number) for number in (1, 2)), service.run_of(3, name=HOSTILE))
    with serving(path) as made:
        yield made


@pytest.fixture
def client(served: tuple[TestClient, Service]) -> TestClient:
    return served[0]


@pytest.fixture
def made(served: tuple[TestClient, Service]) -> Service:
    return served[1]


@pytest.fixture(autouse=True)
def reset(request: pytest.FixtureRequest) -> None:
    """Each test begins with `main` at the first run and without schedules."""
    if "made" in request.fixturenames or "client" in request.fixturenames:
        found: Service = request.getfixturevalue("served")[1]
        found.store.set_baseline("main", service.run_of(1).id, set_at=AT)
        for one in found.schedules.list():
            found.schedules.delete(one.id)


def measured(
    made: Service, run: int, verdict: str, label: str = "3->4", base_id: str | None = service.run_of(1).id
) -> str:
    """A job against `main` whose run was confirmed to be so; returns its id."""
    found = made.trusted(service.TINY)
    job = verbs.new_job(service.TINY, found, by="ann", at=verbs.time_of(AT), against="main", priority=100)
    me = Writer.of_this_process()
    made.jobs.add(job)
    claimed = made.jobs.claim(me, "9999")
    assert claimed is not None and claimed.id == job.id
    changed = ChangedCase(case_id="c", label=label, verdict=verdict, ratio=1.25, low=1.125, high=1.5)
    said = verbs.verdict_of(
        made.store,
        replace(job, name=service.run_of(run).name),
        service.run_of(run).id,
        base_id=base_id,
        verdict=verdict,
        text=f"{verdict}: 1 of 12",
        changes=[changed],
        at=AT,
    )
    assert made.jobs.end(job.id, me, JobState.MEASURED, AT, verdict=said)
    return job.id


def test_a_schedule_is_made_shown_paused_run_and_deleted(client: TestClient, made: Service) -> None:
    answer = client.post(f"{V1}/schedules", json=BODY)
    assert answer.status_code == 201, answer.text
    found = answer.json()
    assert (found["baseline"], found["host"], found["paused"]) == ("schedule/nightly", made.host, False)
    assert len(found["next_times"]) == 5 and found["made_by"] == "this machine's user"
    path = f"{V1}/schedules/{found['id']}"
    assert client.get(path).json() == {**found, "sweep": service.TINY}
    assert client.get(f"{V1}/schedules").json() == [found]
    assert client.post(f"{path}/pause").json()["next_times"] == []
    assert "paused" in client.get("/schedules").text and "Go on" in client.get(f"/schedules/{found['id']}").text
    assert client.post(f"{path}/resume").json()["next_times"] == found["next_times"]
    job = client.post(f"{path}/run").json()
    assert (job["schedule_id"], job["due_at"], job["against"]) == (found["id"], None, "schedule/nightly")
    assert f'href="/schedules/{found["id"]}"' in client.get(f"/jobs/{job['id']}").text
    client.post(f"{V1}/jobs/{job['id']}/cancel")
    assert client.post(f"{V1}/schedules", json=BODY).status_code == 409
    written = [(one["action"], one["target"]) for one in client.get(f"{V1}/writes").json()]
    assert (f"POST {V1}/schedules", found["id"]) in written
    assert (f"POST {V1}/schedules/{{schedule_id}}/run", f"{found['id']}, {job['id']}") in written
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404 == client.delete(path).status_code
    assert client.get(f"/schedules/{found['id']}").status_code == 404
    assert (f"DELETE {V1}/schedules/{{schedule_id}}", found["id"]) in [
        (one["action"], one["target"]) for one in client.get(f"{V1}/writes").json()
    ]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"cron": "61 * * * *"}, 400),
        ({"zone": "../../etc/passwd"}, 400),
        ({"baseline": "latest"}, 400),
        ({"name": "  "}, 400),
        ({"sweep": "axes: {in_channels: x}"}, 422),
        ({"sweep": service.TINY.replace("threads: 1", "module: evil:Layer")}, 400),
        ({"priority": 101}, 422),
        ({"more": 1}, 422),
    ],
)
def test_a_schedule_that_cannot_be_is_a_problem(client: TestClient, change: dict[str, object], status: int) -> None:
    answer = client.post(f"{V1}/schedules", json={**BODY, **change})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert client.get(f"{V1}/schedules").json() == []


def test_a_schedule_is_changed_by_the_one_who_has_seen_it(client: TestClient) -> None:
    found = client.post(f"{V1}/schedules", json=BODY).json()
    path, page = f"{V1}/schedules/{found['id']}", client.get(f"/schedules/{found['id']}").text
    assert f'name="expected" value="{found["edition"]}"' in page and 'data-form="change"' in page
    seen = found["edition"]
    changed = client.patch(path, json={"cron": "0 4 * * *", "zone": "UTC", "sweep": "quick", "expected": seen}).json()
    assert (changed["cron"], changed["name"], changed["sweep_name"]) == ("0 4 * * *", "nightly", "quick")
    assert changed["next_times"][0].endswith("T04:00:00+00:00") and changed["edition"] != seen
    assert changed["sweep"].startswith("# ") or "axes:" in changed["sweep"]
    late = client.patch(path, json={"cron": "0 5 * * *", "expected": seen})
    assert late.status_code == 409 and "changed meanwhile" in late.json()["detail"]
    same = client.patch(path, json={}).json()
    assert same == changed
    other = client.post(f"{V1}/schedules", json={**BODY, "name": "other", "sweep": "quick"}).json()
    assert client.patch(f"{V1}/schedules/{other['id']}", json={"name": "nightly"}).status_code == 409
    for wrong, status in (
        ({"cron": "61 * * * *"}, 400),
        ({"zone": "Mars"}, 400),
        ({"baseline": "latest"}, 400),
        ({"sweep": "axes: {in_channels: x}"}, 422),
        ({"sweep": service.TINY.replace("threads: 1", "module: evil:Layer")}, 400),
        ({"priority": 101}, 422),
        ({"more": 1}, 422),
    ):
        assert client.patch(path, json=wrong).status_code == status, wrong
    assert client.get(path).json() == changed
    assert client.patch(f"{V1}/schedules/unknown", json={}).status_code == 404


def test_a_sweep_that_comes_with_convbench_is_named(client: TestClient) -> None:
    job = client.post(f"{V1}/jobs", json={"sweep": " quick\n"}).json()
    assert client.get(f"{V1}/jobs/{job['id']}").json()["sweep"] == client.get(f"{V1}/sweeps/quick").json()["sweep"]
    assert client.post(f"{V1}/jobs", json={"sweep": "quicker"}).status_code == 422
    client.post(f"{V1}/jobs/{job['id']}/cancel")


def test_crons_words_are_shown_as_times(client: TestClient) -> None:
    found = client.get(f"{V1}/cron", params={"cron": "30 2 * * *", "zone": "Europe/Berlin"}).json()
    assert len(found["times"]) == 5 and all(", 02:30 CE" in text for text in found["local"])
    wrong = client.get(f"{V1}/cron", params={"cron": "30 25 * * *"}).json()
    assert (wrong["times"], wrong["local"]) == ([], []) and "bad hour" in wrong["refused"]


def test_a_change_is_accepted_with_a_reason_and_shown(client: TestClient, made: Service) -> None:
    first, second = (service.run_of(number).id for number in (1, 2))
    page = client.get("/compare", params={"base": "main", "new": second}).text
    assert 'data-form="accept"' in page and "<option>main</option>" in page
    assert 'data-form="accept"' not in client.get("/compare", params={"base": second, "new": first}).text
    body = {"baseline": "main", "run": second, "reason": f"a new kernel {HOSTILE}", "expected": first}
    done = client.post(f"{V1}/acceptances", json=body)
    assert done.status_code == 201, done.text
    assert client.post(f"{V1}/acceptances", json=body).status_code == 409
    assert client.get(f"{V1}/runs/main").json()["id"] == second
    assert client.get(f"{V1}/acceptances", params={"run": second, "baseline": "main"}).json() == [done.json()]
    page = client.get(f"/runs/{second}").text
    assert "a new kernel &lt;script&gt;" in page and "this machine&#39;s user made" in page
    assert ">accepted</span>" in client.get("/runs").text
    assert client.get(f"{V1}/writes").json()[0]["status"] in (201, 409)


def test_only_who_may_submit_accepts_or_schedules(tmp_path: Path) -> None:
    path = service.filled(tmp_path / "runs.db", service.run_of(1), service.run_of(2))
    with serving(path) as (client, made):
        made.store.set_baseline("main", service.run_of(1).id, set_at=AT)
        tokens = {scope: made.tokens.create(scope.value, [scope], AT, None)[1] for scope in Scope}
        body = {"baseline": "main", "run": service.run_of(2).id, "reason": "why"}
        for scope, token in tokens.items():
            headers = {"Authorization": f"Bearer {token}"}
            allowed = scope in (Scope.SUBMIT, Scope.ADMIN)
            made.store.set_baseline("main", service.run_of(1).id, set_at=AT)
            codes = [
                client.post(f"{V1}/acceptances", json=body, headers=headers).status_code,
                client.post(f"{V1}/schedules", json={**BODY, "name": scope.value}, headers=headers).status_code,
                client.patch(f"{V1}/schedules/x", json={}, headers=headers).status_code,
            ]
            assert codes == ([201, 201, 404] if allowed else [403, 403, 403]), scope
        assert {one.who for one in made.tokens.writes() if one.status == 201} == {"submit", "admin"}


def test_verdicts_are_on_the_pages_of_runs_and_in_the_api(client: TestClient, made: Service) -> None:
    second = service.run_of(2).id
    job_id = measured(made, 2, "regressed", label="<b>3->4")
    [found] = [one for one in client.get(f"{V1}/verdicts", params={"run": second}).json() if one["job_id"] == job_id]
    assert (found["verdict"], found["base_id"], found["changes"][0]["low"]) == (
        "regressed",
        service.run_of(1).id,
        1.125,
    )
    page = client.get(f"/runs/{second}").text
    assert "regressed, +25.0 % (+12.5 % to +50.0 %): &lt;b&gt;3-&gt;4" in page
    assert ">regressed</span>" in client.get("/runs").text


def test_runs_are_filtered_by_the_verdict_on_them(tmp_path: Path) -> None:
    path = service.filled(tmp_path / "runs.db", *(service.run_of(number) for number in (1, 2, 3)))
    with serving(path) as (client, made):
        made.store.set_baseline("main", service.run_of(1).id, set_at=AT)
        assert 'name="verdict"' not in client.get("/runs").text
        measured(made, 2, "regressed")
        measured(made, 3, "unchanged")
        for verdict, number in (("regressed", 2), ("unchanged", 3)):
            query = {"verdict": verdict}
            run_id = service.run_of(number).id
            assert [one["id"] for one in client.get(f"{V1}/runs", params=query).json()["runs"]] == [run_id]
            rows = DictReader(io.StringIO(client.get(f"{V1}/lists/runs.csv", params=query).text))
            assert [row["id"] for row in rows] == [run_id]
            page = client.get("/runs", params=query).text
            assert f"<option selected>{verdict}</option>" in page and f'href="/runs/{run_id}"' in page
            assert page.count("data-run=") == 1 and f"runs.csv?verdict={verdict}" in page
        assert client.get(f"{V1}/runs", params={"verdict": "x' OR 1"}).json()["runs"] == []
        both = {"verdict": "regressed", "text": service.run_of(3).id}
        assert client.get(f"{V1}/runs", params=both).json()["runs"] == []


def test_a_job_leads_to_a_comparison_with_another_run_alone(client: TestClient, made: Service) -> None:
    second = service.run_of(2).id
    job_id = measured(made, 2, "regressed")
    made.jobs.note_begun(made.jobs.get(job_id), second)
    link = f'href="/compare?base={service.run_of(1).id}&amp;new={second}"'
    made.store.set_baseline("main", second, set_at=AT)
    assert link in client.get(f"/jobs/{job_id}").text, "with the run that was the baseline then"
    first = measured(made, 1, verbs.BASELINE_SET, base_id=None)
    made.jobs.note_begun(made.jobs.get(first), service.run_of(1).id)
    assert "/compare?" not in client.get(f"/jobs/{first}").text, "its run became the baseline"
    [job] = [one for one in made.jobs.list()[0] if one.id == job_id]
    other = replace(job, id=f"{job.id}x")
    made.jobs.add(other)
    assert "/compare?" not in client.get(f"/jobs/{other.id}").text, "main is its own run"
    made.store.set_baseline("main", service.run_of(1).id, set_at=AT)
    assert f'href="/compare?base=main&amp;new={second}"' in client.get(f"/jobs/{other.id}").text


def test_a_badge_says_the_verdict_of_the_newest_run(tmp_path: Path) -> None:
    path = service.filled(tmp_path / "runs.db", service.run_of(1))
    with serving(path) as (client, made):

        def said(name: str = "nightly", **query: str) -> str:
            answer = client.get(f"{V1}/sweeps/{name}/badge.svg", params=query)
            assert (
                answer.headers["content-type"] == "image/svg+xml"
                and "sandbox" in answer.headers["content-security-policy"]
            )
            root = ElementTree.fromstring(answer.text)
            return root.attrib["aria-label"].split(": ")[1]

        assert (said("unknown"), said()) == ("no run", "no baseline")
        made.store.set_baseline("main", service.run_of(1).id, set_at=AT)
        service.filled(path, service.run_of(2))
        assert said() == client.get(f"{V1}/compare", params={"base": "main", "new": "latest"}).json()["verdict"]
        measured(made, 2, "regressed")
        assert said() == "regressed"
        tag = client.get(f"{V1}/sweeps/nightly/badge.svg").headers["etag"]
        again = client.get(f"{V1}/sweeps/nightly/badge.svg", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        made.store.set_baseline("main", service.run_of(1).id, set_at=AT)
        verbs.accept(made.store, "main", service.run_of(2).id, who="ann", reason="why", at=AT)
        assert said() == "accepted"
        assert said(machine="another one") == "no run"


def test_a_badge_holds_no_markup_of_its_texts() -> None:
    root = ElementTree.fromstring(badge('<x onload="y">&', "regressed"))
    assert [one.text for one in root.iter() if one.text] == [
        '<x onload="y">&: regressed',
        '<x onload="y">&',
        "regressed",
    ]


def test_the_feed_has_confirmed_changes_and_acceptances(client: TestClient, made: Service) -> None:
    atom = "{http://www.w3.org/2005/Atom}"
    measured(made, 3, "regressed")
    job_id = measured(made, 3, "unchanged")
    verbs.accept(
        made.store, "main", service.run_of(3).id, who="ann", reason=f"why {HOSTILE}", at="2026-12-01T00:00:00+00:00"
    )
    answer = client.get("/changes.atom")
    assert answer.headers["content-type"] == "application/atom+xml"
    feed = ElementTree.fromstring(answer.content)
    entries = feed.findall(f"{atom}entry")
    ids = [entry.findtext(f"{atom}id") or "" for entry in entries]
    assert len(set(ids)) == len(ids) and not any(job_id in each for each in ids)
    assert all(each.startswith(f"tag:convbench,2026:{made.store.identity()}/") for each in ids)
    assert feed.findtext(f"{atom}updated") == entries[0].findtext(f"{atom}updated") == "2026-12-01T00:00:00+00:00"
    assert "Reason: why <script>alert(1)</script>" in (entries[0].findtext(f"{atom}content") or "")
    links = [link.attrib["href"] for entry in entries for link in entry.findall(f"{atom}link")]
    assert all(link.startswith(f"{service.HERE}/") for link in links)
    for link in links:
        assert client.get(link).status_code == 200
    assert any("regressed x 1.250 (1.125 to 1.500): 3->4" in (one.findtext(f"{atom}content") or "") for one in entries)


def test_lists_are_files_of_what_is_shown(client: TestClient, made: Service) -> None:
    shown = client.get(f"{V1}/runs", params={"sweep": "nightly"}).json()["runs"]
    page = client.get("/runs", params={"sweep": "nightly"}).text
    assert 'href="/api/v1/lists/runs.parquet?sweep=nightly"' in page and 'href="/changes.atom"' in page
    query = {"sweep": "nightly"}
    rows = client.get(f"{V1}/lists/runs.json", params=query).json()
    assert [row["id"] for row in rows] == [run["id"] for run in shown] and rows[0]["measured"] == 12
    text = client.get(f"{V1}/lists/runs.csv", params=query)
    assert text.headers["content-disposition"] == 'attachment; filename="runs.csv"'
    assert [row["id"] for row in DictReader(io.StringIO(text.text))] == [row["id"] for row in rows]
    parquet = pandas.read_parquet(io.BytesIO(client.get(f"{V1}/lists/runs.parquet", params=query).content))
    assert list(parquet["id"]) == [row["id"] for row in rows] and list(parquet.columns) == list(rows[0])
    job = client.post(f"{V1}/jobs", json={"sweep": service.TINY.replace("name: tiny", "name: '=1+1'")}).json()
    jobs = client.get(f"{V1}/lists/jobs.csv", params={"state": "queued"}).text
    assert next(row for row in DictReader(io.StringIO(jobs)) if row["id"] == job["id"])["name"] == "'=1+1"
    assert json.loads(client.get(f"{V1}/lists/jobs.json?limit=1").text)[0]["id"] == job["id"]
    assert client.get(f"{V1}/lists/runs.exe").status_code == 422
    client.post(f"{V1}/jobs/{job['id']}/cancel")
