"""What CI takes from a verb: the exit code it asks for, the summary's file, JUnit XML."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import synthetic
from comparisons import MIXED, comparison, judgment

from convbench.analysis.comparison.judgment import Comparison, Verdict
from convbench.cli.exits import EVERYTHING, FailOn, of_comparison, of_run, parsed_fail_on
from convbench.cli.outcome import Outcome
from convbench.errors import ExitCode, RequestError
from convbench.model.result import UNMEASURED, WRONG, Status
from convbench.report.export import comparison_to_junit

REGRESSED, IMPROVED, UNCHANGED, INCONCLUSIVE, NOT_JUDGED = Verdict


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, set(FailOn)),
        ("regression", {FailOn.REGRESSION}),
        ("regression, failed,Timed-Out", {FailOn.REGRESSION, FailOn.FAILED, FailOn.TIMED_OUT}),
        (",".join(FailOn), set(FailOn)),
        ("none", set()),
    ],
)
def test_words_of_fail_on(text: str | None, expected: set[FailOn]) -> None:
    assert parsed_fail_on(text) == expected


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        (
            "regresion",
            "unknown word 'regresion', expected some of regression, failed, imprecise",
            "did you mean regression?",
        ),
        ("failed,time_out", "unknown word 'time_out'", "did you mean timed_out?"),
        ("", "unknown word ''", None),
        ("failed,", "unknown word ''", None),
        ("slower", "unknown word 'slower'", None),
        ("none,failed", "none excludes other words", None),
    ],
)
def test_other_words_are_refused(text: str, said: str, hint: str | None) -> None:
    with pytest.raises(RequestError) as refused:
        parsed_fail_on(text)
    assert said in refused.value.message
    assert refused.value.hint == hint


def test_every_status_that_counts_has_its_word() -> None:
    assert {status.value for status in UNMEASURED | set(WRONG)} < {word.value for word in FailOn}


def found(verdict: Verdict, *statuses: Status) -> Comparison:
    return comparison(*(judgment(i, UNCHANGED, new_status=s) for i, s in enumerate(statuses)), verdict=verdict)


@pytest.mark.parametrize(
    ("comparison", "counted", "code"),
    [
        (found(REGRESSED, Status.PASSED), EVERYTHING, 1),
        (found(REGRESSED, Status.CRASHED), EVERYTHING, 1),
        (found(REGRESSED, Status.CRASHED), EVERYTHING - {FailOn.REGRESSION}, 3),
        (found(REGRESSED, Status.PASSED), EVERYTHING - {FailOn.REGRESSION}, 0),
        (found(UNCHANGED, Status.FAILED, Status.ERROR), EVERYTHING, 1),
        (found(UNCHANGED, Status.FAILED, Status.ERROR), EVERYTHING - {FailOn.FAILED}, 3),
        (found(UNCHANGED, Status.FAILED, Status.ERROR), {FailOn.REGRESSION}, 0),
        (found(IMPROVED, Status.IMPRECISE, Status.ERROR), EVERYTHING, 1),
        (found(IMPROVED, Status.IMPRECISE), {FailOn.IMPRECISE}, 1),
        (found(IMPROVED, Status.IMPRECISE), {FailOn.FAILED}, 0),
        (found(IMPROVED, Status.IMPRECISE, Status.ERROR), EVERYTHING - {FailOn.IMPRECISE}, 3),
        (found(INCONCLUSIVE, Status.PASSED), EVERYTHING, 5),
        (found(INCONCLUSIVE, Status.TIMED_OUT), EVERYTHING, 3),
        (found(INCONCLUSIVE, Status.TIMED_OUT), EVERYTHING - {FailOn.TIMED_OUT}, 5),
        (found(INCONCLUSIVE, Status.PASSED), EVERYTHING - {FailOn.NOISE}, 0),
        (found(IMPROVED, Status.SKIPPED), EVERYTHING, 0),
        (found(REGRESSED, Status.FAILED, Status.CRASHED), frozenset(), 0),
    ],
)
def test_only_what_is_named_makes_the_exit_code(comparison: Comparison, counted: set[FailOn], code: int) -> None:
    assert of_comparison(comparison, counted) == code


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *((status, ExitCode.NOT_MEASURED) for status in sorted(UNMEASURED)),
        *((status, ExitCode.FAILED_OR_REGRESSED) for status in WRONG),
    ],
)
def test_each_status_of_a_run_counts_by_its_own_word(status: Status, code: ExitCode) -> None:
    run = synthetic.run(2, troubles=False)
    run = replace(run, results=(run.results[0], replace(run.results[1], status=status)))
    assert of_run(run) == of_run(run, {FailOn(status.value)}) == code
    assert of_run(run, EVERYTHING - {FailOn(status.value)}) == ExitCode.DONE


def test_the_files_are_written_and_the_code_is_returned(tmp_path: Path) -> None:
    summary, junit = tmp_path / "out" / "summary.md", tmp_path / "junit.xml"
    outcome = Outcome.asked(summary, junit, "failed")
    assert outcome.of_comparison(MIXED) == ExitCode.FAILED_OR_REGRESSED
    assert summary.read_text(encoding="utf-8").startswith("### convbench, made up: regressed\n")
    assert ElementTree.parse(junit).getroot().tag == "testsuites"
    run = synthetic.run(14)
    assert outcome.of_run(run, ["a finding"]) == ExitCode.FAILED_OR_REGRESSED
    assert "- a finding" in summary.read_text(encoding="utf-8")
    assert len(ElementTree.parse(junit).findall("testsuite/testcase")) == 14


def test_nothing_is_written_where_nothing_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Outcome.asked(None, None, "noise").of_comparison(MIXED) == ExitCode.DONE
    assert not list(tmp_path.iterdir())


def test_githubs_own_file_is_appended_to_and_others_are_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, other = tmp_path / "step_summary", tmp_path / "other.md"
    for path in (step, other):
        path.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    for path in (step, other):
        for _ in range(2):
            Outcome.asked(path, None, None).of_comparison(MIXED)
    assert step.read_text(encoding="utf-8").count("### convbench") == 2
    assert step.read_text(encoding="utf-8").startswith("before\n")
    assert other.read_text(encoding="utf-8").count("### convbench") == 1
    assert "before" not in other.read_text(encoding="utf-8")


def test_a_file_that_cannot_be_written_is_a_wrong_request(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cannot write"):
        Outcome.asked(tmp_path / "file" / "summary.md", None, None).of_comparison(MIXED)


def test_text_outside_unicode_reaches_the_files(tmp_path: Path) -> None:
    odd = comparison(judgment(0, REGRESSED, 2.0, reason="half \udce4"))
    summary, junit = tmp_path / "summary.md", tmp_path / "junit.xml"
    Outcome.asked(summary, junit, None).of_comparison(odd)
    assert "half \\\\udce4" in summary.read_text(encoding="utf-8") or "half \\udce4" in summary.read_text(
        encoding="utf-8"
    )
    assert ElementTree.parse(junit).find(".//failure") is not None


def test_junit_of_a_comparison_has_a_test_for_each_case() -> None:
    [suite] = ElementTree.fromstring(comparison_to_junit(MIXED))
    tests = suite.findall("testcase")
    kinds = [next((child.tag for child in test if child.tag != "properties"), None) for test in tests]
    #        unchanged, improved, only in BASE, inconclusive, slower, crashed, slower, wrong
    assert kinds == [None, None, "skipped", "skipped", "failure", "error", "failure", "failure"]
    assert {name: suite.attrib[name] for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "8",
        "failures": "3",
        "errors": "1",
        "skipped": "2",
    }
    slower = tests[6].find("failure")
    assert slower is not None and slower.attrib["type"] == "regressed"
    expected = "+40.0 % (+37.2 % to +42.8 %), 1.00 ms -> 1.40 ms; implementation brg -> ref"
    assert slower.attrib["message"] == slower.text == expected
    wrong = tests[7].find("failure")
    assert wrong is not None
    assert (wrong.attrib["type"], wrong.text) == ("failed", "failed in NEW: output[0] is | wrong <b>@all</b>")
    assert [test.get("time") for test in tests][5:7] == [None, "0.001400000"]
    properties = {p.attrib["name"]: p.attrib["value"] for p in tests[6].findall("properties/property")}
    assert properties["case_id"] == MIXED.judgments[6].case.id
    assert (properties["ratio"], properties["verdict"]) == ("1.4", "regressed")
    assert "q" not in properties  # there is none


def test_junit_of_a_comparison_is_xml_whatever_the_texts() -> None:
    texts = ["]]>", "\x00\x1b[0m", "<a b='", "\udce4", "a\nb"]
    odd = [
        judgment(i, REGRESSED, reason=text, case=replace(judgment(i, REGRESSED).case, given_label=text))
        for i, text in enumerate(texts)
    ]
    [suite] = ElementTree.fromstring(comparison_to_junit(comparison(*odd)))
    assert len(suite.findall("testcase/failure")) == len(texts)
