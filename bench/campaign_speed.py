"""How long a campaign takes to show: machines side by side, findings, text and page, by machines and cases.

    python bench/campaign_speed.py [MACHINESxCASES ...]     3x1000, 10x1000 and 3x10000 by default, made up

Each case has 25 blocks. `view` examines every machine's run, as its own report does. `rank` compares the machines case
by case, and `rest` makes findings and text. `page` makes the page, whose size stands behind it. Each size runs in a
process of its own. Its peak memory is the last figure. Beside other work the times say little, so the script prints the
load first.
"""

from __future__ import annotations

import itertools
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import campaigns
import synthetic

from convbench import units
from convbench.analysis.campaign.findings import campaign_findings
from convbench.analysis.campaign.view import view
from convbench.report.pages.campaign import render
from convbench.report.text.campaign import campaign_text

SIZES = ("3x1000", "10x1000", "3x10000")


def measured(machines: int, cases: int) -> str:
    """The line of one size."""
    runs = []
    for number in range(machines):
        made = synthetic.run(cases, hostile=False, troubles=False, seed=number)
        environment = replace(campaigns.EPYC, hostname=f"host-{number}", cores=number + 1)
        processes = campaigns.run(environment, ()).processes
        runs.append((replace(made, id=f"run-{number}", environment=environment, processes=processes), ("host",)))
    times = [time.perf_counter()]
    seen = view(runs, name="made up")
    times.append(time.perf_counter())
    assert len(seen.ranking.best) == cases
    times.append(time.perf_counter())
    found = campaign_findings(seen)
    campaign_text(seen, found)
    times.append(time.perf_counter())
    page = render(seen, found=found)
    times.append(time.perf_counter())
    taken = [after - before for before, after in itertools.pairwise(times)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    figures = "  ".join(
        f"{name} {units.seconds(value)}" for name, value in zip(("view", "rank", "rest", "page"), taken, strict=True)
    )
    return f"{machines:3} machines of {cases:,} cases: {figures}  {units.size(len(page))}  peak {units.size(peak)}"


def main() -> None:
    """Measure each size in a process of its own."""
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for size in sys.argv[1:] or SIZES:
        subprocess.run([sys.executable, __file__, "--one", size], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(measured(*map(int, sys.argv[2].split("x"))), flush=True)
    else:
        main()
