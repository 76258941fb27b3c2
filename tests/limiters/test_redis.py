"""
The Redis limiter against a real Redis: one budget for all, and what happens when Redis does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import sys
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from onehouse_tracker.errors import ConfigError
from onehouse_tracker.limiters import RedisLimiter
from onehouse_tracker.limiters import redis as redis_limiter
from onehouse_tracker.limiters._pace import Pace, PaceState
from onehouse_tracker.limiters._redis_script import HORIZON, SCRIPT, keys_of
from tests.limiters.redis_server import RedisServer

LATENESS = 0.012
"""Seconds: a slot may be used 10 ms late before it is dropped, and a little is for the test."""

BUDGET, QUEUE, PROCESSES = keys_of("p")


@contextlib.asynccontextmanager
async def _limiters(server: RedisServer, count: int, **settings: Any) -> AsyncIterator[list[Any]]:
    settings.setdefault("project", "p")
    settings.setdefault("limit", 50.0)
    limiters = [RedisLimiter(server.url, **settings) for _ in range(count)]
    async with contextlib.AsyncExitStack() as stack:
        for limiter in limiters:
            await limiter.start()
            stack.push_async_callback(limiter.aclose)
        yield limiters


async def _spend(limiters: list[RedisLimiter], seconds: float) -> list[tuple[float, int]]:
    """All *limiters* take what they can get: when, and which."""
    loop = asyncio.get_running_loop()
    grants: list[tuple[float, int]] = []
    end = loop.time() + seconds

    async def spend(number: int, limiter: RedisLimiter) -> None:
        while loop.time() < end:
            await limiter.acquire()
            grants.append((loop.time(), number))

    await asyncio.gather(*(spend(number, limiter) for number, limiter in enumerate(limiters)))
    return sorted(grants)


def _time() -> float:
    return asyncio.get_running_loop().time()


# --- One budget --------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 8])
async def test_all_who_share_send_one_even_stream(redis_server: RedisServer, count: int) -> None:
    """
    Together they may send what one may send: 20.4 ms apart at 50 requests a second.
    """
    async with _limiters(redis_server, count) as limiters:
        grants = await _spend(limiters, 1.2)

    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(grants)]
    assert min(gaps) >= 1 / 49 - LATENESS
    assert sum(gaps) >= len(gaps) / 49 - LATENESS
    assert len(grants) >= 0.5 * 1.2 * 49  # on a busy machine some come too late


@pytest.mark.parametrize("count", [3, 8])
async def test_first_come_first_served(redis_server: RedisServer, count: int) -> None:
    """
    A process that always loses the race for the next slot would learn nothing.
    """
    async with _limiters(redis_server, count) as limiters:
        grants = await _spend(limiters, 1.2)

    each = Counter(number for _, number in grants)
    assert len(each) == count
    assert max(each.values()) - min(each.values()) <= 5


async def test_three_who_share_ask_redis_twice_a_slot_at_most(redis_server: RedisServer) -> None:
    """
    Once to take a place, once to book: at 10 requests a second three wait 306 ms each.
    """
    async with _limiters(redis_server, 3, limit=10.0) as limiters:
        redis_server.forget_calls()
        grants = await _spend(limiters, 1.5)

        assert redis_server.calls() <= 2.5 * len(grants) + 5


async def test_nothing_is_booked_further_ahead_than_the_horizon(redis_server: RedisServer) -> None:
    """
    What is booked knows nothing of the pause that begins meanwhile, so it is little.
    """
    async with _limiters(redis_server, 3, limit=2.0) as limiters:
        await limiters[0].acquire()
        waiting = [asyncio.ensure_future(limiter.acquire()) for limiter in limiters]
        ahead = []
        with redis_server.client() as client:
            for _ in range(15):
                await asyncio.sleep(0.04)
                seconds, microseconds = client.time()
                following = float(client.hget(BUDGET, "next") or 0)
                ahead.append(following - 1 / 1.96 - seconds - microseconds / 1e6)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    assert max(ahead) <= HORIZON
    assert max(ahead) > 0.1  # it did book ahead


async def test_who_gives_up_costs_at_most_one_slot(redis_server: RedisServer) -> None:
    """
    A tracker that is closed while it waits must not hold up the others.
    """
    async with _limiters(redis_server, 3, limit=20.0) as limiters:
        await limiters[0].acquire()
        quitters = [asyncio.ensure_future(limiter.acquire()) for limiter in limiters[:2]]
        await asyncio.sleep(0.01)
        for task in quitters:
            task.cancel()
        await asyncio.gather(*quitters, return_exceptions=True)
        begin = _time()
        await limiters[2].acquire()

        assert _time() - begin <= 3 / 19.6 + LATENESS
        # The connection of a cancelled call is not used again with the answer still in it.
        await limiters[0].acquire()


async def test_cancelling_is_heard_at_whatever_moment(redis_server: RedisServer) -> None:
    """
    ``asyncio.wait_for`` of Python 3.11, through which redis-py sends, swallows a cancellation
    that comes as its work is done: who then goes on never ends.
    """
    async with _limiters(redis_server, 1, limit=10_000) as (limiter,):
        for turns in range(60):
            task = asyncio.create_task(limiter.acquire())
            for _ in range(turns % 30):
                await asyncio.sleep(0)
            if task.done():
                continue
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert task.cancelled(), f"after {turns % 30} turns of the loop"


async def test_who_does_not_come_back_is_passed_over(redis_server: RedisServer) -> None:
    """
    A process killed in the queue leaves its place there, and nobody waits for it.
    """
    async with _limiters(redis_server, 1, limit=20.0) as (limiter,):
        await limiter.acquire()
        with redis_server.client() as client:
            seconds, microseconds = client.time()
            client.zadd(QUEUE, {"killed": seconds + microseconds / 1e6 + 0.05})
        begin = _time()
        for _ in range(6):
            await limiter.acquire()

        assert _time() - begin <= 7 / 19.6 + LATENESS


async def test_time_spent_idle_is_not_saved(redis_server: RedisServer) -> None:
    """
    A burst after a rest is what fixed limiters refuse.
    """
    async with _limiters(redis_server, 2) as limiters:
        await limiters[0].acquire()
        await asyncio.sleep(0.3)
        grants = await _spend(limiters, 0.2)

    assert min(b - a for (a, _), (b, _) in pairwise(grants)) >= 1 / 49 - LATENESS


# --- Pauses and the margin ---------------------------------------------------------------


async def test_a_pause_stops_everybody(redis_server: RedisServer) -> None:
    """
    The server refuses the project, not the process.
    """
    async with _limiters(redis_server, 2) as (one, other):
        await one.acquire()
        await other.acquire()
        begin = _time()
        one.throttled(begin - 0.01, 0.5)
        await asyncio.gather(one.acquire(), other.acquire())

        assert 0.5 - LATENESS <= _time() - begin <= 0.8


async def test_a_refusal_reaches_the_others_while_we_wait(redis_server: RedisServer) -> None:
    """
    Whoever learns of a 429 while it waits for a slot tells it at once, not with the next one.
    """
    async with _limiters(redis_server, 2, limit=5.0) as (one, other):
        await one.acquire()
        waiting = asyncio.ensure_future(one.acquire())
        await asyncio.sleep(0.05)
        one.throttled(_time() - 0.1, 0.6)
        await asyncio.sleep(0.05)
        await other.aclose()
        await other.start()  # any call: it learns what Redis knows

        assert other.stats().paused_for > 0.3
        assert other.stats().margin == pytest.approx(0.03)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_refusals_of_several_processes_are_one_episode(redis_server: RedisServer) -> None:
    """
    They say the same thing once, whoever hears it.
    """
    async with _limiters(redis_server, 3) as limiters:
        for limiter in limiters:
            await limiter.acquire()
        sent_at = _time() - 0.05
        for limiter in limiters:
            limiter.throttled(sent_at, None)
        for limiter in limiters:
            await limiter.acquire()

        assert limiters[-1].stats().margin == pytest.approx(0.03)
        assert sum(limiter.stats().refusals for limiter in limiters) == 3


async def test_a_good_reply_makes_the_next_pause_short_for_all(redis_server: RedisServer) -> None:
    """
    The pauses double only while the refusals follow each other.
    """
    async with _limiters(redis_server, 2) as (one, other):
        await one.acquire()
        one.throttled(_time(), None)
        await one.acquire()
        one.answered(_time())
        await other.acquire()
        await one.acquire()
        with redis_server.client() as client:
            assert float(client.hget(BUDGET, "backoff") or 0) == 0.2


async def test_what_was_no_matter_of_the_rate_is_taken_back_for_all(
    redis_server: RedisServer,
) -> None:
    """
    One request was refused for itself: the others need not go slower for it.
    """
    async with _limiters(redis_server, 2) as (one, other):
        await one.acquire()
        one.throttled(_time(), None)
        one.throttled(_time() + 0.01, None)
        await one.acquire()
        await other.acquire()
        assert other.stats().margin == pytest.approx(0.04)
        one.forgive(1)
        await one.acquire()
        await other.acquire()
        assert other.stats().margin == pytest.approx(0.03)
        one.forgive(7)
        await one.acquire()
        await one.acquire()
        await other.acquire()
        assert other.stats().margin == pytest.approx(0.02)


async def test_an_absurd_retry_after_is_bounded(redis_server: RedisServer) -> None:
    """
    One bad header must not stop a project for a year.
    """
    async with _limiters(redis_server, 1, max_pause=0.2) as (limiter,):
        await limiter.acquire()
        limiter.throttled(_time(), 1e7)
        begin = _time()
        await limiter.acquire()

        assert 0.2 - LATENESS <= _time() - begin <= 0.5


@pytest.mark.parametrize("seed", range(5))
async def test_redis_learns_as_the_local_limiter_does(
    redis_server: RedisServer, seed: int
) -> None:
    """
    The rules of the margin stand twice, in Python and in the script: they must not drift apart.
    """
    random = Random(seed)
    local = Pace(10.0)
    with redis_server.client() as client:

        def ask(sent: str = "", retry: str = "", good: str = "") -> list[Any]:
            arguments = [
                "10",
                "me",
                "",
                "0",
                "0",
                sent,
                retry,
                "0",
                good,
                "120",
                "e",
                "3600",
                "0.25",
                "0",
            ]
            reply: list[Any] = client.eval(SCRIPT, 3, BUDGET, QUEUE, PROCESSES, *arguments)
            return reply

        now = float(ask()[1])
        for _ in range(60):
            sent = now - random.choice([0.0, 0.05, 1.0])
            # Few good replies, so that the pauses grow to their bound.
            match random.choices([0, 1, 2], [6, 1, 3])[0]:
                case 0:
                    retry = random.choice([None, None, None, None, 0.0, 0.5, 1e9, -3.0])
                    reply = ask(f"{sent:.7f}", "" if retry is None else str(retry))
                    local.throttled(float(reply[1]), sent, retry)
                case 1:
                    reply = ask(good=f"{sent:.7f}")
                    local.answered(sent)
                case _:
                    # Time passes: for Redis, whose clock is real, everything lies further back.
                    by = random.choice([0.3, 5.0, 90.0, 700.0])
                    names = ["next", "refused", "reacted", "paused", "born", "at"]
                    for name in names:
                        value = float(client.hget(BUDGET, name) or 0)
                        client.hset(BUDGET, name, f"{value - by:.7f}" if value > 0 else value)
                    margin, refused, reacted, pause, until = local.state
                    local.state = PaceState(margin, refused - by, reacted - by, pause, until - by)
                    reply = ask()
            now = float(reply[1])
            margin, refused, reacted, pause, until = (float(value) for value in reply[4:9])

            # As it stands in Redis, the margin is that of the last refusal, as it is here.
            assert margin == pytest.approx(local.state.margin, abs=1e-6)
            assert pause == pytest.approx(local.state.next_pause)
            for theirs, ours in [
                (refused, local.state.refused_at),
                (reacted, local.state.reacted_at),
                (until, local.state.paused_until),
            ]:
                assert theirs == pytest.approx(ours, abs=1e-5) or (theirs < 0 and ours < 0)


# --- What stays in Redis -----------------------------------------------------------------


async def test_nothing_is_left_behind_for_ever(redis_server: RedisServer) -> None:
    """
    A project that is not polled any more must not stay in Redis; and no name tells a secret.
    """
    async with _limiters(redis_server, 3, limit=5.0) as limiters:
        await asyncio.gather(*(limiter.acquire() for limiter in limiters))
        waiting = [asyncio.ensure_future(limiter.acquire()) for limiter in limiters]
        await asyncio.sleep(0.05)
        with redis_server.client() as client:
            lives = {key: client.ttl(key) for key in client.keys("*")}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    assert set(lives) == {BUDGET, QUEUE, PROCESSES}
    assert all(0 < seconds <= 3600 for seconds in lives.values())


async def test_projects_do_not_share(redis_server: RedisServer) -> None:
    """
    Each project has its own ten requests a second.
    """
    async with (
        _limiters(redis_server, 1, project="a", limit=2.0) as (one,),
        _limiters(redis_server, 1, project="b", limit=2.0) as (other,),
    ):
        begin = _time()
        await one.acquire()
        await other.acquire()

        assert _time() - begin < 0.2


async def test_a_lost_record_costs_a_second_of_silence(redis_server: RedisServer) -> None:
    """
    With the record the booked slots are lost: whoever knew them lets them pass.
    """
    async with _limiters(redis_server, 2) as (one, other):
        await one.acquire()
        await other.acquire()
        with redis_server.client() as client:
            client.flushall()
        newcomer = RedisLimiter(redis_server.url, project="p", limit=50.0)
        await newcomer.start()
        begin = _time()
        await one.acquire()
        silent = _time() - begin
        await newcomer.aclose()

    assert 1.0 - LATENESS <= silent <= 1.3


async def test_a_clock_that_goes_back_takes_everything_along(redis_server: RedisServer) -> None:
    """
    After a failover, or a correction of its clock, Redis may live in the past.
    """
    async with _limiters(redis_server, 1) as (limiter,):
        await limiter.acquire()
        with redis_server.client() as client:
            for name in ("next", "at", "born", "paused"):
                value = float(client.hget(BUDGET, name) or 0)
                client.hset(BUDGET, name, f"{value + 300:.7f}")
            client.zadd(QUEUE, {"somebody": 4e9})
        async with asyncio.timeout(1.5):
            for _ in range(3):
                await limiter.acquire()


async def test_a_forgotten_script_is_sent_again(redis_server: RedisServer) -> None:
    """
    Redis forgets scripts when it restarts or is told to.
    """
    async with _limiters(redis_server, 1) as (limiter,):
        await limiter.acquire()
        with redis_server.client() as client:
            client.script_flush()
        await limiter.acquire()

        assert not limiter.stats().degraded


async def test_a_limiter_can_be_started_again(redis_server: RedisServer) -> None:
    """
    A tracker that is opened anew finds its budget where it was.
    """
    limiter = RedisLimiter(redis_server.url, project="p", limit=50.0)
    for _ in range(2):
        await limiter.start()
        await limiter.acquire()
        await limiter.aclose()
    await limiter.aclose()  # twice does no harm

    assert limiter.stats().granted == 2
    with pytest.raises(RuntimeError, match="not started"):
        await limiter.acquire()


# --- Without Redis -----------------------------------------------------------------------


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Everything that takes a second takes a quarter of it.
    """
    monkeypatch.setattr(redis_limiter, "SILENCE", 0.25)
    monkeypatch.setattr(redis_limiter, "_PROBE_INTERVAL", 0.1)


