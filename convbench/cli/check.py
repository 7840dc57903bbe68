"""The verb that checks this machine for what disturbs measurements."""

from __future__ import annotations

from convbench.cli.output import show


def check() -> None:
    """Check this machine for what disturbs measurements."""
    from convbench.actions import measure
    from convbench.conduct.doctor import remarks_text

    show(remarks_text(measure.check()))
