"""A user's repository, and the machine that a CI runs its jobs on: what the tests of generated workflows need."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import yaml

from convbench.report.ci.workflow import PLACES, Service, workflow

ROOT = Path(__file__).parent.parent
#: Where torch is: the environments of these tests see it from there, so that nothing is installed twice.
SITE = next(path for path in sys.path if path.endswith("site-packages"))

SWEEP = """\
name: speed
axes: {in_channels: 16, out_channels: 16, kernel_size: 3, input_size: 32, padding: 1, threads: 1, module: layers:Conv}
measure: {processes: 1, rounds: 3, max_time: 0.1}
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
    return f"./wheels/torch_from_here-{version}-py3-none-any.whl\n"


#: convbench with few pairs: the layer is twice as slow, and the interval of four tells that beside other tests.
FEW_PAIRS = """\
import os
import sys
from convbench.cli import main as convbench


def main():
    sys.executable = os.environ["PYTHON_OF_TESTS"]
    if sys.argv[1:3] == ["ci", "pull-request"]:
        from convbench.analysis.comparison import side_by_side
        side_by_side.SCREEN = 1
        sys.argv += ["--pairs", "4"]
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
            {"convbench_from_here.pth": f"{SITE}\n{ROOT}\n", "few_pairs.py": FEW_PAIRS},
            command="convbench = few_pairs:main",
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


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
    path.chmod(0o755)


class Notes(BaseHTTPRequestHandler):
    """GitLab's notes, as far as convbench asks: list, create, change."""

    server: NotesServer

    def _answered(self, answer: object) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def _body(self) -> str:
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        return parse_qs(form, strict_parsing=True)["body"][0]

    def do_GET(self) -> None:
        assert self.headers["PRIVATE-TOKEN"] == "the token"
        place, _, query = self.path.partition("?")
        assert place == NOTES and query.startswith("sort=asc&per_page=100&page=")
        page = int(query.rpartition("=")[2])
        self._answered(self.server.notes[100 * (page - 1) : 100 * page])

    def do_POST(self) -> None:
        assert (self.headers["PRIVATE-TOKEN"], self.path) == ("the token", NOTES)
        self.server.notes.append({"id": 1 + len(self.server.notes), "body": self._body(), "edits": 0})
        self._answered({})

    def do_PUT(self) -> None:
        assert self.headers["PRIVATE-TOKEN"] == "the token"
        [note] = [note for note in self.server.notes if self.path == f"{NOTES}/{note['id']}"]
        note.update(body=self._body(), edits=note["edits"] + 1)
        self._answered({})

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


NOTES = "/api/v4/projects/12/merge_requests/7/notes"


class NotesServer(ThreadingHTTPServer):
    """A GitLab on this machine. `others` notes are there already."""

    def __init__(self, others: int) -> None:
        super().__init__(("127.0.0.1", 0), Notes)
        self.notes: list[dict[str, Any]] = [{"id": 1 + at, "body": "somebody's own"} for at in range(others)]

    @property
    def variables(self) -> dict[str, str]:
        """What GitLab gives the job of a merge request."""
        api = f"http://127.0.0.1:{self.server_port}/api/v4"
        return {"CI_API_V4_URL": api, "CI_PROJECT_ID": "12", "CI_MERGE_REQUEST_IID": "7"}


@contextmanager
def gitlab(others: int = 1) -> Iterator[NotesServer]:
    with NotesServer(others) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


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


#: A Python whose environments are copies of one made once: the same files, in a tenth of the time.
PYTHON = """\
import os, shutil, sys
if sys.argv[1:3] == ["-m", "venv"]:
    shutil.copytree({made!r}, sys.argv[3], symlinks=True, copy_function=os.link)  # nobody changes a file in place
else:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""


def runner(folder: Path, environment: Path) -> dict[str, str]:
    """The variables of a machine below `folder`: no index to install from, a Python, and what a service has there.

    `environment` is one that Python made. The machine's Python is a copy of it.
    """
    home, programs, python = folder / "home", folder / "programs", folder / "python"
    home.mkdir()
    programs.mkdir()
    shutil.copytree(environment, python, symlinks=True, copy_function=os.link)  # nobody changes a file in place
    program(programs, "gh", GH)
    program(programs, "quick-python", PYTHON.format(made=str(environment), python=str(python / "bin" / "python")))
    pip = f"import os, sys\nos.execv({str(python / 'bin/python')!r}, ['python', '-m', 'pip', *sys.argv[1:]])\n"
    program(programs, "pip", pip)
    return {
        "PATH": f"{programs}:{python}/bin:{os.defpath}",
        "PYTHON_OF_TESTS": str(programs / "quick-python"),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": os.devnull,
        "GITHUB_HEAD_REF": "slower;$(touch${IFS}pwned)",
    }
