"""Settings of the whole process, and why one of them may not apply to a case.

torch 2.9 has `fp32_precision` per backend; earlier versions have only a switch for TF32.
"""

from __future__ import annotations

import contextlib
import warnings
from typing import Any, NamedTuple

import torch

from .spec import Spec

DEFAULT = "default"
#: torch's word for "not set" -> the precision that it then uses, the full precision of IEEE 754.
_UNSET = {"none": "ieee"}


class Settings(NamedTuple):
    """Settings that a worker gets once, before its first layer. `threads` None is torch's default."""

    threads: int | None = None
    fp32_precision: str = DEFAULT
    deterministic: bool = False
    cudnn_benchmark: bool = False

    def apply(self) -> None:
        """Apply the settings to this process."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        if self.fp32_precision != DEFAULT:
            _set_precision(self.fp32_precision)
        if self.deterministic:
            torch.use_deterministic_algorithms(True)
        if self.cudnn_benchmark:
            torch.backends.cudnn.benchmark = True

    def unsuitable(self, spec: Spec, device: torch.device) -> str | None:
        """Why one of the settings does not apply to a case; None where all do."""
        if spec.autocast != "none" and spec.dtype in ("float64", spec.autocast):
            return f"autocast to {spec.autocast} leaves a {spec.dtype} layer alone"
        if self.cudnn_benchmark and device.type != "cuda":
            return f"cudnn_benchmark means nothing on {device.type}"
        if spec.autocast != "none" and not _autocasts(device.type, getattr(torch, spec.autocast)):
            return f"torch has no autocast to {spec.autocast} on {device.type}"
        if self.fp32_precision == DEFAULT:
            return None
        if spec.dtype != "float32" or spec.autocast != "none":
            return f"fp32_precision means nothing where a layer computes in {spec.compute_dtype}"
        resolved = precision(device)
        if resolved != self.fp32_precision:
            return f"torch cannot compute float32 convolutions as {self.fp32_precision} on {device.type}"
        return None


def _autocasts(device_type: str, dtype: torch.dtype) -> bool:
    """Whether autocast to this dtype works there; elsewhere torch switches it off with a warning, or raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.autocast(device_type, dtype=dtype):
                return torch.is_autocast_enabled(device_type)
        except (RuntimeError, AssertionError, AttributeError):  # a backend without autocast raises one of these
            return False


def precision(device: torch.device) -> str | None:
    """The precision of torch's float32 convolutions on this device: ieee, tf32 or bf16; None where it is unknown."""
    backend = _convolutions(device.type)
    if backend is not None:
        return _UNSET.get(backend.fp32_precision, str(backend.fp32_precision))
    if device.type == "cuda":
        return "tf32" if torch.backends.cudnn.allow_tf32 else "ieee"
    return "ieee" if device.type == "cpu" else None


def _convolutions(device_type: str) -> Any:
    """Torch's switch for the convolutions of this device, None where it has none."""
    name = {"cpu": "mkldnn", "cuda": "cudnn"}.get(device_type)
    switch = getattr(getattr(torch.backends, name, None), "conv", None) if name else None
    return switch if hasattr(switch, "fp32_precision") else None


def _set_precision(wanted: str) -> None:
    """Set every backend's precision. A backend that does not support it keeps its own; `unsuitable` reports that."""
    switches = [switch for switch in map(_convolutions, ("cpu", "cuda")) if switch is not None]
    for switch in switches:
        with contextlib.suppress(RuntimeError):
            switch.fp32_precision = wanted
    if not switches and wanted in ("ieee", "tf32"):
        torch.backends.cudnn.allow_tf32 = wanted == "tf32"
