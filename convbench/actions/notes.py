"""Writes the note on a merge request of GitLab, through its API. One note for each sweep; later pushes rewrite it."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

from convbench.errors import RequestError

#: The variable with the token that may write notes.
TOKEN = "CONVBENCH_TOKEN"
_VARIABLES = ("CI_API_V4_URL", "CI_PROJECT_ID", "CI_MERGE_REQUEST_IID")
#: Time for an answer of the service, seconds, and notes that it sends at once.
_ANSWER_S, _PER_PAGE = 30.0, 100


def note(text: str, variables: Mapping[str, str]) -> bool:
    """Write the note, whose first line finds an earlier one. False where `variables` are no merge request's.

    Raises RequestError where the service refuses.
    """
    if not variables.get(TOKEN) or not all(variables.get(name) for name in _VARIABLES):
        return False
    api, project, request = (variables[name] for name in _VARIABLES)
    notes = f"{api}/projects/{project}/merge_requests/{request}/notes"
    try:
        first = text.partition("\n")[0]
        ours = next((each["id"] for each in _all(notes, variables[TOKEN]) if each["body"].startswith(first)), None)
        where, method = (notes, "POST") if ours is None else (f"{notes}/{ours}", "PUT")
        _called(where, variables[TOKEN], method=method, body=text)
    except urllib.error.HTTPError as error:
        raise RequestError(f"the note was not written: {error.code} {error.reason}", hint=f"check {TOKEN}") from None
    except (OSError, ValueError) as error:
        raise RequestError(f"the note was not written: {error}") from None
    return True


def _all(notes: str, token: str) -> Iterator[Any]:
    """All notes, the oldest first."""
    page, found = 1, None
    while found is None or len(found) == _PER_PAGE:
        found = _called(f"{notes}?sort=asc&per_page={_PER_PAGE}&page={page}", token)
        yield from found
        page += 1


def _called(url: str, token: str, *, method: str = "GET", body: str | None = None) -> Any:
    data = None if body is None else urllib.parse.urlencode({"body": body}).encode()
    request = urllib.request.Request(url, data, {"PRIVATE-TOKEN": token}, method=method)
    with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:
        return json.load(answer)
