"""From an older schema to the present one, a step per version, each written once and never changed.

The steps are Alembic's operations. Which version a database has stands in its own table `convbench_schema`, where every
convbench looks, the first release too; a second table of Alembic's could say something else. Imported only when a
database is upgraded: a start need not wait for Alembic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Column, Connection

from convbench.store import schema
from convbench.store.migrations import v2_git_and_baselines

#: What leads to each version from the one before, but for the columns of facts.
STEPS: Mapping[int, Callable[[Operations], None]] = {
    2: v2_git_and_baselines.upgrade,
}


def upgrade(connection: Connection, found: int) -> None:
    """Take the tables from version `found` to the newest, inside the transaction that `connection` is in."""
    operations = Operations(MigrationContext.configure(connection))
    for version in range(found + 1, schema.VERSION + 1):
        if version in STEPS:
            STEPS[version](operations)
        for column in schema.visits.columns:
            if column.info.get("since") == version:
                operations.add_column(schema.visits.name, Column(column.name, column.type))
