"""`convbench ab` for real: another interpreter, two source trees, what lies about, what cannot be, and Ctrl-C."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from commands import Said
from processes import start

import convbench
from convbench.analysis.comparison import side_by_side
from convbench.engine import local
from convbench.engine.client import WorkerClient
from convbench.engine.forks import ForkServer
from convbench.engine.local import LocalEngine, Setup
from convbench.engine.pool import WorkerPool
from convbench.errors import RequestError
from convbench.model.case import WorkerSettings

#: How much slower side B is made, and what is to count: far enough apart for a machine that does other things.
SLOWER, THRESHOLD = 1.3, 0.12
#: Pairs that tell that beside other tests: the interval of three is 2.6 times as wide as their resamples.
PAIRS = 6
SWEEP = """\
name: mine
axes:
  in_channels: 16
  out_channels: 16
  kernel_size: 3
  input_size: 32
  threads: 1
  module: ["mine:Conv", torch.nn.Conv2d]
"""
#: A user's layer; what it is imported under goes into a file that a variable names.
MINE = """\
import json, os, sys, time
import torch
import convbench

class Conv(torch.nn.Conv2d):
    def forward(self, x):
        began = time.perf_counter()
        y = super().forward(x)
        until = began + {slower} * (time.perf_counter() - began)
        while time.perf_counter() < until:
            pass
        return y

if "NOTES" in os.environ:
    with open(os.environ["NOTES"], "a") as notes:
        seen = dict(python=sys.executable, prefix=sys.prefix, path=sys.path, mine=__file__)
        print(json.dumps(dict(seen, torch=torch.__file__, convbench=convbench.__file__)), file=notes)
