"""`python start.py CONDUCTOR_PID MEMORY_LIMIT [FOLDER ...]`: starts a worker in any interpreter.

The interpreter need not have convbench installed: this file makes the conductor's copy importable, but no other package
in the same folder.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path


def main() -> None:
    """Remove this file's folder from the module path, then run `python -m convbench.worker` in this process."""
    own = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != own]
    folder = own.parent
    spec = importlib.util.spec_from_file_location(
        "convbench", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec and spec.loader
    package = importlib.util.module_from_spec(spec)
    sys.modules["convbench"] = package
    spec.loader.exec_module(package)
    runpy.run_module("convbench.worker", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
