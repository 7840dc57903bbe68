"""Whether a host was slower in a stored run than its own earlier runs allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convbench import units
from convbench.model.result import RunState, RunSummary

if TYPE_CHECKING:
    from convbench.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Slowdown:
    """`ratio` is how many times as long as in the slowest of `runs` earlier runs the reference layers took."""

    ratio: float
    runs: int

    def __str__(self) -> str:
        """A sentence's end: what was slower, and what that means."""
        return (
            f"reference layers took {self.ratio:.2f} times as long as in the slowest of the host's"
            f" {units.plural(self.runs, 'earlier run')}: its times are beyond its own history"
        )


def slowdown(
    runs: Sequence[RunSummary], store: Store, *, host: str | None = None, run_id: str | None = None
) -> Slowdown | None:
    """How much slower a host was in the run, or in the newest finished run of `host`, than in its earlier ones.

    `runs` are all of the store's, newest first. None where its own history allows it, or where it has none.
    """
    from convbench.analysis.history import hosts

    finished = [run for run in runs if run.state is RunState.FINISHED]
    asked = next((run for run in finished if run.id == run_id or (run_id is None and run.host == host)), None)
    if asked is None:
        return None
    alike = [run for run in finished if (run.host, run.cpu, run.torch) == (asked.host, asked.cpu, asked.torch)]
    earlier = [run.id for run in alike if run.started_at < asked.started_at][: hosts.MOST_RUNS]
    if len(earlier) < hosts.FEWEST_RUNS:
        return None
    known = store.processes([asked.id, *earlier])
    found = hosts.slowdown(known.get(asked.id, ()), [known.get(each, ()) for each in earlier])
    return None if found is None else Slowdown(ratio=found, runs=len(earlier))
