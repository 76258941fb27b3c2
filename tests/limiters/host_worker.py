"""
Spends the budget of a file, as a process of its own: prints the time of each slot it gets.
"""

from __future__ import annotations

import asyncio
import sys
import time

from onehouse_tracker.limiters import HostLimiter


async def main(path: str, limit: float) -> None:
    """Take slots until killed or until stdin ends."""
    limiter = HostLimiter(limit, path=path)
    await limiter.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    while True:
        await limiter.acquire()
        print(repr(time.monotonic()), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
