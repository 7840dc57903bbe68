"""`python piped_worker.py HOW`: a worker without torch behind real pipes.

Its answers are the fake one's; its misdeeds are real: one a layer, which is told by its in_channels.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fake_engine import FakeEngine, FakeTransport

GOOD, KILLED, EXITS, HANGS, FLOODS = range(1, 6)
#: What is said in the place of an answer, by the layer.
SAYS = {
    10: "no json",
    11: "[1]",
    12: "{}",
    13: '{"status": "no status"}',
    14: "7",
    15: '{"status": 1}',
    16: '{"status": "passed"}',
}


def main() -> None:
    """Answer until the conductor closes the pipe."""
    if sys.argv[1] == "dies":
        print("no torch here", file=sys.stderr, flush=True)
        sys.exit(3)
    if sys.argv[1] == "silent":
        time.sleep(600)
    transport = FakeTransport(FakeEngine(), 1)
    print('{"status": "passed"}', flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        answer = json.dumps(transport.request(message, deadline_s=1.0))
        if message["op"] == "block":
            misbehave(message["key"])
            answer = SAYS.get(message["key"], answer)
        print(answer, flush=True)


def misbehave(layer: int) -> None:
    """What a layer of this name does to its worker."""
    if layer == KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    if layer == EXITS:
        print("last words", file=sys.stderr, flush=True)
        os._exit(3)
    while layer == HANGS:
        time.sleep(60)
    while layer == FLOODS:
        print("x" * 65536, end="")


if __name__ == "__main__":
    main()
