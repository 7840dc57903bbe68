"""What a machine may lack that tests of several rooms need: Linux, a browser, a server."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import pytest

#: Workers read memory, cores and load from /proc and /sys, limit memory by RLIMIT_DATA and die by PR_SET_PDEATHSIG.
linux = pytest.mark.skipif(sys.platform != "linux", reason="it tests files and calls that exist on Linux alone")


def give_up(reason: str, remedy: str) -> NoReturn:
    """End a test that needs what cannot be had here: a failure where CI is set, since `make test` installs it there.

    On a user's machine it is skipped, with the remedy: not everyone may install a browser or a server.
    """
    text = f"{reason}; to enable this test: {remedy}"
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)  # a user may lack what CI must have
