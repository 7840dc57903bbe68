"""What holds for all tests: none has a deadline, since the machine is shared; and what fixture several rooms use."""

from __future__ import annotations

from accelerators import accelerator as accelerator
from browser import browser as browser
from commands import command as command
from hypothesis import settings
from postgres import running_server as running_server

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")
