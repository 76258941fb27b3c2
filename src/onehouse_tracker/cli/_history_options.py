"""
What `history` takes: kept apart, because it must be known before the history is loaded.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from onehouse_tracker.cli._command import run
from onehouse_tracker.cli._command_settings import CommandSettings

__all__ = ["history"]


class HistoryAction(StrEnum):
    """What `history` does but show."""

    FORGET = "forget"


def history(
    action: Annotated[
        HistoryAction | None,
        typer.Argument(metavar="[forget]", help="Forget everything that is remembered."),
    ] = None,
    *,
    settings: CommandSettings,
) -> None:
    """
    Show what the tracker remembers of earlier runs: it polls sooner what has probably ended.

    One line for each statement, label and job: how many runs count, their median, and the range
    of eight runs in ten. Of statements only a hash is kept, so nobody can read them here.
    """
    from onehouse_tracker.cli import _history  # noqa: PLC0415 - loads the history

    run(
        (lambda terminal: _history.show_history(terminal, settings))
        if action is None
        else _history.forget_history,
        quiet=settings.quiet,
    )
