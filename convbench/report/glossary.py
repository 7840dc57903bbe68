"""What the name of an implementation means: torch's backends, oneDNN's kernels, cuDNN's engines. Pure.

A name has several words, as convbench.worker.implementation makes it: `Mkldnn jit:avx512_core`, `Slow2d`. Sources:
ATen's ConvBackend, oneDNN's developer guide, and the names of cuDNN's kernels.
"""

from __future__ import annotations

import re

#: torch's backends by their name, in lower case.
_BACKENDS = {
    "mkldnn": "torch hands the layer to oneDNN",
    "mkldnntranspose": "torch hands the layer to oneDNN",
    "mkldnnempty": "the batch is empty, so nothing is computed",
    "slow2d": "torch's own plain code: it copies the input into a matrix (im2col) and calls a matrix product of BLAS. "
    "It is what remains where oneDNN does not take the layer",
    "slow3d": "torch's own plain code for three dimensions: im2col and a matrix product of BLAS",
    "slownd": "torch's own plain code: im2col and a matrix product of BLAS",
    "slowdilated2d": "torch's own plain code for dilation: im2col and a matrix product of BLAS, image by image",
    "slowdilated3d": "torch's own plain code for dilation in three dimensions",
    "slowtranspose2d": "torch's own plain code for a transposed convolution",
    "nnpackspatial": "torch hands the layer to NNPACK, which works on small tiles by FFT or Winograd",
    "xnnpack2d": "torch hands the layer to XNNPACK, made for phones",
    "winograd3x3depthwise": "torch's own Winograd code for 3x3 depthwise layers on ARM",
    "cudadepthwise2d": "torch's own CUDA kernel for depthwise layers: one thread an output, without tensor cores",
    "cudnn": "torch hands the layer to cuDNN, which chooses an engine by heuristics, or by trials with cudnn_benchmark",
    "miopen": "torch hands the layer to MIOpen",
    "miopendepthwise": "torch hands the layer to MIOpen's depthwise kernels",
    "mps": "torch hands the layer to Apple's Metal kernels",
    "empty": "the batch is empty, so nothing is computed",
}
#: oneDNN's kernels: patterns for the part of the name before the colon. The first that fits counts.
_ONEDNN = (
    (
        r"ref",
        "oneDNN's reference code: plain loops, for checking, many times slower than generated code. No generated code "
        "takes these settings on this processor",
    ),
    (
        r"(jit|brg|brd).*(dw|gmm)",
        "oneDNN's generated code for depthwise layers: vectors over channels, limited by memory",
    ),
    (r".*wino", "oneDNN's Winograd code: fewer products, but less exact"),
    (r"brg.*1x1", "oneDNN's batch-reduced matrix product (BRGEMM) for 1x1 kernels"),
    (
        r"brg",
        "oneDNN's batch-reduced matrix product (BRGEMM) over tiles, generated while the program runs. It suits wide "
        "layers, and uses AMX where there is one",
    ),
    (r"jit.*1x1", "oneDNN's generated code for 1x1 kernels, which treats the layer as a matrix product"),
    (
        r"jit",
        "oneDNN's direct convolution, generated for this processor while the program runs. It keeps tiles in registers "
        "and works on channels in blocks of a vector",
    ),
    (
        r"(x64_?)?i?gemm",
        "oneDNN copies the input into a matrix (im2col) and calls a matrix product; the copy costs time",
    ),
    (r"acl", "oneDNN hands the layer to the ARM Compute Library"),
    (r"(simple|reorder)", "a copy into another layout (reorder)"),
)
#: oneDNN's words for the instructions that a kernel uses, behind the colon.
_INSTRUCTIONS = (
    ("amx", "matrix tiles (AMX)"),
    ("avx512", "vectors of 512 bits (AVX-512)"),
    ("avx10", "vectors of AVX10"),
    ("avx2", "vectors of 256 bits (AVX2)"),
    ("sse41", "vectors of 128 bits (SSE4.1)"),
    ("sve", "ARM's scalable vectors (SVE)"),
    ("asimd", "vectors of 128 bits (ASIMD)"),
)
#: What the names of CUDA kernels say of cuDNN's engine; the first that is found in the name counts.
_CUDNN = (
    (r"winograd", "cuDNN's Winograd engine: fewer products, but less exact"),
    (r"fft", "cuDNN's FFT engine, for large kernels: less exact, and with much memory"),
    (r"dgrad", "an engine that computes the gradient of the input"),
    (r"wgrad", "an engine that computes the gradient of the weight"),
    (r"depthwise|dw_", "a kernel for depthwise layers, without tensor cores"),
    (
        r"implicit_gemm|implicit_convolve|fprop|xmma|cutlass|tensorop|hmma|nvjet",
        "a matrix product without a copy of the input (implicit GEMM); tensorop and hmma name tensor cores",
    ),
    (r"im2col", "a copy of the input into a matrix"),
    (r"gemm|gemv", "a plain matrix product"),
    (r"nchwtonhwc|nhwctonchw|transpose|permute", "a copy into another layout"),
    (r"elementwise|vectorized|add_?bias|bias", "an addition or a copy, such as that of the bias"),
)


def meanings(implementation: str) -> dict[str, str]:
    """The words of an implementation's name that are known, each with its meaning as sentences."""
    return {word: f"{text}." for word in implementation.split() if (text := _word(word))}


def _word(word: str) -> str:
    name = word.lower()
    if name in _BACKENDS:
        return _BACKENDS[name]
    kernel, colon, instructions = name.partition(":")
    text = next((text for pattern, text in _ONEDNN if re.match(pattern, kernel)), "") if colon else ""
    if text:
        used = next((f". It uses {words}" for part, words in _INSTRUCTIONS if part in instructions), "")
        return text + used
    return next((text for pattern, text in _CUDNN if re.search(pattern, name)), "")
