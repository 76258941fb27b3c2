"""
A Redis that is far away, slow or part of a cluster, and a loop of our own that is busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from onehouse_tracker.errors import ConfigError
from onehouse_tracker.limiters import RedisLimiter
from onehouse_tracker.limiters._redis_bookings import Bookings
from onehouse_tracker.limiters._redis_clock import RedisClock
from onehouse_tracker.limiters._redis_distance import Distance
from onehouse_tracker.limiters._redis_script import HORIZON, MOST_AHEAD
from tests.limiters.delay_proxy import DelayProxy
from tests.limiters.redis_server import SERVER, RedisServer

RATE = 50 * 0.98
"""Slots a second, with the smallest margin."""


@contextlib.asynccontextmanager
async def far_limiters(
    server: RedisServer, round_trip: float, count: int = 1, **settings: Any
) -> AsyncIterator[tuple[list[RedisLimiter], DelayProxy]]:
    """Started limiters of one project, so far from *server*."""
    settings.setdefault("limit", 50.0)
    async with (
        DelayProxy(server.port, round_trip / 2) as proxy,
        contextlib.AsyncExitStack() as stack,
    ):
        limiters = [RedisLimiter(proxy.url, project="p", **settings) for _ in range(count)]
        for limiter in limiters:
            stack.push_async_callback(limiter.aclose)
        await asyncio.gather(*(limiter.start() for limiter in limiters))
        yield limiters, proxy


async def spend(limiters: list[RedisLimiter], slots: int) -> list[tuple[float, int]]:
    """All *limiters* take what they can get, together so many: when, and which."""
    grants: list[tuple[float, int]] = []

    async def take(number: int, limiter: RedisLimiter) -> None:
        while len(grants) < slots:
            await limiter.acquire()
            grants.append((time.monotonic(), number))

    tasks = [
        asyncio.ensure_future(take(number, limiter)) for number, limiter in enumerate(limiters)
    ]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return sorted(grants)


@pytest.mark.parametrize(("round_trip", "count"), [(0.1, 3), (0.25, 1), (0.25, 8)])
async def test_whole_rate_can_be_had_at_a_distance(
    redis_server: RedisServer, round_trip: float, count: int
) -> None:
    """
    Slots are booked while others are still in hand: a call for each would be too slow.
    """
    async with far_limiters(redis_server, round_trip, count) as (limiters, _):
        grants = await spend(limiters, 40)
        assert not any(limiter.stats().degraded for limiter in limiters)
    grants = grants[-25:]  # by then all know of each other

    took = grants[-1][0] - grants[0][0]
    # A busy machine uses a few too late; a call for each slot would give a quarter of them.
    assert (len(grants) - 1) / took >= 0.6 * RATE
    assert min(b - a for (a, _), (b, _) in pairwise(grants)) >= 1 / RATE - 0.012
    assert len({number for _, number in grants}) >= min(count, 2)


async def test_what_cannot_be_had_is_said(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Beyond that a part is lost, and whoever wonders finds out why.
    """
    caplog.set_level(logging.WARNING, "onehouse_tracker")
    async with far_limiters(redis_server, 0.6, limit=30.0) as ((limiter,), proxy):
        await spend([limiter], 3)
        stats = limiter.stats()
        assert not stats.degraded
        assert 0.2 * 29.4 < stats.rate < 0.8 * 29.4
        assert caplog.text.count("Redis is far away (an answer takes 0.") == 1
        await spend([limiter], 20)

        proxy.delay = 0.0
        async with asyncio.timeout(10):  # a busy machine needs a few more to believe it
            while limiter.stats().rate != pytest.approx(29.4):
                await spend([limiter], 10)
        assert len(caplog.records) == 1


