"""What went wrong in a run, and how far its numbers can be trusted: the findings that are not about time."""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np
import pandas as pd

from convbench import units
from convbench.analysis.findings.evidence import Evidence
from convbench.analysis.findings.finding import Finding, FindingKind, Weight, farthest, first, ids, line
from convbench.measure import schedule
from convbench.model.result import WRONG, Status

#: The probe's median over its floor above which a machine is called noisy: it was 1.06-1.27 in busy hours.
NOISY_RATIO = 1.05
#: Floors of processes that differ by more, as a ratio minus 1, disagree: most of what a setting does goes unseen then.
FLOORS_DISAGREE = 0.25
#: Where more than this share of the cases has such floors, the run should be repeated.
FEW = 0.1
#: What spoils more than this share of a run is told before what was learned from it.
MOST = 0.5
#: Below this share of blocks near the floor, the floor may be luck (measurement.md).
WEAK_SUPPORT = 0.1
#: Noise around a case over that around the median case from which on it was measured in a bad hour, and at least.
BAD_HOUR = 1.25
BAD_HOUR_LEAST = 0.25
#: Share of the processor's time that went to other guests from which on it is told.
STOLEN = 0.01
#: Units of roundoff beyond what summation in the layer's own dtype does: a few are usual. The check itself goes by the
#: distance from the reference (docs/checks.md): sums of many terms hide a coarse format from this figure.
ROUGH = 256.0
LARGEST_TOLD = 1e15

#: What happened to a case that could not be measured.
FATES = {
    Status.OUT_OF_MEMORY: "ran out of memory",
    Status.TIMED_OUT: "timed out",
    Status.CRASHED: "crashed",
    Status.ERROR: "raised an error",
}


def wrong(evidence: Evidence) -> list[Finding]:
    """Results that are not what the layer should compute."""
    failed, checked = evidence.of_status(Status.FAILED), evidence.of_status(Status.PASSED, *WRONG)
    if failed.empty:
        return []
    return [
        Finding(
            weight=Weight.WRONG,
            kind=FindingKind.WRONG,
            size=1 + len(failed) / len(checked),
            sentence=f"{units.count(len(failed))} of {units.plural(len(checked), 'case')} computed a wrong result: "
            f"{first(failed)}",
            cases=ids(failed),
        )
    ]


def inaccurate(evidence: Evidence) -> list[Finding]:
    """Results that are right and yet far less exact than their dtype allows.

    An older convbench had no `imprecise`: cases that it stored as passed go by `ROUGH`.
    """
    right = evidence.of_status(Status.PASSED, Status.IMPRECISE)
    is_rough = right["max_error"].between(ROUGH, LARGEST_TOLD) | (right["status"] == Status.IMPRECISE.value)
    rough = right[is_rough.to_numpy(dtype=bool)].sort_values("max_error", ascending=False, kind="stable")
    if rough.empty:
        return []
    told = rough["max_error"][rough["max_error"].between(0.0, LARGEST_TOLD)]
    worst = "" if told.empty else f", the worst {units.count(round(float(told.iloc[0])))} units of roundoff from exact"
    return [
        Finding(
            weight=Weight.WRONG,
            kind=FindingKind.INACCURATE,
            size=1.0,
            sentence=f"{units.count(len(rough))} of {units.plural(len(right), 'case')} computed in less precision "
            f"than was asked for{worst}: {farthest(rough)}",
            cases=ids(rough),
        )
    ]


def unmeasured(evidence: Evidence) -> list[Finding]:
    """Cases that could not be measured although they should have been."""
    status = evidence.table["status"].fillna("")
    lost = evidence.table[status.isin([status.value for status in FATES]).to_numpy(dtype=bool)]
    if lost.empty:
        return []
    counts = lost["status"].value_counts()
    fates = ", ".join(f"{units.count(int(counts[s]))} {fate}" for s, fate in FATES.items() if s in counts)
    return [
        Finding(
            weight=Weight.UNMEASURED,
            kind=FindingKind.UNMEASURED,
            size=1 + len(lost) / len(evidence.table),
            sentence=f"{units.plural(len(lost), 'case')} could not be measured: {fates}; {first(lost)}",
            cases=ids(lost),
        )
    ]


