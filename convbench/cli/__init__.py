"""The command line: reads options, prints text and returns an exit code. A verb imports rooms when it needs them."""

from collections.abc import Callable, Mapping

from convbench.cli import (
    ab,
    backup,
    baseline,
    bisect,
    campaign,
    capture,
    check,
    ci,
    ci_nightly,
    ci_pull_request,
    compare,
    explain,
    export,
    fleet,
    help,
    history,
    importing,
    init,
    machines,
    networks,
    picture,
    plan,
    push,
    report,
    repro,
    run,
    runs,
    schema,
    serve,
    time,
    token,
)
from convbench.cli.entry import main
from convbench.cli.options import app
from convbench.cli.settings import with_settings

__all__ = ["main"]

#: The verbs by purpose, in the order of the help, each with an example.
VERBS: Mapping[str, Mapping[Callable[..., None], str]] = {
    "Measure": {
        with_settings(time.time, repeated=True): (
            "convbench time 3 64 --kernel-size 3 --input-size 224 --dtype float32 --dtype bfloat16"
        ),
        run.run: "convbench run configs/sweep.yaml --open",
        plan.plan: "convbench plan configs/sweep.yaml",
        capture.capture: "convbench capture net.py:Net --input 8x3x224x224 -o net.yaml",
        importing.import_: "convbench import model.onnx --size batch=8 -o model.yaml",
        networks.networks: "convbench networks configs/networks",
        init.init: "convbench init sweep.yaml",
        schema.schema: "convbench schema -o sweep.schema.json",
        check.check: "convbench check",
    },
    "Read": {
        report.report: "convbench report latest",
        runs.runs: "convbench runs",
        machines.machines: "convbench machines",
        history.history: "convbench history wn6n4d2rsfjv --last 30",
        export.export: "convbench export latest --format csv -o run.csv",
        runs.prune: "convbench prune --keep 100 --older 90d",
        picture.picture: "convbench picture latest --of ratio --setting dtype -o dtype.svg",
    },
    "Compare": {
        compare.compare: "convbench compare main latest",
        campaign.campaign: "convbench campaign resnet50 --price build-3=1.20",
        ab.ab: "convbench ab configs/sweep.yaml --b-python .venv-new/bin/python",
        bisect.bisect: "convbench bisect v1.2 main configs/sweep.yaml --case wn6n4d2rsfjv",
    },
    "Serve": {
        serve.serve: "convbench serve --port 8321",
        push.push: "convbench push latest --to https://bench.example.org",
        backup.backup: "convbench backup runs-copy.db",
    },
    "Understand one layer": {
        with_settings(
            explain.explain
        ): "convbench explain --in-channels 3 --out-channels 64 --kernel-size 3 --input-size 224",
        repro.repro: "convbench repro wn6n4d2rsfjv",
    },
}
for purpose, verbs in VERBS.items():
    for verb, example in verbs.items():
        # A verb that is a word of Python is a function with an underscore behind it.
        app.command(verb.__name__.rstrip("_"), rich_help_panel=purpose, epilog=f"Example: {example}")(verb)
for name, verb, example in (
    ("init", ci.init, "convbench ci init --github"),
    ("pull-request", ci_pull_request.pull_request, "convbench ci pull-request configs/sweep.yaml --dry-run"),
    ("nightly", ci_nightly.nightly, "convbench ci nightly configs/sweep.yaml --dry-run"),
):
    ci.ci.command(name, epilog=f"Example: {example}")(verb)
for name, verb, example in (
    ("run", fleet.run, "convbench fleet run configs/sweep.yaml --address ray://head:10001"),
    ("resume", fleet.resume, "convbench fleet resume latest --address ray://head:10001"),
    ("status", fleet.status, "convbench fleet status latest"),
):
    fleet.fleet.command(name, epilog=f"Example: {example}")(verb)
for group, name, purpose, example in (
    (fleet.fleet, "fleet", "Measure", "convbench fleet run configs/sweep.yaml --address local"),
    (baseline.baseline, "baseline", "Compare", "convbench baseline set main latest"),
    (ci.ci, "ci", "Automate", "convbench ci init --github"),
    (token.token, "token", "Serve", "convbench token create ci --scope submit"),
):
    app.add_typer(group, name=name, rich_help_panel=purpose, epilog=f"Example: {example}")
app.command("help", rich_help_panel="Help", epilog="Example: convbench help run")(help.help_)
