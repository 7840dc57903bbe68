"""Shows a run's progress on standard error: a bar on a terminal, plain lines elsewhere. A text may stand below the bar.

It is drawn only by the runner's hooks, which run between blocks; there is no refresh thread.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from convbench import units
from convbench.cli.output import say
from convbench.conduct.listening import Begun, Listener
from convbench.conduct.processes import STORE_EVERY_S, Progress
from convbench.errors import RequestError
from convbench.measure.left import Spent, left_s
from convbench.units import flat

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from convbench.actions.read import MeasuredRun

#: Time between two drawings of the bar, seconds: drawing takes some milliseconds.
REDRAW_S = 0.25
#: Time between two plain lines, seconds.
LINE_S = 15.0
#: Time between two readings of the text below the bar, seconds: it is made of what is stored.
READ_S = 0.5


class RunProgress:
    """Shows the progress of a run; `listener` returns the hooks for the runner. `quiet` shows messages alone.

    `below` returns the text below the bar, which may have colours, for the id of the run. A terminal that is lower than
    both shows the bar and where the text begins. Without `waits` a run that would wait for another one is refused.
    """

    def __init__(self, *, quiet: bool = False, below: Callable[[str], str] | None = None, waits: bool = True) -> None:
        self._quiet = quiet
        self._waits = waits
        self._below = below
        self._text = ""
        self._read_at = 0.0
        self.run_id: str | None = None
        self._began = time.monotonic()
        self._last = 0.0
        self._stage: str | None = None
        self._first: Progress | None = None  # of the stage
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._terminal = sys.stderr.isatty()

    def listener(self, given: Listener | None = None) -> Listener:
        """Hooks that show progress, beside those of `given` that do not."""
        every_s = 0.0 if self._below and self._terminal else STORE_EVERY_S  # each round, so that the first is shown
        return replace(
            given or Listener(),
            begun=self.begun,
            progressed=self.progressed,
            message=self._say,
            waiting=self._waiting,
            store_every_s=every_s,
        )

    def measured(self, run: Callable[[], MeasuredRun], database: str | None) -> tuple[MeasuredRun, bool]:
        """What `run` measured and False; after an interrupt what is stored of it and True.

        Raises KeyboardInterrupt where it was interrupted before it began.
        """
        from convbench.actions import measure

        try:
            return run(), False
        except KeyboardInterrupt:
            if self.run_id is None:
                raise
            return measure.measured(self.run_id, db=database), True
        finally:
            self.close()

    def begun(self, begun: Begun) -> None:
        """Print which run starts or resumes."""
        self.run_id = begun.run_id
        if self._quiet:
            return
        env = begun.environment
        what = units.plural(begun.cases, "case")
        if begun.resumed:
            kept = units.plural(begun.visits_kept, "visit")
            say(f"resuming run {begun.run_id}: {what}, {kept} kept (--fresh starts a new run)")
        else:
            where = f"{flat(env.cpu)}, {units.plural(env.cores, 'core')}, torch {flat(env.torch)}"
            say(f"run {begun.run_id}: {what} on {where}")
        if self._terminal:
            self._make_bar()

    def progressed(self, progress: Progress) -> None:
        """Draw the bar or print a line, unless that was done a moment ago."""
        if self._quiet:
            return
        now = time.monotonic()
        if self._terminal and self._bar is None:
            self._make_bar()
        if self._stage != progress.stage:
            self._stage, self._first, self._began = progress.stage, progress, now
        # Nothing is shown of any case yet, and there is something now.
        is_first = bool(self._below and self._bar and not self._text and progress.visits_done)
        if now - self._last < (REDRAW_S if self._bar else LINE_S) and not is_first:
            return
        self._last = now
        left = self._time_left(progress, now)
        counts = (
            (progress.failed, "wrong"),
            (progress.imprecise, "imprecise"),
            (progress.unmeasured, "not measured"),
        )
        problems = "".join(f", {count} {word}" for count, word in counts if count)
        problems += ", results wait on this disk" if progress.is_waiting else ""
        text = f"{progress.stage} {progress.process_index + 1} of {progress.processes}"
        cases = f"{progress.process_done} of {units.plural(progress.process_cases, 'case')}"
        if self._bar and self._task is not None:
            if progress.visits_done:  # before, there is no time to read, and the next look would wait
                self._read(now)
            done, planned = progress.visits_done, progress.visits_planned
            self._bar.update(self._task, completed=done, total=planned, what=text, cases=cases + problems, left=left)
            self._bar.refresh()
        else:
            say(f"{text}: {cases}{problems}{', ' if left else ''}{left}")

    def _read(self, now: float) -> None:
        """Read the text below the bar again, unless that was done a moment ago or fails."""
        if self._below and self.run_id and now - self._read_at >= READ_S:
            with suppress(RequestError):
                self._text = self._below(self.run_id)
            self._read_at = time.monotonic()

    def _say(self, text: str) -> None:
        """Print a line, without the bar at its place."""
        if self._bar:
            self._bar.stop()
        say(text)
        if self._bar:
            self._bar.start()

    def _waiting(self, text: str) -> None:
        """Say for whom the run waits; RequestError where it may not wait."""
        if not self._waits:
            raise RequestError(text, hint="without --no-wait, the run waits until that one has ended")
        if not self._quiet:
            self._say(f"waiting: {text}")

    def close(self) -> None:
        """Remove the bar."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _time_left(self, progress: Progress, now: float) -> str:
        first = self._first
        if first is None or progress.visits_done - first.visits_done < 1:
            return ""
        spent = Spent(
            seconds=now - self._began,
            visits=progress.visits_done - first.visits_done,
            tried=first.untried - progress.untried,
            lost=progress.lost - first.lost,
            lost_s=progress.lost_s - first.lost_s,
        )
        visits = progress.visits_planned - progress.visits_done
        expected_s = left_s(spent, visits=visits, untried=progress.untried, processes=progress.processes)
        return "" if expected_s is None else f"{units.duration(min(expected_s, progress.most_left_s))} left"

    def _make_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar
        from rich.text import Text

        shown = self

        class AboveText(Bar):
            def get_renderables(self) -> Iterable[RenderableType]:
                """The bar, and the text below it."""
                yield from super().get_renderables()
                if shown._text:
                    yield Text.from_ansi(shown._text)

        self._bar = AboveText(
            TextColumn("{task.fields[what]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[cases]}"),
            TextColumn("{task.fields[left]}"),
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task("run", total=None, what="starting", cases="", left="")
        self._bar.start()
        self._bar.refresh()
