"""Reads campaigns: stored ones by their id, and the newest runs of a sweep on every machine by the sweep's name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convbench import sweep as sweeps
from convbench.errors import RequestError, RunNotFoundError
from convbench.model.campaign import Campaign, How, MachineRun
from convbench.model.nearest import did_you_mean
from convbench.model.result import Run, RunState
from convbench.store.files import write_bytes

if TYPE_CHECKING:
    from convbench.analysis.campaign.findings import CampaignFinding
    from convbench.analysis.campaign.gathering import Gathered
    from convbench.analysis.campaign.members import Member
    from convbench.analysis.campaign.view import CampaignView
    from convbench.store import Store

from convbench.actions.pages import REPORTS
from convbench.actions.slowness import slowdown

#: The id of a campaign, or its beginning.
_ID = re.compile(r"c\d{8}(?:-[\w-]*)?")
#: Endings of sweeps: the name in the file is the campaign's.
_SWEEPS = (".yaml", ".yml")


def campaign(
    ref: str, *, db: str | None = None, prices: Sequence[str] = (), all_hosts: bool = False, checks: bool = True
) -> CampaignView:
    """The campaign that `ref` names, with its machines side by side.

    `ref` is the id of a stored campaign or its beginning, the name of a sweep, or the sweep's file. A sweep's name
    means the newest finished run of each machine key. Where the newest of these runs is a stored campaign's, it means
    that campaign. With `all_hosts` it means the newest finished run of each host. `prices` are texts like `host=1.20`.
    Raises RunNotFoundError where nothing is stored, and RequestError for a wrong price, and for `all_hosts` of an id.
    """
    from convbench.analysis.campaign.costs import parsed_prices
    from convbench.analysis.campaign.view import view
    from convbench.store import Store

    paid = parsed_prices(prices)
    with Store.open(db) as store:
        found = gathered(store, ref, all_hosts=all_hosts, checks=checks)
    return view(found.runs, name=found.name, id=found.id, prices=paid, splits=found.splits, notes=found.notes)


def gathered(store: Store, ref: str, *, all_hosts: bool = False, checks: bool = True) -> Gathered:
    """The runs of the campaign that `ref` names, as for `campaign`. Without `checks` those of results are not read."""
    from convbench.analysis.campaign.gathering import newest, of_campaign, of_newest

    if is_id(ref):
        if all_hosts:
            raise RequestError(
                f"--all-hosts: campaign {ref} has the hosts that it was measured on", hint="name the sweep instead"
            )
        return of_campaign(*_with_runs(store, store.campaign(ref), checks=checks))
    name = sweeps.load(Path(ref)).name if ref.endswith(_SWEEPS) else ref
    runs, campaigns = store.machine_runs(name=name), store.campaigns()
    owner = {run_id: one for one in reversed(campaigns) for shard in one.shards for run_id in shard.run_ids}
    finished = [run for run in runs if run.state is RunState.FINISHED]
    if finished and finished[0].run_id in owner and not all_hosts:
        return of_campaign(*_with_runs(store, owner[finished[0].run_id], checks=checks))
    own = next((one for one in campaigns if one.name == name), None)
    if own is not None and not finished:
        return of_campaign(*_with_runs(store, own, checks=checks))
    whole = [run for run in finished if run.run_id not in owner or owner[run.run_id].how is How.EACH]
    chosen = newest(whole, all_hosts=all_hosts)
    if not chosen:
        raise _not_found(store, name, runs)
    summaries = store.runs()
    notes = [
        f"{run.host}: {slower}"
        for run in chosen
        if (slower := slowdown(summaries, store, run_id=run.run_id)) is not None
    ]
    return of_newest([store.load(run.run_id, checks=checks) for run in chosen], notes)


def is_id(ref: str) -> bool:
    """Whether `ref` is the id of a campaign or its beginning."""
    return _ID.fullmatch(ref) is not None


def members_of(ref: str, *, db: str | None = None) -> tuple[Member, ...]:
    """The machines of the campaign that `ref` names, as for `campaign`, with their runs."""
    from convbench.analysis.campaign.members import members
    from convbench.store import Store

    with Store.open(db) as store:
        return members(gathered(store, ref).runs)


def write_campaign(
    view: CampaignView, path: Path | None = None, *, found: Sequence[CampaignFinding] | None = None
) -> Path:
    """Write the page of a campaign atomically and return its path. The default path is in `reports/`.

    `found` are its findings where the caller has them. The page links to the reports of its runs that are in the same
    folder.
    """
    from convbench.report.pages import campaign as page
    from convbench.report.pages import run as run_page

    path = path or REPORTS / page.file_name(view)
    names = [run_page.file_name(run) for run in view.runs]
    beside = [name for name in names if (path.parent / name).is_file()]
    write_bytes(path, page.render(view, beside, found=found).encode())
    return path


def _with_runs(store: Store, found: Campaign, *, checks: bool) -> tuple[Campaign, dict[str, Run]]:
    """The campaign, and those of its runs that are stored, by id; RunNotFoundError where it has none."""
    stored = {run.run_id for run in store.machine_runs()}
    ids = [run_id for shard in found.shards for run_id in shard.run_ids if run_id in stored]
    if not ids:
        hint = f"`convbench fleet status {found.id}` says what its shards do"
        raise RunNotFoundError(f"no run of campaign {found.id} is stored in {store.place}", hint=hint)
    return found, {run_id: store.load(run_id, checks=checks) for run_id in ids}


def _not_found(store: Store, name: str, runs: Sequence[MachineRun]) -> RunNotFoundError:
    if runs:
        return RunNotFoundError(
            f"no run of {name!r} in {store.place} has finished", hint="`convbench run` goes on with an unfinished run"
        )
    names = list(dict.fromkeys(run.name for run in store.machine_runs()))
    known = f"stored are runs of {', '.join(names[:5])}" if names else "`convbench run CONFIG` measures one"
    return RunNotFoundError(
        f"no run of a sweep called {name!r} is stored in {store.place}", hint=did_you_mean(name, names) or known
    )
