"""What the devices of a run are: their names, and the versions of the libraries that compute on them.

Only a worker that is asked for devices looks at them, because a look starts CUDA. A worker that has cases of the CPU
alone is never asked.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import torch

from . import devices

#: Where the drivers of NVIDIA and AMD write their version, and where it stands there.
_DRIVERS = (
    (Path("/proc/driver/nvidia/version"), re.compile(r"Kernel Module\D*(\d+(?:\.\d+)+)")),
    (Path("/sys/module/amdgpu/version"), re.compile(r"(\S+)")),
)


def describe(names: list[str]) -> dict[str, Any]:
    """The devices with these names that are there, and the software below them as (name, version).

    `free_bytes` is their free memory as (name, bytes), where the backend reports it.
    """
    found, free = [], []
    for name in names:
        with contextlib.suppress(devices.AbsentError):
            device = devices.resolve(name)
            found.append(_device(name, device))
            memory = _of(devices.backend(device), "mem_get_info", _index(device))
            free += [(name, memory[0])] if memory else []
    if not found:
        return {"accelerator": None, "devices": [], "software": [], "free_bytes": []}
    device = devices.resolve(found[0]["name"])
    count = devices.device_count(device)
    return {
        "accelerator": f"{device.type}: {found[0]['model']} x{count}",
        "devices": found,
        "software": _software(device, devices.backend(device)),
        "free_bytes": free,
    }


def _index(device: torch.device) -> int:
    """The index of a device. Its type says that it has one always; without one it is the current device."""
    return _of(devices.backend(device), "current_device") or 0 if str(device) == device.type else device.index


def _device(name: str, device: torch.device) -> dict[str, Any]:
    backend = devices.backend(device)
    index = _index(device)
    properties = _of(backend, "get_device_properties", index)
    uuid = getattr(properties, "uuid", None)
    return {
        "name": name,
        "model": _of(backend, "get_device_name", index) or getattr(properties, "name", None) or device.type,
        "memory_bytes": getattr(properties, "total_memory", None),
        "uuid": None if uuid is None else str(uuid),
    }


def _of(backend: Any, name: str, *arguments: Any) -> Any:
    """What a function of the backend returns; None where it has none, or cannot say."""
    function = getattr(backend, name, None)
    try:
        return function(*arguments) if function else None
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):  # each backend refuses in its own way
        return None


def _software(device: torch.device, backend: Any) -> list[tuple[str, str]]:
    """The versions that torch and the driver report."""
    version: Any = torch.version
    found = [("CUDA", getattr(version, "cuda", None)), ("ROCm", getattr(version, "hip", None))]
    if device.type == "cuda":
        found.append(_convolutions(bool(getattr(version, "hip", None))))
    properties = _of(backend, "get_device_properties", 0)
    found.append(("driver", getattr(properties, "driver_version", None) or _driver()))
    return [(name, str(text)) for name, text in found if text]


def _convolutions(is_rocm: bool) -> tuple[str, str | None]:
    """The library of convolutions: MIOpen on ROCm, else cuDNN.

    torch gives its version as one number: major * 1000000 + minor * 1000 + patch of MIOpen. cuDNN has
    major * 10000 + minor * 100 + patch since version 9, and major * 1000 before.
    """
    number = _of(torch.backends.cudnn, "version")
    name, factors = ("MIOpen", (1000000, 1000)) if is_rocm else ("cuDNN", (10000, 100))
    if number is None:
        return name, None
    if not is_rocm and number < 90000:
        factors = (1000, 100)
    major, rest = divmod(number, factors[0])
    return name, ".".join(map(str, (major, *divmod(rest, factors[1]))))


def _driver() -> str | None:
    for path, pattern in _DRIVERS:
        with contextlib.suppress(OSError):
            match = pattern.search(path.read_text(encoding="utf-8", errors="replace"))
            if match:
                return match.group(1)
    return None
