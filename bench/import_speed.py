"""How long `convbench import` takes for a long log, and how much memory it needs: seconds and peak MB of its process.

python bench/import_speed.py [MB]        1,024 by default: a log of oneDNN that goes through a pipe, half of it reorders
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

#: Different layers in the log.
LAYERS = 60
TENSORS = "src:f32:a:blocked:abcd::f0 wei:f32:a:blocked:Acdb8a::f0 bia:f32:a:blocked:a::f0 dst:f32:a:blocked:aBcd8b::f0"
CALL = (
    f"onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx2,forward_training,{TENSORS},attr-scratchpad:user,"
    "alg:convolution_direct,mb2_ic{channels}oc8_ih32oh16kh3sh2dh0ph1_iw32ow16kw3sw2dw0pw1,0.{time:03}\n"
)
REORDER = (
    "onednn_verbose,v1,primitive,exec,cpu,reorder,jit:blk,undef,src:f32::blocked:abcd::f0 dst:f32::blocked:aBcd8b::f0,"
    "attr-scratchpad:user,,2x16x64x64,0.5\n"
)


def piece(start: int) -> bytes:
    """A thousand calls and as many reorders."""
    calls = (CALL.format(channels=1 + (start + at) % LAYERS, time=at) for at in range(1000))
    return "".join(call + REORDER for call in calls).encode()


def main() -> None:
    left = int(sys.argv[1] if len(sys.argv) > 1 else 1024) * 2**20
    pieces = [piece(start * 1000) for start in range(LAYERS)]
    begin = time.perf_counter()
    command = [sys.executable, "-m", "convbench", "import", "-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin is not None
    number = 0
    while left > 0:
        written = pieces[number % LAYERS]
        process.stdin.write(written)
        left -= len(written)
        number += 1
    process.stdin.close()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    print(f"{number * 1000:,} calls: {seconds:.1f} s, {cpu:.1f} s of one core, {peak:.0f} MB, exit code {status >> 8}")


if __name__ == "__main__":
    main()
