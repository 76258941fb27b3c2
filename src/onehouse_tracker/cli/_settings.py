"""
The options that several commands share: what the user chose, checked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Annotated

import typer

from onehouse_tracker.cli._options import Limit, Output, Quiet

__all__ = ["Settings", "parse_duration"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(s|m|h|)")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """
    Seconds of ``90``, ``90s``, ``15m`` or ``2h``.

    Raises:
        ValueError: It is nothing of the kind.
    """
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError(f"{text!r} is no time span such as 90, 90s, 15m or 2h")
    return float(found[1]) * _UNITS[found[2]]


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _part(value: float) -> float:
    if not 0 < value <= 1:
        raise typer.BadParameter("it is more than 0 and at most 1")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    The options that more than one command has; each is written here and nowhere else.

    A command that takes a `Settings` has them all, but for those that it names as ``without``.
    """

    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="TIME",
            parser=_seconds,
            help="Stop waiting after this time: 90, 90s, 15m or 2h. What is open then can be"
            " waited for again.",
        ),
    ] = None
    limit: Limit = 10.0
    share: Annotated[
        float, typer.Option(metavar="PART", help="Our part of that, up to 1.", callback=_part)
    ] = 1.0
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="Section of the credentials file.")
    ] = None
    label: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Label for what brings none of its own.")
    ] = None
    journal: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write down what is followed and how it ended, so that 'resume --journal FILE'"
            " goes on after a crash.",
        ),
    ] = None
    output: Annotated[
        Output,
        typer.Option(
            "--output",
            "-o",
            help="On stdout: a table at the end, or one JSON object per line as soon as it is"
            " known.",
        ),
    ] = Output.TEXT
    quiet: Quiet = False
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Log lines on stderr instead of the live display."),
    ] = False

    def arguments(self) -> list[str]:
        """The arguments that give these settings again, for the command that continues."""
        given: list[str] = []
        for option in fields(self):
            value = getattr(self, option.name)
            if value == option.default or option.name in _OF_THE_MOMENT:
                continue
            given.append(f"--{option.name.replace('_', '-')}")
            if value is not True:
                given.append(f"{value:g}" if isinstance(value, float) else str(value))
        return given


_OF_THE_MOMENT = frozenset({"quiet", "verbose"})
"""What one wanted to see this time says nothing about the next."""
