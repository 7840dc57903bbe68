"""Made-up comparisons by their judgments."""

from __future__ import annotations

from dataclasses import replace

import synthetic

from convbench.analysis.comparison.comparability import Difference
from convbench.analysis.comparison.judgment import Comparison, Group, How, Judgment, RunName, Verdict
from convbench.model.result import Status

REGRESSED, IMPROVED, UNCHANGED, INCONCLUSIVE, NOT_JUDGED = Verdict


CASES = synthetic.cases(1000)


def judgment(at: int, verdict: Verdict, ratio: float = 1.0, **about: object) -> Judgment:
    status = None if verdict is NOT_JUDGED else Status.PASSED
    numbers = {} if verdict is NOT_JUDGED else {"ratio": ratio, "low": ratio * 0.98, "high": ratio * 1.02}
    times = {} if verdict is NOT_JUDGED else {"base_s": 1e-3, "new_s": 1e-3 * ratio, "noise": 1.01, "threshold": 0.05}
    made = Judgment(case=CASES[at], verdict=verdict, base_status=status, new_status=status, **numbers, **times)
    return replace(made, **about)


def comparison(*judgments: Judgment, verdict: Verdict = REGRESSED, **about: object) -> Comparison:
    side = RunName(id="20261125-033000-ab23", name="made up", started_at="2026-11-25T03:30:00+00:00")
    made = Comparison(
        base=side,
        new=replace(side, id="20261126-033000-cd45"),
        judgments=judgments,
        differences=(),
        groups=(),
        verdict=verdict,
        moved=0.0,
        longer=1.0,
    )
    return replace(made, **about)


MIXED = comparison(
    judgment(0, UNCHANGED),
    judgment(1, IMPROVED, 0.5),
    judgment(2, NOT_JUDGED, reason="only in BASE"),
    judgment(3, INCONCLUSIVE, 1.2, reason="a change of up to 20.0 % would not be seen: use ab"),
    judgment(4, REGRESSED, 1.1),
    judgment(5, NOT_JUDGED, new_status=Status.CRASHED, reason="crashed in NEW: signal 11"),
    judgment(6, REGRESSED, 1.4, causes=(Difference(what="implementation", base="brg", new="ref"),)),
    judgment(7, NOT_JUDGED, new_status=Status.FAILED, reason="failed in NEW: output[0] is | wrong\n<b>@all</b>"),
    groups=(
        Group(
            name="groups=depthwise and bfloat16",
            verdict=REGRESSED,
            changed=(4, 6),
            cases=2,
            ratio=1.25,
            causes=(Difference(what="implementation", base="brg", new="ref", cases=2),),
        ),
    ),
    differences=(Difference(what="torch", base="2.12.0", new="2.13.0"), Difference(what="host", base="a@b", new="#1")),
    how=How.SIDE_BY_SIDE,
)
