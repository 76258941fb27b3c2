"""
One limiter that several trackers of a process use: it is open as long as one of them is.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from onehouse_tracker import ConfigError, Tracker
from onehouse_tracker.limiters import HostLimiter, LocalLimiter, RateLimiter, RedisLimiter
from onehouse_tracker.testing import ScriptedSource
from tests.support import PENDING, SUCCESS

MakeLimiter: TypeAlias = Callable[[float], RateLimiter]


@pytest.fixture(params=["local", "host", "redis"])
def make_limiter(request: pytest.FixtureRequest, tmp_path: Path) -> MakeLimiter:
    """
    Makes a limiter of each kind, for so many requests a second.
    """
    kind: str = request.param
    url = request.getfixturevalue("redis_server").url if kind == "redis" else ""

    def make(limit: float) -> RateLimiter:
        if kind == "local":
            return LocalLimiter(limit, project="p")
        if kind == "host":
            return HostLimiter(limit, path=tmp_path / "budget")
        return RedisLimiter(url, project="p", limit=limit)

    return make


def in_real_time(scenario: Coroutine[Any, Any, None]) -> None:
    """Run *scenario* on a loop of the standard library: files and sockets take real time."""
    asyncio.run(scenario)


@pytest.mark.parametrize("first_to_leave", [0, 1])
def test_tracker_that_closes_leaves_the_limiter_to_the_other(
    make_limiter: MakeLimiter, first_to_leave: int
) -> None:
    """
    Two trackers of one project should share a limiter; a service closes one and keeps the other.
    """

    async def scenario() -> None:
        limiter = make_limiter(200.0)
        sources = [ScriptedSource({"r": [PENDING, SUCCESS]}) for _ in range(2)]
        trackers = [Tracker(source, limiter=limiter) for source in sources]
        for tracker in trackers:
            await tracker.__aenter__()
        await asyncio.gather(*(tracker.wait_all(["r"]) for tracker in trackers))
        stays = trackers[1 - first_to_leave]
        waiting = asyncio.ensure_future(stays.wait_all(["r"]))
        await trackers[first_to_leave].__aexit__(None, None, None)
        assert (await waiting).ok
        assert (await stays.wait_all(["r"])).ok
        await stays.__aexit__(None, None, None)
        with pytest.raises(RuntimeError, match="not started"):
            await limiter.acquire()

    in_real_time(scenario())


def test_users_wait_in_turn_and_stay_within_one_budget(make_limiter: MakeLimiter) -> None:
    """
    However many wait, slots keep their distance, nobody is passed over, and who gives up costs
    one slot at most.
    """

    async def scenario() -> None:
        limiter = make_limiter(50.0)
        slots: list[tuple[float, int]] = []

        async def use(user: int, slots_wanted: int) -> None:
            await limiter.start()
            try:
                for _ in range(slots_wanted):
                    await limiter.acquire()
                    slots.append((time.monotonic(), user))
            finally:
                await limiter.aclose()

        await limiter.start()
        tasks = [asyncio.ensure_future(use(user, 8)) for user in range(3)]
        await asyncio.sleep(0.1)
        tasks[1].cancel()
        await asyncio.gather(tasks[0], tasks[2])
        await limiter.acquire()
        await limiter.aclose()

        times = [at for at, _ in slots]
        assert min(b - a for a, b in pairwise(times)) > 0.008  # 20 ms, less what a busy host adds
        assert (len(times) - 1) / (times[-1] - times[0]) <= 50.0
        users = [user for _, user in slots if user != 1]
        assert max(users[:8].count(user) for user in (0, 2)) <= 5

    in_real_time(scenario())


def test_an_opening_that_fails_counts_nobody(tmp_path: Path) -> None:
    """
    The next user tries again, and closing is still the last one's business.
    """

    async def scenario() -> None:
        path = tmp_path / "directory" / "budget"
        path.parent.touch()
        limiter = HostLimiter(path=path)
        for result in await asyncio.gather(
            limiter.start(), limiter.start(), return_exceptions=True
        ):
            assert isinstance(result, ConfigError)
        path.parent.unlink()
        await asyncio.gather(limiter.start(), limiter.start())
        await limiter.aclose()
        await limiter.acquire()
        await limiter.aclose()
        await limiter.aclose()

    in_real_time(scenario())


def test_limiter_that_is_in_use_on_another_loop_is_refused(make_limiter: MakeLimiter) -> None:
    """
    Its futures and its timers belong to one loop; two threads would tear it apart.
    """
    limiter = make_limiter(100.0)
    release, is_open = threading.Event(), threading.Event()

    async def elsewhere() -> None:
        await limiter.start()
        is_open.set()
        await asyncio.to_thread(release.wait, 5)
        await limiter.acquire()
        await limiter.aclose()

    thread = threading.Thread(target=asyncio.run, args=(elsewhere(),))
    thread.start()
    try:
        assert is_open.wait(5)
        with pytest.raises(ConfigError, match="another event loop"):
            in_real_time(limiter.start())
    finally:
        release.set()
        thread.join()

    async def afterwards() -> None:
        await limiter.start()
        await limiter.acquire()
        await limiter.aclose()

    in_real_time(afterwards())


@pytest.mark.parametrize("make_limiter", ["local", "host"], indirect=True)  # a lost socket warns
def test_users_of_a_loop_that_is_gone_count_no_more(make_limiter: MakeLimiter) -> None:
    """
    A script whose loop was torn down without closing opens the same limiter on its next loop.
    """
    limiter = make_limiter(100.0)

    async def lost() -> None:
        await limiter.start()
        await limiter.start()

    async def next_one() -> None:
        await limiter.start()
        await limiter.acquire()
        await limiter.aclose()
        with pytest.raises(RuntimeError, match="not started"):
            await limiter.acquire()

    in_real_time(lost())
    in_real_time(next_one())
