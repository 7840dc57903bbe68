"""The command line: reads options, prints text and returns an exit code. A verb imports rooms when it needs them."""

from convbench.cli import ab, baseline, check, ci, compare, explain, export, history, plan, report, repro, run, runs
from convbench.cli.entry import main
from convbench.cli.options import app

__all__ = ["main"]

# The order in the help.
for verb in (
    *(run.run, plan.plan, check.check, report.report, runs.runs, history.history, export.export),
    *(compare.compare, ab.ab, explain.explain, repro.repro),
):
    app.command()(verb)
app.add_typer(baseline.baseline, name="baseline")
app.add_typer(ci.ci, name="ci")
