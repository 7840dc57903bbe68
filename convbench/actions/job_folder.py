"""The folder in which a job of the service and its subprocess hand files to each other, in `reports/jobs`.

It outlives both, so that a service which comes after a kill knows what the subprocess began, and what it found.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from convbench.errors import RequestError
from convbench.model.schedule import ChangedCase
from convbench.store.files import write_bytes

if TYPE_CHECKING:
    from convbench.analysis.comparison.judgment import Comparison

#: The name of the file that mistakes in a submitted text name, and of a sweep that has no name.
FILE = "sweep.yaml"
#: Where the folders of jobs are, below the folder in which the service was started.
JOBS = Path("reports/jobs")
_ID = re.compile(r"[\w-]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The verdict on a run against another one, with the cases that changed, the largest change first."""

    base_id: str
    verdict: str
    text: str
    changes: Sequence[ChangedCase]


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The folder at this path. Its methods raise RequestError where a file cannot be read or written."""

    path: Path

    @classmethod
    def of(cls, job_id: str) -> JobFolder:
        """The folder of a job, which this makes where it is not there."""
        return cls((JOBS / job_id).resolve())

    def write_sweep(self, text: str) -> Path:
        """Write the sweep of the job; returns its file."""
        path = self.path / FILE
        write_bytes(path, text.encode())
        return path

    @property
    def steps(self) -> Path:
        """The file of what a bisection has decided."""
        return self.path / "steps.json"

    def write_begun(self, id_: str) -> None:
        """Write the id of a run or campaign, before anything of it is stored."""
        write_bytes(self.path / "begun", id_.encode())

    def begun(self) -> str | None:
        """The id of the run or campaign that was begun last; None where there is none. It may not be stored yet."""
        try:
            text = (self.path / "begun").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise RequestError(f"the id of what a job began cannot be read: {type(error).__name__}") from error
        return text if _ID.fullmatch(text) else None

    def write_judged(self, comparison: Comparison) -> None:
        """Write the verdict and the changed cases of a comparison."""
        write_bytes(self.path / "judged.json", json.dumps(asdict(judged_of(comparison))).encode())

    def judged(self) -> Judged | None:
        """What `write_judged` wrote; None where it wrote nothing."""
        try:
            found = json.loads((self.path / "judged.json").read_bytes())
            return Judged(**found | {"changes": tuple(ChangedCase(**one) for one in found["changes"])})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RequestError(f"the verdict of the run cannot be read: {type(error).__name__}") from error

    def remove(self) -> None:
        """Remove it with all that it contains; nothing where it is not there."""
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):  # other jobs have folders there
            self.path.parent.rmdir()


def left() -> Iterator[tuple[str, JobFolder]]:
    """The folders that are there, with the ids of their jobs."""
    with suppress(OSError):
        for path in sorted(JOBS.iterdir()):
            yield path.name, JobFolder(path.resolve())


def judged_of(comparison: Comparison) -> Judged:
    """The verdict and the changed cases of a comparison."""
    from convbench.analysis.comparison.judgment import Verdict
    from convbench.report.text.compare import verdict_text

    changed = [one for one in comparison.judgments if one.verdict in (Verdict.REGRESSED, Verdict.IMPROVED)]
    changed.sort(key=lambda one: (one.verdict is not Verdict.REGRESSED, -abs(math.log(one.own_ratio))))
    return Judged(
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
