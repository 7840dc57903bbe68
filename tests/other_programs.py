"""What other programs write about convolutions, one short file of each format, for the tests of their readers."""

from __future__ import annotations

import json
from typing import Any

SIZES = "mb2_ic3oc8_ih32oh16kh3sh2dh0ph1_iw32ow16kw3sw2dw0pw1"
OLD = "src_f32::blocked:abcd:f0 wei_f32::blocked:Acdb8a:f0 bia_f32::blocked:a:f0 dst_f32::blocked:aBcd8b:f0"
V0 = OLD.replace("::blocked", ":a:blocked")
V1 = V0.replace("_f32:", ":f32:")
REST = f"jit:avx2,forward_training,{{}},,alg:convolution_direct,{SIZES},0.0625"
DIALECTS = {
    "1.6": f"dnnl_verbose,exec,cpu,convolution,{REST.format(OLD)}",
    "2.0 with times": f"dnnl_verbose,1607393646348.667969,exec,cpu,convolution,{REST.format(OLD)}",
    "3.1": f"onednn_verbose,exec,cpu,convolution,{REST.format(OLD)}",
    "3.3": f"onednn_verbose,primitive,exec,cpu,convolution,{REST.format(V0)}",
    "3.3 with times": f"onednn_verbose,1691157318098.3,primitive,exec,cpu,convolution,{REST.format(V0)}",
    "v0": f"onednn_verbose,v0,primitive,exec,cpu,convolution,{REST.format(V0)}",
    "v1": f"onednn_verbose,v1,primitive,exec,gpu:0,convolution,{REST.format(V1)}",
    "v1 with times": f"onednn_verbose,v1,1795986941794.873047,primitive,exec,cpu,convolution,{REST.format(V1)}",
}

MIOPEN_DRIVER = (
    "MIOpen(HIP): Command [LogCmdConvolution] MIOpenDriver.exe convbfp16 -n 32 -c 64 -H 56 -W 40 -k 128 -y 3 -x 5 "
    "-p 1 -q 2 -u 2 -v 1 -l 1 -j 1 --in_layout NHWC --fil_layout NHWC --out_layout NHWC -m conv -g 2 -F 1 -t 1"
)

FIND_DB_REST = "32-1x2-2x1-1x1-0-NCHW-FP16"
#: A line for one layer: 56x40 gives 28x40 with padding 1x2 and a kernel of 3x5.
FIND_DB = f"64-56-40-3x5-128-28-40-{FIND_DB_REST}-F=ConvAsm:0.5,0,algo;ConvHip:0.125,4096,algo"

EVENT: dict[str, Any] = {
    "ph": "X",
    "cat": "cpu_op",
    "name": "aten::convolution",
    "dur": 1500.0,
    "args": {
        "Input Dims": [[2, 4, 9, 8], [6, 4, 3, 3], [6], [], [], [], [], [], []],
        "Input type": ["float", "float", "float", *["ScalarList"] * 3, "Scalar", "ScalarList", "Scalar"],
        "Input Strides": [[288, 72, 8, 1], [36, 9, 3, 1], [1], [], [], [], [], [], []],
        "Concrete Inputs": ["", "", "", "[1, 2]", "[1]", "[1, 1]", "False", "[0, 0]", "1"],
    },
}


def trace(*events: object, **rest: object) -> str:
    return json.dumps({"schemaVersion": 1, "deviceProperties": [], "traceEvents": list(events), **rest})


OPERATOR_INPUTS = (
    "cnt: 3, ((T([8, 64, 28, 30], f16), T([32, 16, 3, 3], f16), None, [2, 2], [1, 1], [1, 1], False, [0, 0], 4), {})"
)


def operator_log(*lines: str, operator: str = "aten.convolution.default") -> str:
    return "\n".join(["Operator: aten.add.Tensor", "cnt: 9, ((T([2], f16), 1), {})", f"Operator: {operator}", *lines])


class Repeated:
    """A file of one line repeated many times, made while it is read."""

    def __init__(self, line: bytes, times: int) -> None:
        self._line, self._left = line, len(line) * times
        self.largest = 0

    def read(self, size: int) -> bytes:
        self.largest = max(self.largest, size)
        size = min(size, self._left)
        begin = -self._left % len(self._line)
        self._left -= size
        return (self._line * (size // len(self._line) + 2))[begin : begin + size]
