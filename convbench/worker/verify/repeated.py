"""Compares later calls of a layer with an earlier one: bit by bit, and on integers where their bits differ."""

from __future__ import annotations

from time import perf_counter

import torch
from torch import Tensor

from ..layer import Layer
from ..timer import NOT_WARM, WARMUP_S, Queue, Warm
from .bits import digest, distance, same
from .exact import changed_text, fill, fill_integers
from .integers import exact_limit
from .judge import judge
from .tolerances import least_scale, on_timed_data

#: Calls that are compared before a block: at least one, at most this number, within its warm-up without the last call.
MOST_CALLS = 5
#: Calls on integers after the first difference on the timed data: at most this number, for about this time.
TRIALS = 64
TRIALS_S = 1.0
#: The note of a layer whose results differ from call to call by rounding alone.
VARIES = "results differ from call to call by rounding"


class Repeats:
    """The calls of a layer in one process, each compared with the first one.

    `is_exact` is whether the layer is exact on integers, which then show whether a difference is more than rounding.
    `first` are copies of the first call's results on the data that is timed, empty where there was none yet.
    `wrong` says what is wrong with a later call, or is None. `varies` is whether results differ by rounding alone.
    """

    def __init__(self, layer: Layer, *, is_exact: bool, first: dict[str, Tensor]) -> None:
        self._layer = layer
        self._is_exact = is_exact
        self._first = first
        self.calls = 0
        self.wrong: str | None = None
        self.varies = False

    def look(self, queue: Queue | None) -> Warm:
        """Compare a few further calls; returns how far they have warmed up the layer."""
        if self.wrong is not None:
            return NOT_WARM
        if self.varies and self._is_exact:
            self._on_integers(MOST_CALLS, WARMUP_S)
            return NOT_WARM
        warm = NOT_WARM
        for _ in range(MOST_CALLS):
            before = perf_counter()
            results = self._layer.results()
            if queue:
                queue.synchronize()
            warm = warm.after(perf_counter() - before)
            self._compare(results)
            if self.wrong or self.varies or warm.seconds + 2 * warm.fastest_s > WARMUP_S:
                break
        return warm

    def look_after(self, results: dict[str, Tensor]) -> None:
        """Compare the last timed call of a block, whose results these are."""
        if self.wrong is None:
            self._compare(results)

    def _compare(self, results: dict[str, Tensor]) -> None:
        """Compare one call with the first one. Where they differ a little, integers decide."""
        self.calls += 1
        if not self._first:
            # Copies, because the layer may return the same memory at its next call.
            self._first = {name: tensor.detach().clone() for name, tensor in results.items()}
            return
        varied = self.varies
        for name, before in self._first.items():
            after = results.get(name)
            if after is None or after.shape != before.shape:
                self.wrong = f"{name} has another shape or is missing in call {self.calls} on the timed data"
                return
            if not same(before, after):
                self.varies = True
                far = distance(after, before, least_scale(self._layer.spec))
                allowed = on_timed_data(self._layer.spec, name)
                if not far <= allowed:
                    self.wrong = (
                        f"{name} of call {self.calls} on the timed data is {far:.2g} of its norm away from that of the "
                        f"first call, {allowed:.2g} is allowed"
                    )
                    return
        if self.varies and not varied and self._is_exact:
            self._on_integers(TRIALS, TRIALS_S)

    def _on_integers(self, most: int, seconds: float) -> None:
        """Compare calls on integers, where rounding changes nothing: at least two, at most `most` within `seconds`."""
        with WithIntegers(self._layer):
            first = {name: tensor.detach().clone() for name, tensor in self._layer.results().items()}
            end = perf_counter() + seconds
            for call in range(1, max(2, most)):
                after = self._layer.results()
                for name, before in first.items():
                    if not same(before, after[name]):
                        text = changed_text(name, before, after[name])
                        self.wrong = f"{text} call ({call + 1} calls on the same integers)"
                        return
                if perf_counter() >= end:
                    return


class WithIntegers:
    """A context in which the layer's operands hold the integers of the check; afterwards their data are restored."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer

    def __enter__(self) -> WithIntegers:
        layer = self._layer
        self._before = {name: tensor.detach().clone() for name, tensor in layer.operands.tensors().items()}
        self.data = fill_integers(layer, 0, exact_limit(layer.spec))
        return self

    def __exit__(self, *_: object) -> None:
        with torch.no_grad():
            fill(self._layer, self._before)


def wrong_again(layer: Layer, expected: str) -> str | None:
    """What is wrong where one call on integers does not give the digest that the check found, else None."""
    with WithIntegers(layer) as on:
        results = layer.results()
        if digest(results) == expected:
            return None
        _, reasons = judge(layer.spec, results, on.data, "exact")
    return "; ".join(reasons) or "results on integers are right, and differ from those of the first process"
