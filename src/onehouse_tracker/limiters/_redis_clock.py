"""
What the clock of Redis shows, on that of the running loop.

No clock of its own, no I/O, no tasks; callers pass the time in.
"""

from __future__ import annotations

import math

from onehouse_tracker.limiters._shared_limiter import shifted

__all__ = ["RedisClock"]

_DRIFT = 1.01
"""By how much longer the quickest answer may have taken, with each further one: clocks drift, and
networks change."""


class RedisClock:
    """By how much the loop's clock is ahead, which each answer tells a little better."""

    __slots__ = ("_ahead", "_quickest")

    def __init__(self) -> None:
        self._ahead: float | None = None
        self._quickest = math.inf

    def note(self, shown: float, *, asked_at: float, heard_at: float, took: float | None) -> None:
        """
        Redis showed *shown* between the question and the answer.

        Args:
            shown: Its time.

            asked_at: Loop time.

            heard_at: Loop time.

            took: Seconds from the question to the answer, if that is known.
        """
        low, high = asked_at - shown, heard_at - shown
        self._quickest *= _DRIFT
        if took is not None and took <= self._quickest:
            self._quickest = took
            self._ahead = low + took / 2
        else:
            # A slow answer moves what is known only as far as it must, or our slots would move
            # among those of the others.
            known = (low + high) / 2 if self._ahead is None else self._ahead
            self._ahead = min(max(known, low), high)

    def here(self, moment: float) -> float:
        """A time of Redis as loop time; never stays never."""
        return shifted(moment, self._ahead or 0.0)

    def there(self, moment: float | None) -> float | None:
        """A loop time as one of Redis, if there is one and its clock is known."""
        return None if moment is None or self._ahead is None else moment - self._ahead
