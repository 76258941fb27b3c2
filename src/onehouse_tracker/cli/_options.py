"""
The words and the arguments of the command line.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

__all__ = ["Enforcer", "From", "Ids", "Limit", "Output", "Quiet", "SqlFrom", "positive"]


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


def positive(value: float) -> float:
    """Check that an option is a finite number above 0."""
    if not 0 < value < float("inf"):
        raise typer.BadParameter("it is more than 0")
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
Limit = Annotated[
    float,
    typer.Option(
        metavar="RATE",
        help="Requests a second that the whole project may send.",
        callback=positive,
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Only errors, and what to do about them, on stderr.")
]
