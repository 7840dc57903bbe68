"""Lists the machines that a database knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convbench.analysis.campaign.known import KnownMachine


def machines(*, db: str | None = None) -> tuple[KnownMachine, ...]:
    """Every machine key of the stored runs, the one with the newest run first. The newest runs give roofs and noise."""
    from convbench.analysis.campaign.known import known_machines, to_read
    from convbench.store import Store

    with Store.open(db) as store:
        runs = store.machine_runs()
        processes = store.processes([run.run_id for some in to_read(runs).values() for run in some])
    return known_machines(runs, processes)
