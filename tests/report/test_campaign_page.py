"""The page of a campaign: its words, its tables and the data that its scripts get."""

from __future__ import annotations

import re
from dataclasses import replace

import campaigns
import numpy as np
import pytest
import synthetic
from campaigns import EPYC, XEON
from payloads import payload

from convbench.analysis.campaign.findings import campaign_findings
from convbench.analysis.campaign.gathering import of_campaign
from convbench.analysis.campaign.turns import turns
from convbench.analysis.campaign.view import CampaignView, view
from convbench.model.campaign import How
from convbench.report.pages import index
from convbench.report.pages import run as run_page
from convbench.report.pages.campaign import file_name, render
from convbench.report.pages.campaign_table import MOST_SHOWN, best_name, case_columns
from convbench.report.pages.rendering import begun
from convbench.report.text.campaign import by_weight, campaign_text, letters


@pytest.fixture(scope="module")
def three() -> CampaignView:
    prices = {"epyc-1": 0.5, "xeon-1": 3.0, "arm-1": 1.0}
    return view(campaigns.runs(48), name="three <b>machines</b>", id="c20261124-033000-k7q2", prices=prices)


@pytest.fixture(scope="module")
def html(three: CampaignView) -> str:
    return render(three)


def words(html: str) -> str:
    """The text of the page between its tags."""
    body = re.sub(r"<(script|style)\b.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def test_the_page_is_one_file_whose_name_says_what_it_is(three: CampaignView, html: str) -> None:
    assert file_name(three) == "campaign-three-b-machines-b-c20261124-033000-k7q2.html"
    assert "three &lt;b&gt;machines&lt;/b&gt;" in html and "<b>machines</b>" not in html
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", html)
    assert "Content-Security-Policy" in html


def test_every_finding_is_there_and_links_to_its_cases(three: CampaignView, html: str) -> None:
    text = words(html)
    found = campaign_findings(three)
    for number, finding in enumerate(found):
        assert f"{begun(finding.sentence)}." in text
        assert f'id="finding-{number}"' in html
    assert html.count('data-contrast="') == len(turns(three.across))


def test_the_data_has_each_machines_times_in_the_order_of_the_table(three: CampaignView, html: str) -> None:
    data = payload(html, "data")
    order = by_weight(three)
    for at in range(3):
        assert data.column(f"time_{at}") == pytest.approx(three.time_s[order, at].tolist())
        assert data.column(f"ratio_{at}") == pytest.approx(three.ranking.ratio[order, at].tolist())
    assert data.array(data.head["best"]).tolist() == three.ranking.best[order].tolist()
    assert data.column("best") == [best_name(three, row) for row in order]
    assert [machine["name"] for machine in data.head["machines"]] == list(three.names)
    for machine, (float32, bfloat16, copy) in zip(data.head["machines"], campaigns.RATES.values(), strict=True):
        assert [ceiling["flops_per_s"] for ceiling in machine["ceilings"]] == [float32, bfloat16]
        assert machine["ceilings"][0]["copies"][-1] == [2**28, copy]


def test_the_pairs_of_the_picture_are_those_of_the_machines_own_comparisons(three: CampaignView, html: str) -> None:
    data, pairs = payload(html, "data"), payload(html, "pairs")
    labels = data.column("label")
    for one, about, held in zip(three.across, data.head["across"], pairs.head["across"], strict=True):
        assert about["turned"] == len(one.turned)
        bases, others = data.array(about["bases"]), data.array(about["others"])
        assert [labels[row] for row in bases] == [base.label for base, _ in one.pairs]
        assert [labels[row] for row in others] == [other.label for _, other in one.pairs]
        ratio = pairs.array(held["ratio"]).reshape(3, len(one)).T
        assert ratio == pytest.approx(one.ratio, nan_ok=True)
        assert np.array_equal(pairs.array(held["verdict"]).reshape(3, len(one)).T, one.verdict)


def test_a_report_beside_the_page_is_linked(three: CampaignView) -> None:
    name = run_page.file_name(three.runs[1])
    linked = render(three, [name])
    assert linked.count(f'href="{name}"') == 2
    assert f'href="{run_page.file_name(three.runs[0])}"' not in linked


def test_no_figure_is_a_mean_over_machines(html: str) -> None:
    assert "No figure is a mean over machines" in words(html)
    assert not re.search(r"\b(?:mean|average) of (?:all |the )?machines", words(html))


def test_many_machines_have_hidden_columns() -> None:
    runs = [(campaigns.run(replace(EPYC, cores=at + 1), synthetic.cases(4)), (f"h{at}",)) for at in range(9)]
    many = view(runs, name="many", id="x")
    shown = [column.spec.name for column in case_columns(many, by_weight(many)) if column.spec.shown]
    assert shown == ["label", "best", "ahead", *(f"time_{at}" for at in range(MOST_SHOWN))]
    assert "Fastest in 0 of 4" in words(render(many))


def test_hosts_that_shared_the_cases_show_their_controls() -> None:
    runs, controls = campaigns.shared(24, factor=1.3)
    found = of_campaign(campaigns.conducted(runs, how=How.SPLIT, controls=controls), {run.id: run for run in runs})
    text = words(render(view(found.runs, name=found.name, id=found.id, splits=found.splits)))
    assert "Hosts that shared the cases" in text and "This is not one run" in text
    assert text.count("Each host measured these control cases beside its own.") == 1


def test_a_network_has_its_sums_and_what_a_dollar_buys() -> None:
    made = view(campaigns.layers(EPYC, XEON), name="net", id="x", prices={"epyc-1": 1.0, "xeon-1": 10.0})
    text = words(render(made))
    assert "Time of the network" in text and "Images for a dollar" in text
    assert "one training step" in text


def test_a_case_without_any_right_result_is_there() -> None:
    cases = synthetic.cases(6)
    runs = [(campaigns.run(each, cases, broken=cases[:1]), (each.hostname,)) for each in (EPYC, XEON)]
    made = view(runs, name="x", id="x")
    html = render(made)
    data = payload(html, "data")
    row = data.column("label").index(cases[0].label)
    assert data.column("status")[row] == "crashed" and data.column("best")[row] is None
    assert data.array(data.head["best"])[row] == -1 and row == len(cases) - 1
    assert campaign_text(made, campaign_findings(made)).count("crashed") >= 2


def test_hostile_names_do_not_escape() -> None:
    hostile = replace(EPYC, hostname="<script>alert(1)</script>", cpu="</script><img src=x>")
    html = render(view([(campaigns.run(hostile, synthetic.cases(2)), (hostile.hostname,))], name="x", id="../../x"))
    assert "<script>alert(1)" not in html and "<img src=x>" not in html
    assert file_name(view([(campaigns.run(hostile, []), ("a",))], name="", id="../../x")) == "campaign-runs--x.html"


def test_letters() -> None:
    assert letters(28)[:2] == ["A", "B"] and letters(28)[25:] == ["Z", "AA", "AB"]


def test_no_page_of_a_campaign_is_taken_for_a_runs_report(three: CampaignView) -> None:
    for made in (three, replace_id(three, None)):
        ids = [run.id for run in three.runs] + [str(three.id).removeprefix("c")]
        assert index.reports(ids, [file_name(made)]) == {}
    assert file_name(replace_id(three, None)) == "campaign-three-b-machines-b.html"


def replace_id(made: CampaignView, id: str | None) -> CampaignView:
    return replace(made, id=id)
