"""Deleting runs: which are old, which stay whatever one asks, and what goes with a run."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import campaigns
import pytest
import synthetic
from commands import Command, store

from convbench.actions import remove
from convbench.errors import RequestError
from convbench.model.campaign import CampaignState
from convbench.model.result import Run, RunState
from convbench.store import Store, Writer

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
DB = "reports/convbench.db"


def stored(days: int) -> Run:
    """A run that began so long before NOW, in the default database."""
    began = NOW - timedelta(days=days)
    run = replace(
        synthetic.run(2, troubles=False),
        id=f"{began:%Y%m%d-%H%M%S}-abcd",
        started_at=began.isoformat(),
        finished_at=began.isoformat(),
    )
    return store(run, Path(DB))


@pytest.fixture
def four(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of runs of 1, 10, 100 and 200 days before NOW, newest first."""
    monkeypatch.chdir(tmp_path)
    return [stored(days).id for days in (1, 10, 100, 200)]


def left() -> list[str]:
    with Store.open(DB) as opened:
        return [run.id for run in opened.runs()]


@pytest.mark.parametrize(
    ("keep", "older_days", "gone"),
    [(2, None, 2), (None, 50, 2), (3, 50, 1), (1, 50, 2), (3, 5, 1), (0, None, 4), (9, None, 0), (None, 300, 0)],
)
def test_a_run_goes_that_neither_rule_keeps(
    four: list[str], keep: int | None, older_days: int | None, gone: int
) -> None:
    older = None if older_days is None else timedelta(days=older_days)
    removal = remove.prune(keep=keep, older=older, now=NOW)
    assert [run.id for run in removal.runs] == four[4 - gone :]
    assert left() == four[: 4 - gone]


def test_nothing_is_pruned_without_a_rule(four: list[str]) -> None:
    with pytest.raises(RequestError, match="--keep or --older"):
        remove.prune(now=NOW)
    assert left() == four


def test_all_that_is_stored_of_a_run_goes(four: list[str]) -> None:
    remove.prune(keep=0, now=NOW)
    with sqlite3.connect(DB) as connection:
        for table in ("runs", "cases", "visits", "passes", "rejections"):
            assert connection.execute(f"select count(*) from {table}").fetchone() == (0,), table


def test_a_baseline_and_a_run_that_is_being_written_stay(four: list[str]) -> None:
    newest, _, old, oldest = four
    made = replace(synthetic.run(1), id="20250101-000000-wxyz", state=RunState.RUNNING, finished_at=None)
    made = replace(made, started_at="2025-01-01T00:00:00+00:00")
    with Store.create(DB) as opened:
        opened.set_baseline("main", oldest, set_at=NOW.isoformat())
        cases = [result.case for result in made.results]
        opened.begin(made, cases, (), Writer.of_this_process(), digest="made up")
        removal = remove.prune(keep=1, now=NOW)
        assert [run.id for run in removal.runs] == [four[1], old]
        reasons = dict(removal.kept)
        assert reasons[oldest] == "it is the baseline main"
        assert "is writing it" in reasons[made.id]
        for ref in ("main", made.id, oldest):
            with pytest.raises(RequestError, match="stays"):
                remove.delete([newest, ref])
        with pytest.raises(RequestError, match="stays"):  # another process has named it in the meantime
            opened.delete({newest, oldest})
        assert left() == [newest, oldest, made.id], "all or none"
        opened.finish(made.id, RunState.INTERRUPTED, NOW.isoformat())
    remove.delete([made.id])
    assert left() == [newest, oldest]


def test_pages_go_with_their_run_and_the_page_of_all_runs_follows(four: list[str], command: Command) -> None:
    first, second, *_ = four
    for ref in (first, second):
        assert command("report", ref).code == 0
    reports = Path("reports")
    (reports / f"compare-{first}-{second}.html").write_text("of second", encoding="utf-8")
    (reports / f"compare-{second}-{first}.html").write_text("of first", encoding="utf-8")
    mine = reports / "notes.html"
    mine.write_text("the user's own", encoding="utf-8")
    [report] = [path for path in reports.glob(f"*-{second}.html") if not path.name.startswith("compare-")]
    before = sorted(reports.iterdir())
    said = command("runs", "--delete", second, "--dry-run")
    assert said.code == 0
    assert re.fullmatch(r"would be deleted: 1 run, 2 pages of \d.* MiB", said.out.splitlines()[-1])
    assert (sorted(reports.iterdir()), left()) == (before, four)
    said = command("runs", "--delete", second)
    assert (said.code, said.out.splitlines()[-1].partition(" of ")[0]) == (0, "deleted: 1 run, 2 pages")
    assert set(before) - set(reports.iterdir()) == {report, reports / f"compare-{first}-{second}.html"}
    assert second not in (reports / "index.html").read_text(encoding="utf-8")
    assert second not in (reports / "index.json").read_text(encoding="utf-8")
    assert left() == [first, *four[2:]]
    assert command("prune", "--keep", "0").code == 0
    assert (left(), sorted(path.name for path in reports.glob("*.html"))) == ([], ["index.html", "notes.html"])


