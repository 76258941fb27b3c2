"""
Requests that were answered last: they tell an outage from requests that fail for themselves.

Bookkeeping only: no clock, no I/O, no tasks.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from onehouse_tracker._engine.tracked import Tracked

__all__ = ["Witnesses"]

_KEPT = 64
"""Latest answers that are kept: one costs nothing, and of so many one is still tracked."""


class Witnesses:
    """
    The latest answers, newest last.

    A *witness* waits for its turn, and its last poll was answered: if it fails now, the server
    fails.
    """

    __slots__ = ("_latest",)

    def __init__(self) -> None:
        self._latest: deque[Tracked] = deque(maxlen=_KEPT)

    def answered(self, tracked: Tracked) -> None:
        """Take note that a poll of *tracked* was answered."""
        self._latest.append(tracked)

    def clear(self) -> None:
        """Forget all: nothing is tracked any more."""
        self._latest.clear()

    def next(self, but: Container[Tracked], rest: Iterable[Tracked]) -> Tracked | None:
        """
        Return the witness that was answered last, `None` if there is none.

        Args:
            but: Not these.

            rest: Everything that is tracked.  It is searched only if all of the latest have
                ended or fail.
        """
        for tracked in reversed(self._latest):
            if tracked.ticket and tracked.answered and tracked not in but:
                return tracked
        for tracked in rest:
            if tracked.ticket and tracked.answered and tracked not in but:
                return tracked
        return None

    def on_the_wire(self) -> bool:
        """Whether a request that was answered last time is being asked at this moment."""
        return any(one.answered and one.task is not None for one in self._latest)

    def latest(self, but: Callable[[Tracked], bool] | None = None) -> Tracked | None:
        """The request that was answered last and waits for its turn, whatever came since."""
        for tracked in reversed(self._latest):
            if tracked.ticket and not (but is not None and but(tracked)):
                return tracked
        return None
