"""The page of all runs: what it says of each, what it keeps, and that nothing it reads can hurt it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import campaigns
import pytest
import synthetic
import two_runs
from browser import opened, ready
from commands import store, visits_of
from page_reader import Read
from playwright.sync_api import Browser

from convbench import __version__
from convbench.actions import pages
from convbench.analysis.findings.findings import findings
from convbench.errors import RequestError, StoreError
from convbench.model.campaign import CampaignState, How, ShardState
from convbench.model.result import Git, Run, RunState, RunSummary, Status
from convbench.report.pages import index, index_cache, rendering
from convbench.store import Store, Writer

GLANCE = index_cache.Glance(description="what it is for", noise=0.123, findings=("one thing", "another"))


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


def entry(glance: index_cache.Glance | None = GLANCE, report: str | None = None, **changes: Any) -> index.RunEntry:
    return index.RunEntry(run=summary(**changes), glance=glance, report=report)


def test_a_run_is_a_row_with_its_facts_and_a_link() -> None:
    git = Git(commit="0123456789abcdef", branch="faster", dirty=True)
    html = page(entry(report="nightly-20261124-033000-ab12.html", git=git))
    read = Read(html)
    for text in (
        *("1 run, newest first.", "nightly", "24 November 2026, 03:30 UTC", "20261124-033000-ab12", "12"),
        *("laptop", "AMD EPYC 7B13", "2.13.0+cpu", "12.3 %", "0123456789 with changes", "faster"),
    ):
        assert text in read.texts
    assert read.links == ["#runs", "./nightly-20261124-033000-ab12.html"]
    headings = ["run", "sweep", "machine", "commit", "branch", "torch", "cases", "verdict", "noise"]
    assert [text for text in read.texts if text in headings] == headings
    assert "finished" not in read.texts, "nothing is said of what is usual"


def test_a_sweep_says_what_its_newest_run_found_and_no_sentence_twice() -> None:
    newest = replace(GLANCE, findings=("one thing", "another"))
    older = replace(GLANCE, findings=("one thing", "something old"))
    other = replace(GLANCE, findings=("one thing", "of its own"))
    runs = [entry(newest), entry(older, id="b"), entry(other, id="c", name="weekly")]
    read = Read(page(*runs))
    assert [text for text in read.texts if text in ("One thing.", "Another.", "Of its own.", "Something old.")] == [
        "One thing.",
        "Another.",
        "Of its own.",
    ]
    assert "what it is for" in read.texts
    unknown = Read(page(entry(None), entry(older, id="b")))
    assert "Something old." in unknown.texts, "the newest run that was looked into"


def test_campaigns_are_listed_with_their_machines_and_pages(tmp_path: Path, database: str, looks: list[str]) -> None:
    runs = [run for run, _ in campaigns.runs(2)]
    campaigns.stored(runs, database)
    made = campaigns.conducted(runs)
    later = replace(made, id="c20261125-033000-k7q2", started_at="2026-11-25T03:30:00+00:00", how=How.SPLIT)
    waiting = replace(later.shards[0], state=ShardState.WAITING)
    later = replace(later, state=CampaignState.INTERRUPTED, shards=(waiting, later.shards[1]))
    assert "Campaigns" not in written(tmp_path, database)
    with Store.change(database) as opened_store:
        for one in (made, later):
            opened_store.begin_campaign(one, Writer.of_this_process())
            opened_store.finish_campaign(one.id, one.state, one.started_at)
    (tmp_path / "campaign-three-machines-c20261124-033000-k7q2.html").touch()
    (tmp_path / "campaign-three-machines.html").touch()
    texts = written(tmp_path, database)
    assert [text for text in texts if text in (made.id, later.id, "newest runs")] == [later.id, made.id, "newest runs"]
    for text in (
        *("interrupted", "1 of 2 shards finished", "cases shared out", "3 shards", "each machine all cases"),
        *("epyc-1; xeon-1; arm-1", "the newest run of each machine", "25 November 2026, 03:30 UTC"),
    ):
        assert text in texts
    read = Read((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert [link for link in read.links if "campaign" in link] == [
        "./campaign-three-machines-c20261124-033000-k7q2.html",
        "./campaign-three-machines.html",
    ]


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
        *("1,010 of 2,000", "2 wrong", "8 imprecise", "18 lost", "7 skipped", "965 not reached"),
        "interrupted",
    ):
        assert text in read.texts
    assert "1 run, newest first; 1 unfinished; 1 with wrong layers; 1 with imprecise layers." in read.texts
    quiet = Read(page(entry()))
    assert not [text for text in quiet.texts if re.search(r"\d (wrong|imprecise|lost|skipped|not reached)", text)]


def test_a_verdict_names_its_baseline_and_links_the_page_of_the_comparison() -> None:
    judged = index_cache.Judged(
        base_id="20261101-033000-aa00", base_name="main", finished_at="x", verdict="regressed", detail="3 slower"
    )
    names = [
        "compare-20261101-033000-aa00-20261124-033000-ab12.html",
        "compare-x-y.html",
        "compare-.html",
        "other.html",
    ]
    pages = index.compared(["20261101-033000-aa00", "20261124-033000-ab12"], names)
    assert pages == {"20261101-033000-aa00 20261124-033000-ab12": f"./{names[0]}"}
    html = index.render([replace(entry(), judged=judged)], older=0, version="1", pages=pages)
    read = Read(html)
    assert {"regressed", "against main"} <= set(read.texts) and f"./{names[0]}" in read.links
    assert 'title="3 slower"' in html
    assert "against main" not in Read(page(entry())).texts


def test_what_is_usual_of_runs_is_said_once_below_the_table() -> None:
    texts = Read(page(entry(), entry(id="b"))).texts
    assert texts.count("convbench report RUN") == 1 and texts.count("convbench baseline set NAME RUN") == 1
    judged = index_cache.Judged(base_id="a", base_name="main", finished_at="x", verdict="unchanged", detail="")
    whole = Read(index.render([replace(entry(report="x.html"), judged=judged)], older=0, version="1"))
    assert not {"convbench report RUN", "convbench baseline set NAME RUN"} & set(whole.texts)


def test_what_is_not_known_is_said() -> None:
    told = Read(page(entry(replace(GLANCE, findings=("bfloat16 is fast", f"so lo{rendering.ELLIPSIS}"))))).texts
    assert {"bfloat16 is fast.", f"So lo{rendering.ELLIPSIS}"} <= set(told), "as in the report"
    assert not any("%" in text for text in Read(page(entry(replace(GLANCE, noise=None)))).texts)
    assert "No run is stored." in Read(page()).texts
    assert any(text.startswith("And 1,234 older runs") for text in Read(page(entry(), older=1234)).texts)
    assert "1,235 runs, newest first." in Read(page(entry(), older=1234)).texts


@pytest.mark.parametrize("hostile", [*synthetic.HOSTILE, "\ud800 half", "' onclick='x", "</style><script>1</script>"])
def test_hostile_text_is_text(hostile: str) -> None:
    glance = index_cache.Glance(description=hostile, noise=None, findings=(hostile,))
    changes: dict[str, Any] = dict.fromkeys(("id", "name", "host", "cpu", "torch", "started_at"), hostile)
    git = Git(commit=hostile, branch=hostile)
    judged = index_cache.Judged(
        base_id=hostile, base_name=hostile, finished_at=hostile, verdict="regressed", detail=hostile
    )
    pages = {f"{hostile} {hostile}": "./x.html"}
    made = replace(entry(glance=glance, report=f"{hostile}.html", git=git, **changes), judged=judged)
    html = index.render([made], older=0, version="1", pages=pages)
    html.encode()
    plain = replace(
        entry(
            glance=replace(glance, description="x", findings=("x",)), report="x.html", git=Git(commit="x", branch="x")
        ),
        judged=replace(judged, base_id="a"),
    )
    linked = {"a 20261124-033000-ab12": "./x.html"}
    assert Read(html).tags == Read(index.render([plain], older=0, version="1", pages=linked)).tags
    assert all(re.fullmatch(r"#runs|\./[\w.%~-]+", link) for link in Read(html).links)


def test_no_address_but_one_beside_the_page_is_linked() -> None:
    for name in ("javascript:alert(1)-x.html", "//elsewhere/-x.html", "..-x.html"):
        (_, link) = Read(page(entry(report=name))).links
        assert link.startswith("./") and ":" not in link


def test_the_policy_allows_this_style_and_script_alone() -> None:
    html = page(entry())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy and policy[1].startswith("default-src &#39;none&#39;; style-src &#39;sha256-")
    assert policy[1].count("script-src") == policy[1].count("script-src &#39;sha256-") == 1
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
    seen = index_cache.glance(run)
    assert seen.description == "first line"
    assert len(seen.findings) == index_cache.MOST_FINDINGS
    assert seen.noise is not None and 0 <= seen.noise < 1
    told = [finding.sentence for finding in findings(run)]
    assert [text[:50] for text in seen.findings] == [" ".join(text.split())[:50] for text in told[: len(seen.findings)]]
    assert index_cache.glance(run, ["known"]) == replace(seen, findings=("known",))
    assert index_cache.glance(run, ["long " * 1000]).findings[0].endswith("long\N{HORIZONTAL ELLIPSIS}")
    empty = index_cache.glance(replace(synthetic.empty_run(), description=" \n"))
    assert (empty.description, empty.noise) == ("", None)


def test_what_is_kept_comes_back() -> None:
    glances = {"a": ("then", GLANCE), "\ud800": ("", index_cache.Glance(description="", noise=None, findings=()))}
    text = index_cache.kept_text(glances, "1.0")
    text.encode()
    assert index_cache.kept_glances(text, "1.0") == glances
    assert index_cache.kept_glances(text, "1.1") == {}, "another convbench may find something else"


GOOD = json.loads(index_cache.kept_text({"a": ("then", GLANCE)}, "1.0"))


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
    assert index_cache.kept_glances(text, "1.0") == {}


def test_what_is_kept_is_bounded() -> None:
    many = {"a": {**GOOD["runs"]["a"], "findings": [3, None, "x" * 100_000, "y", "z"], "description": "d" * 100_000}}
    (_, glance) = index_cache.kept_glances(json.dumps({**GOOD, "runs": many}), "1.0")["a"]
    assert len(glance.findings) <= index_cache.MOST_FINDINGS
    assert max(map(len, (*glance.findings, glance.description))) <= index_cache.MOST_CHARACTERS


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

    def noted(self: Store, ref: str, *, checks: bool = True) -> Run:
        loaded.append(ref)
        return load(self, ref, checks=checks)

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
    assert [text for text in first if text in {run.id for run in runs}] == [run.id for run in reversed(runs)]
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
    assert "Sweeps" not in written(tmp_path, database, examine_s=0.0)
    monkeypatch.setattr(pages, "MOST_EXAMINED_CASES", 3)
    large = store(numbered(2), Path(database))
    assert "Sweeps" not in written(tmp_path, database, run=large)
    assert looks == []
    assert "Known." in written(tmp_path, database, run=large, findings=["known"])


def test_a_run_that_may_go_on_is_not_kept(tmp_path: Path, database: str, looks: list[str]) -> None:
    run = replace(numbered(1), finished_at=None, state=RunState.RUNNING)
    with Store.create(database) as opened_store:
        opened_store.begin(run, [result.case for result in run.results], (), Writer.of_this_process(), digest="x")
        opened_store.append(run.id, visits_of(run.results[0]))
        texts = written(tmp_path, database)
        assert {"running", "1 of 4", "3 not reached"} <= set(texts)
        assert "So far." in written(tmp_path, database, run=run, findings=["so far"])
    assert not (tmp_path / "index.json").exists()
    assert looks == []


def test_runs_are_judged_against_the_baseline_of_their_sweep_once(
    tmp_path: Path, database: str, looks: list[str]
) -> None:
    base, new = two_runs.runs(24, hostile=False, troubles=False)
    other = replace(numbered(5), started_at="2026-11-26T00:00:00+00:00")
    larger = replace(new.environment, cores=2 * new.environment.cores)
    elsewhere = replace(new, id="20261126-070000-elsw", started_at="2026-11-26T07:00:00+00:00", environment=larger)
    for run in (base, new, other, elsewhere):
        store(run, Path(database))
    texts = written(tmp_path, database)
    assert not {"regressed", "against main"} & set(texts), "there is no baseline"
    with Store.create(database) as opened_store:
        opened_store.set_baseline("main", base.id, set_at="2026-11-25T10:00:00+00:00")
    looks.clear()
    assert written(tmp_path, database).count("against main") == 1, "not of itself, of another sweep or machine"
    assert "regressed" in written(tmp_path, database)
    assert looks == [base.id, new.id], "then it is kept"
    kept = json.loads((tmp_path / "index.json").read_text(encoding="utf-8"))
    assert kept["verdicts"][new.id]["detail"].startswith("regressed: ")
    with Store.create(database) as opened_store:
        opened_store.set_baseline("release", base.id, set_at="2026-11-26T10:00:00+00:00")
    assert "against release" in written(tmp_path, database), "the one named last"


def test_runs_that_cannot_be_compared_say_so(tmp_path: Path, database: str) -> None:
    base, new = two_runs.runs(8, hostile=False, troubles=False)
    store(base, Path(database))
    store(replace(new, environment=replace(new.environment, torch="2.99.0")), Path(database))
    with Store.create(database) as opened_store:
        opened_store.set_baseline("main", base.id, set_at="2026-11-25T10:00:00+00:00")
    assert "not comparable" in written(tmp_path, database)
    assert "torch" in (tmp_path / "index.html").read_text(encoding="utf-8").partition('data-status="not comparable"')[2]


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "fine"},
        {"verdict": None},
        {"base_id": 3},
        {"detail": ["x"]},
        {"finished_at": None},
        {"base_name": {}},
    ],
)
def test_a_verdict_that_reads_otherwise_is_as_good_as_none(change: dict[str, object]) -> None:
    judged = index_cache.Judged(base_id="a", base_name="b", finished_at="c", verdict="unchanged", detail="x" * 9999)
    document = json.loads(index_cache.kept_text({}, "1.0", verdicts={"r": judged}))
    kept = index_cache.kept_verdicts(json.dumps(document), "1.0")
    assert kept["r"].base_id == "a" and len(kept["r"].detail) == index_cache.MOST_CHARACTERS
    document["verdicts"]["r"].update(change)
    assert index_cache.kept_verdicts(json.dumps(document), "1.0") == {}


def test_reports_in_the_folder_are_linked(tmp_path: Path, database: str) -> None:
    runs = [store(numbered(number), Path(database)) for number in range(2)]
    name = f"run-1-{runs[1].id}.html"
    (tmp_path / name).touch()
    html = pages.write_index(tmp_path, db=database).read_text(encoding="utf-8")
    linked = [link for link in Read(html).links if link != "#runs"]
    assert linked == [f"./{name}"] and "convbench report RUN" in Read(html).texts
    assert {run.id for run in runs} <= set(Read(html).texts)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{}", b"[" * 1000, b'{"layout": 2, "runs": {"a": 1}}', None])
def test_whatever_lies_beside_the_page_is_put_right(tmp_path: Path, database: str, content: bytes | None) -> None:
    run = store(numbered(1), Path(database))
    if content is not None:
        (tmp_path / "index.json").write_bytes(content)
    written(tmp_path, database)
    kept = index_cache.kept_glances((tmp_path / "index.json").read_text(encoding="utf-8"), __version__)
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
    long = index_cache.Glance(description="word " * 60, noise=0.02, findings=tuple(f"{text} " * 9 for text in "abc"))
    name = "a_name_without_any_blank_to_break_it_at" * 4
    path.write_text(
        page(entry(report="nightly-20261124-033000-ab12.html"), entry(glance=long, name=name, host=name, cpu=name)),
        encoding="utf-8",
    )
    yield path


@pytest.mark.browser
def test_two_ticks_lead_to_a_comparison_and_filters_to_some_runs(browser: Browser, tmp_path: Path) -> None:
    ids = [f"2026112{day}-033000-ab12" for day in (4, 3, 2, 1)]
    git = [Git(commit="c", branch=branch) for branch in ("main", "faster", "main", "main")]
    runs = [
        entry(
            id=run_id, git=one, cpu="EPYC" if run_id < ids[1] else "Xeon", name="old" if run_id == ids[3] else "nightly"
        )
        for run_id, one in zip(ids, git, strict=True)
    ]
    there = {f"{ids[3]} {ids[1]}": "./compare-x.html"}
    path = tmp_path / "index.html"
    kinds: tuple[int | None, ...] = (2, 0, 2, None)
    runs = [replace(run, kind=kind) for run, kind in zip(runs, kinds, strict=True)]
    path.write_text(index.render(runs, older=0, version="1", pages=there, apart=[(0, 2)]), encoding="utf-8")
    with ready(browser, path) as shown:
        ticks, told = shown.locator(".tick"), shown.locator("#compared")
        ticks.nth(2).check()
        assert told.count() == 0
        ticks.nth(0).check()
        assert told.locator("code").inner_text() == f"convbench compare {ids[2]} {ids[0]}", "the older one is the base"
        assert shown.evaluate("document.getElementById('compared').previousElementSibling.dataset.run") == ids[0]
        told.get_by_role("button", name="Copy").click()
        told.get_by_role("button", name="Copied").wait_for()
        ticks.nth(3).check()
        assert [ticks.nth(at).is_checked() for at in range(4)] == [True, False, False, True]
        ticks.nth(1).check()
        assert told.locator("a").get_attribute("href") == "./compare-x.html" and told.locator("code").count() == 0
        ticks.nth(0).check()
        assert told.inner_text() == f"{ids[1]} and {ids[0]} have no case in common, so they cannot be compared."
        ticks.nth(1).uncheck()
        assert told.count() == 0
        seen = shown.locator("#run-table tbody tr:visible")
        shown.select_option("select[name=branch]", "main")
        shown.select_option("select[name=machine]", "EPYC")
        assert seen.count() == 2 and shown.inner_text("#shown") == "2 of 4 runs"
        assert shown.locator("select").count() == 3, "without verdicts there is nothing to choose"
        shown.fill("input[name=search]", "NIGHTLY epyc")
        assert seen.count() == 1
        view = shown.url.partition("#")[2]
    with ready(browser, path, view=view) as shown:
        assert shown.locator("#run-table tbody tr:visible").count() == 1, "a link keeps the filters"
    with ready(browser, path, view="branch=none&search=") as shown:
        assert shown.locator("#run-table tbody tr:visible").count() == 4


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_the_page_fits_and_fetches_nothing(browser: Browser, file: Path, width: int, scheme: str) -> None:
    with opened(browser, file, width=width, scheme=scheme, scripts="off") as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        paper = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, paper[4:-1].split(","))) < 150) == (scheme == "dark")
        found = seen.page.get_by_role("article", name="nightly").get_by_role("list")
        assert found.get_attribute("aria-label") == "What the newest run found"
        for words in ("Skip to the runs", "", "20261124-033000-ab12"):  # the second is the table, which may scroll
            seen.page.keyboard.press("Tab")
            text = seen.page.evaluate("document.activeElement.textContent")
            assert text.strip() == words or not words
        headings = [text.lower() for text in seen.page.locator("#run-table thead th:visible").all_inner_texts()]
        assert headings == (["run", "sweep", "verdict"] if width == 390 else headings) and len(headings) in (3, 9)
        assert seen.page.locator(".tick:visible, .filters:visible").count() == 0
        assert seen.console == []
        assert seen.requests == [file.as_uri()]
