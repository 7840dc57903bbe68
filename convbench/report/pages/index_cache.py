"""What the page of all runs keeps in a small file beside it: findings, verdicts and trends, which take long. Pure.

This module makes and reads the file's text, and validates every value in it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from convbench.measure import estimate
from convbench.model.result import Baseline, Run, RunSummary
from convbench.report.pages import trends
from convbench.report.pages.rendering import shortened

#: Findings of each run and characters of a sentence at most: the run's report has the rest.
MOST_FINDINGS = 3
MOST_CHARACTERS = 400
#: The verdicts of a run against its baseline: those of a comparison, and that there can be none.
NOT_COMPARABLE = "not comparable"
VERDICTS = ("regressed", "improved", "unchanged", "inconclusive", "not judged", NOT_COMPARABLE)

#: The layout of the file beside the page. Files of other layouts are ignored.
_LAYOUT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """A run in brief: the first line of its description, its first findings by weight, and its noise.

    `noise` is the median probe over the fastest probe, minus 1; None where no probe ran.
    """

    description: str
    noise: float | None
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The verdict of a finished run against its baseline, and a sentence on it."""

    base_id: str
    base_name: str
    finished_at: str
    verdict: str
    detail: str

    @classmethod
    def of(cls, base: Baseline, run: Run, *, verdict: str, detail: str) -> Judged:
        """The verdict of a finished run."""
        return cls(
            base_id=base.run_id,
            base_name=base.name,
            finished_at=run.finished_at or "",
            verdict=verdict,
            detail=shortened(detail, MOST_CHARACTERS),
        )

    def is_of(self, base: Baseline, run: RunSummary) -> bool:
        """Whether it is the verdict of this state of the run against this baseline."""
        return (self.base_id, self.base_name, self.finished_at) == (base.run_id, base.name, run.finished_at)


def glance(run: Run, findings: Sequence[str] | None = None) -> Glance:
    """A run in brief; `findings` are its sentences, as `news` gives them, where the caller has them."""
    if findings is None:
        from convbench.analysis.findings import findings as found  # loads pandas, which cached glances do not need

        findings = found.news(found.findings(run))
    blocks = estimate.table(run.results)
    noise = estimate.noise(blocks, [result.case.worker for result in run.results]).ratio - 1
    lines = run.description.strip().splitlines()
    return Glance(
        description=shortened(lines[0], MOST_CHARACTERS) if lines else "",
        noise=noise if math.isfinite(noise) else None,
        findings=tuple(shortened(sentence, MOST_CHARACTERS) for sentence in findings[:MOST_FINDINGS]),
    )


def kept_text(
    glances: Mapping[str, tuple[str, Glance]],
    version: str,
    sweeps: Mapping[str, trends.SweepTrend] | None = None,
    verdicts: Mapping[str, Judged] | None = None,
) -> str:
    """The text of the cache file for this version of convbench.

    It holds (time of finishing, glance) and verdicts of runs by their ids, and the sweeps' trends by their names.
    """
    runs = {
        run_id: {
            "finished_at": finished_at,
            "description": seen.description,
            "noise": seen.noise,
            "findings": list(seen.findings),
        }
        for run_id, (finished_at, seen) in glances.items()
    }
    document = {
        "layout": _LAYOUT,
        "version": version,
        "runs": runs,
        "verdicts": {run_id: asdict(judged) for run_id, judged in (verdicts or {}).items()},
        "trends": trends.to_json(sweeps or {}),
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def kept_glances(text: str, version: str) -> dict[str, tuple[str, Glance]]:
    """The glances in a text by `kept_text`, without invalid ones; none if another version of convbench wrote it."""
    runs = _document(text, version).get("runs")
    found = {run_id: _kept(fields) for run_id, fields in runs.items()} if isinstance(runs, dict) else {}
    return {run_id: kept for run_id, kept in found.items() if kept is not None}


def kept_verdicts(text: str, version: str) -> dict[str, Judged]:
    """The verdicts in a text by `kept_text`, likewise."""
    kept = _document(text, version).get("verdicts")
    found = {run_id: _judged(fields) for run_id, fields in kept.items()} if isinstance(kept, dict) else {}
    return {run_id: judged for run_id, judged in found.items() if judged is not None}


def _judged(document: object) -> Judged | None:
    names = [one.name for one in fields(Judged)]
    if not isinstance(document, dict) or not all(isinstance(document.get(name), str) for name in names):
        return None
    if document["verdict"] not in VERDICTS:
        return None
    return Judged(**{name: shortened(document[name], MOST_CHARACTERS) for name in names})


def kept_trends(text: str, version: str) -> dict[str, trends.SweepTrend]:
    """The trends in a text by `kept_text`, likewise."""
    return trends.from_json(_document(text, version).get("trends"))


def _document(text: str, version: str) -> dict[str, object]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(document, dict) or (document.get("layout"), document.get("version")) != (_LAYOUT, version):
        return {}
    return document


def _kept(document: object) -> tuple[str, Glance] | None:
    if not isinstance(document, dict):
        return None
    finished_at, description = document.get("finished_at"), document.get("description")
    noise, findings = document.get("noise"), document.get("findings")
    if not isinstance(finished_at, str) or not isinstance(description, str) or not isinstance(findings, list):
        return None
    if noise is not None and not (isinstance(noise, float) and math.isfinite(noise)):
        return None
    sentences = tuple(
        shortened(sentence, MOST_CHARACTERS) for sentence in findings[:MOST_FINDINGS] if isinstance(sentence, str)
    )
    return finished_at, Glance(description=shortened(description, MOST_CHARACTERS), noise=noise, findings=sentences)
