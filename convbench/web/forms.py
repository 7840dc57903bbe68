"""The addresses of pages: a form sends its empty fields too, which ask for nothing and make a link long."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from fastapi import Request

from convbench.web.problems import ElsewhereError


async def without_empty_parameters(request: Request) -> None:
    """Raise ElsewhereError with the address without its empty parameters, where it has some.

    The API is strict about them. It comes before a route reads its parameters.
    """
    given = parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=None)
    wanted = [(name, value) for name, value in given if value]
    if wanted != given:
        raise ElsewhereError(request.url.path + (f"?{urlencode(wanted)}" if wanted else ""))
