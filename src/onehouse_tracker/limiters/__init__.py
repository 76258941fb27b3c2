"""
Limiters hand out the slots of a project's budget: one slot, one HTTP request.

The engine's dispatcher is a limiter's only waiter.
"""

from __future__ import annotations

from onehouse_tracker.limiters._choose import check_limiter, limiter_from
from onehouse_tracker.limiters._protocol import RateLimiter, RateLimiterStats
from onehouse_tracker.limiters.host import HostLimiter
from onehouse_tracker.limiters.local import LocalLimiter
from onehouse_tracker.limiters.redis import RedisLimiter

__all__ = [
    "HostLimiter",
    "LocalLimiter",
    "RateLimiter",
    "RateLimiterStats",
    "RedisLimiter",
    "check_limiter",
    "limiter_from",
]
