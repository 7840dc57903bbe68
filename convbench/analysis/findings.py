"""What a person should know of a run, in plain sentences, the most important first. Pure: from results to sentences.

A new finding is one function and one line in `findings`. Effects rest on matched pairs (pairs.py) and exceed the spread
of both sides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pandas as pd

from convbench import units
from convbench.analysis.columns import Rows
from convbench.analysis.frame import frame
from convbench.analysis.pairs import ONE_PASS_SPREAD, Matched, matched
from convbench.case import TORCH_CONV2D, Allocator, Autocast, Cache, Data, Fp32Precision, MemoryFormat
from convbench.measure.estimate import BlockTable
from convbench.problem import PRODUCTS, Direction, PaddingMode
from convbench.result import Run, Status


class Weight(IntEnum):
    """How much a finding matters: the lower, the sooner it is told."""

    WRONG = 0  # a layer computes something else
    UNMEASURED = 1  # a case could not be measured although it should have been
    NOISE = 2  # how far to trust the numbers
    EFFECT = 3  # what a setting that one can choose does to the time
    WORK = 4  # how the time per FLOP follows the layer's shape
    NOTE = 5  # good to know


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing worth knowing. Findings of one weight are told by `size`, the largest first.

    `cases` are the ids that it rests on, `exceptions` the ids that do not follow it.
    """

    weight: Weight
    size: float
    sentence: str
    cases: tuple[str, ...] = ()
    exceptions: tuple[str, ...] = ()


#: Effects below this ratio are not told, however sure: a minimum falls by up to 1.8 % with more blocks (measurement.md,
#: fact 5), and settled cases have fewer.
SMALLEST_EFFECT = 1.05
#: The canary's median over its floor above which a machine is called noisy: it was 1.06-1.27 in busy hours.
NOISY_RATIO = 1.05
#: Below this share of blocks near the floor, the floor may be luck (measurement.md).
WEAK_SUPPORT = 0.1
#: Noise around a case over that around the median case from which on it was measured in a bad hour, and at least.
BAD_HOUR = 1.25
BAD_HOUR_LEAST = 0.25
#: Share of the processor's time that went to other guests from which on it is told.
STOLEN = 0.01
#: Units of roundoff beyond what summation in the layer's own dtype does: a few are usual.
ROUGH = 256.0
LARGEST_TOLD = 1e15
#: Below this efficiency a layer is called far from the roof.
FAR_FROM_ROOF = 0.25
#: What the system's allocator must cost to be told, as a ratio: three blocks against three.
ALLOCATOR_COST = 0.10
#: A setting that costs this much makes torch run other code: name it.
FALLBACK_RATIO = 3.0

#: What stands for an implementation that nothing could name (worker/implementation.py).
UNKNOWN = "unknown"

#: Settings that do the same work another way: how their values are called, and what the others are compared with (where
#: it was not measured, the first of the sweep). These are compared by time.
EXECUTION: dict[str, tuple[str, object]] = {
    "dtype": ("{}", "float32"),
    "memory_format": ("{}", MemoryFormat.CONTIGUOUS),
    "device": ("{}", "cpu"),
    "threads": ("threads={}", 1),
    "module": ("{}", TORCH_CONV2D),
    "allocator": ("the {} allocator", Allocator.STEADY),
    "cache": ("a {} cache", Cache.HOT),
    "data": ("data={}", Data.NORMAL),
    "autocast": ("autocast={}", Autocast.NONE),
    "fp32_precision": ("fp32_precision={}", Fp32Precision.DEFAULT),
    "deterministic": ("deterministic={}", False),
    "cudnn_benchmark": ("cudnn_benchmark={}", False),
    "env": ("env {}", None),
    "bias": ("bias={}", True),
    "padding_mode": ("padding_mode={}", PaddingMode.ZEROS),
}
#: Settings that change how much work there is: these are compared by time per FLOP.
WORK = ("in_channels", "out_channels", "kernel_size", "stride", "dilation", "groups", "batch_size", "input_size")


def findings(run: Run, table: pd.DataFrame | None = None) -> list[Finding]:
    """Everything worth knowing, the most important first; `table` is the run's frame where the caller has it."""
    table = frame(run) if table is None else table
    pairs, blocks = matched(table), Rows(run).blocks
    found = [
        *_wrong(table),
        *_inaccurate(table),
        *_unmeasured(table),
        *_noise(run, table),
        *_bad_hour(table),
        *_machine(run),
        *_oversubscribed(run),
        *_execution(pairs, blocks),
        *_allocator(table),
        *_far_from_roof(table),
        *_directions(pairs, blocks),
        *_work(pairs, blocks),
        *_other_backend(pairs, blocks),
        *_notes(run, table),
    ]
    return sorted(found, key=lambda finding: (finding.weight, -finding.size))


