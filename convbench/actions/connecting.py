"""A running service from Python: its runs as frames, comparisons, and jobs that are submitted and waited for."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convbench.actions.read import MeasuredRun
from convbench.errors import RequestError
from convbench.model.job import ENDED, JobState
from convbench.units import without_credentials

if TYPE_CHECKING:
    import pandas

#: The variable with the token, for who gives none.
TOKEN_VARIABLE = "CONVBENCH_TOKEN"
#: Seconds that an answer may take, a comparison of many cases included, and between two looks at a job.
_ANSWER_S, _LOOK_S = 180.0, 2.0
#: Runs that are asked for at a time.
_PAGE = 200
#: The filters of the list of runs, and the columns of its frame.
FILTERS = ("sweep", "machine", "host", "branch", "commit", "torch", "state", "verdict", "text")
RUN_COLUMNS = (
    *("id", "name", "state", "started_at", "finished_at", "host", "machine", "torch", "cases", "statuses"),
    *("git_commit", "git_branch", "git_dirty"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceJob:
    """A job of a service as it was when asked. `run_id`, or `campaign_id` of a fleet, is None until that begins."""

    id: str
    state: JobState
    name: str
    cases: int
    run_id: str | None
    campaign_id: str | None
    exit_code: int | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceComparison:
    """Two runs as a service compared them. `frame` has one row per case; its times are seconds."""

    base: str
    new: str
    verdict: str
    text: str
    comparable: bool
    counts: Mapping[str, int]
    frame: pandas.DataFrame


def connect(url: str, token: str | None = None) -> ServiceConnection:
    """The service at this address, `http://127.0.0.1:8321`. The token may stand in the variable CONVBENCH_TOKEN.

    Raises RequestError where no service answers there, and where the token is not valid.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise RequestError(
            f"{without_credentials(url)!r} is no address of a service", hint="such as http://127.0.0.1:8321"
        )
    made = ServiceConnection(url.rstrip("/"), token or os.environ.get(TOKEN_VARIABLE) or None)
    made.check()
    return made


