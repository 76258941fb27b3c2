"""
What the limiters have in common that share one budget among processes.
"""

from __future__ import annotations

import asyncio
import math
import random
from typing import Final, NamedTuple

from onehouse_tracker.limiters._pace import LONGEST_SPREAD, Pace
from onehouse_tracker.limiters._protocol import RateLimiterStats
from onehouse_tracker.limiters._users import OpenedByUsers

__all__ = ["LATE", "SILENCE", "Refusal", "SharedLimiter", "horizon_of", "shifted"]

LATE: Final = 0.010
"""Seconds.  A slot that is used later than this would come too close to the next one, which
may be another process's: it is dropped.  The margin of 2 % leaves room for twice as much."""

SILENCE: Final = 1.0
"""Seconds without a request after which no limiter with windows of a second remembers us:
between two ways of sharing, and where the shared state was lost."""

_HORIZON: Final = 3600.0
"""Seconds ahead, at least, that a shared slot or the end of a shared pause may be."""

_QUEUE: Final = 1000
"""Slots ahead, at least, that may be booked."""


def horizon_of(limit: float, max_pause: float) -> float:
    """
    Seconds ahead of a slot or the end of a pause, at most, that one of us can have written.

    What is shared is read back from where others may write: whatever lies further ahead is not
    believed, because it would stop every process for good.
    """
    return max(_HORIZON, max_pause + LONGEST_SPREAD, _QUEUE / limit)


class Refusal(NamedTuple):
    """A reply 429 that the shared state does not know of yet."""

    sent_at: float
    """When the request was sent, on the running loop's clock."""

    retry_after: float | None
    """Seconds the server asked us to wait, `None` where it did not say."""

    spread: float
    """Seconds to add to what it asked for."""


class SharedLimiter(OpenedByUsers):
    """
    The bookkeeping of a limiter whose budget other processes spend too.

    `_pace` is our copy of the shared pace, on the running loop's clock.  It is renewed with
    each look at the shared state, and runs ahead of it by the refusals in `_news`.
    """

    kind = ""

    def __init__(
        self, limit: float, *, share: float, max_pause: float, seed: int | None = None
    ) -> None:
        super().__init__()
        self._pace = Pace(limit, share=share, max_pause=max_pause)
        self._max_pause = max_pause
        self._random = random.Random(seed)
        self._news: list[Refusal] = []
        self._good_sent_at: float | None = None
        self._forgiven = 0
        self._sleeper: asyncio.Future[bool] | None = None
        self._granted = 0
        self._dropped = 0
        self._waited = 0.0

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.limit:g} requests/s, {self._granted} granted>"

    @property
    def limit(self) -> float:
        """Requests per second that all who share may send at best, margin not deducted."""
        return self._pace.limit

    @property
    def paused_until(self) -> float:
        """Until when nothing may be sent, as loop time, as far as we know here."""
        return self._pace.paused_until

    def throttled(self, sent_at: float, retry_after: float | None) -> None:
        """
        Take note of a 429 for a request sent at *sent_at* (loop time).

        We pause at once.  The others learn of it with our next `acquire`, which follows at
        once: a request that was refused wants another slot.
        """
        now = asyncio.get_running_loop().time()
        spread = self._random.uniform(0.0, LONGEST_SPREAD)
        self._news.append(Refusal(sent_at, retry_after, spread))
        self._pace.throttled(now, sent_at, retry_after, spread=spread)
        if self._sleeper is not None:
            _resolve(self._sleeper, value=False)

    def answered(self, sent_at: float) -> None:
        """Take note that a request sent at *sent_at* was not refused for its rate."""
        if self._pace.answered(sent_at):
            self._good_sent_at = sent_at

    def forgive(self, refusals: int) -> None:
        """Take back what so many refusals added to the margin; the others learn of it later."""
        self._forgiven += refusals
        self._pace.forgive(asyncio.get_running_loop().time(), refusals)

    def stats(self) -> RateLimiterStats:
        """The budget now, as far as we know here."""
        now = asyncio.get_running_loop().time()
        return RateLimiterStats(
            kind=self.kind,
            rate=self._rate(now),
            granted=self._granted,
            waited=self._waited,
            refusals=self._pace.refusals,
            margin=self._pace.margin(now),
            paused_for=max(0.0, self._pace.paused_until - now),
            dropped=self._dropped,
            degraded=self._degraded,
        )

    @property
    def _degraded(self) -> bool:
        return False

    def _rate(self, now: float) -> float:
        return self._pace.rate(now)

    async def _sleep_until(self, when: float) -> bool:
        """Sleep until loop time *when*.  False if a refusal ended it early."""
        loop = asyncio.get_running_loop()
        if when <= loop.time():
            return True
        sleeper: asyncio.Future[bool] = loop.create_future()
        self._sleeper = sleeper
        timer = loop.call_at(when, _wake, sleeper)
        try:
            return await sleeper
        finally:
            self._sleeper = None
            timer.cancel()

    def _is_usable(self, slot: float) -> bool:
        """Whether a slot whose time has come (loop time) can be used; if not it is lost."""
        now = asyncio.get_running_loop().time()
        if self._pace.paused_until > now:
            return False
        if now - slot > LATE:
            self._dropped += 1
            return False
        return True

    def _grant(self, asked_at: float) -> None:
        self._granted += 1
        self._waited += asyncio.get_running_loop().time() - asked_at


def _wake(sleeper: asyncio.Future[bool]) -> None:
    _resolve(sleeper, value=True)


def _resolve(sleeper: asyncio.Future[bool], *, value: bool) -> None:
    if not sleeper.done():
        sleeper.set_result(value)


def shifted(moment: float, by: float) -> float:
    """*moment* on a clock that is *by* seconds ahead; "never" stays what it is."""
    return moment + by if math.isfinite(moment) else moment
