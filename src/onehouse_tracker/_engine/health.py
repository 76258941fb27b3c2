"""
What the replies say about the project as a whole: whether the server is there, and how long not.

No clock, no I/O, no tasks; callers pass the time in.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onehouse_tracker._engine.tracked import Tracked

__all__ = ["WITNESSES", "Health", "Suspicion"]

SUSPICIOUS_AFTER = 10
"""Failures in a row, over two requests or more."""

WITNESSES = 3
"""Requests that are asked, at most, before a suspicion becomes an outage."""

WITNESS_TIMEOUT = 0.8
"""Seconds in which one of them has to answer.  An outage is noticed within a second of the
tenth failure, also where nothing comes back at all."""

PROBE_INTERVAL = 1.0
"""Seconds between two probes in an outage."""

OVERSLEPT = 1.0
"""Seconds that the dispatcher may be late before its own silence counts as such."""


class Suspicion:
    """Ten failures in a row: a few requests that were answered last time are asked first."""

    __slots__ = ("asked", "deadline", "waiting")

    def __init__(self, now: float) -> None:
        self.asked: dict[Tracked, None] = {}
        """Those that were asked."""
        self.waiting: dict[Tracked, None] = {}
        """Those of them that have not failed yet."""
        self.deadline = now + WITNESS_TIMEOUT

    def ask(self, tracked: Tracked, now: float) -> None:
        """A witness is asked."""
        if not self.asked:
            self.deadline = now + WITNESS_TIMEOUT
        self.asked[tracked] = None
        self.waiting[tracked] = None


class Health:
    """
    The project as its replies show it.

    States, all of which can hold together:

    * *unproven*: no good reply yet, or the project has failed: one poll on the wire.  Left by
      the first good reply.
    * *suspicion*: ten polls failed in a row.  Perhaps only some requests are sick, so the next
      slots go to requests that were answered last time.  Left by a good reply, or into:
    * *outage*: those failed too, or there are none: one probe a second.  Left by a good reply.
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
        "answered_sent_at",
        "last_error",
        "next_probe_at",
        "outage",
        "proven",
        "suspicion",
        "tried",
        "wary",
    )

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._idle_since: float | None = None
        self._excused_until = -math.inf
        self.answered_at = -math.inf
        """When the last answer came."""
        self.answered_sent_at = -math.inf
        """When the latest of the polls was sent that were answered."""
        self.reset()

    def reset(self) -> None:
        """Start over: the next wait begins with a single probe."""
        self.proven = False
        self.tried = False
        """Whether a poll was sent since."""
        self.wary = False
        """Whether a request was refused for the rate, and no witness was asked since."""
        self.outage = False
        self.suspicion: Suspicion | None = None
        self.next_probe_at = -math.inf
        self.last_error: Exception | None = None
        """The last failure since the last answer."""
        self._failing_since: float | None = None
        self._excused = 0.0
        self._streak = 0
        self._streak_id = ""
        self._streak_is_mixed = False

    @property
    def silent_since(self) -> float | None:
        """Since when there is no good reply to what is sent; `None` while there are some."""
        return self._failing_since

    @property
    def gives_up_at(self) -> float:
        """When patience is over, if no good reply comes first; infinity while some come."""
        if self._failing_since is None or self._idle_since is not None:
            return math.inf
        return self._failing_since + self._excused + self._patience

    def good(self, sent_at: float, now: float) -> float | None:
        """
        A good reply: the server answered about one request.

        Returns:
            If it ends an outage: when the last answer before the outage came.  What began to
            fail later failed for no fault of its own.
        """
        before = self.answered_at if self.outage else None
        self.proven = True
        self.outage = False
        self.suspicion = None
        self.last_error = None
        self.answered_at = now
        self.answered_sent_at = max(self.answered_sent_at, sent_at)
        self._failing_since = None
        self._excused = 0.0
        self._streak = 0
        return before

    def failed(self, now: float, tracked: Tracked, error: Exception, *, is_only_one: bool) -> None:
        """A poll failed; ten in a row are a suspicion."""
        self._begin_to_count(now)
        self.last_error = error
        if self._streak == 0:
            self._streak_id = tracked.request_id
            self._streak_is_mixed = False
        elif tracked.request_id != self._streak_id:
            self._streak_is_mixed = True
        self._streak += 1
        if self.suspicion is not None:
            self.suspicion.waiting.pop(tracked, None)
        elif (
            not self.outage
            and self._streak >= SUSPICIOUS_AFTER
            and (self._streak_is_mixed or is_only_one)
        ):
            self.suspicion = Suspicion(now)

    def begin_outage(self, now: float) -> None:
        """No witness answers, or there is none."""
        self.suspicion = None
        self.outage = True
        self.next_probe_at = max(self.next_probe_at, now + PROBE_INTERVAL)

    def probe_sent(self, now: float) -> None:
        """Note a probe, so that the next one keeps its distance."""
        self.next_probe_at = max(self.next_probe_at, now + PROBE_INTERVAL)

    def hold_probes(self, until: float) -> None:
        """The server said when to come back: no probe before."""
        self.next_probe_at = max(self.next_probe_at, until)

    def refused(self, now: float, error: Exception) -> None:
        """A refusal for the rate, or of the credentials: no good reply either."""
        self._begin_to_count(now)
        self.last_error = error

    def paused(self, now: float, until: float) -> None:
        """The server ordered a pause: it does not count against patience."""
        if self._idle_since is not None:
            self._excuse(self._idle_since, now)
            self._idle_since = now
        self._excuse(now, until)

    def woke(self, planned: float, now: float) -> None:
        """
        The dispatcher meant to act at *planned*.

        If it is late, this process was stopped, or something blocked its event loop: that was
        our own silence and not the server's.
        """
        if now - planned > OVERSLEPT and self._failing_since is not None:
            self._excuse(planned, now)

    def idle(self, now: float) -> None:
        """Nothing is tracked any more: this time does not count against patience."""
        if self._idle_since is None:
            self._idle_since = now

    def busy(self, now: float) -> None:
        """Something is tracked again."""
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
