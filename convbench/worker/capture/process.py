"""A process that captures one model: reads one request, answers, and ends.

The memory limit holds from where a model is built for real. Before, parameters take addresses and no memory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..setup import begin, bytes_of, limit_memory


def main(parent: int, memory_limit: str, folders: Sequence[str]) -> None:
    """Answer one request. What the user's code prints goes to standard error."""
    channel = begin(parent, "0")
    import torch  # noqa: F401 - before the user's folders are searched, as in other workers

    from .problems import CaptureError

    sys.path[:0] = folders or [str(Path.cwd())]
    channel.send({"status": "passed"})
    request = channel.receive()
    if request is None:
        return
    try:
        channel.send({"status": "captured", **answer(request, lambda: limit_memory(bytes_of(memory_limit)))})
    except CaptureError as problem:
        channel.send({"status": "refused", "reason": problem.reason, "hint": problem.hint})


def answer(request: dict[str, Any], before_real: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """The convolutions of the requested model; raises CaptureError.

    The model is built without weights. Where that fails it is built for real, after a call of `before_real`, and
    `for_real` says why. Where both fail, the message has the first error, unless only the missing weights caused it.
    """
    from torch import nn

    from . import building
    from .problems import CaptureError, building_failed, described, of_error
    from .running import NeedsWeightsError, captured

    name, arguments = request["model"], request["arguments"]
    thing = building.found(name)
    with of_error("the inputs cannot be made", hint="give smaller sizes"):
        inputs, named = building.inputs(request["inputs"], request["inputs_from"], real=request["real"])
    options = {key: request[key] for key in ("train", "autocast", "channels_last", "real")}
    why, first = None, None
    if not request["real"] and not isinstance(thing, nn.Module):
        try:
            with building.without_weights():
                model = building.model(thing, arguments)
            return {**captured(model, inputs, named, **options), "for_real": None}
        except NeedsWeightsError as error:
            why = error.reason
        except CaptureError:
            raise
        except Exception as error:
            why, first = described(error), error
    before_real()
    try:
        model = building.model(thing, arguments)
    except (CaptureError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit too
        cause = error if first is None or "meta" in str(first) else first
        raise building_failed(cause, thing) from error
    return {**captured(model, inputs, named, **options), "for_real": why}
