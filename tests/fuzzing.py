"""Made-up requests against a running service: schemathesis with the committed description of the API, and all checks.

Half of the ids that it sends are those of things that are stored, so that the requests reach what lies behind a 404.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import service

from convbench.actions import schedules, tokens
from convbench.actions.jobs import Checked, checked, submit
from convbench.store import Store
from convbench.store.jobs import Jobs

DESCRIPTION = Path(__file__).parent.parent / "docs" / "openapi.json"
#: A stream of events ends with its job, which may be never. tests/web/test_api.py reads streams.
EXCLUDED = "/events$"
#: Seconds that an answer may take: a loaded machine takes long.
PATIENCE_S = 120
#: Jobs and schedules are for this host, so that the service measures none of them.
HOST = "elsewhere"
#: Sweeps that are sent: right ones, and texts with mistakes.
SWEEPS = (service.TINY, "axes: {}", "axes: {in_channels: 3}", "cases: [", "name: 1")
#: Statuses that answer a right request, and a wrong one, as schemathesis has them; a body may also be too large (413).
_RIGHT = ("2xx", "3xx", "401", "403", "404", "409", "429", "5xx")
_WRONG = ("400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429", "5xx")
#: Operations that may refuse what their schema allows, and how. No JSON Schema says what is right in the text of a
#: sweep, in cron's words, in a channel's URL, in the name of a model and in the document of a run.
REFUSING: Mapping[str, Sequence[str]] = {
    "POST /api/v1/jobs": ("400", "422"),
    "POST /api/v1/schedules": ("400", "422"),
    "PATCH /api/v1/schedules/{schedule_id}": ("400", "422"),
    "POST /api/v1/channels": ("400",),
    "POST /api/v1/bisections": ("400",),
    "POST /api/v1/sweeps/capture": ("400",),
    "PUT /api/v1/runs/{run_id}/upload": ("400",),
    "PUT /api/v1/runs/{run_id}/upload/entries/{first}": ("400",),
    "POST /api/v1/runs/{run_id}/upload/end": ("400",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Ids of what is stored, by the place of a request that takes them; and a token that may do everything."""

    values: Mapping[str, Sequence[str | int]]
    token: str


def filled(db: Path) -> Stored:
    """A database with runs, jobs, a schedule and a token."""
    service.filled(db, *(service.run_of(number) for number in range(1, 9)))
    with Store.create(str(db)) as store:
        found = checked(service.TINY)
        jobs = [_job(store, found, number) for number in range(4)]
        Jobs(store).cancel(jobs[0], "2026-11-30T00:00:00+00:00")
        made = schedules.make(
            store,
            schedules.Wanted(name="nightly", cron="@daily", zone="UTC", sweep=service.TINY, host=HOST, baseline="main"),
            found,
            by="anna",
            at=datetime.now(UTC),
        )
        token, text = tokens.create(store, "fuzz", ["admin"], days=1)
        runs = [service.run_of(number).id for number in (1, 2, 8)] + ["latest", "2026"]
        layers = [result.case.id for result in service.run_of(1).results[:2]]
    values: dict[str, Sequence[str | int]] = dict.fromkeys(("path.run", "query.base", "query.new", "query.run"), runs)
    values |= {"path.run_id": [*runs[:3], "new-1"], "body.run": runs, "path.first": [0, 1, 12]}
    values |= {"path.job_id": jobs, "path.schedule_id": [made.id], "path.layer_id": layers, "query.after": layers}
    values |= {"path.prefix": [token.prefix[:-1] + "x"], "body.sweep": SWEEPS, "body.host": [HOST]}
    return Stored(values=values | {"body.cron": ["@daily", "30 2 * * *", "x"], "body.zone": ["UTC", "x"]}, token=text)


def _job(store: Store, found: Checked, number: int) -> str:
    return submit(store, service.TINY, found, by="anna", host=HOST, priority=number)[0].id


def settings(stored: Stored) -> str:
    """The text of schemathesis.toml."""
    lines = ["[checks]", f"max_response_time = {PATIENCE_S}"]
    lines += ["[checks.negative_data_rejection]", f"expected-statuses = {json.dumps(_WRONG)}"]
    for place, values in stored.values.items():
        lines += [f'[dictionaries."{place}"]', f"values = {json.dumps(list(values))}"]
    lines.append("[parameters]")
    lines += [f'"{place}" = {{ dictionary = "{place}", probability = 0.5 }}' for place in stored.values]
    for operation, statuses in REFUSING.items():
        lines += ["[[operations]]", f"include-name = {json.dumps(operation)}"]
        lines.append(f"checks.positive_data_acceptance.expected-statuses = {json.dumps([*_RIGHT, *statuses])}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What schemathesis found: the number of its requests, of its operations, and its output where a check failed."""

    requests: int
    operations: int
    failures: str


def fuzz(address: str, stored: Stored, folder: Path, *, examples: int, seed: int, phases: str) -> Found:
    """Send made-up requests to the service at this address, `examples` at most for each operation and phase."""
    (folder / "schemathesis.toml").write_text(settings(stored), encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "--no-color", "run"),
            *(str(DESCRIPTION), "--url", address, "--checks", "all", "--phases", phases),
            *("--max-examples", str(examples), "--seed", str(seed), "--exclude-path-regex", EXCLUDED),
            *("--header", f"Authorization: Bearer {stored.token}", "--request-timeout", str(PATIENCE_S)),
            *("--continue-on-failure", "--warnings", "off", "--generation-database", "none"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    requests = re.search(r"^ *(\d+) generated", done.stdout, re.MULTILINE)
    operations = re.search(r"Tested: (\d+)", done.stdout)
    assert requests and operations, done.stdout[-2000:] + done.stderr[-2000:]
    failures = "" if done.returncode == 0 else _short(done.stdout)
    return Found(requests=int(requests[1]), operations=int(operations[1]), failures=failures)


def _short(output: str) -> str:
    """The output with lines of a bearable length."""
    return "\n".join(line[:400] for line in output.splitlines())
