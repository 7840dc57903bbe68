"""Lock files: which counts, what installs it, and when one environment serves both sides of a pull request."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from convbench.actions.locks import LOCKS, Files, files_in, installing, lock_of, why_separate
from convbench.errors import RequestError

PLAIN = '[build-system]\nrequires = ["setuptools>=77", "wheel"]\nbuild-backend = "setuptools.build_meta"\n'
MINE = PLAIN + '[project]\nname = "mine"\n'


def files(**texts: str) -> Files:
    """Files by their names with underscores for dots."""
    return {name.replace("__", "."): text for name, text in texts.items()}.get


def test_the_first_lock_file_counts(tmp_path: Path) -> None:
    for name in reversed(LOCKS):
        (tmp_path / name).write_text("", encoding="utf-8")
        assert lock_of(files_in(tmp_path), "here") == name
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match=r"here has no lock file: expected uv\.lock, .* or constraints.txt"):
        lock_of(files_in(tmp_path / "empty"), "here")


@pytest.mark.parametrize(
    ("lock", "expected"),
    [
        ("requirements.lock", ["ENV/bin/python -m pip install --requirement requirements.lock"]),
        ("requirements.txt", ["ENV/bin/python -m pip install --requirement requirements.txt"]),
        (
            "pylock.toml",
            [
                "ENV/bin/python -m pip install --quiet --upgrade pip",
                "ENV/bin/python -m pip install --requirement pylock.toml",
            ],
        ),
        ("constraints.txt", ["ENV/bin/python -m pip install --constraint constraints.txt --editable ."]),
        ("uv.lock", ["UV_PROJECT_ENVIRONMENT=ENV /programs/uv sync --frozen --inexact"]),
        ("poetry.lock", ["VIRTUAL_ENV=ENV /programs/poetry install --no-interaction"]),
    ],
)
def test_the_tool_that_wrote_a_lock_file_installs_it(
    lock: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/programs/{name}")
    commands = installing(lock, Path("/check out"), Path("ENV"), Path("/tools"))
    assert [str(command) for command in commands] == [f"{sys.executable} -m venv ENV", *expected]
    assert {command.folder for command in commands} == {Path("/check out")}, "paths in lock files are relative to it"


def test_a_tool_that_is_not_there_gets_an_environment_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    commands = installing("uv.lock", Path("/here"), Path("ENV"), Path("/tools"))
    assert [str(command) for command in commands][:2] == [
        f"{sys.executable} -m venv /tools",
        "/tools/bin/python -m pip install uv",
    ]
    assert commands[-1].words[0] == "/tools/bin/uv"


@pytest.mark.parametrize(
    ("base", "head", "why"),
    [
        (files(requirements__txt="torch==2\n"), files(requirements__txt="torch==2\n"), None),
        (files(requirements__txt="torch==2\n"), files(requirements__txt="torch==3\n"), "the lock file differs"),
        (files(requirements__txt="torch==2\n"), files(requirements__lock="torch==2\n"), "the lock file differs"),
        # Code of the project is imported from each checkout, so it may differ.
        (
            files(requirements__txt="a\n", pyproject__toml="x"),
            files(requirements__txt="a\n", pyproject__toml="y"),
            None,
        ),
        (
            files(constraints__txt="a\n", pyproject__toml=MINE, mine__py=""),
            files(constraints__txt="a\n", pyproject__toml=MINE, mine__py="changed"),
            None,
        ),
        (
            files(constraints__txt="a\n", pyproject__toml=PLAIN),
            files(constraints__txt="a\n", pyproject__toml=PLAIN + "[project]\n"),
            "pyproject.toml differs",
        ),
    ],
)
def test_one_environment_serves_both_sides_where_their_packages_are_the_same(
    base: Files, head: Files, why: str | None
) -> None:
    found = why_separate(base, head)
    assert found is None if why is None else (found or "").startswith(why)


@pytest.mark.parametrize(
    ("lock", "text"),
    [
        ("requirements.txt", "torch==2\n-r others.txt\n"),
        ("requirements.txt", "-e .\n"),
        ("requirements.txt", "./wheels/torch-1.0-py3-none-any.whl\n"),
        ("requirements.txt", "mine @ file:///srv/mine\n"),
        ("requirements.txt", "torch==2\npackages/lay\n"),
        ("requirements.txt", "-rmore.txt\n"),
        ("requirements.lock", "-cmore.txt\n"),
        ("constraints.txt", "dist/x.whl\n"),
        ("requirements.txt", "x-1.0-py3-none-any.whl --hash=sha256:ab\n"),
        ("requirements.txt", "-f wheels\ntorch==2\n"),
        ("requirements.txt", "-fwheels\n"),
        ("requirements.txt", "-e.\n"),
        ("requirements.txt", "mine @ ./mine\n"),
        ("pylock.toml", '[packages.directory]\npath = "."\n'),
        ("uv.lock", '[[package]]\nname = "torch"\nsource = { registry = "wheels" }\n'),
        ("pylock.toml", '[[packages]]\nname = "mine"\ndirectory = "packages/mine"\n'),
        ("uv.lock", '[[package]]\nname = "mine"\nsource = { editable = "packages/mine" }\n'),
        ("poetry.lock", '[package.source]\ntype = "directory"\nurl = "mine"\n'),
    ],
)
def test_what_lies_in_the_checkout_is_not_known_by_the_lock_file(lock: str, text: str) -> None:
    same = {lock: text, "pyproject.toml": PLAIN}.get
    assert why_separate(same, same) == f"{lock} names files of the checkout"


def test_the_project_itself_in_uvs_lock_is_no_such_file() -> None:
    text = '[[package]]\nname = "mine"\nsource = { editable = "." }\n[[package]]\nname = "torch"\nversion = "2.13.0"\n'
    same = {"uv.lock": text, "pyproject.toml": MINE, "src/mine/__init__.py": ""}.get
    assert why_separate(same, same) is None


REQUIREMENTS = """\
# made by a tool, from -r requirements.in
-i https://example.org/simple
-f https://example.org/wheels.html
--pre
torch==2.13.0 \\
    --hash=sha256:ab \\
    --hash=sha256:cd
    # via -r requirements.in

