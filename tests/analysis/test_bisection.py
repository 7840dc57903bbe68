"""The search for a commit, with a made-up judge: noise, commits that cannot be measured, no change, small steps."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.analysis.comparison.bisection import Question, half_of, nearest_middle, pairs_for, search
from convbench.analysis.comparison.side_by_side import CONFIRMATION, FEWEST_PAIRS
from convbench.model.bisection import Outcome, Step

THRESHOLD = 0.025


class Judge:
    """Compares commits whose times are known. Each measured ratio is off by up to `noise`."""

    def __init__(self, times: Sequence[float], *, refused: Collection[int] = (), noise: float = 0.0) -> None:
        self.commits = [f"c{place}" for place in range(len(times))]
        self.times = dict(zip(self.commits, times, strict=True))
        self.refused = {f"c{place}" for place in refused}
        self.noise, self.random = noise, random.Random(0)
        self.asked: list[Question] = []

    def __call__(self, question: Question) -> Step:
        self.asked.append(question)
        plain = {"base": question.base, "new": question.new, "threshold": question.threshold}
        if question.new in self.refused:
            return Step(**plain, refused="cannot import mine")  # type: ignore[arg-type]  # texts and a number
        ratio = self.times[question.new] / self.times[question.base]
        ratio *= math.exp(self.random.uniform(-self.noise, self.noise))
        limit = math.log1p(question.threshold)
        moved = (math.log(ratio) > limit) - (math.log(ratio) < -limit)
        ends = {"low": ratio * 0.99, "high": ratio * 1.01}
        return Step(**plain, moved=moved, ratio=ratio, pairs=question.pairs, **ends)  # type: ignore[arg-type]  # numbers


def steps_at(length: int, place: int, factor: float) -> list[float]:
    return [factor if at >= place else 1.0 for at in range(length)]


@given(st.data())
def test_the_commit_is_found_in_few_comparisons_whatever_the_noise(data: st.DataObject) -> None:
    length = data.draw(st.integers(2, 200))
    place = data.draw(st.integers(1, length - 1))
    factor = data.draw(st.sampled_from([1.05, 1.3, 4.0, 0.95, 0.5]))
    judge = Judge(steps_at(length, place, factor), noise=0.01)
    found = search(judge.commits, judge, threshold=THRESHOLD)
    assert (found.outcome, found.first) == (Outcome.FOUND, (f"c{place}",))
    assert len(found.steps) == len(judge.asked) <= math.ceil(math.log2(length)) + 2
    assert (found.last.base, found.last.new) == (f"c{place - 1}", f"c{place}")
    assert found.last.ratio == pytest.approx(factor, rel=0.011)


@given(st.data())
def test_commits_that_cannot_be_measured_are_left_out_and_said(data: st.DataObject) -> None:
    length = data.draw(st.integers(3, 40))
    place = data.draw(st.integers(1, length - 1))
    refused = data.draw(st.sets(st.integers(1, length - 2)))
    judge = Judge(steps_at(length, place, 1.2), refused=refused)
    found = search(judge.commits, judge, threshold=THRESHOLD)
    assert f"c{place}" in found.first, "the commit that did it is never left out of the answer"
    assert not {found.last.base, found.last.new} & judge.refused
    assert {one[1:] for one in found.first[:-1]} <= set(map(str, refused)), "the others are those that cannot be"
    assert found.outcome is (Outcome.FOUND if len(found.first) == 1 else Outcome.AMONG)


def test_no_difference_is_told_after_one_comparison() -> None:
    judge = Judge([1.0] * 9)
    found = search(judge.commits, judge, threshold=THRESHOLD)
    assert (found.outcome, found.first, len(judge.asked)) == (Outcome.NOT_SHOWN, (), 1)


def test_a_last_commit_that_cannot_be_measured_ends_the_search() -> None:
    judge = Judge([1.0, 1.2], refused=[1])
    found = search(judge.commits, judge, threshold=THRESHOLD)
    assert (found.outcome, found.last.refused) == (Outcome.NOT_SHOWN, "cannot import mine")


def test_a_single_commit_takes_one_comparison() -> None:
    judge = Judge([1.0, 1.2])
    found = search(judge.commits, judge, threshold=THRESHOLD)
    assert (found.outcome, found.first, len(judge.asked)) == (Outcome.FOUND, ("c1",), 1)


def test_small_steps_are_not_blamed_on_one_commit() -> None:
    judge = Judge([1.01**place for place in range(9)])
    found = search(judge.commits, judge, threshold=THRESHOLD)
    assert found.outcome is Outcome.GRADUAL
    assert len(found.first) == 1 and found.last.moved == 0


@given(st.lists(st.sampled_from([1.0, 1.2]), min_size=1, max_size=30))
def test_of_several_changes_one_is_found(between: list[float]) -> None:
    """Where the time goes up and down, the answer is a commit that is slower than the one before it."""
    judge = Judge([1.0, *between, 1.2])
    found = search(judge.commits, judge, threshold=THRESHOLD)
    assert found.outcome is Outcome.FOUND
    assert judge.times[found.last.new] / judge.times[found.last.base] == pytest.approx(1.2)


def test_a_large_change_takes_few_pairs_and_a_small_one_all() -> None:
    def whole(ratio: float) -> Step:
        return Step(
            base="a", new="b", threshold=THRESHOLD, moved=1, ratio=ratio, low=ratio / 1.02, high=ratio * 1.02, pairs=12
        )

    assert half_of(whole(1.21)) == pytest.approx(0.1)
    assert pairs_for(whole(2.0), most=CONFIRMATION) == FEWEST_PAIRS
    assert pairs_for(whole(1.04), most=CONFIRMATION) == CONFIRMATION
    assert FEWEST_PAIRS < pairs_for(whole(1.1), most=CONFIRMATION) < CONFIRMATION


def test_the_middle_avoids_what_is_left_out() -> None:
    assert nearest_middle(0, 4, ()) == 2
    assert nearest_middle(0, 4, {2}) in (1, 3)
    assert nearest_middle(0, 2, {1}) is None is nearest_middle(3, 4, ())
