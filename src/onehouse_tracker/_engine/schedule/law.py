"""
How long the next run of one name takes, by what earlier runs took.

No clock, no I/O, no tasks.  Ages are seconds, and the law is about their logarithms, because runs
differ by factors.
"""

from __future__ import annotations

import math
from typing import Final

from onehouse_tracker.history._records import SHORTEST

__all__ = ["LIKE_OTHERS", "OUTLIER_SPREAD", "ROOT_HALF", "TINY", "UNLIKE", "Law"]

OUTLIERS: Final = 0.03
OUTLIER_SPREAD: Final = 1.2
"""Runs that have nothing to do with earlier ones, and how far they lie around them."""

ROOT_HALF: Final = math.sqrt(0.5)
LIKE_OTHERS: Final = 0.5 * (1.0 - OUTLIERS)
UNLIKE: Final = 0.5 * OUTLIERS
TINY: Final = 1e-290
"""No chance to run for longer that could be divided by is less."""


class Law:
    """How long the next run of one name takes: normal in the logarithm, with outliers."""

    __slots__ = ("is_known", "mean", "spread")

    def __init__(self, mean: float, spread: float, *, is_known: bool = True) -> None:
        self.mean = mean
        self.spread = spread
        self.is_known = is_known
        """Whether the name was seen before; else it is the law over all names."""

    def __repr__(self) -> str:
        return f"<Law: {math.exp(self.mean):.3g} s, spread {self.spread:.2g}>"

    def survival(self, age: float, shift: float = 0.0, extra: float = 0.0) -> float:
        """The chance to run longer than *age*, where all runs take exp(*shift*) times as long."""
        if age <= SHORTEST:
            return 1.0
        spread = math.sqrt(self.spread * self.spread + extra)
        return _survival(math.log(age) - self.mean - shift, spread)


def _survival(late: float, spread: float) -> float:
    """The chance to run longer than the median of all by *late*, in logarithms."""
    return LIKE_OTHERS * math.erfc(ROOT_HALF * late / spread) + UNLIKE * math.erfc(
        ROOT_HALF * (late / max(OUTLIER_SPREAD, spread))
    )
