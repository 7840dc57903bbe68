"""The command's way in and out: every error becomes a message and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from convbench.cli.options import app
from convbench.errors import ConvbenchError, ExitCode, SweepError


def main() -> NoReturn:
    """The command: every error becomes a message and an exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
        getattr(sys, name).reconfigure(errors="backslashreplace")
    sys.exit(_guarded(lambda: app(prog_name="convbench")))


def _without_output(code: ExitCode) -> ExitCode:
    """The code, after standard output was pointed nowhere: Python would complain once more when it flushes.

    A reader that has gone, as `head` does, is no mistake.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _guarded(command: Callable[[], object]) -> int:
    try:
        try:
            command()
        finally:
            sys.stdout.flush()
    except ConvbenchError as error:
        _complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        return _without_output(ExitCode.DONE)
    except OSError as error:
        # The output's: rooms turn what they meet on disk into errors of their own.
        print(f"error: cannot write the output: {error.strerror or error}", file=sys.stderr)
        return _without_output(ExitCode.WRONG_REQUEST)
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # click makes exit code 1 of it
            return _without_output(ExitCode.DONE)
        if _is_interrupt(ended):
            return _interrupted()
        return ended.code if isinstance(ended.code, int) else ExitCode.DONE
    except Exception:
        traceback.print_exc()
        print("this is a fault of convbench itself; please report it with the lines above", file=sys.stderr)
        return ExitCode.FAULT
    return ExitCode.DONE


def _interrupted() -> ExitCode:
    print("interrupted", file=sys.stderr)
    return ExitCode.INTERRUPTED


def _is_interrupt(ended: BaseException) -> bool:
    """Whether it was Ctrl-C that ended a verb: typer makes an exit of it, of which code depends on its version."""
    cause: BaseException | None = ended
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _complain(error: ConvbenchError) -> None:
    told = error.message if isinstance(error, SweepError) else f"error: {error.message}"  # its lines begin with places
    print(told, file=sys.stderr)
    if error.hint:
        print(f"  hint: {error.hint}", file=sys.stderr)
