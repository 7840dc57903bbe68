"""The service's log: one JSON object a line on standard error. It holds no token, no body and no query of a request."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from convbench.units import LONGEST_TEXT, line, without_credentials

logger = logging.getLogger("convbench.web")


class _Lines(logging.Formatter):
    """A record as one line of JSON; `extra={"facts": {...}}` adds entries."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        entry: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": _text(record.getMessage()),
        }
        facts: dict[str, object] = getattr(record, "facts", {})
        entry |= {name: _text(value) if isinstance(value, str) else value for name, value in facts.items()}
        if record.exc_info:
            entry["traceback"] = without_credentials(self.formatException(record.exc_info))
        return json.dumps(entry)


def _text(text: str) -> str:
    return line(without_credentials(text), most=LONGEST_TEXT)


def log_to_standard_error() -> None:
    """Have the service's and the server's messages printed; without it nothing is."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    for name, level in (("convbench.web", logging.INFO), ("uvicorn", logging.WARNING)):
        one = logging.getLogger(name)
        one.handlers[:] = [handler]
        one.setLevel(level)
        one.propagate = False
