"""The command line: options in, text and an exit code out. Rooms are imported when a verb needs them.

Each module holds the verbs of one kind; importing it puts them into the command, in the order of its help.
"""

from convbench.cli import run, plan, check, report, runs, history, baseline, export, compare, ab, ci, explain, repro  # noqa: F401, I001  # in the help's order
from convbench.cli.entry import main

__all__ = ["main"]
