"""The page of a comparison: its words, the data its scripts get, and what it does with hostile or empty runs."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import two_runs
from payloads import Payload, payload
from uncommon import UNCOMMON, exact

from convbench import units
from convbench.analysis.comparison.comparability import Difference
from convbench.analysis.comparison.judgment import How, Judgment, RunComparison, Verdict
from convbench.measure import estimate
from convbench.model.result import Status
from convbench.report.pages import comparison as comparison_page
from convbench.report.pages import run as page
from convbench.report.pages.comparison import file_name, headline, render, sentences
from convbench.report.pages.comparison_table import ordered, table
from convbench.report.text.compare import why_text


@pytest.fixture(scope="module")
def stored() -> RunComparison:
    return two_runs.stored()


@pytest.fixture(scope="module")
def html(stored: RunComparison) -> str:
    return render(stored)


def data(text: str) -> Payload:
    return payload(text, "data")


def column(text: Payload, name: str) -> list[object]:
    """A column of the table, a row each."""
    return text.column(name)


# Words


def told(verdict: Verdict, *, compared: RunComparison, **about: object) -> RunComparison:
    return replace(compared, comparison=replace(compared.comparison, verdict=verdict, **about))


def test_the_headline_says_what_happened(stored: RunComparison) -> None:
    slower = [j for j in stored.comparison.judgments if j.verdict is Verdict.REGRESSED]
    worst = max(judgment.ratio for judgment in slower)
    assert headline(stored.comparison) == (
        f"{len(slower)} of 62 cases got slower, the worst by {units.change(worst).lstrip('+')}"
    )
    faster = [j for j in stored.comparison.judgments if j.verdict is Verdict.IMPROVED]
    assert any(sentence.startswith(f"{len(faster)} cases got faster, the most by ") for sentence in sentences(stored))


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (1.5, "1 of 2 cases got slower, by 50.0 %"),
        (193.0, "1 of 2 cases got slower, to 193x the time"),
        (0.5, "1 of 2 cases got faster, by 50.0 %, and none slower"),
    ],
)
def test_one_case_that_changed(ratio: float, said: str) -> None:
    assert headline(exact([1.0, ratio]).comparison) == said


def test_verdicts_without_a_change() -> None:
    same = exact([1.0] * 3)
    assert headline(same.comparison) == "No case moved by 3.0 % or more"
    nothing = exact([1.0] * 2, [Status.FAILED, Status.SKIPPED])
    assert nothing.comparison.verdict is Verdict.INCONCLUSIVE
    assert headline(nothing.comparison) == "Too noisy to judge: 0 of 2 cases could be judged"
    assert "1 case is wrong in the new run." in sentences(nothing)
    assert "Judged 0 of 2 cases. No change would have been seen." in sentences(nothing)
    coarse = sentences(exact([0.5, 1.0, 1.0], [Status.IMPRECISE, Status.PASSED, Status.PASSED]))
    assert "1 case has less precision than requested in the new run." in coarse
    skipped = exact([1.0], [Status.SKIPPED])
    assert headline(skipped.comparison) == "Nothing could be judged"
    moved = exact([1.2] * 8)
    assert headline(moved.comparison) == "The machine changed: the code cannot be judged"
    assert any("the machine changed" in sentence for sentence in sentences(moved))
    withdrawn = told(Verdict.INCONCLUSIVE, compared=same, discredited=True, notes=("1 control moved",))
    assert headline(withdrawn.comparison) == "A control moved: nothing is flagged"
    assert "1 control moved." in sentences(withdrawn)


def test_what_to_do_about_noise() -> None:
    loud = exact([1.0] * 4)
    judgments = tuple(
        replace(j, verdict=Verdict.INCONCLUSIVE, reason="use ab: loud") for j in loud.comparison.judgments
    )
    noisy = told(Verdict.INCONCLUSIVE, compared=loud, judgments=judgments, longer=2.4)
    [advice] = [sentence for sentence in sentences(noisy) if "convbench ab" in sentence]
    assert f"rounds: {3 * noisy.new.measure.rounds}" in advice
    beside = told(Verdict.INCONCLUSIVE, compared=loud, judgments=judgments, how=How.SIDE_BY_SIDE)
    assert any("--pairs" in sentence for sentence in sentences(beside))


def test_the_page_has_the_line_of_the_contract_and_its_numbers(html: str, stored: RunComparison) -> None:
    comparison = stored.comparison
    [line] = re.findall(r"<pre[^>]*>(regressed: [^<]*)</pre>", html)
    assert f"judged {comparison.judged} of 62" in line
    counts = dict(re.findall(r'data-status="([a-z ]+)">\w[\w ]*</span></h3>\s*<p class="tile-answer">([\d,]+)<', html))
    assert counts == {verdict.value: str(comparison.counts[verdict]) for verdict in Verdict}


def test_file_names() -> None:
    comparison = exact([1.0]).comparison
    assert file_name(comparison) == f"compare-20261124t033000-ab12-{two_runs.NEW}.html"
    strange = replace(
        comparison, base=replace(comparison.base, id="../../etc/x y"), new=replace(comparison.new, id="ü")
    )
    assert re.fullmatch(r"compare-[A-Za-z0-9-]+\.html", file_name(strange))


def test_it_links_to_the_reports_that_lie_beside_it(stored: RunComparison, html: str) -> None:
    base, new = page.file_name(stored.base), page.file_name(stored.new)
    assert base not in html and new not in html
    assert data(html).head["reports"] == [None, None]
    linked = render(stored, [new, "other.html"])
    assert f'<a href="{new}">' in linked and base not in linked
    assert data(linked).head["reports"] == [None, new]


@pytest.mark.parametrize("how", [How.STORED, How.CONFIRMED])
@pytest.mark.parametrize("warned", [False, True])
def test_what_makes_runs_incomparable_stands_out(how: How, warned: bool) -> None:
    probe = Difference(what="compute probe's floor", base="1 us", new="2 us", decides=warned)
    html = render(exact([1.0], differences=(probe,), how=how))
    assert ("compared anyway (--across-environments)" in html, "makes runs incomparable" in html) == (warned, warned)
    assert "compute probe&#39;s floor" in html


# The table


def judged(text: Payload, judgment: Judgment, row: int) -> dict[str, object]:
    """What the page's scripts know of a row."""
    return {name: column(text, name)[row] for name in text.head["cases"]}


