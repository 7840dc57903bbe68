"""Layers over time, what got slower or faster since a day, and the noise of machines."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import BeforeValidator

from convbench.actions.over_time import LayerHistory
from convbench.store import layers
from convbench.store.layers import Layer
from convbench.web.access import Reader
from convbench.web.answers_over_time import (
    ChangesAnswer,
    LayerAnswer,
    LayerHistoryAnswer,
    LayerList,
    MachineNoise,
    NoisePoint,
)
from convbench.web.helper import BusyError
from convbench.web.kept import may_be_kept
from convbench.web.over_time import WAIT_S, Changes
from convbench.web.problems import NotThereError
from convbench.web.state import Service, TheService

router = APIRouter(tags=["over time"])

#: A layer's id, which is that of its case.
LAYER_ID = r"^[a-z2-7]{12}$"
LayerId = Annotated[str, Path(pattern=LAYER_ID, description="The id of a layer: that of its case.")]
Words = Annotated[str, Query(max_length=300, description="Words of the label, or the layer's id.")]
OfRun = Annotated[str, Query(max_length=200, description="A run that has the layer.")]
AfterLayer = Annotated[str | None, Query(pattern=LAYER_ID, description="The last layer of the page before.")]


def _day(text: object) -> object:
    """The text of a day; ValueError for another one. Pydantic would take a number for seconds since 1970."""
    if isinstance(text, str) and not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError("expected a day such as 2026-11-01")
    return text


Since = Annotated[date | None, BeforeValidator(_day), Query(description="A day in UTC; without it, 30 days ago.")]
Name = Annotated[str, Query(max_length=300)]
#: Days that changes are looked for, where no day is given.
USUAL_DAYS = 30


def listed(service: Service, text: str, run: str, after: str | None, most: int) -> LayerList:
    """A page of the layers that have all words. Raises NotThereError where `after` is none of them."""
    run_id = service.store.run_id(run) if run else None
    words = text.lower().split()
    found = [one for one in service.pages.over_time.layers(run_id) if _has(one, words)]
    begin = 0
    if after is not None:
        places = [place for place, one in enumerate(found) if one.case_id == after]
        if not places:
            raise NotThereError(f"{after!r} is no place in this list", hint="use the one of the page before")
        begin = places[0] + 1
    some = found[begin : begin + most]
    seen = layers.seen(service.store, [one.case_id for one in some])
    answers = [
        LayerAnswer(case_id=one.case_id, label=one.label, runs=of.runs, last_run_id=of.last_run_id, last_at=of.last_at)
        for one in some
        if (of := seen.get(one.case_id)) is not None
    ]
    return LayerList(layers=answers, after=some[-1].case_id if len(found) > begin + most else None)


def _has(layer: Layer, words: list[str]) -> bool:
    text = f"{layer.case_id} {layer.label}".lower()
    return all(word in text for word in words)


def usual_since() -> date:
    """The day since which changes are looked for, where none is given."""
    return (datetime.now(UTC) - timedelta(days=USUAL_DAYS)).date()


def changed(service: Service, since: date, sweep: str, machine: str, *, wait_s: float = WAIT_S) -> Changes:
    """What changed since a day in a sweep and on a machine, as far as it is computed within `wait_s` seconds.

    "" stands for all of them.
    """
    over_time = service.pages.over_time
    groups = [one for one in over_time.groups() if sweep in ("", one.sweep) and machine in ("", one.machine)]
    return over_time.changes(since.isoformat(), groups, wait_s=wait_s)


@router.get("/layers")
def list_layers(
    service: TheService,
    reader: Reader,
    request: Request,
    text: Words = "",
    run: OfRun = "",
    after: AfterLayer = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> LayerList:
    """List layers by their labels, or those of a run in the order of its sweep."""
    may_be_kept(request)
    return listed(service, text, run, after, limit)


@router.get("/layers/{layer_id}/history")
def layer_history(service: TheService, reader: Reader, layer_id: LayerId) -> LayerHistoryAnswer:
    """Get a layer over all runs that measured it, by machine, with its steps."""
    return LayerHistoryAnswer.model_validate(history(service, layer_id))


def history(service: Service, layer_id: str) -> LayerHistory:
    """A layer over all runs; BusyError where it takes too long to read them."""
    found = service.pages.over_time.layer(layer_id)
    if found is None:
        raise BusyError("the runs of this layer are still being read", hint="try again in a minute")
    return found


@router.get("/changes")
def list_changes(
    service: TheService,
    reader: Reader,
    request: Request,
    since: Since = None,
    sweep: Name = "",
    machine: Name = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> ChangesAnswer:
    """List what got slower or faster since a day, over all sweeps and machines.

    What is not computed yet is named in `waiting`, and is there a few seconds later.
    """
    day = since or usual_since()
    found = changed(service, day, sweep, machine)
    may_be_kept(request, if_true=since is not None and found.is_settled)
    return ChangesAnswer.of(day, found, limit)


@router.get("/machines/noise")
def machine_noise(service: TheService, reader: Reader) -> list[MachineNoise]:
    """List the noise of each machine in its newest 50 runs."""
    return [
        MachineNoise(
            machine=machine,
            runs=[NoisePoint(run_id=run.run_id, started_at=run.started_at, noise=noise) for run, noise in some],
        )
        for machine, some in service.pages.over_time.noise().runs.items()
    ]