class Trust(StrEnum):
    """How far the times of a run can be trusted."""

    UNKNOWN = "unknown"  # no probe ran
    QUIET = "quiet"
    NOISY = "noisy"  # and yet the floors agree from process to process
    REPEAT = "repeat"  # the floors disagree


def trust(ratio: float, spreads: pd.Series) -> Trust:
    """How far to trust times, from `Rows(run).noise.ratio` and the spreads of all cases, NaN where unknown."""
    if (spreads.dropna() > FLOORS_DISAGREE).mean() > FEW:
        return Trust.REPEAT
    if math.isnan(ratio):
        return Trust.UNKNOWN
    return Trust.NOISY if ratio > NOISY_RATIO else Trust.QUIET


def noise_sentence(ratio: float) -> str:
    """How noisy the machine was, from `Rows(run).noise.ratio`: one sentence, noisy or not."""
    if math.isnan(ratio):
        return "how noisy the machine was is unknown: no probe ran"
    word = "noisy" if ratio > NOISY_RATIO else "quiet"
    return (
        f"the machine was {word}: a fixed piece of work, the probe, took {units.ratio(ratio)} as long in the median "
        f"as in its quietest moment"
    )


def noise(evidence: Evidence) -> list[Finding]:
    """How far the numbers can be trusted, where that has to be said."""
    ratio = evidence.rows.noise.ratio
    noisy = [_noise(ratio, noise_sentence(ratio))] if ratio > NOISY_RATIO else []
    return [
        *noisy,
        *_disagreeing(evidence),
        *_weak_support(evidence),
        *_bad_hour(evidence),
        *_apart(evidence),
        *_machine(evidence),
        *_oversubscribed(evidence),
    ]


def _noise(
    size: float,
    sentence: str,
    *,
    spoils: bool = False,
    cases: tuple[str, ...] = (),
    kind: FindingKind = FindingKind.NOISE,
    axis: str | None = None,
) -> Finding:
    """Told before what was learned where it spoils most of that, among the notes elsewhere."""
    weight = Weight.NOISE if spoils else Weight.NOTE
    return Finding(weight=weight, kind=kind, size=size, sentence=sentence, axis=axis, cases=cases)


def _disagreeing(evidence: Evidence) -> list[Finding]:
    known = evidence.table[evidence.table["spread"].notna()]
    apart = known[known["spread"] > FLOORS_DISAGREE]
    if len(apart) <= FEW * len(known):
        return []
    sentence = (
        f"in {units.count(len(apart))} of {units.plural(len(known), 'case')} the floors of the processes lie more than "
        f"{units.percent(FLOORS_DISAGREE, 0)} apart: repeat the run in a quieter hour; {first(apart)}"
    )
    share = len(apart) / len(known)
    return [_noise(1 + share, sentence, spoils=share > MOST, cases=ids(apart))]


def _weak_support(evidence: Evidence) -> list[Finding]:
    measured = evidence.table[evidence.table["floor_s"].notna()]
    weak = measured[measured["support"] < WEAK_SUPPORT]
    if weak.empty:
        return []
    sentence = (
        f"in {units.count(len(weak))} of {units.plural(len(measured), 'case')} fewer than a tenth of the blocks came "
        f"within 3 % of the floor, which may be a lucky one: {first(weak)}"
    )
    share = len(weak) / len(measured)
    return [_noise(1 + share, sentence, spoils=share > MOST, cases=ids(weak))]


def _bad_hour(evidence: Evidence) -> list[Finding]:
    """Cases around whose blocks the machine was much noisier than around those of the others."""
    known = evidence.table[evidence.table["noise"].notna()]
    if known.empty:
        return []
    usual = float(known["noise"].median())
    is_bad = known["noise"] > max(BAD_HOUR * usual, 1 + BAD_HOUR_LEAST)
    bad = known[is_bad].sort_values("noise", ascending=False, kind="stable")
    if bad.empty:
        return []
    worst = units.ratio(float(bad["noise"].iloc[0]))
    whose = "its" if len(bad) == 1 else "their"
    sentence = (
        f"{units.plural(len(bad), 'case was', 'cases were')} measured in a bad hour: around {whose} blocks the probe, "
        f"a fixed piece of work, took up to {worst} as long as in its quietest moment, {units.ratio(usual)} around "
        f"those of the median case: {farthest(bad)}"
    )
    return [_noise(1 + len(bad) / len(known), sentence, cases=ids(bad))]


