"""Jobs for a cluster, for a captured model, and to find a commit: what the API and the pages say of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import campaigns
import pytest
import service
from repository import git
from service import serving
from starlette.testclient import TestClient

from convbench.model.bisection import Bisection, Commit, Decided, Outcome, Step
from convbench.model.job import JobKind
from convbench.model.result import Git, Run
from convbench.model.serial import to_json
from convbench.model.token import Scope
from convbench.store import Store, Writer
from convbench.web import pages
from convbench.web.access import Who
from convbench.web.state import Service
from convbench.web.views.finding import finding

V1 = "/api/v1"
MODEL = {"model": "net:Net", "input": ["8x3x32x32"], "arguments": ["width=4"], "train": True, "budget": 30}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A checkout of three commits."""
    folder = tmp_path_factory.mktemp("checkout")
    git(folder, "init", "-q", "-b", "main")
    commits = []
    for subject in ("first", "second", "third"):
        git(folder, "commit", "-q", "--allow-empty", "-m", subject)
        commits.append(git(folder, "rev-parse", "HEAD"))
    return folder, commits


def run_at(number: int, commit: str | None) -> Run:
    return service.run_of(number, git=None if commit is None else Git(commit=commit), source=service.TINY)


CASE = service.run_of(1).results[0].case.id


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, repository: tuple[Path, list[str]]
) -> Iterator[tuple[TestClient, Service]]:
    """A service with a checkout and a cluster, and three runs: of the first, the last, and of no known commit."""
    path, (folder, commits) = tmp_path_factory.mktemp("kinds") / "runs.db", repository
    service.filled(path, run_at(1, commits[0]), run_at(2, commits[-1]), run_at(3, None), run_at(4, commits[0]))
    with serving(path, checkouts=(("layers", folder),), trust_modules=True, ray="auto") as made:
        yield made


def problem(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["detail"])


# ---- finding a commit


def find(client: TestClient, base: int = 1, new: int = 2, **more: Any) -> Any:
    ids = {"base": service.run_of(base).id, "new": service.run_of(new).id}
    return client.post(f"{V1}/bisections", json=ids | more)


def test_the_commit_between_two_runs_is_a_job(
    served: tuple[TestClient, Service], repository: tuple[Path, list[str]]
) -> None:
    client, made = served
    answer = find(client)
    assert (answer.status_code, answer.json()["kind"], answer.json()["devices"]) == (201, "bisection", ["cpu"])
    job = client.get(f"{V1}/jobs/{answer.json()['id']}").json()
    found = job["bisection"]
    commits = repository[1]
    assert (found["checkout"], found["good"], found["bad"]) == ("layers", commits[0], commits[-1])
    assert (job["host"], job["cases"], len(found["case_ids"])) == (made.host, 5, 5)
    assert (found["steps"], found["outcome"], found["text"], job["fleet"]) == ([], None, None, None)
    again = client.post(f"{V1}/jobs/{job['id']}/again").json()
    assert client.get(f"{V1}/jobs/{again['id']}").json()["bisection"] == found
    named = find(client, cases=found["case_ids"][:1], checkout="layers").json()
    assert client.get(f"{V1}/jobs/{named['id']}").json()["bisection"]["case_ids"] == found["case_ids"][:1]


@pytest.mark.parametrize(
    ("base", "new", "more", "said"),
    [
        (1, 4, {}, "both runs are of commit"),
        (2, 1, {}, "is not before"),
        (3, 2, {}, "does not say its commit"),
        (1, 2, {"cases": ["nothing"]}, "has no case nothing"),
        (1, 2, {"checkout": "other"}, "has no checkout other"),
    ],
)
def test_runs_without_a_commit_between_are_refused(
    served: tuple[TestClient, Service], base: int, new: int, more: dict[str, Any], said: str
) -> None:
    assert said in problem(find(served[0], base, new, **more), 400)


