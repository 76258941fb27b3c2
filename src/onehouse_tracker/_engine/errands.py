"""
Which slot goes to a statement that a planner wants to send.

Bookkeeping only: no clock, no I/O, no tasks; callers pass the time in.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onehouse_tracker._engine.schedule.schedule import TICK

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from onehouse_tracker._engine.classes import Planner
    from onehouse_tracker._engine.schedules import Schedules

__all__ = ["Errands"]


class Errands:
    """
    Lets the statements of one planner compete with polls.

    The polls of what was sent before go first, so nothing is begun that must wait.  Where polls
    of users are due too, statements and their polls get every second slot at most.
    """

    __slots__ = ("_schedules", "planner", "polls", "sent")

    def __init__(self, schedules: Schedules) -> None:
        self._schedules = schedules
        self.planner: Planner | None = None
        """Who has statements to send, if anybody."""
        self.sent = 0
        """Statements sent so far."""
        self.polls = 0
        """Polls sent about them so far."""

    def wanted_at(self, now: float) -> float:
        """When the next one wants a slot; infinity for never."""
        return math.inf if self.planner is None else self.planner.wanted_at(now)

    def due(self, now: float) -> bool:
        """Whether a statement of the planner, or a poll that is not of users, is due."""
        return self._schedules.others_are_due(now) or self.wanted_at(now) <= now + TICK

    def take(
        self, now: float, *, poll_is_due: bool
    ) -> Callable[[], Coroutine[None, None, None]] | None:
        """What sends the statement that gets this slot; `None` if a poll gets it."""
        if self.planner is None or (poll_is_due and self._schedules.others_are_due(now)):
            return None
        if poll_is_due and self._schedules.users_are_due(now):
            if self._schedules.others_went_last:
                return None
            if self.planner.value(now) < self._schedules.value_of_due(now):
                return None
        send = self.planner.take(now)
        if send is not None:
            self._schedules.others_went_last = True
            self.sent += 1
        return send

    @staticmethod
    async def run(
        send: Callable[[], Coroutine[None, None, None]], end: Callable[[BaseException], None]
    ) -> None:
        """Send one; *end* learns of an error, which is one of the planner's own code."""
        try:
            await send()
        except Exception as error:
            end(error)
            raise
