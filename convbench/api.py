"""The Python API: the verbs as functions, which `import convbench` provides."""

from convbench.actions.campaigns import campaign
from convbench.actions.capturing import CapturedModel, capture
from convbench.actions.compare import compare
from convbench.actions.connecting import ServiceComparison, ServiceConnection, ServiceJob, connect
from convbench.actions.fleets import resume as fleet_resume
from convbench.actions.fleets import run as fleet_run
from convbench.actions.machines import machines
from convbench.actions.measure import ab, run, run_against
from convbench.actions.read import MeasuredRun, history, load

__all__ = [
    "CapturedModel",
    "MeasuredRun",
    "ServiceComparison",
    "ServiceConnection",
    "ServiceJob",
    "ab",
    "campaign",
    "capture",
    "compare",
    "connect",
    "fleet_resume",
    "fleet_run",
    "history",
    "load",
    "machines",
    "run",
    "run_against",
]
