"""Makes reports, comparisons and exports in a process beside the service, and keeps what was made for the next reader.

They take memory and time: libraries for tables and pictures, seconds for many cases. Files of a run that is finished
stay until newer ones need their place. Their names come from the database, never from a request.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from convbench.actions.jobs import MOST_BYTES, Checked, checked, refuse_code
from convbench.errors import ConvbenchError, LaterError, RequestError
from convbench.model.reading import Json
from convbench.model.result import Run
from convbench.model.serial import run_from_json
from convbench.model.variables import may_hold_secrets
from convbench.store.files import write_bytes
from convbench.store.store import Store
from convbench.version import __version__
from convbench.web.answers import CompareAnswer, JudgmentAnswer
from convbench.web.helper import Helper
from convbench.web.over_time import OverTime
from convbench.web.room import folder_for_pages

if TYPE_CHECKING:
    from convbench.analysis.comparison.judgment import RunComparison
    from convbench.model.campaign import Campaign
    from convbench.report.lists import Cell
    from convbench.workloads.request import Request

#: Seconds that a page, the check of a sweep, and the capture of a model may take.
PAGE_S, CHECK_S, CAPTURE_S = 120.0, 20.0, 120.0
#: Memory of the process that checks sweeps, bytes.
CHECK_BYTES = 2**31
#: Files that are kept, and bytes of them all.
MOST_FILES, MOST_KEPT_BYTES = 200, 500 * 2**20


class NoRoomError(LaterError):
    """What was made cannot be kept in the folder for temporary files."""


class Pages:
    """What is made of stored runs. All methods raise RequestError where it cannot be made."""

    def __init__(self, store: Store, db: str | None, *, keep_in: Path | None = None) -> None:
        """What takes longest is also kept in files in the folder `keep_in`, for the service that comes next."""
        self._store, self._db = store, db
        self._folder = folder_for_pages()
        self._kept: OrderedDict[str, Path] = OrderedDict()
        self._lock = threading.Lock()
        self._pages, self._checks, self._captures = Helper(), Helper(most_bytes=CHECK_BYTES), Helper()
        #: What moved over time, which the same process computes where it is quick.
        self.over_time = OverTime(store, db, self._pages, keep_in=keep_in)

    def check(self, text: str) -> Checked:
        """What a submitted sweep would measure; raises SweepError with all mistakes."""
        found: Checked = self._checks.call(checked, text, timeout_s=CHECK_S)
        return found

    def check_trusted(self, text: str, *, trust_modules: bool) -> Checked:
        """The same for a sweep that this service is to measure; RequestError for code that it does not trust."""
        found = self.check(text)
        refuse_code(found, trust_modules=trust_modules)
        return found

    def head(self, document: Json) -> Run:
        """A run that is sent here, without its contents and without values of secrets; RequestError where it is none.

        Its sweep is read in a process with limits, since anybody may have written it.
        """
        run = run_from_json(document)
        if run.results or run.unmeasured or run.processes:
            raise RequestError("expected a run without results and processes", hint="they follow")
        if len(run.source) > MOST_BYTES:
            raise RequestError(f"the text of the sweep has {len(run.source)} characters, {MOST_BYTES} at most")
        if may_hold_secrets(run.source):
            source: str = self._checks.call(_source_of_today, run.source, timeout_s=CHECK_S)
            return replace(run, source=source)
        return run

    def report(self, run_id: str) -> bytes:
        """The report of the run with this id, as it is stored now."""
        return self._made("report", (run_id,))

    def comparison(self, base_id: str, new_id: str, *, across: bool = False) -> bytes:
        """The page of a comparison of the runs with these ids."""
        return self._made("comparison", (base_id, new_id), "across" if across else "")

    def compared(self, base_id: str, new_id: str, *, across: bool = False) -> CompareAnswer:
        """A comparison of the runs with these ids."""
        made = self._made("compared", (base_id, new_id), "across" if across else "")
        return CompareAnswer.model_validate_json(made)

    def campaign(self, found: Campaign) -> tuple[bytes, str]:
        """The page of a campaign as it is stored now, and a text that changes with it."""
        run_ids = tuple(run_id for shard in found.shards for run_id in shard.run_ids)
        version = f"{found.id} {found.finished_at} {run_ids}"
        return self._made("campaign", run_ids, f"{found.id} {found.finished_at}"), version

    def captured(self, request: Request, budget_s: float) -> str:
        """The sweep that measures a model within a budget; the model is imported and run in a process of its own.

        Raises RequestError where that fails, or takes too long.
        """
        text: str = self._captures.call(_captured, request, budget_s, timeout_s=CAPTURE_S)
        return text

    def export(self, run_id: str, form: str) -> bytes:
        """The run in a format of `convbench export`."""
        return self._made("export", (run_id,), form)

    def listed(self, rows: Sequence[Mapping[str, Cell]], columns: Sequence[str], form: str) -> bytes:
        """Rows of a list in a format of report/lists.py."""
        made: bytes = self._pages.call(_listed, rows, columns, form, timeout_s=PAGE_S)
        return made

    def rest(self) -> None:
        """Give memory back that nothing has needed for a while."""
        self._pages.rest()
        self.over_time.rest()
        self._checks.rest()
        self._captures.rest()

    def close(self) -> None:
        """End the processes, and remove the files."""
        self._pages.close()
        self.over_time.close()
        self._checks.close()
        self._captures.close()
        self._folder.cleanup()

    def _made(self, kind: str, run_ids: tuple[str, ...], form: str = "") -> bytes:
        ended = [self._store.ended_at(run_id) for run_id in run_ids]
        name = hashlib.sha256("\0".join((kind, form, __version__, *run_ids, *map(str, ended))).encode()).hexdigest()
        with self._lock:
            path = self._kept.get(name)
            if path is not None:
                self._kept.move_to_end(name)
        if path is not None:
            try:
                return path.read_bytes()
            except OSError:  # somebody has cleaned the folder of temporary files
                pass
        path = Path(self._folder.name) / name
        self._pages.call(_make, str(path), kind, run_ids, form, self._db, timeout_s=PAGE_S)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise RequestError(f"what was made cannot be read: {error.strerror}") from error
        if None in ended:
            path.unlink(missing_ok=True)  # more results come
        else:
            self._keep(name, path)
        return content

    def _keep(self, name: str, path: Path) -> None:
        with self._lock:
            self._kept[name] = path
            self._kept.move_to_end(name)
            sizes = {name: path.stat().st_size for name, path in self._kept.items() if path.exists()}
            while len(self._kept) > 1 and (
                len(self._kept) > MOST_FILES or sum(sizes.get(one, 0) for one in self._kept) > MOST_KEPT_BYTES
            ):
                _, oldest = self._kept.popitem(last=False)
                oldest.unlink(missing_ok=True)


def _listed(rows: Sequence[Mapping[str, Cell]], columns: Sequence[str], form: str) -> bytes:
    from convbench.report.lists import listed

    return listed(rows, columns, form)


def _source_of_today(source: str) -> str:
    """The text of a sweep without values of secrets, in the process for it."""
    from convbench.sweep.document import without_secrets

    return without_secrets(source)[0]


def _captured(request: Request, budget_s: float) -> str:
    """The sweep of a model, in the process for it, which starts another one that imports torch."""
    from convbench.actions.capturing import planned

    return planned(request, budget_s=budget_s)[0].source


def _make(path: str, kind: str, run_ids: tuple[str, ...], form: str, db: str | None) -> None:
    """Make one file, in the process for it. The ids are those of stored runs, so they name no file."""
    from convbench.store import Store

    if kind == "campaign":
        from convbench.actions.campaigns import campaign
        from convbench.report.pages import campaign as campaign_page

        content = campaign_page.render(campaign(form.split()[0], db=db), ()).encode()
    elif kind in ("comparison", "compared"):
        from convbench.actions.compare import compare

        compared = compare(*run_ids, db=db, across_environments=bool(form))
        if kind == "compared":
            content = _answer(compared).model_dump_json().encode()
        else:
            from convbench.report.pages import comparison as comparison_page

            content = comparison_page.render(compared, ()).encode()
    else:
        with Store.open(db) as store:
            run = store.load(run_ids[0])
        if kind == "report":
            from convbench.report.pages import run as run_page

            content = run_page.render(run, None).encode()
        elif kind == "export":
            from convbench.report.export import export

            content = export(run, form)
        else:
            raise ConvbenchError(f"nothing called {kind} is made")
    try:
        write_bytes(Path(path), content)
    except RequestError as error:
        reason = error.message.rpartition(": ")[2]  # the path is of no use to a reader
        raise NoRoomError(
            f"the service cannot keep what it made: {reason}", hint="its folder for temporary files needs room"
        ) from None


def _answer(compared: RunComparison) -> CompareAnswer:
    from convbench.report.text.compare import compare_text

    found = compared.comparison
    return CompareAnswer(
        base=found.base.id,
        new=found.new.id,
        verdict=found.verdict.value,
        text=compare_text(found),
        comparable=found.comparable,
        differences=[str(difference) for difference in found.differences],
        counts={verdict.value: number for verdict, number in found.counts.items()},
        judgments=[
            JudgmentAnswer(
                case_id=one.case.id,
                label=one.case.label,
                verdict=one.verdict.value,
                reason=one.reason,
                ratio=_finite(one.ratio),
                low=_finite(one.low),
                high=_finite(one.high),
                base_s=_finite(one.base_s),
                new_s=_finite(one.new_s),
            )
            for one in found.judgments
        ],
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