@pytest.mark.usefixtures("hurried")
async def test_without_redis_each_sends_its_share_and_comes_back_by_itself(
    doomed_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Tracking goes on, never over the budget, and nobody has to restart anything.
    """
    doomed_redis.start()
    async with _limiters(doomed_redis, 2, limit=40.0, processes=2) as limiters:
        spending = asyncio.ensure_future(_spend(limiters, 1.6))
        await asyncio.sleep(0.3)
        doomed_redis.kill()
        killed_at = _time()
        await asyncio.sleep(0.6)
        degraded = [limiter.stats() for limiter in limiters]
        starting_at = _time()
        doomed_redis.start()  # the event loop waits for it, and grants nothing meanwhile
        back_at = _time()
        grants = [at for at, _ in await spending]

        assert not any(limiter.stats().degraded for limiter in limiters)
    assert all(stats.degraded for stats in degraded)
    assert [stats.rate for stats in degraded] == [pytest.approx(19.6)] * 2
    # A little less than 0.25 s: one notices before the other, who has slots left.
    silent = [(a, b) for a, b in pairwise(grants) if b - a > 0.12]
    assert any(killed_at - 0.05 <= a <= killed_at + 0.4 for a, _ in silent)
    assert any(starting_at - 0.1 <= a <= back_at + 0.4 for a, _ in silent)
    for begin in grants:
        assert sum(begin <= at < begin + 0.5 for at in grants) <= 20
    messages = [record.getMessage() for record in caplog.records]
    assert Counter("away" if "away" in message else "back" for message in messages) == {
        "away": 2,
        "back": 2,
    }


@pytest.mark.usefixtures("hurried")
async def test_a_redis_that_hangs_is_away(redis_server: RedisServer) -> None:
    """
    A budget that is asked for and never answered must not stop the tracking.
    """
    async with _limiters(redis_server, 1, socket_timeout=0.1, processes=1) as (limiter,):
        await limiter.acquire()
        with redis_server.client() as client:
            client.execute_command("CLIENT", "PAUSE", 700)
        begin = _time()
        await limiter.acquire()
        assert limiter.stats().degraded
        assert 0.3 <= _time() - begin <= 0.9
        last = _time()
        while limiter.stats().degraded:
            last = _time()
            await limiter.acquire()

        # Nobody sends by both rules within one second, which is a quarter here.
        assert _time() - last >= 0.25 - LATENESS
        assert _time() - begin <= 2.0


@pytest.mark.usefixtures("hurried")
async def test_a_limiter_starts_without_redis(
    doomed_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Redis may be restarted at the same moment as we are.
    """
    async with _limiters(doomed_redis, 1, limit=10.0, processes=3) as (limiter,):
        stats = limiter.stats()
        assert stats.degraded
        assert stats.kind == "redis"
        assert stats.rate == pytest.approx(3 * 0.98)
        begin = _time()
        await limiter.acquire()
        assert _time() - begin >= 0.25 - LATENESS

    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.usefixtures("hurried")
async def test_a_pause_holds_without_redis_too(doomed_redis: RedisServer) -> None:
    """
    The server's word counts, whoever else hears it.
    """
    async with _limiters(doomed_redis, 1, limit=50.0, processes=1) as (limiter,):
        await limiter.acquire()
        limiter.throttled(_time(), 0.4)
        begin = _time()
        await limiter.acquire()
        assert _time() - begin >= 0.4 - LATENESS
        assert limiter.stats().margin == pytest.approx(0.03)
        doomed_redis.start()
        while limiter.stats().degraded:
            await limiter.acquire()
        await limiter.acquire()

        # It says nothing about the rate that is shared again.
        assert limiter.stats().margin == pytest.approx(0.02)


async def test_more_processes_than_expected_take_less_each(redis_server: RedisServer) -> None:
    """
    If Redis goes away, those it saw lately are the ones who are left on their own.
    """
    async with _limiters(redis_server, 5, processes=2) as limiters:
        for limiter in limiters:
            await limiter.acquire()
        limiters[-1]._degrade(OSError())

        assert limiters[-1].stats().rate == pytest.approx(50 / 5 * 0.98)


# --- Connecting --------------------------------------------------------------------------


async def test_a_password_comes_with_the_url(doomed_redis: RedisServer) -> None:
    """
    Most Redis servers that several machines reach have one.
    """
    doomed_redis.start("--requirepass", "s3cret-word")
    url = f"redis://:s3cret-word@127.0.0.1:{doomed_redis.port}"
    limiter = RedisLimiter(url, project="p")
    await limiter.start()
    await limiter.acquire()

    assert not limiter.stats().degraded
    assert "s3cret" not in repr(limiter)
    await limiter.aclose()


@pytest.mark.parametrize("user", ["", ":wrong-s3cret@"])
async def test_a_wrong_password_is_a_mistake_and_no_outage(
    doomed_redis: RedisServer, user: str
) -> None:
    """
    It would never get better by waiting, so it is said at the start, without the password.
    """
    doomed_redis.start("--requirepass", "s3cret-word")
    limiter = RedisLimiter(f"redis://{user}127.0.0.1:{doomed_redis.port}", project="p")

    with pytest.raises(ConfigError, match="Redis refuses us") as caught:
        await limiter.start()
    assert "s3cret" not in str(caught.value)


async def test_a_redis_that_is_full_is_away(doomed_redis: RedisServer) -> None:
    """
    It may be emptied at any time, and until then everybody has a share.
    """
    doomed_redis.start("--maxmemory", "1", "--maxmemory-policy", "noeviction")
    limiter = RedisLimiter(doomed_redis.url, project="p")
    await limiter.start()

    assert limiter.stats().degraded
    await limiter.aclose()


async def test_without_redis_py_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It is an extra, and the error says how to get it.
    """
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    limiter = RedisLimiter("redis://127.0.0.1", project="p")

    with pytest.raises(ConfigError, match=r"install onehouse-tracker\[redis\]"):
        await limiter.start()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "http://127.0.0.1"}, "begins with redis://"),
        ({"url": "redis://127.0.0.1", "processes": 0}, "processes is a whole number from 1"),
        ({"url": "redis://127.0.0.1", "socket_timeout": 0.0}, "socket_timeout is more than 0"),
        ({"url": "redis://127.0.0.1", "socket_timeout": math.inf}, "socket_timeout"),
        ({"url": "redis://127.0.0.1", "limit": 0.0}, "limit is a number"),
        ({"url": "redis://127.0.0.1", "share": 2.0}, "share is more than 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    """
    A mistake is told when the limiter is made, not when Redis goes away.
    """
    with pytest.raises(ConfigError, match=message):
        RedisLimiter(**({"project": "p"} | settings))


async def test_a_url_that_cannot_be_read_is_not_shown() -> None:
    """
    It may hold a password.
    """
    limiter = RedisLimiter("redis://:s3cret@127.0.0.1:port", project="p")

    with pytest.raises(ConfigError) as caught:
        await limiter.start()
    assert "s3cret" not in str(caught.value)
