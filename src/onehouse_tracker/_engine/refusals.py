"""
Whose fault a 429 is: that of the project's rate, or of one request that is always refused.

A server may refuse one request forever, whatever the rate (gRPC says RESOURCE_EXHAUSTED also
of an answer that is too large).  Taken for the project's, its refusals would slow everybody
down.  So a request that is refused again and again is compared with the others:

    chance = product over its refusals of (share of the others' polls refused since the one before)

where the first counts as the second, and only those others count whose poll before was not
refused: the rest may be sick in the same way.  Below 2 % it is no coincidence, and the refusals
are its own.  Ten answers and no refusal of others are enough to say so of the second refusal:
(1 / 12) ** 2 is 0.7 %.

Bookkeeping only: no clock, no I/O, no tasks.
"""

from __future__ import annotations

import math

__all__ = ["RefusalRow", "Refusals"]

COINCIDENCE = 0.02
"""The chance to be refused so often in a row, below which a request is refused for itself."""

LEAST_ANSWERS = 10
"""Answers to others since the last refusal that are enough, if none was refused."""

MOST_REFUSED = 0.5
"""While a larger share of these others is refused, refusals are the project's."""

_SECOND = 2

_MEMORY = 0.95
"""Weight of what came before, for the share of late that was refused: about twenty replies."""


class RefusalRow:
    """The refusals of one request or statement in a row, with no answer between them."""

    __slots__ = ("answers", "chance", "count", "own", "refused", "since", "steps")

    def __init__(self, since: float, answers: int, refused: int) -> None:
        self.since = since
        """When the first of them was sent for."""
        self.answers = answers
        """Answers to all others, until the last refusal."""
        self.refused = refused
        """Refusals of all others, until then."""
        self.count = 0
        self.chance = 1.0
        """The chance that all these refusals are for the rate of the project."""
        self.own = False
        """Whether they are known to be its own."""
        self.steps = 0
        """How many of them slowed the project down."""


class Refusals:
    """Who was refused and who was answered, of late."""

    __slots__ = ("_answers", "_reacted_at", "_refused", "_share")

    def __init__(self) -> None:
        self._answers = 0
        self._refused = 0
        self._share = 0.0
        self._reacted_at = -math.inf

    def answered(self, row: RefusalRow | None) -> None:
        """A poll or a submission was answered; *row* are its refusals until then, if any."""
        if row is None:  # like the refusals that are counted
            self._answers += 1
            self._share *= _MEMORY

    def refused(self, row: RefusalRow | None, sent_at: float, now: float) -> RefusalRow:
        """
        Take note of a 429 for what was sent at *sent_at*, and judge it.

        Args:
            row: Its refusals so far, with no answer since; `None` if this is the first.

            sent_at: When it was sent.

            now: The time.

        Returns:
            The row with this refusal.  Where it is its `own`, it is not for the project to
            slow down; else it is, and counts as a step if nobody reacted since it was sent.
        """
        if row is None:
            row = RefusalRow(sent_at, self._answers, self._refused)
        row.count += 1
        if row.count == 1:
            self._refused += 1
            self._share = 1.0 - _MEMORY * (1.0 - self._share)
        else:
            self._doubt(row)
        row.answers, row.refused = self._answers, self._refused
        if not row.own and sent_at >= self._reacted_at:
            self._reacted_at = now
            row.steps += 1
        return row

    def _doubt(self, row: RefusalRow) -> None:
        """It was refused once more: how likely is that, if the others say how often it happens?"""
        answers, refused = self._answers - row.answers, self._refused - row.refused
        share = (refused + 1) / (refused + answers + 2)
        row.chance *= share * share if row.count == _SECOND else share
        enough = refused > 0 or answers >= LEAST_ANSWERS
        if enough and row.chance < COINCIDENCE and self._share <= MOST_REFUSED:
            row.own = True
