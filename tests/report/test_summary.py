"""The summary of a job and the comment on a pull request: the worst first, never too long, and nobody is called."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import synthetic
from comparisons import CASES, MIXED, NOT_JUDGED, REGRESSED, UNCHANGED, comparison, judgment
from golden_files import golden
from hypothesis import given, settings
from hypothesis import strategies as st

from convbench.analysis.comparison.comparability import Difference
from convbench.analysis.comparison.judgment import Group, Verdict
from convbench.model.result import Status
from convbench.report.text.summary import MOST, comparison_summary, run_summary, worst_first

CELL = re.compile(r"(?<!\\)\|")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in CELL.split(line)[1:-1]]


def rows(text: str) -> list[list[str]]:
    table = [cells(line) for line in text.splitlines() if line.startswith("|")]
    return [row for row in table if row[0] not in ("verdict", "status") and not row[0].startswith("--")]


def test_a_comparison_is_told_as_it_was_agreed() -> None:
    golden("summary-compare.md", comparison_summary(MIXED))


def test_a_run_is_told_as_it_was_agreed() -> None:
    findings = ["depthwise layers are 3.1x slower", "@someone | 2.0x"]
    golden("summary-run.md", run_summary(synthetic.run(30, unmeasured=2), findings))


def test_the_worst_comes_first() -> None:
    assert [judgment.case for judgment in worst_first(MIXED)] == [CASES[i] for i in (7, 6, 4, 5, 3, 2, 1)]
    assert [row[0] for row in rows(comparison_summary(MIXED))] == [
        "failed",
        "regressed",
        "regressed",
        "not judged",
        "inconclusive",
        "not judged",
        "improved",
    ]


def test_imprecise_cases_come_after_wrong_ones_and_before_slower_ones() -> None:
    imprecise = judgment(8, NOT_JUDGED, new_status=Status.IMPRECISE, reason="imprecise in NEW: less precision")
    told = replace(MIXED, judgments=(imprecise, *MIXED.judgments))
    assert [row[0] for row in rows(comparison_summary(told))][:3] == ["failed", "imprecise", "regressed"]
    run = synthetic.run(30)
    results = (*run.results[:20], replace(run.results[20], status=Status.IMPRECISE, reason="less"), *run.results[21:])
    told_rows = [row[0] for row in rows(run_summary(replace(run, results=results)))]
    assert told_rows[: told_rows.index("imprecise") + 1] == ["failed"] * told_rows.count("failed") + ["imprecise"]
    assert "1 imprecise" in run_summary(replace(run, results=results)).splitlines()[0]


def test_the_verdict_stands_before_everything() -> None:
    first, _, third, *_ = comparison_summary(MIXED).splitlines()
    assert first == "### convbench, made up: regressed"
    assert third.startswith(
        "2 slower (most +40.0 %), 1 faster (most -50.0 %), 1 unchanged, 1 inconclusive (most +20.0 %), 3 not judged"
    )


def test_nothing_changed_has_no_table() -> None:
    text = comparison_summary(comparison(judgment(0, UNCHANGED), verdict=UNCHANGED))
    assert "|" not in text and "details" not in text
    assert text.startswith("### convbench, made up: unchanged\n")


def test_more_than_a_dozen_cases_wait_behind_a_click() -> None:
    some = [judgment(i, REGRESSED, 2 - i / 100) for i in range(20)]
    text = comparison_summary(comparison(*some))
    before, _, behind = text.partition("<details><summary>8 cases more</summary>")
    assert (len(rows(before)), len(rows(behind))) == (12, 8)
    assert behind.rstrip().endswith("</details>")
    changes = [row[1] for row in rows(text)]
    assert changes[0] == "2.00x" and changes[1:] == [f"+{100 - i}.0 %" for i in range(1, 20)]


def test_what_does_not_fit_is_left_out_by_whole_rows_and_counted() -> None:
    slow = [judgment(i, REGRESSED, 1.1 + i / 1000) for i in range(1000)]
    text = comparison_summary(comparison(*slow))
    assert MOST - 1000 < len(text) <= MOST
    shown = rows(text)
    assert {len(row) for row in shown} == {6}
    assert shown[0][1] == "2.10x"
    assert text.splitlines()[-1] == f"{1000 - len(shown)} cases are left out here; the log has all."


hostile = st.text(st.sampled_from("a&<@|`\\\n #1*_[]~é🧮"), max_size=4000)


@given(st.lists(hostile, min_size=1, max_size=30), st.sampled_from(list(Verdict)), st.sampled_from(list(Status)))
@settings(deadline=None, max_examples=40)
def test_no_text_makes_it_too_long_or_more_than_text(texts: list[str], verdict: Verdict, status: Status) -> None:
    made = [
        judgment(i, verdict, 2.0, case=replace(CASES[i], given_label=text), reason=text, new_status=status)
        for i, text in enumerate(texts)
    ]
    differences = tuple(Difference(what=text, base=text, new=text) for text in texts)
    groups = tuple(
        Group(name=text, verdict=REGRESSED, changed=(0,), cases=1, ratio=2.0, causes=differences) for text in texts
    )
    found = comparison(*made, verdict=verdict, differences=differences, groups=groups, notes=tuple(texts))
    found = replace(found, new=replace(found.new, name=texts[0], id=texts[0], started_at=texts[0]))
    run = synthetic.run(len(texts), troubles=False)
    results = [replace(r, status=status, reason=t) for r, t in zip(run.results, texts, strict=True)]
    run = replace(run, name=texts[0], started_at=texts[0], results=tuple(results))
    for text in (comparison_summary(found), run_summary(run, texts)):
        assert len(text) <= MOST
        assert not re.search(r"@(?!\u200b)|#\d", text)
        outside = re.sub(r"<details><summary>[\d,]+ cases? more</summary>|</details>", "", text)
        assert "<" not in outside
        assert len({len(cells(line)) for line in text.splitlines() if line.startswith("|")}) <= 1


@pytest.mark.parametrize("most", [45_000, 50_000])
def test_a_shorter_limit_holds(most: int) -> None:
    slow = [judgment(i, REGRESSED, 1.1, reason="&" * 400) for i in range(500)]
    assert len(comparison_summary(comparison(*slow), most=most)) <= most
