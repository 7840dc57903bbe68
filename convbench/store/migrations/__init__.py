"""Migrations from older schemas to the present one, one step per version; a released step is never changed.

The steps are Alembic's operations. The version of a database is in its table `convbench_schema`, which every release of
convbench reads. Alembic's version table is not used, because the two could disagree. This module is imported only when
a database is upgraded, so that other commands do not wait for the import of Alembic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Column, Connection

from convbench.model.result import CASE_FACTS
from convbench.store import schema
from convbench.store.migrations import (
    v2_git_and_baselines,
    v3_samples,
    v5_campaigns,
    v6_service,
    v7_jobs,
    v8_channels,
)

#: The migration to each version from the one before, except for the columns of facts.
STEPS: Mapping[int, Callable[[Operations], None]] = {
    2: v2_git_and_baselines.upgrade,
    3: v3_samples.upgrade,
    5: v5_campaigns.upgrade,
    6: v6_service.upgrade,
    7: v7_jobs.upgrade,
    8: v8_channels.upgrade,
}


def upgrade(connection: Connection, found: int) -> None:
    """Change the tables from version `found` to the newest, inside the transaction of `connection`."""
    operations = Operations(MigrationContext.configure(connection))
    for version in range(found + 1, schema.VERSION + 1):
        if version in STEPS:
            STEPS[version](operations)
        for column in (schema.visits.c[name] for name in CASE_FACTS):
            if column.info.get("since") == version:
                operations.add_column(schema.visits.name, Column(column.name, column.type))
