"""
How long what is followed will still take, for those who ask: never on the way of a poll.

Bookkeeping only: no clock, no I/O, no tasks; callers pass the time in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sized
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from onehouse_tracker._engine.classes import OF_USERS
from onehouse_tracker._engine.schedule.time_left import (
    Running,
    left_of,
    left_of_all,
    running_now,
)
from onehouse_tracker._engine.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from onehouse_tracker._engine.roster import Roster
    from onehouse_tracker._engine.schedule.laws import Laws
    from onehouse_tracker._engine.tracked import Joining, Tracked
    from onehouse_tracker.results import TimeLeft

__all__ = ["FollowedRuns", "Forecasts", "Shown"]

_FRESH = 1.0
_FRESH_OF_MANY = 0.001
"""For so many seconds, or seconds for each request, the forecast of all is good enough."""


class Shown(Protocol):
    """One line that somebody sees: a request, or a run where it has a run ID."""

    request_id: str
    job: str | None
    run_id: str | None


@runtime_checkable
class _Foresees(Protocol):
    """An observer that wants to know how long requests and runs will still take."""

    def foresee_by(self, left: Callable[[Shown, float], TimeLeft | None], /) -> None:
        """*left* tells it, of a line and at a time on the tracker's loop."""


class FollowedRuns(Sized, Protocol):
    """The runs that are followed beside requests, so many of them."""

    @property
    def overdue(self) -> int:
        """How many of them run for unusually long."""

    def left_of_run(self, job: str | None, run_id: str, now: float, /) -> TimeLeft | None:
        """How long one will still take, if that is known."""

    def pending(self, now: float, /) -> list[Running]:
        """Those that are followed, or are being started; one without a law: nobody knows."""


class Forecasts:
    """
    Forecasts of one tracker.

    Args:
        roster: What is followed.

        laws: What earlier runs taught; `None` if nothing is kept.
    """

    def __init__(self, roster: Roster, laws: Laws | None) -> None:
        self._roster = roster
        self._laws = laws
        self.runs: FollowedRuns | None = None
        """The runs that are followed, once there are any."""
        self._coming = Tally()
        self._left: TimeLeft | None = None
        self._good_until = -math.inf

    def offer(self, observers: Iterable[object]) -> None:
        """Let those of *observers* ask who want to."""
        for observer in observers:
            if self._laws is not None and isinstance(observer, _Foresees):
                observer.foresee_by(self._left_of_line)

    def coming(self, statements: Sized) -> AbstractContextManager[None]:
        """While the block runs, so many *statements*, fewer and fewer, are still to be sent."""
        self._good_until = -math.inf  # what was computed is not about them
        return self._coming.add(statements.__len__)

    @property
    def overdue(self) -> int:
        """How many requests and runs run for unusually long."""
        return self._roster.overdue + (0 if self.runs is None else self.runs.overdue)

    def _left_of_line(self, line: Shown, now: float) -> TimeLeft | None:
        if line.run_id is None or self.runs is None:
            return self.left(line.request_id, now)
        return self.runs.left_of_run(line.job, line.run_id, now)

    def left(self, request_id: str, now: float) -> TimeLeft | None:
        """How long a request will still take at the loop time *now*, if that is known."""
        tracked = self._roster.find(request_id)
        if self._laws is None or tracked is None:
            return None
        return left_of(self._running(self._laws, tracked, now))

    def of_pending(self, joining: Joining) -> tuple[TimeLeft | None, bool]:
        """How long a request of this age, seen pending now, will take, and if it is overdue."""
        if self._laws is None or not joining.start_known:
            return None, False
        law, age = self._laws.law(*joining.names), joining.age
        if law is None:
            return None, False
        left = left_of(Running(self._laws, law, age, age))
        return left, self._laws.usual_if_overdue(law, age) is not None

    def left_of_all(self, now: float) -> TimeLeft | None:
        """
        How long until all requests of users and all runs have ended, if that is known.

        It is not while statements are still to be sent: nobody knows when their slots come.
        """
        if self._laws is None or self._coming.total:
            return None
        if now >= self._good_until:
            laws = self._laws
            # What starts a run is counted as that run.
            pending = [
                self._running(laws, tracked, now)
                for tracked in self._roster
                if tracked.of_class is OF_USERS
            ]
            if self.runs is not None:
                pending += self.runs.pending(now)
            self._left = left_of_all(pending)
            self._good_until = now + max(_FRESH, _FRESH_OF_MANY * len(pending))
        return self._left if self._roster.reported or self.runs else None

    def _running(self, laws: Laws, tracked: Tracked, now: float) -> Running:
        law = None
        if tracked.start_known:  # what joins, and is being written down, has no law yet
            law = tracked.law or laws.law(*tracked.names)
        return running_now(laws, law, tracked, now)
