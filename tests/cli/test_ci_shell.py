"""The shell of generated workflows: which tool installs a lock file, and when a run becomes the baseline."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from ci_user import ROOT, program, runner

from convbench.store.identity import checked_baseline_name

TEMPLATES = ROOT / "convbench" / "report" / "ci" / "templates"


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    made = tmp_path / "environment of nothing"
    made.mkdir()
    return runner(tmp_path, made)


def functions(
    script: str, machine: Mapping[str, str], folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """What a shell makes of the workflow's functions."""
    defined = (TEMPLATES / "functions.sh").read_text(encoding="utf-8")
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", f"{defined}\n{script}"]
    return subprocess.run(
        command, cwd=folder, env={**machine, **variables}, capture_output=True, text=True, check=False
    )


#: A Python whose environments hold one that notes what it is asked to do.
ENVIRONMENT_THAT_NOTES = """\
import pathlib, sys
assert sys.argv[1:3] == ["-m", "venv"]
made = pathlib.Path(sys.argv[3], "bin", "python")
made.parent.mkdir(parents=True)
made.write_text('#!/bin/sh\\necho "$@" >> "$HOME/pip"\\n')
made.chmod(0o755)
"""
NOTING_TOOL = """\
import json, os, pathlib, sys
keys = ("UV_PROJECT_ENVIRONMENT", "VIRTUAL_ENV")
told = [pathlib.Path(sys.argv[0]).name, *sys.argv[1:], *(os.environ.get(key) for key in keys), os.getcwd()]
pathlib.Path(os.environ["HOME"], "told.json").write_text(json.dumps(told))
"""


@pytest.mark.parametrize(
    ("names", "tool", "uv", "poetry"),
    [
        (["uv.lock", "poetry.lock", "requirements.txt"], ["uv", "sync", "--frozen", "--inexact"], "new one", None),
        (["poetry.lock", "requirements.txt"], ["poetry", "install", "--no-interaction"], None, "new one"),
    ],
)
def test_the_tool_that_wrote_a_lock_file_installs_it(
    machine: dict[str, str], tmp_path: Path, names: list[str], tool: list[str], uv: str | None, poetry: str | None
) -> None:
    checkout, tools = tmp_path / "check out", tmp_path / "tools" / "bin"
    checkout.mkdir()
    tools.mkdir(parents=True)
    for name in names:
        (checkout / name).write_text("", encoding="utf-8")
    program(tools, tool[0], NOTING_TOOL)
    done = functions('environment "$PWD/check out" "new one"', machine, tmp_path, WORK=str(tmp_path))
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "home" / "told.json").read_text(encoding="utf-8"))
    assert told == [*tool, uv, poetry, str(checkout)]


@pytest.mark.parametrize(
    ("name", "installed"),
    [
        ("requirements.lock", "--requirement requirements.lock"),
        ("requirements.txt", "--requirement requirements.txt"),
        ("pylock.toml", "--requirement pylock.toml"),
        ("constraints.txt", "--constraint constraints.txt --editable ."),
    ],
)
def test_pip_installs_the_others(machine: dict[str, str], tmp_path: Path, name: str, installed: str) -> None:
    (tmp_path / name).write_text("", encoding="utf-8")
    program(tmp_path / "programs", "python", ENVIRONMENT_THAT_NOTES)
    done = functions("environment . new", machine, tmp_path, WORK=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "home" / "pip").read_text().splitlines()[-1] == f"-m pip install {installed}"


