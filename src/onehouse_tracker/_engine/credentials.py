"""
Refused credentials: whether a 401 or 403 concerns the project, or one request.

A key that was rotated refuses every request; a stray refusal, or a request that is not ours
to poll, refuses one.  Three refusals in a row over two requests, with no answer to
anything sent meanwhile, are the project's.  Three of one request, over three seconds or more,
while others are answered, are its own.

No clock, no I/O, no tasks; callers pass the time in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onehouse_tracker._engine.retry import Again, Ended
from onehouse_tracker.models import Outcome

if TYPE_CHECKING:
    from onehouse_tracker._engine.tracked import Tracked
    from onehouse_tracker.errors import UnauthorizedError

__all__ = ["Condemned", "Credentials"]

REFUSALS = 3
"""In a row: of one request to reject it, over two requests to fail the project."""

REFUSALS_AFTER_STRAYS = 5
"""The same to fail the project that had stray refusals before: where one call of twenty is
refused by chance, three in a row come once in four hundred."""

RETRY_AFTER = 1.0
"""Seconds before a refused request is asked again."""

REJECTED_AFTER = 3.0
"""Seconds between the first and the last refusal of a request that is rejected, at least."""

_HTTP_UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class Condemned:
    """Every request would be refused."""


class Credentials:
    """
    What is known about the credentials.

    States: *good* (or not known to be bad), and *in doubt*, with one poll at a time: the first
    of another request at once, then one a second.  An answer to anything that was sent after
    the first refusal ends the doubt.
    """

    __slots__ = ("_count", "_first_sent_at", "_ids", "_needed", "_reacted_at", "_refused_at")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all doubt."""
        self._needed = REFUSALS
        self._count = 0
        self._ids: set[str] = set()
        self._first_sent_at = math.inf
        self._refused_at = -math.inf
        self._reacted_at = -math.inf

    @property
    def in_doubt(self) -> bool:
        """Whether something was refused, and nothing sent since was answered."""
        return self._count > 0

    def answered(self, sent_at: float) -> None:
        """What was sent at *sent_at* was answered."""
        if self._count and sent_at > self._first_sent_at:
            self.reset()
            self._needed = REFUSALS_AFTER_STRAYS

    def refused(
        self,
        tracked: Tracked,
        error: UnauthorizedError,
        *,
        sent_at: float,
        now: float,
        proven: bool,
        answered_sent_at: float,
        is_only_one: bool,
    ) -> Ended | Again | Condemned:
        """
        Take note of a refusal, and say what follows for its request.

        Args:
            tracked: The request.

            error: The refusal.

            sent_at: When the poll was sent.

            now: The time.

            proven: Whether there was any good reply before.

            answered_sent_at: When the latest poll was sent that was answered.

            is_only_one: Whether no other request is tracked.
        """
        faults = tracked.faulty()
        faults.deny(sent_at)
        tracked.error = error
        if answered_sent_at <= sent_at:
            self._doubt(tracked.request_id, sent_at, now)
        if not proven:
            if error.http_status == _HTTP_UNAUTHORIZED or is_only_one or len(self._ids) > 1:
                return Condemned()
        elif self._count >= self._needed and (len(self._ids) > 1 or is_only_one):
            return Condemned()
        if (
            faults.denied >= REFUSALS
            and sent_at - faults.denied_since >= REJECTED_AFTER
            and answered_sent_at > faults.denied_since
        ):
            return Ended(Outcome.REJECTED)
        if faults.denied < REFUSALS - 1:
            return Again(sent_at + RETRY_AFTER)
        return Again(max(sent_at + RETRY_AFTER, faults.denied_since + REJECTED_AFTER))

    def next_poll_at(self, *, has_another: bool) -> float:
        """When the next poll may go while in doubt: at once, if it is the first of another."""
        if len(self._ids) == 1 and has_another:
            return -math.inf
        return self._refused_at + RETRY_AFTER

    def __contains__(self, tracked: object) -> bool:
        """Whether this request was refused since the doubt began."""
        return getattr(tracked, "request_id", None) in self._ids

    def _doubt(self, request_id: str, sent_at: float, now: float) -> None:
        if not self._count:
            self._first_sent_at = sent_at
        # What was on the wire at the first refusal says the same thing once.
        if sent_at >= self._reacted_at:
            self._count += 1
            self._reacted_at = now
        self._refused_at = sent_at
        self._ids.add(request_id)
