"""What a real worker finds the machine able to do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from convbench.engine.client import WorkerClient
from convbench.engine.local import LocalEngine
from convbench.engine.pool import WorkerPool
from convbench.model.case import WorkerSettings
from convbench.model.result import RoofKind

DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def client() -> Iterator[WorkerClient]:
    pool = WorkerPool(LocalEngine())
    yield pool.client(WorkerSettings(threads=1))
    pool.close()


def test_each_dtype_has_a_roof_and_copies_reach_from_the_caches_to_memory(client: WorkerClient) -> None:
    roofs = client.roofs(["float64", "float32"], "cpu", deadline_s=DEADLINE_S)
    compute = [roof for roof in roofs if roof.kind is RoofKind.COMPUTE]
    copies = [roof.footprint_bytes or 0 for roof in roofs if roof.kind is RoofKind.BANDWIDTH]
    assert [roof.dtype for roof in compute] == ["float64", "float32"]
    assert copies == sorted(set(copies))
    assert copies[0] <= 2**15
    assert copies[-1] >= 2**27
    assert {(roof.device, roof.threads) for roof in roofs} == {("cpu", 1)}
    # Between a microcontroller and a supercomputer: a wrong unit falls outside.
    assert all(1e7 < roof.rate < 1e16 and roof.source for roof in roofs)


def test_a_narrow_dtype_is_never_held_against_less_than_float32(client: WorkerClient) -> None:
    found = {roof.dtype: roof for roof in client.roofs(["float32", "float16"], "cpu", deadline_s=DEADLINE_S)}
    assert found["float16"].rate >= found["float32"].rate
    emulated = found["float16"].rate == found["float32"].rate
    assert found["float16"].source.startswith("float32") == emulated


def test_an_absent_device_has_no_roofs(client: WorkerClient) -> None:
    assert client.roofs(["float32"], "hpu", deadline_s=DEADLINE_S) == ()
