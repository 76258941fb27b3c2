"""
Limiters hand out the slots of a project's budget: one slot, one HTTP request.

The engine's dispatcher is a limiter's only waiter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onehouse_tracker.limiters._choose import check_limiter, limiter_from
from onehouse_tracker.limiters._protocol import RateLimiter, RateLimiterStats
from onehouse_tracker.limiters.local import LocalLimiter

__all__ = [
    "HostLimiter",
    "LocalLimiter",
    "RateLimiter",
    "RateLimiterStats",
    "RedisLimiter",
    "check_limiter",
    "limiter_from",
]

if TYPE_CHECKING:
    from onehouse_tracker.limiters.host import HostLimiter
    from onehouse_tracker.limiters.redis import RedisLimiter
else:
    # Loaded on first use: most programs need neither.
    _MODULE_OF = {"HostLimiter": "host", "RedisLimiter": "redis"}

    def __getattr__(name: str) -> object:
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 - loaded on first use

        value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value
