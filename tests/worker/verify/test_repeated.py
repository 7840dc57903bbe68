"""Later calls: a layer that is wrong in some calls is found, one that rounds differently is not flagged."""

from __future__ import annotations

import pytest
import torch
from layers import CPU, DIRECTIONS, HONEST, PLAIN, spec

from convbench.worker.layer import Layer
from convbench.worker.timer import WARMUP_ONCE_S
from convbench.worker.verify.bits import digest, same
from convbench.worker.verify.repeated import MOST_CALLS, Repeats, wrong_again
from convbench.worker.verify.verdict import verify

BLOCKS = 25  # five processes of five rounds


def looked_at(layer: Layer, blocks: int = BLOCKS, *, is_exact: bool = True) -> Repeats:
    repeats = Repeats(layer, is_exact=is_exact, first={})
    for _ in range(blocks):
        repeats.look(None)
    return repeats


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", ["plain", "no bias", "unbatched", "same", "groups"])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_the_calls_of_a_right_layer_do_not_differ(name: str, direction: str) -> None:
    for settings in ({}, {"dtype": "bfloat16"}, {"memory_format": "channels_last"} if name != "unbatched" else {}):
        layer = Layer(spec(HONEST[name], direction, **settings), CPU)
        repeats = looked_at(layer, 3)
        assert (repeats.wrong, repeats.varies) == (None, False)
        assert 3 <= repeats.calls <= 3 * MOST_CALLS


@pytest.mark.parametrize(
    ("module", "direction", "result"),
    [
        ("WrongOnceInTen", "forward", "output"),
        ("WrongOnceInTen", "train_step", "output"),
        ("LosesATile", "forward", "output"),
        ("GradientWrongOnceInTen", "backward", "grad_weight"),
        ("GradientWrongOnceInTen", "grad_weight", "grad_weight"),
        ("GradientWrongOnceInTen", "train_step", "grad_weight"),
    ],
)
def test_a_layer_that_is_wrong_in_one_call_of_ten_is_found(module: str, direction: str, result: str) -> None:
    layer = Layer(spec(PLAIN, direction, f"planted:{module}"), CPU)
    assert verify(layer).reason is None
    data = {name: tensor.detach().clone() for name, tensor in layer.operands.tensors().items()}
    repeats = looked_at(layer, 45)  # on a busy machine each compares one call alone
    assert repeats.wrong is not None
    assert repeats.wrong.startswith(result)
    assert repeats.calls <= 41, "every wrong call but the first, which the check saw, is compared"
    assert all(torch.equal(data[name], tensor) for name, tensor in layer.operands.tensors().items())


def test_one_wrong_element_among_many_is_told_from_rounding_by_integers() -> None:
    layer = Layer(spec(HONEST["large"], "forward", "planted:WrongOnceInTen"), CPU)
    layer.module.calls = 30
    repeats = looked_at(layer)
    assert repeats.varies
    found = repeats.wrong or ""
    assert found.startswith("output[")
    assert "in the next call" in found
    was, now = (float(word) for word in found.replace("and is", "was").split(" was ")[1:] for word in word.split()[:1])
    assert abs(now - was) == 1


@pytest.mark.parametrize("direction", ["forward", "train_step"])
def test_a_layer_that_rounds_differently_from_call_to_call_is_right_and_says_so(direction: str) -> None:
    layer = Layer(spec(PLAIN, direction, "planted:RoundsDifferently"), CPU)
    assert verify(layer).reason is None
    repeats = looked_at(layer)
    assert (repeats.wrong, repeats.varies) == (None, True)


def test_a_layer_that_also_rounds_differently_is_found_on_integers() -> None:
    layer = Layer(spec(PLAIN, "forward", "planted:RoundsDifferently"), CPU)
    repeats = looked_at(layer, 2)
    assert (repeats.wrong, repeats.varies) == (None, True)
    rounds, calls = layer.module.forward, iter(range(1000))
    layer.module.forward = lambda x: rounds(x) + (next(calls) % 10 == 7)
    for _ in range(BLOCKS):
        repeats.look(None)
    assert "in the next call" in (repeats.wrong or "")


def test_where_integers_are_not_exact_only_a_large_difference_is_wrong() -> None:
    rounds = Layer(spec(PLAIN, "forward", "planted:RoundsDifferently"), CPU)
    assert looked_at(rounds, is_exact=False).wrong is None
    loses = Layer(spec(PLAIN, "forward", "planted:LosesATile"), CPU)
    assert "of its norm away from that of the first call" in (looked_at(loses, is_exact=False).wrong or "")


