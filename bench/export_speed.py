"""How long `convbench export --format csv` takes: the whole process, from its start to the last byte of the file.

python bench/export_speed.py [CASES]        10,000 by default, made up; 5 visits of 5 blocks each
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import synthetic

from convbench import units
from convbench.model.result import Run, RunState, StopReason, Visit
from convbench.store import Store, Writer

REPEATS = 7


def store(run: Run, path: Path) -> None:
    """Write a made-up run as a real one is written: what ran comes with the first process, why it ended with the last.

    Every check found an error of its own, since equal ones would be read faster.
    """
    cases = [result.case for result in run.results]
    visits = [
        Visit(
            case_id=result.case.id,
            process_index=process_index,
            status=result.status,
            facts=replace(
                result.facts,
                check=replace(result.facts.check, max_error=place / len(cases))
                if result.facts.check and process_index == 0
                else None,
                implementation=result.facts.implementation if process_index == 0 else None,
            ),
            blocks=packed,
            stop_reason=result.stop_reason if process_index == len(result.blocks) - 1 else StopReason.UNFINISHED,
        )
        for place, result in enumerate(run.results)
        for process_index, (_, packed) in enumerate(result.blocks)
    ]
    with Store.create(str(path)) as database:
        database.begin(run, cases, run.rejections, Writer.of_this_process(), digest="made up")
        database.append(run.id, visits)
        database.finish(run.id, RunState.FINISHED, run.started_at)


def main() -> None:
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        database, target = Path(folder, "runs.db"), Path(folder, "run.csv")
        store(synthetic.run(cases, troubles=False), database)
        command = [sys.executable, "-m", "convbench", "export", "latest", "--db", str(database), "-o", str(target)]
        took = []
        for _ in range(REPEATS):
            before = time.perf_counter()
            subprocess.run(command, check=True)
            took.append(time.perf_counter() - before)
        size = target.stat().st_size
    print(f"{units.plural(cases, 'case')} to a CSV of {units.size(size)}, whole process: ", end="")
    print(f"{units.seconds(min(took))} at best, {units.seconds(sorted(took)[REPEATS // 2])} in the median of {REPEATS}")


if __name__ == "__main__":
    main()
