"""Measures a sweep on many hosts, goes on with a campaign that was interrupted, and says how campaigns stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from convbench import sweep as sweeps
from convbench.actions.campaigns import gathered
from convbench.actions.measure import nothing_left, planned, with_plan
from convbench.actions.slowness import slowdown
from convbench.engine.git_state import checkout
from convbench.errors import RequestError
from convbench.fleet.campaign import PATIENCE_S, Caller, FleetListener, Work
from convbench.fleet.engine import Fleet
from convbench.fleet.home import Home
from convbench.fleet.shares import Wanted, chosen, device_kind, shared_out, whole_sweep
from convbench.model.campaign import Campaign, CampaignState, How, Shard
from convbench.model.case import Case
from convbench.model.operators import OPERATORS
from convbench.model.result import RunState
from convbench.store.place import DEFAULT, Place
from convbench.sweep.parse import parse

if TYPE_CHECKING:
    from convbench.store import Store

#: What opens an engine at an address: with `insecure`, the folder of modules that hosts need, and where messages go.
Opened = Callable[..., Fleet]


def run(
    config: str | Path,
    *,
    address: str = "auto",
    how: str = How.EACH,
    every_host: bool = False,
    where: Sequence[tuple[str, str]] = (),
    devices: str | None = None,
    patience_s: float = PATIENCE_S,
    insecure: bool = False,
    db: str | None = None,
    listener: FleetListener | None = None,
    beginning: Callable[[str], None] = lambda campaign_id: None,
    begun: Callable[[Campaign], None] = lambda campaign: None,
    opened: Opened | None = None,
) -> Campaign:
    """Measure the sweep in a file on the hosts of a cluster, and store it as a campaign; returns how it ended.

    `address` is `ray://HOST:PORT`, `HOST:PORT`, `auto` (the cluster of this host) or `local` (start one here). `how`,
    which is `each` or `split`, and `every_host` say which hosts measure what. `where` are labels that a host must have,
    and `devices` is the kind of device, `cpu` or `cuda`. A shard whose host is lost waits `patience_s` seconds for it.
    `insecure` uses a cluster beyond this host even where Ray asks for no token. `db` is a path or an SQLAlchemy URL.

    `beginning` is called with the campaign's id before it is stored, and `begun` with the campaign before anything is
    measured. `opened` is another engine than Ray's. Raises SweepError for mistakes in the file, and RequestError where
    no host can measure it, or where the cluster is open to everybody. On KeyboardInterrupt it interrupts all shards,
    keeps what they measured, and raises again.
    """
    from convbench.store import Store, new_campaign_id

    if how not in list(How):
        raise RequestError(f"how {how!r}: expected {' or '.join(How)}")
    listener, way = listener or FleetListener(), How(how)
    sweep, plan = planned(Path(config))
    if not plan.cases:
        raise nothing_left(sweep.path, plan)
    _refuse_secrets(sweep)
    kind = device_kind(plan.cases, devices)
    modules = _modules(plan.cases)
    with _engine(opened, address, insecure, modules, listener) as fleet, Store.create(db) as store:
        there = fleet.hosts()
        stored = store.runs()
        slow = frozenset(name for name in {each.host for each in there} if slowdown(stored, store, host=name))
        wanted = Wanted(how=way, where=tuple(where), device=kind, every_host=every_host, avoided=slow)
        at = chosen(there, wanted)
        used = {each.host for each in at}
        for host in sorted(slow):
            done = "" if host in used else ", and is passed over: --all-hosts takes it"
            listener.message(f"host {host} was slower in its last run than its own history allows{done}")
        controls: tuple[str, ...] = ()
        if way is How.SPLIT:
            shards, controls = shared_out(plan.cases, _seconds(sweep, plan, store), at)
        else:
            shards = whole_sweep(at)
        now = datetime.now(UTC)
        campaign = Campaign(
            id=new_campaign_id(now),
            name=sweep.name,
            how=way,
            source=sweep.source,
            started_at=now.isoformat(),
            finished_at=None,
            state=CampaignState.RUNNING,
            controls=controls,
            shards=shards,
        )
        home = _home(store, campaign, plan)
        beginning(campaign.id)
        home.begin(campaign)
        begun(campaign)
        return _conducted(campaign, sweep, home, fleet, modules, patience_s, db, listener)


def resume(
    ref: str = "latest",
    *,
    address: str = "auto",
    patience_s: float = PATIENCE_S,
    insecure: bool = False,
    db: str | None = None,
    listener: FleetListener | None = None,
    begun: Callable[[Campaign], None] = lambda campaign: None,
    opened: Opened | None = None,
) -> Campaign:
    """Go on with an interrupted campaign: shards that have not finished go on where they were; returns how it ended.

    `ref` is its id or the beginning of it, or `latest`. Raises the errors of `run`, and StoreError where the campaign
    is finished or another process conducts it.
    """
    from convbench.store import Store

    listener = listener or FleetListener()
    with Store.open(db) as store:
        stored = store.campaign(ref)
    if stored.state is CampaignState.FINISHED:
        raise RequestError(f"campaign {stored.id} is finished", hint="`convbench fleet run CONFIG` begins another one")
    sweep, plan = with_plan(parse(stored.source, stored.name))
    _refuse_secrets(sweep)
    modules = _modules(plan.cases)
    with _engine(opened, address, insecure, modules, listener) as fleet, Store.change(db) as store:
        home = _home(store, stored, plan)
        campaign = store.take_over_campaign(stored.id, home.writer)
        begun(campaign)
        return _conducted(campaign, sweep, home, fleet, modules, patience_s, db, listener)


def campaigns(ref: str | None = None, *, db: str | None = None) -> list[Campaign]:
    """The campaign that `ref` names, or all, newest first. Raises RunNotFoundError where there is no such campaign."""
    from convbench.store import Store

    with Store.open(db) as store:
        return store.campaigns() if ref is None else [store.campaign(ref)]


def _conducted(
    campaign: Campaign,
    sweep: sweeps.Sweep,
    home: Home,
    fleet: Fleet,
    modules: Path | None,
    patience_s: float,
    db: str | None,
    listener: FleetListener,
) -> Campaign:
    on_server = Place.of(db or DEFAULT).path is None
    work = Work(source=sweep.source, path=sweep.path, db=db if on_server else None, with_modules=modules is not None)
    caller = Caller(
        campaign=campaign,
        work=work,
        fleet=fleet,
        home=home,
        listener=listener,
        patience_s=patience_s,
        remark=partial(_remark, home.store),
    )
    found = caller.run()
    if found.how is How.SPLIT and any(shard.run_ids for shard in found.shards):
        for split in gathered(home.store, found.id, checks=False).splits:
            listener.message(str(split))
    return found


def _home(store: Store, campaign: Campaign, plan: sweeps.Plan) -> Home:
    cases = {case.id: case for case in plan.cases}
    return Home(store=store, campaign_id=campaign.id, cases=cases, rejections=plan.rejections, git=checkout())


@contextmanager
def _engine(
    opened: Opened | None, address: str, insecure: bool, modules: Path | None, listener: FleetListener
) -> Iterator[Fleet]:
    """The engine, which is closed at the end whatever happens."""
    if opened is None:
        from convbench.fleet.ray import RayFleet

        opened = RayFleet
    fleet = opened(address, insecure=insecure, modules=modules, message=listener.message)
    try:
        yield fleet
    finally:
        fleet.close()


def _refuse_secrets(sweep: sweeps.Sweep) -> None:
    """A sweep is sent to other hosts and stored with its campaign: it may hold no secret."""
    if sweep.secrets:
        names = ", ".join(name for name, _ in sweep.secrets)
        raise RequestError(
            f"{sweep.path}: a sweep with secrets ({names}) is not sent to hosts",
            hint="set these variables where the hosts' Ray is started, and name them in `env` without values",
        )


def _modules(cases: Iterable[Case]) -> Path | None:
    """The folder whose modules the hosts need: the current one, where a case is of a module of the user's."""
    return Path.cwd() if any(case.module not in OPERATORS for case in cases) else None


def _seconds(sweep: sweeps.Sweep, plan: sweeps.Plan, store: Store) -> dict[str, float]:
    """The forecast of each case, from the newest finished run of a sweep of this name, if there is one."""
    from convbench.measure.forecast import shares_s

    for run in store.runs():
        if run.name == sweep.name and run.state is RunState.FINISHED:
            return shares_s(plan.cases, sweep.measure, store.load(run.id, checks=False))
    return shares_s(plan.cases, sweep.measure)


def _remark(store: Store, shard: Shard) -> str | None:
    """What to say of the host of a shard that has finished, where it was slower than its history allows."""
    found = slowdown(store.runs(), store, run_id=shard.run_ids[-1])
    return None if found is None else str(found)
