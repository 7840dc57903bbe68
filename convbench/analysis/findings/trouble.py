"""What failed in a run, and how reliable its numbers are: the findings that are not about time."""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np
import pandas as pd

from convbench import units
from convbench.analysis.findings.evidence import Evidence
from convbench.analysis.findings.finding import Finding, FindingKind, Weight, farthest, first, ids, line
from convbench.analysis.findings.pairs import LEAST_PROCESSES
from convbench.analysis.findings.sizes import Sizes
from convbench.measure import schedule
from convbench.model.case import Fp32Precision
from convbench.model.result import WRONG, RunState, Status

#: A machine is called noisy above this ratio of the probe's median to its floor. It was 1.06-1.27 in busy hours.
NOISY_RATIO = 1.05
#: Floors of processes that differ by more, as a ratio minus 1, disagree. They hide most effects of settings.
FLOORS_DISAGREE = 0.25
#: The run should be repeated where more than this share of the cases has such floors.
FEW = 0.1
#: Noise in more than this share of a run is reported before the findings about times.
MOST = 0.5
#: Below this share of blocks near the time, the time may be an outlier.
WEAK_SUPPORT = 0.1
#: A case is reported above this ratio of its noise to the median case's noise, if the noise is also so far over 1.
NOISIER = 1.25
NOISIER_LEAST = 0.25
#: The processor's time that went to other guests is reported above this share.
STOLEN = 0.05
#: The reference layers of a run are slower than at their fastest known from this ratio minus 1 on.
SLOWER = 0.02
#: An error of so many units of roundoff is more than summation in the layer's own dtype makes, which is a few units.
#: The check uses the distance from the reference instead (docs/checks.md), as this figure hides a coarse format in long
#: sums.
ROUGH = 256.0
#: The precisions of float32 that are coarser than its dtype.
COARSE = (Fp32Precision.TF32.value, Fp32Precision.BF16.value)
LARGEST_SHOWN = 1e15

#: What happened to a case that could not be measured.
FATES = {
    Status.OUT_OF_MEMORY: "ran out of memory",
    Status.TIMED_OUT: "timed out",
    Status.CRASHED: "crashed",
    Status.ERROR: "raised an error",
}


