"""
The words and the arguments of the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

__all__ = [
    "AllowEmpty",
    "Enforcer",
    "Format",
    "Ids",
    "Input",
    "Limit",
    "Only",
    "Output",
    "Quiet",
    "SqlFrom",
    "Statements",
    "positive",
]


class Output(StrEnum):
    """What stdout looks like."""

    TEXT = "text"
    JSONL = "jsonl"
    JSON = "json"
    CSV = "csv"


class Format(StrEnum):
    """How a file of request IDs is written."""

    LINES = "lines"
    CSV = "csv"
    JSON = "json"


class Only(StrEnum):
    """Where a request or a run stands, in three words."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNFINISHED = "unfinished"


class Shape(StrEnum):
    """In what shape the simulator lists job runs."""

    NESTED = "nested"
    FLAT = "flat"
    TABLE = "table"
    CELLS = "cells"
    KEYED = "keyed"


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


AllowEmpty = Annotated[
    bool,
    typer.Option("--allow-empty", help="A FILE that holds nothing is well, and no error."),
]
Ids = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help="Request IDs.", show_default=False)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Where request IDs are read, besides the arguments, and what stands where."""

    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Read request IDs from FILE, or from stdin if it is '-': one a line, optionally"
            " a tab and a label after it; a CSV file with a header; or JSON, one object a line or"
            " one array. Blank lines are skipped, and so are lines that begin with # where there"
            " is one ID a line. Give it several times to read several files, in this order.",
        ),
    ] = None
    allow_empty: AllowEmpty = False
    format: Annotated[
        Format | None,
        typer.Option(
            "--format", help="How FILE is written; by default its name or its first line tells."
        ),
    ] = None
    field: Annotated[
        str,
        typer.Option("--field", metavar="NAME", help="Column or JSON field of the request ID."),
    ] = "request_id"
    label_field: Annotated[
        str,
        typer.Option("--label-field", metavar="NAME", help="That of the label, if there is one."),
    ] = "label"
    submitted_field: Annotated[
        str,
        typer.Option(
            "--submitted-field",
            metavar="NAME",
            help="That of the time of submission, with its time zone, if there is one.",
        ),
    ] = "submitted_at"

    def is_given(self, name: str) -> bool:
        """Whether the user chose this one."""
        return bool(getattr(self, name) != getattr(Input(), name))

    @property
    def columns_given(self) -> bool:
        """Whether fields were named: then it must be a table, or JSON."""
        return any(map(self.is_given, ("field", "label_field", "submitted_field")))


SqlFrom = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="Read SQL from FILE, or from stdin if it is '-': statements separated by semicolons."
        " Give it several times to read several files, in this order.",
    ),
]
Statements = Annotated[
    list[str] | None,
    typer.Argument(metavar="STATEMENT", help="One SQL statement each.", show_default=False),
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
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Only errors, and what to do about them, on stderr.")
]
