"""What holds for all tests: no deadline, since the machine is shared; Ctrl-C works. The fixtures of several rooms."""

from __future__ import annotations

import signal

from accelerators import accelerator as accelerator
from browser import browser as browser
from commands import command as command
from hypothesis import settings
from postgres import running_server as running_server

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

# A shell that is not interactive starts background jobs with SIGINT ignored, and what they start inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
