"""Makes the application of a service: its routes, what is around them, and its description as OpenAPI 3.1."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from convbench.errors import ConvbenchError
from convbench.version import __version__
from convbench.web import problems
from convbench.web.answers import API, Problem
from convbench.web.around import Around
from convbench.web.forms import without_empty_parameters
from convbench.web.keeping import Keeping
from convbench.web.routes import (
    acceptances,
    bisections,
    campaigns,
    changes,
    channels,
    jobs,
    lists,
    lists_over_time,
    operating,
    over_time,
    over_time_pages,
    pages,
    runs,
    schedules,
    sweeps,
    tokens,
    uploads,
)
from convbench.web.state import Service

_DESCRIPTION = (
    "Measured runs of convolution layers: browse and compare them, and submit sweeps. "
    "Errors are `application/problem+json`. A service for its own machine alone needs no token, any other one does."
)
#: The errors that any operation may answer with, by status.
_ERRORS = {
    "400": "The request cannot be done as it is.",
    "401": "A token is missing, unknown, revoked or expired.",
    "403": "The token does not allow it, or the request comes from another site.",
    "404": "What the request names is not there.",
    "408": "The body came too slowly.",
    "409": "It contradicts what is stored, or the two runs cannot be compared.",
    "413": "The body is too large.",
    "415": "The body is compressed in a way that is not known.",
    "422": "A parameter, the body or the sweep is wrong.",
    "500": "The service has a fault.",
    "503": "The service or its database cannot answer now.",
}


def application(service: Service) -> FastAPI:
    """The application of a service. It starts and stops nothing; web/server.py does."""
    app = FastAPI(
        title="convbench",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        root_path_in_servers=False,
        servers=[{"url": service.settings.root_path or "/"}],
    )
    app.state.service = service
    for router in (
        jobs.router,
        bisections.router,
        campaigns.router,
        schedules.router,
        acceptances.router,
        changes.router,
        lists.router,
        lists_over_time.router,
        runs.router,
        uploads.router,
        over_time.router,
        sweeps.router,
        tokens.router,
        channels.router,
    ):
        app.include_router(router, prefix=API)
    app.include_router(operating.router)
    app.include_router(changes.feed_router)
    for router in (pages.router, over_time_pages.router):
        app.include_router(router, dependencies=[Depends(without_empty_parameters)])
    app.include_router(channels.page_router)
    app.add_middleware(Keeping, service=service)
    app.add_middleware(Around, service=service)  # around the other one, since it was added last
    for kind, handler in (
        (ConvbenchError, problems.of_error),
        (RequestValidationError, problems.of_invalid),
        (HTTPException, problems.of_http),
        (problems.NothingMoreError, problems.of_nothing_more),
        (problems.ElsewhereError, problems.of_elsewhere),
        (Exception, problems.of_fault),
    ):
        app.add_exception_handler(kind, handler)
    made = app.openapi

    def described() -> dict[str, Any]:
        """The description with the errors of every operation, which FastAPI would describe otherwise."""
        if app.openapi_schema is None:
            app.openapi_schema = _with_errors(made())
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # the way that FastAPI's documentation shows
    return app


def _with_errors(description: dict[str, Any]) -> dict[str, Any]:
    schemas = description["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs", {}) | {"Problem": problem}
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for operations in description["paths"].values():
        for operation in operations.values():
            if "security" in operation:  # whether a token is needed depends on how the service was started
                operation["security"] = [*operation["security"], {}]
            operation["responses"] |= {
                status: {"description": text, "content": content} for status, text in _ERRORS.items()
            }
    return description
