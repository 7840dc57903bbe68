"""What names of implementations mean."""

from __future__ import annotations

import pytest

from convbench.report.glossary import meanings


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("Mkldnn", "hands the layer to oneDNN"),
        ("Slow2d", "im2col"),
        ("SlowDilated2d", "dilation"),
        ("CudaDepthwise2d", "depthwise"),
        ("Cudnn", "chooses an engine"),
        ("jit:avx512_core", "oneDNN's direct convolution"),
        ("jit:avx2", "vectors of 256 bits"),
        ("jit_bf16:avx512_core_bf16", "oneDNN's direct convolution"),
        ("jit_bf16_1x1:avx512_core_bf16", "1x1 kernels"),
        ("jit_uni_dw:avx512_core", "depthwise"),
        ("jit_wino:avx512_core", "Winograd"),
        ("brg_conv_fwd:avx512_core", "BRGEMM"),
        ("brgconv_1x1:avx512_core_amx", "matrix tiles (AMX)"),
        ("gemm:jit", "im2col"),
        ("ref:any", "many times slower"),
        ("simple:any", "reorder"),
        ("sm80_xmma_fprop_implicit_gemm_tf32f32_nhwckcrs", "implicit GEMM"),
        ("cudnn::winograd_nonfused::winogradForwardData4x4", "Winograd"),
        ("fft2d_r2c_32x32", "FFT"),
        ("cudnn::ops::nchwToNhwcKernel", "another layout"),
        ("void_gemv2T_kernel_val", "matrix product"),
    ],
)
def test_a_known_word_has_a_meaning(word: str, part: str) -> None:
    assert part in meanings(word)[word]


def test_each_known_word_of_a_name_has_its_own_meaning() -> None:
    found = meanings("Mkldnn jit:avx512_core mystery")
    assert list(found) == ["Mkldnn", "jit:avx512_core"] and all(text.endswith(".") for text in found.values())
    assert meanings("unknown") == {} and meanings("refined") == {}, "what is not known has no meaning"
