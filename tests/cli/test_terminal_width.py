"""The command on a terminal of 60 columns: no line is longer, no figure is cut, verdicts are coloured."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import campaigns
import pytest
import synthetic
from commands import Command, store
from nights import nights
from terminal import CONTROL, on_terminal

from convbench.model.result import Git, Run, Status

WIDTH = 60
CONFIGS = Path(__file__).parent.parent.parent / "configs"
FIGURE = re.compile(r"[-+]?\d[\d.,]*(?:x| %| [num]?s| [kMGT]?FLOP/s)?")


def compared() -> list[Run]:
    cases = synthetic.cases(12)
    sides = []
    for side, factors in (("base", [1.0]), ("new", [1.4, 1.4, 0.7, 0.7, 1.0])):
        made = [
            synthetic.noisy_blocks(synthetic.floor_s(case) * factors[min(at, len(factors) - 1)], seed=f"{side} {at}")
            for at, case in enumerate(cases)
        ]
        results = [synthetic.result(case, made=blocks) for case, blocks in zip(cases, made, strict=True)]
        run_id = {"base": "20261101-010101-base", "new": "20261102-010101-newr"}[side]
        sides.append(replace(synthetic.empty_run(), id=run_id, results=tuple(results)))
    base, new = sides
    noisy = replace(new, results=(*new.results[:11], replace(new.results[11], status=Status.FAILED, reason="is wrong")))
    git = Git(commit="0123456789abcdef" * 2 + "01234567", dirty=True, branch="a/branch/with/a/long/name")
    return [base, replace(noisy, git=git)]


def machines() -> list[Run]:
    return [run for run, _ in campaigns.runs(24)]


def stepped() -> list[Run]:
    return nights([1e-3] * 6 + [1.4e-3] * 6)


@pytest.mark.parametrize(
    ("runs", "arguments", "colours"),
    [
        (compared, ("compare", "20261101-010101-base", "latest", "--no-page"), {"regressed": "31", "improved": "32"}),
        (compared, ("runs",), {}),
        (stepped, ("history", "CASE"), {"step +39.9 %": "31"}),
        (stepped, ("baseline", "list"), {}),
        (compared, ("plan", str(CONFIGS / "quick.yaml")), {}),
        (compared, ("explain", "CASE", "-o", "layer.html"), {}),
        (machines, ("campaign", "three-machines", "--no-page"), {}),
        (machines, ("machines",), {}),
    ],
    ids=["compare", "runs", "history", "baseline list", "plan", "explain", "campaign", "machines"],
)
def test_a_narrow_terminal_gets_every_figure_in_lines_that_fit(
    command: Command,
    tmp_path: Path,
    runs: Callable[[], list[Run]],
    arguments: tuple[str, ...],
    colours: dict[str, str],
) -> None:
    made = [store(one, tmp_path / "my.db") for one in runs()]
    assert command("--db", "my.db", "baseline", "set", "release/1.2-of-the-branch", made[0].id).code == 0
    verb = [made[0].results[0].case.id if word == "CASE" else word for word in arguments]
    piped = command("--db", "my.db", *verb)
    assert "\x1b" not in piped.out, "a pipe gets no colours"
    code, text = on_terminal(tmp_path, "--db", "my.db", *verb, columns=WIDTH)
    assert code == piped.code
    plain = CONTROL.sub("", text)
    assert max(map(len, plain.splitlines())) <= WIDTH
    on_a_line = " ".join(plain.split())
    missing = {found for found in FIGURE.findall(piped.out) if found not in on_a_line}
    assert missing == set(), "a figure was cut"
    assert all(f"\x1b[{colour}m{word}\x1b[0m" in text for word, colour in colours.items())
    if colours:
        _, without = on_terminal(tmp_path, "--db", "my.db", *verb, columns=WIDTH, NO_COLOR="1")
        assert "\x1b" not in without
        assert without == plain
