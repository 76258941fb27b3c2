"""
What the replies say about the project as a whole: outage, refused credentials, patience.

No clock, no I/O, no tasks; callers pass the time in.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onehouse_tracker._engine.tracked import Tracked

__all__ = ["Blame", "Health"]

OUTAGE_AFTER = 10
"""Failures in a row, over two requests or more."""

PROBE_INTERVAL = 1.0
"""Seconds between two probes in an outage, and between two attempts to confirm a refusal."""


class Blame(Enum):
    """Whom a refusal of credentials concerns."""

    PROJECT = "every request would be refused"
    UNDECIDED = "another request has to confirm it"


class Health:
    """
    The project as its replies show it.

    States, all of which can hold together:

    * *unproven*: no good reply yet, or credentials in doubt: one poll on the wire.
      Left by the first good reply; entered again when the project has failed.
    * *outage*: nothing succeeds any more: one probe a second.  Left by a good reply.
    * *suspicious*: some requests were refused with 401 or 403 after good replies.  One
      poll of another request decides: refused too, and the project has failed; answered,
      and only the suspects are refused.
    """

    __slots__ = (
        "_excused",
        "_excused_until",
        "_failing_since",
        "_idle_since",
        "_patience",
        "_streak",
        "_streak_id",
        "_streak_is_mixed",
        "answered_at",
        "confirming",
        "next_probe_at",
        "outage",
        "proven",
        "suspects",
    )

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.answered_at = -math.inf
        self._idle_since: float | None = None
        self._excused_until = -math.inf
        self.reset()

    def reset(self) -> None:
        """Start over: the next wait begins with a single probe."""
        self.proven = False
        self.outage = False
        self.next_probe_at = -math.inf
        self.suspects: dict[Tracked, None] = {}
        self.confirming = False
        """Whether the poll that decides about the suspects is on the wire."""
        self._failing_since: float | None = None
        self._excused = 0.0
        self._streak = 0
        self._streak_id = ""
        self._streak_is_mixed = False

    @property
    def silent_since(self) -> float | None:
        """Since when there is no good reply to what is sent; `None` while all is well."""
        return self._failing_since

    @property
    def gives_up_at(self) -> float:
        """When patience is over, if no good reply comes first; infinity while all is well."""
        if self._failing_since is None or self._idle_since is not None:
            return math.inf
        return self._failing_since + self._excused + self._patience

    def good(self, now: float) -> bool:
        """A good reply: the server answered about one request.  True if it ends an outage."""
        recovered = self.outage
        self.proven = True
        self.outage = False
        self.answered_at = now
        self._failing_since = None
        self._excused = 0.0
        self._streak = 0
        return recovered

    def failed(self, now: float, request_id: str, *, is_only_one: bool) -> bool:
        """A poll failed.  True if that begins an outage."""
        self._begin_to_count(now)
        if self._streak == 0:
            self._streak_id = request_id
            self._streak_is_mixed = False
        elif request_id != self._streak_id:
            self._streak_is_mixed = True
        self._streak += 1
        if self.outage or self._streak < OUTAGE_AFTER:
            return False
        if not (self._streak_is_mixed or is_only_one):
            return False
        self.outage = True
        self.next_probe_at = now + PROBE_INTERVAL
        return True

    def refused(
        self, now: float, tracked: Tracked, *, is_confirmation: bool, is_only_one: bool
    ) -> Blame:
        """A poll was refused with 401 or 403.  An undecided request becomes a suspect."""
        if not self.proven or is_confirmation:
            return Blame.PROJECT
        if not self.suspects:
            # Asking the same request again only helps if something may have changed.
            self.next_probe_at = now + PROBE_INTERVAL if is_only_one else now
        self.suspects[tracked] = None
        return Blame.UNDECIDED

    def acquit_project(self) -> tuple[Tracked, ...]:
        """The confirming poll was answered: return the suspects, who stand alone now."""
        suspects = tuple(self.suspects)
        self.suspects.clear()
        return suspects

    def probe_sent(self, now: float) -> None:
        """Note a probe, so that the next one keeps its distance."""
        self.next_probe_at = now + PROBE_INTERVAL

    def throttled(self, now: float) -> None:
        """A refusal for the rate: no failure, and no good reply either."""
        self._begin_to_count(now)

    def paused(self, now: float, until: float) -> None:
        """The server ordered a pause: it does not count against patience."""
        if self._idle_since is not None:
            self._excuse(self._idle_since, now)
            self._idle_since = now
        self._excuse(now, until)

    def idle(self, now: float) -> None:
        """Nothing is followed any more: this time does not count against patience."""
        if self._idle_since is None:
            self._idle_since = now

    def busy(self, now: float) -> None:
        """Something is followed again."""
        if self._idle_since is not None:
            self._excuse(self._idle_since, now)
            self._idle_since = None

    def _begin_to_count(self, now: float) -> None:
        if self._failing_since is None:
            self._failing_since = now
            self._excused = max(0.0, self._excused_until - now)

    def _excuse(self, begin: float, end: float) -> None:
        # Spans begin in order, so what is excused already is all before one moment: a
        # second that is both idle and paused counts once.
        begin = max(begin, self._excused_until)
        if end > begin:
            self._excused += end - begin
            self._excused_until = end
