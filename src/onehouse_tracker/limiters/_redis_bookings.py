"""
The slots that are booked in Redis and not used yet.

No clock, no I/O, no tasks; callers pass the time in.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from onehouse_tracker.limiters._shared_limiter import LATE

__all__ = ["Bookings"]

_CONTESTED: Final = 5.0
"""Seconds for which others are expected to want slots, after one who wanted some."""


class Bookings:
    """Slots of this process, in order; times are loop times."""

    __slots__ = ("_contested_at", "_last", "_slots", "missed")

    def __init__(self) -> None:
        self._slots: deque[float] = deque()
        self._last = -math.inf
        self._contested_at = -math.inf
        self.missed = 0
        """Slots that nobody came for in time."""

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, first: float, slots: int, interval: float, *, soonest: float) -> None:
        """
        Take note of the answer to a call that wanted slots.

        Args:
            first: The first slot that is free.

            slots: How many are ours from there on.

            interval: Seconds between two of them.

            soonest: What *first* is at the least, at our distance.
        """
        ours = max(self._last + interval, soonest)
        if not slots or first > ours + interval / 2:
            self._contested_at = soonest  # others have what would have been ours
        for number in range(slots):
            self._last = first + number * interval
            self._slots.append(self._last)

    def take(self, now: float) -> float | None:
        """The next slot that can still be used, if there is one."""
        while self._slots:
            slot = self._slots.popleft()
            if slot >= now - LATE:
                return slot
            self.missed += 1
        return None

    def last(self, slot: float) -> float:
        """The last one that is booked; *slot*, which was taken just now, if it was that."""
        return self._slots[-1] if self._slots else slot

    def are_contested(self, now: float) -> bool:
        """Whether others want slots too."""
        return now - self._contested_at < _CONTESTED

    def clear(self) -> None:
        """They count no more."""
        self._slots.clear()
