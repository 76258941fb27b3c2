"""
How much longer all runs take tonight than earlier runs did.

Bookkeeping only: no clock, no I/O, no tasks.
"""

from __future__ import annotations

import math

from onehouse_tracker._engine.schedule.law import (
    LIKE_OTHERS,
    OUTLIER_SPREAD,
    ROOT_HALF,
    TINY,
    UNLIKE,
    Law,
)
from onehouse_tracker.history._records import SHORTEST

__all__ = ["Shift"]

_SHIFTS = (
    -1.1, -0.8, -0.6, -0.4, -0.25, -0.15, -0.07,
    0.0, 0.07, 0.15, 0.25, 0.4, 0.55, 0.7, 0.85, 1.1,
)  # fmt: skip
_SPREAD = 0.15
_PRIORS = tuple(-abs(shift) / _SPREAD for shift in _SHIFTS)
_GRID = tuple(zip(_SHIFTS, _PRIORS, strict=True))

_FORGETTING = 0.99995
_NO_NEWS = 3.5
_LEAST = 1e-4
_LOG_LEAST = math.log(_LEAST)

_NEGLIGIBLE = 12.0
_OUT_OF_THE_QUESTION = 30.0
_NOW_AND_THEN = 8
"""Logarithms by which a shift is less likely than the likeliest: it counts no more; and only each
eighth poll is held against it, because this is done with every poll."""


class Shift:
    """The logarithm of a factor that all runs have in common tonight, learned on a grid."""

    __slots__ = ("_polls", "_sums", "mean", "variance")

    def __init__(self) -> None:
        self._sums = [*_PRIORS]
        """The logarithm of how likely each shift is, less that of the likeliest."""
        self._polls = 0
        self.mean = 0.0
        self.variance = 0.0
        """How far *mean* is off, squared, in the mean; 0 before anything was learned."""

    def learn(self, law: Law, since: float, until: float, *, ended: bool) -> None:
        """A poll at age *until* told whether what was pending at *since* has ended."""
        erfc, log, mean = math.erfc, math.log, law.mean
        now = log(max(until, SHORTEST)) - mean
        if not ended and now - _SHIFTS[0] < -_NO_NEWS * law.spread:
            return  # it could not have ended under any shift
        before = log(max(since, SHORTEST)) - mean
        narrow = ROOT_HALF / law.spread
        wide = ROOT_HALF / max(law.spread, OUTLIER_SPREAD)
        self._polls += 1
        least = -_OUT_OF_THE_QUESTION if self._polls % _NOW_AND_THEN else -math.inf
        sums = []
        for (shift, prior), value in zip(_GRID, self._sums, strict=True):
            if value < least:
                sums.append(value)
                continue
            late = now - shift
            dead = LIKE_OTHERS * erfc(late * narrow) + UNLIKE * erfc(late * wide)
            late = before - shift
            alive = LIKE_OTHERS * erfc(late * narrow) + UNLIKE * erfc(late * wide) + TINY
            seen = (alive - dead if ended else dead) / alive
            news = log(seen) if seen > _LEAST else _LOG_LEAST
            sums.append(prior + _FORGETTING * (value - prior) + news)
        self._sums = self._weigh(sums, least)

    def _weigh(self, sums: list[float], least: float) -> list[float]:
        """Learn from *sums*; those from *least* on, which are of all polls, begin at 0 again."""
        most = max(sums)
        sums = [value - most if value >= least else value for value in sums]
        total = first = second = 0.0
        for shift, value in zip(_SHIFTS, sums, strict=True):
            if value > -_NEGLIGIBLE:
                weight = math.exp(value)
                total += weight
                first += weight * shift
                second += weight * shift * shift
        self.mean = first / total
        self.variance = max(0.0, second / total - self.mean * self.mean)
        return sums
