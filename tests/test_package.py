"""The package as others get it: it builds, an index would take it, and its wheel alone runs a verb."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_string
from email.message import Message
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
#: What somebody who has just installed the package types first, and what it must print.
FIRST_COMMAND = ("time", "3", "8", "--kernel-size", "3", "--input-size", "16")
PRINTED = r"GFLOP/s .* passed +forward"
#: What the wheel must hold beside Python's modules.
DATA = ("py.typed", "report/pages/templates/report.html.j2", "report/pages/static/report.css", "report/ci/templates/")

pytestmark = pytest.mark.slow


def ran(*command: object, folder: Path, **variables: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CONVBENCH"))}
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**environment, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist and the wheel made from it, of a copy: a build leaves folders behind."""
    source, made = tmp_path_factory.mktemp("source") / "convbench", tmp_path_factory.mktemp("dist")
    left_out = shutil.ignore_patterns(".*", "reports", "build", "__pycache__", "*.egg-info", "*.db")
    shutil.copytree(ROOT, source, ignore=left_out)
    ran(sys.executable, "-m", "build", "--no-isolation", "--outdir", made, folder=source)
    [sdist], [wheel] = made.glob("*.tar.gz"), made.glob("*.whl")
    return sdist, wheel


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_string(archive.read(name).decode())


def test_an_index_would_take_it(built: tuple[Path, Path]) -> None:
    said = ran(sys.executable, "-m", "twine", "check", "--strict", *built, folder=ROOT)
    assert said.count("PASSED") == 2, said
    about = metadata(built[1])
    assert (about["License-Expression"], about["License-File"]) == ("MIT", "LICENSE")
    assert "Programming Language :: Python :: 3.11" in about.get_all("Classifier", [])


def test_the_wheel_has_all_of_the_package_and_nothing_else(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "convbench").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == modules
    for needed in DATA:
        assert any(name.startswith(f"convbench/{needed}") for name in names), needed


def needed_by(requirements: list[str], found: dict[str, Distribution]) -> dict[str, Distribution]:
    """The installed packages that these requirements ask for, and what those ask for in turn, by name."""
    for requirement in map(Requirement, requirements):
        name = canonicalize_name(requirement.name)
        if name in found or not (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            continue
        found[name] = distribution(requirement.name)
        needed_by(found[name].requires or [], found)
    return found


def linked(packages: dict[str, Distribution], site: Path) -> None:
    """Make the packages those of an environment, by links: torch is not installed twice."""
    for package in packages.values():
        for top in {path.parts[0] for path in package.files or () if path.parts[0] not in ("..", "__pycache__")}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(package.locate_file(top))))


def test_the_wheel_runs_in_an_environment_with_what_it_asks_for_alone(built: tuple[Path, Path], tmp_path: Path) -> None:
    _, wheel = built
    environment, folder = tmp_path / "environment", tmp_path / "elsewhere"
    folder.mkdir()
    ran(sys.executable, "-m", "venv", "--without-pip", environment, folder=tmp_path)
    [site] = (environment / "lib").glob("python3*/site-packages")
    packages = needed_by(metadata(wheel).get_all("Requires-Dist", []), {})
    assert {"torch", "typer"} <= set(packages) and not {"convbench", "pytest", "pyarrow"} & set(packages)
    linked(packages, site)
    python = environment / "bin" / "python"
    # Without an index, pip refuses where a package that the wheel needs is missing or too old.
    pip = (sys.executable, "-m", "pip", "--python", python)
    ran(*pip, "install", "--no-index", "--disable-pip-version-check", wheel, folder=folder)
    where = ran(python, "-c", "import convbench; print(convbench.__file__)", folder=folder)
    assert where.startswith(str(site)), where
    said = ran(environment / "bin" / "convbench", *FIRST_COMMAND, folder=folder)
    assert re.search(PRINTED, said), said
    ran(environment / "bin" / "convbench", "report", "latest", folder=folder)
    assert list((folder / "reports").glob("*.html"))
