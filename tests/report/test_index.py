"""The page of all runs: what it says of each, what it keeps, and that nothing it reads can hurt it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synthetic
from browser import opened
from commands import store, visits_of
from page_reader import Read
from playwright.sync_api import Browser

from convbench import __version__
from convbench.actions import pages
from convbench.analysis.findings.findings import findings
from convbench.errors import RequestError, StoreError
from convbench.model.result import Run, RunState, RunSummary, Status
from convbench.report.pages import index, rendering
from convbench.store import Store, Writer

GLANCE = index.Glance(description="what it is for", noise=0.123, findings=("one thing", "another"))


def summary(**changes: Any) -> RunSummary:
    """A finished run of twelve cases."""
    made = RunSummary(
        id="20261124-033000-ab12",
        name="nightly",
        state=RunState.FINISHED,
        started_at="2026-11-24T03:30:00+00:00",
        finished_at="2026-11-24T03:33:20+00:00",
        host="laptop",
        cpu="AMD EPYC 7B13",
        torch="2.13.0+cpu",
        cases=12,
        statuses={Status.PASSED: 12},
    )
    return replace(made, **changes)


def page(*entries: index.RunEntry, older: int = 0) -> str:
    return index.render(entries, older=older, version="0.1.0")


def entry(glance: index.Glance | None = GLANCE, report: str | None = None, **changes: Any) -> index.RunEntry:
    return index.RunEntry(run=summary(**changes), glance=glance, report=report)


def test_a_run_is_told_with_its_findings_and_linked() -> None:
    read = Read(page(entry(report="nightly-20261124-033000-ab12.html")))
    for text in (
        *("1 run, newest first.", "nightly", "what it is for", "24 November 2026, 03:30 UTC", "finished"),
        *("12 cases measured", "One thing.", "Another.", "laptop", "AMD EPYC 7B13", "2.13.0+cpu", "12.3 %"),
    ):
        assert text in read.texts
    assert read.links == ["./nightly-20261124-033000-ab12.html"]
    assert "script" not in read.tags


def test_what_went_wrong_is_counted() -> None:
    statuses = {
        Status.PASSED: 1000,
        Status.FAILED: 2,
        Status.IMPRECISE: 8,
        Status.CRASHED: 3,
        Status.TIMED_OUT: 4,
        Status.OUT_OF_MEMORY: 5,
        Status.ERROR: 6,
        Status.SKIPPED: 7,
    }
    read = Read(page(entry(cases=2000, statuses=statuses, state=RunState.INTERRUPTED)))
    for text in (
        *("1,010 of 2,000 cases measured", "2 wrong", "8 imprecise", "18 lost", "7 skipped", "965 not reached"),
        "interrupted",
    ):
        assert text in read.texts
    assert "1 run, newest first; 1 unfinished; 1 with wrong layers; 1 with imprecise layers." in read.texts
    quiet = Read(page(entry()))
    assert not [text for text in quiet.texts if re.search(r"\d (wrong|imprecise|lost|skipped|not reached)", text)]


def test_a_run_without_report_names_the_command() -> None:
    read = Read(page(entry()))
    assert read.links == []
    assert "convbench report 20261124-033000-ab12" in read.texts


def test_what_is_not_known_is_said() -> None:
    assert "Findings are not shown here." in Read(page(entry(glance=None))).texts
    told = Read(page(entry(glance=None, report="x.html"))).texts
    assert "Findings are not shown here; see its report." in told
    assert "The run is in progress." in Read(page(entry(glance=None, state=RunState.RUNNING))).texts
    told = Read(page(entry(glance=replace(GLANCE, findings=("bfloat16 is fast", f"so lo{rendering.ELLIPSIS}"))))).texts
    assert {"bfloat16 is fast.", f"So lo{rendering.ELLIPSIS}"} <= set(told), "as in the report"
    silent = Read(page(entry(glance=index.Glance(description="", noise=None, findings=()))))
    assert "No findings." in silent.texts and "noise" not in silent.texts
    assert "No run is stored." in Read(page()).texts
    assert any(text.startswith("And 1,234 older runs") for text in Read(page(entry(), older=1234)).texts)
    assert "1,235 runs, newest first." in Read(page(entry(), older=1234)).texts


@pytest.mark.parametrize("hostile", [*synthetic.HOSTILE, "\ud800 half", "' onclick='x", "</style><script>1</script>"])
def test_hostile_text_is_text(hostile: str) -> None:
    glance = index.Glance(description=hostile, noise=None, findings=(hostile,))
    changes = dict.fromkeys(("id", "name", "host", "cpu", "torch", "started_at"), hostile)
    html = page(entry(glance=glance, report=f"{hostile}.html", **changes))
    html.encode()
    plain = page(entry(glance=replace(glance, findings=("x",)), report="x.html"))
    assert Read(html).tags == Read(plain).tags
    assert all(re.fullmatch(r"\./[\w.%~-]+", link) for link in Read(html).links)


def test_no_address_but_one_beside_the_page_is_linked() -> None:
    for name in ("javascript:alert(1)-x.html", "//elsewhere/-x.html", "..-x.html"):
        (link,) = Read(page(entry(report=name))).links
        assert link.startswith("./") and ":" not in link


def test_the_policy_allows_this_style_alone(tmp_path: Path) -> None:
    html = page(entry())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy and policy[1].startswith("default-src &#39;none&#39;; style-src &#39;sha256-")
    assert "unsafe" not in policy[1]


def test_reports_are_found_by_their_runs() -> None:
    ids = ["20261124-033000-ab12", "20261124-033000-cd34", "12"]
    names = [
        "a-20261124-033000-ab12.html",
        "12.html",
        "x12.html",
        "b-20261124-033000-cd34.html.part",
        "-.html",
        ".html",
    ]
    assert index.reports(ids, names) == {"20261124-033000-ab12": "a-20261124-033000-ab12.html"}
    assert index.reports([], names) == {}
    of_two = "compare-20261123-033000-cd34-20261124-033000-ab12.html"
    assert index.reports(ids, [of_two]) == {}
    own = "compare-20261124-033000-ab12.html"  # of a sweep that is called so
    assert index.reports(ids, [of_two, own]) == {"20261124-033000-ab12": own}
    assert index.reports(["x"], ["made-x.html"]) == {"x": "made-x.html"}


def test_a_glance_is_the_first_findings() -> None:
    run = replace(synthetic.run(24), description="\n  first line \nsecond line")
    seen = index.glance(run)
    assert seen.description == "first line"
    assert len(seen.findings) == index.MOST_FINDINGS
    assert seen.noise is not None and 0 <= seen.noise < 1
    told = [finding.sentence for finding in findings(run)]
    assert [text[:50] for text in seen.findings] == [" ".join(text.split())[:50] for text in told[: len(seen.findings)]]
    assert index.glance(run, ["known"]) == replace(seen, findings=("known",))
    assert index.glance(run, ["long " * 1000]).findings[0].endswith("long\N{HORIZONTAL ELLIPSIS}")
    empty = index.glance(replace(synthetic.empty_run(), description=" \n"))
    assert (empty.description, empty.noise) == ("", None)


def test_what_is_kept_comes_back() -> None:
    glances = {"a": ("then", GLANCE), "\ud800": ("", index.Glance(description="", noise=None, findings=()))}
    text = index.kept_text(glances, "1.0")
    text.encode()
    assert index.kept_glances(text, "1.0") == glances
    assert index.kept_glances(text, "1.1") == {}, "another convbench may find something else"


GOOD = json.loads(index.kept_text({"a": ("then", GLANCE)}, "1.0"))


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "null", "[]", "[" * 100_000, '"text"', "{}", "\x00"),
        *(json.dumps({**GOOD, **change}) for change in ({"layout": 1}, {"version": None}, {"runs": 3}, {"runs": []})),
        *(
            json.dumps({**GOOD, "runs": {"a": {**GOOD["runs"]["a"], **change}}})
            for change in (
                *({"finished_at": None}, {"finished_at": 3}, {"description": None}, {"description": ["x"]}),
                *({"noise": "loud"}, {"noise": float("nan")}, {"noise": True}, {"findings": None}, {"findings": "x"}),
            )
        ),
        json.dumps({**GOOD, "runs": {"a": None, "b": 3, "c": {}}}),
    ],
)
def test_a_file_that_reads_otherwise_is_as_good_as_none(text: str) -> None:
    assert index.kept_glances(text, "1.0") == {}


def test_what_is_kept_is_bounded() -> None:
    many = {"a": {**GOOD["runs"]["a"], "findings": [3, None, "x" * 100_000, "y", "z"], "description": "d" * 100_000}}
    (_, glance) = index.kept_glances(json.dumps({**GOOD, "runs": many}), "1.0")["a"]
    assert len(glance.findings) <= index.MOST_FINDINGS
    assert max(map(len, (*glance.findings, glance.description))) <= index.MOST_CHARACTERS


# ---- written to disk


def numbered(number: int, **changes: Any) -> Run:
    moment = f"2026-11-24T{number // 60:02}:{number % 60:02}:00+00:00"
    run = synthetic.run(changes.pop("count", 4), troubles=False, hostile=False)
    return replace(
        run,
        id=f"20261124-{number:06}-abcd",
        name=f"run {number}",
        started_at=moment,
        finished_at=moment,
        **changes,
    )


@pytest.fixture
def database(tmp_path: Path) -> str:
    return str(tmp_path / "runs.db")


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that were loaded, in turn."""
    loaded: list[str] = []
    load = Store.load

    def noted(self: Store, ref: str) -> Run:
        loaded.append(ref)
        return load(self, ref)

    monkeypatch.setattr(Store, "load", noted)
    return loaded


