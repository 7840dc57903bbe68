"""What a run says while it is measured. Without the database, so that the command line can import it at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convbench.conduct.processes import STORE_EVERY_S, Progress
from convbench.model.result import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A run has started or resumed; `visits_kept` counts the visits of the interrupted run."""

    run_id: str
    resumed: bool
    visits_kept: int
    environment: Environment
    cases: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Callbacks of the runner, always called between blocks; `message` receives lines for the user.

    `starting` is called when the first worker begins to import torch, which leaves time to import something else.
    `beginning` receives the id of a run before it is begun or resumed in the database, and `begun` the run after it.

    `waiting` receives a line before the runner waits for another run on this host, and may raise to refuse that.

    A listener that reads what is stored while it is measured may have it stored more often, by `store_every_s`.
    """

    starting: Callable[[], None] = lambda: None
    beginning: Callable[[str], None] = lambda run_id: None
    begun: Callable[[Begun], None] = lambda begun: None
    progressed: Callable[[Progress], None] = lambda progress: None
    process_finished: Callable[[str, int], None] = lambda run_id, process_index: None
    message: Callable[[str], None] = lambda line: None
    waiting: Callable[[str], None] = lambda line: None
    store_every_s: float = STORE_EVERY_S
