"""Layers, changes and noise over made-up nights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import campaigns
import nights
import pytest
import service
import synthetic

from convbench.actions import over_time
from convbench.errors import RequestError, RunNotFoundError
from convbench.model.references import ReferenceKind
from convbench.model.result import Status

#: Six nights at 1 ms, then six at 1.3 ms with another torch.
FLOORS = [1e-3] * 6 + [1.3e-3] * 6


def test_a_layer_has_its_steps_and_the_run_behind_each_point(tmp_path: Path) -> None:
    runs = nights.nights(FLOORS, upgrade=7)
    case = runs[0].results[0].case
    crashed = replace(runs[3].results[0], status=Status.CRASHED, reason="the worker ended by signal 11", blocks=())
    runs[3] = replace(runs[3], results=(crashed,))
    db = str(service.filled(tmp_path / "runs.db", *runs))
    found = over_time.layer(case.id, db)
    assert (found.case_id, found.label, found.figure) == (case.id, case.label, "floor")
    [one] = found.series
    assert [point.run_id for point in one.points] == [run.id for run in runs]
    assert (one.points[3].time_s, one.points[3].judged, one.points[3].status) == (None, False, "crashed")
    assert one.points[0].time_s == pytest.approx(1e-3, rel=0.01)
    assert one.points[0].commit == "1" * 40 and one.points[0].torch == "2.12.0"
    [step] = one.steps
    assert (step.base_run_id, step.new_run_id) == (runs[5].id, runs[6].id)
    assert step.ratio == pytest.approx(1.3, rel=0.01)
    assert (step.base_runs, step.new_runs) == (5, 6)
    assert "torch 2.12.0 -> 2.13.0" in step.differences


def test_a_layer_is_split_by_machine(tmp_path: Path) -> None:
    first, second = nights.nights([1e-3, 1e-3])
    other = replace(second, environment=replace(second.environment, cpu="Xeon"))
    found = over_time.layer(first.results[0].case.id, str(service.filled(tmp_path / "runs.db", first, other)))
    assert [one.machine.split(",")[0] for one in found.series] == [first.environment.cpu, "Xeon"]
    assert len({one.machine_id for one in found.series}) == 2


def test_an_unknown_layer_is_an_error(tmp_path: Path) -> None:
    db = str(service.filled(tmp_path / "runs.db", service.run_of(1)))
    with pytest.raises(RunNotFoundError):
        over_time.layer("aaaaaaaaaaaa", db)


def test_cases_that_step_at_one_run_are_one_change(tmp_path: Path) -> None:
    runs = nights.nights(FLOORS, upgrade=7, many=4)
    [one] = over_time.changes([run.id for run in runs], str(service.filled(tmp_path / "runs.db", *runs)))
    assert (one.sweep, one.stepped, one.cases) == ("nightly", 4, 4)
    assert (one.base_run_id, one.new_run_id, one.new_at) == (runs[5].id, runs[6].id, runs[6].started_at)
    assert one.ratio == pytest.approx(1.3, rel=0.01)
    assert "torch 2.12.0 -> 2.13.0" in one.differences
    assert {layer.case_id for layer in one.layers} == {result.case.id for result in runs[0].results}
    ratios = [layer.ratio for layer in one.layers]
    assert ratios == sorted(ratios, reverse=True), "the layer that moved most is first"


def test_a_case_that_steps_a_run_later_belongs_to_the_change_and_another_direction_does_not(tmp_path: Path) -> None:
    runs = nights.nights([1e-3] * 12, many=6)
    for case, first, factor in ((0, 6, 1.5), (1, 6, 1.5), (2, 6, 1.5), (3, 7, 1.5), (4, 6, 0.5), (5, 3, 1.5)):
        for number in range(first, 12):
            results = list(runs[number].results)
            made = synthetic.blocks(1e-3 * factor, processes=3, rounds=4, noise=0.2, seed=f"{number} {case}")
            results[case] = synthetic.result(results[case].case, made=made)
            runs[number] = replace(runs[number], results=tuple(results))
    found = over_time.changes([run.id for run in runs], str(service.filled(tmp_path / "runs.db", *runs)))
    told = {(one.new_run_id, one.ratio > 1, one.stepped) for one in found}
    assert told == {(runs[6].id, True, 4), (runs[6].id, False, 1), (runs[3].id, True, 1)}


def test_a_sweep_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    run = replace(nights.run_of(1, 1e-3), source="compare: [\n")
    db = str(service.filled(tmp_path / "runs.db", run))
    with pytest.raises(RequestError, match="cannot read the thresholds"):
        over_time.changes([run.id], db)


def test_noise_is_that_of_the_references_where_there_are_any_as_in_the_list_of_machines(tmp_path: Path) -> None:
    from convbench.actions.machines import machines

    run = service.run_of(1)
    first, *later = synthetic.referred(run).processes
    slower = synthetic.referred(run, dict.fromkeys(ReferenceKind, 1.5)).processes
    run = replace(run, processes=(first, *slower[1 : 1 + len(later)]))
    db = str(tmp_path / "runs.db")
    campaigns.stored([run], db)
    [machine] = machines(db=db)
    assert over_time.noise(run.id, db) == pytest.approx(machine.noise) == pytest.approx(0.5)


def test_noise_of_a_run_without_references_is_that_of_the_index(tmp_path: Path) -> None:
    from convbench.report.pages.index_cache import glance

    run = service.run_of(1)
    db = str(service.filled(tmp_path / "runs.db", run))
    assert over_time.noise(run.id, db) == pytest.approx(glance(run, ()).noise)
    with pytest.raises(RequestError, match="stored no more"):
        over_time.noise("20260101-000000-none", db)
