"""What `convbench ci init` writes, run as a CI would: a user's repository, its lock files, a branch that is slower."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from ci_services import Done, GitHub, GitLab

from convbench.ci.workflow import PLACES, Service, workflow

ROOT = Path(__file__).parent.parent
#: Where torch is: the environments of these tests see it from there, so that nothing is installed twice.
SITE = next(path for path in sys.path if path.endswith("site-packages"))

SWEEP = """\
name: speed
axes: {in_channels: 16, out_channels: 16, kernel_size: 3, input_size: 32, padding: 1, threads: 1, module: layers:Conv}
measure: {passes: 1, rounds: 3, max_time: 0.1}
compare: {threshold: 0.99, beyond_l2: 0.99}
"""
LAYER = """\
import torch


class Conv(torch.nn.Conv2d):
    def forward(self, x):
        {}return super().forward(x)
"""


def wheel(folder: Path, name: str, version: str, files: Mapping[str, str], *, command: str | None = None) -> Path:
    """A package as pip takes it, without building anything."""
    about = f"{name.replace('-', '_')}-{version}.dist-info"
    contents = {
        **files,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if command:
        contents[f"{about}/entry_points.txt"] = f"[console_scripts]\n{command}\n"
    contents[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in [*contents, f"{about}/RECORD"])
    path = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name_, text in contents.items():
            archive.writestr(name_, text)
    return path


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def lock(version: str) -> str:
    return f"--no-index\n--find-links wheels\ntorch-from-here=={version}\n"


#: convbench with as few epochs as it judges by: the layer is twice as slow.
FEW_EPOCHS = """\
import sys
from convbench.cli import main as convbench


def main():
    if sys.argv[1] == "ab":
        from convbench.analysis import side_by_side
        side_by_side.SCREEN = 1
        sys.argv += ["--epochs", "3"]
    convbench()
"""


class Repository:
    """A user's repository: `main`, and a branch with a slower layer and another lock file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "wheels").mkdir(parents=True)
        (folder / "configs").mkdir()
        for version in ("1.0", "1.1"):
            path = {"torch_from_here.pth": f"{SITE}\n", "which_lock.py": f"version = {version!r}\n"}
            wheel(folder / "wheels", "torch-from-here", version, path)
        self.convbench = wheel(
            folder / "wheels",
            "convbench-from-here",
            "1.0",
            {"convbench_from_here.pth": f"{SITE}\n{ROOT}\n", "few_epochs.py": FEW_EPOCHS},
            command="convbench = few_epochs:main",
        )
        (folder / "configs" / "speed.yaml").write_text(SWEEP, encoding="utf-8")
        (folder / "layers.py").write_text(LAYER.format(""), encoding="utf-8")
        (folder / "requirements.txt").write_text(lock("1.0"), encoding="utf-8")
        (folder / ".gitignore").write_text("__pycache__/\nreports/\nconvbench-out/\nresults/\n", encoding="utf-8")
        git(folder, "init", "-q", "-b", "main")
        git(folder, "add", ".")
        git(folder, "commit", "-qm", "begun")
        self.base = git(folder, "rev-parse", "HEAD")
        git(folder, "checkout", "-qb", "slower;$(touch${IFS}pwned)")
        (folder / "layers.py").write_text(LAYER.format("super().forward(x)\n        "), encoding="utf-8")
        (folder / "requirements.txt").write_text(lock("1.1"), encoding="utf-8")
        git(folder, "commit", "-qam", "slower; another lock")
        self.head = git(folder, "rev-parse", "HEAD")
        git(folder, "checkout", "-q", "main")
        (folder / "README").write_text("main has gone on\n", encoding="utf-8")
        git(folder, "add", "README")
        git(folder, "commit", "-qm", "gone on")
        self.target = git(folder, "rev-parse", "HEAD")

    def written(self, service: Service) -> Any:
        return yaml.safe_load(
            workflow(
                service,
                configs=["configs/speed.yaml"],
                install=str(self.convbench),
                output=PLACES[service],
                version="1.0",
            )
        )


#: convbench as far as the shell around it goes: it notes how it was called and leaves what was asked for.
NOTING = """\
import json, pathlib, sys


def main():
    pathlib.Path("called.json").write_text(json.dumps(sys.argv[1:]))
    options = dict(zip(sys.argv, sys.argv[1:]))
    pathlib.Path(options["--summary"]).write_text("### something\\n")
    pathlib.Path(options["--junit"]).write_text("<testsuites/>")
    sys.exit(3)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
    path.chmod(0o755)


#: GitLab's notes, as far as the script asks: list, create, change.
CURL = """\
import json, os, pathlib, sys
store = pathlib.Path(os.environ["HOME"], "notes.json")
notes = json.loads(store.read_text()) if store.exists() else [{"id": 1, "body": "somebody's own"}]
assert "PRIVATE-TOKEN: the token" in sys.argv and "--fail" in sys.argv
url = next(word for word in sys.argv if word.startswith("https://"))
place = "https://gitlab.example/api/v4/projects/12/merge_requests/7/notes"
if "--request" not in sys.argv:
    assert url == place + "?sort=asc&per_page=100"
    print(json.dumps(notes))
    sys.exit()
