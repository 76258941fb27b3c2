"""
The schedules of all classes of requests, as one.

Bookkeeping only: no clock, no I/O, no tasks.  Callers pass the time in.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onehouse_tracker._engine.classes import OF_USERS
from onehouse_tracker._engine.schedule.schedule import TICK, Schedule

if TYPE_CHECKING:
    from onehouse_tracker._engine.classes import RequestClass
    from onehouse_tracker._engine.schedule.laws import Laws
    from onehouse_tracker._engine.tracked import Tracked
    from onehouse_tracker.policy import PollPolicy

__all__ = ["Schedules"]


class Schedules:
    """
    One `Schedule` for each class of requests.

    Where requests of users are due and others too, they take turns: others get every second
    slot at most.

    Args:
        policy: That of users' requests.

        limit: Requests per second of the whole budget.

        laws: What earlier runs taught about users' requests; `None` if nothing is kept.
    """

    __slots__ = ("_by_class", "_others", "_users", "others_went_last")

    def __init__(self, policy: PollPolicy, limit: float, laws: Laws | None = None) -> None:
        self._users = Schedule(policy, limit, laws=laws)
        self._by_class: dict[RequestClass, Schedule] = {OF_USERS: self._users}
        self._others: tuple[Schedule, ...] = ()
        self.others_went_last = False
        """Whether the last slot went to a class that is not of users."""

    def __len__(self) -> int:
        if not self._others:
            return len(self._users)
        return sum(map(len, self._by_class.values()))

    # --- What becomes of a request -----------------------------------------------------

    def of(self, tracked: Tracked) -> Schedule:
        """The schedule of the class of *tracked*."""
        schedule = self._by_class.get(tracked.of_class)
        if schedule is None:
            policy = tracked.of_class.policy
            assert policy is not None  # noqa: S101 - only users' requests have the tracker's
            # It knows no idle budget: that belongs to users.
            schedule = self._by_class[tracked.of_class] = Schedule(policy)
            self._others = tuple(s for s in self._by_class.values() if s is not self._users)
        return schedule

    def add(self, tracked: Tracked, due: float) -> None:
        """As of `Schedule`."""
        self.of(tracked).add(tracked, due)

    def pending(self, tracked: Tracked, sent_at: float, now: float) -> float | None:
        """As of `Schedule`."""
        return self.of(tracked).pending(tracked, sent_at, now)

    def again(self, tracked: Tracked, due: float) -> None:
        """As of `Schedule`."""
        self.of(tracked).again(tracked, due)

    def finished(self, tracked: Tracked, sent_at: float, *, teaches: bool) -> None:
        """As of `Schedule`."""
        self.of(tracked).finished(tracked, sent_at, teaches=teaches)

    def remove(self, tracked: Tracked) -> None:
        """As of `Schedule`."""
        self.of(tracked).remove(tracked)

    def take(self, tracked: Tracked) -> None:
        """As of `Schedule`."""
        self.of(tracked).take(tracked)

    def forgive(self, tracked: Tracked, now: float) -> None:
        """As of `Schedule`."""
        self.of(tracked).forgive(tracked, now)

    def idle(self) -> None:
        """Nothing is tracked any more."""
        self._users.idle()

    def clear(self) -> None:
        """As of `Schedule`."""
        for schedule in self._by_class.values():
            schedule.clear()

    # --- Whose turn it is --------------------------------------------------------------

    def next_due(self) -> float | None:
        """As of `Schedule`."""
        due = self._users.next_due()
        for schedule in self._others:
            other = schedule.next_due()
            if other is not None:
                due = other if due is None else min(due, other)
        return due

    def pop(self, now: float) -> Tracked | None:
        """As of `Schedule`; the classes take turns."""
        if self._others and not (self.others_went_last and self.users_are_due(now)):
            for schedule in self._others:
                tracked = schedule.pop(now)
                if tracked is not None:
                    self.others_went_last = True
                    return tracked
        self.others_went_last = False
        return self._users.pop(now)

    def chance_of_due(self, now: float) -> float | None:
        """As of `Schedule`, of a request of users."""
        return self._users.chance_of_due(now)

    def value_of_due(self, now: float) -> float:
        """As of `Schedule`, of a request of users."""
        return self._users.value_of_due(now)

    def users_are_due(self, now: float) -> bool:
        """Whether a request of users may be polled now."""
        return _is_due(self._users, now)

    def others_are_due(self, now: float) -> bool:
        """Whether a request of another class may be polled now."""
        return any(_is_due(schedule, now) for schedule in self._others)


def _is_due(schedule: Schedule, now: float) -> bool:
    due = schedule.next_due()
    return (math.inf if due is None else due) <= now + TICK
