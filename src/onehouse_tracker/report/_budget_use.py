"""
How the budget was spent: in all, and by time.
"""

from __future__ import annotations

from collections import Counter
from typing import final

from onehouse_tracker.report._series import Series

__all__ = ["BudgetUse"]


@final
class BudgetUse:
    """Counts what was sent and refused.  Times are seconds since the start."""

    def __init__(self) -> None:
        self.by_time = Series(("polls", "submissions", "refusals", "paused"))
        self.counts: Counter[str] = Counter()
        self.paused = 0.0
        """Seconds for which nothing could be sent because of refusals."""
        self._paused_until = 0.0

    def add(self, kind: str, at: float, number: int = 1) -> None:
        """So many were sent, or refused, at that time."""
        self.counts[kind] += number
        self.by_time.add(kind, at, number)

    def pause(self, at: float, seconds: float) -> None:
        """Nothing can be sent for some time; refusals of one episode tell of one pause."""
        begins, ends = max(at, self._paused_until), at + seconds
        if ends > begins:
            self.by_time.spread("paused", begins, ends)
            self.paused += ends - begins
            self._paused_until = ends
