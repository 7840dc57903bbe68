"""When schedules are due: the nights of summer time, words, zones, and what is not right."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from convbench.actions.cron import following, next_after
from convbench.errors import RequestError

BERLIN = "Europe/Berlin"


def times(cron: str, zone: str, after: str, most: int = 3) -> list[str]:
    """The next times as people in the zone read them, after a time in UTC."""
    found = islice(following(cron, zone, datetime.fromisoformat(after).replace(tzinfo=UTC)), most)
    return [f"{time.astimezone(ZoneInfo(zone)):%d %H:%M %Z}" for time in found]


def test_the_night_when_summer_time_ends_has_half_past_two_once() -> None:
    assert times("30 2 * * *", BERLIN, "2026-10-24T12:00") == ["25 02:30 CEST", "26 02:30 CET", "27 02:30 CET"]
    # Asked between both 02:30, and after the second one: the first was the one.
    for after in ("2026-10-25T00:30", "2026-10-25T01:10", "2026-10-25T01:29:59", "2026-10-25T01:45"):
        assert times("30 2 * * *", BERLIN, after, 1) == ["26 02:30 CET"], after


def test_the_night_when_summer_time_begins_has_no_half_past_two_and_is_due_after_the_gap() -> None:
    assert times("30 2 * * *", BERLIN, "2026-03-28T12:00") == ["29 03:00 CEST", "30 02:30 CEST", "31 02:30 CEST"]
    assert times("0,30 2 * * *", BERLIN, "2026-03-28T12:00") == ["29 03:00 CEST", "30 02:00 CEST", "30 02:30 CEST"]
    assert times("30 2 * * *", BERLIN, "2026-03-29T01:00", 1) == ["30 02:30 CEST"], "03:00 is over"


def test_a_field_with_a_star_goes_by_the_hours_that_elapse() -> None:
    assert times("0 * * * *", BERLIN, "2026-10-24T23:30") == ["25 02:00 CEST", "25 02:00 CET", "25 03:00 CET"]
    assert times("0 * * * *", BERLIN, "2026-03-28T23:30") == ["29 01:00 CET", "29 03:00 CEST", "29 04:00 CEST"]


def test_words_days_and_zones() -> None:
    assert times("@daily", "UTC", "2026-11-30T12:00", 2) == ["01 00:00 UTC", "02 00:00 UTC"]
    assert times("0 7 * * MON", "Asia/Kolkata", "2026-11-30T01:30", 2) == ["07 07:00 IST", "14 07:00 IST"]
    assert next_after("0 0 29 2 *", "UTC", datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2028, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    "cron",
    ["", "x", "* * * *", "* * * * * *", "60 * * * *", "0 0 31 2 *", "@reboot", "0 0 * * *" + " " * 200, "\0 * * * *"],
)
def test_what_is_no_schedule_is_refused_with_what_to_do(cron: str) -> None:
    with pytest.raises(RequestError) as caught:
        next_after(cron, "UTC", datetime(2026, 1, 1, tzinfo=UTC))
    assert caught.value.hint and "30 2 * * *" in caught.value.hint


@pytest.mark.parametrize(
    "zone", ["", "Mars/Olympus", "../../etc/passwd", "Europe", "/etc/localtime", "Europe/Berlin\0"]
)
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(RequestError, match="unknown time zone") as caught:
        next_after("@daily", zone, datetime(2026, 1, 1, tzinfo=UTC))
    assert caught.value.hint