def _apart(evidence: Evidence) -> list[Finding]:
    """Cases whose differences from other settings of their layer hold what the machine did between the two."""
    table = evidence.table
    parted = table[table["note"].fillna("").str.contains(schedule.APART, regex=False)]
    if parted.empty:
        return []
    sentence = (
        f"{units.count(len(parted))} of {units.plural(len(table), 'case')} did not take turns with all other settings "
        f"of their layer, whose workers or tensors did not fit in memory at once: differences between such settings "
        f"also hold what changed on the machine in between; {first(parted)}"
    )
    return [_noise(1 + len(parted) / len(table), sentence, cases=ids(parted))]


def _machine(evidence: Evidence) -> list[Finding]:
    """What the system tells of disturbances while the run lasted."""
    found = []
    passes = evidence.run.passes
    stolen = max((facts.stolen for facts in passes if facts.stolen is not None), default=0.0)
    if stolen > STOLEN:
        sentence = f"in one pass {units.percent(stolen)} of the processor's time went to other guests of the host"
        found.append(_noise(1 + stolen, sentence, spoils=stolen > MOST))
    throttled = sum(facts.throttled or 0 for facts in passes)
    if throttled:
        times = units.plural(throttled, "time")
        sentence = f"the processor was slowed down {times} meanwhile, for heat or for a quota of its control group"
        found.append(_noise(1.0, sentence))
    return found


def _oversubscribed(evidence: Evidence) -> list[Finding]:
    """More threads than cores are free for: a product took longer with all threads than with one."""
    ratios = [facts.twin_ratio for facts in evidence.run.passes if facts.twin_ratio is not None]
    slower = [ratio for ratio in ratios if ratio > 1]
    if not slower:
        return []
    median = float(np.median(slower))
    sentence = (
        f"more threads than free cores: in {len(slower)} of {units.plural(len(ratios), 'pass', 'passes')} a matrix "
        f"product took {units.ratio(median)} as long with all threads as with one; measure with fewer threads"
    )
    if len(slower) == len(ratios):
        sentence += "; times with as many threads as cores are compared with nothing here"
    spoils = len(slower) > MOST * len(ratios)
    return [_noise(median, sentence, spoils=spoils, kind=FindingKind.THREADS, axis="threads")]


def notes(evidence: Evidence) -> list[Finding]:
    """What is good to know of the whole run, the most important first."""
    run, found = evidence.run, []

    def note(sentence: str, cases: tuple[str, ...] = ()) -> None:
        found.append(Finding(weight=Weight.NOTE, kind=FindingKind.NOTE, size=1.0, sentence=sentence, cases=cases))

    skipped, passed = evidence.of_status(Status.SKIPPED), evidence.of_status(Status.PASSED)
    if run.unmeasured:
        waiting = evidence.table[evidence.table["status"].isna()]
        note(f"{units.plural(len(run.unmeasured), 'case was', 'cases were')} not reached yet", ids(waiting))
    if not skipped.empty:
        note(f"{units.plural(len(skipped), 'case was', 'cases were')} skipped: {first(skipped)}", ids(skipped))
    if run.rejections:
        refused = run.rejections[0]
        points = units.plural(len(run.rejections), "point")
        note(f"torch would refuse {points} of the sweep: {line(refused.label)}: {line(refused.reason)}")
    if not passed.empty and len(passed) == len(evidence.table):
        all_of_them = "the case" if len(passed) == 1 else f"all {units.count(len(passed))} cases"
        note(f"{all_of_them} computed the right result", ids(passed))
    if passed["tflops"].notna().any():
        best = passed.iloc[int(passed["tflops"].argmax())]
        rate = units.si(float(best["tflops"]) * 1e12, "FLOP/s")
        note(f"the highest rate is {rate}: {line(best['label'])}", (str(best["case_id"]),))
    return found
