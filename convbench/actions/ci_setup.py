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
#: Where sweeps usually lie, the first pattern that finds one counts.
_USUAL = ("configs/sweep.yaml", "configs/*.yaml", "*.yaml")


def service_of(folder: Path) -> Service:
    """The service of the repository in a folder, by its files and then by where it was cloned from; else GitHub."""
    if (folder / ".github").is_dir():
        return Service.GITHUB
    remote = answer(("git", "remote", "get-url", "origin"), folder) or ""
    return Service.GITLAB if (folder / ".gitlab-ci.yml").exists() or "gitlab" in remote else Service.GITHUB


def sweeps_in(folder: Path) -> list[str]:
    """The sweeps that a comparison can use: the usual one, else all in `configs/`, else those in the folder itself."""
    for pattern in _USUAL:
        found = []
        for path in sorted(folder.glob(pattern)):
            try:
                found.append(checked(path.relative_to(folder).as_posix(), folder))
            except RequestError:
                continue  # not a sweep, or of too few processes
        if found:
            return found
    return []


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
    elsewhere = f"git+{remote}@{commit}" if commit else f"convbench=={distribution('convbench').version}"
    return elsewhere, (f"convbench is installed from {checkout} here; CI installs {elsewhere}, or --install WHAT",)


def installed_here(folder: Path) -> str:
    """The pip requirement that repeats this installation on this machine (PEP 610)."""
    installed = distribution("convbench")
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    url, vcs = origin.get("url"), origin.get("vcs_info")
    if url is None:
        return f"convbench=={installed.version}"
    if url == folder.absolute().as_uri():
        return "."
    return f"{vcs['vcs']}+{url}@{vcs['commit_id']}" if vcs else str(url)
