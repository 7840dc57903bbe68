"""What module paths have in common."""

from __future__ import annotations

import pytest

from convbench.analysis.network.paths import without_common


@pytest.mark.parametrize(
    ("paths", "module", "left"),
    [
        ([], "", []),
        (["net.a.conv"], "", ["net.a.conv"]),
        (["net.a.conv1", "net.a.conv2"], "net.a", ["conv1", "conv2"]),
        (["net.a", "net.a.conv"], "net", ["a", "a.conv"]),
        (["net.a", "net.a"], "net", ["a", "a"]),
        (["stem", "net.a"], "", ["stem", "net.a"]),
    ],
)
def test_the_common_module_and_the_paths_inside(paths: list[str], module: str, left: list[str]) -> None:
    assert without_common(paths) == (module, left)