def test_a_campaign_lives_as_long_as_one_of_its_runs(tmp_path: Path, command: Command) -> None:
    runs = [run for run, _ in campaigns.runs(2)]
    made = campaigns.conducted(runs, state=CampaignState.RUNNING)
    ids = [run.id for run in runs]
    campaigns.stored(runs, Path(DB))
    with Store.change(DB) as opened:
        opened.begin_campaign(made, Writer.of_this_process())
        with pytest.raises(RequestError, match=f"campaign {made.id} is being measured"):
            remove.delete(ids[:1])
        opened.finish_campaign(made.id, CampaignState.FINISHED, NOW.isoformat())
    assert command("campaign", made.id).code == 0
    (page,) = Path("reports").glob("campaign-*.html")
    assert command("runs", "--delete", ids[0]).out.splitlines()[-1] == "deleted: 1 run, 0 pages"
    said = command("campaign", made.id, "--no-page")
    assert "2 cases on 2 machines" in said.out
    assert f"lacks {ids[0]}: deleted, or not sent by its host yet" in " ".join(said.out.split())
    for refs, dry in ((ids[1:], "--dry-run"), (ids[1:2], None), (ids[2:], None)):
        assert page.exists()
        said = command("runs", "--delete", *refs, *([dry] if dry else []))
        assert (f"campaign {made.id}, which has no other run" in said.out) == (refs != ids[1:2])
    assert said.out.splitlines()[-1].startswith("deleted: 1 run, 1 campaign, 1 page of ")
    assert not page.exists()
    with Store.open(DB) as opened:
        assert opened.campaigns() == []
    assert command("fleet", "status").out.startswith("no campaigns are stored yet")


def test_the_file_becomes_smaller_unless_a_process_writes_it(four: list[str]) -> None:
    big = replace(synthetic.run(400), id="20240101-000000-wxyz", started_at="2024-01-01T00:00:00+00:00")
    store(big, Path(DB))
    before = Path(DB).stat().st_size
    remove.delete([big.id])
    assert Path(DB).stat().st_size < 0.7 * before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["runs", "--delete"], "expected RUN"),
        (["runs", "latest"], "expected --delete before RUN"),
        (["runs", "--dry-run"], "--dry-run needs --delete"),
        (["runs", "--delete", "2019"], "no run '2019' is stored"),
        (["prune"], "expected --keep or --older"),
        (["prune", "--keep", "0", "--ab-pages"], "--ab-pages needs --older"),
        (["prune", "--older", "90"], "a number of hours, days or weeks"),
        (["prune", "--older", "0.5d"], "a number of hours, days or weeks"),
        (["prune", "--keep", "-1"], "greater than or equal to 0"),
    ],
)
def test_a_wrong_request_deletes_nothing(
    four: list[str], command: Command, arguments: list[str], expected: str
) -> None:
    said = command(*arguments)
    assert said.code == 2 and expected in said.err
    assert left() == four


@pytest.mark.parametrize(("text", "hours"), [("36h", 36), ("90d", 2160), ("2w", 336), ("9999w", 9999 * 168)])
def test_an_age(text: str, hours: int) -> None:
    assert remove.age(text) == timedelta(hours=hours)


def test_what_stays_is_said(four: list[str], command: Command) -> None:
    command("baseline", "set", "main", four[-1])
    said = command("prune", "--keep", "2")
    assert said.err == f"run {four[-1]} stays: it is the baseline main\n"
    assert said.out.splitlines()[0].split()[0] == four[2]
    assert said.out.splitlines()[-1] == "deleted: 1 run, 0 pages"


def test_pages_of_ab_go_by_the_time_in_their_name_where_that_is_asked_for(four: list[str], command: Command) -> None:
    pages = [Path("reports", f"compare-{day}-120000-a-{day}-120000-b.html") for day in ("20261128", "20260101")]
    for page in pages:
        page.touch()
    month = timedelta(days=30)
    assert remove.prune(keep=4, older=month, now=NOW).pages == ()
    assert remove.prune(keep=4, older=month, ab_pages=True, now=NOW, dry_run=True).pages == (pages[1],)
    assert [page.exists() for page in pages] == [True, True]
    remove.prune(keep=4, older=month, ab_pages=True, now=NOW)
    assert [page.exists() for page in pages] == [True, False]
    old = Path("reports", "compare-19990101-120000-a-19990101-120000-b.html")
    old.touch()
    for more, done in (["--dry-run"], "would be deleted"), ([], "deleted"):
        said = command("prune", "--keep", "4", "--older", "9000d", "--ab-pages", *more)
        assert said.out.splitlines() == [old.name, f"{done}: 0 runs, 1 page of 0 B"]
    assert not old.exists()