def wrong(evidence: Evidence) -> list[Finding]:
    """Wrong results."""
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
    """Right results that are far less exact than their dtype allows.

    An older convbench had no status `imprecise`: it stored such cases as passed, and `ROUGH` finds them. It also had
    errors of TF32 and bf16 in units of float32, so these are left out.
    """
    right = evidence.of_status(Status.PASSED, Status.IMPRECISE)
    is_coarse = right["resolved_precision"].isin(COARSE)
    is_rough = right["max_error"].between(ROUGH, LARGEST_SHOWN) & ~is_coarse
    is_rough |= right["status"] == Status.IMPRECISE.value
    rough = right[is_rough.to_numpy(dtype=bool)].sort_values("max_error", ascending=False, kind="stable")
    if rough.empty:
        return []
    errors = rough["max_error"][rough["max_error"].between(0.0, LARGEST_SHOWN)]
    worst = (
        "" if errors.empty else f", the worst {units.count(round(float(errors.iloc[0])))} units of roundoff from exact"
    )
    return [
        Finding(
            weight=Weight.WRONG,
            kind=FindingKind.INACCURATE,
            size=1.0,
            sentence=f"{units.count(len(rough))} of {units.plural(len(right), 'case')} computed in less precision "
            f"than requested{worst}: {farthest(rough)}",
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
    """How reliable the times of a run are."""

    UNKNOWN = "unknown"  # no probe ran
    QUIET = "quiet"
    NOISY = "noisy"  # the times of the processes still agree
    REPEAT = "repeat"  # the times of the processes disagree


def trust(ratio: float, spreads: pd.Series) -> Trust:
    """How reliable times are, from `Rows(run).noise.ratio` and the spreads of all cases, NaN where unknown."""
    if (spreads.dropna() > FLOORS_DISAGREE).mean() > FEW:
        return Trust.REPEAT
    if math.isnan(ratio):
        return Trust.UNKNOWN
    return Trust.NOISY if ratio > NOISY_RATIO else Trust.QUIET


def noise_sentence(ratio: float) -> str:
    """How noisy the machine was, from `Rows(run).noise.ratio`: always one sentence."""
    if math.isnan(ratio):
        return "the noise of the machine is unknown: no probe ran"
    word = "noisy" if ratio > NOISY_RATIO else "quiet"
    return f"the machine was {word}: the probe, a fixed piece of work, took {probe_time(ratio)}"


def probe_time(ratio: float) -> str:
    """The probe's median over its fastest time, in percent like a spread where that is easy to read."""
    longer = f"{units.percent(ratio - 1)} longer in the median than" if ratio < 2 else ""
    return f"{longer or f'{units.ratio(ratio)} as long in the median as'} at its fastest"


def noise(evidence: Evidence) -> list[Finding]:
    """How reliable the numbers are, where something reduces it."""
    ratio = evidence.rows.noise.ratio
    noisy = [_noise(ratio, noise_sentence(ratio))] if ratio > NOISY_RATIO else []
    return [
        *noisy,
        *_disagreeing(evidence),
        *_weak_support(evidence),
        *_one_process(evidence),
        *_noisier(evidence),
        *_apart(evidence),
        *_machine(evidence),
        *_throttled(evidence),
        *_other_processes(evidence),
        *_oversubscribed(evidence),
    ]


def _noise(
    size: float,
    sentence: str,
    *,
    is_wide: bool = False,
    cases: tuple[str, ...] = (),
    kind: FindingKind = FindingKind.NOISE,
    axis: str | None = None,
) -> Finding:
    """A finding on noise; one that `is_wide` affects most of the run and precedes findings about times."""
    weight = Weight.NOISE if is_wide else Weight.NOTE
    return Finding(weight=weight, kind=kind, size=size, sentence=sentence, axis=axis, cases=cases)


def _disagreeing(evidence: Evidence) -> list[Finding]:
    known = evidence.table[evidence.table["spread"].notna()]
    apart = known[known["spread"] > FLOORS_DISAGREE]
    if len(apart) <= FEW * len(known):
        return []
    some = f"{units.count(len(apart))} of {units.plural(len(known), 'case')}"
    sentence = (
        f"in {some} the {evidence.lead}s of the processes differ by more than {units.percent(FLOORS_DISAGREE, 0)}: "
        f"repeat the run when the machine is less busy; {first(apart)}"
    )
    share = len(apart) / len(known)
    return [_noise(1 + share, sentence, is_wide=share > MOST, cases=ids(apart))]


def _weak_support(evidence: Evidence) -> list[Finding]:
    measured = evidence.table[evidence.table["time_s"].notna()]
    weak = measured[measured["support"] < WEAK_SUPPORT]
    if weak.empty:
        return []
    sentence = (
        f"in {units.count(len(weak))} of {units.plural(len(measured), 'case')} fewer than 10 % of the blocks are "
        f"within 3 % of the {evidence.lead}, so the {evidence.lead} may be an outlier: {first(weak)}"
    )
    share = len(weak) / len(measured)
    return [_noise(1 + share, sentence, is_wide=share > MOST, cases=ids(weak))]


def _one_process(evidence: Evidence) -> list[Finding]:
    """Why a run of one process has no findings that compare cases."""
    processes = evidence.table["processes"].max()
    if len(evidence.pairs.table) < 2 or pd.isna(processes) or processes >= LEAST_PROCESSES:
        return []
    so_far = " so far" if evidence.run.state is not RunState.FINISHED else ""
    sentence = (
        f"only one process measured{so_far}, which may have been slow as a whole: findings that compare cases need two "
        "processes"
    )
    return [_noise(1.0, sentence)]


def _noisier(evidence: Evidence) -> list[Finding]:
    """Cases around whose blocks the machine was much noisier than around the other cases' blocks."""
    known = evidence.table[evidence.table["noise"].notna()]
    if known.empty:
        return []
    usual = float(known["noise"].median())
    is_bad = known["noise"] > max(NOISIER * usual, 1 + NOISIER_LEAST)
    bad = known[is_bad].sort_values("noise", ascending=False, kind="stable")
    if bad.empty:
        return []
    worst = units.apart(float(bad["noise"].iloc[0]) - 1)
    whose = "its" if len(bad) == 1 else "their"
    sentence = (
        f"{units.plural(len(bad), 'case was', 'cases were')} measured while the machine was noisier. Around {whose} "
        f"blocks the probe's time was up to {worst} over its fastest, around those of the median case "
        f"{units.apart(usual - 1)}: {farthest(bad)}"
    )
    return [_noise(1 + len(bad) / len(known), sentence, cases=ids(bad))]


def _apart(evidence: Evidence) -> list[Finding]:
    """Cases that did not alternate with other settings of their layer: the machine may have changed in between."""
    table = evidence.table
    parted = table[table["note"].fillna("").str.contains(schedule.APART, regex=False)]
    if parted.empty:
        return []
    sentence = (
        f"{units.count(len(parted))} of {units.plural(len(table), 'case')} did not alternate with all other settings "
        f"of their layer, because the workers or tensors did not fit in memory together. Differences between these "
        f"settings include changes of the machine in between: {first(parted)}"
    )
    return [_noise(1 + len(parted) / len(table), sentence, cases=ids(parted))]


def _throttled(evidence: Evidence) -> list[Finding]:
    """Blocks whose device lowered its clock for heat or power, and what that cost."""
    table = evidence.table
    slow = table[table["throttled_share"] > 0].sort_values("throttled_share", ascending=False, kind="stable")
    if slow.empty:
        return []
    rows = evidence.order[slow.index.to_numpy()]
    states = [state for facts in evidence.run.processes for state in facts.device_states]
    reasons = list(dict.fromkeys(reason for state in states for reason in state.slowdowns))
    why = f" ({', '.join(reasons)})" if reasons else ""
    costs = evidence.rows.throttled.cost[rows]
    known = costs[np.isfinite(costs)]
    share = len(slow) / int(table["throttled_share"].notna().sum())
    blocks = float(np.average(slow["throttled_share"]))
    sentence = (
        f"the device lowered its clock{why} in {units.percent(blocks, 0)} of the blocks of "
        f"{units.plural(len(slow), 'case')}: "
    )
    if len(known):
        sentence += (
            f"these blocks took {units.change(float(np.median(known)) + 1)} in the median of "
            f"{units.plural(len(known), 'case')} beside the case's other blocks; {farthest(slow)}"
        )
    else:
        clocks = [(state.sm_hz, state.most_sm_hz) for state in states if state.sm_hz and state.most_sm_hz]
        sentence += f"no case has other blocks to compare them with{_clock(clocks)}; {farthest(slow)}"
    return [_noise(1 + share, sentence, is_wide=blocks * share > MOST, cases=ids(slow))]


def _clock(clocks: list[tuple[float, float]]) -> str:
    """`, and the SM clock was 1.2 GHz of 1.98 GHz`: of the process where it was lowest."""
    if not clocks:
        return ""
    clock, most = min(clocks)
    return f", and the SM clock was {units.si(clock, 'Hz')} of {units.si(most, 'Hz')}"


def _other_processes(evidence: Evidence) -> list[Finding]:
    """Other programs that computed on a device during the run."""
    most: dict[str, int] = {}
    for state in (state for facts in evidence.run.processes for state in facts.device_states):
        most[state.device] = max(most.get(state.device, 0), state.other_processes or 0)
    return [
        _noise(
            1.0 + others,
            f"{units.plural(others, 'other process was', 'other processes were')} on {device} during the run, and "
            "could use it at the same time",
        )
        for device, others in most.items()
        if others
    ]


def _machine(evidence: Evidence) -> list[Finding]:
    """What the system reports of disturbances during the run."""
    found = []
    processes = evidence.run.processes
    stolen = max((facts.stolen for facts in processes if facts.stolen is not None), default=0.0)
    if stolen > STOLEN:
        sentence = f"{units.percent(stolen)} of the processor's time went to other guests of the host in one process"
        found.append(_noise(1 + stolen, sentence, is_wide=stolen > MOST))
    throttled = sum(facts.throttled or 0 for facts in processes)
    slower = evidence.rows.related.typical_slowdown - 1
    if slower >= SLOWER:  # NaN without references
        sentence = (
            f"the machine ran {units.percent(slower)} slower than at its fastest known, by its reference layers; the "
            f"column normalized is corrected by this"
        )
        found.append(_noise(1 + slower, sentence))
    if throttled:
        times = units.plural(throttled, "time")
        sentence = (
            f"the processor was slowed down {times} during the run, because of heat or a quota of its control group"
        )
        found.append(_noise(1.0, sentence))
    return found


def _oversubscribed(evidence: Evidence) -> list[Finding]:
    """More threads than free cores: a product took longer with all threads than with one."""
    ratios = [facts.twin_ratio for facts in evidence.run.processes if facts.twin_ratio is not None]
    slower = [ratio for ratio in ratios if ratio > 1]
    if not slower:
        return []
    size = Sizes(ratios=np.array(slower))
    sentence = (
        f"more threads than free cores: in {len(slower)} of {units.plural(len(ratios), 'process', 'processes')} a "
        f"matrix product took {size.size} as long with all threads as with one. Measure with fewer threads"
    )
    if len(slower) == len(ratios):
        sentence += "; cases with as many threads as cores are left out of all comparisons here"
    is_wide = len(slower) > MOST * len(ratios)
    return [_noise(size.median, sentence, is_wide=is_wide, kind=FindingKind.THREADS, axis="threads")]


def notes(evidence: Evidence) -> list[Finding]:
    """Other facts about the whole run, the most important first."""
    run, found = evidence.run, []

    def note(sentence: str, cases: tuple[str, ...] = (), kind: FindingKind = FindingKind.NOTE) -> None:
        found.append(Finding(weight=Weight.NOTE, kind=kind, size=1.0, sentence=sentence, cases=cases))

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
        note(f"{all_of_them} computed the right result", ids(passed), FindingKind.RIGHT)
    if passed["tflops"].notna().any():
        best = passed.iloc[int(passed["tflops"].argmax())]
        rate = units.si(float(best["tflops"]) * 1e12, "FLOP/s")
        note(f"the highest rate is {rate}: {line(best['label'])}", (str(best["case_id"]),), FindingKind.RATE)
    return found
