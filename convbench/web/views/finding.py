"""Whether a page offers to find the commit between two runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from convbench.actions.bisection_jobs import may_be_found
from convbench.errors import RunNotFoundError
from convbench.model.token import Scope
from convbench.store import listing
from convbench.store.listing import ListedRun
from convbench.store.store import Store
from convbench.web.access import Who
from convbench.web.state import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """For one page: `is_offered` is whether the service knows a checkout, and the reader may submit."""

    store: Store
    is_offered: bool
    _runs: dict[str, ListedRun | None] = field(default_factory=dict)

    def between(self, base_id: str, new_id: str) -> bool:
        """Whether to offer it between these runs: both say their commit, and these differ."""
        if not self.is_offered:
            return False
        base, new = self._run(base_id), self._run(new_id)
        return base is not None and new is not None and may_be_found(base, new)

    def _run(self, run_id: str) -> ListedRun | None:
        if run_id not in self._runs:
            try:
                self._runs[run_id] = listing.one(self.store, run_id)
            except RunNotFoundError:  # deleted since the page was computed
                self._runs[run_id] = None
        return self._runs[run_id]


def finding(service: Service, reader: Who) -> Finding:
    """What a page for this reader offers."""
    return Finding(store=service.store, is_offered=bool(service.settings.checkouts) and reader.may(Scope.SUBMIT))