def test_compared_calls_count_as_warm_up() -> None:
    layer = Layer(spec(PLAIN), CPU)
    warm = Repeats(layer, is_exact=True, first={}).look(None)
    assert 1 <= warm.iterations <= MOST_CALLS
    assert 0 < warm.fastest_s <= warm.seconds / warm.iterations
    assert warm.seconds < WARMUP_ONCE_S


class Device:
    """A device's queue, on which the work of a call is done when it is awaited."""

    has_events = True

    def __init__(self, layer: Layer) -> None:
        self.waits = 0
        results, self._late = layer.results, []
        layer.results = lambda: self._begun(results())

    def _begun(self, results: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Hand out memory that is not yet written."""
        self._late = [(tensor, tensor.detach().clone()) for tensor in results.values()]
        for tensor, _ in self._late:
            tensor.data.fill_(float("nan"))
        return results

    def synchronize(self) -> None:
        self.waits += 1
        for tensor, values in self._late:
            tensor.data.copy_(values)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_calls_on_a_device_are_awaited_before_they_are_compared(direction: str) -> None:
    layer = Layer(spec(PLAIN, direction), CPU)
    device = Device(layer)
    repeats = Repeats(layer, is_exact=True, first={})
    warm = repeats.look(device)
    assert (repeats.wrong, repeats.varies) == (None, False)
    assert device.waits == warm.iterations == repeats.calls


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_another_process_compares_its_results_on_integers_with_the_digest(direction: str, dtype: str) -> None:
    layer = Layer(spec(PLAIN, direction, dtype=dtype), CPU)
    found = verify(layer).digest
    assert found is not None
    again = Layer(spec(PLAIN, direction, dtype=dtype), CPU)
    data = {name: tensor.detach().clone() for name, tensor in again.operands.tensors().items()}
    assert wrong_again(again, found) is None
    assert all(torch.equal(data[name], tensor) for name, tensor in again.operands.tensors().items())
    if dtype == "float32":
        last = Layer(spec(PLAIN, direction, memory_format="channels_last"), CPU)
        assert wrong_again(last, found) is None, "it does not depend on the memory format"


def test_a_layer_that_is_wrong_in_a_later_process_is_found_by_the_digest() -> None:
    found = verify(Layer(spec(PLAIN), CPU)).digest
    assert found is not None
    wrong = wrong_again(Layer(spec(PLAIN, "forward", "planted:SlightlyWrong"), CPU), found)
    assert wrong is not None
    assert ", should be " in wrong
    assert "differ from those of the first process" in (wrong_again(Layer(spec(PLAIN), CPU), "00000000") or "")


def test_only_results_that_are_exact_have_a_digest() -> None:
    assert verify(Layer(spec(PLAIN), CPU), is_inexact=True).digest is None
    assert verify(Layer(spec(PLAIN, "forward", "planted:SlightlyWrong"), CPU)).digest is None


def test_tensors_are_the_same_by_value_however_they_lie() -> None:
    x = torch.arange(24.0).view(1, 2, 3, 4)
    last = x.contiguous(memory_format=torch.channels_last)
    other = x.clone()
    other[0, 1, 2, 3] += 1
    spread = torch.zeros(1, 2, 3, 8)[..., ::2]
    assert same(x, x.clone())
    assert same(x, last)
    assert not same(x, other)
    assert not same(last, other.contiguous(memory_format=torch.channels_last))
    assert same(spread.copy_(x), x)
    assert same(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert not same(x, torch.full_like(x, float("nan")))
    one = torch.ones(1).expand(3)
    assert same(one, one.clone())


def test_a_digest_depends_on_every_element_and_its_place() -> None:
    x = torch.arange(24.0).view(1, 2, 3, 4)
    assert digest({"output": x}) == digest({"output": x.contiguous(memory_format=torch.channels_last)})
    assert digest({"output": x}) == digest({"output": x * torch.where(x == 0, -1.0, 1.0)}), "-0 is 0"
    others = [x.flip(3), x + (x == 5), x.view(1, 3, 2, 4)]
    assert len({digest({"output": each}) for each in [x, *others]}) == 4
    assert digest({"output": x}) != digest({"grad_input": x})
