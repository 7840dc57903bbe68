"""The process of a shard on its host: an ordinary run, which writes to standard output what it stores.

`python -m convbench.actions.shard` reads an order (fleet/messages.py) from the first line of standard input. When
standard input ends, so does the run: it is interrupted as by Ctrl-C. So no shard outlives its caller.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from convbench.actions.measure import run_planned, with_plan
from convbench.conduct.listening import Begun, Listener
from convbench.conduct.processes import Progress
from convbench.errors import ConvbenchError, ExitCode, RequestError, StoreError
from convbench.fleet import messages
from convbench.fleet.messages import Order
from convbench.model.case import Case
from convbench.model.result import ProcessFacts, Run, RunState, Visit
from convbench.store import Forwarded, Store
from convbench.store.forwarding import send_all
from convbench.sweep import Plan, Sweep
from convbench.sweep.parse import parse

#: The file of a shard's run, in the folder of the shard; in a run that goes to a server there is none.
FILE = "run.db"
#: How long an interrupted run may take to store what it has, seconds; then the process ends.
GRACE_S = 30.0
#: The shortest time between two lines about progress, seconds.
PROGRESS_S = 1.0


def main() -> int:
    """Measure what the order on standard input asks for; returns the exit code."""
    # A shell that is not interactive starts processes with SIGINT ignored, Ray with SIGINT blocked.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    sender = Sender(os.dup(sys.stdout.fileno()))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no line of ours
    _take_priority(sys.argv[1:], sender)
    text = sys.stdin.buffer.readline().decode()
    threading.Thread(target=_interrupt_at_end_of_input, daemon=True).start()
    try:
        order = messages.order_of(text)
        measure(order, sender)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except ConvbenchError as error:
        # What the disk or the server refuses now may work later; other errors would only come again.
        sender.say(messages.FAILED, message=error.message, hint=error.hint, retry=isinstance(error, StoreError))
        return error.exit_code
    return ExitCode.DONE


def measure(order: Order, sender: Sender) -> None:
    """Run the sweep of the order, or its cases, and send what it stores. Raises the errors of `run`."""
    sweep, plan = restricted(*with_plan(parse(order.source, order.path)), case_ids=order.case_ids)
    listener = Listener(
        begun=sender.begun,
        progressed=sender.progressed,
        message=partial(sender.text, messages.MESSAGE),
        waiting=partial(sender.text, messages.WAITING),
    )
    if order.db is not None:
        run_planned(sweep, plan, db=order.db, fresh=order.fresh, listener=listener)
        return

    def opened_record(url_or_path: str | None, *, message: Callable[[str], None]) -> Forwarded:
        return Forwarded(Store.create(url_or_path), sender)

    if not order.fresh and sent_again(plan, sender):
        return
    if order.fresh:  # an earlier run of this shard here went on elsewhere, and the caller has what was sent of it
        for path in Path().glob(f"{FILE}*"):
            path.unlink()
    run_planned(sweep, plan, db=FILE, fresh=order.fresh, listener=listener, opened_record=opened_record)


def sent_again(plan: Plan, sender: Sender) -> bool:
    """Send the run of these cases that finished here before its end could be sent; False where there is none."""
    if not Path(FILE).exists():
        return False
    with Store.open(FILE) as store:
        finished = [run for run in store.runs()[:1] if run.state is RunState.FINISHED]
        for summary in finished:
            run, cases, _ = store.head(summary.id)
            if tuple(cases) == tuple(plan.cases) and run.finished_at is not None:
                send_all(store, run.id, sender, state=RunState.RUNNING)
                sender.say(messages.BEGUN, run_id=run.id, resumed=True, kept=len(cases))
                sender.ended(run.id, run.state, run.finished_at)
                return True
    return False


def restricted(sweep: Sweep, plan: Plan, *, case_ids: Sequence[str]) -> tuple[Sweep, Plan]:
    """The plan with these cases alone, in the sweep's order; with all where none is named.

    Raises RequestError where the sweep lacks one: another version of convbench would make other cases.
    """
    if not case_ids:
        return sweep, plan
    wanted = set(case_ids)
    cases = tuple(case for case in plan.cases if case.id in wanted)
    if len(cases) < len(wanted):
        lacking = sorted(wanted - {case.id for case in cases})
        raise RequestError(
            f"the sweep has no case {', '.join(lacking[:3])}", hint="install the same convbench on all hosts"
        )
    return sweep, replace(plan, cases=cases)


@dataclass(slots=True)
class Sender:
    """Writes lines to a file descriptor. It is called between blocks, so that writing disturbs none."""

    descriptor: int
    last: float = 0.0

    def say(self, event: str, **entries: object) -> None:
        """Write one line. Where nobody reads any more, standard input has ended too, which interrupts the run."""
        data = memoryview(messages.line(event, **entries).encode() + b"\n")
        with suppress(BrokenPipeError):
            while data:
                data = data[os.write(self.descriptor, data) :]

    def text(self, event: str, text: str) -> None:
        """Send a line for the user."""
        self.say(event, text=text)

    def begun(self, begun: Begun) -> None:
        """Send that the run has begun or goes on."""
        self.say(messages.BEGUN, run_id=begun.run_id, resumed=begun.resumed, kept=begun.visits_kept)

    def progressed(self, progress: Progress) -> None:
        """Send how far the run is, unless that was sent a moment ago."""
        now = time.monotonic()
        if now - self.last < PROGRESS_S:
            return
        self.last = now
        self.say(
            messages.PROGRESS,
            what=f"{progress.stage} {progress.process_index + 1} of {progress.processes}",
            done=progress.visits_done,
            planned=progress.visits_planned,
            problems=progress.failed + progress.imprecise + progress.unmeasured,
            is_waiting=progress.is_waiting,
        )

    def run(self, run: Run, cases: Sequence[Case], digest: str) -> None:
        """Send the run's head. The caller has the cases themselves: their ids are enough."""
        self.say(messages.RUN, run=run, digest=digest, cases=[case.id for case in cases])

    def visits(self, run_id: str, visits: Sequence[Visit]) -> None:
        """Send visits."""
        if visits:
            self.say(messages.VISITS, run_id=run_id, visits=list(visits))

    def process(self, run_id: str, facts: ProcessFacts) -> None:
        """Send the facts of a process."""
        self.say(messages.PROCESS, run_id=run_id, facts=facts)

    def ended(self, run_id: str, state: RunState, finished_at: str) -> None:
        """Send how the run ended."""
        self.say(messages.ENDED, run_id=run_id, state=state, finished_at=finished_at)


def _take_priority(arguments: Sequence[str], sender: Sender) -> None:
    """Take the niceness and the readiness to be killed for memory that the arguments name, if there are any.

    Only an administrator may lower a niceness: for others it stays, and the user gets a note.
    """
    if len(arguments) != 2:
        return
    niceness, killed_first = arguments
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(killed_first)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, int(niceness))
    except PermissionError:
        lower = os.getpriority(os.PRIO_PROCESS, 0)
        sender.text(
            messages.MESSAGE,
            f"note: Ray gives its processes a low priority here (niceness {lower}), so that other programs disturb the"
            " run; start Ray with RAY_worker_niceness=0",
        )


def _interrupt_at_end_of_input() -> None:
    """Interrupt this process when standard input ends; end it if it has not ended after `GRACE_S`."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(GRACE_S)
    os._exit(ExitCode.INTERRUPTED)  # its workers end with it


if __name__ == "__main__":
    raise SystemExit(main())