def _wrong(table: pd.DataFrame) -> list[Finding]:
    wrong = _of_status(table, Status.FAILED)
    if wrong.empty:
        return []
    checked = len(wrong) + len(_of_status(table, Status.PASSED))
    sentence = f"{units.count(len(wrong))} of {units.plural(checked, 'case')} computed something wrong: {_first(wrong)}"
    return [Finding(weight=Weight.WRONG, size=len(wrong), sentence=sentence, cases=_ids(wrong))]


def _inaccurate(table: pd.DataFrame) -> list[Finding]:
    """Results that are right and yet far less exact than their dtype allows."""
    rough = _of_status(table, Status.PASSED)
    rough = rough[rough["max_error"].between(ROUGH, LARGEST_TOLD)].sort_values("max_error", ascending=False)
    if rough.empty:
        return []
    worst = units.count(round(float(rough["max_error"].iloc[0])))
    sentence = (
        f"{units.plural(len(rough), 'case')} computed in less precision than the dtype holds, the worst {worst} units "
        f"of roundoff away from exact: {_first(rough)}"
    )
    return [Finding(weight=Weight.NOTE, size=6, sentence=sentence, cases=_ids(rough))]


#: What happened to a case that could not be measured.
_FATES = {
    Status.OUT_OF_MEMORY: "ran out of memory",
    Status.TIMED_OUT: "timed out",
    Status.CRASHED: "crashed",
    Status.ERROR: "raised an error",
}


def _unmeasured(table: pd.DataFrame) -> list[Finding]:
    by_fate = {fate: _of_status(table, status) for status, fate in _FATES.items()}
    lost = pd.concat(by_fate.values())
    if lost.empty:
        return []
    fates = ", ".join(f"{units.count(len(cases))} {fate}" for fate, cases in by_fate.items() if len(cases))
    sentence = f"{units.plural(len(lost), 'case')} could not be measured: {fates}; {_first(lost)}"
    return [Finding(weight=Weight.UNMEASURED, size=len(lost), sentence=sentence, cases=_ids(lost))]


def noise_sentence(ratio: float) -> str:
    """How noisy the machine was, from `Rows(run).noise.ratio`: one sentence, noisy or not."""
    if math.isnan(ratio):
        return "how noisy the machine was is unknown: no canary ran"
    word = "noisy" if ratio > NOISY_RATIO else "quiet"
    return f"the machine was {word}: the compute canary's median was {units.ratio(ratio)} its floor"


def _noise(run: Run, table: pd.DataFrame) -> list[Finding]:
    found = []
    ratio = Rows(run).noise.ratio
    if ratio > NOISY_RATIO:
        found.append(Finding(weight=Weight.NOISE, size=ratio, sentence=noise_sentence(ratio)))
    measured = table[table["floor_s"].notna()]
    weak = measured[measured["support"] < WEAK_SUPPORT]
    if not weak.empty:
        few = units.count(len(weak))
        sentence = (
            f"in {few} of {units.plural(len(measured), 'case')} fewer than a tenth of the blocks came "
            f"within 3 % of the floor, which may be a lucky one: {_first(weak)}"
        )
        size = 1 + len(weak) / len(measured)
        found.append(Finding(weight=Weight.NOISE, size=size, sentence=sentence, cases=_ids(weak)))
    return found


def _bad_hour(table: pd.DataFrame) -> list[Finding]:
    """Cases around whose blocks the machine was much noisier than around those of the others."""
    noise = table["noise"].dropna()
    if noise.empty:
        return []
    usual = float(noise.median())
    bad = table[table["noise"] > max(BAD_HOUR * usual, 1 + BAD_HOUR_LEAST)].sort_values("noise", ascending=False)
    if bad.empty:
        return []
    worst = float(bad["noise"].iloc[0])
    sentence = (
        f"{units.plural(len(bad), 'case was', 'cases were')} measured in a bad hour: around its blocks the canary took "
        f"up to {units.ratio(worst)} its floor, {units.ratio(usual)} around those of the median case: {_first(bad)}"
    )
    return [Finding(weight=Weight.NOISE, size=worst / usual, sentence=sentence, cases=_ids(bad))]


