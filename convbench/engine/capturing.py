"""Runs the process that captures a model (worker/capture/), and turns its end into errors for users."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from convbench.engine.local import Setup, start_capture
from convbench.errors import RequestError, WorkerDiedError, WorkerTimedOutError

#: Maximum time to import torch, seconds. 2.5 s are usual.
START_S = 60.0
#: Maximum time to import, build and run the model, seconds: one that is built for real initializes its weights.
DEADLINE_S = 600.0


def capture(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """The answer to a request of workloads/request.py: the model's convolutions.

    Raises RequestError where the model cannot be captured, and WorkerStartError where the process does not start.
    """
    with closing(start_capture(Setup())) as transport:
        transport.wait_until_up(deadline_s=START_S)
        try:
            answer: Mapping[str, Any] = transport.request(message, deadline_s=DEADLINE_S)
        except WorkerDiedError as error:
            raise RequestError(
                f"the process that ran {message['model']} ended: {error.message}",
                hint="import and call the model in Python to see why; it may have run out of memory",
            ) from None
        except WorkerTimedOutError as error:
            raise RequestError(
                f"{message['model']}: {error.message}", hint="build it without its weights, or give a smaller one"
            ) from None
    if answer["status"] == "refused":
        raise RequestError(f"{message['model']}: {answer['reason']}", hint=answer["hint"])
    return answer
