"""The verb that tells what disturbs a measurement on this machine."""

from __future__ import annotations

from convbench.cli.options import app
from convbench.cli.output import show


@app.command()
def check() -> None:
    """Tell what disturbs a measurement on this machine."""
    from convbench.actions import measure
    from convbench.conduct.doctor import checkup_text

    show(checkup_text(measure.check()))
