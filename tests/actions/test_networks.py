"""The networks of the repository: what is listed of them, and that two are what would be captured now."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from commands import Command
from processes import environment

from convbench import sweep as sweeps
from convbench.actions.networks import networks
from convbench.errors import RequestError

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "configs" / "networks"
#: With what the files were written: another version may build another network.
TRANSFORMERS = "5.23.0"


def installed() -> str | None:
    try:
        return version("transformers")
    except PackageNotFoundError:
        return None


def layers(path: Path) -> dict[object, int]:
    """How often each layer occurs."""
    return {case.problem: case.count for case in sweeps.cases(sweeps.load(path)).cases}


def test_there_are_a_dozen_networks_whose_every_layer_can_be_measured() -> None:
    found = {one.path.stem: one for one in networks(FOLDER)}
    assert len(found) >= 12
    assert all(not sweeps.cases(sweeps.load(one.path)).rejections for one in found.values())
    one = found["resnet-50"]
    assert (one.name, one.layers, one.distinct) == ("ResNet-50", 53, 23)
    assert one.parameters == 23_454_912, "convolutions of the paper's network, without normalization and classifier"
    assert layers(one.path) == layers(ROOT / "configs" / "resnet50.yaml")
    assert (found["mobilenet-v2"].layers, found["stable-diffusion-unet"].layers) == (52, 98)


def test_a_layer_is_counted_once_whatever_its_settings_are(tmp_path: Path) -> None:
    layer = "in_channels: 3, out_channels: 8, kernel_size: 3, input_size: 8, bias: false"
    (tmp_path / "net.yaml").write_text(
        "name: net\naxes: {dtype: [float32, bfloat16], direction: [forward, backward]}\ncases:\n"
        f"  - {{{layer}, count: 2}}\n"
        f"  - {{{layer}, memory_format: channels_last, count: 1}}\n"
        f"  - {{{layer}, stride: 2, direction: forward}}\n"
        f"  - {{{layer}, stride: 2, direction: grad_weight}}\n",
        encoding="utf-8",
    )
    [one] = networks(tmp_path)
    assert (one.layers, one.distinct, one.parameters) == (4, 2, 4 * 216)


def test_networks_are_listed(command: Command, tmp_path: Path) -> None:
    said = command("networks", str(FOLDER))
    assert said.code == 0
    heads, *rows = said.out.splitlines()
    assert heads.split() == ["network", "layers", "distinct", "forward", "parameters", "file"]
    assert len(rows) >= len(list(FOLDER.iterdir()))
    assert any(row.split()[:3] == ["ResNet-50", "53", "23"] for row in rows)
    empty = command("networks")
    assert (empty.code, empty.out) == (2, "")
    assert "configs/networks: no sweep in this folder" in empty.err
    with pytest.raises(RequestError):
        networks(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(installed() != TRANSFORMERS, reason=f"pip install transformers=={TRANSFORMERS}")
def test_two_networks_are_what_would_be_captured_now() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "capture_networks.py"), "--check", "resnet-50", "mobilenet-v2"],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
