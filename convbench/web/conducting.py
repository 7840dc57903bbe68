"""Does a job on the hosts of a cluster, by a subprocess of `convbench fleet`. Ray is never in the service's process."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from convbench import units
from convbench.actions.jobs import FILE, task_of
from convbench.errors import ExitCode, RequestError
from convbench.model.campaign import Campaign, CampaignState, ShardState
from convbench.model.job import EventKind, FleetTask, Job
from convbench.store.store import Store
from convbench.store.writer import Writer
from convbench.web.measuring import Child, Ended

#: The command of fleets; `run` or `resume` follows.
COMMAND = (sys.executable, "-m", "convbench", "fleet")
#: The line by which a campaign says its id when it begins or goes on (report/text/fleets.py).
_BEGUN = re.compile(r"campaign (c\d{8}-\d{6}-\w+): ")


class Conducting(Child):
    """The measuring of a sweep on the hosts of the cluster at an address of Ray."""

    verb = "fleet"

    def __init__(
        self,
        store: Store,
        job: Job,
        owner: Writer,
        *,
        db: str | None,
        notify: Callable[[str], None],
        address: str | None,
        insecure: bool,
    ) -> None:
        super().__init__(store, job, owner, db=db, notify=notify)
        self._address, self._insecure = address, insecure
        self._campaign_id = job.campaign_id
        self._shown: tuple[str, ...] = ()

    def measure(self) -> Ended:
        """Measure the sweep there; a campaign that this job began before goes on.

        Raises RequestError where the service has no cluster, or the subprocess cannot start.
        """
        if self._address is None:
            raise RequestError("this service has no cluster", hint="start it with --ray ADDRESS")
        with tempfile.TemporaryDirectory(prefix="convbench-job-") as folder:
            path = Path(folder) / FILE
            path.write_text(self._job.sweep, encoding="utf-8")
            what = ("resume", self._campaign_id) if self._campaign_id else ("run", str(path), *self._options())
            insecure = ("--insecure",) if self._insecure else ()
            # The address may hold a password, and others can read a command line.
            code = self._run((*COMMAND, *what, *insecure), CONVBENCH_FLEET=self._address)
        found = self._campaign()
        if found is not None and found.state is CampaignState.FINISHED:
            return Ended(code=code, run_id=None, why_not=None)
        failed = found is not None and any(shard.state is ShardState.FAILED for shard in found.shards)
        is_lost = found is not None and not failed and code not in (ExitCode.INTERRUPTED, ExitCode.FAULT) and code >= 0
        return Ended(code=code, run_id=None, why_not=self._why_not(code), is_lost=is_lost)

    def _options(self) -> Sequence[str]:
        task = task_of(self._job)
        assert isinstance(task, FleetTask)
        labels = [word for key, value in task.where for word in ("--where", f"{key}={value}")]
        return (f"--{task.how.value}", *labels, *(("--all-hosts",) if task.every_host else ()))

    def _campaign(self) -> Campaign | None:
        """The campaign as it is stored; None where it has not begun."""
        return None if self._campaign_id is None else self._store.campaign(self._campaign_id)

    def _heard(self, text: str) -> None:
        begun = _BEGUN.match(text)
        if begun and self._campaign_id is None:
            self._campaign_id = begun[1]
            with suppress(RequestError):
                self._jobs.note_campaign(self._job.id, self._campaign_id)

    def _look(self, *, again: bool = False) -> None:
        """Note how many shards have finished, and where the others are."""
        with suppress(RequestError):
            found = self._campaign()
            states = tuple(f"{shard.state} {shard.host}" for shard in found.shards) if found else ()
            if found is None or states == self._shown:
                return
            self._shown = states
            over = sum(shard.state is ShardState.FINISHED for shard in found.shards)
            text = f"{units.count(over)} of {units.plural(len(found.shards), 'shard')} finished"
            self._note([(EventKind.PROGRESS, {"share": over / max(1, len(found.shards)), "text": text})])
