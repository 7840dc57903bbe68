"""What convbench says of an accelerator, held against what must be true there. `make gpu` runs it.

    python bench/gpu.py [--device accelerator] [--folder gpu]

Measures sweeps over the settings of an accelerator, small and large layers, and layers with planted faults. Prints a
table of `claim, figure, holds`, and writes the report of each sweep. Ends with 1 if a claim does not hold. Needs ten
minutes on a GPU, and nothing but convbench and torch. A device that a CPU plays gets small layers.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import pandas as pd
import torch
from table import show_table

import convbench
from convbench.model.case import DEVICES
from convbench.worker import accelerators, devices, timer
from convbench.worker.probe import product

#: Layers beside which a device is slow: a float32 product of 1,024 takes longer there, seconds.
SLOW_S = 0.01
#: (batch size, channels, height and width). The first of several layers of one kind is the smaller one.
FAST = {"small": [(2, 32, 14), (8, 64, 28)], "large": [(32, 128, 56), (64, 256, 56)], "overhead": [(1, 8, 4)]}
SLOW = {"small": [(1, 4, 7)], "large": [(2, 8, 14)], "overhead": [(1, 2, 4)]}

LAYER = "{{batch_size: {0}, in_channels: {1}, out_channels: {1}, input_size: {2}, kernel_size: 3, padding: 1}}"
#: On a fast device the ten minutes of all sweeps allow this; a slow one shows that each claim can be made.
MEASURE = {True: "{processes: 4, rounds: 5, max_time: 0.2}", False: "{processes: 1, rounds: 1, max_time: 0.01}"}

#: What the tests import beside convbench.
TESTS_IMPORT = ("pytest", "hypothesis", "playwright")

#: Layers that misbehave on the device, for `module:`; {module} is this text's name.
FAULTS = '''
import torch


class IllegalAccess(torch.nn.Conv2d):
    """Reads beyond a tensor on the device, after which CUDA refuses all further work of the process."""

    def forward(self, x):
        index = torch.full((1,), 2**30, device=x.device, dtype=torch.int64)
        return super().forward(x) + torch.take(x.flatten(), index).sum()


class TooLarge(torch.nn.Conv2d):
    """Asks for more memory than any device has."""

    def forward(self, x):
        return super().forward(x) + torch.empty(2**46, device=x.device)[0]
'''


class Claim(NamedTuple):
    """A line of the table; `holds` is None where the device cannot show it."""

    claim: str
    figure: str
    holds: bool | None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="accelerator")
    parser.add_argument("--folder", type=Path, default=Path("gpu"))
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    try:
        device = devices.resolve(options.device)
    except devices.AbsentError as error:
        print(error)
        return 2
    bench = Bench(device, options.device, options.folder)
    claims = []
    for claim in bench.claims():
        print(f"{claim.claim}: {claim.figure}", file=sys.stderr, flush=True)
        claims.append(claim)
    words = {True: "yes", False: "NO", None: "not shown here"}
    known = accelerators.describe([options.device])["accelerator"]
    print(f"{known}, torch {torch.__version__}, convbench {convbench.__version__}\n")
    rows = [[claim.claim, claim.figure, words[claim.holds]] for claim in claims]
    show_table(("claim", "figure", "holds"), rows, markdown=options.markdown)
    print("\n".join(map(str, bench.reports)))
    return int(any(claim.holds is False for claim in claims))


class Bench:
    """The claims about one device. `reports` are the pages that were written."""

    def __init__(self, device: torch.device, name: str, folder: Path) -> None:
        self.device = device
        self.name = name
        self.folder = folder
        self.reports: list[Path] = []
        folder.mkdir(parents=True, exist_ok=True)
        self.queue = devices.Stream(device)
        square = torch.ones(1024, 1024, device=device)
        multiply = partial(torch.mm, square, square)
        timer.first_call(multiply, self.queue)
        self.is_fast = timer.first_call(multiply, self.queue) < SLOW_S
        self.layers = FAST if self.is_fast else SLOW

    def claims(self) -> Iterator[Claim]:
        """Each claim, as soon as it is known."""
        yield self._tests()
        yield from self._events()
        yield from self._dtypes()
        yield from self._settings()
        yield from self._faults()

    def _tests(self) -> Claim:
        """The tests marked `gpu`, in a process of their own, where the packages are there that they import."""
        claim = "the tests marked gpu hold"
        missing = [name for name in TESTS_IMPORT if importlib.util.find_spec(name) is None]
        if missing:
            return Claim(claim, f"not run without {', '.join(missing)}", None)
        root = Path(__file__).parent.parent
        command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        [*_, last] = done.stdout.strip().splitlines() or [done.stderr.strip()[-60:]]
        return Claim(claim, last.strip("= "), done.returncode == 0)

    def _events(self) -> Iterator[Claim]:
        """Events against a wall clock over a second, and a clock that is read early."""
        step = product(self.device, self.queue.synchronize)
        block = timer.time_block(step, 0.05, self.queue)
        calls = max(3, round(1.0 / block.median_s))
        begin = perf_counter()
        for _ in range(calls):
            step()
        launched = perf_counter() - begin
        self.queue.synchronize()
        wall_s = (perf_counter() - begin) / calls
        ratio = block.median_s / wall_s
        clock = "events" if self.queue.has_events else "a clock around waits"
        yield Claim(f"{clock} and a wall clock over 1 s agree", f"ratio {ratio:.3f}", 0.9 < ratio < 1.1)
        early = launched / (wall_s * calls)
        yield Claim("a clock read before a wait would be wrong", f"{early:.1%} of the time", early < 0.9)

        class Early(devices.Stream):
            """A queue that nobody awaits."""

            def synchronize(self) -> None:
                return None

        torch.get_device_module(self.device).synchronize()
        try:
            planted = timer.time_block(step, 0.02, Early(self.device)).median_s
            figure, found = f"{planted / wall_s:.1%} of the time", planted < 0.9 * wall_s
        except RuntimeError as error:
            figure, found = str(error).splitlines()[0][:60], True
        self.queue.synchronize()
        yield Claim("a planted early clock is seen or refused", figure, found)

    def _dtypes(self) -> Iterator[Claim]:
        axes = {
            "dtype": ["float32", "float16", "bfloat16"],
            "memory_format": ["contiguous", "channels_last"],
            "direction": ["forward", "backward", "train_step"],
        }
        run = self._run("dtypes", ("small", "large"), axes)
        yield from self._sound("dtypes, formats and directions", run)
        best = run[self._is_largest(run, "large") & (run.direction == "forward")]
        share = best.efficiency.max()
        yield Claim("a large layer is below the best product", f"{share:.1%} of the roof", bool(share <= 1.05))
        half = best[best.dtype == "bfloat16"].efficiency.max()
        holds = bool(half > 0.3) if self.is_fast else None
        yield Claim("a large bfloat16 layer is near the best product", f"{half:.1%} of the roof", holds)
        spread = run.spread.median()
        yield Claim("processes agree", f"median spread {spread:.1%}", bool(spread < 0.1) if self.is_fast else None)

    def _settings(self) -> Iterator[Claim]:
        for name, axes, layers in (
            ("cold and hot", {"cache": ["hot", "cold"]}, ("small", "large")),
            ("precisions of float32", {"fp32_precision": ["default", "ieee", "tf32"]}, ("large",)),
            ("autocast", {"autocast": ["none", "bfloat16"]}, ("large",)),
            ("cudnn_benchmark", {"cudnn_benchmark": [False, True]}, ("large",)),
            ("deterministic", {"deterministic": [False, True], "direction": ["forward", "backward"]}, ("small",)),
            ("execution", {"execution": ["eager", "compiled", "graph"]}, ("small", "large")),
            *self._both_devices(),
        ):
            run = self._run(name, layers, axes)
            yield from self._sound(name, run)
            setting = next(iter(axes))
            timed = run[run.status == "passed"]
            times = timed[self._is_largest(timed, layers[-1])].groupby(setting).typical_s.min()
            usual = str(axes[setting][0])
            for value, seconds in times.items():
                if str(value) != usual and usual in map(str, times.index):
                    ratio = seconds / next(of for at, of in times.items() if str(at) == usual)
                    slow = {"cache": ratio > 0.95, "cudnn_benchmark": ratio < 1.1, "fp32_precision": ratio > 0.1}
                    yield Claim(f"{setting} {value} beside {usual}", f"{ratio:.2f} of the time", slow.get(setting))
        run = self._run("launches", ("overhead",), {"direction": ["forward"]})
        device_s, host_s = run.typical_s.iloc[0], run.host_s.iloc[0]
        figure = f"{device_s * 1e6:.1f} us on the device, {host_s * 1e6:.1f} us to launch"
        known = self.queue.can_hold
        yield Claim("a launch-bound layer's time is the device's", figure, bool(device_s < host_s) if known else None)

    def _both_devices(self) -> list[tuple[str, dict[str, list[Any]], tuple[str, ...]]]:
        """A sweep over the first two devices, where there are two. A third-party backend may have renamed its type."""
        kind = self.device.type if self.device.type in DEVICES else "privateuseone"
        names = [f"{kind}:0", f"{kind}:1"]
        return [("both devices", {"device": names}, ("large",))] if devices.device_count(self.device) > 1 else []

    def _faults(self) -> Iterator[Claim]:
        """Planted faults cost their own case alone."""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "planted_faults.py").write_text(FAULTS)
            sys.path.insert(0, folder)
            modules = ["planted_faults:IllegalAccess", "planted_faults:TooLarge", "torch.nn.Conv2d"]
            with Importable(folder):
                run = self._run("faults", ("small",), {"module": modules})
        statuses = dict(zip(run.module, run.status, strict=True))
        illegal = statuses[modules[0]]
        allowed = ("crashed",) if self.device.type == "cuda" else ("crashed", "error", "failed")
        yield Claim("an illegal access ends its case", str(illegal), illegal in allowed)
        yield Claim("memory that is not there ends its case", statuses[modules[1]], statuses[modules[1]] in MEMORY)
        yield Claim("torch's layer beside them is right", statuses[modules[2]], statuses[modules[2]] == "passed")

    def _is_largest(self, run: pd.DataFrame, layer: str) -> pd.Series:
        """Which cases are of the largest layer of a kind."""
        _, channels, side = self.layers[layer][-1]
        return (run.input_height == side) & (run.in_channels == channels)

    def _sound(self, name: str, run: pd.DataFrame) -> Iterator[Claim]:
        counted = run.status.value_counts().to_dict()
        figure = ", ".join(f"{count} {status}" for status, count in counted.items())
        yield Claim(f"{name}: right, or skipped with a reason", figure, counted.keys() <= {"passed", "skipped"})

    def _run(self, name: str, layers: tuple[str, ...], axes: dict[str, list[Any]]) -> pd.DataFrame:
        """The table of a sweep over these axes, which is measured and reported."""
        own = {"device": [self.name], **axes}
        text = f"name: gpu-{name.replace(' ', '-')}\nmeasure: {MEASURE[self.is_fast]}\naxes:\n"
        text += "".join(f"  {axis}: [{', '.join(map(_word, values))}]\n" for axis, values in own.items())
        text += "cases:\n" + "".join(f"  - {LAYER.format(*size)}\n" for layer in layers for size in self.layers[layer])
        path = self.folder / f"{name.replace(' ', '-')}.yaml"
        path.write_text(text)
        done = convbench.run(path, db=str(self.folder / "gpu.db"), fresh=True)
        self.reports.append(done.write_report(self.folder))
        return done.frame()


#: How a device says that it has no memory; one without statistics of its own may say it in other words.
MEMORY = ("out_of_memory", "error", "crashed")


class Importable:
    """A folder from which workers import modules."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        self._before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (self._folder, self._before)))

    def __exit__(self, *_: object) -> None:
        if self._before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = self._before


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    sys.exit(main())