def _machine(run: Run) -> list[Finding]:
    """What the system tells of disturbances while the run lasted."""
    found = []
    stolen = max((facts.stolen for facts in run.passes if facts.stolen is not None), default=0.0)
    if stolen > STOLEN:
        sentence = f"in one pass {units.percent(stolen)} of the processor's time went to other guests of the host"
        found.append(Finding(weight=Weight.NOISE, size=1 + stolen, sentence=sentence))
    throttled = sum(facts.throttled or 0 for facts in run.passes)
    if throttled:
        times = units.plural(throttled, "time")
        sentence = f"the processor was slowed down {times} meanwhile, for heat or for a quota of its control group"
        found.append(Finding(weight=Weight.NOISE, size=1.5, sentence=sentence))
    return found


def _oversubscribed(run: Run) -> list[Finding]:
    """More threads than cores are free for: a product took longer with all threads than with one."""
    ratios = [facts.twin_ratio for facts in run.passes if facts.twin_ratio is not None]
    slower = [ratio for ratio in ratios if ratio > 1]
    if not slower:
        return []
    median = float(np.median(slower))
    sentence = (
        f"more threads than free cores: in {len(slower)} of {units.plural(len(ratios), 'pass', 'passes')} a matrix "
        f"product took {units.ratio(median)} as long with all threads as with one; measure with threads: 1, or fewer"
    )
    return [Finding(weight=Weight.NOISE, size=median, sentence=sentence)]


def _other_backend(pairs: Matched, blocks: BlockTable) -> list[Finding]:
    """Where another number of threads made torch choose other code."""
    values = pairs.values["threads"]
    if len(values) < 2:
        return []
    base = 1 if 1 in values else values[0]
    ran = pairs.table["implementation"]
    found = []
    for value, both in pairs.against("threads", base, blocks):
        one, other = (ran.iloc[both[side]].fillna("").to_numpy() for side in ("base", "other"))
        changed = pd.Series((one != other) & (one != "") & (other != ""), index=both.index)
        if changed.any():
            first = int(changed.to_numpy().argmax())
            label = _line(str(pairs.table["label"].iloc[both["other"].iloc[first]]))
            sentence = (
                f"threads={_value(value)} made torch run other code than threads={_value(base)} in "
                f"{_of_matched(changed)}: {one[first]} became {other[first]} in {label}"
            )
            found.append(_effect(pairs, Weight.WORK, 1 + float(changed.mean()), sentence, both, changed))
    return found


def _execution(pairs: Matched, blocks: BlockTable) -> list[Finding]:
    found = []
    for axis, (_, usual) in EXECUTION.items():
        values = pairs.values[axis]
        if len(values) > 1:
            base = usual if usual in values else values[0]
            effects = (_faster_or_slower(pairs, axis, base, *other) for other in pairs.against(axis, base, blocks))
            found += [effect for effect in effects if effect]
    return found


def _faster_or_slower(pairs: Matched, axis: str, base: object, other: object, both: pd.DataFrame) -> Finding | None:
    """`bfloat16 is 1.8x faster than float32 in 34 of 36 matched cases; it loses at in_channels=3`."""
    told = _majority(both)
    if told is None:
        return None
    size, agree, against = told
    faster = bool(both["ratio"][agree].iloc[0] < 1)
    names = [EXECUTION[axis][0].format(_value(value)) for value in (other, base)]
    sentence = (
        f"{names[0]} is {units.ratio(size)} {'faster' if faster else 'slower'} than {names[1]} "
        f"in {_of_matched(agree)}{_exceptions(pairs, axis, both, against, 'loses' if faster else 'wins')}"
    )
    if not faster and size >= FALLBACK_RATIO:
        sentence += _fallback(pairs, both[agree])
    return _effect(pairs, Weight.EFFECT, size, sentence, both, agree)


def _majority(both: pd.DataFrame) -> tuple[float, pd.Series[bool], pd.Series[bool]] | None:
    """(median ratio as a number of at least 1, pairs that surely show it, pairs that surely show the opposite).

    None where not more than half of the pairs agree, or the effect is too small to be told.
    """
    median = _median(both["ratio"])
    size = max(median, 1 / median)
    below, above = both["sure"] & (both["ratio"] < 1), both["sure"] & (both["ratio"] > 1)
    agree, against = (below, above) if median < 1 else (above, below)
    if size < SMALLEST_EFFECT or 2 * agree.sum() <= len(both):
        return None
    return size, agree, against


