"""
The options of the commands that start, follow and cancel runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from onehouse_tracker.cli._options import AllowEmpty, Format

__all__ = ["CancelOnTimeout", "Job", "RunIds", "RunInput", "RunPlan"]

RunIds = Annotated[
    list[str] | None, typer.Argument(metavar="RUN_ID", help="Run IDs.", show_default=False)
]
Job = Annotated[
    str | None,
    typer.Option(
        "--job",
        metavar="NAME",
        help="The job of the runs that are given without a job; the server wants both.",
    ),
]
CancelOnTimeout = Annotated[
    bool,
    typer.Option(
        "--cancel-on-timeout",
        help="Cancel what still runs after --timeout, instead of leaving it.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInput:
    """Where runs are read, besides the arguments."""

    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Read runs from FILE, or from stdin if it is '-': a CSV file with the columns job"
            " and run_id; JSON with these fields, one object a line or one array; or, with --job,"
            " one run ID a line. A column or field 'label' is read too. Give it several times to"
            " read several files, in this order.",
        ),
    ] = None
    allow_empty: AllowEmpty = False
    format: Annotated[
        Format | None,
        typer.Option(
            "--format", help="How FILE is written; by default its name or its first line tells."
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """How many runs are started at a time, and what stops it."""

    max_running: Annotated[
        int | None,
        typer.Option(
            "--max-running",
            metavar="N",
            min=1,
            help="Have at most so many open at a time: the next is sent when one has ended.",
        ),
    ] = None
    stop_on_failure: Annotated[
        bool,
        typer.Option(
            "--stop-on-failure",
            help="Send nothing further once one has not succeeded; what runs is followed on.",
        ),
    ] = False
    cancel_on_timeout: CancelOnTimeout = False
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="The same command again, with the --journal of the first time: send only what was"
            " never sent, and follow everything else.",
        ),
    ] = False
