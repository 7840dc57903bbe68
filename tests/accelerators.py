"""An accelerator for tests marked `gpu`: the one that torch finds, else two Vulkan devices on the CPU (vulkan.py)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from missing import give_up
from vulkan import REMEDY, NoVulkanError, variables

from convbench.engine.local import LocalEngine, Setup


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """The type of the device as torch names it, and the environment variables of processes that find it."""

    kind: str
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def is_real(self) -> bool:
        """Whether it is fast, has events, and counts its memory."""
        return not self.variables

    def engine(self) -> LocalEngine:
        """An engine whose workers find it, and the modules of tests/."""
        return LocalEngine(Setup(variables=tuple(self.variables.items()), path=(str(Path(__file__).parent),)))


@pytest.fixture(scope="session")
def accelerator(tmp_path_factory: pytest.TempPathFactory) -> Accelerator:
    """The accelerator. Without one the test is skipped, but fails where CI is set."""
    if torch.accelerator.is_available():
        return Accelerator(kind=torch.accelerator.current_accelerator().type)
    try:
        return Accelerator(kind="vulkan", variables=variables(tmp_path_factory.mktemp("vulkan")))
    except NoVulkanError as error:
        give_up(str(error), REMEDY)
