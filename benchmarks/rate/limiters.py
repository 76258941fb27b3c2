"""
What else one could use to stay within 10 requests a second, behind one interface.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from aiolimiter import AsyncLimiter

__all__ = ["PEERS", "Limiter", "make_peer"]


class Limiter(Protocol):
    """Lets a request go, and may learn from the reply."""

    async def acquire(self) -> None:
        """Wait until a request may be sent."""

    def replied(self, *, throttled: bool) -> None:
        """Take note of a reply."""


class _Deaf:
    """A limiter that learns nothing from replies."""

    def __init__(self, acquire: Callable[[], Any]) -> None:
        self._acquire = acquire

    async def acquire(self) -> None:
        await self._acquire()

    def replied(self, *, throttled: bool) -> None:
        pass


class Cubic:
    """
    Adaptive, in the way of botocore's retry mode of that name.

    Unlimited until the first refusal; then a token bucket whose rate falls to 70 % of what was
    measured, and grows with the third power of the time since then.
    """

    _BETA = 0.7
    _SCALE = 0.4
    _SMOOTH = 0.8

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._limited = False
        self._rate = 0.5
        self._tokens = 0.0
        self._filled_at = clock()
        self._measured = 0.0
        self._count = 0
        self._bin = clock()
        self._peak = 0.0
        self._throttled_at = clock()

    async def acquire(self) -> None:
        while self._limited:
            self._fill()
            if self._tokens >= 1:
                self._tokens -= 1
                return
            await asyncio.sleep((1 - self._tokens) / self._rate)

    def replied(self, *, throttled: bool) -> None:
        now = self._clock()
        self._count += 1
        if now - self._bin >= 0.5:
            rate = self._count / (now - self._bin)
            self._measured = rate * self._SMOOTH + self._measured * (1 - self._SMOOTH)
            self._count, self._bin = 0, now
        if throttled:
            base = min(self._measured, self._rate) if self._limited else self._measured
            self._limited, self._peak, self._throttled_at = True, base, now
            rate = base * self._BETA
        else:
            wait = (self._peak * (1 - self._BETA) / self._SCALE) ** (1 / 3)
            rate = self._SCALE * (now - self._throttled_at - wait) ** 3 + self._peak
        self._fill()
        self._rate = max(0.5, min(rate, 2 * self._measured))
        self._tokens = min(self._tokens, max(1.0, self._rate))

    def _fill(self) -> None:
        now = self._clock()
        filled = self._tokens + (now - self._filled_at) * self._rate
        self._tokens = min(max(1.0, self._rate), filled)
        self._filled_at = now


def _pyrate() -> Limiter:
    import pyrate_limiter  # noqa: PLC0415 - only where it is installed

    limiter = pyrate_limiter.Limiter(pyrate_limiter.Rate(10, pyrate_limiter.Duration.SECOND))
    return _Deaf(lambda: limiter.try_acquire_async("onehouse"))


def _throttled(redis_url: str | None, key: str) -> Limiter:
    from throttled import RateLimiterType  # noqa: PLC0415
    from throttled import asyncio as throttled  # noqa: PLC0415

    limiter = throttled.Throttled(
        key=key,
        using=RateLimiterType.TOKEN_BUCKET.value,
        quota=throttled.per_sec(10, burst=10),
        store=throttled.RedisStore(server=redis_url) if redis_url else throttled.MemoryStore(),
        timeout=30,
    )
    return _Deaf(limiter.limit)


PEERS = {
    "asynclimiter_10_1": "AsyncLimiter(10, 1)",
    "asynclimiter_1_0.1": "AsyncLimiter(1, 0.1)",
    "cubic": "adaptive, as botocore (CUBIC)",
    "pyrate": "pyrate-limiter",
    "throttled": "throttled-py",
}


def make_peer(kind: str, *, redis_url: str | None, key: str) -> Limiter:
    """Make the limiter called *kind*, on the running loop."""
    match kind:
        case "asynclimiter_10_1":
            return _Deaf(AsyncLimiter(10, 1).acquire)
        case "asynclimiter_1_0.1":
            return _Deaf(AsyncLimiter(1, 0.1).acquire)
        case "cubic":
            return Cubic(asyncio.get_running_loop().time)
        case "pyrate":
            return _pyrate()
        case "throttled":
            return _throttled(None, key)
        case "throttled_redis":
            return _throttled(redis_url, key)
        case _:
            raise ValueError(kind)
