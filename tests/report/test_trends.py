"""The page of all runs over time: what a sweep's line says, what is kept of it, and what it costs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
from browser import opened
from commands import store
from nights import nights, run_of
from page_reader import Read
from playwright.sync_api import Browser

from convbench import __version__
from convbench.actions import pages, trending
from convbench.analysis.history.history import history
from convbench.analysis.history.history import trends as trends_of
from convbench.model.result import Run, RunState, RunSummary
from convbench.model.threshold import Thresholds
from convbench.report.pages import index, index_cache, trends
from convbench.store import Store

STEPPED = [1e-3] * 4 + [1.3e-3] * 3


def line_of(runs: Sequence[Run]) -> trends.Line:
    (trend,) = trends_of(history(runs, Thresholds()))
    return trends.line(trend)


@pytest.fixture(scope="module")
def stepped() -> trends.Line:
    return line_of(nights(STEPPED, upgrade=5, many=4))


def swept(line: trends.Line) -> trends.SweepTrend:
    return trends.SweepTrend(of=(("b", "now"), ("a", "then")), lines=(line,))


def page(line: trends.Line, name: str = "nightly") -> str:
    return index.render([], older=0, version="0.1.0", sweeps={name: swept(line)})


def test_a_step_is_told_with_its_cases_and_what_differs(stepped: trends.Line) -> None:
    (told,) = stepped.steps
    assert told.run_id == "20261105-033000-ab05"
    assert re.match(r"4 of 4 cases slower, \+(29\.\d|30\.\d) % \(median\)", told.sentence)
    assert "(median), since 5 November 2026: " in told.sentence
    assert "torch 2.12.0 -> 2.13.0" in told.sentence
    assert told.sentence.endswith(", 2 more.")
    faster = line_of(nights(STEPPED[::-1]))
    assert faster.steps[0].sentence.startswith("1 of 1 case faster, -2")
    assert faster.steps[0].ratio < 1


def test_the_page_draws_the_line_and_says_it_in_words(stepped: trends.Line) -> None:
    html = page(stepped)
    read = Read(html)
    assert {"Sweeps", "nightly", "AMD EPYC 7B13, x86_64, 2 cores"} <= set(read.texts)
    assert any(
        text.startswith("4 cases in 7 runs from 1 November 2026 to 7 November 2026; median") for text in read.texts
    )
    assert any(text.startswith("4 of 4 cases slower") for text in read.texts)
    assert read.tags.count("circle") == 7
    assert html.count('class="mark slower"') == 1
    steady = Read(page(line_of(nights([1e-3] * 3))))
    assert any(text.endswith("against the first run. It takes six runs to detect a step.") for text in steady.texts)
    assert "Sweeps" not in Read(index.render([], older=0, version="0.1.0")).texts


def test_the_line_lies_in_its_picture(stepped: trends.Line) -> None:
    for line in (stepped, line_of(nights([1e-3, 1e-3])), line_of(nights([1e-3, 9e-3, 1e-6]))):
        seen = trends.shown(line, {})
        assert len(seen.spots) == len(line.dots)
        assert all(0 <= float(spot.x) <= trends.WIDTH and 0 <= float(spot.y) <= trends.HEIGHT for spot in seen.spots)
        assert [float(spot.x) for spot in seen.spots] == sorted(float(spot.x) for spot in seen.spots)
    low, high = (float(trends.shown(stepped, {}).spots[place].y) for place in (0, -1))
    assert high < low, "slower is higher"


def test_a_point_links_the_report_of_its_run(stepped: trends.Line) -> None:
    spots = trends.shown(stepped, {"20261105-033000-ab05": "./there.html"}).spots
    assert [spot.href for spot in spots] == [None] * 4 + ["./there.html"] + [None] * 2
    about = {"name": "nightly", "started_at": "", "finished_at": "", "host": "", "cpu": "", "torch": ""}
    run = RunSummary(id="20261105-033000-ab05", state=RunState.FINISHED, cases=4, statuses={}, **about)
    entry = index.RunEntry(run=run, glance=None, report="there.html")
    html = index.render([entry], older=0, version="1", sweeps={"nightly": swept(stepped)})
    assert re.search(r'<a href="./there.html" tabindex="-1" aria-label="5 November 2026[^"]*ab05: \+\d', html)


def test_a_step_links_the_report_of_its_run(stepped: trends.Line) -> None:
    (move,) = trends.shown(stepped, {"20261105-033000-ab05": "./there.html"}).moves
    assert move[1] == "./there.html"
    (move,) = trends.shown(stepped, {}).moves
    assert move[1] is None


@pytest.mark.parametrize("hostile", [*synthetic.HOSTILE, "\ud800 half", "' onclick='x", "</style><script>1</script>"])
def test_hostile_text_is_text(stepped: trends.Line, hostile: str) -> None:
    (told,) = stepped.steps
    dots = tuple(replace(dot, run_id=hostile, started_at=hostile) for dot in stepped.dots)
    changed = replace(stepped, machine=hostile, dots=dots, steps=(replace(told, sentence=hostile),))
    html = page(changed, name=hostile)
    html.encode()
    plain = replace(stepped, steps=(replace(told, run_id="none of these"),))
    assert [tag for tag in Read(html).tags if tag != "line"] == [tag for tag in Read(page(plain)).tags if tag != "line"]


# ---- what is kept


def test_what_is_kept_comes_back(stepped: trends.Line) -> None:
    sweeps = {"a": swept(stepped), "\ud800": trends.SweepTrend(of=(), lines=())}
    text = index_cache.kept_text({}, "1.0", sweeps)
    assert index_cache.kept_trends(text, "1.0") == sweeps
    assert index_cache.kept_trends(text, "1.1") == {}


GOOD = {
    "of": [["a", "then"]],
    "lines": [
        {
            "machine": "m",
            "cases": 1,
            "dots": [["a", "then", 1.0], ["b", "now", 1.5]],
            "told": [["b", 1.5, "slower"]],
            "earlier": 0,
        }
    ],
}


def test_the_plain_document_is_good() -> None:
    assert len(trends.from_json({"x": GOOD})["x"].lines) == 1


@pytest.mark.parametrize(
    "document",
    [
        *(None, [], 3, "x", {"x": None}, {"x": []}, {"x": {}}),
        *({"x": {**GOOD, **change}} for change in ({"of": None}, {"of": ["ab"]}, {"of": [["a"]]}, {"of": [[1, 2]]})),
        *({"x": {**GOOD, **change}} for change in ({"lines": None}, {"lines": [None]}, {"lines": [{}]})),
        *(
            {"x": {**GOOD, "lines": [{**GOOD["lines"][0], **change}]}}
            for change in (
                *({"machine": 3}, {"cases": "1"}, {"cases": True}, {"earlier": None}, {"dots": None}, {"told": {}}),
                *({"dots": []}, {"dots": [["a", "then", 1.0]]}, {"dots": [["a", "then", 1.0]] * 2 + [["a", "b"]]}),
                *({"dots": [["a", "then", number]] * 2} for number in (0.0, -1.0, float("nan"), float("inf"), "1", 1)),
                *({"told": [["b", number, "x"]]} for number in (0.0, float("nan"), "1")),
                {"told": [["b", 1.5, None]]},
            )
        ),
    ],
)  # fmt: skip
def test_a_document_that_reads_otherwise_is_as_good_as_none(document: object) -> None:
    assert trends.from_json(document) == {}


def test_what_is_read_is_bounded() -> None:
    many = {"dots": [["a", "then", 1.0]] * 1000, "told": [["b", 1.5, "x" * 10_000]] * 100, "machine": "m" * 10_000}
    (line,) = trends.from_json({"x": {**GOOD, "lines": [{**GOOD["lines"][0], **many}]}})["x"].lines
    assert (len(line.dots), len(line.steps)) == (trends.MOST_RUNS, trends.MOST_MOVES)
    assert len(line.steps[0].sentence) == len(line.machine) == trends.MOST_CHARACTERS


# ---- written to disk


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = tmp_path / "runs.db"
    for run in [*nights(STEPPED, upgrade=5, many=3), replace(run_of(9, 1e-3), name="once")]:
        store(run, path)
    return str(path)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many runs were read for trends, each time."""
    seen: list[int] = []
    past = Store.past

    def noted(self: Store, **wanted: object) -> list[Run]:
        found = past(self, **wanted)
        seen.append(len(found))
        return found

    monkeypatch.setattr(Store, "past", noted)
    return seen