numpy >= 2 ; python_version > "3.11"  # fast
pandas[performance] ==3.0
layers @ git+https://example.org/layers@ab12
other@https://example.org/other-1.0-py3-none-any.whl
scipy
"""


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements.lock"])
def test_a_list_of_packages_names_no_files(lock: str) -> None:
    same = {lock: REQUIREMENTS}.get
    assert why_separate(same, same) is None


@pytest.mark.parametrize(
    ("lock", "pyproject", "package", "shares"),
    [
        ("constraints.txt", MINE, "mine/__init__.py", True),
        ("constraints.txt", MINE, "src/mine/__init__.py", True),
        ("constraints.txt", MINE, "src/mine.py", True),
        ("constraints.txt", MINE.replace("mine", "my-layers.x"), "my_layers_x/__init__.py", True),
        ("constraints.txt", MINE, "python/mine/__init__.py", False),
        ("constraints.txt", MINE, "other/__init__.py", False),
        ("constraints.txt", PLAIN, "mine/__init__.py", False),
        # A package of this name in the root may be another than the one that is installed.
        ("constraints.txt", MINE + '[tool.setuptools.packages.find]\nwhere = ["python"]\n', "mine/__init__.py", False),
        ("constraints.txt", MINE + '[tool.setuptools.packages.find]\nwhere = ["src"]\n', "src/mine/__init__.py", True),
        ("constraints.txt", MINE + '[tool.setuptools.package-dir]\n"" = "lib"\n', "mine/__init__.py", False),
        ("constraints.txt", MINE + '[tool.setuptools]\npackages = ["mine"]\n', "mine/__init__.py", True),
        ("constraints.txt", MINE + '[tool.hatch.build.sources]\n"src/mine" = "mine"\n', "src/mine/__init__.py", False),
        ("constraints.txt", MINE + '[tool.pdm.build]\npackage-dir = "lib"\n', "mine/__init__.py", False),
        ("uv.lock", MINE + '[tool.uv.build-backend]\nmodule-root = "python"\n', "mine/__init__.py", False),
        ("uv.lock", MINE + '[tool.uv.build-backend]\nmodule-root = ""\n', "mine/__init__.py", True),
        ("poetry.lock", '[tool.poetry]\nname = "mine"\n', "mine/__init__.py", True),
        (
            "poetry.lock",
            '[tool.poetry]\nname = "mine"\npackages = [{include = "mine", from = "lib"}]\n',
            "mine/__init__.py",
            False,
        ),
        (
            "poetry.lock",
            '[tool.poetry]\nname = "mine"\npackages = [{include = "mine", from = "src"}]\n',
            "src/mine/__init__.py",
            True,
        ),
    ],
)
def test_a_package_that_a_side_may_not_import_from_its_checkout_is_installed_for_each_side(
    lock: str, pyproject: str, package: str, shares: bool
) -> None:
    same = {lock: "", "pyproject.toml": pyproject, package: ""}
    why = None if shares else "the project's package may lie outside the root and src"
    assert why_separate(same.get, same.get) == why
    moved = {**same, "pyproject.toml": pyproject}
    del moved[package]
    assert why_separate(same.get, moved.get) == "the project's package may lie outside the root and src"
    setup = {**same, "setup.cfg": "[options.packages.find]\nwhere = python\n"}.get
    assert why_separate(setup, setup) == "the project's package may lie outside the root and src"


def test_a_project_that_uv_does_not_install_may_lie_anywhere() -> None:
    same = {"uv.lock": 'source = { virtual = "." }\n', "pyproject.toml": MINE, "python/mine.py": ""}.get
    assert why_separate(same, same) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("setup.py", "from setuptools import setup\n"),
        ("pyproject.toml", PLAIN.replace('"wheel"', '"pybind11"')),
        ("pyproject.toml", PLAIN.replace('"wheel"', '"torch"')),
        ("pyproject.toml", PLAIN + "[[tool.setuptools.ext-modules]]\nname = 'fast'\nsources = ['fast.c']\n"),
        ("pyproject.toml", '[build-system]\nrequires = ["maturin"]\n'),
        ("pyproject.toml", '[build-system]\nrequires = ["hatchling"]\n[tool.hatch.build.hooks.custom]\n'),
        ("pyproject.toml", "not toml ["),
    ],
)
def test_a_project_that_may_compile_code_is_built_on_each_side(name: str, text: str) -> None:
    same = {"constraints.txt": "a==1\n", "pyproject.toml": PLAIN, name: text}.get
    expected = "pyproject.toml is no TOML" if "not toml" in text else "the project may compile code"
    assert why_separate(same, same) == expected
