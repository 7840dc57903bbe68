"""Whether anything is lost, or there twice, when the service is killed again and again in the middle of its work.

`python bench/serve_kills.py [KILLS] [SEED]` starts `convbench serve` on an empty database, and kills it (SIGKILL) at 20
random moments. Meanwhile a client submits jobs, another one pushes runs, and schedules become due. Then a last service
does what is left. The script prints a row for each check, and ends with 1 where one fails.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import kills

KILLS, SEED = 20, 1


def main(number: int, seed: int) -> int:
    with tempfile.TemporaryDirectory() as name:
        found = kills.killed(Path(name), number, seed)
    print("| check | found |\n|---|---|")
    for check, wrong in found.wrong.items():
        print(f"| {check} | {'; '.join(wrong[:3]) or 'yes'} |")
    print(f"\nA job was running at {found.interrupted} of {number} kills, seed {seed}.")
    return 1 if any(found.wrong.values()) else 0


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*given, *(KILLS, SEED)[len(given) :]))