def _median(ratios: pd.Series[float]) -> float:
    """The median on a logarithmic scale: that of the inverse ratios is its inverse."""
    return float(np.exp(np.median(np.log(ratios))))


def _exceptions(pairs: Matched, axis: str, both: pd.DataFrame, against: pd.Series[bool], verb: str) -> str:
    """`; it loses at in_channels=3`: the one setting that all exceptions share and no other pair has, or how many."""
    if not against.any():
        return ""
    position = both["base"].to_numpy()
    for name in pairs.swept():
        values = pairs.table[name].iloc[position]
        exceptional = values[against.to_numpy()].unique()
        others = values[~against.to_numpy()].unique()
        if name != axis and len(exceptional) == 1 and exceptional[0] not in others:
            return f"; it {verb} at {name}={_value(exceptional[0])}"
    return f"; it {verb} in {units.count(int(against.sum()))}"


def _fallback(pairs: Matched, agree: pd.DataFrame) -> str:
    """`: torch runs Slow2d for it`, where all of the slow side ran by one that the other side never did."""
    ran = pairs.table["implementation"]
    slow, fast = ran.iloc[agree["other"]].dropna().unique(), ran.iloc[agree["base"]].dropna().unique()
    known = len(slow) == 1 and slow[0] not in (*fast, UNKNOWN)
    return f": torch runs {slow[0]} for it" if known else ""


def _allocator(table: pd.DataFrame) -> list[Finding]:
    """What users pay who do not start torch with a steady allocator, where that is beyond noise."""
    tried = table[table["allocator_penalty"].notna() & (table["status"] == Status.PASSED)]
    noise = tried["spread"].fillna(ONE_PASS_SPREAD).clip(lower=ALLOCATOR_COST)
    # Without page faults there is nothing that the system's allocator could cost.
    dear = tried[(tried["allocator_penalty"] > noise) & (tried["system_page_faults"] >= 1)]
    dear = dear.sort_values("allocator_penalty", ascending=False)
    if dear.empty:
        return []
    worst = dear.iloc[0]
    sentence = (
        f"the system's allocator costs more than {units.percent(ALLOCATOR_COST, 0)} in {units.count(len(dear))} of "
        f"{units.plural(len(tried), 'case')}, most +{units.percent(worst['allocator_penalty'], 0)} with "
        f"{units.digits(worst['system_page_faults'])} page faults a call: {_first(dear)}"
    )
    size = 1 + float(dear["allocator_penalty"].median())
    return [Finding(weight=Weight.EFFECT, size=size, sentence=sentence, cases=_ids(dear))]


def _far_from_roof(table: pd.DataFrame) -> list[Finding]:
    """Layers that leave most of the machine idle, the farthest with what ran."""
    known = table[table["efficiency"].notna() & (table["status"] == Status.PASSED)]
    far = known[known["efficiency"] < FAR_FROM_ROOF].sort_values("efficiency")
    if far.empty:
        return []
    farthest = far.iloc[0]
    ran = "an unknown kernel" if pd.isna(farthest["implementation"]) else farthest["implementation"]
    sentence = (
        f"{units.count(len(far))} of {units.plural(len(known), 'case')} run at less than "
        f"{units.percent(FAR_FROM_ROOF, 0)} of what this machine can do; the farthest at "
        f"{units.percent(farthest['efficiency'])}, with {ran}: "
        f"{_first(far)}"
    )
    return [Finding(weight=Weight.WORK, size=len(far) / len(known), sentence=sentence, cases=_ids(far))]


def _directions(pairs: Matched, blocks: BlockTable) -> list[Finding]:
    """`backward takes 2.1x as long as forward in the median of 36 matched cases for 2x the work`."""
    if Direction.FORWARD not in pairs.values["direction"]:
        return []
    found = []
    for value, both in pairs.against("direction", Direction.FORWARD, blocks):
        direction = Direction(str(value))
        ratio, work = _median(both["ratio"]), PRODUCTS[direction]
        sentence = (
            f"{direction.value} takes {units.ratio(ratio)} as long as forward in the median of "
            f"{units.plural(len(both), 'matched case')}, for {work}x the work"
        )
        out_of_line = max(ratio / work, work / ratio)
        found.append(_effect(pairs, Weight.WORK, out_of_line, sentence, both, both["sure"]))
    return found


