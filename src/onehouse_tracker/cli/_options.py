"""
The options that several commands share.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

__all__ = [
    "Enforcer",
    "From",
    "Ids",
    "JournalFile",
    "Label",
    "Limit",
    "Output",
    "OutputOption",
    "Profile",
    "Quiet",
    "Share",
    "SqlFrom",
    "Timeout",
    "Verbose",
    "positive",
]


class Output(StrEnum):
    """What stdout looks like."""

    TEXT = "text"
    JSONL = "jsonl"


class Enforcer(StrEnum):
    """How the simulator enforces its limit."""

    SLIDING = "sliding"
    FIXED = "fixed"
    BUCKET = "bucket"
    STRICT = "strict"
    NONE = "none"


def _seconds(text: str) -> float:
    from onehouse_tracker.cli._settings import parse_duration  # noqa: PLC0415

    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def positive(value: float) -> float:
    """Check that an option is a finite number above 0."""
    if not 0 < value < float("inf"):
        raise typer.BadParameter("it is more than 0")
    return value


def _part(value: float) -> float:
    if not 0 < value <= 1:
        raise typer.BadParameter("it is more than 0 and at most 1")
    return value


Ids = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help="Request IDs.", show_default=False)
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="Read request IDs from FILE, or from stdin if it is '-': one a line, optionally"
        " a tab and a label after it, or the JSON lines of 'submit --output jsonl'. Blank"
        " lines and lines that begin with # are skipped.",
    ),
]
SqlFrom = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="Read SQL from FILE, or from stdin if it is '-': statements separated by semicolons.",
    ),
]
Profile = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="Section of the credentials file."),
]
Limit = Annotated[
    float,
    typer.Option(
        "--limit",
        metavar="RATE",
        help="Requests a second that the whole project may send.",
        callback=positive,
    ),
]
Share = Annotated[
    float,
    typer.Option("--share", metavar="PART", help="Our part of that, up to 1.", callback=_part),
]
Label = Annotated[
    str | None,
    typer.Option("--label", metavar="TEXT", help="Label for what brings none of its own."),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="TIME",
        parser=_seconds,
        help="Stop waiting after this time: 90, 90s, 15m or 2h. What is open then can be"
        " waited for again.",
    ),
]
JournalFile = Annotated[
    str | None,
    typer.Option(
        "--journal",
        metavar="FILE",
        help="Write down what is followed and how it ended, so that 'resume --journal FILE'"
        " goes on after a crash.",
    ),
]
OutputOption = Annotated[
    Output,
    typer.Option(
        "--output",
        "-o",
        help="On stdout: a table at the end, or one JSON object per line as soon as it is known.",
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Only errors, and what to do about them, on stderr.")
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Log lines on stderr instead of the live display."),
]
