"""
What wants a slot, and when: polls, submissions, the user's own calls, and errands.

Bookkeeping only: no clock, no I/O, no tasks; callers pass the time in.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onehouse_tracker._engine.schedule.schedule import TICK
from onehouse_tracker._engine.turns import most_granted

if TYPE_CHECKING:
    from onehouse_tracker._engine.errands import Errands
    from onehouse_tracker._engine.slots import SlotQueue
    from onehouse_tracker._engine.tracked import Tracked
    from onehouse_tracker._engine.turns import Turns

__all__ = ["Demand"]

_PATIENCE = 2
"""So many times as long as polls of users, errands and their polls give way to statements."""


class Demand:
    """
    What is on the wire, and what else may go.

    Args:
        turns: When polls and statements may be sent, as the project is.

        slots: Submissions and calls that wait.

        errands: The statements of a planner.

        max_in_flight: Polls on the wire at once, at most.

        max_connections: Requests of all kinds on the wire at once, at most.
    """

    __slots__ = (
        "_errands",
        "_max_connections",
        "_max_in_flight",
        "_slots",
        "_turns",
        "in_flight",
        "last_sent_at",
        "submitting",
    )

    def __init__(
        self,
        turns: Turns,
        slots: SlotQueue,
        errands: Errands,
        max_in_flight: int,
        max_connections: float,
    ) -> None:
        self._turns = turns
        self._slots = slots
        self._errands = errands
        self._max_in_flight = max_in_flight
        self._max_connections = max_connections
        # A set, so that no poll can be counted out twice.
        self.in_flight: set[Tracked] = set()
        """Polls on the wire."""
        self.submitting = 0
        """Statements on the wire."""
        self.last_sent_at = -math.inf
        """When the last of all was sent."""

    def wanted_at(self, now: float) -> float:
        """When something will want a slot, if nothing changes; infinity for never."""
        if self._slots.has_call:
            return now
        return min(self.submission_wanted_at(now), self.look_wanted_at(now))

    def submission_wanted_at(self, now: float) -> float:
        """When a submission will want one."""
        return self._statement_wanted_at(now, self._slots.submission_at(now + TICK))

    def look_wanted_at(self, now: float) -> float:
        """When a poll or an errand will want one."""
        return min(self.poll_wanted_at(now), self.errand_wanted_at(now))

    def look_goes_first(self, now: float) -> bool:
        """Whether a poll or an errand goes before the statements and calls that wait."""
        slots = self._slots
        if self._turns.poll_goes_first(now, slots.granted, slots.waiting):
            return True
        # What is not of users has more time: what it finds has run for minutes.
        most = _PATIENCE * most_granted(slots.waiting)
        return slots.granted >= most and self._errands.due(now)

    def errand_wanted_at(self, now: float) -> float:
        """When an errand will want one."""
        return self._statement_wanted_at(now, self._errands.wanted_at(now))

    def poll_wanted_at(self, now: float) -> float:
        """When a poll will want one."""
        if self._all_connections_busy or len(self.in_flight) >= self._max_in_flight:
            return math.inf
        return self._turns.poll_wanted_at(
            now, on_the_wire=self._on_the_wire, last_sent_at=self.last_sent_at
        )

    def _statement_wanted_at(self, now: float, at: float) -> float:
        if at == math.inf or self._all_connections_busy:
            return math.inf
        wanted_at = self._turns.submission_wanted_at(
            now, on_the_wire=self._on_the_wire, last_sent_at=self.last_sent_at
        )
        return max(at, wanted_at)

    @property
    def _on_the_wire(self) -> int:
        return len(self.in_flight) + self.submitting

    @property
    def _all_connections_busy(self) -> bool:
        # One more would spend its timeout waiting for a connection, and seem to have failed.
        return self._on_the_wire >= self._max_connections