def test_a_service_without_a_checkout_finds_none(tmp_path: Path, repository: tuple[Path, list[str]]) -> None:
    folder, commits = repository
    path = service.filled(tmp_path / "runs.db", run_at(1, commits[0]), run_at(2, commits[-1]))
    for more in ({}, {"checkouts": (("layers", folder),)}):  # the second one does not trust
        with serving(path, **more) as (client, made):
            assert "knows no checkout" in problem(find(client), 400)
            offered = finding(made, Who(name="ann", scopes=frozenset({Scope.SUBMIT})))
            assert offered.between(service.run_of(1).id, service.run_of(2).id) is bool(more)
            assert not finding(made, Who(name="bob", scopes=frozenset({Scope.READ}))).is_offered
    with serving(path, checkouts=(("empty", repository[0].parent),), trust_modules=True) as (client, _):
        assert "no checkout of this service has both commits" in problem(find(client), 400)


def test_pages_offer_it_between_runs_of_different_commits(served: tuple[TestClient, Service]) -> None:
    client, _ = served
    ids = {number: service.run_of(number).id for number in (1, 2, 3, 4)}
    for base, new, offered in ((1, 2, True), (1, 4, False), (1, 3, False)):
        page = client.get("/compare", params={"base": ids[base], "new": ids[new]}).text
        assert ("Find the commit" in page) is offered


def test_the_page_of_a_search_shows_each_comparison_and_the_answer(served: tuple[TestClient, Service]) -> None:
    client, made = served
    job_id = find(client, cases=[CASE]).json()["id"]
    page = client.get(f"/jobs/{job_id}").text
    assert "the search for a commit" in page and 'id="answer" class="answer" hidden' in page
    step = Step(base="a" * 40, new="b" * 40, threshold=0.02, moved=1, ratio=1.08, low=1.07, high=1.09, pairs=12)
    answer = Bisection(
        outcome=Outcome.FOUND,
        commits=1,
        steps=(step,),
        last=step,
        first=(Commit(id="b" * 40, author="<b>Ann", subject="use a loop"),),
    )
    decided = Decided(of="x", commits=1, steps=(step, replace(step, moved=None, refused="no module")), answer=answer)
    made.jobs.note_answer(job_id, json.dumps(to_json(decided)))
    page = client.get(f"/jobs/{job_id}").text
    assert "&lt;b&gt;Ann: use a loop" in page and "8.0 % slower" in page and "no module" in page
    found = client.get(f"{V1}/jobs/{job_id}").json()["bisection"]
    assert (found["outcome"], found["first"][0]["author"]) == ("found", "<b>Ann")
    assert [one["ratio"] for one in found["steps"]] == [1.08, 1.08] and found["text"].startswith("found: commit bbb")
    assert "search for a commit" in client.get("/jobs").text


# ---- a cluster


def test_a_job_for_a_cluster_is_a_campaign(served: tuple[TestClient, Service]) -> None:
    client, made = served
    fleet = {"how": "split", "where": {"rack": "2"}, "every_host": False}
    body = {"sweep": service.TINY, "fleet": fleet}
    job = client.post(f"{V1}/jobs", json=body, headers={"Idempotency-Key": "fleet"}).json()
    assert (job["kind"], job["devices"], job["host"]) == ("campaign", ["fleet"], made.host)
    whole = client.get(f"{V1}/jobs/{job['id']}").json()
    assert (whole["fleet"], whole["bisection"]) == (fleet, None)
    page = client.get(f"/jobs/{job['id']}").text
    assert "hosts of one machine key share the cases out, rack=2" in page and 'id="arrived"' not in page
    other = client.post(f"{V1}/jobs", json={"sweep": service.TINY}, headers={"Idempotency-Key": "fleet"})
    assert "whose sweep or task is another one" in problem(other, 409)
    assert "`fleet` and `host`" in problem(client.post(f"{V1}/jobs", json=body | {"host": "here"}), 400)
    wrong = client.post(f"{V1}/jobs", json=body | {"fleet": {"how": "all"}})
    assert problem(wrong, 422).startswith("body.fleet.how: ")


def test_a_service_without_a_cluster_refuses_campaigns(tmp_path: Path) -> None:
    with serving(tmp_path / "runs.db") as (client, _):
        assert "has no cluster" in problem(client.post(f"{V1}/jobs", json={"sweep": service.TINY, "fleet": {}}), 400)
        assert "Cluster" not in client.get("/measure").text