def test_only_what_differs_between_the_runs_is_listed(stored: RunComparison, html: str) -> None:
    sides = html[html.index('id="sides"') : html.index('id="pictures"')]
    listed, _, folded = sides.partition('<details id="same">')
    for what in ("run", "started", "commit", "host"):
        assert f'<th scope="row">{what}</th>' in listed and f"<dt>{what}</dt>" not in folded
    for what in ("sweep", "branch", "processor", "torch", "Python", "convbench"):
        assert f'<th scope="row">{what}</th>' not in listed and f"<dt>{what}</dt>" in folded
    assert "open" not in folded.partition(">")[0]


def test_the_words_of_a_comparison_are_explained(html: str) -> None:
    words = re.findall(r"<dt>(.*?)</dt>", html[html.index('id="reading"') :])
    assert {"control", "flagged", "threshold", "noise", "q", "verdicts"} <= set(words)


@pytest.mark.parametrize("made", [two_runs.stored, two_runs.aside])
def test_the_scripts_get_the_numbers_of_the_comparison(made: object) -> None:
    compared: RunComparison = made()
    text = data(render(compared))
    judgments = ordered(compared.comparison)
    assert text.head["length"] == len(judgments) == len(compared.comparison.judgments)
    assert column(text, "case_id") == [judgment.case.id for judgment in judgments]
    assert column(text, "verdict") == [judgment.verdict.value for judgment in judgments]
    assert column(text, "why") == [why_text(judgment) or None for judgment in judgments]
    aside = compared.comparison.how is How.SIDE_BY_SIDE
    numbers = {"change": "ratio", "low": "low", "high": "high", "base_s": "base_s", "new_s": "new_s", "noise": "noise"}
    numbers |= {"median_change": "median_ratio"} if aside else {"q": "q"}
    for name, field in numbers.items():
        offset = 0.0 if name in ("base_s", "new_s", "q") else 1.0
        values = [getattr(judgment, field) - offset for judgment in judgments]
        expected = [None if np.isnan(value) else value for value in values]
        found = column(text, name)
        if name == "q":  # rounded
            close = zip(found, expected, strict=True)
            assert all(a == b or (None not in (a, b) and a == pytest.approx(b, rel=1e-6)) for a, b in close)
        else:
            assert found == expected, name
    assert ("median_change" in text.head["cases"]) == ("again" in text.head["cases"]) == aside
    assert text.head["process"] == ("pair" if aside else "process")
    for at, group in enumerate(compared.comparison.groups):
        rows = text.array(text.head["groups"][at]["cases"])
        ids = [compared.comparison.judgments[place].case.id for place in group.changed]
        assert [judgments[row].case.id for row in rows] == ids
    assert len(compared.comparison.groups) > 0


