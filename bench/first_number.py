"""How soon `convbench time` shows a first number of one layer, and answers which of two settings is faster.

    python bench/first_number.py [TIMES]        default: 5

Each time runs on a terminal (a pseudo-terminal), in an empty folder. The first row has the seconds from the start of
the command to the first floor on the screen, for one layer, forward and backward. The second has the seconds to its end
for two dtypes, each in both directions. Beside them, in turn, are the seconds that a script takes which does the same
with torch.utils.benchmark's Timer, its imports included. It checks no result and has no interval. Last come what was
measured and how many cases settled.
"""

from __future__ import annotations

import os
import pty
import re
import select
import statistics
import subprocess
import sys
import tempfile
import time

from table import show_table

LAYER = ("64", "64", "--kernel-size", "3", "--padding", "1", "--input-size", "56")
TYPES = ("--dtype", "float32", "--dtype", "bfloat16")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
FLOOR = re.compile(r"^ *\d\S* [num]?s  ", re.MULTILINE)
SETTLED = re.compile(r"(\d+) of (\d+) cases? did not settle")
FASTER = re.compile(r"^\w+: (?:\w+ ran .* faster|no difference).*$", re.MULTILINE)
#: The same layer timed by torch's Timer; the dtypes are its arguments.
PEER = """
import sys, torch
from torch.utils.benchmark import Timer
for name in sys.argv[1:]:
    layer = torch.nn.Conv2d(64, 64, 3, padding=1).to(getattr(torch, name))
    x = torch.randn(1, 64, 56, 56, dtype=getattr(torch, name), requires_grad=True)
    y = layer(x); dy = torch.ones_like(y)
    for statement in ("layer(x)", "torch.autograd.grad(y, (x, *layer.parameters()), dy, retain_graph=True)"):
        measured = Timer(statement, globals=globals()).blocked_autorange(min_run_time=0.5)
        print(name, statement[:5], measured.median, flush=True)
"""


def on_terminal(arguments: tuple[str, ...]) -> tuple[float, float, str]:
    """The seconds to the first floor on the screen and to the end of `convbench time`, and the text at the end."""
    ours, theirs = pty.openpty()
    variables = {**os.environ, "COLUMNS": "120", "TERM": "xterm-256color"}
    with tempfile.TemporaryDirectory() as folder:
        began, first, text = time.perf_counter(), 0.0, ""
        process = subprocess.Popen(
            [sys.executable, "-m", "convbench", "time", *arguments],
            cwd=folder, env=variables, stdin=theirs, stdout=theirs, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        while True:
            select.select([ours], [], [])
            try:
                text += os.read(ours, 1 << 16).decode(errors="replace")
            except OSError:  # the command has ended
                break
            if not first and FLOOR.search(CONTROL.sub("", text.replace("\r", ""))):
                first = time.perf_counter() - began
        os.close(ours)
        assert process.wait() == 0, text
    return first, time.perf_counter() - began, CONTROL.sub("", text.replace("\r", "")).rpartition("every case: ")[2]


def peer(dtypes: tuple[str, ...]) -> tuple[float, float]:
    """The seconds to the first line and to the end of the script that uses torch's Timer."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", PEER, *dtypes], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline()
    first = time.perf_counter() - began
    process.communicate()
    return first, time.perf_counter() - began


def main() -> None:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rows: dict[str, list[float]] = {
        "first number": [], "first number, Timer": [], "two settings": [], "two settings, Timer": []
    }  # fmt: skip
    unsettled, cases, text = 0, 0, ""
    for _ in range(times):
        rows["first number"].append(on_terminal(LAYER)[0])
        rows["first number, Timer"].append(peer(("float32",))[0])
        _, end, text = on_terminal((*LAYER, *TYPES))
        rows["two settings"].append(end)
        rows["two settings, Timer"].append(peer(("float32", "bfloat16"))[1])
        found = SETTLED.search(text)
        unsettled, cases = unsettled + (int(found[1]) if found else 0), cases + 4
    cells = [[name, *(f"{f(some):.1f}" for f in (statistics.median, min, max))] for name, some in rows.items()]
    show_table(["seconds to", "median", "lowest", "highest"], cells, markdown=True)
    print(f"{cases - unsettled} of {cases} cases settled; the last answer:")
    print("\n".join(FASTER.findall(text)))
    print(f"load: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
