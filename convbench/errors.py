"""The error classes and the exit codes. Only the command line prints and exits; all other code raises these errors.

ConvbenchError                  70  A fault in convbench, where no subclass fits.
├── RequestError                 2  The request is wrong: usage, file, disk, database.
│   ├── SweepError               2  A sweep file has mistakes; the error lists all of them.
│   ├── StoreError               2  The database cannot be used.
│   │   ├── DatabaseError        2  The database refused a statement, or did not answer.
│   │   └── TakenOverError       2  Another process has resumed the run.
│   ├── RunNotFoundError         2  No stored run, baseline or case has this id or name.
│   ├── LaterError               2  It cannot be done now; the same request may succeed later.
│   ├── ConflictError            2  The request contradicts what is stored.
│   ├── JobNotFoundError         2  The service has no job with this id.
│   ├── ScheduleNotFoundError    2  The service has no schedule with this id.
│   ├── ChannelNotFoundError     2  The service has no channel or delivery with this id.
│   └── TokenNotFoundError       2  The service has no token with this prefix.
├── NotComparableError           4  Two runs cannot be compared.
└── WorkerError                     A worker did not answer a request; the case in it gets the status.
    ├── WorkerDiedError             The worker's process ended.
    ├── WorkerTimedOutError         The worker missed the deadline and was killed.
    └── WorkerStartError         2  The worker did not start: no torch, a broken interpreter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from convbench.units import LONGEST_TEXT, line


class ExitCode(IntEnum):
    """The exit codes of the command. They are part of its interface and do not change."""

    DONE = 0
    FAILED_OR_REGRESSED = 1
    WRONG_REQUEST = 2
    NOT_MEASURED = 3
    NOT_COMPARABLE = 4
    TOO_NOISY = 5
    FAULT = 70
    INTERRUPTED = 130


class ConvbenchError(Exception):
    """Base of all errors of convbench. `hint` is what to do next. A list in `message` or `hint` gives several lines.

    Line breaks and control characters inside a line are escaped. The attribute `message` joins all lines.
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
    """The request is wrong: usage, configuration, file, disk or database."""

    exit_code = ExitCode.WRONG_REQUEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One mistake in a sweep file: its place, what was expected and what was found."""

    path: str
    line: int
    message: str
    where: str = ""
    hint: str | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """The mistake on one line, and its hint on a second line."""
        where = f"{self.where}: " if self.where else ""
        return (f"{self.path}:{self.line}: {where}{self.message}", *([f"  hint: {self.hint}"] if self.hint else []))

    def __str__(self) -> str:
        """`configs/sweep.yaml:14: axes.kernel_size[2]: expected an integer of at least 1, got 'three'`."""
        return "\n".join(self.lines)


class SweepError(RequestError):
    """A sweep file has mistakes. `mistakes` lists them by line; `hint` is set where there are more."""

    def __init__(self, mistakes: tuple[Mistake, ...], *, hint: str | None = None) -> None:
        super().__init__([text for mistake in mistakes for text in mistake.lines], hint=hint)
        self.mistakes = mistakes

    def __reduce__(self) -> tuple[object, ...]:
        """How it travels between processes: `args` holds its text alone."""
        return type(self), (self.mistakes,), self.__dict__


class StoreError(RequestError):
    """The database cannot be opened, read or written."""


class DatabaseError(StoreError):
    """The database refused a statement, or did not answer: unreachable, full, locked, read-only."""


class TakenOverError(StoreError):
    """Another process has resumed the run that this one was writing."""


class LaterError(RequestError):
    """It cannot be done now; the same request may succeed later."""


class RunNotFoundError(RequestError):
    """No stored run has this id, prefix or baseline name; or no stored case has this id."""


class ConflictError(RequestError):
    """The request contradicts what is stored: a job that has ended cannot be cancelled."""


class JobNotFoundError(RequestError):
    """The service has no job with this id."""


class ScheduleNotFoundError(RequestError):
    """The service has no schedule with this id."""


class ChannelNotFoundError(RequestError):
    """The service has no channel, or no delivery to one, with this id."""


class TokenNotFoundError(RequestError):
    """The service has no token with this prefix."""


class NotComparableError(ConvbenchError):
    """Two runs cannot be compared."""

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
    """The worker did not start."""

    exit_code = ExitCode.WRONG_REQUEST