def test_both_sides_of_each_case(stored: RunComparison, html: str) -> None:
    text = data(html)
    for side, run in (("base", stored.base), ("new", stored.new)):
        known = {result.case.id: result for result in run.results}
        figures = {id_: estimate.estimate(estimate.table([result])) for id_, result in known.items()}
        for row, id_ in enumerate(column(text, "case_id")):
            result = known.get(str(id_))
            status = column(text, f"{side}_status")[row]
            assert status == (None if result is None else result.status.value.replace("_", " "))
            if result is None or not result.blocks:
                assert column(text, f"{side}_floor_s")[row] is None
                continue
            assert column(text, f"{side}_floor_s")[row] == figures[str(id_)].floor_s[0]
            assert column(text, f"{side}_typical_s")[row] == pytest.approx(figures[str(id_)].typical_s[0], rel=1e-6)
            assert column(text, f"{side}_implementation")[row] == result.facts.implementation


def test_the_blocks_of_both_sides(stored: RunComparison, html: str) -> None:
    blocks, text = payload(html, "blocks"), data(html)
    for side, run in (("base", stored.base), ("new", stored.new)):
        known = {result.case.id: result for result in run.results}
        ids = [str(id_) for id_ in column(text, "case_id")]
        whole = estimate.table(known.get(id_) for id_ in ids)
        told = blocks.head[side]
        assert blocks.array(told["counts"]).tolist() == whole.counts.tolist()
        floors = np.array([value or np.nan for value in column(text, f"{side}_floor_s")])
        minima = np.exp(blocks.array(told["minimum"]) * 1e-4) * floors[whole.cases]
        assert minima == pytest.approx(whole.column("minimum_s"), rel=1e-4)


def test_unchanged_cases_go_without_their_blocks_first(stored: RunComparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison_page, "MOST_BLOCKS", 500)
    html = render(stored)
    packed = data(html).head["packed"]
    told = payload(html, "blocks").head
    counts = [len(payload(html, "blocks").array(told[side]["counts"])) for side in ("base", "new")]
    assert counts == [packed, packed] and 0 < packed < 62
    assert sum(payload(html, "blocks").array(told[side]["counts"]).sum() for side in ("base", "new")) <= 500
    changed = stored.comparison.counts[Verdict.REGRESSED]
    assert packed > changed > 0


def test_rows_without_scripts_are_those_of_the_table_the_worst_first(html: str, stored: RunComparison) -> None:
    verdicts = re.findall(r'<td><span class="status" data-status="([a-z ]+)">', html.partition('id="case-table"')[2])
    assert verdicts == [judgment.verdict.value for judgment in ordered(stored.comparison)]
    assert verdicts[-1] == "unchanged"
    failed = next(j for j in ordered(stored.comparison))
    assert failed.new_status is Status.FAILED
    [first, *_] = table(stored).rows(3)
    assert {spec.name: text for spec, text in first}["verdict"] == "not judged"


# Nonsense


def test_hostile_text_stays_text(stored: RunComparison) -> None:
    nasty = "<img src=x onerror=alert(1)></script>"
    differing = Difference(what=nasty, base=nasty, new=nasty, decides=True, cases=3)
    judgments = tuple(
        replace(j, reason=nasty if j.reason else "", causes=(differing,)) for j in stored.comparison.judgments
    )
    groups = tuple(replace(group, name=nasty, causes=(differing,)) for group in stored.comparison.groups)
    comparison = replace(
        stored.comparison, differences=(differing,), judgments=judgments, groups=groups, notes=(nasty, "lone \ud800")
    )
    html = render(replace(stored, comparison=comparison, new=replace(stored.new, name=nasty)), [nasty])
    assert "<img" not in html
    assert html.count("</script>") == html.count("<script")
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    code = re.sub(r'<script type="application/octet-stream"[^<]*</script>|xmlns="[^"]*"', "", html)
    assert not re.search(r"https?://", code)


@pytest.mark.parametrize("made", UNCOMMON.values(), ids=UNCOMMON)
def test_uncommon_comparisons(made: object) -> None:
    compared: RunComparison = made()
    html = render(compared)
    text = data(html)
    assert text.head["length"] == len(compared.comparison.judgments)
    assert column(text, "verdict") == [judgment.verdict.value for judgment in ordered(compared.comparison)]
    assert ">nan" not in html.lower() and "inf %" not in html.lower()


@pytest.mark.slow
def test_ten_thousand_cases_fit() -> None:
    html = render(two_runs.many(10_000))
    assert len(html.encode()) <= 9e6
    assert data(html).head["packed"] == 10_000
