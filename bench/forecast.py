"""How well `convbench plan` forecasts a run's time from a stored run of the machine: within a third.

    python bench/forecast.py [DATABASE]        default: reports/convbench.db

For every ordered pair of finished runs of one host in the database, it forecasts the second one's time from the first.
Run two or more different sweeps into the database before.
"""

from __future__ import annotations

import sys
from datetime import datetime

from convbench.measure.forecast import forecast_s
from convbench.model.result import Run, RunState
from convbench.store import Store


def main() -> None:
    with Store.open(sys.argv[1] if len(sys.argv) > 1 else None) as store:
        summaries = [run for run in store.runs() if run.state is RunState.FINISHED]
        runs = [store.load(run.id) for run in reversed(summaries)]
    for known in runs:
        for new in runs:
            if new.environment.hostname == known.environment.hostname:
                foretold = forecast_s([result.case for result in new.results], new.measure, known)
                told = "nothing" if foretold is None else f"{foretold:6.1f} s, {foretold / took_s(new) - 1:+.0%}"
                print(f"{new.name} took {took_s(new):6.1f} s; from {known.name} ({known.id}): {told}")


def took_s(run: Run) -> float:
    """Wall seconds of a run from the moment its first worker was up, plus that worker's start."""
    assert run.finished_at is not None
    first_worker_s = 2.0
    return (
        datetime.fromisoformat(run.finished_at) - datetime.fromisoformat(run.started_at)
    ).total_seconds() + first_worker_s


if __name__ == "__main__":
    main()
