"""Sends a stored run to a service, in parts: what it has already is not sent again. Safe to repeat and to interrupt."""

from __future__ import annotations

import gzip
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from convbench import units
from convbench.errors import RequestError
from convbench.model.result import RunState
from convbench.model.serial import to_json
from convbench.store.parts import Part, Parts
from convbench.store.store import Store
from convbench.version import __version__

#: The variable with the token.
TOKEN = "CONVBENCH_TOKEN"
#: Seconds for one answer; tries of one request, and seconds before the next try, times the number of the try.
ANSWER_S, TRIES, PAUSE_S = 60.0, 6, 2.0
#: Parts that one question names. The service has the same limit.
ASKED = 20
#: The most that is read of an answer and of a file with a token, bytes.
_MOST_ANSWER, _MOST_TOKEN = 2**20, 1000
#: Statuses after which the same request may succeed.
_LATER = (408, 429, 502, 503, 504)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What `push` did: `sent` of `parts` were not there yet. `was_there` is whether the whole run was there before."""

    run_id: str
    state: RunState
    cases: int
    parts: int
    sent: int
    was_there: bool = False


def token_of(variables: Mapping[str, str], file: Path | None) -> str | None:
    """The token in a file, else in the variable CONVBENCH_TOKEN; None without any. RequestError for a wrong one."""
    if file is None:
        text = variables.get(TOKEN, "")
    else:
        try:
            with file.open(encoding="utf-8") as opened:
                text = opened.read(_MOST_TOKEN + 1)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise RequestError(f"--token-file {file}: {reason}") from None
    text = text.strip()
    if not text and file is None:
        return None
    if not text.isascii() or not text.isprintable() or " " in text or not 0 < len(text) <= _MOST_TOKEN:
        raise RequestError("the token is not valid", hint="`convbench token create ci --scope report` prints one")
    return text


def push(
    ref: str,
    *,
    to: str,
    token: str | None,
    db: str | None = None,
    message: Callable[[str], None] = lambda text: None,
) -> Pushed:
    """Send the run that `ref` names to the service at the address `to`; `message` receives a line for each step.

    An unfinished run may be sent too, and again when it has gone on. Raises RequestError where the service refuses, or
    does not answer for long; the next call goes on where this one ended.
    """
    service = _Service(to, token)
    with Store.open(db) as store:
        parts = Parts(store, store.run_id(ref))
        known = parts.head()
        run = known.run
        head = to_json(replace(run, processes=()), defaults=False)
        begun = service.call("PUT", f"{run.id}/upload", {"run": head, "digest": known.digest})
        if begun["state"] == RunState.FINISHED.value:
            return Pushed(run_id=run.id, state=RunState.FINISHED, cases=parts.cases, parts=0, sent=0, was_there=True)
        every = list(parts.all())
        sent = 0
        for part in _lacking(service, run.id, every, int(begun["cases"])):
            message(f"part {every.index(part) + 1} of {len(every)}: {units.plural(part.cases, 'case')}")
            entries = [entry.document() for entry in parts.entries(part.first, part.cases)]
            service.call("PUT", f"{run.id}/upload/entries/{part.first}", {"entries": entries})
            sent += 1
        service.call(
            "POST",
            f"{run.id}/upload/end",
            {
                "state": run.state.value,
                "finished_at": run.finished_at,
                "processes": to_json(run.processes, defaults=False),
                "cases": parts.cases,
            },
        )
    return Pushed(run_id=run.id, state=run.state, cases=parts.cases, parts=len(every), sent=sent)


def _lacking(service: _Service, run_id: str, parts: list[Part], cases: int) -> Iterator[Part]:
    """The parts that the service lacks, or has otherwise; it has this number of cases, the first ones."""
    there = [part for part in parts if part.first + part.cases <= cases]
    for start in range(0, len(there), ASKED):
        some = there[start : start + ASKED]
        asked = [{"first": part.first, "cases": part.cases, "sha256": part.sha256} for part in some]
        lacking = service.call("POST", f"{run_id}/upload/lacking", {"parts": asked})["lacking"]
        yield from (part for part in some if part.first in lacking)
    yield from parts[len(there) :]


class _Refused(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the token is for the service at this address alone."""

    def redirect_request(self, *_: Any) -> None:
        return None


class _Service:
    """The API of the service at an address."""

    def __init__(self, address: str, token: str | None) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise RequestError("--to: expected the address of a service", hint="like https://bench.example.org")
        if parts.username or parts.password:
            raise RequestError("--to: expected an address without user and password", hint=f"the token is in {TOKEN}")
        self._runs = f"{address.rstrip('/')}/api/v1/runs"
        self._shown = f"{parts.scheme}://{parts.netloc}"
        self._headers = {
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
            "Accept": "application/json",
            "User-Agent": f"convbench/{__version__}",
            **({} if token is None else {"Authorization": f"Bearer {token}"}),
        }
        self._opener = urllib.request.build_opener(_Refused)

    def call(self, method: str, path: str, body: object) -> dict[str, Any]:
        """The answer to a request, which is tried again while the service is away; RequestError where it refuses."""
        packed = gzip.compress(json.dumps(body, separators=(",", ":")).encode(), compresslevel=5, mtime=0)
        for number in range(1, TRIES + 1):
            request = urllib.request.Request(f"{self._runs}/{path}", packed, self._headers, method=method)
            try:
                with self._opener.open(request, timeout=ANSWER_S) as answer:
                    found = json.loads(answer.read(_MOST_ANSWER))
                    if not isinstance(found, dict):
                        raise ValueError("no object")
                    return found
            except urllib.error.HTTPError as error:
                with error:
                    if error.code not in _LATER or number == TRIES:
                        raise self._refusal(error) from None
            except ValueError:
                raise RequestError(f"{self._shown} does not answer as a service of convbench does") from None
            except (OSError, http.client.HTTPException) as error:
                if number == TRIES:
                    reason = getattr(error, "reason", None) or error
                    raise RequestError(
                        f"{self._shown} does not answer: {reason}", hint="the same command goes on where it ended"
                    ) from None
            time.sleep(PAUSE_S * number)
        raise AssertionError("the last try returns or raises")

    def _refusal(self, error: urllib.error.HTTPError) -> RequestError:
        detail, hint = f"{error.code} {error.reason}", None
        try:
            problem = json.loads(error.read(_MOST_ANSWER))
            detail, hint = str(problem["detail"]), problem.get("hint")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, http.client.HTTPException):
            pass
        return RequestError(f"{self._shown} refused the run: {detail}", hint=None if hint is None else str(hint))
