"""What `ci init` finds out: the service, the sweeps, and how a CI installs this convbench."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ci_user import git

from convbench.actions import ci_setup
from convbench.report.ci.workflow import Service

SWEEP = "axes: {in_channels: 3, out_channels: 4, kernel_size: 1, input_size: 8}\n"


def installed(monkeypatch: pytest.MonkeyPatch, origin: dict[str, object] | None) -> None:
    """Have convbench 9.9 be what is installed, from `origin`."""

    class Installed:
        version = "9.9"

        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return None if origin is None else json.dumps(origin)

    monkeypatch.setattr(ci_setup, "distribution", lambda name: Installed())


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, "convbench==9.9"),
        ({"url": "https://h/r.git", "vcs_info": {"vcs": "git", "commit_id": "ab12"}}, "git+https://h/r.git@ab12"),
        ({"url": "https://h/convbench-9.9.whl", "archive_info": {}}, "https://h/convbench-9.9.whl"),
        ({"url": Path.cwd().as_uri(), "dir_info": {"editable": True}}, "."),
    ],
)
def test_the_ci_installs_what_is_installed_here(
    origin: dict[str, object] | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, origin)
    assert ci_setup.installed_from(Path()) == (expected, ())
    assert ci_setup.installed_here(Path()) == expected


def test_a_folder_of_this_machine_is_installed_from_where_it_was_cloned(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "con bench"
    folder.mkdir()
    installed(monkeypatch, {"url": folder.as_uri(), "dir_info": {}})
    assert ci_setup.installed_here(Path()) == folder.as_uri()
    wanted, [note] = ci_setup.installed_from(Path())
    assert wanted == "convbench==9.9" and "--install WHAT" in note and str(folder) in note
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "begun")
    git(folder, "remote", "add", "origin", "git@example.org:team/convbench.git")
    assert ci_setup.installed_from(Path())[0] == "convbench==9.9", "a CI has no key for it"
    git(folder, "remote", "set-url", "origin", "https://example.org/team/convbench.git")
    commit = git(folder, "rev-parse", "HEAD")
    assert ci_setup.installed_from(Path())[0] == f"git+https://example.org/team/convbench.git@{commit}"


def test_the_service_is_that_of_the_repository(tmp_path: Path) -> None:
    assert ci_setup.service_of(tmp_path) is Service.GITHUB
    (tmp_path / ".gitlab-ci.yml").touch()
    assert ci_setup.service_of(tmp_path) is Service.GITLAB
    (tmp_path / ".github").mkdir()
    assert ci_setup.service_of(tmp_path) is Service.GITHUB
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    git(other, "remote", "add", "origin", "https://gitlab.example.org/team/layers.git")
    assert ci_setup.service_of(other) is Service.GITLAB


def test_sweeps_are_those_that_a_comparison_can_use(tmp_path: Path) -> None:
    assert ci_setup.sweeps_in(tmp_path) == []
    (tmp_path / "configs").mkdir()
    for name in ("a.yaml", "z.yaml", "configs/b.yaml", "configs/c.yaml"):
        (tmp_path / name).write_text(SWEEP, encoding="utf-8")
    (tmp_path / "z.yaml").write_text("services: {}\n", encoding="utf-8")
    (tmp_path / "configs" / "few.yaml").write_text(f"{SWEEP}measure: {{processes: 2}}\n", encoding="utf-8")
    assert ci_setup.sweeps_in(tmp_path) == ["configs/b.yaml", "configs/c.yaml"]
    (tmp_path / "configs" / "sweep.yaml").write_text(SWEEP, encoding="utf-8")
    assert ci_setup.sweeps_in(tmp_path) == ["configs/sweep.yaml"]
    for path in (tmp_path / "configs").iterdir():
        path.unlink()
    assert ci_setup.sweeps_in(tmp_path) == ["a.yaml"]
