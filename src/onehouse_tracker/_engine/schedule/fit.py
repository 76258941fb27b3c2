"""
Whether what polls find tonight contradicts what was expected of them.

Bookkeeping only: no clock, no I/O, no tasks.
"""

from __future__ import annotations

import math

__all__ = ["Fit"]

FORGETTING = 0.998
"""What was found counts so much less with each poll that comes after it."""

MORE = 0.5
"""This share more than expected, or than came, may be: a forecast need not be exact."""

NOISE = 3.0
"""Standard deviations that chance may add."""

_LEAST, _MOST = 1e-3, 1.0 - 1e-3
_TWO_OF_THEM = 2.0 * math.log(1.0 / _LEAST)
"""Two of the least likely ends contradict nothing: few runs are like no other."""


class Fit:
    """
    Compares the ends that polls find with the chances that a forecast gave them.

    Two sums tell a wrong forecast.  *How many* end: far fewer or far more than the chances
    add up to.  And *which* end: each counts by its odds, so those that were most unlikely to
    end count most, and those that were likely to end and did not count as well.

    It asks whether one forecast can be right, not whether another one is better: before
    anything has ended, nothing beats the forecast that nothing ever ends.
    """

    __slots__ = ("_ended", "_expected", "_odd_ends", "_odds", "_spread")

    def __init__(self) -> None:
        self._ended = self._expected = 0.0
        self._odd_ends = self._odds = self._spread = 0.0

    def learn(self, chance: float, *, ended: bool) -> None:
        """A poll of what had ended with this *chance* told whether it has."""
        if chance < _LEAST:
            chance = _LEAST
        elif chance > _MOST:
            chance = _MOST
        odds = math.log((1.0 - chance) / chance)
        variance = chance * (1.0 - chance)
        self._ended = FORGETTING * self._ended + ended
        self._expected = FORGETTING * self._expected + chance
        self._odd_ends = FORGETTING * self._odd_ends + (ended - chance) * odds
        self._odds = FORGETTING * self._odds + variance * abs(odds)
        self._spread = FORGETTING * self._spread + variance * odds * odds

    @property
    def is_good(self) -> bool:
        """Whether chance can explain what was found."""
        few, many = sorted((self._ended, self._expected))
        if many > (1.0 + MORE) * few + NOISE * math.sqrt(many):
            return False
        chance = NOISE * math.sqrt(self._spread)
        return self._odd_ends <= MORE * self._odds + chance + _TWO_OF_THEM
