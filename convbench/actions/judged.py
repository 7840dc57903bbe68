"""The confirmed comparison of a run as a small file, by which `convbench run` hands it to the service."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from convbench.errors import RequestError
from convbench.model.schedule import ChangedCase
from convbench.store.files import write_bytes

if TYPE_CHECKING:
    from convbench.analysis.comparison.judgment import Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The verdict on a run against another one, with the cases that changed, the largest change first."""

    base_id: str
    verdict: str
    text: str
    changes: Sequence[ChangedCase]


def write_judged(path: Path, comparison: Comparison) -> None:
    """Write the verdict and the changed cases of a comparison."""
    from convbench.analysis.comparison.judgment import Verdict
    from convbench.report.text.compare import verdict_text

    changed = [one for one in comparison.judgments if one.verdict in (Verdict.REGRESSED, Verdict.IMPROVED)]
    changed.sort(key=lambda one: (one.verdict is not Verdict.REGRESSED, -abs(math.log(one.own_ratio))))
    judged = Judged(
        base_id=comparison.base.id,
        verdict=comparison.verdict.value,
        text=verdict_text(comparison),
        changes=[
            ChangedCase(
                case_id=one.case.id,
                label=one.case.label,
                verdict=one.verdict.value,
                ratio=one.ratio,
                low=one.low,
                high=one.high,
            )
            for one in changed
        ],
    )
    write_bytes(path, json.dumps(asdict(judged)).encode())


def read_judged(path: Path) -> Judged | None:
    """What `write_judged` wrote; None where it wrote nothing. Raises RequestError for a file that is not its own."""
    try:
        found = json.loads(path.read_bytes())
        return Judged(**found | {"changes": tuple(ChangedCase(**one) for one in found["changes"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RequestError(f"the verdict of the run cannot be read: {type(error).__name__}") from error
