"""
What a slot costs where nobody has to wait for it.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.rate import enforcers
from onehouse_tracker.limiters import HostLimiter, LocalLimiter, RateLimiter, RedisLimiter

__all__ = ["measure"]

_ROUNDS = 40
_LIMIT = 200.0  # so that a slot is free again soon


async def measure(directory: Path, programs: Mapping[str, str]) -> dict[str, float]:
    """Milliseconds from asking to having a free slot, the median, for each limiter."""
    found = {
        "local": await _measure(LocalLimiter(_LIMIT)),
        "host": await _measure(HostLimiter(_LIMIT, path=directory / "overhead.budget")),
    }
    if "redis-server" in programs:
        port = enforcers.free_port()
        with enforcers.redis_server(programs["redis-server"], directory / "overhead", port):
            limiter = RedisLimiter(f"redis://127.0.0.1:{port}", project="overhead", limit=_LIMIT)
            found["redis"] = await _measure(limiter)
    return found


async def _measure(limiter: RateLimiter) -> float:
    times = []
    await limiter.start()
    for _ in range(_ROUNDS):
        await asyncio.sleep(2 / _LIMIT)
        begin = time.perf_counter()
        await limiter.acquire()
        times.append(time.perf_counter() - begin)
    await limiter.aclose()
    return round(1000 * statistics.median(times), 3)
