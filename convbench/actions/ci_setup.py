"""What `convbench ci init` finds out about a repository, so that its workflow needs no second try."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

from convbench import sweep as sweeps
from convbench.engine.commands import answer
from convbench.errors import RequestError
from convbench.model.threshold import FEWEST_PROCESSES
from convbench.report.ci.workflow import Service

#: Characters allowed in a sweep's path: the workflow uses it in cache keys and comment markers.
_PATH = re.compile(r"[\w./+=-]+")
#: Characters of a service's address that mean nothing in YAML and the shell.
_ADDRESS = re.compile(r"https?://[\w.:/-]+", re.ASCII)
#: Where sweeps usually lie, the first pattern that finds one counts; and the sweep of a repository that has none.
_USUAL = ("configs/*.yaml", "*.yaml")
FIRST_SWEEP = "configs/sweep.yaml"
#: User and password in a URL. Without `http`, a user alone is no secret: `ssh://git@host`.
_CREDENTIALS = re.compile(r"(?<=https://)[^/?#\s]*@|(?<=http://)[^/?#\s]*@|(?<=://)[^/?#\s@]*:[^/?#\s]*@")


def service_of(folder: Path) -> Service:
    """The service of the repository in a folder, by its files and then by where it was cloned from; else GitHub."""
    if (folder / ".github").is_dir():
        return Service.GITHUB
    remote = answer(("git", "remote", "get-url", "origin"), folder) or ""
    return Service.GITLAB if (folder / ".gitlab-ci.yml").exists() or "gitlab" in remote else Service.GITHUB


def sweeps_in(folder: Path) -> tuple[list[str], list[str]]:
    """The sweeps that a comparison can use, all in `configs/` or else those in the folder itself, and notes.

    A note says why a file in `configs/` is left out. Raises an error where none can be used and the first sweep exists.
    """
    notes = []
    for pattern in _USUAL:
        found = []
        for path in sorted(folder.glob(pattern)):
            name = path.relative_to(folder).as_posix()
            try:
                found.append(checked(name, folder))
            except RequestError as error:
                if "/" in name:  # elsewhere, files of other programs are no news
                    notes.append(f"left out: {error.lines[0]}")
        if found:
            return found, notes
    if (folder / FIRST_SWEEP).exists():
        checked(FIRST_SWEEP, folder)
    return [], notes


def checked(config: str, folder: Path) -> str:
    """A sweep's path from the root of the repository; RequestError for an invalid sweep or path."""
    path = Path(config)
    if path.is_absolute() or ".." in path.parts or not _PATH.fullmatch(config):
        raise RequestError(
            f"--config {config!r}: expected a path below the root of the repository, with letters, digits and ._/+=-",
            hint="move or rename the sweep file",
        )
    processes = sweeps.load(folder / path).measure.processes  # reports mistakes now, not in the first pull request
    if processes < FEWEST_PROCESSES:
        raise RequestError(
            f"{config}: measure.processes is {processes}, and a change needs {FEWEST_PROCESSES}",
            hint=f"measure: {{processes: {FEWEST_PROCESSES}}} or more, or another sweep",
        )
    return path.as_posix()


def installed_from(folder: Path) -> tuple[str, Sequence[str]]:
    """The pip requirement by which a CI gets this installation, and notes for the user.

    For a folder or file of this machine it is the repository that the folder was cloned from, or else the version.
    """
    wanted = installed_here(folder)
    if not wanted.startswith("file:"):
        return wanted, ()
    checkout = Path(unquote(urlsplit(wanted).path))
    remote = (answer(("git", "remote", "get-url", "origin"), checkout) or "").strip() if checkout.is_dir() else ""
    commit = (answer(("git", "rev-parse", "HEAD"), checkout) or "").strip() if remote.startswith("https://") else ""
    elsewhere = f"git+{_public(remote)}@{commit}" if commit else f"convbench=={distribution('convbench').version}"
    return elsewhere, (f"convbench is installed from {checkout} here; CI installs {elsewhere}, or --install WHAT",)


def installed_here(folder: Path) -> str:
    """The pip requirement that repeats this installation on this machine (PEP 610), without user and password."""
    installed = distribution("convbench")
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    url, vcs = origin.get("url"), origin.get("vcs_info")
    if url is None:
        return f"convbench=={installed.version}"
    if url == folder.absolute().as_uri():
        return "."
    return _public(f"{vcs['vcs']}+{url}@{vcs['commit_id']}" if vcs else str(url))


def without_password(option: str, value: str) -> str:
    """The value of an option, which the workflow will contain; RequestError where it contains a password."""
    if _CREDENTIALS.search(value):
        raise RequestError(
            f"{option}: expected a URL without user and password, since everyone who reads the workflow would see them",
            hint="keep it in a secret of the CI, and have the workflow set pip's variable PIP_EXTRA_INDEX_URL to it",
        )
    return value


def service_address(url: str) -> str:
    """The address of a service, which the workflow will contain; RequestError where it is none."""
    parts = urlsplit(without_password("--push", url))
    if parts.scheme not in ("http", "https") or not parts.hostname or not _ADDRESS.fullmatch(url):
        raise RequestError("--push: expected the address of a service", hint="like https://bench.example.org")
    return url


def _public(url: str) -> str:
    return _CREDENTIALS.sub("", url)
