"""CI services in miniature: they run a job's commands as GitHub and GitLab do, each step in a shell, in order.

Actions do on this disk what they do on GitHub. What a service would know (branches, tokens, numbers) is handed in; an
expression about anything else is a mistake in the workflow.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: What bash is called with where a workflow says `shell: bash`.
BASH = ("bash", "--noprofile", "--norc", "-e", "-o", "pipefail")
TIMEOUT_S = 240


@dataclass
class Done:
    """What came of a job."""

    failed: bool = False
    exit_code: int = 0
    log: str = ""
    summary: str = ""
    steps: list[str] = field(default_factory=list)
    artifacts: dict[str, Path] = field(default_factory=dict)


@dataclass
class GitHub:
    """Runs jobs of one workflow in a checkout; caches and artifacts are folders below `home`."""

    workflow: Mapping[str, Any]
    checkout: Path
    home: Path
    known: Mapping[str, object]
    environment: Mapping[str, str]

    def run(self, name: str, **known: object) -> Done | None:
        """The job's steps; None where its condition says no.

        `known` are further values of expressions, with `__` for a dot.
        """
        self._values = {**self.known, **{key.replace("__", "."): value for key, value in known.items()}}
        job, done = self.workflow["jobs"][name], Done()
        if not self._true(job.get("if", "true")):
            return None
        runner_temp = self.home / "temp"
        runner_temp.mkdir(parents=True, exist_ok=True)
        self._environment = {
            **self.environment,
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": str(self._values["github.repository"]),
            "GITHUB_WORKSPACE": str(self.checkout),
            "RUNNER_TEMP": str(runner_temp),
        }
        for given in (self.workflow.get("env", {}), job.get("env", {})):  # a job's may use the workflow's
            self._environment |= self._texts(given)
        for step in job["steps"]:
            if not self._wanted(step, failed=done.failed):
                continue
            done.steps.append(step.get("uses", "").partition("@")[0] or step["run"].splitlines()[0])
            if "uses" in step:
                self._use(step["uses"].partition("@")[0], self._texts(step.get("with", {})), done)
            else:
                self._script(step, done)
        return done

    def _wanted(self, step: Mapping[str, Any], *, failed: bool) -> bool:
        condition = step.get("if", "success()")
        stays = "always()" in condition or "cancelled()" in condition
        return (stays or not failed) and self._true(condition)

    def _script(self, step: Mapping[str, Any], done: Done) -> None:
        files = {name: self.home / name for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
        for path in files.values():
            path.write_text("", encoding="utf-8")
        script = self.home / "script.sh"
        script.write_text(step["run"], encoding="utf-8")
        environment = {**self._environment, **self._texts(step.get("env", {}))}
        environment |= {name: str(path) for name, path in files.items()}
        ran = _shell([*BASH, str(script)], self.checkout, environment)
        done.log += f"--- {done.steps[-1]}\n{ran.stdout}"
        done.summary += files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8")
        if ran.returncode and not done.failed:
            done.failed, done.exit_code = True, ran.returncode

    def _use(self, action: str, options: Mapping[str, str], done: Done) -> None:
        actions: dict[str, Callable[[Mapping[str, str], Done], None]] = {
            "actions/checkout": self._check_out,
            "actions/setup-python": lambda options, done: None,  # ours is on the path
            "actions/cache/restore": self._restore,
            "actions/cache/save": self._save,
            "actions/upload-artifact": self._upload,
            "actions/download-artifact": self._download,
        }
        actions[action](options, done)

    def _check_out(self, options: Mapping[str, str], done: Done) -> None:
        subprocess.run(["git", "checkout", "-q", options.get("ref", "main")], cwd=self.checkout, check=True)

    def _restore(self, options: Mapping[str, str], done: Done) -> None:
        kept = sorted((self.home / "cache").glob("*"), key=lambda path: path.stat().st_mtime)
        beginning = options["restore-keys"].strip().replace("/", "_")
        fitting = [path for path in kept if path.name.startswith(beginning)]
        if fitting:
            place = self.checkout / options["path"]
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(fitting[-1], place)

    def _save(self, options: Mapping[str, str], done: Done) -> None:
        (self.home / "cache").mkdir(exist_ok=True)
        source = self.checkout / options["path"]
        if source.exists():
            shutil.copy(source, self.home / "cache" / options["key"].replace("/", "_"))

    def _upload(self, options: Mapping[str, str], done: Done) -> None:
        place = self.home / "artifacts" / options["name"]
        for path in options["path"].split():
            if (self.checkout / path).exists():
                shutil.copytree(self.checkout / path, place, dirs_exist_ok=True)
        done.artifacts[options["name"]] = place

    def _download(self, options: Mapping[str, str], done: Done) -> None:
        for folder in (self.home / "artifacts").glob(options["pattern"]):
            shutil.copytree(folder, self.checkout / options["path"] / folder.name, dirs_exist_ok=True)

    def _texts(self, options: Mapping[str, object]) -> dict[str, str]:
        return {name: self._text(value) for name, value in options.items()}

    def _text(self, value: object) -> str:
        def filled(match: re.Match[str]) -> str:
            found = self._evaluated(match[1])
            return str(found).lower() if isinstance(found, bool) else str(found)

        text = str(value).lower() if isinstance(value, bool) else str(value)
        return re.sub(r"\$\{\{(.*?)\}\}", filled, text)

    def _true(self, condition: str) -> bool:
        return bool(self._evaluated(condition))

    def _evaluated(self, expression: str) -> object:
        """The value of an expression of GitHub's, made Python's: its names are looked up, its operators translated."""

        def value(match: re.Match[str]) -> str:
            name = match[0]
            if name.startswith("env."):
                return repr(self._environment[name.removeprefix("env.")])
            return repr(self._values[name])

        words = {"always()": "True", "success()": "True", "!cancelled()": "True", "&&": " and ", "||": " or "}
        parts = re.split(r"('[^']*')", expression.strip())
        for at in range(0, len(parts), 2):  # what stands between quotes stays
            for word, python in words.items():
                parts[at] = parts[at].replace(word, python)
            parts[at] = re.sub(r"\b[a-z]+(?:\.[\w-]+)+", value, parts[at])
            parts[at] = parts[at].replace("true", "True")
        return eval("".join(parts), {"__builtins__": {}})


@dataclass
class GitLab:
    """Runs jobs of one configuration in a checkout."""

    configuration: Mapping[str, Any]
    checkout: Path
    environment: Mapping[str, str]

    def run(self, name: str, **variables: str) -> Done:
        """The job's scripts in one shell."""
        job = {**self.configuration[self.configuration[name].get("extends", name)], **self.configuration[name]}
        configs = job["parallel"]["matrix"][0]["CONFIG"]
        environment = {**self.environment, "CI": "true", "GITLAB_CI": "true", "CI_PROJECT_DIR": str(self.checkout)}
        environment |= {key: str(value) for key, value in job["variables"].items()}
        environment |= {"CONFIG": configs[0], **variables}
        script = "\n".join([*job["before_script"], *job["script"]])
        ran = _shell([*BASH, "-c", script], self.checkout, environment)
        return Done(failed=bool(ran.returncode), exit_code=ran.returncode, log=ran.stdout)


def _shell(command: list[str], folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
