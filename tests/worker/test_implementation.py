"""What ran, as oneDNN and the profiler tell it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from convbench.engine.client import spec
from convbench.model.case import Case, MemoryFormat
from convbench.model.problem import Direction, Problem
from convbench.worker import implementation as implementations
from convbench.worker.implementation import implementation, kernels_and_reorders, layout_share, short_name
from convbench.worker.layer import Layer
from convbench.worker.spec import Spec

REORDER = "onednn_verbose,v1,primitive,exec,cpu,reorder,jit:uni,undef,src:f32::blocked:abcd,,,8x64x28x28,1.5"
CONVOLUTION = (
    "onednn_verbose,v1,primitive,exec,cpu,convolution,brg_conv_fwd:avx512_core,forward_training,src,,alg,mb8,4.5"
)
CREATED = "onednn_verbose,v1,primitive,create:cache_miss,cpu,convolution,ref,forward_training,src,,alg,mb8,99.0"


def test_kernels_and_the_share_of_reorders_are_read_off_onednns_lines() -> None:
    kernels, share = kernels_and_reorders(["hello", REORDER, CREATED, CONVOLUTION, REORDER + "x"])
    assert kernels == ["brg_conv_fwd:avx512_core"]
    assert share == pytest.approx(1.5 / 6.0), "a time that is no number counts nothing"
    stamped = CONVOLUTION.replace("v1,primitive", "v1,1732501.25,primitive")
    assert kernels_and_reorders([stamped]) == (["brg_conv_fwd:avx512_core"], 0.0)


def test_without_a_line_nothing_is_known() -> None:
    assert kernels_and_reorders(["a layer that prints"]) == ([], None)


def test_a_kernels_name_is_what_a_person_can_read() -> None:
    assert (
        short_name("void cudnn::ops::nchwToNhwcKernel<float, float, float, false>(x)") == "cudnn::ops::nchwToNhwcKernel"
    )
    assert short_name("sm80_xmma_fprop_implicit_gemm_tf32f32") == "sm80_xmma_fprop_implicit_gemm_tf32f32"
    assert len(short_name("x" * 500)) == 80


@pytest.mark.parametrize("direction", Direction)
def test_a_layer_that_onednn_runs_is_named_by_it(direction: Direction) -> None:
    problem = Problem(in_channels=32, out_channels=32, kernel_size=(3, 3), input_size=(28, 28), batch_size=4)
    case = Case(problem=problem, direction=direction, memory_format=MemoryFormat.CHANNELS_LAST)
    layer = Layer(Spec.from_json(json.loads(json.dumps(spec(case, 0)))), torch.device("cpu"))
    ran = implementation(layer)
    assert ran.name.startswith("Mkldnn ")
    assert len(ran.name.split()) > 1
    assert ran.reorder_share is not None and 0 <= ran.reorder_share < 1


#: Names as profilers show them: cuDNN's, CUTLASS's, torch's own, MIOpen's.
TIMES = {
    "void cutlass_cudnn::Kernel<cutlass_tensorop_s1688fprop_optimized_tf32_128x64_nhwc>(Params)": 60.0,
    "void cudnn::ops::nchwToNhwcKernel<float, float, float, false>(Params)": 25.0,
    "void cudnn::ops::nhwcToNchwKernel<float, float, float>(Params)": 10.0,
    "void at::native::vectorized_elementwise_kernel<4, at::native::AddFunctor>(int)": 5.0,
}


@pytest.mark.parametrize(
    ("fourth", "is_inexact"),
    [
        ("miopenSp3AsmConv_v30_3_1_gfx9_fp32_f3x2_stride1", True),
        ("void cudnn::winograd_nonfused::winogradForwardFilter4x4<float, float>(Params)", True),
        ("_ampere_scudnn_winograd_128x128_ldg1_ldg4_relu_tile148t_nt_v1", True),
        ("void fft2d_r2c_32x32<float, false, 1u, false>(float2*)", True),
        ("ampere_cgemm_64x64_tn", True),
        ("void at::native::conv_depthwise2d_forward_kernel<3>(PackedTensorAccessor)", False),
    ],
)
def test_all_kernels_decide_whether_results_must_be_exact(
    fourth: str, is_inexact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = SimpleNamespace(device=torch.device("cuda"))
    layer = SimpleNamespace(operands=SimpleNamespace(x=x), spec=SimpleNamespace(is_torchs=False, execution="eager"))
    monkeypatch.setattr(implementations, "_profiled_times", lambda layer: {**TIMES, fourth: 0.5})
    ran = implementation(layer)
    assert ran.is_inexact == is_inexact
    assert fourth.split("<")[0] not in ran.name, "only the three longest are shown"
    assert "cutlass_cudnn::Kernel" in ran.name
    assert ran.reorder_share == pytest.approx(35 / 100.5)
    times = {**TIMES, fourth: 0.5}
    assert ran.kernels == "; ".join(sorted(times, key=lambda name: -times[name])), "all are stored, by full names"
    assert layout_share({}) is None
