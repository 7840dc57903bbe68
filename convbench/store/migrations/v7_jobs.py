"""Version 7: jobs of other kinds."""

from __future__ import annotations

from alembic.operations import Operations


def upgrade(operations: Operations) -> None:
    """Version 6 to 7: the tables stay as they are."""
