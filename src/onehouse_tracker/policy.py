"""
When to ask again: the one group of settings that the engine obeys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

from onehouse_tracker._util.numbers import is_count, is_number
from onehouse_tracker.errors import ConfigError

__all__ = ["PollPolicy"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PollPolicy:
    """
    When to ask again about a request that has not finished.  All times are seconds.

    Raises:
        ConfigError: A value is out of its bounds; the message names the field.
    """

    gap_coefficient: float = 0.3
    """A pending request is polled again ``gap_coefficient * age ** (1/3)`` seconds after
    the last poll was sent.  Smaller asks more often."""

    gap_min: float = 0.4
    """Seconds between two polls of one pending request, at least."""

    gap_max: float = 10.0
    """Seconds between two polls of one pending request, at most."""

    order: Literal["due", "learned"] = "learned"
    """Which of the due requests goes first: the one most worth a poll, by what was learned
    about how long requests take (``"learned"``), or the one that is due longest (``"due"``)."""

    idle_share: float = 0.5
    """Share of the budget that may be spent, while it lies idle, on looks before the gap is
    over, 0 to 1.  Nobody is looked at sooner than 0.2 s after the last look."""

    earliest_share: float = 0.25
    """Share of its gap that a request is left alone before an idle budget may be spent on it,
    0 to 1; longer, if it is unlikely to have ended by then.  Smaller notices an end sooner and
    costs more polls, which matters for few requests that run for minutes; 0 spends whatever
    `idle_share` allows."""

    failure_base: float = 1.0
    """Seconds before a failed poll is repeated; doubled for each failure in a row."""

    failure_max: float = 30.0
    """Seconds before a failed poll is repeated, at most."""

    patience: float = 600.0
    """Seconds without any good reply after which waiting ends with `OutageError`, counted
    from the first failure.  Idle time and pauses that the server ordered do not count."""

    not_found_grace: float = 30.0
    """Seconds of unbroken 404 after which a request is `NOT_FOUND`: right after submission a
    404 may only be early."""

    poll_timeout: float = 30.0
    """Seconds one poll may take, connecting included."""

    max_in_flight: int | None = None
    """Polls on the wire at once, at most.  `None` is ⌈limit x timeout⌉ + 20, enough to spend
    the whole budget while every poll hangs until its timeout."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "order" or (value is None and item.name == "max_in_flight"):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigError(f"PollPolicy: {item.name} is a number, not {value!r}")
            if not is_number(value):
                raise ConfigError(
                    f"PollPolicy: {item.name} is finite and not negative, not {value!r}"
                )
        for name in ("gap_min", "failure_base", "patience", "poll_timeout"):
            if getattr(self, name) == 0:
                raise ConfigError(f"PollPolicy: {name} is more than 0")
        for low, high in (("gap_min", "gap_max"), ("failure_base", "failure_max")):
            if getattr(self, low) > getattr(self, high):
                raise ConfigError(
                    f"PollPolicy: need {low} <= {high},"
                    f" not {getattr(self, low):g} and {getattr(self, high):g}"
                )
        for name in ("idle_share", "earliest_share"):
            if getattr(self, name) > 1:
                raise ConfigError(f"PollPolicy: {name} is 0 to 1, not {getattr(self, name)!r}")
        if self.max_in_flight is not None and not is_count(self.max_in_flight):
            raise ConfigError(
                f"PollPolicy: max_in_flight is a whole number from 1, not {self.max_in_flight!r}"
            )
        if self.order not in ("due", "learned"):
            raise ConfigError(f'PollPolicy: order is "due" or "learned", not {self.order!r}')

    def polls_at_once(self, limit: float) -> int:
        """How many polls may be in flight within a budget of *limit* requests per second."""
        # A limit without end is for tests and benchmarks.
        return self.max_in_flight or math.ceil(min(limit * self.poll_timeout, 1e9)) + 20

    def gap(self, age: float) -> float:
        """Seconds between two polls of a request that is *age* seconds old."""
        if age <= 0:
            return self.gap_min
        gap: float = self.gap_coefficient * age ** (1 / 3)
        return min(self.gap_max, max(self.gap_min, gap))
