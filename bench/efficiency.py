"""The share of a run's wall time, after torch's imports, that is spent in timed blocks and their warm-up: 80 % or more.

    python bench/efficiency.py [CONFIG]        default: configs/sweep.yaml

It runs the sweep, reports included, into a database of its own. The clock starts when the first worker is ready. The
time that the run waits for later workers is subtracted, since convbench cannot make the import of torch faster.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from convbench.actions import measure, read
from convbench.conduct.listening import Begun, Listener
from convbench.conduct.processes import Progress


@dataclass
class Clock:
    begun: float = 0.0
    start_s_before: float | None = None
    last: Progress | None = None

    def listener(self, db: str, folder: Path) -> Listener:
        def begun(what: Begun) -> None:
            self.begun = time.monotonic()

        def progressed(progress: Progress) -> None:
            if self.start_s_before is None:
                self.start_s_before = progress.start_s
            self.last = progress

        def report(run_id: str, process_index: int) -> None:
            read.load(run_id, db=db).write_report(folder)

        return Listener(begun=begun, progressed=progressed, process_finished=report)


def main() -> None:
    config = sys.argv[1] if len(sys.argv) > 1 else "configs/sweep.yaml"
    whole = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        clock, db = Clock(), str(Path(folder) / "bench.db")
        measured = measure.run(config, db=db, listener=clock.listener(db, Path(folder)))
        wall_s = time.monotonic() - clock.begun
    assert clock.last is not None
    assert clock.start_s_before is not None
    waited_s = clock.last.start_s - clock.start_s_before
    busy_s = clock.last.busy_s
    print(f"{config}: {len(measured.run.results)} cases, whole run {time.monotonic() - whole:.1f} s")
    print(f"after the first worker was ready: {wall_s:.1f} s, of which waiting for later workers {waited_s:.1f} s")
    print(f"in blocks and warm-up: {busy_s:.1f} s = {busy_s / (wall_s - waited_s):.1%} of the rest")


if __name__ == "__main__":
    main()
