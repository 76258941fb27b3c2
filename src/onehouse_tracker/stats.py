"""
What a tracker is doing now, in numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

from onehouse_tracker.gates import GateStats

__all__ = ["GateStats", "TrackerStats"]


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

    gate: GateStats
    """The budget."""