def written(folder: Path, database: str, **rest: Any) -> list[str]:
    rest.setdefault("examine_s", 600.0)  # whatever else the machine does
    path = pages.write_index(folder, db=database, **rest)
    assert path == folder / "index.html"
    return Read(path.read_text(encoding="utf-8")).texts


def test_finished_runs_are_looked_into_once(tmp_path: Path, database: str, looks: list[str]) -> None:
    runs = [store(numbered(number), Path(database)) for number in range(3)]
    first = written(tmp_path, database)
    assert looks == [run.id for run in reversed(runs)], "the newest first"
    assert [text for text in first if text.startswith("run ") and text != "run"] == ["run 2", "run 1", "run 0"]
    assert written(tmp_path, database) == first
    assert len(looks) == 3
    newer = store(numbered(7), Path(database))
    written(tmp_path, database)
    assert looks[3:] == [newer.id]
    for change in ({"version": "0.0.0"}, {"runs": {}}):
        kept = json.loads((tmp_path / "index.json").read_text(encoding="utf-8"))
        assert kept["version"] == __version__
        (tmp_path / "index.json").write_text(json.dumps({**kept, **change}), encoding="utf-8")
        looks.clear()
        written(tmp_path, database)
        assert len(looks) == 4
    kept["runs"][newer.id]["finished_at"] = "another time"
    (tmp_path / "index.json").write_text(json.dumps(kept), encoding="utf-8")
    looks.clear()
    written(tmp_path, database)
    assert looks == [newer.id], "it was resumed since"


