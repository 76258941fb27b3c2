"""
What a tracker, or a pool of them, is doing now, in numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onehouse_tracker.limiters import RateLimiterStats
from onehouse_tracker.results import TimeLeft

__all__ = ["PoolStats", "RateLimiterStats", "TrackerStats"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackerStats:
    """What a tracker is doing now."""

    pending: int
    """Requests that are followed."""

    in_flight: int
    """Polls on the wire."""

    ended: int
    """Requests that had their outcome so far."""

    polls: int
    """Polls sent so far."""

    refusals: int
    """Replies 429 so far."""

    outage: bool
    """Whether nothing succeeds any more: one probe a second until something does."""

    round_time: float
    """Seconds that one question about each pending request takes: pending / rate."""

    limiter: RateLimiterStats
    """The budget."""

    overdue: int = 0
    """Requests and runs that are followed and have been running for unusually long, by what
    earlier runs took; 0 without a history."""

    left: TimeLeft | None = None
    """How long until the last of them, and of the runs that are followed, has ended; `None` where
    nothing is known: without a history, where no name was seen before, where one has no name or
    began nobody knows when, or while statements that were handed over wait to be sent.  It is
    computed anew once a second at most, or after more statements were handed over.  See
    ``Tracker.time_left`` and ``Runs.time_left`` for a single one."""

    checks: int = 0
    """Statements sent so far that look after runs; no other number counts them."""

    check_polls: int = 0
    """Polls sent about them so far."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolStats:
    """What a pool of trackers is doing now."""

    projects: Mapping[str, TrackerStats]
    """Each project that is open, by the name it was given first."""

    @property
    def pending(self) -> int:
        """Requests that are followed."""
        return sum(stats.pending for stats in self.projects.values())

    @property
    def in_flight(self) -> int:
        """Polls on the wire."""
        return sum(stats.in_flight for stats in self.projects.values())

    @property
    def ended(self) -> int:
        """Requests that had their outcome so far."""
        return sum(stats.ended for stats in self.projects.values())

    @property
    def polls(self) -> int:
        """Polls sent so far."""
        return sum(stats.polls for stats in self.projects.values())

    @property
    def refusals(self) -> int:
        """Replies 429 so far."""
        return sum(stats.refusals for stats in self.projects.values())

    @property
    def outages(self) -> tuple[str, ...]:
        """The projects where nothing succeeds any more."""
        return tuple(name for name, stats in self.projects.items() if stats.outage)
