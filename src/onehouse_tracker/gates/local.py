"""
The budget of one project, spent by one process alone.
"""

from __future__ import annotations

import asyncio
import warnings
from typing import Final

from aiolimiter import AsyncLimiter

from onehouse_tracker._pace import Pace
from onehouse_tracker.errors import ConfigError
from onehouse_tracker.gates._protocol import GateStats

__all__ = ["LocalGate"]

_open_projects: Final[set[str]] = set()


class LocalGate:
    """
    Evenly paced slots for one process.

    One slot each 102 ms at the default limit: a burst of one, and at most `catch_up`
    seconds made up for after a late wake-up.  ``AsyncLimiter(10, 1)`` would let 19
    requests into its first second, and the server would refuse half of them.

    Args:
        limit: Requests per second of the whole project [vendor documentation: 10].

        share: Our part of it, more than 0 and at most 1.

        max_pause: Seconds a ``Retry-After`` can make us pause, at most.

        catch_up: Seconds by which a slot may follow its predecessor too closely after a
            late wake-up.

        project: A key that tells projects apart.  A second open gate with the same key in
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
        catch_up: float = 0.005,
        project: str | None = None,
    ) -> None:
        if not 0 <= catch_up < 1 / limit:
            raise ConfigError(
                f"catch_up is 0 or more and less than the {1 / limit:g} s between two slots,"
                f" not {catch_up!r}"
            )
        self._pace = Pace(limit, share=share, max_pause=max_pause)
        self._catch_up = catch_up
        self._project = project
        self._limiter: AsyncLimiter | None = None
        self._rate = 0.0
        self._granted = 0
        self._waited = 0.0

    def __repr__(self) -> str:
        return f"<LocalGate: {self._pace.limit:g} requests/s, {self._granted} granted>"

    @property
    def limit(self) -> float:
        """Requests per second that this gate may hand out at best, margin not deducted."""
        return self._pace.limit

    @property
    def paused_until(self) -> float:
        """Until when nothing may be sent, as loop time."""
        return self._pace.paused_until

    async def start(self) -> None:
        """Make ready on the running loop: a limiter belongs to one loop."""
        self._set_rate(self._pace.rate(asyncio.get_running_loop().time()))
        if self._project is not None:
            if self._project in _open_projects:
                warnings.warn(
                    "two local gates are open for one Onehouse project in this process:"
                    " together they send twice its budget; share one tracker or one gate",
                    stacklevel=3,
                )
            _open_projects.add(self._project)

    async def acquire(self) -> None:
        """Wait for the next slot.  Cancelling gives up the place and costs at most one slot."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        while True:
            # The pause may grow while we sleep, so there is no one event to wait for.
            while (pause := self._pace.paused_until - loop.time()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(pause)
            await self._take_token(loop.time())
            if self._pace.paused_until <= loop.time():
                break
        self._granted += 1
        self._waited += loop.time() - asked_at

    def throttled(self, sent_at: float, retry_after: float | None) -> None:
        """Take note of a 429 for a request sent at *sent_at* (loop time)."""
        self._pace.throttled(asyncio.get_running_loop().time(), sent_at, retry_after)

    def answered(self, sent_at: float) -> None:
        """Take note that a request sent at *sent_at* was not refused for its rate."""
        self._pace.answered(sent_at)

    def stats(self) -> GateStats:
        """The budget now."""
        now = asyncio.get_running_loop().time()
        return GateStats(
            kind="local",
            rate=self._pace.rate(now),
            granted=self._granted,
            waited=self._waited,
            refusals=self._pace.refusals,
            margin=self._pace.margin(now),
            paused_for=max(0.0, self._pace.paused_until - now),
        )

    async def aclose(self) -> None:
        """Let go of the loop.  The learned margin stays for the next `start`."""
        self._limiter = None
        if self._project is not None:
            _open_projects.discard(self._project)

    async def _take_token(self, now: float) -> None:
        if self._limiter is None:
            raise RuntimeError("the gate was not started")
        rate = self._pace.rate(now)
        await self._limiter.acquire()
        if abs(rate - self._rate) > 0.001 * self._rate:
            # A limiter cannot change its rate.  The slot just granted becomes the first
            # token of its successor, so none comes earlier than the old rate allowed.
            limiter = self._set_rate(rate)
            await limiter.acquire()

    def _set_rate(self, rate: float) -> AsyncLimiter:
        interval = 1.0 / rate
        burst = 1.0 + self._catch_up / interval
        self._rate = rate
        self._limiter = AsyncLimiter(burst, burst * interval)
        return self._limiter
