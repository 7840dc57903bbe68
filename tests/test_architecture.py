"""The house: modules import from lower floors only, rooms do not know each other, and the command starts light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "convbench"

#: The floor of every room or loose module, lowest first; a module imports only from lower floors or from its own room.
HOUSE: tuple[tuple[str, ...], ...] = (
    ("errors", "units", "version"),
    ("model",),
    ("measure", "sweep", "workloads"),
    ("analysis", "worker", "engine", "store"),
    ("report", "conduct", "fleet"),
    ("actions",),
    ("api", "cli", "web"),
    ("__init__", "__main__"),
)
#: What may lie in the package's root beside the rooms.
LOOSE = {"__init__.py", "__main__.py", "version.py", "errors.py", "units.py", "api.py"}
FLOORS = {name: floor for floor, names in enumerate(HOUSE) for name in names}
MODULES = sorted(path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*.py"))


def room(module: str) -> str:
    """`convbench.engine.local` -> `engine`; the package itself is ``."""
    return module.split(".")[1] if "." in module else ""


def module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


#: Every module and package by its dotted name.
NAMES = {module_name(path) for path in MODULES}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse((PACKAGE.parent / path).read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, whether at the top level outside TYPE_CHECKING) of every import of convbench or a third party."""
    tree = parsed(path)
    late = {
        id(node)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.If)
        for node in ast.walk(outer)
    }
    package = module_name(path).split(".") if path.name == "__init__.py" else module_name(path).split(".")[:-1]
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in late) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
            whole = base == "convbench" or node.level
            found += [(name if whole or name in NAMES else base, id(node) not in late) for name in names]
    return found


def test_every_module_has_a_floor() -> None:
    rooms = {room(module_name(path)) for path in MODULES} - {""}
    assert rooms == set(FLOORS) - {"__init__"}, "give a new room its floor here, and take a removed one out"
    assert len(HOUSE) <= 8
    assert {path.name for path in PACKAGE.glob("*.py")} == LOOSE


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_go_down(path: Path) -> None:
    """Lazy imports count, and those for type checkers alone too."""
    own = room(module_name(path)) or "__init__"
    for name, _ in imports(path):
        other = room(name)
        if name.split(".")[0] == "convbench" and other and other != own and not {own, other} <= set(HOUSE[0]):
            assert FLOORS[other] < FLOORS[own], f"{path} ({own}, floor {FLOORS[own]}) imports {name}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {
        module_name(path): {name for name, _ in imports(path) if name in NAMES} - {module_name(path)}
        for path in MODULES
        if path.name != "__init__.py"
    }
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join([*above[above.index(module) :], module])
        if module not in done:
            for other in sorted(graph.get(module, ())):
                visit(other, (*above, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[1] == "worker"], ids=str)
def test_the_worker_needs_torch_and_the_standard_library_alone(path: Path) -> None:
    for name, _ in imports(path):
        top = name.split(".")[0]
        allowed = top in sys.stdlib_module_names or top == "torch" or name.startswith("convbench.worker")
        assert allowed, f"{path} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_torch_is_imported_in_the_worker_alone(path: Path) -> None:
    if path.parts[1] != "worker":
        assert not [name for name, _ in imports(path) if name.split(".")[0] == "torch"]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_ray_is_known_in_one_module(path: Path) -> None:
    if path.as_posix() != "convbench/fleet/ray.py":
        assert not [name for name, _ in imports(path) if name.split(".")[0] == "ray"]


@pytest.mark.parametrize("path", [p for p in MODULES if p.parts[1] in ("worker", "__init__.py")], ids=str)
def test_the_worker_keeps_to_python_3_9_syntax(path: Path) -> None:
    ast.parse((PACKAGE.parent / path).read_text(encoding="utf-8"), feature_version=(3, 9))


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_nothing_below_the_command_line_prints_or_exits(path: Path) -> None:
    if "cli" in path.parts or path.name == "terminal.py":
        return
    calls = [node.func for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
    assert not [call for call in calls if isinstance(call, ast.Name) and call.id in ("print", "exit", "quit")]
    exits = [call for call in calls if isinstance(call, ast.Attribute) and call.attr == "exit"]
    assert not exits, f"{path} exits"


@pytest.mark.parametrize("name", ["LocalEngine", "LocalTransport"])
def test_where_workers_run_is_decided_in_one_place(name: str) -> None:
    """Whatever conducts a measurement is given what starts workers."""
    naming = {str(path) for path in MODULES if name in (PACKAGE.parent / path).read_text(encoding="utf-8")}
    assert naming <= {"convbench/actions/measure.py", "convbench/engine/local.py"}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_machines_are_described_by_workers_alone(path: Path) -> None:
    """Facts of a machine come from the worker on it; the store alone looks after processes of its own.

    What reads a device's clocks also tells the run's processes on it from others.
    """
    names = {name.split(".")[0] for name, _ in imports(path)}
    assert "psutil" not in names or path.parts[1] == "store" or path.name == "nvidia.py", path
    assert "platform" not in names or path.parts[1] == "worker", path


#: What may name an operator and its dimensions: the operators, the explainer, the script of `repro`, and the readers of
#: other programs' files, which have these words. The sides of a badge are pixels.
OF_OPERATORS = re.compile(
    r"(model|worker)/operators/|workloads/importers/|report/(text|pages)/explain\.py|report/pages/badge\.py|report/text/repro\.py"
    r"|static/(explainer\w*|geometry|samples)\.js|templates/explain(er)?\.html\.j2"
)
TEXTS = [path for path in sorted(PACKAGE.rglob("*")) if path.suffix in (".py", ".js", ".j2", ".sh", ".yml")]
#: An operator's name or its defaults in two dimensions; in Python and texts also the names of dimensions.
NAMED = re.compile(r"conv2d|\(1, 1\)|\(0, 0\)|\[1, 1\]", re.IGNORECASE)
DIMENSIONS = re.compile(r"height|[\"'`]width[\"'`]|(kernel|input|output)[_ ]width|x width")


def test_operators_alone_say_what_they_are_called_and_how_many_dimensions_they_have() -> None:
    found = []
    for path in TEXTS:
        name = path.relative_to(PACKAGE).as_posix()
        if OF_OPERATORS.search(name):
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            # In the scripts of pictures, height and width are pixels.
            if NAMED.search(line) or (path.suffix != ".js" and DIMENSIONS.search(line)):
                found.append(f"{name}: {line.strip()}")
    assert not found, "\n".join(found)
    assert sum(bool(OF_OPERATORS.search(path.as_posix())) for path in TEXTS) >= 15, "the places named above exist"


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_the_command_starts_light() -> None:
    heavy = {"torch", "pandas", "numpy", "sqlalchemy", "alembic", "psycopg", "plotly", "jinja2", "yaml", "pyarrow"}
    assert not loaded_by("import convbench.cli") & heavy


def test_planning_loads_neither_torch_nor_pandas() -> None:
    assert not loaded_by("import convbench.sweep, convbench.report.text.plan") & {"torch", "pandas", "sqlalchemy"}


def test_the_package_that_workers_import_loads_nothing() -> None:
    assert not loaded_by("import convbench") & {"torch", "pandas", "typer", "yaml"}
