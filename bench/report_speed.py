"""How large a report is, how long writing it takes, and how soon a reader can use it in Chromium.

    python bench/report_speed.py [CASES ...]        1,000, 10,000 and 100,000 by default, made up; 25 blocks each

Every block has its own noise, since equal numbers would compress to nothing. `written` is the time to make the page
from a run in memory, with the peak memory of that process. `usable` counts from the navigation until table, controls
and links work. `filter` counts from a key in the search box until the table shows what is left. Both are the best and
the median of five. Beside other work the medians say little, so the script prints the load first.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import synthetic
from browser import started

from convbench import units
from convbench.model.result import BLOCK_LAYOUTS, LAYOUT, ProcessFacts, Result, Roof, RoofKind, Run

#: Cases -> bytes, seconds to write, seconds until usable, seconds for a filter: what was asked for.
ASKED = {
    1_000: (5e6, None, 2.0, 0.3),
    10_000: (9e6, 6.0, 2.0, 0.3),
    100_000: (40e6, 60.0, 8.0, None),
}
REPEATS = 5
_COLUMN = {name: place for place, name in enumerate(BLOCK_LAYOUTS[LAYOUT])}

FILTER = """async (words) => {
    const box = document.querySelector(".dt-search input");
    const info = () => document.querySelector(".dt-info").textContent;
    const before = info();
    const start = performance.now();
    box.value = words;
    box.dispatchEvent(new Event("input", { bubbles: true }));
    box.dispatchEvent(new Event("keyup", { bubbles: true }));
    while (info() === before) await new Promise((resolve) => requestAnimationFrame(resolve));
    return (performance.now() - start) / 1000;
}"""


def noisy(run: Run) -> Run:
    """The run with other noise in every block, roofs, and the figures that are measured beside a case."""
    chance = np.random.default_rng(0)
    results = []
    for result in run.results:
        parts = []
        for layout, packed in result.blocks:
            rows = np.frombuffer(packed, dtype="<f4").reshape(-1, len(_COLUMN)).copy()
            slower = 1 + chance.exponential(0.02, len(rows)).astype("<f4")
            for name in ("minimum_s", "median_s", "p95_s", "compute_probe_s"):
                rows[:, _COLUMN[name]] *= slower * (1 + chance.exponential(0.005, len(rows)).astype("<f4"))
            rows[:, _COLUMN["start_s"]] += chance.uniform(0, 900, len(rows)).astype("<f4")
            parts.append((layout, rows.tobytes()))
        results.append(_measured(result, tuple(parts), chance))
    common = {"device": "cpu", "threads": 1, "source": "made up"}
    roofs = (
        *(Roof(kind=RoofKind.COMPUTE, rate=rate, dtype=dtype, **common) for dtype, rate in _RATES.items()),
        *(Roof(kind=RoofKind.BANDWIDTH, rate=4e10, footprint_bytes=2**size, **common) for size in range(15, 28)),
    )
    return replace(run, results=tuple(results), processes=(ProcessFacts(process_index=0, seconds=900.0, roofs=roofs),))


_RATES = {"float32": 1e11, "bfloat16": 2e11}


def _measured(result: Result, blocks: tuple[tuple[int, bytes], ...], chance: np.random.Generator) -> Result:
    if not blocks:
        return result
    return replace(
        result,
        blocks=blocks,
        system_blocks=blocks[:1],
        facts=replace(
            result.facts,
            first_call_s=float(chance.uniform(1e-4, 1e-2)),
            peak_bytes=int(chance.integers(0, 2**24)),
            reorder_share=float(chance.uniform(0, 0.3)),
        ),
    )


def write(cases: int, path: Path) -> None:
    """Write a report and print what it cost; a process of its own, so that its peak is its own."""
    from convbench.report.pages import run as page

    run = noisy(synthetic.run(cases))
    before = time.perf_counter()
    html = page.render(run)
    path.write_text(html, encoding="utf-8")
    took = time.perf_counter() - before
    print(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def opened(path: Path) -> tuple[list[float], list[float]]:
    """Seconds until the page can be used, and for filters, one of each per fresh page."""
    usable, filters = [], []
    with started() as browser:
        for words in ("bfloat16", "k32 3x3", "backward", "channels_last s2", "n8 c64")[:REPEATS]:
            context = browser.new_context(viewport={"width": 1440, "height": 900})
            page = context.new_page()
            before = time.perf_counter()
            page.goto(path.as_uri())
            page.wait_for_selector("html[data-ready]", timeout=120_000)
            usable.append(time.perf_counter() - before)
            page.wait_for_timeout(1500)  # what the browser draws when idle is not the filter's
            filters.append(page.evaluate(FILTER, words))
            context.close()
    return usable, filters


def told(value: float, asked: float | None, text: str) -> str:
    """A figure beside what was asked of it."""
    return text if asked is None else f"{text} ({'within' if value <= asked else 'OVER'} {asked:g})"


def main() -> None:
    if sys.argv[1:2] == ["--write"]:
        write(int(sys.argv[2]), Path(sys.argv[3]))
        return
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; sizes in MB, times in s")
    for cases in [int(text) for text in sys.argv[1:]] or list(ASKED):
        size_asked, write_asked, usable_asked, filter_asked = ASKED.get(cases, (None, None, None, None))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "report.html")
            command = [sys.executable, __file__, "--write", str(cases), str(path)]
            done = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            took, peak, size = float(done[0]), float(done[1]), path.stat().st_size
            usable, filters = opened(path)
        size_told = told(size / 1e6, size_asked and size_asked / 1e6, f"{size / 1e6:.1f} MB")
        write_told = told(took, write_asked, f"{took:.1f} s")
        usable_told = told(statistics.median(usable), usable_asked, f"{statistics.median(usable):.1f} s")
        filter_told = told(statistics.median(filters), filter_asked, f"{statistics.median(filters):.2f} s")
        print(f"{units.plural(cases, 'case')}: {size_told}, written in {write_told} with {units.size(peak)} of memory")
        print(f"    usable {min(usable):.1f} to {usable_told}, filter {min(filters):.2f} to {filter_told}", flush=True)


if __name__ == "__main__":
    main()
