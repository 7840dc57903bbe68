"""A machine by what a worker says: what is free there, and what happened between two moments."""

from __future__ import annotations

import pytest

from convbench.engine.machine import ASSUMED_FREE_BYTES, Host, HostState


@pytest.mark.parametrize(
    ("available", "total", "free"),
    [(3, 100, 3), (0, 100, 0), (None, 100, 50), (None, None, ASSUMED_FREE_BYTES)],
)
def test_what_is_free_where_the_system_reports_more_or_less(
    available: int | None, total: int | None, free: int
) -> None:
    host = Host(
        hostname="h", system="s", machine="m", cpu="c", cores=1, libc="", memory_bytes=total, available_bytes=available
    )
    assert host.free_bytes == free


def test_time_that_other_guests_got() -> None:
    before = HostState(ticks=(10, 0, 0, 10, 0, 0, 0, 4))
    assert HostState(ticks=(60, 0, 0, 50, 0, 0, 0, 14)).stolen_since(before) == pytest.approx(0.1)
    assert before.stolen_since(before) == 0.0
    assert HostState(ticks=(60, 0, 0, 50, 0, 0, 0, 3)).stolen_since(before) == 0.0, "the kernel's count may step back"
    assert HostState(ticks=(60, 0, 0, 50)).stolen_since(before) is None
    assert HostState().stolen_since(before) is None
    assert before.stolen_since(HostState()) is None


def test_how_often_cores_were_slowed_down() -> None:
    before = HostState(throttled=5)
    assert HostState(throttled=7).throttled_since(before) == 2
    assert HostState(throttled=3).throttled_since(before) == 0, "a core went offline"
    assert HostState().throttled_since(before) is None
    assert before.throttled_since(HostState()) is None
