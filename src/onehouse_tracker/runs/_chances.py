"""
The chance that a run has ended, learned by job; and when a check is polled first.

No clock, no I/O, no tasks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onehouse_tracker._engine.schedule.durations import Durations

if TYPE_CHECKING:
    from onehouse_tracker.runs._run import Run

__all__ = ["Chances", "FirstGap"]

_SHORTEST = 0.3
_LONGEST = 10.0


class Chances:
    """What was learned about how long the runs of each job take."""

    __slots__ = ("_durations", "_place")

    def __init__(self) -> None:
        self._durations = Durations()
        self._place = self._durations.place(0)

    def of(self, run: Run, now: float) -> float:
        """The chance that *run* has ended since it was last seen running."""
        return self._durations.chance(
            self._durations.label(run.job), self._place, run.looked - run.born, now - run.born
        )

    def learn(self, run: Run, sent_at: float, *, ended: bool) -> None:
        """A check sent at *sent_at* saw whether *run* has ended; called before it is noted."""
        if sent_at > run.looked:
            self._durations.learn(
                self._durations.label(run.job),
                self._place,
                run.looked - run.born,
                sent_at - run.born,
                ended=ended,
            )


class FirstGap:
    """
    How long to wait before a check is polled for the first time.

    It is the time in which a certain share of checks are done.  Every first poll that finds a
    check done makes it a little shorter, every other one longer, by so much that it stays where
    that share is found.  To take the time of detection for the end would learn our own delay.

    Args:
        share: Of checks that are to be done at the first poll.

        start: Seconds before anything is learned.
    """

    __slots__ = ("_count", "_share", "seconds")

    def __init__(self, share: float, start: float = 1.5) -> None:
        self._share = share
        self._count = 0
        self.seconds = start

    def learn(self, *, found: bool) -> None:
        """A first poll after `seconds`, or about so many, found the check done, or not."""
        self._count += 1
        step = max(0.06, 1.0 / (2.0 + self._count))
        factor = math.exp(step * (self._share - found))
        self.seconds = min(_LONGEST, max(_SHORTEST, self.seconds * factor))
