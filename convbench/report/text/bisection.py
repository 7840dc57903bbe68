"""What `convbench bisect` and the page of its job say: each comparison, and the answer."""

from __future__ import annotations

from convbench import units
from convbench.model.bisection import Bisection, Commit, Outcome, Step

#: Characters of a commit's hash, and of the first line of its message.
_HASH, _SUBJECT = 10, 100


def step_text(step: Step) -> str:
    """One comparison on a line: `commit 1a2b with 3c4d: +8.1 % (+7.0 % to +9.3 %), 16 pairs`."""
    what = f"commit {step.new[:_HASH]} with {step.base[:_HASH]}"
    if step.refused is not None:
        return f"{what}: left out, it cannot be measured: {units.flat(step.refused)}"
    text = f"{what}: {units.change(step.ratio)} {interval(step)}, {units.plural(step.pairs, 'pair')}"
    return f"{text}; left out, it is not decided" if step.moved is None else text


def answer_text(found: Bisection) -> str:
    """The answer as lines: the commit, how much it changed, and what it took to find it."""
    lines = _ANSWERS[found.outcome](found)
    return "\n".join([*lines, *([f"measured by: {units.flat(found.label)}"] if found.label else []), _effort(found)])


def commit_text(commit: Commit) -> str:
    """`1a2b3c4d5e (Ann: use a loop)`."""
    return f"{commit.id[:_HASH]} ({units.flat(commit.author)}: {units.flat(commit.subject)[:_SUBJECT]})"


def interval(step: Step) -> str:
    """`(+7.0 % to +9.3 %)`."""
    return f"({units.change(step.low)} to {units.change(step.high)})"


def _size(step: Step) -> str:
    """`8.1 % slower (7.0 % to 9.3 %)`."""
    word, ends = ("slower", (step.low, step.high)) if step.ratio > 1 else ("faster", (step.high, step.low))
    low, high = (units.percent(abs(end - 1)) for end in ends)
    return f"{units.percent(abs(step.ratio - 1))} {word} ({low} to {high})"


def _found(found: Bisection) -> list[str]:
    before = found.last.base[:_HASH]
    return [f"found: commit {commit_text(found.first[0])} is {_size(found.last)} than the commit before, {before}"]


def _among(found: Bisection) -> list[str]:
    last = found.last
    return [
        f"found: commit {last.new[:_HASH]} is {_size(last)} than {last.base[:_HASH]}; it is one of"
        f" {units.plural(len(found.first), 'commit')}, and those between cannot be measured:",
        *(f"  {commit_text(one)}" for one in found.first),
    ]


def _gradual(found: Bisection) -> list[str]:
    whole = found.steps[0]
    return [
        f"no single commit: {whole.new[:_HASH]} is {_size(whole)} than {whole.base[:_HASH]}, in several steps",
        f"half of it has come at {commit_text(found.first[-1])},"
        f" which itself moves it by {units.change(found.last.ratio)} {interval(found.last)}",
    ]


def _not_shown(found: Bisection) -> list[str]:
    last = found.last
    both = f"commit {last.new[:_HASH]} against {last.base[:_HASH]}"
    if last.moved is None:
        return [
            f"not decided: {both} moves by {units.change(last.ratio)} {interval(last)}; measure again, with --pairs"
        ]
    return [
        f"not found: the difference does not show here: {both} moves by {units.change(last.ratio)} {interval(last)}"
    ]


_ANSWERS = {
    Outcome.FOUND: _found,
    Outcome.AMONG: _among,
    Outcome.GRADUAL: _gradual,
    Outcome.NOT_SHOWN: _not_shown,
}


def _effort(found: Bisection) -> str:
    refused = sum(step.refused is not None for step in found.steps)
    measured = len(found.steps) - refused
    pairs = sum(step.pairs for step in found.steps)
    text = (
        f"{units.plural(found.commits, 'commit')}, {units.plural(measured, 'comparison')},"
        f" {units.plural(pairs, 'pair')} of processes"
    )
    return f"{text}; {units.plural(refused, 'commit')} left out" if refused else text
