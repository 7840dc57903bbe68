"""The report's section on a network: how long it takes and where, what other settings gain, what to fix first. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convbench import units
from convbench.analysis.findings.answering import change_verdict, mixture_text
from convbench.analysis.findings.answers import Answers, Fix, Group, known
from convbench.analysis.findings.finding import listed
from convbench.analysis.findings.findings import Examined, FindingKind, with_details
from convbench.analysis.findings.layers import Way
from convbench.analysis.findings.network import missing_text, percent_of
from convbench.analysis.network.parts import Part
from convbench.analysis.network.paths import without_common
from convbench.report.pages.plain import Row, Table
from convbench.report.pages.rendering import begun

#: Networks that get tables; a sweep over batch sizes may have more.
MOST_NETWORKS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One figure at the head of the section."""

    title: str
    answer: str
    detail: str
    mood: str = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """A finding on layers that are out of line, with its number and how many cases it names."""

    number: int
    sentence: str
    cases: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkView:
    """The section on one network as the page shows it."""

    name: str
    tiles: tuple[Tile, ...]
    notes: tuple[str, ...]
    where: tuple[Table, ...]
    changes: Table | None
    mixtures: tuple[str, ...]
    fixes: tuple[Table, ...]
    outliers: tuple[Outlier, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnWay:
    """The cases of one network with one combination of settings, for the picture.

    Entry i is the case in row `rows[i]` of the frame. It counts `often[i]` times, and belongs to layer `layers[i]`. A
    layer's number is the same in every way and network that has a layer of that name.
    """

    text: str
    rows: NDArray[np.int32]
    layers: NDArray[np.int32]
    often: NDArray[np.int32]


def drawn_ways(seen: Examined) -> list[DrawnWay]:
    """The ways of all networks of a run."""
    row = {case.id: place for place, case in enumerate(seen.rows.cases)}
    numbers: dict[tuple[str, int], int] = {}
    return [_drawn(way, row, numbers) for ways in seen.networks for way in ways]


def _drawn(way: Way, row: Mapping[str, int], numbers: dict[tuple[str, int], int]) -> DrawnWay:
    entries, same = [], Counter[str]()
    for layer in sorted(way.layers, key=lambda layer: layer.place):
        number = numbers.setdefault((layer.name, same[layer.name]), len(numbers))
        same[layer.name] += 1
        entries += [(row[case], number, layer.whole.get(each, 0)) for each, case in layer.ids.items()]
    rows, layers, often = (
        np.array(column, dtype=np.int32) for column in zip(*(each for each in entries if each[2]), strict=True)
    )
    return DrawnWay(text=way.name, rows=rows, layers=layers, often=often)


def network_views(seen: Examined) -> list[NetworkView]:
    """The section of each network; none where the cases are no network. The first has what is out of line."""
    outliers = tuple(
        Outlier(number=number, sentence=begun(finding.sentence), cases=units.plural(len(finding.cases), "case"))
        for number, finding in enumerate(with_details(seen.findings))
        if finding.kind in (FindingKind.OUTLIER, FindingKind.CLIFF)
    )
    return [_view(found, outliers if place == 0 else ()) for place, found in enumerate(seen.answers[:MOST_NETWORKS])]


def _view(found: Answers, outliers: tuple[Outlier, ...]) -> NetworkView:
    return NetworkView(
        name=found.name,
        tiles=_tiles(found),
        notes=_notes(found),
        where=tuple(
            table
            for title, head, groups in (("By stage", "stage", found.stages), ("By kind of layer", "kind", found.kinds))
            if len(groups[0]) > 1
            for table in [_groups(found, title, head, groups)]
        ),
        changes=_changes(found) if found.changes else None,
        mixtures=tuple(_mixtures(found)),
        fixes=tuple(_fixes(found, way, fixes) for way, fixes in zip(found.ways, found.fixes, strict=True) if fixes),
        outliers=outliers,
    )


def _mixtures(found: Answers) -> list[str]:
    """A sentence for each mixture that some layers would make, and one for all others together."""
    made = [each for each in found.mixtures if each.different]
    texts = [begun(mixture_text(each, f"the {each.part}")) for each in made]
    none = dict.fromkeys(axis for each in found.mixtures if not each.different for axis in each.axes)
    if none and not made:
        texts.append(
            f"No mixture of {listed([*none])} gains anything over the best for all layers. No layer is faster "
            "with another one by more than noise"
        )
    return texts


def _tiles(found: Answers) -> tuple[Tile, ...]:
    other = found.fastest if found.fastest is not found.usual else None
    tiles = [
        Tile(
            title=f"One {part}",
            answer=units.seconds(known(found.usual, part)),
            detail=f"{units.seconds(known(other, part))} with {other.name}." if other else "In its convolutions.",
        )
        for part in found.parts
    ]
    work = sum(layer.case.problem.multiply_adds * layer.count for layer in found.usual.layers)
    places = units.plural(len(found.usual.layers), "different layer")
    return (
        *tiles,
        Tile(
            title="Convolutions",
            answer=found.count_text,
            detail=f"{places}, {units.si(2.0 * work, 'FLOP')} in one forward, without taps on padding.",
        ),
    )


def _notes(found: Answers) -> tuple[str, ...]:
    notes = []
    if found.usual.name:
        notes.append(f"Times are with {found.usual.name} where nothing else stands beside them.")
    if Part.STEP in found.parts:
        notes.append(
            "A training step is each layer's forward and backward. A layer that was captured without a gradient of its "
            "input, as the first one, has grad_weight alone."
        )
    missing = missing_text(found.usual.layers)
    if missing:
        notes.append(f"The sums are {missing}.")
    notes += [f"The sums are without {each}." for each in found.left_out]
    if any(layer.count > 1 for layer in found.usual.layers):
        notes.append("Equal layers are one row, and all of them count in the stage of the first.")
    return tuple(notes)


def _groups(found: Answers, title: str, head: str, groups: Sequence[Sequence[Group]]) -> Table:
    """A table of groups: layers, then each part and its share, then the last part with the fastest settings."""
    total = {part: known(found.usual, part) for part in found.parts}
    other = {group.name: group for group in groups[1]} if len(groups) > 1 else {}
    heads = [head, "layers", *(word for part in found.parts for word in (str(part), "share"))]
    heads += [f"with {found.fastest.name}"] if other else []
    rows = []
    module, names = without_common([group.name for group in groups[0]])
    heads[0] += f" in {module}" if module else ""
    for group, name in zip(groups[0], names, strict=True):
        cells = [units.count(group.count)]
        for part in found.parts:
            cells += [units.seconds(group.seconds[part]), _share(group.seconds[part], total[part])]
        cells += [units.seconds(other[group.name].seconds[found.part])] if group.name in other else []
        rows.append(Row(name=name, cells=tuple(cells)))
    return Table(title=title, heads=tuple(heads), rows=tuple(rows))


def _share(part: float, whole: float) -> str:
    return percent_of(part, whole) if whole else "-"


def _changes(found: Answers) -> Table:
    """The sums with the usual settings, then with one other setting for all layers."""
    heads = ["for all layers", *(word for part in found.parts for word in (str(part), "against the usual"))]
    usual = [word for part in found.parts for word in (units.seconds(known(found.usual, part)), "")]
    rows = [Row(name=f"{found.usual.name} (usual)", cells=tuple(usual))]
    for change in found.changes:
        cells = []
        for part in found.parts:
            seconds = change.seconds[part]
            cells += [units.seconds(seconds) if math.isfinite(seconds) else "-", change_verdict(change, part)]
        rows.append(Row(name=change.name, cells=tuple(cells)))
    return Table(title="One setting for all layers", heads=tuple(heads), rows=tuple(rows))


def _fixes(found: Answers, way: Way, fixes: Sequence[Fix]) -> Table:
    total = known(way, found.part)
    module, names = without_common([fix.layer.name for fix in fixes])
    rows = tuple(
        Row(
            name=name,
            case_id=fix.case_id,
            cells=(
                units.count(fix.layer.count),
                units.seconds(fix.seconds),
                _share(fix.seconds, total),
                units.seconds(fix.attainable_s),
                f"{units.seconds(fix.saved_s)} ({_share(fix.saved_s, total)})",
                fix.bound,
            ),
        )
        for fix, name in zip(fixes, names, strict=True)
    )
    how = f" with {way.name}" if way.name else ""
    return Table(
        title=f"Worth fixing first{how}",
        heads=(
            f"layer in {module}" if module else "layer",
            "times",
            f"of a {found.part}",
            "share",
            "the roofs allow",
            "would save",
            "nearer roof",
        ),
        rows=rows,
    )