def written(folder: Path, database: str, **rest: float) -> str:
    rest.setdefault("examine_s", 600.0)  # whatever else the machine does
    return pages.write_index(folder, db=database, **rest).read_text(encoding="utf-8")


def test_trends_are_found_out_once_and_again_after_another_run(tmp_path: Path, database: str, looks: list[int]) -> None:
    first = written(tmp_path, database)
    assert "3 of 3 cases slower" in first and "once" in first
    assert looks == [7], "a sweep with one run has no trend"
    assert written(tmp_path, database) == first
    assert looks == [7]
    store(run_of(10, 1.3e-3, torch="2.13.0", many=3), Path(database))
    assert "3 cases in 8 runs" in written(tmp_path, database)
    assert looks == [7, 8]
    assert list(index_cache.kept_trends((tmp_path / "index.json").read_text(encoding="utf-8"), __version__)) == [
        "nightly"
    ]


def test_without_time_what_was_kept_stands(tmp_path: Path, database: str, looks: list[int]) -> None:
    assert 'class="trend"' not in written(tmp_path, database, examine_s=0.0)
    written(tmp_path, database)
    store(run_of(10, 1.3e-3, many=3), Path(database))
    assert "3 cases in 7 runs" in written(tmp_path, database, examine_s=0.0)
    assert looks == [7]


def test_what_is_read_of_a_sweep_is_bounded(
    tmp_path: Path, database: str, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trending, "MOST_FLOORS", 10)
    assert "3 cases in 3 runs from 5 November 2026" in written(tmp_path, database)
    monkeypatch.setattr(trending, "MOST_FLOORS", 5)
    assert 'class="trend"' not in written(tmp_path, database)
    assert looks == [3]


def test_a_sweep_that_cannot_be_read_costs_its_trend_alone(tmp_path: Path, database: str) -> None:
    for night in (11, 12):
        store(replace(run_of(night, 1e-3), name="odd", source="compare: {threshold: [}"), Path(database))
    html = written(tmp_path, database)
    assert html.count('class="trend"') == 1 and "3 of 3 cases slower" in html


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_the_line_fits_and_names_itself(
    browser: Browser, tmp_path: Path, stepped: trends.Line, width: int, scheme: str
) -> None:
    path = tmp_path / "index.html"
    long = replace(stepped, machine="a_processor_without_any_blank" * 9)
    sweeps = {"nightly": swept(stepped), "n" * 300: swept(long)}
    path.write_text(index.render([], older=0, version="0.1.0", sweeps=sweeps), encoding="utf-8")
    with opened(browser, path, width=width, scheme=scheme, scripts="off") as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        picture = seen.page.get_by_role("article", name="nightly").locator("svg")
        assert (picture.get_attribute("aria-label") or "").startswith("4 cases in 7 runs")
        scale = seen.page.locator(".trend-scale").first.bounding_box()
        words = seen.page.locator(".trend > .note").first.bounding_box()
        assert scale and words and scale["y"] + scale["height"] <= words["y"]
        assert seen.console == []
