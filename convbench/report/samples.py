"""The raw samples of a run as CSV: a row for each sample."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from convbench import units
from convbench.model.result import Run, unpack_blocks
from convbench.model.samples import VisitSamples

#: The columns. Processes, rounds and samples count from 0; `seconds` are for one iteration.
COLUMNS = ("case_id", "process_index", "round_index", "sample_index", "iterations", "seconds")


def samples_csv(run: Run, samples: Iterable[VisitSamples]) -> bytes:
    """The samples of a run, in the order of cases, processes, rounds and time; `iterations` is how many each timed."""
    iterations = _iterations(run)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for visit in samples:
        for block in visit.blocks:
            place = (visit.case_id, visit.process_index, block.round_index)
            of_block = iterations.get(place, "")
            writer.writerows(
                (*place, index, of_block, units.plain(seconds)) for index, seconds in enumerate(block.seconds)
            )
    return text.getvalue().encode()


def _iterations(run: Run) -> dict[tuple[str, int, int], int]:
    """The iterations in each sample of a block, by case, process and round."""
    return {
        (result.case.id, block.process_index, block.round_index): block.iterations // block.samples
        for result in run.results
        for layout, packed in result.blocks
        for block in unpack_blocks(packed, layout)
    }
