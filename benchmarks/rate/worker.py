"""
A process that spends budgets: members of one or more cases, each as if it were alone.

It reads its members as JSON from the first line of stdin, prints ``ready``, starts at the time
in the next line, and prints what its members know.  With a skew, all its clocks but the one
that the processes of one machine share by nature are wrong by so many seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
import time
import warnings
from contextlib import AsyncExitStack
from typing import Any

from benchmarks.rate.lateness import Lateness
from benchmarks.rate.limiters import make_peer
from onehouse_tracker import Credentials, OnehouseClient, PollPolicy, Tracker
from onehouse_tracker.errors import StatusError, ThrottledError
from onehouse_tracker.limiters import HostLimiter, LocalLimiter, RateLimiter, RedisLimiter

_REQUESTS = 40  # followed by each member of ours: more than ten a second can ask about
_CONCURRENT = 20  # requests of a peer on the wire at once


class Member:
    """One who takes part in one case."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.name: str = settings["name"]
        self._settings = settings
        self._client = OnehouseClient(
            Credentials(
                base_url=settings["url"],
                user_uid=self.name,
                project_uid="benchmark",
                account_uid="a",
                link_uid="l",
                region="r",
                api_key="k",
                api_secret="s",
            )
        )
        self.report: dict[str, Any] = {"name": self.name}

    async def run(self, begin: float, end: float) -> None:
        """Spend from *begin* to *end*, in seconds on this loop's clock."""
        begin += self._settings["delay"]
        async with self._client:
            if self._settings["kind"].startswith("ours"):
                await self._track(begin, end)
            else:
                await asyncio.sleep(begin - asyncio.get_running_loop().time())
                await self._send(end)

    async def _track(self, begin: float, end: float) -> None:
        limiter = self._limiter()
        policy = PollPolicy(gap_max=2.0)
        loop = asyncio.get_running_loop()
        count = self._settings.get("requests", _REQUESTS)
        ids = [f"{self.name}-{number}" for number in range(count)]
        async with Tracker(self._client, limiter=limiter, policy=policy) as tracker:
            await asyncio.sleep(begin - loop.time())
            results = await tracker.wait_all(ids, timeout=end - loop.time())
            stats = tracker.stats()
        self.report |= {
            "succeeded": len(results.succeeded),
            "requests": count,
            "margin": stats.limiter.margin,
            "granted": stats.limiter.granted,
            "dropped": stats.limiter.dropped,
            "refusals": stats.limiter.refusals,
        }

    def _limiter(self) -> RateLimiter:
        settings = self._settings
        share = float(settings.get("share", 1.0))
        match settings["kind"]:
            case "ours_local":
                return LocalLimiter(share=share)
            case "ours_host":
                return HostLimiter(path=settings["path"])
            case "ours_redis":
                return RedisLimiter(
                    settings["redis"], project=settings["key"], processes=settings["processes"]
                )
            case kind:
                raise ValueError(kind)

    async def _send(self, end: float) -> None:
        limiter = make_peer(
            self._settings["kind"],
            redis_url=self._settings.get("redis"),
            key=self._settings.get("key", self.name),
        )
        room = asyncio.Semaphore(_CONCURRENT)
        clock = asyncio.get_running_loop().time

        async def poll(number: int) -> None:
            try:
                await self._client.fetch(f"r-{number}")
                limiter.replied(throttled=False)
            except ThrottledError:
                limiter.replied(throttled=True)
            except StatusError as error:
                self.report["error"] = str(error)
            finally:
                room.release()

        number = 0
        async with asyncio.TaskGroup() as polls:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(end):
                    while clock() < end:
                        await room.acquire()
                        await limiter.acquire()
                        polls.create_task(poll(number))
                        number += 1


class _SkewedLoop(asyncio.SelectorEventLoop):
    """A loop whose clock is wrong, and with it everything that asks it."""

    skew = 0.0

    def time(self) -> float:
        return super().time() + self.skew


def _freeze() -> None:
    gc.collect()
    gc.freeze()


async def main(settings: dict[str, Any]) -> None:
    """Run all members."""
    members = [Member(member) for member in settings["members"]]
    lateness = Lateness()
    print("ready", flush=True)
    begin = float(await asyncio.to_thread(sys.stdin.readline)) + settings["skew"]
    watch = asyncio.ensure_future(lateness.watch())
    end = begin + settings["seconds"]
    # One process plays many: collecting all their garbage would stop each of them for longer
    # than a limiter forgives.
    asyncio.get_running_loop().call_at(begin - 0.5, _freeze)
    async with AsyncExitStack(), asyncio.TaskGroup() as tasks:
        for member in members:
            tasks.create_task(member.run(begin, end), name=member.name)
    watch.cancel()
    skew = settings["skew"]
    report = {
        "late_p99": lateness.at(0.99),
        "stalls": [(since - skew, until - skew) for since, until in lateness.stalls],
        "members": [member.report for member in members],
    }
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of peers
    start = json.loads(sys.stdin.readline())
    sys.path += start["packages"]
    skew = float(start["skew"])
    if skew:
        _SkewedLoop.skew = skew
        wall = time.time
        time.time = lambda: wall() + skew
    with asyncio.Runner(loop_factory=_SkewedLoop) as runner:
        runner.run(main(start))
