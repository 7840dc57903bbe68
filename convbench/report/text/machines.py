"""What `convbench machines` prints, as text and as JSON. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from convbench import units
from convbench.analysis.campaign.known import KnownMachine
from convbench.model.serial import to_json
from convbench.report.text.campaign import roofs_text
from convbench.report.text.runs import minute
from convbench.report.text.tables import table


def machines_text(found: Sequence[KnownMachine], columns: int | None = None) -> str:
    """One line a machine, or several where that is wider than `columns`. Devices have a column if any has one."""
    if not found:
        return "no machine is known yet; `convbench run CONFIG` measures on this one"
    heads = ("key", "machine", "cores", "devices", "runs", "last run (UTC)", "noise", "roofs", "hosts")
    rows = [heads, *map(_row, found)]
    kept = [at for at, head in enumerate(heads) if head != "devices" or any(row[at] for row in rows[1:])]
    return table([tuple(row[at] for at in kept) for row in rows], columns)


def _row(one: KnownMachine) -> tuple[str, ...]:
    return (
        one.key.id,
        one.name,
        units.count(one.key.cores),
        "; ".join(map(str, one.key.devices)),
        units.count(one.runs),
        minute(one.last.started_at),
        units.apart(one.noise) if math.isfinite(one.noise) else "-",
        roofs_text(one.roofs),
        ", ".join(one.hosts),
    )


def machines_json(found: Sequence[KnownMachine]) -> str:
    """A list with an object for each machine; rates are FLOP/s and bytes/s, and noise is a ratio minus 1."""
    return json.dumps([_object(one) for one in found], indent=1, allow_nan=False)


def _object(one: KnownMachine) -> dict[str, object]:
    compute = [
        {
            "device": roof.device,
            "threads": roof.threads,
            "fp32_precision": roof.precision,
            "dtype": roof.dtype,
            "flops_per_s": rate,
        }
        for roof, rate in one.roofs.compute.items()
    ]
    copies = [
        {"device": device, "threads": threads, "bytes": size, "bytes_per_s": rate}
        for (device, threads), rates in one.roofs.copies.items()
        for size, rate in sorted(rates.items())
    ]
    return {
        "key": one.key.id,
        "name": one.name,
        "machine": to_json(one.key),
        "hosts": [*one.hosts],
        "runs": one.runs,
        "last_run": {"id": one.last.run_id, "name": one.last.name, "started_at": one.last.started_at},
        "noise": one.noise if math.isfinite(one.noise) else None,
        "roofs": compute,
        "copies": copies,
    }
