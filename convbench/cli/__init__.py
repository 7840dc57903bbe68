"""The command line: reads options, prints text and returns an exit code. A verb imports rooms when it needs them.

Each module adds its verbs to the command when it is imported. The order of imports is the order in the help.
"""

from convbench.cli import run, plan, check, report, runs, history, baseline, export, compare, ab, ci, explain, repro  # noqa: F401, I001  # in the help's order
from convbench.cli.entry import main

__all__ = ["main"]
