"""The error tree and the exit codes of the contract. Nothing below the command line prints or exits: it raises these.

ConvbenchError                      70  a fault of convbench itself, when nothing more precise is raised
├── RequestError                     2  what the user asked for is wrong: usage, file, disk, database
│   ├── SweepError                   2  a sweep file with mistakes, all of them at once
│   ├── StoreError                   2  the database cannot be used
│   │   ├── DatabaseError                2  the database itself refused, or did not answer
│   │   └── TakenOverError               2  another process has gone on with the run
│   └── RunNotFoundError                  2  no such run is stored
├── NotComparableError                    4  two runs, or a run and its baseline, cannot be compared
└── WorkerError                         a worker did not answer a request; the case it served bears the status
    ├── WorkerDiedError                      its process ended
    ├── WorkerTimedOutError                  it missed the deadline and was killed
    └── WorkerStartError             2  it never came up: no torch, a broken interpreter
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from convbench.units import LONGEST_TEXT, line


class ExitCode(IntEnum):
    """The exit codes of the contract."""

    DONE = 0
    FAILED_OR_REGRESSED = 1
    WRONG_REQUEST = 2
    NOT_MEASURED = 3
    NOT_COMPARABLE = 4
    TOO_NOISY = 5
    FAULT = 70
    INTERRUPTED = 130


class ConvbenchError(Exception):
    """Base of all errors of convbench; `hint` says what to do next. Either is one line, or several where it is a list.

    Whatever names and reasons of others a line holds, it stays one line and steers no terminal. `message` is all lines.
    """

    exit_code: ExitCode = ExitCode.FAULT

    def __init__(self, message: str | Sequence[str], *, hint: str | Sequence[str] | None = None) -> None:
        self.lines = _lines(message)
        self.message = "\n".join(self.lines)
        self.hint = "\n        ".join(_lines(hint)) if hint else None
        super().__init__(self.message)


def _lines(text: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(line(one, most=LONGEST_TEXT) for one in ([text] if isinstance(text, str) else text))


class RequestError(ConvbenchError):
    """The request was wrong: usage, configuration, file or disk."""

    exit_code = ExitCode.WRONG_REQUEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One mistake in a sweep file: where it stands, what was expected and what was found."""

    path: str
    line: int
    message: str
    where: str = ""
    hint: str | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """The mistake, and on a second line the hint."""
        where = f"{self.where}: " if self.where else ""
        return (f"{self.path}:{self.line}: {where}{self.message}", *([f"  hint: {self.hint}"] if self.hint else []))

    def __str__(self) -> str:
        """`configs/sweep.yaml:14: axes.kernel_size[2]: expected an integer of at least 1, got 'three'`."""
        return "\n".join(self.lines)


class SweepError(RequestError):
    """A sweep file with mistakes; `mistakes` holds them in the order of their lines, `hint` says if there are more."""

    def __init__(self, mistakes: tuple[Mistake, ...], *, hint: str | None = None) -> None:
        super().__init__([text for mistake in mistakes for text in mistake.lines], hint=hint)
        self.mistakes = mistakes


class StoreError(RequestError):
    """The database cannot be opened, read or written."""


class DatabaseError(StoreError):
    """The database itself refused, or did not answer: gone, full, locked, read-only."""


class TakenOverError(StoreError):
    """Another process has gone on with a run that this one was writing."""


class RunNotFoundError(RequestError):
    """No stored run has this id or prefix."""


class NotComparableError(ConvbenchError):
    """Two runs cannot be compared, or the baseline does not exist."""

    exit_code = ExitCode.NOT_COMPARABLE


class WorkerError(ConvbenchError):
    """A worker did not answer a request; `signal` is the number of the signal that ended its process, or None."""

    def __init__(self, message: str, *, hint: str | None = None, signal: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.signal = signal


class WorkerDiedError(WorkerError):
    """The worker's process ended."""


class WorkerTimedOutError(WorkerError):
    """The worker missed its deadline and was killed."""


class WorkerStartError(WorkerError):
    """The worker never came up."""

    exit_code = ExitCode.WRONG_REQUEST
