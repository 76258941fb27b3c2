"""
What the user chose on the command line, checked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from onehouse_tracker.cli._options import Output

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options that all commands share which talk to Onehouse."""

    profile: str | None = None
    """Section of the credentials file."""

    limit: float = 10.0
    """Requests per second of the whole project."""

    share: float = 1.0
    """Our part of it."""

    label: str | None = None
    """The label of requests that bring none."""

    timeout: float | None = None
    """Seconds until waiting ends."""

    output: Output = Output.TEXT
    """What stdout looks like."""

    journal: str | None = None
    """The file that makes it survive a crash."""

    quiet: bool = False
    """Nothing but errors on stderr."""

    verbose: bool = False
    """Log lines on stderr instead of the live display."""

    def arguments(self) -> list[str]:
        """The arguments that give these settings again, for the command that continues."""
        given: list[str] = []
        if self.profile is not None:
            given += ["--profile", self.profile]
        if self.limit != 10:  # noqa: PLR2004 - the default
            given += ["--limit", f"{self.limit:g}"]
        if self.share != 1:
            given += ["--share", f"{self.share:g}"]
        if self.label is not None:
            given += ["--label", self.label]
        if self.timeout is not None:
            given += ["--timeout", f"{self.timeout:g}"]
        if self.journal is not None:
            given += ["--journal", self.journal]
        if self.output is not Output.TEXT:
            given += ["--output", str(self.output)]
        return given
