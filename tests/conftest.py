"""What holds for all tests: none has a deadline, since the machine is shared; and what fixture several rooms use."""

from __future__ import annotations

from commands import command as command
from hypothesis import settings

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")
