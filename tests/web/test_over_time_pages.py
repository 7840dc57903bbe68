"""Layers over time, changes since a day, noise: by the API and as pages."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import closing
from csv import DictReader
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import nights
import pandas
import pytest
import service
from service import serving
from starlette.testclient import TestClient

from convbench.analysis.history import steps
from convbench.model.result import Run
from convbench.web import over_time
from convbench.web.answers_over_time import ChangesAnswer
from convbench.web.helper import Helper
from convbench.web.state import Service

V1 = "/api/v1"
LONG_S = 60.0
#: Maximum size of a page, characters.
MOST_PAGE = 200_000
HOSTILE = "<script>alert('sweep')</script>"


def other(run: Run, **changes: Any) -> Run:
    """The run as one of another sweep, an hour later."""
    at = run.started_at.replace("T03", "T04")
    changes = {"id": run.id.replace("-ab", "-cd"), "started_at": at, "finished_at": at, **changes}
    return replace(run, **changes)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Service]]:
    """A sweep that got slower on 7 November, one that got faster on 4 November, and one with too few runs."""
    path = tmp_path_factory.mktemp("time") / "runs.db"
    slower = nights.nights([1e-3] * 6 + [1.3e-3] * 6, upgrade=7, many=4)
    faster = [other(run, name=HOSTILE) for run in nights.nights([2e-3] * 3 + [1e-3] * 3, many=2)]
    few = replace(service.run_of(1), name="few")
    service.filled(path, *slower, *faster, few)
    with serving(path) as made:
        found = made[1].pages.over_time.changes("2026-11-01", made[1].pages.over_time.groups(), wait_s=LONG_S)
        assert found.waiting == ()
        yield made


@pytest.fixture
def client(served: tuple[TestClient, Service]) -> TestClient:
    return served[0]


def test_changes_are_slower_and_faster_since_a_day(client: TestClient) -> None:
    found = client.get(f"{V1}/changes", params={"since": "2026-11-02"}).json()
    assert (found["since"], found["waiting"], found["short"], found["failed"]) == ("2026-11-02", [], [], [])
    [slower], [faster] = found["slower"], found["faster"]
    assert (slower["sweep"], slower["stepped"], slower["new_run_id"]) == ("nightly", 4, "20261107-033000-ab07")
    assert slower["ratio"] == pytest.approx(1.3, rel=0.01)
    assert (faster["sweep"], faster["stepped"], faster["new_run_id"]) == (HOSTILE, 2, "20261104-033000-cd04")
    assert "torch 2.12.0 -> 2.13.0" in slower["differences"]


@pytest.mark.parametrize(
    ("query", "slower", "faster"),
    [
        ({"since": "2026-11-05"}, 1, 0),
        ({"since": "2026-11-07"}, 1, 0),
        ({"since": "2026-11-08"}, 0, 0),
        ({"since": "2026-11-01", "sweep": HOSTILE}, 0, 1),
        ({"since": "2026-11-01", "sweep": "few"}, 0, 0),
        ({"since": "2026-11-01", "machine": "Xeon"}, 0, 0),
        ({"since": "9999-12-31"}, 0, 0),
    ],
)
def test_changes_are_those_that_the_query_names(
    client: TestClient, query: dict[str, str], slower: int, faster: int
) -> None:
    found = client.get(f"{V1}/changes", params=query).json()
    assert (len(found["slower"]), len(found["faster"]), found["waiting"]) == (slower, faster, [])


def test_the_page_of_changes_leads_to_runs_layers_and_a_comparison(client: TestClient) -> None:
    page = client.get("/changes", params={"since": "2026-11-02"}).text
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    assert page.index("+30.0 %") < page.index("-50.0 %")
    for link in ("/runs/20261107-033000-ab07", "/compare?base=20261106-033000-ab06&amp;new=20261107-033000-ab07"):
        assert f'href="{link}"' in page
    layer = re.search(r'href="(/layers/[a-z2-7]{12})"', page)
    assert layer is not None and client.get(layer[1]).status_code == HTTPStatus.OK
    assert "Nothing got slower." in client.get("/changes", params={"since": "2026-11-08"}).text


def test_changes_without_a_day_lead_to_one(client: TestClient) -> None:
    answer = client.get("/changes", params={"sweep": "nightly"})
    assert answer.status_code == HTTPStatus.SEE_OTHER
    assert re.fullmatch(r"/changes\?since=\d{4}-\d\d-\d\d&sweep=nightly", answer.headers["location"])


def test_a_page_says_what_is_not_computed_yet(served: tuple[TestClient, Service]) -> None:
    client, made = served
    ids = [f"202611{day:02}-050000-ef{day:02}" for day in range(1, 7)]
    runs = [
        replace(run, id=run_id, name="later", started_at=run.started_at.replace("T03", "T05"))
        for run, run_id in zip(nights.nights([1e-3] * 3 + [3e-3] * 3), ids, strict=True)
    ]
    service.filled(Path(made.settings.db or ""), *runs)
    mine = [one for one in made.pages.over_time.groups() if one.sweep == "later"]
    found = made.pages.over_time.changes("2026-11-01", mine, wait_s=0.0)
    assert (found.waiting, found.slower) == (tuple(mine), ())
    found = made.pages.over_time.changes("2026-11-01", mine, wait_s=LONG_S)
    assert [one.new_run_id for one in found.slower] == [ids[3]] and not found.waiting
    made.store.delete(ids)
    found = made.pages.over_time.changes("2026-11-01", made.pages.over_time.groups(), wait_s=LONG_S)
    assert "later" not in {one.sweep for one in found.slower}
    assert client.get("/changes", params={"since": "2026-11-01", "sweep": "later"}).status_code == HTTPStatus.OK


def test_a_service_that_starts_again_has_the_changes_of_the_one_before(
    served: tuple[TestClient, Service], tmp_path: Path
) -> None:
    made = served[1]

    def found() -> over_time.Changes:
        helper = Helper()
        with (
            closing(helper),
            closing(over_time.OverTime(made.store, made.settings.db, helper, keep_in=tmp_path)) as one,
        ):
            return one.changes("2026-11-01", one.groups(), wait_s=LONG_S)

    first = found()
    assert not first.waiting and len(list(tmp_path.iterdir())) == 2
    for path in tmp_path.iterdir():
        path.write_text(path.read_text().replace("2.12.0", "2.11.0"), encoding="utf-8")
    again = found()
    assert again != first and "torch 2.11.0 -> 2.13.0" in again.slower[0].differences


def test_sweeps_with_many_cases_say_from_when_they_are_looked_at(
    served: tuple[TestClient, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, made = served
    monkeypatch.setattr(over_time, "MOST_RESULTS", 40)  # ten runs of four cases
    made.pages.over_time.changes("2026-11-01", made.pages.over_time.groups(), wait_s=LONG_S)
    [short] = client.get(f"{V1}/changes", params={"since": "2026-11-01"}).json()["short"]
    assert (short["sweep"], short["runs"], short["from_at"][:10]) == ("nightly", 10, "2026-11-03")
    assert "from 3 November 2026" in client.get("/changes", params={"since": "2026-11-01"}).text


def test_a_list_of_changes_says_how_many_it_leaves_out(served: tuple[TestClient, Service]) -> None:
    from datetime import date

    made = served[1].pages.over_time
    found = made.changes("2026-11-01", made.groups(), wait_s=LONG_S)
    answer = ChangesAnswer.of(date(2026, 11, 1), replace(found, slower=found.slower * 5), 2)
    assert (len(answer.slower), len(answer.faster), answer.more) == (2, 1, 3)


def test_a_layer_over_time_by_the_api_and_as_a_page(client: TestClient) -> None:
    case_id = nights.nights([1e-3])[0].results[0].case.id
    found = client.get(f"{V1}/layers/{case_id}/history").json()
    [series] = found["series"]
    assert (found["case_id"], found["figure"], len(series["points"])) == (case_id, "floor", 19)
    assert {point["sweep"] for point in series["points"]} == {"nightly", "few", HOSTILE}
    answer = client.get(f"/layers/{case_id}")
    page = answer.text
    assert "<script>alert" not in page and "refresh" not in answer.headers
    assert all(f'href="/runs/{point["run_id"]}"' in page for point in series["points"])


def test_a_layer_that_is_still_being_read_is_asked_for_again(
    served: tuple[TestClient, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, made = served
    case_id = nights.nights([1e-3], many=2)[0].results[1].case.id
    assert made.pages.over_time.layer(case_id, wait_s=0.0) is None
    assert made.pages.over_time.layer(case_id) is not None
    monkeypatch.setattr(made.pages.over_time, "layer", lambda *_, **__: None)
    answer = client.get(f"/layers/{case_id}")
    assert answer.headers["refresh"] == "1" and "still being read" in answer.text
    answer = client.get(f"{V1}/layers/{case_id}/history")
    assert (answer.status_code, "retry-after" in answer.headers) == (HTTPStatus.SERVICE_UNAVAILABLE, True)


@pytest.mark.parametrize(("path", "status"), [("aaaaaaaaaaaa", 404), ("nothing", 422), ("AAAAAAAAAAAA", 422)])
def test_a_layer_that_is_not_there(client: TestClient, path: str, status: int) -> None:
    for address in (f"{V1}/layers/{path}/history", f"/layers/{path}"):
        assert client.get(address).status_code == status


def test_files_have_what_is_shown(client: TestClient) -> None:
    found = client.get(f"{V1}/changes", params={"since": "2026-11-02"}).json()
    rows = client.get(f"{V1}/lists/changes.json", params={"since": "2026-11-02"}).json()
    assert sorted(row["ratio"] for row in rows) == sorted(one["ratio"] for one in found["slower"] + found["faster"])
    assert [max(row["ratio"], 1 / row["ratio"]) for row in rows] == sorted(
        (max(row["ratio"], 1 / row["ratio"]) for row in rows), reverse=True
    )
    [slower] = [row for row in rows if row["ratio"] > 1]
    assert slower["differences"] == "; ".join(found["slower"][0]["differences"])
    text = client.get(f"{V1}/lists/changes.csv", params={"since": "2026-11-02"})
    assert text.headers["content-disposition"] == 'attachment; filename="changes.csv"'
    assert [float(row["ratio"]) for row in DictReader(io.StringIO(text.text))] == [row["ratio"] for row in rows]
    every = client.get(f"{V1}/layers").json()["layers"]
    assert client.get(f"{V1}/lists/layers.json").json() == every
    assert client.get(f"{V1}/lists/layers.json", params={"text": every[0]["case_id"]}).json() == every[:1]
    layer = every[0]["case_id"]
    [series] = client.get(f"{V1}/layers/{layer}/history").json()["series"]
    points = client.get(f"{V1}/lists/layers/{layer}.json").json()
    assert [point["time_s"] for point in points] == [point["time_s"] for point in series["points"]]
    table = pandas.read_parquet(io.BytesIO(client.get(f"{V1}/lists/layers/{layer}.parquet").content))
    assert list(table["run_id"]) == [point["run_id"] for point in points] and set(table["machine"]) == {
        series["machine"]
    }
    assert client.get(f"{V1}/lists/layers/aaaaaaaaaaaa.csv").status_code == HTTPStatus.NOT_FOUND
    for page in ("/changes?since=2026-11-02", f"/layers?text={layer}", f"/layers/{layer}"):
        links = re.findall(r'href="(/api/v1/lists/[^"]+)"', client.get(page).text)
        assert len(links) == 3 and all(client.get(link.replace("&amp;", "&")).status_code == 200 for link in links)


def test_layers_are_found_by_words_of_their_labels_page_by_page(client: TestClient) -> None:
    every = client.get(f"{V1}/layers").json()
    labels = [one["label"] for one in every["layers"]]
    assert labels == sorted(labels) and len(labels) == 12 and every["after"] is None
    some = client.get(f"{V1}/layers", params={"text": "BFLOAT16 forward", "limit": 2}).json()
    assert all("bfloat16" in one["label"] and "forward" in one["label"] for one in some["layers"])
    rest = client.get(f"{V1}/layers", params={"text": "bfloat16 forward", "after": some["after"]}).json()
    found = [one["label"] for one in [*some["layers"], *rest["layers"]]]
    assert found == [label for label in labels if "bfloat16" in label and "forward" in label]
    assert client.get(f"{V1}/layers", params={"text": "nothing"}).json() == {"layers": [], "after": None}
    assert client.get(f"{V1}/layers", params={"after": "aaaaaaaaaaaa"}).status_code == HTTPStatus.NOT_FOUND
    assert "More layers" not in client.get("/layers").text


def test_a_run_leads_to_its_layers(client: TestClient) -> None:
    run = nights.run_of(12, 1e-3, many=4)
    of_run = client.get(f"{V1}/layers", params={"run": run.id}).json()["layers"]
    assert [one["case_id"] for one in of_run] == [result.case.id for result in run.results]
    assert of_run[0]["runs"] == 19
    page = client.get(f"/runs/{run.id}").text
    assert all(f'href="/layers/{result.case.id}"' in page for result in run.results)
    assert client.get(f"{V1}/layers", params={"run": "none"}).status_code == HTTPStatus.NOT_FOUND


def test_the_noise_of_a_machine_is_a_line(served: tuple[TestClient, Service]) -> None:
    client, made = served
    assert made.pages.over_time.noise(wait_s=LONG_S).waiting == 0
    [machine] = client.get(f"{V1}/machines/noise").json()
    assert len(machine["runs"]) == 19 and all(one["noise"] > 0 for one in machine["runs"])
    started = [one["started_at"] for one in machine["runs"]]
    assert started == sorted(started)
    page = client.get("/machines").text
    assert page.count("<circle") == 19 and "in the last of 19 runs" in page


def test_a_layer_has_the_label_that_its_newest_run_gives(tmp_path: Path) -> None:
    first, second = nights.nights([1e-3, 1e-3])
    with serving(service.filled(tmp_path / "runs.db", first)) as (client, _):
        before = client.get(f"{V1}/layers").json()["layers"][0]["label"]
        result = second.results[0]
        named = replace(result, case=replace(result.case, given_label="stem"))
        service.filled(tmp_path / "runs.db", replace(second, results=(named,)))
        [layer] = client.get(f"{V1}/layers", params={"text": "stem"}).json()["layers"]
        assert (layer["label"], layer["runs"]) == (f"stem: {before}", 2)


def test_pages_of_many_runs_stay_small(served: tuple[TestClient, Service], monkeypatch: pytest.MonkeyPatch) -> None:
    client, made = served
    case_id = nights.nights([1e-3])[0].results[0].case.id
    history = made.pages.over_time.layer(case_id)
    assert history is not None
    [series] = history.series
    points = series.points[:6] * 200
    several = tuple(replace(series, machine=f"machine {number}", points=points) for number in range(4))
    monkeypatch.setattr(made.pages.over_time, "layer", lambda *_, **__: replace(history, series=several))
    page = client.get(f"/layers/{case_id}").text
    assert len(page) < MOST_PAGE and page.count("and 1,150 more runs are as JSON") == 4
    found = made.pages.over_time.changes("2026-11-01", made.pages.over_time.groups(), wait_s=LONG_S)
    [slower] = found.slower
    wide = replace(slower, sweep="s" * 5000, differences=tuple("d" * 500 for _ in range(50)))
    many = replace(found, slower=(wide,) * 300, faster=found.faster * 300)
    monkeypatch.setattr(made.pages.over_time, "changes", lambda *_, **__: many)
    page = client.get("/changes", params={"since": "2026-11-01", "sweep": "few"}).text  # no kept page
    assert len(page) < MOST_PAGE and page.count("And 270 more smaller changes") == 2
    assert "and 42 more differences" in page


def test_the_page_on_the_service_says_how_many_runs_are_looked_at() -> None:
    page = " ".join((Path(__file__).parent.parent.parent / "docs" / "service.md").read_text(encoding="utf-8").split())
    assert f"For a sweep of 500 cases it looks at the newest {over_time.MOST_RESULTS // 500} runs" in page
    assert f"Fewer cases allow more runs, up to {over_time.MOST_RUNS:,}." in page
    assert f"A step lasts for {steps.FEWEST} runs or more. It exceeds {steps.SMALLEST:.0%}".replace("%", " %") in page
    assert over_time.FEWEST_RUNS == 2 * steps.FEWEST
