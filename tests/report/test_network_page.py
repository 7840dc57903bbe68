"""The sections on networks: that of a run's report, and that of a comparison's page."""

from __future__ import annotations

from dataclasses import replace

from networks import network, timed
from page_reader import Read

from convbench.analysis.comparison.comparison import compare
from convbench.analysis.comparison.judgment import RunComparison, Verdict
from convbench.analysis.comparison.networks import with_networks
from convbench.analysis.findings.findings import examined
from convbench.model.case import Case, MemoryFormat
from convbench.model.problem import Direction
from convbench.report.pages import comparison as comparison_page
from convbench.report.pages.network import network_views
from convbench.report.pages.network_change import network_change_view
from convbench.report.pages.plain import Table
from convbench.report.pages.run import render
from convbench.report.text.network import network_text


def cells(table: Table) -> dict[str, tuple[str, ...]]:
    return {row.name: row.cells for row in table.rows}


def test_the_section_answers_in_order() -> None:
    [view] = network_views(examined(network()))
    assert [(tile.title, tile.answer, tile.detail) for tile in view.tiles[:2]] == [
        ("One forward", "8.00 ms", "4.00 ms with channels_last."),
        ("One training step", "20.0 ms", "10.0 ms with channels_last."),
    ]
    assert (view.tiles[2].answer, view.tiles[2].detail.partition(",")[0]) == ("4", "2 different layers")
    stage, kind = view.where
    assert stage.heads == ("stage", "layers", "forward", "share", "training step", "share", "with channels_last")
    assert cells(stage) == dict.fromkeys(("a", "b"), ("2", "4.00 ms", "50 %", "10.0 ms", "50 %", "5.00 ms"))
    assert list(cells(kind)) == ["3x3", "1x1"]
    assert view.changes is not None
    assert cells(view.changes) == {
        "contiguous (usual)": ("8.00 ms", "", "20.0 ms", ""),
        "channels_last": ("4.00 ms", "2.00x faster", "10.0 ms", "2.00x faster"),
    }
    assert [table.title for table in view.fixes] == [
        "Worth fixing first with contiguous",
        "Worth fixing first with channels_last",
    ]
    assert view.fixes[0].rows[0].cells[:3] == ("2", "10.0 ms", "50 %")


def test_convolutions_that_are_no_cases_are_said_wherever_sums_stand() -> None:
    source = "axes: {out_channels: 8, kernel_size: 1, input_size: 8}\ncases:\n- {in_channels: 4}\nleft_out:\n"
    source += "- {count: 2, work: 0.25, reason: a transposed one}\n- {work: 0.05, reason: a Conv1d}\n"
    run = replace(network(), source=source)
    seen = examined(run)
    [view] = network_views(seen)
    assert view.tiles[2].answer == "4 of 7"
    assert "The sums are without 2 convolutions with 25.0 % of the work: a transposed one." in view.notes
    assert seen.sentences[0].startswith("one forward spends 8.00 ms in 4 of 7 convolutions, one training step 20.0 ms")
    assert seen.sentences[0].endswith("; without 30.0 % of the work")
    assert network_text(seen.answers[0]).endswith("\nleft out 1 convolution with 5.0 % of the work: a Conv1d")
    assert "3 convolutions of the network left out." in Read(render(run).replace("<br>", " ")).texts
    other = replace(network("new"), source=source)
    compared = with_networks(compare(run, other), run, other)
    assert compared.network is not None
    assert {each.base_lacks for each in compared.network.sums} == {"without 30.0 % of the work"}


def test_the_page_has_the_section_and_links_to_its_cases() -> None:
    run = network(hostile="<b>")
    page = Read(render(run).replace("<br>", " "))
    assert "The network" in page.texts and "By kind of layer" in page.texts
    first = network_views(examined(run))[0].fixes[0].rows[0]
    assert f"#case={first.case_id}" in page.links and "#network" in page.links
    assert "a.0<b>" in page.texts
    alone = replace(run, results=tuple(replace(each, case=_plain(each.case)) for each in run.results))
    assert "The network" not in Read(render(alone).replace("<br>", " ")).texts, "what is no network has no such section"


def _plain(case: Case) -> Case:
    return replace(case, given_label=None, count=1)


def compared() -> RunComparison:
    """The second network has a wider layer b.0 that takes twice as long, and no backward."""
    base = network()
    forwards = [each for each in base.results if each.case.direction is Direction.FORWARD]
    wide = [timed("b.0", 48, 4.0, 2, kernel_size=(1, 1), memory_format=each) for each in MemoryFormat]
    new = replace(base, id="20261125-new", results=(*forwards[:2], *wide))
    return RunComparison(comparison=with_networks(compare(base, new), base, new), base=base, new=new)


def test_the_page_of_a_comparison_has_the_sums_first() -> None:
    found = compared()
    view = network_change_view(found.comparison.network)
    assert view is not None
    assert cells(view.sums) == {
        "one forward with contiguous": ("8.00 ms", "12.0 ms", "1.50x slower (1.50x to 1.51x)"),
        "one forward with channels_last": ("4.00 ms", "10.0 ms", "2.50x slower"),
    }
    matched, alone = view.tables
    assert [row.text for row in matched.rows] == ["in_channels 24 -> 48"] * 2
    assert [row.cells for row in matched.rows] == [
        ("2", "1.00 ms", "4.00 ms", "4.00x"),
        ("2", "2.00 ms", "4.00 ms", "2.00x"),
    ], "the largest change of the network's time first"
    assert (alone.title, len(alone.rows)) == ("Only in base", 4)
    page = Read(comparison_page.render(found))
    assert page.texts.index("The network") < page.texts.index("The verdict")


def test_a_comparison_without_equal_cases_has_the_sum_as_its_headline() -> None:
    base, new = network(), network("new")
    other = replace(
        new,
        results=tuple(
            timed(each.case.given_label or "", 9, 1.0, 2, memory_format=each.case.memory_format, kernel_size=(5, 5))
            for each in new.results[:2]
        ),
    )
    found = with_networks(compare(base, other), base, other)
    assert found.verdict is Verdict.NOT_JUDGED
    assert comparison_page.headline(found).startswith(
        "One forward with channels_last: 4.00 ms -> 2.00 ms, 2.00x faster"
    )
    assert network_change_view(None) is None
