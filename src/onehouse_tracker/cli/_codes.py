"""
Exit codes, and which one counts if several apply.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import TYPE_CHECKING

from onehouse_tracker.errors import ConfigError, JournalError

if TYPE_CHECKING:
    from onehouse_tracker.models import Result
    from onehouse_tracker.run_results import RunResult

__all__ = ["CommandError", "ExitCode", "code_of_error", "code_of_results", "most_serious"]


class ExitCode(IntEnum):
    """How the command ended, for scripts."""

    OK = 0
    NOT_OK = 1
    USAGE = 2
    PROJECT = 3
    TIMED_OUT = 124
    INTERRUPTED = 130


_MOST_SERIOUS_FIRST = (
    ExitCode.INTERRUPTED,
    ExitCode.PROJECT,
    ExitCode.USAGE,
    ExitCode.TIMED_OUT,
    ExitCode.NOT_OK,
)


class CommandError(Exception):
    """The command cannot go on; the text says why and what to do, for people."""

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message, code)
        self.message = message
        self.code = code

    def __str__(self) -> str:
        return self.message


def most_serious(codes: Iterable[ExitCode]) -> ExitCode:
    """The one of *codes* that counts; `ExitCode.OK` if there is none."""
    present = set(codes)
    return next((code for code in _MOST_SERIOUS_FIRST if code in present), ExitCode.OK)


def code_of_error(error: Exception) -> ExitCode:
    """What an error that ended everything means for the exit code."""
    if isinstance(error, CommandError):
        return error.code
    # A file that cannot be used is for the user to correct, like any other setting.
    correctable = isinstance(error, JournalError) or isinstance(error.__cause__, ConfigError)
    return ExitCode.USAGE if correctable else ExitCode.PROJECT


def code_of_results(results: Iterable[Result | RunResult]) -> ExitCode:
    """What *results* mean for the exit code."""
    return most_serious(
        ExitCode.TIMED_OUT if result.outcome == "TIMED_OUT" else ExitCode.NOT_OK
        for result in results
        if not result.ok
    )
