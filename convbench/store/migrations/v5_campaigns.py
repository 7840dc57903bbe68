"""Version 5: campaigns. Nothing of them is here yet, and the step changes nothing."""

from __future__ import annotations

from alembic.operations import Operations


def upgrade(operations: Operations) -> None:
    """Version 4 to 5: no change."""