def test_a_run_at_hand_is_not_loaded_again(tmp_path: Path, database: str, looks: list[str]) -> None:
    run = store(numbered(1), Path(database))
    assert "Found before." in written(tmp_path, database, run=run, findings=["found before"])
    assert "Found before." in written(tmp_path, database)
    assert looks == []
    other = store(numbered(2), Path(database))
    written(tmp_path, database, run=other)
    assert looks == []


def test_what_would_take_long_is_not_looked_at(
    tmp_path: Path, database: str, looks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store(numbered(1), Path(database))
    remark = "Findings are not shown here."
    assert remark in written(tmp_path, database, examine_s=0.0)
    monkeypatch.setattr(pages, "MOST_EXAMINED_CASES", 3)
    large = store(numbered(2), Path(database))
    assert written(tmp_path, database, run=large).count(remark) == 2
    assert looks == []
    assert written(tmp_path, database, run=large, findings=["known"]).count(remark) == 1


def test_a_run_that_may_go_on_is_not_kept(tmp_path: Path, database: str, looks: list[str]) -> None:
    run = replace(numbered(1), finished_at=None, state=RunState.RUNNING)
    with Store.create(database) as opened_store:
        opened_store.begin(run, [result.case for result in run.results], (), Writer.of_this_process(), digest="x")
        opened_store.append(run.id, visits_of(run.results[0]))
        texts = written(tmp_path, database)
        assert {"running", "1 of 4 cases measured", "3 not reached", "The run is in progress."} <= set(texts)
        assert "So far." in written(tmp_path, database, run=run, findings=["so far"])
    assert not (tmp_path / "index.json").exists()
    assert looks == []


def test_reports_in_the_folder_are_linked(tmp_path: Path, database: str) -> None:
    runs = [store(numbered(number), Path(database)) for number in range(2)]
    name = f"run-1-{runs[1].id}.html"
    (tmp_path / name).touch()
    html = pages.write_index(tmp_path, db=database).read_text(encoding="utf-8")
    assert Read(html).links == [f"./{name}"]
    assert f"convbench report {runs[0].id}" in Read(html).texts


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{}", b"[" * 1000, b'{"layout": 2, "runs": {"a": 1}}', None])
def test_whatever_lies_beside_the_page_is_put_right(tmp_path: Path, database: str, content: bytes | None) -> None:
    run = store(numbered(1), Path(database))
    if content is not None:
        (tmp_path / "index.json").write_bytes(content)
    written(tmp_path, database)
    kept = index.kept_glances((tmp_path / "index.json").read_text(encoding="utf-8"), __version__)
    assert list(kept) == [run.id]


def test_a_huge_file_beside_the_page_is_not_read(tmp_path: Path, database: str, looks: list[str]) -> None:
    store(numbered(1), Path(database))
    written(tmp_path, database)
    path = tmp_path / "index.json"
    path.write_text(path.read_text(encoding="utf-8") + " " * pages.LARGEST_KEPT, encoding="utf-8")
    written(tmp_path, database)
    assert len(looks) == 2


def test_what_cannot_be_done_is_a_wrong_request(tmp_path: Path, database: str) -> None:
    with pytest.raises(StoreError, match="there is no database"):
        pages.write_index(tmp_path, db=database)
    store(numbered(1), Path(database))
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match=r"cannot write .*index\.html"):
        pages.write_index(tmp_path / "file", db=database)


def test_only_the_newest_are_on_the_page(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MOST_RUNS", 2)
    for number in range(3):
        store(numbered(number), Path(database))
    texts = written(tmp_path, database)
    assert {"run 2", "run 1"} <= set(texts) and "run 0" not in texts
    assert any(text.startswith("And 1 older run") for text in texts)


# ---- in a browser


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "index.html"
    long = index.Glance(description="word " * 60, noise=0.02, findings=tuple(f"{text} " * 9 for text in "abc"))
    name = "a_name_without_any_blank_to_break_it_at" * 4
    path.write_text(
        page(entry(report="nightly-20261124-033000-ab12.html"), entry(glance=long, name=name, host=name, cpu=name)),
        encoding="utf-8",
    )
    yield path


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_the_page_fits_and_fetches_nothing(browser: Browser, file: Path, width: int, scheme: str) -> None:
    with opened(browser, file, width=width, scheme=scheme, scripts="off") as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        paper = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, paper[4:-1].split(","))) < 150) == (scheme == "dark")
        assert seen.page.get_by_role("article", name="nightly").get_by_role("list", name="Findings").count() == 1
        seen.page.keyboard.press("Tab")
        assert seen.page.evaluate("document.activeElement.textContent") == "nightly"
        assert seen.console == []
        assert seen.requests == [file.as_uri()]
