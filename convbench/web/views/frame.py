"""What every page of the service shares: its style and script, the ways to other pages, and who reads it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import cache

from fastapi import Request

from convbench.model.token import Scope
from convbench.report.pages.rendering import render
from convbench.report.pages.scripts import joined, static
from convbench.version import __version__

_STYLES = ("report.css", "index.css", "service.css")
_ENTRY = "service_main.js"
#: The pages that every page leads to: path, and text.
_WAYS = (
    ("/runs", "Runs"),
    ("/changes", "Changes"),
    ("/layers", "Layers"),
    ("/jobs", "Jobs"),
    ("/campaigns", "Campaigns"),
    ("/measure", "Measure"),
    ("/schedules", "Schedules"),
    ("/machines", "Machines"),
    ("/notifications", "Notifications"),
    ("/tokens", "Tokens"),
)


@cache
def assets() -> dict[str, tuple[str, bytes]]:
    """The style sheet and the script by name: media type and content. A name changes with its content."""
    style = "".join(static(name) for name in _STYLES).encode()
    script = joined(_ENTRY).encode()
    return {
        f"service-{_hash(style)}.css": ("text/css; charset=utf-8", style),
        f"service-{_hash(script)}.js": ("text/javascript; charset=utf-8", script),
    }


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def page(
    request: Request,
    template: str,
    *,
    title: str,
    reader: str = "",
    scopes: Collection[Scope] = (),
    **context: object,
) -> str:
    """A page of the service as HTML. `reader` and `scopes` say who reads it, "" where it is for anybody."""
    style, script = assets()
    root = request.scope.get("root_path", "")
    here = request.url.path.removeprefix(root)
    return render(
        template,
        title=title,
        root=root,
        style=style,
        script=script,
        version=__version__,
        ways=[(path, text, here == path or here.startswith(f"{path}/")) for path, text in _WAYS] if reader else [],
        reader=reader,
        may_submit=bool({Scope.SUBMIT, Scope.ADMIN} & set(scopes)),
        may_administer=Scope.ADMIN in scopes,
        **context,
    )


def problem_page(request: Request, title: str, detail: str, hint: str | None, *, asks_for_token: bool = False) -> str:
    """The page that says what was wrong; `asks_for_token` adds the field for a token."""
    return page(
        request, "service_problem.html.j2", title=title, detail=detail, hint=hint, asks_for_token=asks_for_token
    )
