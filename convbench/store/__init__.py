"""Files, and runs with their results in a database (SQLite by default), through SQLAlchemy.

Names are imported on first use, so that code that only writes a file does not load SQLAlchemy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convbench.store.forwarding import Forwarded
    from convbench.store.identity import digest, new_campaign_id, new_run_id
    from convbench.store.place import DEFAULT
    from convbench.store.store import Store
    from convbench.store.waiting import OpenedRecord, Record, record, send_waiting, waiting_file
    from convbench.store.writer import Writer

__all__ = [
    "DEFAULT",
    "Forwarded",
    "OpenedRecord",
    "Record",
    "Store",
    "Writer",
    "digest",
    "new_campaign_id",
    "new_run_id",
    "record",
    "send_waiting",
    "waiting_file",
]

_MODULES = {
    **dict.fromkeys(("digest", "new_campaign_id", "new_run_id"), "identity"),
    "DEFAULT": "place",
    "Forwarded": "forwarding",
    "Store": "store",
    **dict.fromkeys(("OpenedRecord", "Record", "record", "send_waiting", "waiting_file"), "waiting"),
    "Writer": "writer",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