name, _, file = sys.argv[sys.argv.index("--data-urlencode") + 1].partition("@")
assert name == "body"
body = pathlib.Path(file).read_text(encoding="utf-8")
if sys.argv[sys.argv.index("--request") + 1] == "POST":
    assert url == place
    notes.append({"id": 1 + len(notes), "body": body, "edits": 0})
else:
    [note] = [note for note in notes if url == f"{place}/{note['id']}"]
    note.update(body=body, edits=note["edits"] + 1)
store.write_text(json.dumps(notes))
"""

#: GitHub's command, as far as comments go: `gh api [--paginate] [--method M] URL [--jq FILTER] [--field body=@FILE]`.
GH = """\
import json, os, pathlib, sys
store = pathlib.Path(os.environ["HOME"], "comments.json")
comments = json.loads(store.read_text()) if store.exists() else []
assert os.environ["GH_TOKEN"] == "the token" and sys.argv[1] == "api"
url = next(word for word in sys.argv if word.startswith("repos/"))
if "--field" not in sys.argv:
    assert url == "repos/team/layers/issues/7/comments" and "--paginate" in sys.argv, sys.argv
    assert 'startswith(env.MARKER)' in sys.argv[-1] and '"github-actions[bot]"' in sys.argv[-1]
    print(*(c["id"] for c in comments if c["body"].startswith(os.environ["MARKER"])), sep="\\n")
    sys.exit()
body = pathlib.Path(sys.argv[-1].removeprefix("body=@")).read_text(encoding="utf-8")
method = sys.argv[sys.argv.index("--method") + 1]
if method == "POST":
    assert url == "repos/team/layers/issues/7/comments"
    comments.append({"id": 100 + len(comments), "body": body, "edits": 0})
else:
    [comment] = [c for c in comments if url == f"repos/team/layers/issues/comments/{c['id']}"]
    comment.update(body=body, edits=comment["edits"] + 1)
store.write_text(json.dumps(comments))
"""


#: A runner's Python, but that an environment is a copy of one made once: the same files, in a tenth of the time.
PYTHON = """\
import os, shutil, sys
if sys.argv[1:3] == ["-m", "venv"] and len(sys.argv) == 4:
    shutil.copytree({made!r}, sys.argv[3], symlinks=True)
else:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""


@pytest.fixture(scope="module")
def made_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "environment"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture
def machine(tmp_path: Path, made_environment: Path) -> dict[str, str]:
    """The environment of a runner: no index to install from, a `python`, and what a service has installed."""
    home, programs = tmp_path / "home", tmp_path / "programs"
    home.mkdir()
    programs.mkdir()
    program(programs, "gh", GH)
    program(programs, "curl", CURL)
    program(programs, "python", PYTHON.format(made=str(made_environment), python=os.path.realpath(sys.executable)))
    (programs / "python3").symlink_to(programs / "python")
    return {
        "PATH": f"{programs}:{os.defpath}",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": os.devnull,
        "GITHUB_HEAD_REF": "slower;$(touch${IFS}pwned)",
    }


EVENT = {
    "github.repository": "team/layers",
    "github.token": "the token",
    "github.actor": "somebody",
    "github.run_attempt": 1,
    "matrix.config": "configs/speed.yaml",
    "strategy.job-index": 0,
    "secrets.CONVBENCH_DB": "",
}


def on_pull_request(repository: Repository) -> dict[str, object]:
    about = "github.event.pull_request"
    return {
        **EVENT,
        "github.event_name": "pull_request",
        f"{about}.head.sha": repository.head,
        f"{about}.base.sha": repository.target,
        f"{about}.head.repo.full_name": "team/layers",
        f"{about}.number": 7,
    }


def ran(done: Done | None) -> Done:
    assert done is not None
    return done


