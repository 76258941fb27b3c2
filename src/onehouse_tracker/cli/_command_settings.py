"""
The options that several commands share: what the user chose, checked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Annotated
from urllib.parse import urlsplit

import typer

from onehouse_tracker.cli._groups import arguments_of
from onehouse_tracker.cli._options import Limit, Only, Output, Quiet
from onehouse_tracker.errors import ConfigError
from onehouse_tracker.onehouse._credential_sources.environment import is_quoted, plain

__all__ = [
    "HISTORY_VARIABLE",
    "LIMITER_VARIABLE",
    "OF_FOLLOWING",
    "OF_POLLING",
    "CommandSettings",
    "parse_duration",
]

LIMITER_VARIABLE = "ONEHOUSE_TRACKER_LIMITER"
HISTORY_VARIABLE = "ONEHOUSE_TRACKER_HISTORY"
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


def _limiter(context: typer.Context, text: str) -> str:
    """Read the variable as all others are read, and name it in errors."""
    source = context.get_parameter_source("limiter")
    if source is None or source.name != "ENVIRONMENT":
        return text
    value = plain(text)
    if not value:
        return CommandSettings().limiter
    from onehouse_tracker.limiters import check_limiter  # noqa: PLC0415 - loads the limiters

    try:
        check_limiter(value)
    except ConfigError as error:
        advice = "; remove the quotes around it" if is_quoted(value) else ""
        text = f"environment variable {LIMITER_VARIABLE}: {error}{advice}"
        raise typer.BadParameter(text) from None
    return value


def _part(value: float) -> float:
    if not 0 < value <= 1:
        raise typer.BadParameter("it is more than 0 and at most 1")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSettings:
    """
    The options that more than one command has; each is written here and nowhere else.

    A command that takes it has them all, but for those that it names as ``without``.
    """

    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="TIME",
            parser=_seconds,
            help="Stop waiting after this time: 90, 90s, 15m or 2h. What is open then can be"
            " waited for again.",
        ),
    ] = None
    limit: Limit = 10.0
    share: Annotated[
        float,
        typer.Option("--share", metavar="PART", help="Our part of that, up to 1.", callback=_part),
    ] = 1.0
    limiter: Annotated[
        str,
        typer.Option(
            "--limiter",
            metavar="LIMITER",
            envvar=LIMITER_VARIABLE,
            callback=_limiter,
            help="Who shares the budget: 'local': this process alone; 'host': all on this"
            " machine, through a file, or through the one that 'host:PATH' names;"
            " 'redis://...': all that use this Redis.",
        ),
    ] = "local"
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="NAME", help="Section of the credentials file."),
    ] = None
    label: Annotated[
        str | None,
        typer.Option("--label", metavar="TEXT", help="Label for what brings none of its own."),
    ] = None
    journal: Annotated[
        str | None,
        typer.Option(
            "--journal",
            metavar="FILE",
            help="Write down what is tracked and how it ended, so that 'resume --journal FILE'"
            " continues after a crash.",
        ),
    ] = None
    no_history: Annotated[
        bool,
        typer.Option(
            "--no-history",
            help="Neither use what earlier runs took nor remember this one. Set"
            f" {HISTORY_VARIABLE} to 'off' for always, or to a file of your own.",
        ),
    ] = False
    fail_fast: Annotated[
        bool,
        typer.Option("--fail-fast", help="Stop at the first request that did not succeed."),
    ] = False
    report: Annotated[
        str | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Write an HTML report of the run, also when it is interrupted or fails.",
        ),
    ] = None
    page: Annotated[
        int | None,
        typer.Option(
            "--page",
            metavar="PORT",
            min=0,
            max=65535,
            help="Serve a live page on 127.0.0.1; 0 takes a free port.",
        ),
    ] = None
    output: Annotated[
        Output,
        typer.Option(
            "--output",
            "-o",
            help="On stdout: a table, a JSON array or a CSV file at the end, or with 'jsonl'"
            " one JSON object per line as soon as it is known.",
        ),
    ] = Output.TEXT
    only: Annotated[
        list[Only] | None,
        typer.Option(
            "--only",
            help="Print these only; the exit code is that of all. Give it twice for two of them."
            " 'unfinished' is what may still succeed: pending, timed out or out of reach.",
        ),
    ] = None
    quiet: Quiet = False
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Log lines on stderr instead of the live display."),
    ] = False

    def arguments(self, without: Collection[str] = ()) -> list[str]:
        """The arguments that give these settings again, for the command that continues."""
        left_out = {*_OF_THE_MOMENT, *without}
        set_to = plain(os.environ.get(LIMITER_VARIABLE, ""))
        if self.limiter == set_to:
            left_out.add("limiter")  # it is there the next time too
        given = arguments_of(replace(self, limiter=_without_password(self.limiter)), left_out)
        if (
            set_to
            and self.limiter == CommandSettings().limiter != set_to
            and "limiter" not in left_out
        ):
            given += ["--limiter", self.limiter]  # a default that was chosen, against the variable
        return given

    def hints(self) -> list[str]:
        """What has to be said about `arguments`."""
        if _without_password(self.limiter) == self.limiter or self.limiter == plain(
            os.environ.get(LIMITER_VARIABLE, "")
        ):
            return []
        return [
            f"the password of the limiter is not shown: set {LIMITER_VARIABLE}, and omit --limiter"
        ]


OF_FOLLOWING = frozenset({"timeout", "journal", "report", "page", "fail_fast"})
"""Options of the commands that wait for requests."""

OF_POLLING = frozenset({"limit", "share", "limiter", "profile", "label", "verbose", "no_history"})
"""Options of the commands that poll."""

_OF_THE_MOMENT = frozenset({"fail_fast", "quiet", "verbose"})
"""Options that hold for one call only: the command that continues does not repeat them."""


def _without_password(limiter: str) -> str:
    if limiter == "local" or limiter.partition(":")[0] == "host":
        return limiter
    try:
        parts = urlsplit(limiter)
    except ValueError:
        return "..."
    user, at, place = parts.netloc.rpartition("@")
    if not parts.netloc and parts.scheme != "unix":
        return "..."  # whatever it is, it is no place
    user = f"{user.partition(':')[0]}:..." if ":" in user else user
    # Redis takes a password in the query too.
    query = "?..." if parts.query else ""
    return f"{parts.scheme}://{user}{at}{place}{parts.path}{query}"