def _work(pairs: Matched, blocks: BlockTable) -> list[Finding]:
    """For each swept size the value whose time per FLOP differs most from the first value's."""
    found = []
    for axis in WORK:
        if axis not in pairs.swept():
            continue
        base = pairs.values[axis][0]
        effects = [_per_flop(pairs, axis, base, *other) for other in pairs.against(axis, base, blocks, per_flop=True)]
        found += sorted((e for e in effects if e), key=lambda effect: -effect.size)[:1]
    return found


def _per_flop(pairs: Matched, axis: str, base: object, other: object, both: pd.DataFrame) -> Finding | None:
    """`in_channels=64 is 3.1x cheaper per FLOP than in_channels=3 in 24 of 24 matched cases`."""
    told = _majority(both)
    if told is None:
        return None
    size, agree, against = told
    words = ["cheaper", "dearer"] if both["ratio"][agree].iloc[0] < 1 else ["dearer", "cheaper"]
    sentence = (
        f"{axis}={_value(other)} is {units.ratio(size)} {words[0]} per FLOP than {axis}={_value(base)} "
        f"in {_of_matched(agree)}{_exceptions(pairs, axis, both, against, f'is {words[1]}')}"
    )
    return _effect(pairs, Weight.WORK, size, sentence, both, agree)


def _notes(run: Run, table: pd.DataFrame) -> list[Finding]:
    found = []
    skipped, passed = _of_status(table, Status.SKIPPED), _of_status(table, Status.PASSED)
    if not skipped.empty:
        sentence = f"{units.plural(len(skipped), 'case was', 'cases were')} skipped: {_first(skipped)}"
        found.append(Finding(weight=Weight.NOTE, size=4, sentence=sentence, cases=_ids(skipped)))
    if run.unmeasured:
        sentence = f"{units.plural(len(run.unmeasured), 'case was', 'cases were')} not reached yet"
        ids = _ids(table[table["status"].isna()])
        found.append(Finding(weight=Weight.NOTE, size=5, sentence=sentence, cases=ids))
    if run.rejections:
        first = run.rejections[0]
        sentence = (
            f"torch would refuse {units.plural(len(run.rejections), 'point')} of the sweep: "
            f"{_line(first.label)}: {_line(first.reason)}"
        )
        found.append(Finding(weight=Weight.NOTE, size=3, sentence=sentence))
    if not passed.empty and len(passed) == len(table):
        sentence = (
            f"{'the case' if len(passed) == 1 else f'all {units.count(len(passed))} cases'} computed what is right"
        )
        found.append(Finding(weight=Weight.NOTE, size=2, sentence=sentence, cases=_ids(passed)))
    rates = passed["tflops"].dropna()
    if not rates.empty:
        best = passed.iloc[int(passed["tflops"].argmax())]
        sentence = f"the highest rate is {units.si(best['tflops'] * 1e12, 'FLOP/s')}: {_line(best['label'])}"
        found.append(Finding(weight=Weight.NOTE, size=1, sentence=sentence, cases=(str(best["case_id"]),)))
    return found


def _effect(
    pairs: Matched, weight: Weight, size: float, sentence: str, both: pd.DataFrame, agree: pd.Series[bool]
) -> Finding:
    ids = pairs.table["case_id"].to_numpy()

    def of(some: pd.DataFrame) -> tuple[str, ...]:
        return tuple(str(ids[position]) for position in some[["base", "other"]].to_numpy().ravel())

    return Finding(weight=weight, size=size, sentence=sentence, cases=of(both[agree]), exceptions=of(both[~agree]))


def _of_status(table: pd.DataFrame, status: Status) -> pd.DataFrame:
    return table[(table["status"] == status.value).fillna(False).to_numpy(dtype=bool)]


def _ids(table: pd.DataFrame) -> tuple[str, ...]:
    return tuple(str(value) for value in table["case_id"])


def _first(table: pd.DataFrame) -> str:
    """The first case and its reason, on one line."""
    row = table.iloc[0]
    reason = "" if pd.isna(row["reason"]) else f": {_line(row['reason'])}"
    more = f" (and {units.count(len(table) - 1)} more)" if len(table) > 1 else ""
    return f"{_line(row['label'])}{reason}{more}"


def _line(text: str) -> str:
    return " ".join(text.split())


def _of_matched(agree: pd.Series[bool]) -> str:
    return f"{units.count(int(agree.sum()))} of {units.plural(len(agree), 'matched case')}"


def _value(value: object) -> str:
    if value is None or value is pd.NA:
        return "none"
    return str(value).lower() if isinstance(value, bool | np.bool_) else str(value)
