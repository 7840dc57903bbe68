"""Whether messages survive the end of a service: it is killed at random moments while they are under way.

`python bench/notify_kills.py [KILLS]` starts `convbench serve` with a webhook on this machine. Again and again it asks
for 12 test messages and kills the service within a quarter of a second. It prints how many messages were made, how many
arrived, and how many more than once with their id. It also prints what an idle service then takes in 20 s. It fails
where a message was lost.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from receiver import AUTHORITY, receiving

KILLS, MESSAGES, IDLE_S, LAST_S = 8, 12, 20.0, 120.0


def started(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """A service in this folder that trusts the receiver, and its address."""
    words = (sys.executable, "-m", "convbench", "serve", "--port", "0", "--db", "runs.db")
    process = subprocess.Popen(
        [*words, "--allow-webhook-host", "localhost"],
        cwd=folder,
        env=os.environ | {"SSL_CERT_FILE": str(folder / "ca.pem")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found is not None
    return process, f"{found[0]}api/v1"


def ask(address: str, path: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data=data, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def idle(process: subprocess.Popen[str]) -> float:
    """The processor time of a service that does nothing, seconds."""
    watched = psutil.Process(process.pid)
    before = sum(watched.cpu_times()[:2])
    time.sleep(IDLE_S)
    return float(sum(watched.cpu_times()[:2]) - before)


def main(kills: int) -> None:
    ids: list[str] = []
    with tempfile.TemporaryDirectory() as name, receiving() as receiver:
        AUTHORITY.cert_pem.write_to_path(str(Path(name) / "ca.pem"))
        process, address = started(Path(name))
        channel = ask(address, "/channels", {"name": "team", "url": receiver.url})["id"]
        for _ in range(kills):
            ids += [ask(address, f"/channels/{channel}/test", {})["id"] for _ in range(MESSAGES)]
            time.sleep(random.random() / 4)
            process.kill()
            process.wait()
            process, address = started(Path(name))
        end = time.monotonic() + LAST_S
        while set(ids) - {headers["webhook-id"] for headers, _ in receiver.got} and time.monotonic() < end:
            time.sleep(1)
        idle_s = idle(process)
        process.terminate()
        process.wait()
    got = Counter(headers["webhook-id"] for headers, _ in receiver.got)
    twice = sum(number > 1 for number in got.values())
    print(f"{kills} kills: {len(ids)} messages made, {len(got)} arrived, {twice} of them more than once")
    print(f"an idle service took {idle_s:.2f} s of processor time in {IDLE_S:.0f} s")
    assert set(got) == set(ids), "a message was lost"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else KILLS)
