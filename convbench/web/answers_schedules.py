"""What the API takes to change a schedule, as a model of pydantic."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from convbench.actions.cron import LONGEST_CRON
from convbench.actions.schedules import LONGEST_NAME
from convbench.web.answers import Given, Priority, SweepText


class ScheduleChange(Given):
    """What is to be different of a schedule; what is left out stays as it is."""

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)] | None = None
    cron: (
        Annotated[str, Field(min_length=1, max_length=LONGEST_CRON, description="Five fields, or `@daily`.")] | None
    ) = None
    zone: Annotated[str, Field(min_length=1, max_length=60)] | None = None
    sweep: SweepText | None = None
    host: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    baseline: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    priority: Priority | None = None
    expected: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        default=None, description="The edition of the schedule that the person saw; 409 where it is another one by now."
    )
