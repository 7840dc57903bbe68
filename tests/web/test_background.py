"""Values that are computed later: each once, kept while their state is the same, and nobody waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from convbench.errors import DatabaseError, RequestError
from convbench.web.background import Background, Found, Task

LONG_S = 90.0


class FakeHelper:
    """Calls the work in the thread that asks, and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def call(self, work: Callable[..., Any], *arguments: object, timeout_s: float) -> Any:
        assert timeout_s == 1.0
        self.calls += 1
        return work(*arguments)


def made() -> tuple[Background[int], FakeHelper]:
    helper = FakeHelper()
    return Background[int](helper, timeout_s=1.0), helper  # type: ignore[arg-type]  # it has all that is called


def one(background: Background[int], state: object, work: Callable[..., int], wait_s: float = LONG_S) -> Found[int]:
    return background.get({("a",): Task(state, work, (2,))}, wait_s=wait_s)


def errors(found: Found[int]) -> list[str]:
    return [error.message for error in found.failed.values()]


def test_a_value_is_made_once_for_each_state() -> None:
    background, helper = made()
    for state, expected in (("x", 1), ("x", 1), ("y", 2)):
        found = one(background, state, lambda number: number + 1)
        assert (dict(found.values), found.waiting, helper.calls) == ({("a",): 3}, (), expected)


def test_a_reader_gets_the_older_value_and_the_name_of_what_it_waits_for() -> None:
    background, _ = made()
    going = threading.Event()

    def slow(number: int) -> int:
        assert going.wait(LONG_S)
        return number + 2

    assert one(background, "x", lambda number: number).values == {("a",): 2}
    found = one(background, "y", slow, wait_s=0.01)
    assert (dict(found.values), found.waiting) == ({("a",): 2}, (("a",),))
    going.set()
    assert one(background, "y", slow).values == {("a",): 4}


def test_an_error_is_kept_unless_it_may_go_away() -> None:
    background, helper = made()

    def wrong(number: int) -> int:
        raise RequestError("it cannot be read")

    for _ in range(2):
        found = one(background, "x", wrong)
        assert (errors(found), found.values, found.waiting) == (["it cannot be read"], {}, ())
    assert helper.calls == 1

    def away(number: int) -> int:
        raise DatabaseError("the database is away")

    found = one(background, "y", away)
    assert (errors(found), found.waiting) == (["the database is away"], (("a",),))
    found = one(background, "y", lambda number: number)
    assert (found.values, found.failed) == ({("a",): 2}, {})


def test_a_fault_is_told_and_the_next_value_is_made() -> None:
    background, _ = made()
    found = one(background, "x", lambda number: number // 0)
    assert "ZeroDivisionError" in errors(found)[0]
    assert one(background, "y", lambda number: number).values == {("a",): 2}


def test_nothing_is_made_after_the_end() -> None:
    background, helper = made()
    background.close()
    assert one(background, "x", lambda number: number).waiting == (("a",),)
    assert helper.calls == 0