def test_campaigns_have_a_list_a_page_and_a_report_in_an_origin_of_its_own(tmp_path: Path) -> None:
    made = [run for run, _ in campaigns.runs(6)]
    campaigns.stored(made, tmp_path / "runs.db")
    campaign = campaigns.conducted(made)
    with Store.create(str(tmp_path / "runs.db")) as store:
        store.begin_campaign(replace(campaign, name="<script>three"), Writer.of_this_process())
    with serving(tmp_path / "runs.db") as (client, _):
        [listed] = client.get(f"{V1}/campaigns").json()
        assert listed == client.get(f"{V1}/campaigns/latest").json()
        assert (listed["id"], len(listed["shards"])) == (campaign.id, 3)
        assert campaign.id in client.get("/campaigns").text
        page = client.get(f"/campaigns/{campaign.id}").text
        assert "&lt;script&gt;three" in page and made[0].id in page
        report = client.get(f"{V1}/campaigns/{campaign.id}/report")
        assert report.status_code == 200 and "sandbox allow-scripts" in report.headers["content-security-policy"]
        tag = {"If-None-Match": report.headers["etag"]}
        assert client.get(f"{V1}/campaigns/{campaign.id}/report", headers=tag).status_code == 304
        assert client.get(f"{V1}/campaigns/c1/report").status_code == 404
        assert client.get("/campaigns/none").status_code == 404


# ---- a captured model


def test_a_model_becomes_a_sweep(served: tuple[TestClient, Service], monkeypatch: pytest.MonkeyPatch) -> None:
    client, made = served
    seen: list[Any] = []
    monkeypatch.setattr(made.pages, "captured", lambda request, budget: seen.append((request, budget)) or service.TINY)
    job = client.post(f"{V1}/jobs", json=MODEL | {"priority": 2}).json()
    assert (job["kind"], job["cases"], job["priority"]) == (JobKind.SWEEP, 1, 2)
    assert made.jobs.get(job["id"]).sweep == service.TINY
    assert client.post(f"{V1}/sweeps/capture", json=MODEL).json() == {"sweep": service.TINY}
    request, budget = seen[0]
    assert request.command == "convbench capture net:Net --input 8x3x32x32 --arg width=4 --train" and budget == 30
    assert "expected package.module:name" in problem(client.post(f"{V1}/jobs", json=MODEL | {"model": "net"}), 400)
    assert problem(client.post(f"{V1}/jobs", json=MODEL | {"sweep": "x"}), 422).startswith("body.sweep: Extra inputs")
    assert "Begin with a model of yours" in client.get("/measure").text


def test_a_service_that_does_not_trust_imports_no_model(tmp_path: Path) -> None:
    with serving(tmp_path / "runs.db") as (client, _):
        for path in ("jobs", "sweeps/capture"):
            assert "is code, which this service does not run" in problem(client.post(f"{V1}/{path}", json=MODEL), 400)
        assert "model of yours" not in client.get("/measure").text


@pytest.mark.slow
def test_a_model_is_captured_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("import torch\n\ndef Net(width):\n    return torch.nn.Conv2d(3, width, 3)\n")
    with serving(tmp_path / "runs.db", trust_modules=True) as (client, _):
        body = {"model": "net.py:Net", "input": ["1x3x16x16"], "arguments": ["width=4"], "budget": 20}
        text = client.post(f"{V1}/sweeps/capture", json=body).json()["sweep"]
        assert "out_channels: 4" in text and "convbench capture net.py:Net" in text
        wrong = client.post(f"{V1}/jobs", json=body | {"input": ["1x2x16x16"]})
        assert "net.py:Net: the forward pass failed" in problem(wrong, 400)
    monkeypatch.setattr(pages, "CAPTURE_S", 0.01)
    with serving(tmp_path / "runs.db", trust_modules=True) as (client, _):
        assert "took longer than" in problem(client.post(f"{V1}/jobs", json=body), 400)
