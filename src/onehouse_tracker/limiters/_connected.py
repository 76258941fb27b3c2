"""
A limiter that hands out a slot only when there is a connection for the request to leave on.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable

from onehouse_tracker.limiters._protocol import RateLimiter, RateLimiterStats

__all__ = ["ConnectedLimiter"]

_IDLE = 10.0
"""Seconds without a slot after which the connections may be gone; the client keeps them for 15."""

_PATIENCE = 1.0
"""Seconds that are spent on this; whether the server is there, the polls will tell."""


class ConnectedLimiter:
    """
    Another limiter, asked for a slot after the handshake and not before it.

    A first request that shakes hands after it had its slot reaches the server late, and the
    eleventh, on a connection that stands, less than a second later: it would be refused.

    Args:
        limiter: The limiter.

        hold: Keeps a connection for us until what it returns is called, such as
            `OnehouseClient.hold`.
    """

    def __init__(
        self, limiter: RateLimiter, hold: Callable[[], Awaitable[Callable[[], None]]]
    ) -> None:
        self._limiter = limiter
        self._hold = hold
        self._used_at = -math.inf

    @property
    def limit(self) -> float:
        """As of the limiter."""
        return self._limiter.limit

    @property
    def paused_until(self) -> float:
        """As of the limiter."""
        return self._limiter.paused_until

    async def start(self) -> None:
        """Start the limiter."""
        await self._limiter.start()

    async def acquire(self) -> None:
        """Have a connection, then wait for the next slot.  Cancelling gives up the place."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._used_at > _IDLE:
            await self._acquire_connected()
        else:
            await self._limiter.acquire()
        self._used_at = loop.time()

    async def _acquire_connected(self) -> None:
        with contextlib.ExitStack() as held:  # until the slot is granted, and its poll takes it
            # Whatever is wrong with it, a poll says so better, and is tried again.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_PATIENCE):
                    held.callback(await self._hold())
            await self._limiter.acquire()

    def throttled(self, sent_at: float, retry_after: float | None) -> None:
        """Tell the limiter."""
        self._limiter.throttled(sent_at, retry_after)

    def answered(self, sent_at: float) -> None:
        """Tell the limiter."""
        self._limiter.answered(sent_at)

    def forgive(self, refusals: int) -> None:
        """Tell the limiter."""
        self._limiter.forgive(refusals)

    def stats(self) -> RateLimiterStats:
        """As of the limiter."""
        return self._limiter.stats()

    async def aclose(self) -> None:
        """Close the limiter."""
        await self._limiter.aclose()
