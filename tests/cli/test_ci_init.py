"""`convbench ci init`: what it keeps of the user's, and what it never writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from commands import Command

SWEEP = "axes: {in_channels: 3, out_channels: 4, kernel_size: 1, input_size: 8}\n"
OWN = Path("configs/sweep.yaml")
WORKFLOW = Path(".github/workflows/convbench.yml")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize(
    ("text", "mistake"),
    [("axes: {}\n", "configs/sweep.yaml:1:"), (f"{SWEEP}measure: {{processes: 2}}\n", "measure.processes is 2")],
)
def test_a_sweep_of_the_users_with_a_mistake_is_kept_and_reported(
    command: Command, text: str, mistake: str, force: list[str]
) -> None:
    write(OWN, text)
    said = command("ci", "init", "--install", "x", *force)
    assert said.code == 2 and mistake in said.err
    assert OWN.read_text(encoding="utf-8") == text
    assert not WORKFLOW.exists()


def test_nothing_is_written_where_the_workflow_exists(command: Command) -> None:
    write(WORKFLOW, "mine")
    said = command("ci", "init", "--install", "x")
    assert said.code == 2 and "exists already" in said.err and "has no sweep" not in said.err
    assert not OWN.exists() and WORKFLOW.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("option", ["--install", "--extra-index"])
def test_a_password_is_refused_before_anything_is_written(command: Command, option: str) -> None:
    said = command("ci", "init", option, "https://joe:s3cret@example.org/simple")
    assert said.code == 2 and option in said.err and "s3cret" not in said.err
    assert not OWN.exists() and not WORKFLOW.exists()


def test_all_sweeps_in_configs_are_taken_and_what_is_left_out_is_noted(command: Command) -> None:
    write(OWN, SWEEP)
    write(OWN.with_name("other.yaml"), SWEEP)
    write(OWN.with_name("quick.yaml"), f"{SWEEP}measure: {{processes: 2}}\n")
    said = command("ci", "init", "--install", "x")
    assert said.code == 0, said.err
    assert 'config: ["configs/other.yaml", "configs/sweep.yaml"]' in WORKFLOW.read_text(encoding="utf-8")
    assert "note: left out: configs/quick.yaml: measure.processes is 2" in said.err


@pytest.mark.parametrize(("service", "where"), [("--github", WORKFLOW), ("--gitlab", Path(".gitlab-ci-convbench.yml"))])
def test_a_nights_run_is_sent_to_a_service_by_one_line_more(command: Command, service: str, where: Path) -> None:
    command("ci", "init", service, "--install", "x")
    before = where.read_text(encoding="utf-8").splitlines()
    said = command("ci", "init", service, "--install", "x", "--push", "https://bench.example.org", "--force")
    assert said.code == 0 and "CONVBENCH_SERVICE_TOKEN" in said.err
    text = where.read_text(encoding="utf-8")
    new = [line for line in text.splitlines() if line not in before and not line.startswith("#")]
    assert len(new) == 1 and 'convbench push latest --to "https://bench.example.org"' in new[0]
    nightly = yaml.safe_load(text)
    steps = nightly["jobs"]["nightly"]["steps"] if service == "--github" else nightly["convbench nightly"]
    assert "CONVBENCH_SERVICE_TOKEN" in str(steps)


@pytest.mark.parametrize("address", ["bench.example.org", "https://joe:s3cret@x", "https://x/$(id)", "https://x/' y"])
def test_an_address_that_is_none_gets_into_no_workflow(command: Command, address: str) -> None:
    said = command("ci", "init", "--install", "x", "--push", address)
    assert said.code == 2 and "--push" in said.err and "s3cret" not in said.err
    assert not WORKFLOW.exists()
