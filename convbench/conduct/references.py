"""Times the reference layers in every round, in one worker for each device and number of threads."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter

from convbench.conduct.visiting import Visiting
from convbench.engine.client import Refusal
from convbench.errors import WorkerError
from convbench.measure import schedule
from convbench.model.lead import Lead, lead_of
from convbench.model.references import VERSION, ReferenceKey, references
from convbench.model.result import ReferenceBlocks


class ReferenceRounds:
    """The rows of one process. The caller takes them away.

    A block lasts `block_s` seconds. `records` holds the lowest times of earlier runs with such blocks.
    """

    def __init__(
        self,
        *,
        block_s: float,
        timeout_s: float,
        clock: Callable[[], float],
        records: Mapping[ReferenceKey, tuple[float, ...]],
    ) -> None:
        self._block_s = block_s
        self._timeout_s = timeout_s
        self._clock = clock
        self._records = records
        self._rows: dict[ReferenceKey, list[bytes]] = {}
        self.busy_s = 0.0

    def take(self, visiting: Sequence[Visiting]) -> None:
        """Time the references once for each device and number of threads of these visits.

        The worker with the fewest special settings does it. One that fails is dropped, and this row is missing.
        """
        usable: dict[ReferenceKey, list[Visiting]] = {}
        for visit in visiting:
            case = visit.state.case
            if visit.client is not None and visit.client is visit.state.pool.current(case.worker):
                usable.setdefault((case.device, case.threads), []).append(visit)
        for key, some in usable.items():
            visit = min(some, key=attrgetter("state.case.worker.special_settings"))
            time.sleep(schedule.CHANGE_PAUSE_S)
            assert visit.client is not None
            start_s = self._clock()
            try:
                found = visit.client.references(key[0], self._block_s, deadline_s=self._timeout_s)
            except WorkerError:
                visit.state.pool.drop(visit.state.case.worker)
                continue
            if not isinstance(found, Refusal):
                self.busy_s += found.busy_s
                times = found.minima_s if lead_of(key[0]) is Lead.FLOOR else found.medians_s
                row = struct.pack(f"<{1 + len(times)}f", start_s, *times)
                self._rows.setdefault(key, []).append(row)

    def taken(self) -> tuple[ReferenceBlocks, ...]:
        """The rows since the last call."""
        found = tuple(
            ReferenceBlocks(
                version=VERSION,
                device=device,
                threads=threads,
                layers=len(references(device)),
                block_s=self._block_s,
                rows=b"".join(rows),
                record_s=self._records.get((device, threads), ()),
            )
            for (device, threads), rows in self._rows.items()
        )
        self._rows = {}
        return found
