"""
The budget of one project, spent by one process alone.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import warnings
from typing import Final
from weakref import WeakSet

from aiolimiter import AsyncLimiter

from onehouse_tracker._util.numbers import is_number
from onehouse_tracker.errors import ConfigError
from onehouse_tracker.limiters._pace import LONGEST_SPREAD, Pace
from onehouse_tracker.limiters._protocol import RateLimiterStats
from onehouse_tracker.limiters._users import OpenedByUsers

__all__ = ["LocalLimiter"]

_LONGEST_CATCH_UP = 0.02
"""Seconds.  The margin of 2 % keeps 20 ms of each second free, at any limit: with more catch-up
an eleventh request would fit into a second of ten."""


class LocalLimiter(OpenedByUsers):
    """
    Evenly paced slots for one process.

    One slot each 102 ms at the default limit: no burst after idle times, and at most
    `catch_up` seconds made up for after a late wake-up.  ``AsyncLimiter(10, 1)`` would let 19
    requests into its first second, and the server would refuse half of them.

    Args:
        limit: Requests per second of the whole project [vendor documentation: 10].

        share: Our part of it, more than 0 and at most 1.

        max_pause: Seconds a ``Retry-After`` can make us pause, at most.

        catch_up: Seconds by which a slot may follow its predecessor too closely after a
            late wake-up, from 0 to 0.02.

        project: A key that tells projects apart.  A second open limiter with the same key in
            this process warns, because together they would spend twice the budget.

    Raises:
        ConfigError: A value is out of its bounds.
    """

    def __init__(
        self,
        limit: float = 10.0,
        *,
        share: float = 1.0,
        max_pause: float = 120.0,
        catch_up: float = 0.002,
        project: str | None = None,
    ) -> None:
        super().__init__()
        self._pace = Pace(limit, share=share, max_pause=max_pause)
        if not (is_number(catch_up) and catch_up <= _LONGEST_CATCH_UP):
            raise ConfigError(f"catch_up is 0 to {_LONGEST_CATCH_UP:g} seconds, not {catch_up!r}")
        self._catch_up = catch_up
        self._is_shared = share < 1
        self._project = project
        self._limiter: AsyncLimiter | None = None
        self._rate = 0.0
        self._granted = 0
        self._waited = 0.0

    def __repr__(self) -> str:
        return f"<LocalLimiter: {self._pace.limit:g} requests/s, {self._granted} granted>"

    @property
    def limit(self) -> float:
        """Requests per second that this limiter may hand out at best, margin not deducted."""
        return self._pace.limit

    @property
    def paused_until(self) -> float:
        """Until when nothing may be sent, as loop time."""
        return self._pace.paused_until

    async def _open(self) -> None:
        """Make ready on the running loop: a limiter belongs to one loop."""
        if self._project is not None and _open_twice(self, self._project):
            warnings.warn(
                "two local limiters are open for one Onehouse project in this process:"
                " together they send twice its budget; share one tracker or one limiter",
                stacklevel=4,
            )
        self._set_rate(self._pace.rate(asyncio.get_running_loop().time()))
        with _registry:
            _open_limiters.add(self)

    async def _next_slot(self) -> None:
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        while True:
            # The pause may grow while we sleep, so there is no one event to wait for.
            while (pause := self._pace.paused_until - loop.time()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(pause)
            await self._take_token()
            now = loop.time()
            if self._pace.paused_until <= now:
                break
        self._granted += 1
        self._waited += now - asked_at

    def throttled(self, sent_at: float, retry_after: float | None) -> None:
        """
        Take note of a 429 for a request sent at *sent_at* (loop time).

        Who has only a share of the budget adds up to 0.1 s to a pause that the server ordered:
        the others were told the same.
        """
        now = asyncio.get_running_loop().time()
        spread = random.uniform(0.0, LONGEST_SPREAD) if self._is_shared else 0.0
        self._pace.throttled(now, sent_at, retry_after, spread=spread)

    def answered(self, sent_at: float) -> None:
        """Take note that a request sent at *sent_at* was not refused for its rate."""
        self._pace.answered(sent_at)

    def forgive(self, refusals: int) -> None:
        """Take back what so many refusals added to the margin: they were not for the rate."""
        self._pace.forgive(asyncio.get_running_loop().time(), refusals)

    def stats(self) -> RateLimiterStats:
        """The budget now."""
        now = asyncio.get_running_loop().time()
        return RateLimiterStats(
            kind="local",
            rate=self._pace.rate(now),
            granted=self._granted,
            waited=self._waited,
            refusals=self._pace.refusals,
            margin=self._pace.margin(now),
            paused_for=max(0.0, self._pace.paused_until - now),
        )

    async def _close(self) -> None:
        self._limiter = None
        with _registry:
            _open_limiters.discard(self)

    async def _take_token(self) -> None:
        limiter = self._limiter
        if limiter is None:
            raise RuntimeError("the limiter was not started")
        # Who asks late was idle, not woken late: there is nothing to catch up on, so the
        # slot takes the whole bucket, and the next one comes a full interval later.
        was_idle = limiter.has_capacity(limiter.max_rate)
        await limiter.acquire(limiter.max_rate if was_idle else 1)
        # Looked at after the wait: a refusal that arrived meanwhile counts at once.
        rate = self._pace.rate(asyncio.get_running_loop().time())
        if abs(rate - self._rate) > 0.001 * self._rate:
            # A limiter cannot change its rate.  The slot just granted becomes the first
            # of its successor, and again the whole bucket: a change gives nothing away.
            limiter = self._set_rate(rate)
            await limiter.acquire(limiter.max_rate)

    def _set_rate(self, rate: float) -> AsyncLimiter:
        interval = 1.0 / rate
        burst = 1.0 + self._catch_up / interval
        self._rate = rate
        self._limiter = AsyncLimiter(burst, burst * interval)
        return self._limiter


# A lock, because private loops in other threads open limiters too.  Weak, so that a limiter that
# was lost with its loop does not warn forever.
_registry = threading.Lock()
_open_limiters: Final[WeakSet[LocalLimiter]] = WeakSet()


def _open_twice(limiter: LocalLimiter, project: str) -> bool:
    with _registry:
        return any(
            other._project == project  # noqa: SLF001 - another one of us
            for other in _open_limiters
            if other is not limiter
        )


def _forked() -> None:
    global _registry  # noqa: PLW0603 - a thread that is gone in the child may have held it
    _registry = threading.Lock()
    _open_limiters.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
