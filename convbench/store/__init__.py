"""The disk room: runs and results in a database, SQLite by default, through SQLAlchemy."""

from convbench.store.identity import digest, new_run_id
from convbench.store.place import DEFAULT
from convbench.store.store import Store
from convbench.store.waiting import Record, record, send_waiting, waiting_file
from convbench.store.writer import Writer

__all__ = [
    "DEFAULT",
    "Record",
    "Store",
    "Writer",
    "digest",
    "new_run_id",
    "record",
    "send_waiting",
    "waiting_file",
]
