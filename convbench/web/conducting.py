"""Does a job on the hosts of a cluster, by a subprocess of `convbench fleet`. Ray is never in the service's process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from convbench import units
from convbench.actions.jobs import task_of
from convbench.errors import ExitCode, RequestError, RunNotFoundError
from convbench.model.campaign import Campaign, CampaignState, ShardState
from convbench.model.job import EventKind, FleetTask, Job
from convbench.store.store import Store
from convbench.store.writer import Writer
from convbench.web.measuring import Child, Ended

#: The command of fleets; `run` or `resume` follows.
COMMAND = (sys.executable, "-m", "convbench", "fleet")


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
        self._shown: tuple[str, ...] = ()

    def measure(self) -> Ended:
        """Measure the sweep there; a campaign that this job began before goes on.

        Raises RequestError where the service has no cluster, or the subprocess cannot start.
        """
        if self._address is None:
            raise RequestError("this service has no cluster", hint="start it with --ray ADDRESS")
        self._note_begun()  # by a subprocess of a service that was killed
        code = int(ExitCode.DONE)
        found = self._campaign()
        if found is None or found.state is not CampaignState.FINISHED:
            path = self.folder.write_sweep(self._job.sweep)
            new = ("run", str(path), "--job", str(self.folder.path), *self._options())
            what = ("resume", found.id) if found else new
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
        try:
            return None if self._begun is None else self._store.campaign(self._begun)
        except RunNotFoundError:  # the service was killed before it was stored
            return None

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