HISTORIAN = """\
import os, pathlib, sys
log = pathlib.Path(os.environ["HOME"], "calls")
if sys.argv[1:] == ["baseline", "list"]:
    print(os.environ["BASELINES"])
    sys.exit()
telling = ("run", "baseline", "set", "--against")
asked = [word for word in sys.argv[1:] if word in telling or word.startswith(("main", "baseline:", "2"))]
log.open("a").write(" ".join(asked) + "\\n")
if sys.argv[1] == "run" and os.environ["CODE"] == "refused":
    refuses = "--against" in sys.argv
    print("" if refuses else "reports/speed-20261126-032301-k7q2.html")
    sys.exit(4 if refuses else 1)
if sys.argv[1] == "run":
    print("reports/speed-20261126-032301-k7q2.html" if os.environ["CODE"] != "2" else "")
    sys.exit(int(os.environ["CODE"]))
"""
MAIN = "main/speed/A-Processor-2.4GHz"


@pytest.mark.parametrize(
    ("known", "accept", "code", "against", "is_set"),
    [
        (False, False, 0, False, True),  # the first night
        (False, False, 1, False, False),  # a wrong layer is no baseline
        (False, False, 3, False, False),
        (True, False, 0, True, False),
        (True, False, 1, True, False),
        (True, False, 4, True, True),  # another environment
        (True, True, 0, False, True),
        (True, True, 2, False, False),  # nothing was measured
    ],
)
def test_when_a_run_becomes_the_baseline(
    machine: dict[str, str], tmp_path: Path, known: bool, accept: bool, code: int, against: bool, is_set: bool
) -> None:
    work = tmp_path / "environment" / "bin"
    work.mkdir(parents=True)
    program(work, "convbench", HISTORIAN)
    variables = {
        "WORK": str(tmp_path),
        "CONFIG": "speed.yaml",
        "FAIL_ON": "none",
        "ACCEPT": "true" if accept else "",
        "CODE": str(code),
        "BASELINES": f"baseline  run\n{MAIN}x  1\nx{MAIN}  2" + (f"\n{MAIN}  3" if known else ""),
    }
    script = (TEMPLATES / "history.sh").read_text(encoding="utf-8")
    done = functions(f'{script}\nexit "$code"', machine, tmp_path, **variables)
    assert done.returncode == code, done.stderr
    assert (tmp_path / "home" / "calls").read_text().splitlines() == [
        "run" + (f" --against baseline:{MAIN}" if against else ""),
        *([f"baseline set {MAIN} 20261126-032301-k7q2"] if is_set else []),
    ]


def test_a_baseline_that_is_refused_before_measuring_is_replaced(machine: dict[str, str], tmp_path: Path) -> None:
    work = tmp_path / "environment" / "bin"
    work.mkdir(parents=True)
    program(work, "convbench", HISTORIAN)
    variables = {"WORK": str(tmp_path), "CONFIG": "speed.yaml", "FAIL_ON": "none", "ACCEPT": "", "CODE": "refused"}
    script = (TEMPLATES / "history.sh").read_text(encoding="utf-8")
    baselines = {"BASELINES": f"baseline  run\n{MAIN}  3"}
    done = functions(f'{script}\nexit "$code"', machine, tmp_path, **variables, **baselines)
    assert done.returncode == 4, done.stderr
    assert (tmp_path / "home" / "calls").read_text().splitlines() == [
        f"run --against baseline:{MAIN}",
        "run",
        f"baseline set {MAIN} 20261126-032301-k7q2",
    ]


def test_without_a_lock_file_nothing_is_guessed(machine: dict[str, str], tmp_path: Path) -> None:
    done = functions('environment "$PWD/home" new; echo went on', machine, tmp_path, WORK=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "has no lock file: neither uv.lock" in done.stderr


def test_a_baseline_may_have_the_name_it_gets(machine: dict[str, str], tmp_path: Path) -> None:
    for config, name in (
        ("configs/quick.yaml", "main/quick/A-Processor-2.4GHz"),
        ("a b/größe.v2.yaml", "main/gr-e.v2/A-Processor-2.4GHz"),
        ("x" * 200 + ".yaml", "main/" + "x" * 95),
    ):
        done = functions('baseline_name "$CONFIG"', machine, tmp_path, CONFIG=config)
        assert (done.stdout, done.stderr) == (f"{name}\n", "")
        assert checked_baseline_name(name) == name
