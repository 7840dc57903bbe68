"""Runs and results in a database: begin a run, append visits, finish it; load it completely or as a summary."""

from __future__ import annotations

import gc
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine, bindparam, delete, insert, select, update

from convbench.errors import RunNotFoundError, StoreError
from convbench.model.campaign import Campaign, CampaignState, MachineRun, Shard
from convbench.model.case import Case
from convbench.model.result import Baseline, Environment, Git, ProcessFacts, Rejection, Run, RunState, RunSummary, Visit
from convbench.model.samples import VisitSamples
from convbench.store import campaigns, deleting, loading, machines, opening, past, runs, schema, writing
from convbench.store.folding import chunks, fold
from convbench.store.identity import checked_baseline_name
from convbench.store.place import DEFAULT, Place
from convbench.store.runs import AnyRow
from convbench.store.writer import Writer

#: Rows fetched at a time.
_CHUNK = 1000


class Store:
    """A database of runs; a context manager. All methods raise StoreError where the database cannot do it."""

    def __init__(self, engine: Engine, place: Place, *, version: int = schema.VERSION) -> None:
        self._engine = engine
        self._place = place
        self._version = version
        self._claims: dict[str, _Claim] = {}
        self._conducted: dict[str, tuple[int, Writer]] = {}  # the keys of campaigns, and who conducts them
        # An SQLite file has one writer at a time. Threads of one process wait here for each other, and at once go on;
        # SQLite itself looks again after pauses of up to 100 ms. A server's database has many writers.
        self._one_writer: AbstractContextManager[object] = nullcontext() if place.path is None else threading.Lock()

    @classmethod
    def create(cls, url_or_path: str | None = None) -> Store:
        """Open a database to write runs; make it and its folder where there is none. An older schema is upgraded."""
        place = Place.of(url_or_path or DEFAULT)
        return cls(opening.create(place), place)

    @classmethod
    def change(cls, url_or_path: str | None = None) -> Store:
        """Open an existing database for writing. An older schema is upgraded."""
        place = Place.of(url_or_path or DEFAULT)
        return cls(opening.open_to_change(place), place)

    @classmethod
    def open(cls, url_or_path: str | None = None) -> Store:
        """Open an existing database of this or an older schema for reading. Needs no write permission."""
        place = Place.of(url_or_path or DEFAULT)
        engine, version = opening.open_to_read(place)
        return cls(engine, place, version=version)

    @property
    def place(self) -> str:
        """The path or URL of the database, without a password."""
        return str(self._place)

    @property
    def at(self) -> Place:
        """The place of the database, for this room: it explains errors."""
        return self._place

    @property
    def version(self) -> int:
        """The version of the schema of the database."""
        return self._version

    @property
    def is_file(self) -> bool:
        """Whether it is a file on this machine, and not a server, which may become unreachable."""
        return self._place.path is not None

    @property
    def is_waiting(self) -> bool:
        """Whether written data wait in a file for this database: never here; see waiting.py for the class that may."""
        return False

    def identity(self) -> str | None:
        """A unique name of this database, whatever its path or URL; None in a database of schema version 1."""
        if self._version < schema.IDENTITY_SINCE:
            return None
        with self.reading() as connection:
            identity: str | None = connection.execute(select(schema.schema.c.identity)).scalar_one()
            return identity

    def take_identity(self, identity: str | None) -> None:
        """Give this database the identity of another one."""
        with self.writing() as connection:
            connection.execute(update(schema.schema).values(identity=identity))

    def close(self) -> None:
        """Close the connections to the database."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- writing

    def begin(
        self,
        run: Run,
        cases: Sequence[Case],
        rejections: Sequence[Rejection],
        writer: Writer,
        *,
        digest: str,
        host: str | None = None,
    ) -> None:
        """Store a new run with all its cases, without results, and make `writer` the only process that may append.

        `host` is where it is measured, if that is not the writer's.
        """
        positions: dict[str, int] = {}
        with self.writing() as connection:
            key = connection.execute(
                insert(schema.runs).returning(schema.runs.c.key),
                writing.run_row(run, writer, digest, host or writer.host),
            ).scalar_one()
            writing.insert_all(connection, schema.rejections, writing.rejection_rows(key, rejections))
            writing.insert_all(connection, schema.cases, writing.case_rows(key, cases, positions))
        self._claims[run.id] = _Claim(key=key, writer=writer, positions=positions)

    def resumable(
        self, *, digest: str, version: str, environment: Environment, host: str, git: Git | None = None
    ) -> str | None:
        """The newest unfinished run that can be resumed; None where there is none.

        It must have the same sweep, version, environment and host, and the same commit where it has one. Its writer
        must have ended.
        """
        commits = (None, git.commit if git else None)  # a run stores one commit, so another one must not resume it
        columns = schema.runs.c
        wanted = (
            select(schema.runs)
            .where(
                columns.digest == digest,
                columns.version == version,
                columns.host == host,
                columns.state != RunState.FINISHED.value,
            )
            .order_by(columns.started_at.desc(), columns.key.desc())
        )
        with self.reading() as connection:
            for row in connection.execute(wanted).all():
                with self._place.decoding(row.id):
                    same = row.git_commit in commits and runs.environment_of(row) == environment
                    if same and runs.is_free(row):
                        return runs.run_of(row).id
        return None

    def take_over(self, run_id: str, writer: Writer) -> str:
        """Resume an unfinished run: only `writer` may append from now on. Returns when the run began (ISO 8601).

        Raises StoreError where the run is finished, or where another process writes it.
        """
        columns = schema.runs.c
        with self.writing() as connection:
            row = connection.execute(select(schema.runs).where(columns.id == run_id)).one_or_none()
            if row is None:
                raise RunNotFoundError(f"no run {run_id} is stored in {self._place}")
            if row.state == RunState.FINISHED.value:
                raise StoreError(f"run {run_id} is finished", hint="`convbench run --fresh` measures anew")
            with self._place.decoding(run_id):
                is_free = runs.is_free(row)
            # The condition repeats the check: of two processes that take over at the same time, one changes no row.
            before = [columns[name].is_not_distinct_from(getattr(row, name)) for name in runs.writer_columns(None)]
            changed = connection.execute(
                update(schema.runs)
                .where(columns.key == row.key, *before)
                .values(state=RunState.RUNNING.value, finished_at=None, **runs.writer_columns(writer))
            )
            if not is_free or changed.rowcount != 1:
                raise StoreError(
                    f"run {run_id} is being written by another process",
                    hint="let that one end, or measure anew with --fresh",
                )
            with self._place.decoding(run_id):
                positions = loading.positions(connection, row.key)
                started_at = runs.run_of(row).started_at
        self._claims[run_id] = _Claim(key=row.key, writer=writer, positions=positions)
        return started_at

    def claim(self, run_id: str, writer: Writer) -> None:
        """Continue a run that `writer` already writes, after the run was copied to this database."""
        with self.reading() as connection:
            key = self._find(connection, run_id).key
            self._claims[run_id] = _Claim(key=key, writer=writer, positions=loading.positions(connection, key))

    def append(self, run_id: str, visits: Sequence[Visit]) -> None:
        """Store all these visits or none. A stored visit of the same case and process is replaced, so that it is safe
        to send visits twice.
        """
        if not visits:
            return
        claim = self._claim(run_id)
        rows = [writing.visit_row(claim.key, claim.positions, visit) for visit in visits]
        columns = schema.visits.c
        same = delete(schema.visits).where(
            columns.run_key == bindparam("its_run"),
            columns.position == bindparam("its_position"),
            columns.process_index == bindparam("its_process"),
        )
        with self.writing() as connection:
            self._defend(connection, run_id)
            connection.execute(
                same,
                [
                    {"its_run": row["run_key"], "its_position": row["position"], "its_process": row["process_index"]}
                    for row in rows
                ],
            )
            connection.execute(insert(schema.visits), rows)

    def note_process(self, run_id: str, facts: ProcessFacts) -> None:
        """Store the facts of a process, and replace those that are stored."""
        claim, columns = self._claim(run_id), schema.processes.c
        with self.writing() as connection:
            self._defend(connection, run_id)
            same = columns.run_key == claim.key, columns.process_index == facts.process_index
            connection.execute(delete(schema.processes).where(*same))
            row = {"run_key": claim.key, "process_index": facts.process_index, "facts": writing.dumps(facts)}
            connection.execute(insert(schema.processes), row)

    def finish(self, run_id: str, state: RunState, finished_at: str) -> None:
        """Store how a run ended, and give up writing it: another process may then resume it if it is unfinished."""
        claim = self._claim(run_id)
        with self.writing() as connection:
            self._end(connection, run_id, state, finished_at, **runs.writer_columns(None))
            parts = chunks(connection, claim.key) if state is RunState.FINISHED else ()
        del self._claims[run_id]
        with suppress(StoreError):  # visits that are not folded load the same
            for start in parts:  # one transaction each, because other processes write here too
                with self.writing() as connection:
                    fold(connection, claim.key, start)

    def note_end(self, run_id: str, state: RunState, finished_at: str) -> None:
        """Store how a run ended and keep this process as its writer, which `send` compares later."""
        with self.writing() as connection:
            self._end(connection, run_id, state, finished_at)

    def _end(self, connection: Connection, run_id: str, state: RunState, finished_at: str, **values: object) -> None:
        self._defend(connection, run_id)
        key = self._claim(run_id).key
        ended = {"state": state.value, "finished_at": finished_at, **values}
        connection.execute(update(schema.runs).where(schema.runs.c.key == key).values(**ended))

    # ---- deleting

    def protected(self) -> dict[str, str]:
        """The runs that cannot be deleted, each with the reason: it is a baseline, or a process writes it."""
        with self.reading() as connection:
            return deleting.protected(connection, self._version, self._place)

    def emptied(self, run_ids: Collection[str]) -> list[str]:
        """The ids of the campaigns that go with these runs, because they have no other."""
        with self.reading() as connection:
            return campaigns.emptied(connection, run_ids, self._version, self._place)

    def delete(self, run_ids: Collection[str]) -> None:
        """Delete all these runs or none, and campaigns without another run. An SQLite file becomes smaller.

        RequestError where a run is protected.
        """
        with self.writing() as connection:
            deleting.delete_runs(connection, run_ids, self._version, self._place)
            busy = deleting.being_written(connection, self._version, self._place)
        if not busy:  # it takes seconds for a large file, and a process that measures would wait
            deleting.shrink(self._engine)

    # ---- from one database to another

    def is_being_written(self, run_id: str) -> bool:
        """Whether the run has no end yet and its writer may still be alive."""
        with self.reading() as connection:
            columns = schema.columns(schema.runs, self._version)
            row = connection.execute(select(*columns).where(schema.runs.c.id == run_id)).one_or_none()
            with self._place.decoding(run_id):
                return row is not None and row.finished_at is None and not runs.is_free(row)

    def send(self, run_id: str, *, to: Store) -> None:
        """Copy a run to the other database, in one transaction that is safe to repeat.

        It copies the run itself, visits and facts of processes where they are missing, and how the run ended. Raises
        RunNotFoundError where the run is not here, and TakenOverError where another process has resumed it there.
        """
        with self.reading() as here, to.writing() as there:
            every = schema.columns(schema.runs, self._version)
            run = here.execute(select(*every).where(schema.runs.c.id == run_id)).one_or_none()
            if run is None:
                raise RunNotFoundError(f"no run {run_id} is stored in {self._place}")
            writing.send(here, there, run, self._version)

    # ---- campaigns

    def begin_campaign(self, campaign: Campaign, writer: Writer) -> None:
        """Store a new campaign with its shards, and make `writer` the only process that may change it."""
        with self.writing() as connection:
            key = campaigns.begin(connection, campaign, writer)
        self._conducted[campaign.id] = (key, writer)

    def take_over_campaign(self, ref: str, writer: Writer) -> Campaign:
        """Go on with an unfinished campaign, named as for `campaign`: only `writer` may change it from now on.

        Raises StoreError where it is finished, or where another process conducts it.
        """
        with self.writing() as connection:
            row = campaigns.take_over(connection, ref, writer, self._version, self._place)
            found = campaigns.load(connection, row, self._place)
        self._conducted[found.id] = (row.key, writer)
        return replace(found, state=CampaignState.RUNNING, finished_at=None)

    def update_shard(self, campaign_id: str, shard: Shard) -> None:
        """Store the state of a shard, its host, its runs and its note."""
        with self._changing(campaign_id) as (connection, key):
            campaigns.update_shard(connection, key, shard)

    def finish_campaign(self, campaign_id: str, state: CampaignState, finished_at: str) -> None:
        """Store how a campaign ended, and give it up: another process may then go on with it if it is unfinished."""
        with self._changing(campaign_id) as (connection, key):
            campaigns.finish(connection, key, state, finished_at)
        del self._conducted[campaign_id]

    @contextmanager
    def _changing(self, campaign_id: str) -> Iterator[tuple[Connection, int]]:
        """A transaction that changes a campaign of this process, and the campaign's key."""
        if campaign_id not in self._conducted:
            raise StoreError(f"campaign {campaign_id} was not begun or taken over here")
        key, writer = self._conducted[campaign_id]
        with self.writing() as connection:
            campaigns.defend(connection, key, campaign_id, writer)
            yield connection, key

    def campaign(self, ref: str = "latest") -> Campaign:
        """A campaign with its shards. `ref` is `latest` (the one begun last), an id, or a unique prefix of one.

        Raises RunNotFoundError where no campaign or several match.
        """
        with self.reading() as connection:
            row = campaigns.find(connection, ref, self._version, self._place)
            return campaigns.load(connection, row, self._place)

    def campaigns(self) -> list[Campaign]:
        """All campaigns with their shards, newest first; none in a database of an older schema."""
        with self.reading() as connection:
            return campaigns.every(connection, self._version, self._place)

    # ---- baselines

    def set_baseline(self, name: str, ref: str, *, set_at: str) -> Baseline:
        """Set or change the baseline `name` to the run that `ref` refers to now. RequestError for an invalid name."""
        columns = schema.baselines.c
        checked_baseline_name(name)
        with self.writing() as connection:
            run = self._find(connection, ref)
            values = {"run_key": run.key, "set_at": set_at}
            changed = connection.execute(update(schema.baselines).where(columns.name == name).values(values))
            if not changed.rowcount:
                connection.execute(insert(schema.baselines).values(name=name, **values))
        return Baseline(name=name, run_id=run.id, set_at=set_at)

    def remove_baseline(self, name: str) -> None:
        """Remove a baseline; its run stays. RunNotFoundError where there is no such baseline."""
        with self.writing() as connection:
            if not connection.execute(delete(schema.baselines).where(schema.baselines.c.name == name)).rowcount:
                raise runs.no_baseline(connection, name, self._version, self._place)

    def baselines(self) -> list[Baseline]:
        """All baselines, by name."""
        with self.reading() as connection:
            return runs.baselines(connection, self._version, self._place)

    # ---- reading

    def visits(self, run_id: str) -> dict[str, list[Visit]]:
        """All visits of a run by case id, in the order of processes; cases without visits are left out. In a finished
        run one visit may hold the blocks of all processes.
        """
        with self.reading() as connection, self._place.decoding(run_id):
            return loading.visits(connection, self._find(connection, run_id).key, self._version)

    def head(self, run_id: str) -> tuple[Run, tuple[Case, ...], str]:
        """A run without its results, all its cases in their order, and its digest."""
        columns = schema.columns(schema.runs, self._version)
        with self.reading() as connection, self._place.decoding(run_id):
            key = self._find(connection, run_id).key
            row = connection.execute(select(*columns).where(schema.runs.c.key == key)).one()
            return runs.run_of(row), tuple(loading.cases_of_run(connection, key)), str(row.digest)

    def load(self, ref: str, *, checks: bool = True) -> Run:
        """A run with its results. Without `checks`, results have the status of cases but not what checks found.

        `ref` is `latest` (the run started last), an id, a unique prefix of one, or a baseline, with or without the
        prefix `baseline:`. Raises RunNotFoundError where no run or several runs match, or where there is no such
        baseline.
        """
        with self.reading() as connection, _garbage_collection.off():
            key = self._find(connection, ref).key
            columns = schema.columns(schema.runs, self._version)
            row = connection.execute(select(*columns).where(schema.runs.c.key == key)).one()
            with self._place.decoding(row.id):
                return loading.load(connection, row, self._version, checks=checks)

    def samples(self, ref: str) -> list[VisitSamples]:
        """The raw samples of a run, named as for `load`, in the order of cases and processes; empty without any."""
        with self.reading() as connection:
            row = self._find(connection, ref)
            with self._place.decoding(row.id):
                return list(loading.samples(connection, row.key, self._version))

    def run_id(self, ref: str) -> str:
        """The id of the run that `ref` names, as for `load`."""
        with self.reading() as connection:
            return str(self._find(connection, ref).id)

    def ended_at(self, run_id: str) -> str | None:
        """When the run with this id ended, None where it has not; raises RunNotFoundError where there is none."""
        with self.reading() as connection:
            columns = schema.runs.c
            row = connection.execute(select(columns.finished_at).where(columns.id == run_id)).one_or_none()
        if row is None:
            raise RunNotFoundError(f"no run {run_id!r} is stored in {self._place}")
        ended_at: str | None = row.finished_at
        return ended_at

    def sweep_of(self, run_id: str) -> str:
        """The text of the sweep of the run with this id, without values of secrets; raises RunNotFoundError."""
        with self.reading() as connection:
            columns = schema.columns(schema.runs, self._version)
            row = connection.execute(select(*columns).where(schema.runs.c.id == run_id)).one_or_none()
        if row is None:
            raise RunNotFoundError(f"no run {run_id!r} is stored in {self._place}")
        with self._place.decoding(run_id):
            return runs.run_of(row).source

    def runs(self) -> list[RunSummary]:
        """All stored runs, newest first."""
        with self.reading() as connection:
            return runs.summaries(connection, self._version, self._place)

    def machine_runs(self, *, name: str | None = None) -> list[MachineRun]:
        """All runs with the machines that measured them, newest first; with `name` only those of this sweep."""
        with self.reading() as connection:
            return machines.machine_runs(connection, self._version, self._place, name=name)

    def processes(self, run_ids: Collection[str]) -> dict[str, tuple[ProcessFacts, ...]]:
        """The processes of some runs, by the run's id; a run without any is left out."""
        with self.reading() as connection:
            return machines.processes(connection, run_ids, self._place)

    def past(self, *, case_id: str | None = None, run_ids: Collection[str] | None = None) -> list[Run]:
        """Runs, oldest first, with the results of one case or of all cases; `past.past` lists what they hold."""
        with self.reading() as connection, _garbage_collection.off():
            return past.past(connection, self._version, self._place, case_id=case_id, run_ids=run_ids)

    def processes_with_references(self, environment: Environment, block_s: float) -> list[ProcessFacts]:
        """The processes of the newest runs with reference layers, such blocks and such a machine, with these layers.

        Processor, architecture, cores, accelerator and its software, torch and oneDNN are equal.
        """
        with self.reading() as connection:
            return past.processes_with_references(connection, self._place, environment, block_s)

    def find_case(self, ref: str) -> Case:
        """The case whose id is or begins with `ref`, from any run; raises RunNotFoundError."""
        columns = schema.cases.c
        begins = columns.case_id.startswith(ref, autoescape=True)
        query = (
            select(columns.case_id, columns.problem, columns.settings).where(begins).order_by(columns.run_key.desc())
        )
        with self.reading() as connection, self._place.decoding(f"with case {ref}"):
            found = {row.case_id: row for row in reversed(connection.execute(query).all())}
            if len(found) != 1:
                matches = f"begins the ids of {len(found)} cases" if found else "is the id of no case"
                hint = "`convbench export RUN` lists case ids"
                raise RunNotFoundError(f"{ref!r} {matches} in {self._place}", hint=hint)
            row = next(iter(found.values()))
            return loading.case(row.problem, row.settings, case_id=row.case_id)

    # ---- the rest

    def _find(self, connection: Connection, ref: str) -> AnyRow:
        return runs.find(connection, ref, self._version, self._place)

    def _claim(self, run_id: str) -> _Claim:
        if run_id not in self._claims:
            raise StoreError(f"run {run_id} was not begun or taken over here")
        return self._claims[run_id]

    def _defend(self, connection: Connection, run_id: str) -> None:
        """Raise StoreError where another process has taken the run over. Locks the row until the transaction ends."""
        claim = self._claim(run_id)
        row = connection.execute(
            select(schema.runs).where(schema.runs.c.key == claim.key).with_for_update()
        ).one_or_none()
        if row is None:
            raise StoreError(f"run {run_id} was deleted from {self._place}")
        if runs.writer_of(row) != claim.writer:
            raise writing.taken_over(run_id)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that may write, for this room; an error rolls it back."""
        with self._one_writer, self._place.explaining(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One transaction that reads a snapshot, taken at its first query; for this room."""
        with (
            self._place.explaining(),
            self._engine.connect().execution_options(**opening.reading(self._engine), yield_per=_CHUNK) as connection,
        ):
            yield connection


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """A run that this store writes."""

    key: int
    writer: Writer
    positions: Mapping[str, int]


class _GarbageCollection:
    """Switches Python's garbage collection off while any thread loads a run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loading = 0
        self._was_enabled = False

    @contextmanager
    def off(self) -> Iterator[None]:
        """Switch it off inside the block. To look for cycles among millions of new objects would take longer than
        reading, and the objects have no cycles.
        """
        with self._lock:
            if not self._loading:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._loading += 1
        try:
            yield
        finally:
            with self._lock:
                self._loading -= 1
                if not self._loading and self._was_enabled:
                    gc.enable()


_garbage_collection = _GarbageCollection()
