"""
How fast to send: a margin learned from refusals, and project-wide pauses.

No clock, no I/O, no tasks; callers pass the time in.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from onehouse_tracker._util.numbers import is_number
from onehouse_tracker.errors import ConfigError

__all__ = ["Pace", "PaceState", "static_rate"]

MARGIN_FLOOR = 0.02
MARGIN_CEILING = 0.50
MARGIN_STEP = 0.01
"""Added for each episode.  Halving, as AIMD and CUBIC do, costs 13-40 % of the budget."""

MARGIN_DECAY = 0.0001
"""Taken back per second, once `QUIET` seconds have passed without a refusal."""

QUIET = 60.0
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
LONGEST_SPREAD = 0.1
"""Seconds, at most, that are added to a pause the server ordered where others share the budget:
those who were refused at the same moment do not come back at the same moment."""


class PaceState(NamedTuple):
    """What a `Pace` has learned: what processes must share to keep one pace together."""

    margin: float = MARGIN_FLOOR
    """Share of the limit to keep free, as of the last refusal."""

    refused_at: float = -math.inf
    """When the last refusal came."""

    reacted_at: float = -math.inf
    """When the last episode began."""

    next_pause: float = FIRST_PAUSE
    """Seconds of the next pause that the server does not choose."""

    paused_until: float = -math.inf
    """Until when nothing may be sent."""


class Pace:
    """
    The budget of one project, as it can be spent now.

    An *episode* is a refusal and all refusals of requests that were sent before we
    reacted to it: they say the same thing once.

    Args:
        limit: Requests per second the project may send.

        share: Our part of it, more than 0 and at most 1.

        max_pause: Seconds the server can make us pause at once, at most.
    """

    __slots__ = (
        "_margin",
        "_max_pause",
        "_next_pause",
        "_reacted_at",
        "_refused_at",
        "limit",
        "paused_until",
        "refusals",
    )

    def __init__(self, limit: float, *, share: float = 1.0, max_pause: float = 120.0) -> None:
        if not (is_number(limit) and limit > 0):
            raise ConfigError(f"limit is a number of requests per second above 0, not {limit!r}")
        if not (is_number(share) and 0 < share <= 1):
            raise ConfigError(f"share is more than 0 and at most 1, not {share!r}")
        if not (is_number(max_pause) and max_pause > 0):
            raise ConfigError(f"max_pause is more than 0 seconds and finite, not {max_pause!r}")
        self.limit = limit * share
        self.paused_until = -math.inf
        self.refusals = 0
        self._max_pause = max_pause
        self._margin = MARGIN_FLOOR
        self._refused_at = -math.inf
        self._reacted_at = -math.inf
        self._next_pause = FIRST_PAUSE

    def margin(self, now: float) -> float:
        """Share of the limit to keep free."""
        quiet = now - self._refused_at - QUIET
        if quiet <= 0:
            return self._margin
        return max(MARGIN_FLOOR, self._margin - quiet * MARGIN_DECAY)

    def rate(self, now: float) -> float:
        """Requests per second to send."""
        return self.limit * (1.0 - self.margin(now))

    @property
    def state(self) -> PaceState:
        """What was learned so far."""
        return PaceState(
            self._margin, self._refused_at, self._reacted_at, self._next_pause, self.paused_until
        )

    @state.setter
    def state(self, state: PaceState) -> None:
        (
            self._margin,
            self._refused_at,
            self._reacted_at,
            self._next_pause,
            self.paused_until,
        ) = state

    def throttled(
        self, now: float, sent_at: float, retry_after: float | None, *, spread: float = 0.0
    ) -> None:
        """
        A request sent at *sent_at* was refused for its rate: pause, and widen the margin.

        *spread* is added to the pause that the server asks for, in seconds: others who were
        refused at the same moment should not come back at the same moment.
        """
        self.refusals += 1
        self._margin = self.margin(now)  # what the quiet time took back stays taken back
        if sent_at >= self._reacted_at:
            self._margin = min(MARGIN_CEILING, self._margin + MARGIN_STEP)
            self._reacted_at = now
            if retry_after is None:
                retry_after = self._next_pause
                self._next_pause = min(LONGEST_PAUSE, 2 * self._next_pause)
                spread = 0.0
        self._refused_at = now
        if retry_after is not None:
            # A later refusal of the same episode may ask for more, never for less.
            until = now + min(self._max_pause, max(0.0, retry_after)) + spread
            self.paused_until = max(self.paused_until, until)

    def forgive(self, now: float, refusals: int) -> None:
        """Take back what so many episodes added: they were no matter of the rate."""
        self._margin = max(MARGIN_FLOOR, self.margin(now) - refusals * MARGIN_STEP)

    def answered(self, sent_at: float) -> bool:
        """
        A request sent at *sent_at* was not refused: the next pause is short again.

        True if it was not short already.
        """
        if sent_at < self._reacted_at or self._next_pause == FIRST_PAUSE:
            return False
        self._next_pause = FIRST_PAUSE
        return True


def static_rate(limit: float, processes: int) -> float:
    """
    Requests per second that each of *processes* may send where they cannot agree.

    As many whole requests in each second as all of them can send in the same one; where that
    is none, one request each as many seconds as all of them need to take turns.
    """
    return float(math.floor(limit / processes)) or limit / processes
