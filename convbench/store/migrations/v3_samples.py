"""Version 3: the raw samples of a visit."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import Column, LargeBinary


def upgrade(operations: Operations) -> None:
    """Add the column for samples."""
    operations.add_column("visits", Column("samples", LargeBinary))
