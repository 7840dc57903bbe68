"""Deletes old runs while the service runs, as `convbench prune` does; never a baseline, a run that is written, or one
that an open job needs.
"""

from __future__ import annotations

import threading

from convbench.actions import remove
from convbench.actions.jobs import now
from convbench.errors import RequestError
from convbench.store.store import Store
from convbench.store.tokens import Tokens
from convbench.web.logs import logger
from convbench.web.priority import lower_this_thread
from convbench.web.settings import Settings

#: Seconds between two looks for old runs.
LOOK_S = 3600.0
#: The name in the list of writes.
WHO = "retention"


class Retention:
    """Deletes what the settings say is old, from `start` until `stop`, in a thread of its own."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="retention", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; a deletion under way is finished first."""
        self._stopping.set()
        self._thread.join()

    def prune(self) -> int:
        """Delete what is old now; returns the number of runs."""
        keep, older = self._settings.keep, self._settings.older
        removal = remove.prune(keep=keep, older=older, db=self._settings.db)
        for run in removal.runs:
            Tokens(self._store).note_write(at=now(), who=WHO, address="", action="prune", target=run.id, status=200)
        if removal.runs:
            logger.info("old runs were deleted", extra={"facts": {"runs": len(removal.runs)}})
        return len(removal.runs)

    def _loop(self) -> None:
        lower_this_thread()
        while True:
            try:
                self.prune()
            except RequestError as error:
                logger.warning("old runs cannot be deleted now", extra={"facts": {"error": error.message}})
            except Exception:
                logger.exception("a fault while old runs were deleted")
            if self._stopping.wait(LOOK_S):
                return