@pytest.mark.slow
def test_a_pull_request_with_a_slower_layer_fails_and_says_so(
    repository: Repository, machine: dict[str, str], tmp_path: Path
) -> None:
    service = GitHub(
        workflow=repository.written(Service.GITHUB),
        checkout=repository.folder,
        home=tmp_path / "runner",
        known=on_pull_request(repository),
        environment=machine,
    )
    assert service.run("history") is None
    done = ran(service.run("pull-request"))
    assert done.exit_code == 1, done.log
    work = tmp_path / "runner" / "temp" / "convbench"
    assert git(work / "base", "rev-parse", "HEAD") == repository.base, "where the branch began, not where main is now"
    for side, version in (("base", "1.0"), ("head", "1.1")):
        assert which_lock(work / f"{side}-environment") == version
    assert done.summary.startswith("### convbench, speed: regressed\n"), done.log
    assert "Measured side by side" in done.summary
    assert f"commit {repository.base} -> {repository.head}" in done.summary
    kept = done.artifacts["convbench-0"]
    [test] = ElementTree.parse(kept / "junit.xml").iter("testcase")
    failure = test.find("failure")
    assert failure is not None and failure.attrib["type"] == "regressed"
    assert done.steps[-1] == "Keep the results"

    for edits in (0, 1):  # a later push
        commented = ran(service.run("comment"))
        assert not commented.failed, commented.log
        [comment] = json.loads((tmp_path / "home" / "comments.json").read_text(encoding="utf-8"))
        assert comment["edits"] == edits
        assert comment["body"] == "<!-- convbench configs/speed.yaml -->\n" + done.summary
    fork = {"github__event__pull_request__head__repo__full_name": "somebody/layers"}
    assert service.run("comment", **fork) is None
    assert service.run("comment", github__actor="dependabot[bot]") is None
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.slow
def test_the_history_keeps_its_baseline_until_the_environment_is_another(
    repository: Repository, machine: dict[str, str], tmp_path: Path
) -> None:
    service = GitHub(
        workflow=repository.written(Service.GITHUB),
        checkout=repository.folder,
        home=tmp_path / "runner",
        known={**EVENT, "github.event_name": "schedule", "inputs.accept": ""},
        environment=machine,
    )
    assert service.run("pull-request", github__run_id=1) is None
    assert service.run("comment", github__run_id=1, github__event__pull_request__head__repo__full_name="") is None
    first = ran(service.run("history", github__run_id=1))
    assert first.exit_code == 0, first.log
    assert first.summary.startswith("### convbench, speed: 1 passed\n")
    [(name, baseline)] = baselines(repository)
    assert name.startswith("main/speed/")
    assert sorted(path.suffix for path in (first.artifacts["convbench-history-0"]).glob("*.html")) == [".html"] * 2

    built = "Build the environment"
    (repository.folder / "reports" / "convbench.db").unlink()
    second = ran(service.run("history", leave_out=built, github__run_id=2))
    assert second.exit_code == 0, second.log
    assert "From stored runs" in second.summary
    assert baselines(repository) == [(name, baseline)], "a baseline that moved along would hide what creeps"

    with sqlite3.connect(repository.folder / "reports" / "convbench.db") as connection:
        [told] = connection.execute("select environment from runs where id = ?", [baseline]).fetchone()
        changed = json.dumps({**json.loads(told), "torch": "1.0"})
        connection.execute("update runs set environment = ? where id = ?", [changed, baseline])
    third = ran(service.run("history", leave_out=built, github__run_id=3))
    assert third.exit_code == 0, third.log
    assert f"Not comparable with {name}, see the log: this run is the new baseline." in third.summary
    [(_, newer)] = baselines(repository)
    assert newer != baseline


@pytest.mark.slow
def test_a_merge_request_is_measured_from_both_lock_files_and_noted_once(
    repository: Repository, machine: dict[str, str], tmp_path: Path
) -> None:
    files = {"noting.py": NOTING}
    wheel(repository.folder / "wheels", "convbench-from-here", "1.0", files, command="convbench = noting:main")
    git(repository.folder, "checkout", "-q", repository.head)
    service = GitLab(configuration=repository.written(Service.GITLAB), checkout=repository.folder, environment=machine)
    about = {
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": repository.base,
        "CI_MERGE_REQUEST_IID": "7",
        "CI_PROJECT_ID": "12",
        "CI_API_V4_URL": "https://gitlab.example/api/v4",
        "TMPDIR": str(tmp_path),
    }
    done = service.run("convbench merge request", **about)
    assert done.exit_code == 3, done.log
    [work] = tmp_path.glob("tmp.*")
    assert json.loads((repository.folder / "called.json").read_text(encoding="utf-8")) == [
        *("ab", "configs/speed.yaml"),
        *("--a-python", f"{work}/base-environment/bin/python", "--a-path", f"{work}/base"),
        *("--b-python", f"{work}/head-environment/bin/python", "--b-path", str(repository.folder)),
        *("--summary", "convbench-out/summary.md", "--junit", "convbench-out/junit.xml"),
        *("--fail-on", "regression,failed,crashed,timed_out,out_of_memory,error"),
    ]
    for side, version in (("base", "1.0"), ("head", "1.1")):
        assert which_lock(work / f"{side}-environment") == version
    assert not (tmp_path / "home" / "notes.json").exists(), "without a token nothing is noted"
    for edits in (0, 1):
        service.run("convbench merge request", after_alone=True, **about, CONVBENCH_TOKEN="the token")
        own, ours = json.loads((tmp_path / "home" / "notes.json").read_text(encoding="utf-8"))
        assert own["body"] == "somebody's own"
        assert (ours["edits"], ours["body"]) == (edits, "<!-- convbench configs/speed.yaml -->\n### something\n")


def which_lock(environment: Path) -> str:
    asked = [environment / "bin/python", "-c", "import which_lock; print(which_lock.version)"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


def baselines(repository: Repository) -> list[tuple[str, str]]:
    with sqlite3.connect(repository.folder / "reports" / "convbench.db") as connection:
        return connection.execute(
            "select baselines.name, runs.id from baselines join runs on runs.key = baselines.run_key"
        ).fetchall()