"""
#: What would break whoever imports it.
BROKEN = "raise RuntimeError('not this one')\n"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing in it."""
    folder = tmp_path_factory.mktemp("bare") / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def with_torch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that has torch and what comes with it, but not convbench."""
    folder = tmp_path_factory.mktemp("with_torch") / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    [packages] = folder.glob("lib/python*/site-packages")
    torch = importlib.util.find_spec("torch")
    assert torch is not None
    (packages / "torch.pth").write_text(str(Path(str(torch.origin)).parent.parent), encoding="utf-8")
    return folder


@pytest.fixture
def littered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, where files lie about that bear names of torch's, of convbench's and of Python's."""
    monkeypatch.chdir(tmp_path)
    for name in ("torch.py", "json.py", "timer.py", "convbench/__init__.py", "convbench/worker/__init__.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(BROKEN, encoding="utf-8")
    return tmp_path


def tree(folder: Path, slower: float) -> Path:
    folder.mkdir()
    (folder / "mine.py").write_text(MINE.replace("{slower}", str(slower)), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_a_slower_tree_under_another_interpreter_is_found(
    command: object, littered: Path, with_torch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees = tree(littered / "a", 1.0), tree(littered / "b", SLOWER)
    for folder in (littered, littered / "elsewhere"):  # found by neither side, for its own folder is first
        folder.mkdir(exist_ok=True)
        (folder / "mine.py").write_text(BROKEN, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(littered / "elsewhere"))
    (littered / "sweep.yaml").write_text(SWEEP, encoding="utf-8")
    python = with_torch / "bin" / "python"
    without = subprocess.run([python, "-c", "import convbench"], cwd="/", capture_output=True, check=False)
    assert without.returncode == 1, "that interpreter does not have convbench"
    options = ["--a-python", str(python), "--a-path", "a", "--b-path", "b", "--threshold", str(THRESHOLD)]
    options += ["--a-env", "NOTES=a.txt", "--b-env", "NOTES=b.txt", "--pairs", str(PAIRS)]
    said: Said = command("ab", "sweep.yaml", "--no-page", *options)
    assert said.code == 1, said
    first, *_, last = said.out.splitlines()
    assert first.startswith("regressed ")
    assert "mine:Conv" in first
    assert last.startswith("regressed: ") and " 1 slower " in last
    assert ", 1 unchanged; judged 2 of 2; " in last
    assert f"\ndiffers: module path {trees[0]} -> {trees[1]}\n" in said.out
    assert f"\ndiffers: interpreter {python} -> {sys.executable}\n" in said.out
    assert "1 of 2 cases suspected, measured again beside 1 control" in said.err
    for side, own in zip("ab", (str(python), sys.executable), strict=True):
        notes = [json.loads(line) for line in Path(f"{side}.txt").read_text(encoding="utf-8").splitlines()]
        # A noisy case may be left open by them, and get as many again.
        assert len(notes) - side_by_side.SCREEN in (PAIRS, 2 * PAIRS), "a fresh worker in each pair"
        for note in notes:
            assert note["python"] == own
            assert note["convbench"] == convbench.__file__, "the conductor's"
            assert note["mine"] == str(littered / side / "mine.py")
            assert note["path"][0] == str(littered / side)
            assert str(littered) not in note["path"], "the folders stand instead of the current one"
            assert str(Path(convbench.__file__).parent / "worker") not in note["path"]
    assert not Path("reports").exists(), "nothing is stored"


def test_the_help_has_the_defaults(command: object) -> None:
    said: Said = command("ab", "--help")
    told = " ".join(said.out.split())
    assert f"Smallest change to report: 0.01 is 1 %. [default: {side_by_side.THRESHOLD}]" in told
    more = "undecided cases get as many again"
    assert f"Pairs that confirm a suspected change; {more}. [default: {side_by_side.CONFIRMATION}]" in told


@pytest.fixture
def client_of() -> Iterator[object]:
    made: list[WorkerPool] = []

    def begin(*path: Path) -> WorkerClient:
        made.append(WorkerPool(LocalEngine(Setup(path=tuple(map(str, path))))))
        return made[-1].client(WorkerSettings(threads=1))

    yield begin
    for pool in made:
        pool.close()


@pytest.mark.slow
def test_modules_of_the_user_come_from_the_current_folder_or_from_those_named(
    client_of: object, littered: Path
) -> None:
    a, b = tree(littered / "a", 1.0), tree(littered / "b", 1.0)
    (b / "other.py").write_text("from mine import Conv\n", encoding="utf-8")
    (littered / "here.py").write_text("from torch.nn import Conv2d as Conv\n", encoding="utf-8")
    current: WorkerClient = client_of()
    current.find_module("here:Conv", deadline_s=60)
    with pytest.raises(RequestError, match="No module named 'mine'"):
        current.find_module("mine:Conv", deadline_s=60)
    named: WorkerClient = client_of(a, b)
    named.find_module("other:Conv", deadline_s=60)
    with pytest.raises(RequestError, match="No module named 'here'"):
        named.find_module("here:Conv", deadline_s=60)


def test_an_interpreter_that_cannot_measure_is_reported_with_its_side(
    command: object, tmp_path: Path, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "ForkServer", ForkServer)  # no process that other tests keep
    (tmp_path / "sweep.yaml").write_text(SWEEP.replace('["mine:Conv", torch.nn.Conv2d]', "torch.nn.Conv2d"), "utf-8")
    before = psutil.Process().children()  # a browser or a database of other tests
    words = tmp_path / "words"
    words.write_text("no program", encoding="utf-8")
    words.chmod(0o644)
    cases = [
        (
            "./words",
            "--b-python ./words: no such program, or it is not executable",
            "  hint: give the interpreter: a path, or a name on PATH",
        ),
        (str(bare), f"--b-python {bare}: no such program", f"  hint: give the interpreter: {bare}/bin/python"),
    ]
    for python, message, hint in cases:
        said: Said = command("ab", "sweep.yaml", "--b-python", python)
        assert (said.code, said.out) == (2, "")
        assert said.err.startswith(f"error: {message}")
        assert hint in said.err
    words.chmod(0o755)
    python = bare / "bin" / "python"
    for name, message, hint in [
        (str(words), f"side A: cannot start a worker with {words}: Exec format error", ""),
        ("/bin/false", "side A: the worker did not start: the worker ended with exit code 1", "import torch"),
        (
            str(python),
            "side A: the worker did not start: the worker ended with exit code 1 "
            "(ModuleNotFoundError: No module named 'torch')",
            f"  hint: install torch there: {python} -m pip install torch",
        ),
    ]:
        said = command("ab", "sweep.yaml", "--a-python", name)
        assert (said.code, said.out) == (2, "")
        assert said.err.startswith(f"error: {message}")
        assert hint in said.err
    assert psutil.Process().children() == before, "no worker is left"


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_leaves_no_worker(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(SWEEP.replace('["mine:Conv", torch.nn.Conv2d]', "torch.nn.Conv2d"), "utf-8")
    process = start(tmp_path, "ab", "sweep.yaml", "--b-env", "ONEDNN_MAX_CPU_ISA=AVX2")
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("screen, pair 1 of ")
        workers = psutil.Process(process.pid).children(recursive=True)
        assert len(workers) == 4, "two, and the processes that forked them"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out) == (130, "")
    assert err == "an interrupted ab is not stored; the next ab measures everything again\ninterrupted\n"
    until = time.monotonic() + 60
    while any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]
