"""The mark of tests that need an accelerator."""

from __future__ import annotations

import pytest
import torch

_is_there = hasattr(torch, "accelerator") and torch.accelerator.is_available()
#: Neither most users' machines nor CI have one: `pytest -m gpu` runs these tests where there is one.
needs_accelerator = pytest.mark.skipif(not _is_there, reason="torch finds no accelerator on this machine")
