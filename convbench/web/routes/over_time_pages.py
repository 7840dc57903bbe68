"""The pages of layers over time, and of what got slower or faster since a day."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from convbench import units
from convbench.report.pages.rendering import left_out, when
from convbench.web.access import Reader, Who
from convbench.web.kept import may_be_kept
from convbench.web.over_time import WAIT_S, Group
from convbench.web.routes.over_time import (
    AfterLayer,
    LayerId,
    Name,
    OfRun,
    Since,
    Words,
    changed,
    listed,
    usual_since,
)
from convbench.web.state import TheService
from convbench.web.views import frame
from convbench.web.views import over_time as views
from convbench.web.views.finding import finding

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

#: Layers on a page, and changes in each direction.
MOST_LAYERS, MOST_CHANGES = 100, 30
#: Seconds after which a browser asks again for a page that has nothing to show yet.
AGAIN_S = 1


def _page(request: Request, reader: Who, template: str, title: str, **context: object) -> str:
    return frame.page(request, template, title=title, reader=reader.name, scopes=reader.scopes, **context)


@router.get("/layers")
def layers(
    service: TheService,
    reader: Reader,
    request: Request,
    text: Words = "",
    run: OfRun = "",
    after: AfterLayer = None,
) -> str:
    """Show the layers, by words of their labels."""
    may_be_kept(request)
    found = listed(service, text, run, after, MOST_LAYERS)
    service.pages.over_time.prepare()
    return _page(
        request,
        reader,
        "service_layers.html.j2",
        "Layers",
        layers=[(one, when(one.last_at)) for one in found.layers],
        text=text,
        run=run,
        following=views.query(text=text, run=run, after=found.after) if found.after else "",
        query=views.query(text=text, run=run),
    )


@router.get("/layers/{layer_id}")
def layer(service: TheService, reader: Reader, request: Request, layer_id: LayerId) -> Response:
    """Show a layer over time on each machine, with its steps, and the run behind each point.

    Where its runs are still being read, the page says so alone, and the browser asks for it again.
    """
    history = service.pages.over_time.layer(layer_id, wait_s=WAIT_S)
    if history is None:
        page = _page(request, reader, "service_layer_waiting.html.j2", f"Layer {layer_id}", here=f"/layers/{layer_id}")
        return HTMLResponse(page, headers={"Refresh": str(AGAIN_S)})
    page = _page(
        request,
        reader,
        "service_layer.html.j2",
        " ".join(history.label.split()),
        layer=history,
        series=views.layer(history),
        size=views.LAYER_SIZE,
        may_find=finding(service, reader).between,
    )
    return HTMLResponse(page)


@router.get("/changes")
def changes(
    service: TheService,
    reader: Reader,
    request: Request,
    since: Since = None,
    sweep: Name = "",
    machine: Name = "",
) -> Response:
    """Show what got slower or faster since a day. Without a day it leads to one, so that the link stays the same."""
    if since is None:
        query = views.query(since=usual_since().isoformat(), sweep=sweep, machine=machine)
        root = request.scope.get("root_path", "")
        return RedirectResponse(f"{root}/changes{query}", status_code=HTTPStatus.SEE_OTHER)
    found = changed(service, since, sweep, machine)
    may_be_kept(request, if_true=found.is_settled)
    service.pages.over_time.prepare()
    groups = service.pages.over_time.groups()
    parts = [
        (title, [views.change(one) for one in some[:MOST_CHANGES]], left_out(len(some), MOST_CHANGES, "smaller change"))
        for title, some in (("Slower", found.slower), ("Faster", found.faster))
    ]
    page = _page(
        request,
        reader,
        "service_changes.html.j2",
        f"What changed since {when(since.isoformat()).partition(',')[0]}",
        since=since.isoformat(),
        parts=parts,
        may_find=finding(service, reader).between,
        waiting=[_named(one) for one in found.waiting],
        short=[f"{_named(one)} (from {when(one.runs[-1].started_at)})" for one in found.short],
        failed=[f"{_named(one)}: {why}" for one, why in found.failed],
        here=views.query(since=since.isoformat(), sweep=sweep, machine=machine),
        choices=[
            ("sweep", "Sweep", sorted({one.sweep for one in groups} | ({sweep} - {""})), sweep),
            ("machine", "Machine", sorted({one.machine for one in groups} | ({machine} - {""})), machine),
        ],
    )
    return HTMLResponse(page)


def _named(group: Group) -> str:
    return f"{' '.join(group.sweep.split())} on {group.machine}, {units.plural(len(group.runs), 'run')}"