class ServiceConnection:
    """A service and who asks it. All methods raise RequestError with what the service says is wrong."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url, self._token = url, token

    def __repr__(self) -> str:
        """The address, without the token."""
        return f"<convbench service {self._url}>"

    def check(self) -> None:
        """Raise RequestError where the address is not that of a service, or the token is not valid."""
        answer = self._ask("GET", "/session")
        if not isinstance(answer, dict) or "scopes" not in answer:
            raise RequestError(f"{self._url} is no service of convbench")

    def runs(self, *, most: int = 1000, **filters: str) -> pandas.DataFrame:
        """One row per stored run, the newest first, without results.

        The filters are those of the list of runs (FILTERS): sweep, machine, host, branch, commit, torch, state,
        verdict, text. Raises RequestError for another one.
        """
        import pandas

        if unknown := sorted(set(filters) - set(FILTERS)):
            raise RequestError(
                f"no filter is called {', '.join(unknown)}", hint=f"the filters are {', '.join(FILTERS)}"
            )
        rows: list[dict[str, Any]] = []
        after: str | None = None
        while len(rows) < most:
            query = filters | {"limit": str(min(_PAGE, most - len(rows)))} | ({"after": after} if after else {})
            page = self._ask("GET", f"/runs?{urllib.parse.urlencode(query)}")
            rows += [run | {f"git_{name}": value for name, value in (run["git"] or {}).items()} for run in page["runs"]]
            after = page["after"]
            if after is None:
                break
        return pandas.DataFrame(rows, columns=list(RUN_COLUMNS))

    def run(self, ref: str = "latest") -> MeasuredRun:
        """A run with its results: `latest`, an id, a unique prefix of one, or a baseline."""
        from convbench.report.export import read_json

        content = self._get(f"/runs/{urllib.parse.quote(ref, safe='')}/export?format=json")
        return MeasuredRun(run=read_json(content.decode()))

    def frame(self, ref: str = "latest") -> pandas.DataFrame:
        """The results of a run, one row per case; times in seconds."""
        return self.run(ref).frame()

    def compare(self, base: str, new: str = "latest", *, across_environments: bool = False) -> ServiceComparison:
        """Two runs compared; RequestError says why where they cannot be."""
        import pandas

        query = {"base": base, "new": new} | ({"across_environments": "true"} if across_environments else {})
        found = self._ask("GET", f"/compare?{urllib.parse.urlencode(query)}")
        plain = {name: found[name] for name in ("base", "new", "verdict", "text", "comparable", "counts")}
        return ServiceComparison(**plain, frame=pandas.DataFrame(found["judgments"]))

    def submit(
        self,
        sweep: str | Path,
        *,
        host: str | None = None,
        against: str | None = None,
        priority: int = 0,
        fleet: Mapping[str, object] | None = None,
        idempotency_key: str | None = None,
    ) -> ServiceJob:
        """Submit a sweep: its YAML text, the name of one that comes with convbench, or the Path of its file.

        With `fleet`, as `{"how": "split", "where": {"rack": "2"}}`, hosts of the service's cluster measure it. The same
        key gives the same job.
        """
        text = sweep.read_text(encoding="utf-8") if isinstance(sweep, Path) else sweep
        return self._submit({"sweep": text}, host, against, priority, fleet, idempotency_key)

    def submit_model(
        self,
        model: str,
        *,
        inputs: Sequence[str],
        arguments: Sequence[str] = (),
        train: bool = False,
        autocast: str | None = None,
        channels_last: bool = False,
        real: bool = False,
        budget_s: float | None = None,
        host: str | None = None,
        against: str | None = None,
        priority: int = 0,
        fleet: Mapping[str, object] | None = None,
        idempotency_key: str | None = None,
    ) -> ServiceJob:
        """Submit a model that the service can import, `package.module:Model`: its convolutions are measured.

        `inputs` are texts such as `8x3x224x224` or `ids=1x77:int64`, and `arguments` such as `depth=50`. Its run takes
        `budget_s` seconds at most. RequestError where the service imports no models: it needs `--trust-modules`.
        """
        asked: dict[str, Any] = {"model": model, "input": list(inputs), "arguments": list(arguments), "train": train}
        asked |= {"autocast": autocast, "channels_last": channels_last, "real": real}
        asked |= {} if budget_s is None else {"budget": budget_s}
        return self._submit(asked, host, against, priority, fleet, idempotency_key)

    def _submit(
        self,
        asked: Mapping[str, Any],
        host: str | None,
        against: str | None,
        priority: int,
        fleet: Mapping[str, object] | None,
        idempotency_key: str | None,
    ) -> ServiceJob:
        body = {**asked, "host": host, "against": against, "priority": priority, "fleet": fleet}
        return _job(self._ask("POST", "/jobs", body, {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}))

    def job(self, job_id: str) -> ServiceJob:
        """A job as it is now."""
        return _job(self._ask("GET", f"/jobs/{urllib.parse.quote(job_id, safe='')}"))

    def wait(self, job_id: str, *, timeout_s: float | None = None) -> ServiceJob:
        """The job once it is measured; RequestError where it fails, is cancelled, or takes longer than `timeout_s`."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            found = self.job(job_id)
            if found.state in (JobState.MEASURED, JobState.REPORTED):
                return found
            if found.state in ENDED:
                raise RequestError(
                    f"job {job_id} is {found.state.value}" + (f": {found.reason}" if found.reason else "")
                )
            if end is not None and time.monotonic() > end:
                raise RequestError(f"job {job_id} is still {found.state.value} after {timeout_s:g} s")
            time.sleep(_LOOK_S)

    # ---- requests

    def _ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
        content = self._get(path, method, None if body is None else json.dumps(body).encode(), headers or {})
        try:
            return json.loads(content)
        except ValueError:
            raise RequestError(f"{self._url} is no service of convbench") from None

    def _get(
        self, path: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        given = {"Content-Type": "application/json"} if body is not None else {}
        given |= {"Authorization": f"Bearer {self._token}"} if self._token else {}
        request = urllib.request.Request(f"{self._url}/api/v1{path}", body, {**given, **(headers or {})}, method=method)
        try:
            with _OPENER.open(request, timeout=_ANSWER_S) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            raise self._problem(error) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise RequestError(f"{self._url} does not answer: {reason}", hint="is `convbench serve` running?") from None

    def _problem(self, error: urllib.error.HTTPError) -> RequestError:
        """What the service says is wrong, with its hint."""
        try:
            found = json.loads(error.read())
            if mistakes := [_mistake(one) for one in found.get("mistakes") or ()]:
                return RequestError(mistakes)
            return RequestError(str(found["detail"]), hint=found.get("hint"))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, http.client.HTTPException):
            return RequestError(f"{self._url} answered with status {error.code}", hint="is it a service of convbench?")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Another address would get the token: it is never followed."""

    def redirect_request(self, *arguments: object) -> None:
        """None: the answer is an error."""


_OPENER = urllib.request.build_opener(_NoRedirects)


def _mistake(found: Mapping[str, Any]) -> str:
    """`line 4, axes: unknown key 'foo' (known keys: ...)`: a mistake that a service found in a sweep."""
    where = f", {found['where']}" if found["where"] else ""
    hint = f" ({found['hint']})" if found.get("hint") else ""
    return f"line {found['line']}{where}: {found['message']}{hint}"


def _job(found: Mapping[str, Any]) -> ServiceJob:
    plain = {each.name: found[each.name] for each in fields(ServiceJob)}
    return ServiceJob(**plain | {"state": JobState(found["state"])})
