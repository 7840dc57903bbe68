"""What `ci init` finds out: the service, the sweeps, and how a CI installs this convbench."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ci_user import git

from convbench.actions import ci_setup
from convbench.errors import RequestError
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
    assert ci_setup.sweeps_in(tmp_path) == ([], [])
    (tmp_path / "configs").mkdir()
    for name in ("a.yaml", "z.yaml", "configs/b.yaml", "configs/c.yaml", "configs/sweep.yaml"):
        (tmp_path / name).write_text(SWEEP, encoding="utf-8")
    (tmp_path / "z.yaml").write_text("services: {}\n", encoding="utf-8")
    (tmp_path / "configs" / "few.yaml").write_text(f"{SWEEP}measure: {{processes: 2}}\n", encoding="utf-8")
    found, [note] = ci_setup.sweeps_in(tmp_path)
    assert found == ["configs/b.yaml", "configs/c.yaml", "configs/sweep.yaml"]
    assert note == "left out: configs/few.yaml: measure.processes is 2, and a change needs 4"
    for path in (tmp_path / "configs").iterdir():
        path.unlink()
    assert ci_setup.sweeps_in(tmp_path) == (["a.yaml"], [])


def test_a_first_sweep_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / ci_setup.FIRST_SWEEP).write_text(f"{SWEEP}measure: {{processes: 2}}\n", encoding="utf-8")
    with pytest.raises(RequestError, match="processes is 2"):
        ci_setup.sweeps_in(tmp_path)


def test_a_password_gets_into_no_workflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    origin = {"url": "https://joe:s3cret@h/r.git", "vcs_info": {"vcs": "git", "commit_id": "ab12"}}
    installed(monkeypatch, origin)
    assert ci_setup.installed_from(Path()) == ("git+https://h/r.git@ab12", ())
    installed(monkeypatch, {"url": "https://s3cret@h/convbench.whl", "archive_info": {}})
    assert ci_setup.installed_from(Path()) == ("https://h/convbench.whl", ())
    folder = tmp_path / "convbench"
    folder.mkdir()
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "begun")
    git(folder, "remote", "add", "origin", "https://x-access-token:s3cret@example.org/team/convbench.git")
    installed(monkeypatch, {"url": folder.as_uri(), "dir_info": {"editable": True}})
    wanted, [note] = ci_setup.installed_from(Path())
    assert wanted.startswith("git+https://example.org/team/convbench.git@")
    assert "s3cret" not in note


@pytest.mark.parametrize("value", ["https://joe:s3cret@h/simple", "x @ git+https://s3cret@h/r", "ssh://git:s3cret@h/r"])
def test_an_option_with_a_password_is_refused(value: str) -> None:
    with pytest.raises(RequestError, match=r"^--install: expected a URL without user and password") as refused:
        ci_setup.without_password("--install", value)
    assert "s3cret" not in f"{refused.value.message}{refused.value.hint}"


@pytest.mark.parametrize(
    "value", ["convbench==1", "git+https://h/r@v1", "git+ssh://git@h/r.git@v1", "https://h/@joe:x/y"]
)
def test_an_option_without_a_password_stays(value: str) -> None:
    assert ci_setup.without_password("--install", value) == value
