"""`convbench ci init`: what it writes is valid, says how it was written, and takes in no shell or YAML from a name."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ci_services import GitHub
from ci_user import GH, program

from convbench.report.ci.workflow import PLACES, Service, workflow

ROOT = Path(__file__).parent.parent.parent


def written(service: Service, **about: Any) -> str:
    options: dict[str, Any] = {
        "configs": ["configs/sweep.yaml"],
        "install": "convbench==1.0",
        "output": PLACES[service],
    }
    return workflow(service, **{**options, "version": "1.0", **about})


def loaded(service: Service, **about: Any) -> dict[str, Any]:
    made = yaml.safe_load(written(service, **about))
    assert isinstance(made, dict)
    return made


def test_this_project_uses_what_it_writes() -> None:
    committed = (ROOT / PLACES[Service.GITHUB]).read_text(encoding="utf-8")
    [command] = re.findall(r"^#   (convbench ci init .*)$", committed, re.MULTILINE)
    [version] = re.findall(r"^# of convbench ([^;]*);", committed, re.MULTILINE)
    assert shlex.split(command)[3:] == ["--github", "--config", "configs/sweep.yaml", "--install", "."]
    assert committed == written(Service.GITHUB, install=".", version=version)


@pytest.mark.parametrize("service", Service)
def test_every_sweep_is_measured(service: Service) -> None:
    made = loaded(service, configs=["a.yaml", "configs/b c.yaml"])
    if service is Service.GITHUB:
        found = [job["strategy"]["matrix"]["config"] for name, job in made["jobs"].items() if name != "comment"]
    else:
        found = [made[".convbench"]["parallel"]["matrix"][0]["CONFIG"]]
    assert all(configs == ["a.yaml", "configs/b c.yaml"] for configs in found) and found


@pytest.mark.parametrize("service", Service)
@pytest.mark.parametrize(
    "install", ['a"b: #c', "$(touch x)", "git+https://example.org/x@v1", "é\\n", "😀", "${{ github.token }}"]
)
def test_what_is_installed_is_a_value_and_no_shell(service: Service, install: str) -> None:
    made = loaded(service, install=install)
    variables = made["env"] if service is Service.GITHUB else made[".convbench"]["variables"]
    assert variables["CONVBENCH"] == install
    for script in scripts(made):
        assert install not in script


SCHEMAS = {
    Service.GITHUB: ["vendor.github-workflows"],
    Service.GITLAB: ["vendor.gitlab-ci", "--data-transform=gitlab-ci"],
}


@pytest.mark.parametrize("service", Service)
def test_the_file_is_what_the_service_takes(service: Service, tmp_path: Path) -> None:
    def checked(made: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "written.yml"
        path.write_text(yaml.safe_dump(made), encoding="utf-8")
        return tool("check-jsonschema", "--builtin-schema", *SCHEMAS[service], str(path))

    made = loaded(service)
    if service is Service.GITLAB:  # what begins with a dot is not looked at where it stands
        base = made.pop(".convbench")
        made = {name: {**base, **{k: v for k, v in job.items() if k != "extends"}} for name, job in made.items()}
    else:
        made["on"] = made.pop(True)  # YAML 1.1 takes the word for a truth
    done = checked(made)
    assert done.returncode == 0, done.stdout
    some_job = next(iter((made.get("jobs") or made).values()))
    some_job["timeout-minutes" if service is Service.GITHUB else "timeout"] = ["long"]
    assert checked(made).returncode != 0


@pytest.mark.parametrize("service", Service)
def test_shellcheck_has_nothing_to_say(service: Service, tmp_path: Path) -> None:
    paths = []
    for number, script in enumerate(scripts(loaded(service))):
        path = tmp_path / f"{number}.sh"
        path.write_text(f"#!/usr/bin/env bash\nset -eo pipefail\n{script}\n", encoding="utf-8")
        paths.append(str(path))
    done = tool("shellcheck", "--exclude=SC2153", *paths)  # CONVBENCH beside convbench is meant
    assert len(paths) > 2 and done.returncode == 0, done.stdout


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name(name), *arguments], capture_output=True, text=True, check=False
    )


def scripts(made: dict[str, Any]) -> list[str]:
    """Everything that a shell gets to read."""
    if "jobs" in made:
        steps = [step for job in made["jobs"].values() for step in job["steps"]]
        return [step["run"] for step in steps if "run" in step]
    jobs = [job for job in made.values() if isinstance(job, dict)]
    return [line for job in jobs for key in ("before_script", "script") for line in job.get(key, [])]


@pytest.mark.parametrize("service", Service)
def test_no_expression_of_the_service_stands_in_a_script(service: Service) -> None:
    assert len(scripts(loaded(service))) > 2
    for script in scripts(loaded(service)):
        assert "${{" not in script, "a branch's name would be run as shell: hand it over in env"


def test_nothing_that_runs_a_pull_requests_code_may_write() -> None:
    made = loaded(Service.GITHUB)
    assert made["permissions"] == {"contents": "read"}
    writing = {name for name, job in made["jobs"].items() if "write" in job.get("permissions", {}).values()}
    assert writing == {"comment"}
    comment = made["jobs"]["comment"]
    assert not [step for step in comment["steps"] if "checkout" in step.get("uses", "")]
    checkouts = [
        step["with"]
        for job in made["jobs"].values()
        for step in job["steps"]
        if step.get("uses", "").startswith("actions/checkout@")
    ]
    assert len(checkouts) == 2 and all(options["persist-credentials"] is False for options in checkouts)
    assert "pull_request_target" not in written(Service.GITHUB)


def test_a_reader_checks_it_in_a_minute() -> None:
    """Lines that are more than a comment or a blank; the first workflow had 210 of them, most of them shell."""

    def counted(text: str) -> int:
        return len([line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")])

    decided = " ".join((ROOT / "docs" / "decisions.md").read_text(encoding="utf-8").split())
    every = counted(written(Service.GITHUB))
    pull_request, comment, nightly = map(counted, re.split("\n  (?=comment:|nightly:)", written(Service.GITHUB)))
    assert (
        f"GitHub's workflow has {every} lines without its comments. The head and a pull request's job have "
        f"{pull_request}, the job that comments {comment}, the nightly job {nightly}." in decided
    )
    assert pull_request <= 30 and counted(written(Service.GITLAB)) <= 40
    commands = [script for script in scripts(loaded(Service.GITHUB)) if "\n" not in script]
    assert commands == [
        'pip install "$CONVBENCH"',
        'convbench ci pull-request "$CONFIG" --target "$TARGET"',
        'pip install "$CONVBENCH"',
        'convbench ci nightly "$CONFIG"',
    ]


def test_no_secret_reaches_the_code_of_a_pull_request() -> None:
    made = loaded(Service.GITHUB)
    assert "secrets" not in str({**made, "jobs": {name: made["jobs"][name] for name in ("pull-request", "comment")}})
    assert "secrets.CONVBENCH_DB" in str(made["jobs"]["nightly"])
    assert "github.token" not in str(made["jobs"]["pull-request"])


@pytest.mark.parametrize("service", Service)
def test_a_further_index_is_pips_own_variable(service: Service) -> None:
    def variables(**about: Any) -> dict[str, str]:
        made = loaded(service, **about)
        found = made["env"] if service is Service.GITHUB else made[".convbench"]["variables"]
        assert isinstance(found, dict)
        return found

    assert "PIP_EXTRA_INDEX_URL" not in variables()
    assert variables(index="https://example.org/cpu")["PIP_EXTRA_INDEX_URL"] == "https://example.org/cpu"
    assert "--extra-index https://example.org/cpu" in written(service, index="https://example.org/cpu")


def test_a_comment_is_written_for_the_sweeps_alone(tmp_path: Path) -> None:
    home, programs, about = tmp_path / "home", tmp_path / "programs", "github.event.pull_request"
    for folder in (home, programs, tmp_path / "checkout"):
        folder.mkdir()
    program(programs, "gh", GH)
    texts = [
        "",
        "\n",
        "\n<!-- convbench a.yaml -->",
        "<!-- convbench -->",
        "<!-- convbench c.yaml -->\nother",
        "<!--\nx",
    ]
    texts += [
        "<!-- convbench a.yaml --> more\nx",
        " <!-- convbench a.yaml -->\nx",
        "# somebody's own\nx",
        ".*\nx",
        "-v\nx",
    ]
    texts += ["<!-- convbench a.yaml -->\nfast", "<!-- convbench configs/b.yaml -->\nslow"]
    for number, text in enumerate(texts):
        path = tmp_path / "runner" / "artifacts" / f"convbench-{number}" / "comment.md"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    (home / "comments.json").write_text('[{"id": 1, "body": "somebody\'s own", "edits": 0}]', encoding="utf-8")
    known: dict[str, object] = {"github.repository": "team/layers", "github.token": "the token", "github.actor": "me"}
    known |= {f"{about}.head.repo.full_name": "team/layers", f"{about}.number": 7, "github.event_name": "pull_request"}
    done = GitHub(
        workflow=loaded(Service.GITHUB, configs=["a.yaml", "configs/b.yaml"]),
        checkout=tmp_path / "checkout",
        home=tmp_path / "runner",
        known=known,
        environment={"PATH": f"{programs}:{os.defpath}", "HOME": str(home), "LANG": "C.UTF-8"},
    ).run("comment")
    assert done is not None and not done.failed, done
    comments = json.loads((home / "comments.json").read_text(encoding="utf-8"))
    assert comments[0]["body"] == "somebody's own"
    assert sorted(each["body"] for each in comments[1:]) == texts[-2:]


def test_every_job_ends_some_time() -> None:
    for job in loaded(Service.GITHUB)["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 120
    assert loaded(Service.GITLAB)[".convbench"]["timeout"] == "2 hours"


@pytest.mark.parametrize("service", Service)
def test_the_head_has_the_command_that_writes_it_again(service: Service) -> None:
    text = written(service, configs=["a.yaml", "b.yaml"], install="x y", output="other.yml")
    [command] = re.findall(r"^#   (convbench ci init .*)$", text, re.MULTILINE)
    assert shlex.split(command) == [
        *("convbench", "ci", "init", f"--{service}", "--config", "a.yaml", "--config", "b.yaml"),
        *("--install", "x y", "--output", "other.yml"),
    ]
