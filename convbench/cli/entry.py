"""The entry point of the command: turns every error into a message and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from convbench.cli.interrupt import interrupted_with_parent
from convbench.cli.options import app
from convbench.cli.output import OutputError, flush, say
from convbench.errors import ConvbenchError, ExitCode, SweepError
from convbench.units import LONGEST_TEXT, line, without_credentials

#: Lines of a long traceback that are printed from its beginning and from its end.
_MOST_LINES = 100


def main() -> NoReturn:
    """Run the command and exit with its exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the parent process closed it
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
        getattr(sys, name).reconfigure(errors="backslashreplace")
    sys.exit(exit_code_of(_command))


def _command() -> None:
    interrupted_with_parent()
    app(prog_name="convbench")


def _without_output(code: ExitCode) -> ExitCode:
    """Return the code after redirecting standard output to the null device.

    Otherwise Python reports an error when it flushes at exit. A reader that has closed the pipe, as `head` does, is no
    error.
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
        _print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return _interrupted()
    except OutputError as error:
        if error.is_closed:
            return _without_output(ExitCode.DONE)
        say(f"error: cannot write standard output: {error.reason}")
        return _without_output(ExitCode.WRONG_REQUEST)
    except OSError as error:
        say(f"error: {_system_error(error)}")
        return ExitCode.WRONG_REQUEST
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # click turns it into exit code 1
            return _without_output(ExitCode.DONE)
        if _is_interrupt(ended):
            return _interrupted()
        return ended.code if isinstance(ended.code, int) else ExitCode.DONE
    except Exception:
        say(_traceback())
        say("error: convbench has a bug; please report it with the lines above")
        return ExitCode.FAULT
    return ExitCode.DONE


def _interrupted() -> ExitCode:
    say("interrupted")
    return ExitCode.INTERRUPTED


def _is_interrupt(ended: BaseException) -> bool:
    """Whether Ctrl-C ended a verb: typer turns it into an exit whose code depends on typer's version."""
    cause: BaseException | None = ended
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _print_error(error: ConvbenchError) -> None:
    prefix = "" if isinstance(error, SweepError) else "error: "  # a SweepError's lines begin with file and line
    say(without_credentials(f"{prefix}{error.message}"))
    if error.hint:
        say(without_credentials(f"  hint: {error.hint}"))


def _system_error(error: OSError) -> str:
    """The system's error as text: `/srv/x.csv: permission denied`, without a file name where the error has none."""
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    reason = error.strerror.lower() if error.strerror else str(error) or type(error).__name__
    return line(": ".join([" -> ".join(names) if names else "system error", reason]), most=LONGEST_TEXT)


def _traceback() -> str:
    """Python's traceback of the current exception, with long lines cut and the middle of many lines left out."""
    lines = [line(one, most=LONGEST_TEXT) for one in without_credentials(traceback.format_exc()).splitlines()]
    left_out = len(lines) - 2 * _MOST_LINES
    if left_out > 0:
        lines[_MOST_LINES:-_MOST_LINES] = [f"... {left_out:,} lines ..."]
    return "\n".join(lines)
