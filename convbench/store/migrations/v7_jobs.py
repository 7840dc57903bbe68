"""Version 7: jobs of other kinds than a sweep on one host: what each is asked, and what it found."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import Column, Text


def upgrade(operations: Operations) -> None:
    """Version 6 to 7: four columns of jobs. The jobs that are there each measure a sweep on one host."""
    words = Text().with_variant(Text(collation="C"), "postgresql")
    operations.add_column("jobs", Column("kind", words, nullable=False, server_default="sweep"))
    for name in ("task", "answer", "campaign_id"):
        operations.add_column("jobs", Column(name, words))
