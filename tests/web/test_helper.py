"""The process beside the service: what it answers, and that it ends with the service whatever it does then."""

from __future__ import annotations

import threading
import time

import pytest

from convbench.errors import ConvbenchError, LaterError
from convbench.web.helper import BusyError, Helper, TooLongError


def test_calls_are_answered_and_errors_come_back_and_what_takes_too_long_is_ended() -> None:
    helper = Helper()
    try:
        assert helper.call(divmod, 7, 2, timeout_s=60) == (3, 1)
        with pytest.raises(ConvbenchError, match="ZeroDivisionError"):
            helper.call(divmod, 7, 0, timeout_s=60)
        with pytest.raises(TooLongError, match="longer than 0 s"):
            helper.call(time.sleep, 60, timeout_s=0.1)
        assert not helper.is_running
    finally:
        helper.close()


@pytest.mark.parametrize("pause_s", [0.0, 0.02, 1.0])
def test_a_service_may_stop_at_any_moment_of_a_call(pause_s: float) -> None:
    """While its process starts, and while it works."""
    helper = Helper()
    errors: list[Exception] = []

    def ask() -> None:
        try:
            helper.call(time.sleep, 60, timeout_s=60)
        except Exception as error:
            errors.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(pause_s)
    helper.close()
    asking.join(90)
    assert not asking.is_alive() and not helper.is_running
    assert [isinstance(error, LaterError) for error in errors] == [True], errors
    with pytest.raises(BusyError, match="the service stops"):
        helper.call(divmod, 7, 2, timeout_s=60)
