"""An asynchronous accelerator without a GPU: torchvulkan on Mesa's Vulkan driver for CPUs, twice, as two devices.

`python -m tests.vulkan` ends with 0 where torch finds both devices, else says why not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REMEDY = "apt-get install mesa-vulkan-drivers && .venv/bin/pip install --no-deps torchvulkan==0.2.1"
#: Where Debian and others describe the driver to the Vulkan loader; the loader is part of torchvulkan.
DRIVERS = (Path("/usr/share/vulkan/icd.d"), Path("/etc/vulkan/icd.d"), Path("/usr/local/share/vulkan/icd.d"))
#: The backend registers itself in each process that imports torch only if a distribution says so. torchvulkan's does
#: not, so that it changes nothing but the processes of these tests.
NAME = "vulkan_for_tests"
LOADER = "def load():\n    import torchvulkan\n"


class NoVulkanError(Exception):
    """The device is not there; the message says why."""


def variables(folder: Path) -> dict[str, str]:
    """The environment of a process whose torch finds two such devices; `folder` is written. Raises NoVulkanError."""
    driver = next((path for at in DRIVERS for path in sorted(at.glob("lvp_icd*.json"))), None)
    if driver is None:
        raise NoVulkanError("there is no Vulkan driver for CPUs")
    second = folder / "second.json"
    shutil.copy(driver, second)
    described = folder / f"{NAME}-0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 0\n")
    (described / "entry_points.txt").write_text(f"[torch.backends]\nvulkan = {NAME}:load\n")
    (folder / f"{NAME}.py").write_text(LOADER)
    path = os.pathsep.join(part for part in (str(folder), os.environ.get("PYTHONPATH")) if part)
    found = {"PYTHONPATH": path, "VK_DRIVER_FILES": f"{driver}:{second}", "LP_NUM_THREADS": "1"}
    counted = subprocess.run(
        [sys.executable, "-c", "import torch; print(torch.accelerator.device_count())"],
        env={**os.environ, **found},
        capture_output=True,
        text=True,
    )
    if counted.stdout.strip() != "2":
        said = (counted.stderr.strip().splitlines() or [f"torch finds {counted.stdout.strip()} devices"])[-1]
        raise NoVulkanError(f"torchvulkan gives no two devices ({said})")
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="convbench-vulkan-") as made:
        try:
            variables(Path(made))
        except NoVulkanError as error:
            sys.exit(str(error))
