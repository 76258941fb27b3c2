"""
How far away Redis is, and what follows: how many slots to book, when, and how far ahead.

No clock, no I/O, no tasks; callers pass the time in.

With slots 102 ms apart and answers that take 250 ms, five slots are booked with one call::

    ask      answer              ask      answer
    |----------|                 |----------|
             s1   s2   s3   s4   s5   s6   s7   s8   s9   s10
                                 the second call was made while three were left
"""

from __future__ import annotations

import math
from typing import Final

from onehouse_tracker.limiters._redis_script import HORIZON, MOST_AHEAD, MOST_SLOTS
from onehouse_tracker.limiters._shared_limiter import LATE

__all__ = ["Distance"]

_LEAST_PATIENCE: Final = 0.25
"""Seconds that a call may take, at least, and the first attempt to reach Redis again."""

_SLACK: Final = 1.5
"""Times what an answer takes: a slot is booked half of it after the question, at the earliest,
and must lie as far ahead as the answer may take."""


class Distance:
    """
    What answers take, as far as is known.

    Args:
        longest: Seconds a call may take, at most.
    """

    __slots__ = ("_longest", "_was_far", "lead", "patience")

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._was_far = False
        self.lead = 0.0
        """Seconds an answer takes; 0 while none came."""
        self.patience = longest
        """Seconds to wait for the next one."""

    def note(self, at_most: float, took: float | None) -> bool:
        """
        An answer came after *took* seconds.

        Where nobody waited for it that is not known (`None`), but that it was *at_most* so long.

        Returns:
            Whether it shows for the first time that a part of the rate is lost.
        """
        was_far = self._was_far
        if took is None:
            # Less each time: in the end one is waited for, and tells.  While a part of the rate
            # is lost that must not take long, and slots that come too early cost nothing.
            self.lead = min(at_most, (0.8 if self.is_far else 0.99) * self.lead)
        else:
            self.lead = max(took, 0.8 * self.lead)
            self._was_far = self.is_far
        self.patience = self._usual_patience()
        return self._was_far and not was_far

    def lost(self) -> None:
        """
        Redis is away.

        A process that never reached it is perhaps far from it.  That is found out little by
        little, or a network that swallows everything would swallow our share of the budget as
        well.
        """
        self._was_far = False
        self.patience = self._usual_patience()

    def probed_in_vain(self) -> None:
        """Not even an attempt to reach it again was over in time."""
        if not self.lead:
            self.patience = min(self._longest, 2 * self.patience)

    def slots(self, interval: float) -> int:
        """How many slots to ask for: enough for the time until the next answer but one."""
        needed = _SLACK * self.lead + LATE
        return 1 if needed <= interval else min(MOST_SLOTS, math.ceil(needed / interval) + 1)

    def ahead(self, slots: int, interval: float) -> float:
        """Seconds ahead that so many slots may be booked."""
        needed = _SLACK * self.lead + LATE
        if slots > 1:
            needed += slots * interval
        return min(MOST_AHEAD, max(HORIZON, needed))

    def is_urgent(self, slot: float, last: float, interval: float) -> bool:
        """Whether to ask now, with *last* booked, because it would be late to ask at *slot*."""
        return last + interval < slot + _SLACK * self.lead + LATE

    @property
    def is_far(self) -> bool:
        """Whether a part of the rate is lost."""
        return 2 * self.lead > MOST_AHEAD

    @property
    def is_too_far(self) -> bool:
        """Whether no slot can be booked in time."""
        return MOST_AHEAD - self.lead < LATE

    @property
    def part(self) -> float:
        """The part of the rate that can be had, as a share of 1."""
        # Each answer brings what lies between its coming and the furthest slot.
        return max(0.0, MOST_AHEAD - self.lead) / self.lead if self.is_far else 1.0

    def _usual_patience(self) -> float:
        return min(self._longest, max(_LEAST_PATIENCE, 4 * self.lead))
