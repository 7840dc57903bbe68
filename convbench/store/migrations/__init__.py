"""From an older schema to the present one, a step per version, each written once and never changed.

The steps are Alembic's operations. Which version a database has stands in its own table `convbench_schema`, where every
convbench looks, the first release too; a second table of Alembic's could say something else. Imported only when a
database is upgraded: a start need not wait for Alembic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection

from convbench.store.migrations import v2_git_and_baselines

#: What leads to each version from the one before.
STEPS: Mapping[int, Callable[[Operations], None]] = {
    2: v2_git_and_baselines.upgrade,
}


def upgrade(connection: Connection, found: int) -> None:
    """Take the tables from version `found` to the newest, inside the transaction that `connection` is in."""
    operations = Operations(MigrationContext.configure(connection))
    for version, step in STEPS.items():
        if version > found:
            step(operations)
