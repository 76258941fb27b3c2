"""
How long a task may wait: the smallest of its limits, as a moment, with a name for messages.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

__all__ = ["GRACE", "Deadline", "seconds_of"]

GRACE: Final = 60.0
"""Seconds from the deadline to the moment at which Airflow itself ends a trigger that has not
ended by then: its triggerer is gone."""

Length = float | timedelta | None
"""Of a limit; a number is seconds, and `None` limits nothing."""


@dataclass(frozen=True)
class Deadline:
    """When to stop waiting, and why."""

    at: datetime
    limit: str
    """What set it: ``"follow_timeout of 3600 s"``."""

    @classmethod
    def first(
        cls, limits: Iterable[tuple[str, datetime, float | timedelta | None]]
    ) -> Self | None:
        """
        Return the first deadline of *limits*, or `None` if nothing is limited.

        Args:
            limits: Names of arguments, when each begins to count, and its length.
        """
        found = [
            cls(since + timedelta(seconds=seconds), f"{name} of {seconds:g} s")
            for name, since, seconds in (
                (name, since, seconds_of(length)) for name, since, length in limits
            )
            if seconds is not None
        ]
        return min(found, key=lambda one: one.at, default=None)

    def for_airflow(self, now: datetime | None = None) -> timedelta:
        """How long Airflow lets a trigger run that begins now: it ends by itself before that."""
        left = self.at - (now or datetime.now(UTC))
        return max(left, timedelta()) + timedelta(seconds=GRACE)


def seconds_of(length: Length) -> float | None:
    """Seconds of a length that may be a timedelta."""
    return length.total_seconds() if isinstance(length, timedelta) else length