async def test_redis_that_is_too_far_is_away(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Where no slot can be booked in time everybody has a share of its own, and that is said too.
    """
    caplog.set_level(logging.WARNING, "onehouse_tracker")
    async with far_limiters(redis_server, 1.0, socket_timeout=5.0) as ((limiter,), _):
        assert limiter.stats().degraded

    assert "Redis is away (an answer takes 1.0" in caplog.text


@pytest.mark.parametrize(("round_trip", "pause"), [(0.0, 0.0), (0.1, 0.02)])
async def test_loop_that_is_blocked_takes_no_redis_for_away(
    redis_server: RedisServer, round_trip: float, pause: float, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A plain function that computes for half a second is common; time that we did not wait is no
    time that Redis did not answer.
    """
    async with far_limiters(redis_server, round_trip) as ((limiter,), _):
        await spend([limiter], 3)
        await asyncio.sleep(0.4)  # nothing that was booked is usable any more
        waiting = asyncio.ensure_future(limiter.acquire())
        await asyncio.sleep(pause)
        time.sleep(0.6)  # noqa: ASYNC251 - that is the point
        await waiting
        grants = await spend([limiter], 8)

    assert not caplog.text
    assert (grants[-1][0] - grants[0][0]) / 7 <= 2 / RATE


@pytest.mark.parametrize("round_trip", [0.0, 0.1])
async def test_connection_that_was_lost_while_idle_is_made_anew(
    redis_server: RedisServer,
    round_trip: float,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Servers and firewalls close what nobody uses; that is no reason to do without Redis, even if
    an answer was on its way.
    """
    monkeypatch.setattr("onehouse_tracker.limiters._redis_line._IDLE", 0.05)
    async with far_limiters(redis_server, round_trip) as ((limiter,), proxy):
        await spend([limiter], 4)
        proxy.cut()
        await asyncio.sleep(0.3)  # nothing that was booked is usable any more
        await limiter.acquire()
        assert proxy.connections == 2

    assert not caplog.text


async def test_redis_that_hangs_is_noticed_as_soon_as_it_is_near(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Four times what it took lately is enough, whatever the longest time is that was allowed.
    """
    async with far_limiters(redis_server, 0.01, socket_timeout=30.0) as ((limiter,), proxy):
        await limiter.acquire()
        proxy.delay = 60.0
        began = time.monotonic()
        waiting = asyncio.ensure_future(spend([limiter], 1_000))
        while not limiter.stats().degraded:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        assert time.monotonic() - began < 2
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


# --- A cluster ---------------------------------------------------------------------------


async def test_node_of_a_cluster_that_has_not_our_keys_is_refused(tmp_path: Path) -> None:
    """
    Without a word everybody would have a share of its own for ever.
    """
    if SERVER is None:
        pytest.skip("no redis-server here, and none in a wheel: apt-get install redis-server")
    server = RedisServer(tmp_path)
    while server.port > 55_000:  # nodes talk to each other on a port that is 10,000 higher
        server = RedisServer(tmp_path)
    try:
        server.start("--cluster-enabled", "yes")
        limiter = RedisLimiter(server.url, project="p")
        with pytest.raises(ConfigError, match=r"belongs to a cluster.*not served.*name the node"):
            await limiter.start()
    finally:
        server.kill()


async def test_keys_that_moved_are_said() -> None:
    """
    The words are those of Redis, whichever class redis-py has for them.
    """

    async def moved(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(b"-MOVED 3999 10.0.0.7:6381\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(moved, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        limiter = RedisLimiter(f"redis://{host}:{port}", project="p")
        with pytest.raises(ConfigError, match=r"belongs to a cluster.*3999 10\.0\.0\.7:6381"):
            await limiter.start()
        await asyncio.sleep(0.01)


# --- Decisions ---------------------------------------------------------------------------


def test_near_redis_is_asked_for_one_slot_at_a_time() -> None:
    """
    What is booked knows nothing of the pause that begins meanwhile, so it is as little as can be.
    """
    distance = Distance(1.0)
    for took in (0.001, 0.02, 0.05):
        distance.note(took, took)
        assert distance.slots(0.102) == 1
        assert distance.ahead(1, 0.102) == HORIZON
        assert not distance.is_urgent(5.0, 5.0, 0.102)
        assert distance.part == 1.0
        assert distance.patience == 0.25


@pytest.mark.parametrize("took", [0.1, 0.25, 0.4, 0.6, 0.9])
def test_what_is_booked_lasts_until_the_next_answer(took: float) -> None:
    """
    And never further than a second ahead, after which all that was booked is over.
    """
    distance = Distance(2.0)
    distance.note(took, took)
    slots = distance.slots(0.102)

    assert slots * 0.102 >= 1.5 * took
    assert distance.ahead(slots, 0.102) <= MOST_AHEAD < 1.0
    assert distance.is_urgent(5.0, 5.0, 0.102)
    assert not distance.is_urgent(5.0, 5.0 + 1.5 * took, 0.102)
    assert distance.is_far is (took > MOST_AHEAD / 2)
    assert distance.patience == pytest.approx(min(2.0, 4 * took))


def test_distance_follows_what_is_heard() -> None:
    """
    Up at once, and down little by little: what was late once may be late again.
    """
    distance = Distance(1.0)
    distance.note(0.3, 0.3)
    distance.note(9.0, None)
    assert distance.lead == pytest.approx(0.297)
    distance.note(0.2, None)
    assert distance.lead == pytest.approx(0.2)
    distance.note(0.1, 0.1)
    assert distance.lead == pytest.approx(0.16)
    distance.note(0.96, 0.96)
    assert distance.is_too_far


@pytest.mark.parametrize("took", [0.5, 0.6, 0.9])
def test_redis_that_came_nearer_is_believed_soon(took: float) -> None:
    """
    Slots are booked so far ahead that nobody waits for an answer, and each seems to take as long
    as before.
    """
    distance = Distance(1.0)
    distance.note(took, took)
    answers = 0
    while distance.is_far:
        distance.note(0.95, None)
        answers += 1
    assert 1 <= answers <= 4


def test_redis_that_was_never_reached_is_given_more_time_with_each_attempt() -> None:
    """
    It may be far away; but an attempt keeps us from sending our share, so the first is short.
    """
    distance = Distance(1.0)
    assert distance.patience == 1.0
    distance.lost()
    tries = []
    for _ in range(4):
        tries.append(distance.patience)
        distance.probed_in_vain()
    assert tries == [0.25, 0.5, 1.0, 1.0]
    distance.note(0.01, 0.01)
    distance.lost()
    distance.probed_in_vain()
    assert distance.patience == 0.25


def test_clock_of_redis_is_that_of_the_quickest_answer() -> None:
    """
    A slow answer, or one that was read late, moves it only as far as it must.
    """
    clock = RedisClock()
    assert clock.there(5.0) is None
    clock.note(1000.05, asked_at=0.0, heard_at=0.1, took=0.1)
    assert clock.here(1000.05) == pytest.approx(0.05)
    clock.note(1001.5, asked_at=1.0, heard_at=2.0, took=1.0)  # slow on the way there
    clock.note(1003.1, asked_at=3.0, heard_at=9.0, took=None)
    assert clock.here(1000.05) == pytest.approx(0.05)
    clock.note(1010.02, asked_at=10.0, heard_at=10.02, took=0.02)
    assert clock.here(1000.05) == pytest.approx(0.04)
    assert clock.there(0.04) == pytest.approx(1000.05)
    clock.note(1020.0, asked_at=20.5, heard_at=20.6, took=None)  # its clock went back
    assert clock.here(1020.0) == pytest.approx(20.5)


def test_bookings_notice_those_who_book_between() -> None:
    """
    Who shares asks for less at a time; for a while, because others come and go.
    """
    booked = Bookings()
    booked.add(1.0, 2, 0.1, soonest=1.0)
    booked.add(1.2, 1, 0.1, soonest=1.1)
    assert not booked.are_contested(1.0)
    assert [booked.take(0.5), booked.last(1.0)] == [1.0, 1.2]
    booked.add(1.5, 1, 0.1, soonest=1.2)
    assert booked.are_contested(1.3)
    assert not booked.are_contested(7.0)
    assert booked.take(1.19) == 1.2 if booked.take(1.0) else False
    assert booked.take(9.0) is None
    assert booked.missed == 1
    assert booked.last(3.0) == 3.0
    booked.add(9.0, 0, 0.1, soonest=9.0)
    assert booked.are_contested(9.1)
