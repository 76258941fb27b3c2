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
        typer.Argument(metavar="[forget]", help="Forget what is remembered: all, or as below."),
    ] = None,
    *,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="LABEL", help="Forget this label; can be repeated."),
    ] = None,
    jobs: Annotated[
        list[str] | None,
        typer.Option("--job", metavar="NAME", help="Forget this job; can be repeated."),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option(
            "--project",
            metavar="UID",
            help="Forget only what is of this project: its UID, or the beginning of its key.",
        ),
    ] = None,
    settings: CommandSettings,
) -> None:
    """
    Show what the tracker remembers of earlier runs: it polls sooner what has probably ended.

    One line for each statement, label and job: how many runs count, their median, and the range
    of eight runs in ten. Of statements only a hash is kept, so nobody can read them here; what
    was submitted under a label is remembered twice, and to forget the label leaves the hash.
    """
    from onehouse_tracker.cli import _history  # noqa: PLC0415 - loads the history

    some = _history.Forgotten(tuple(labels or ()), tuple(jobs or ()), project)
    run(
        (lambda terminal: _history.show_history(terminal, settings, some))
        if action is None
        else (lambda terminal: _history.forget_history(terminal, some)),
        quiet=settings.quiet,
    )
