"""
Whose fault a 429 is: that of the project's rate, or of one request that is always refused.

A server may refuse one request for ever, whatever the rate (gRPC says RESOURCE_EXHAUSTED also
of an answer that is too large).  Taken for the project's, its refusals would slow everybody
down.  So a request that is refused again and again is compared with the others:

    chance = (share of the others' polls that were refused meanwhile) ** (its refusals in a row)

where only those others count whose poll before was not refused: the rest may be sick in the
same way.  Below 2 % it is no coincidence, and the refusals are its own.  Ten answers and no
refusal of others are enough to say so of the second refusal: (1 / 12) ** 2 is 0.7 %.

Bookkeeping only: no clock, no I/O, no tasks.
"""

from __future__ import annotations

import math

__all__ = ["RefusalRow", "Refusals"]

COINCIDENCE = 0.02
"""The chance to be refused so often in a row, below which a request is refused for itself."""

LEAST_ANSWERS = 10
"""Polls of others that must have been answered since the first refusal of the row."""

MOST_REFUSED = 0.5
"""While a larger share of these others is refused, refusals are the project's."""

_MEMORY = 0.95
"""Weight of what came before, for the share of late that was refused: about twenty replies."""


class RefusalRow:
    """The refusals of one request or statement in a row, with no answer between them."""

    __slots__ = ("answers", "count", "own", "refused", "since", "steps")

    def __init__(self, since: float, answers: int, refused: int) -> None:
        self.since = since
        """When the first of them was sent for."""
        self.answers = answers
        """Answers to all others, when the row began."""
        self.refused = refused
        """Refusals of all others, when the row began."""
        self.count = 0
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
        row.own = row.own or self._is_own(row)
        if row.count == 1:
            self._refused += 1
            self._share = 1.0 - _MEMORY * (1.0 - self._share)
        if not row.own and sent_at >= self._reacted_at:
            self._reacted_at = now
            row.steps += 1
        return row

    def _is_own(self, row: RefusalRow) -> bool:
        answers = self._answers - row.answers
        if row.count < 2 or answers < LEAST_ANSWERS or self._share > MOST_REFUSED:  # noqa: PLR2004
            return False
        others = self._refused - row.refused - 1
        share = (others + 1) / (others + answers + 2)
        return bool(share**row.count < COINCIDENCE)
