"""The command's way in and out: every error becomes a message and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from convbench.cli.options import app
from convbench.cli.output import OutputError, flush, say
from convbench.errors import ConvbenchError, ExitCode, SweepError
from convbench.units import LONGEST_TEXT, line, without_credentials

#: Lines of a traceback that are told from its beginning and from its end.
_MOST_LINES = 100


def main() -> NoReturn:
    """The command: every error becomes a message and an exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
        getattr(sys, name).reconfigure(errors="backslashreplace")
    sys.exit(exit_code_of(lambda: app(prog_name="convbench")))


def _without_output(code: ExitCode) -> ExitCode:
    """The code, after standard output was pointed nowhere: Python would complain once more when it flushes.

    A reader that has gone, as `head` does, is no mistake.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def exit_code_of(command: Callable[[], object]) -> int:
    """Runs a command and says on standard error what went wrong; returns the exit code."""
    try:
        try:
            command()
        finally:
            flush()
    except ConvbenchError as error:
        _complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        return _interrupted()
    except OutputError as error:
        if error.gone:
            return _without_output(ExitCode.DONE)
        say(f"error: cannot write the output: {error.reason}")
        return _without_output(ExitCode.WRONG_REQUEST)
    except OSError as error:
        say(f"error: {_of_the_system(error)}")
        return ExitCode.WRONG_REQUEST
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # click makes exit code 1 of it
            return _without_output(ExitCode.DONE)
        if _is_interrupt(ended):
            return _interrupted()
        return ended.code if isinstance(ended.code, int) else ExitCode.DONE
    except Exception:
        say(_traceback())
        say("this is a fault of convbench itself; please report it with the lines above")
        return ExitCode.FAULT
    return ExitCode.DONE


def _interrupted() -> ExitCode:
    say("interrupted")
    return ExitCode.INTERRUPTED


def _is_interrupt(ended: BaseException) -> bool:
    """Whether it was Ctrl-C that ended a verb: typer makes an exit of it, of which code depends on its version."""
    cause: BaseException | None = ended
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _complain(error: ConvbenchError) -> None:
    told = error.message if isinstance(error, SweepError) else f"error: {error.message}"  # its lines begin with places
    say(without_credentials(told))
    if error.hint:
        say(without_credentials(f"  hint: {error.hint}"))


def _of_the_system(error: OSError) -> str:
    """What the system refused: `/srv/x.csv: permission denied`, without a file where it names none."""
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    said = error.strerror.lower() if error.strerror else str(error) or type(error).__name__
    return line(
        ": ".join([" -> ".join(names), said] if names else [f"the system refused something: {said}"]), most=LONGEST_TEXT
    )


def _traceback() -> str:
    """The exception that is being handled, as Python tells it, its longest lines and the middle of many left out."""
    lines = [line(one, most=LONGEST_TEXT) for one in without_credentials(traceback.format_exc()).splitlines()]
    left_out = len(lines) - 2 * _MOST_LINES
    if left_out > 0:
        lines[_MOST_LINES:-_MOST_LINES] = [f"... {left_out:,} lines ..."]
    return "\n".join(lines)
