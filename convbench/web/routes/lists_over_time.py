"""What pages over time show as files: changes, layers and the history of one layer as CSV, JSON and Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Response

from convbench.actions.over_time import Change, LayerHistory
from convbench.web.access import Reader
from convbench.web.answers_over_time import LayerAnswer, LayerPointAnswer
from convbench.web.helper import BusyError
from convbench.web.routes.lists import KINDS, Form, Limit, file
from convbench.web.routes.over_time import LayerId, Name, OfRun, Since, Words, changed, history, listed, usual_since
from convbench.web.state import TheService

if TYPE_CHECKING:
    from convbench.report.lists import Cell

router = APIRouter(tags=["lists"])

#: Seconds that a file of changes waits for those that are not computed yet.
WAIT_S = 30.0
_CHANGE = (
    *("sweep", "machine", "machine_id", "ratio", "stepped", "cases", "base_run_id", "base_at", "new_run_id", "new_at"),
    "differences",
)
_LAYER = tuple(LayerAnswer.model_fields)
_POINT = ("machine", "machine_id", *LayerPointAnswer.model_fields)


@router.get("/lists/changes.{form}", response_class=Response, responses=KINDS)
def changes(
    service: TheService,
    reader: Reader,
    form: Form,
    since: Since = None,
    sweep: Name = "",
    machine: Name = "",
    limit: Annotated[int, Query(ge=1, le=1000, description="Rows at most, the largest changes.")] = 1000,
) -> Response:
    """Get what got slower or faster since a day, the largest change first, one row each. It waits for what is computed.

    Changes of runs that cannot be read are left out, as in `failed` of the API.
    """
    found = changed(service, since or usual_since(), sweep, machine, wait_s=WAIT_S)
    if found.waiting:
        raise BusyError("the changes are still being computed", hint="try again in a minute")
    every = sorted((*found.slower, *found.faster), key=lambda one: max(one.ratio, 1 / one.ratio), reverse=True)
    return file(service, [_change(one) for one in every[:limit]], _CHANGE, form, "changes")


@router.get("/lists/layers.{form}", response_class=Response, responses=KINDS)
def layers(
    service: TheService, reader: Reader, form: Form, text: Words = "", run: OfRun = "", limit: Limit = 1000
) -> Response:
    """Get layers by their labels, or those of a run in the order of its sweep, one row each."""
    found = listed(service, text, run, None, limit).layers
    return file(service, [one.model_dump() for one in found], _LAYER, form, "layers")


@router.get("/lists/layers/{layer_id}.{form}", response_class=Response, responses=KINDS)
def layer(service: TheService, reader: Reader, layer_id: LayerId, form: Form) -> Response:
    """Get a layer over all runs that measured it, one row for each run; `time_s` is in seconds."""
    return file(service, _points(history(service, layer_id)), _POINT, form, layer_id)


def _change(one: Change) -> Mapping[str, Cell]:
    return {name: getattr(one, name) for name in _CHANGE} | {"differences": "; ".join(one.differences)}


def _points(found: LayerHistory) -> list[Mapping[str, Cell]]:
    return [
        {**LayerPointAnswer.model_validate(point).model_dump(), "machine": one.machine, "machine_id": one.machine_id}
        for one in found.series
        for point in one.points
    ]
