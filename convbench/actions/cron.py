"""When a schedule is due: five fields in cron's words and a time zone, as times.

A time that a day has twice when summer time ends counts once. One that the day lacks when summer time begins is moved
to the first minute after the gap. A field with * goes by the hours that elapse, as in cron.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from convbench.errors import RequestError
from convbench.model.nearest import did_you_mean
from convbench.units import line

#: The number of times that a schedule shows.
SHOWN_TIMES = 5
#: Maximum number of characters of a schedule's words.
LONGEST_CRON = 100
#: cron's short words for five fields.
WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_HINT = "minute, hour, day of the month, month, day of the week: `30 2 * * *` is 02:30 each day"


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def zone_of(name: str) -> ZoneInfo:
    """The time zone with this name of the IANA database; raises RequestError."""
    if name not in _zones():
        raise RequestError(
            f"unknown time zone {line(name, most=60)!r}",
            hint=did_you_mean(name, sorted(_zones())) or "a name such as `Europe/Berlin`, or `UTC`",
        )
    return ZoneInfo(name)


def following(cron: str, zone: str, after: datetime) -> Iterator[datetime]:
    """The times at which it is due after `after`, in UTC, each later than the one before.

    Raises RequestError for words or a zone that are not right. Raises RequestError too where no time follows within 50
    years.
    """
    from cronsim import CronSim, CronSimError  # an extra: a caller without the service needs none

    here = zone_of(zone)
    fields = WORDS.get(cron.strip().lower(), cron)
    if len(cron) > LONGEST_CRON or len(fields.split()) != 5:
        raise RequestError(f"{line(cron, most=60)!r} is not the five fields of a schedule", hint=_HINT)
    try:
        times = CronSim(fields, after.astimezone(here))
    except CronSimError as error:
        raise RequestError(f"{line(cron, most=60)!r}: {str(error).lower()}", hint=_HINT) from None
    last = after.astimezone(UTC)
    for local in times:
        found = local.astimezone(UTC)
        if found > last:  # a wall clock's time that comes twice, or lies in a gap, may be there already
            yield found
            last = found
    raise RequestError(f"{line(cron, most=60)!r} is never due", hint=_HINT)


def next_after(cron: str, zone: str, after: datetime) -> datetime:
    """The first time after `after`, in UTC; raises the errors of `following`."""
    return next(following(cron, zone, after))
