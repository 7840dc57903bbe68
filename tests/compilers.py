"""Whether this machine has what torch.compile needs on a CPU. As a program: fails where it has not (Makefile)."""

from __future__ import annotations

import os
import shutil
import sys

import pytest

HAS_COMPILER = shutil.which(os.environ.get("CXX", "g++")) is not None
#: Where torch can compile nothing, every such case is skipped; that has a test of its own.
needs_compiler = pytest.mark.skipif(
    not HAS_COMPILER, reason="no C++ compiler; to have these tests: apt-get install g++"
)

if __name__ == "__main__":
    sys.exit(not HAS_COMPILER)
