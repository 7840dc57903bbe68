"""The Python API: the verbs as functions, which `import convbench` provides."""

from convbench.actions.capturing import CapturedModel, capture
from convbench.actions.compare import compare
from convbench.actions.measure import ab, run, run_against
from convbench.actions.read import MeasuredRun, history, load

__all__ = ["CapturedModel", "MeasuredRun", "ab", "capture", "compare", "history", "load", "run", "run_against"]
