"""Whether made-up requests make a fault of the service: schemathesis with docs/openapi.json and all of its checks.

`python bench/fuzz_service.py [EXAMPLES] [SEED]` starts `convbench serve` on a made-up database in a temporary folder.
It sends up to 40 requests to each operation, which are more than 2,000 in all, and prints what failed. It ends with 1
where a check failed, and where the service logged a fault.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import fuzzing
from serving import serving

EXAMPLES, SEED = 40, 1
PHASES = "examples,coverage,fuzzing,stateful"


def main(examples: int, seed: int) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stored = fuzzing.filled(folder / "runs.db")
        with serving(folder, log=folder / "log") as (address, process):
            found = fuzzing.fuzz(address, stored, folder, examples=examples, seed=seed, phases=PHASES)
            has_ended = process.poll() is not None
        faults = [line for line in (folder / "log").read_text().splitlines() if '"level": "error"' in line]
    print(f"{found.requests} requests to {found.operations} operations, seed {seed}")
    print(found.failures or "no check failed", *faults, sep="\n")
    print("the service has ended" if has_ended else f"the service lives, its log has {len(faults)} faults")
    return 1 if found.failures or has_ended or faults else 0


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*given, *(EXAMPLES, SEED)[len(given) :]))
