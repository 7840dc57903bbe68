"""The caller's side of a campaign's database: receives the runs of shards, and keeps what the shards have done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from convbench.errors import DatabaseError, RequestError, RunNotFoundError
from convbench.fleet import messages
from convbench.model.campaign import Campaign, CampaignState, Shard
from convbench.model.case import Case
from convbench.model.result import Environment, Git, Rejection, Run, RunState, StopReason
from convbench.model.serial import process_facts_from_json, run_head_from_json, visit_from_json
from convbench.store import Store, Writer

#: Before the digest of a run that was received: an ordinary run of the same sweep here must not go on with it.
_RECEIVED = "fleet "


@dataclass(slots=True, kw_only=True)
class Home:
    """Where a campaign is kept: its row, and the runs that shards send. To a server, shards write their runs."""

    store: Store
    campaign_id: str
    cases: Mapping[str, Case]
    rejections: Sequence[Rejection] = ()
    git: Git | None = None
    writer: Writer = field(default_factory=Writer.of_this_process)
    _writing: set[str] = field(default_factory=set)
    _late: dict[int, Shard] = field(default_factory=dict)  # shards whose state the server does not have yet

    def receive(self, line: Mapping[str, Any]) -> Run | None:
        """Store what a line of a shard says, if it is about results; returns the run without results where it begins.

        Lines may come twice. Those of a run that has ended here are passed over. Raises RequestError for a line that
        is not valid, and StoreError where the database refuses.
        """
        event = line["event"]
        if event == messages.RUN:
            return self._begin(run_head_from_json(_entry(line, "run", dict)), line)
        run_id = line.get("run_id")
        if run_id not in self._writing:
            return None
        if event == messages.VISITS:
            self.store.append(run_id, [visit_from_json(visit) for visit in _entry(line, "visits", list)])
        elif event == messages.PROCESS:
            self.store.note_process(run_id, process_facts_from_json(_entry(line, "facts", dict)))
        elif event == messages.ENDED:
            self.store.finish(run_id, RunState(_entry(line, "state", str)), _entry(line, "finished_at", str))
            self._writing.discard(run_id)
        return None

    def _begin(self, run: Run, line: Mapping[str, Any]) -> Run:
        run = replace(run, git=run.git or self.git)
        if run.id in self._writing:
            return run
        if self.has(run.id):
            if self.store.load(run.id, checks=False).state is not RunState.FINISHED:
                self.store.take_over(run.id, self.writer)
                self._writing.add(run.id)
            return run
        unknown = [case_id for case_id in _entry(line, "cases", list) if case_id not in self.cases]
        if unknown:
            raise RequestError(f"a shard measures case {unknown[0]}, which the sweep has not")
        self.store.begin(
            run,
            [self.cases[case_id] for case_id in line["cases"]],
            self.rejections,
            self.writer,
            digest=_RECEIVED + _entry(line, "digest", str),
            host=run.environment.hostname,
        )
        self._writing.add(run.id)
        return run

    def interrupted(self, run_id: str, now: str) -> None:
        """Store that a run whose shard can say no more was interrupted."""
        if run_id in self._writing:
            self.store.finish(run_id, RunState.INTERRUPTED, now)
            self._writing.discard(run_id)

    def has(self, run_id: str) -> bool:
        """Whether the run is stored here."""
        try:
            return self.store.run_id(run_id) == run_id
        except RunNotFoundError:
            return False

    def environment(self, run_id: str) -> Environment:
        """The environment of a run."""
        return self.store.head(run_id)[0].environment

    def case_ids(self, run_id: str) -> tuple[str, ...]:
        """The ids of a run's cases, in the order of the sweep."""
        return tuple(case.id for case in self.store.head(run_id)[1])

    def is_finished(self, run_id: str) -> bool:
        """Whether a run has ended as it should."""
        return self.has(run_id) and self.store.head(run_id)[0].state is RunState.FINISHED

    def measured(self, run_ids: Iterable[str]) -> set[str]:
        """The ids of the cases that one of these runs has measured to the end."""
        found: set[str] = set()
        for run_id in run_ids:
            if self.has(run_id):
                run = self.store.load(run_id, checks=False)
                found |= {each.case.id for each in run.results if each.stop_reason is not StopReason.UNFINISHED}
        return found

    def begin(self, campaign: Campaign) -> None:
        """Store a new campaign, of which this process is the caller."""
        self.store.begin_campaign(campaign, self.writer)

    def note(self, shard: Shard) -> None:
        """Store the state of a shard. While a server does not answer, the state waits for a later call."""
        self._late[shard.position] = shard
        self.send_late()

    def send_late(self) -> bool:
        """Store what waits of the states of shards; whether nothing waits any more."""
        for position, shard in list(self._late.items()):
            try:
                self.store.update_shard(self.campaign_id, shard)
            except DatabaseError:
                if self.store.is_file:
                    raise
                return False
            del self._late[position]
        return True

    def finish(self, state: CampaignState, now: str) -> None:
        """Store how the campaign ended."""
        self.send_late()
        self.store.finish_campaign(self.campaign_id, state, now)


def _entry(line: Mapping[str, Any], name: str, kind: type) -> Any:
    found = line.get(name)
    if not isinstance(found, kind):
        raise RequestError(f"a shard's line {line['event']!r} has no valid {name}")
    return found
