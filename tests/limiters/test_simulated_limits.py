"""
A thousand runs of the limiters against a limiter: jitter, stalls, refusals, orders to wait.

The bound they are held to: two requests that are *n* slots apart were sent at least
``n * T - C`` seconds apart (*T* the time of a slot, *C* what is made up for after a late wake-up),
and a network that delays each by up to *J* seconds brings them together by no more than that.  So
no second sees more than ``1 + floor((1 + J + C) / T)`` of them: 10 with a jitter of 18 ms, 12 with
one of 200 ms.  Below 18 ms a limiter of 10 requests a second never has a reason to refuse; above
it no sender could do without a wider margin, which is learned.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from random import Random

import pytest

from onehouse_tracker.limiters import HostLimiter, LocalLimiter, RateLimiter
from onehouse_tracker.onehouse._http.wire import retry_after
from onehouse_tracker.testing import VirtualClockLoop
from onehouse_tracker.testing.enforcers import Enforcer, FixedWindow, SlidingLog

SLOT = 1 / 9.8
CATCH_UP = 0.002
LATE = 0.010
JITTERS = [0.0, 0.005, 0.015, 0.018, 0.05, 0.2]
LONGEST_PAUSE = 5.0
SECONDS = 20.0
ROUND_TRIP = 0.02


class _StallingLoop(VirtualClockLoop):
    """A loop that is blocked for a while, as by a plain function that takes long."""

    def stall(self, seconds: float) -> None:
        """Move the clock without running anything."""
        self._ticks += round(seconds * 1e7)
        self._now = self._ticks / 1e7


def _as_header(value: str | None, now: float) -> float | None:
    return retry_after(value, now=now)


def _as_date(seconds: float, now: float) -> float | None:
    return _as_header(
        format_datetime(datetime.fromtimestamp(now + seconds, UTC), usegmt=True), now
    )


ORDERS: list[Callable[[float], float | None]] = [
    lambda now: _as_header(None, now),
    lambda now: _as_header("0", now),
    lambda now: _as_header("1", now),
    lambda now: _as_header("86400", now),
    lambda now: _as_header("soon", now),
    lambda now: _as_date(2.0, now),
    lambda now: _as_date(-100.0, now),
]
"""What a refusal says about when to come back."""


class _World:
    """One run: a limiter, a network, those who send, and others who draw on the same budget."""

    def __init__(self, seed: int, loop: _StallingLoop) -> None:
        self.random = Random(seed)
        self.loop = loop
        self.jitter = self.random.choice(JITTERS)
        self.order = self.random.choice(ORDERS)
        self.others = self.random.random() < 0.5
        self.stalls = self.random.random() < 0.5
        self.enforcer = SlidingLog()
        self.arrived: list[float] = []
        self.refused = 0
        self._server_time = 0.0

    async def run(self, limiters: list[RateLimiter]) -> None:
        """Send for a while through all *limiters*."""
        end = self.loop.time() + SECONDS
        for _ in range(self.random.randrange(6) if self.stalls else 0):
            seconds = self.random.choice([0.001, 0.01, 0.1, 3.0])
            self.loop.call_later(self.random.uniform(0, SECONDS), self.loop.stall, seconds)
        for _ in range(self.random.randrange(4) if self.others else 0):
            self.loop.call_later(self.random.uniform(0, SECONDS), self._intrude)
        await asyncio.gather(*(self._send(limiter, end) for limiter in limiters))
        await asyncio.sleep(1.0)

    async def _send(self, limiter: RateLimiter, end: float) -> None:
        while self.loop.time() < end:
            await limiter.acquire()
            now = self.loop.time()
            assert limiter.paused_until <= now
            # The network and the server do not stall with us: what counts is when it was due.
            at = now + ROUND_TRIP / 2 + self.random.uniform(0.0, self.jitter)
            self.arrived.append(at)
            self.loop.call_at(at, self._arrive, limiter, now, at)

    def _intrude(self) -> None:
        now = self._server_now(self.loop.time())
        for _ in range(self.random.randrange(1, 11)):
            self.enforcer.admit(now)

    def _arrive(self, limiter: RateLimiter, sent_at: float, at: float) -> None:
        admitted = self.enforcer.admit(self._server_now(at))
        self.loop.call_later(ROUND_TRIP / 2, self._reply, limiter, sent_at, admitted)

    def _reply(self, limiter: RateLimiter, sent_at: float, admitted: bool) -> None:  # noqa: FBT001
        if admitted:
            limiter.answered(sent_at)
            return
        self.refused += 1
        now = self.loop.time()
        wait = self.order(now)
        limiter.throttled(sent_at, wait)
        if wait is not None:
            assert limiter.paused_until >= now + min(wait, LONGEST_PAUSE)

    def _server_now(self, at: float) -> float:
        self._server_time = max(self._server_time, at)
        return self._server_time

    def check(self, catch_up: float) -> None:
        """Hold what arrived to the bound."""
        self.arrived.sort()
        most = max(
            number + 1 - bisect_left(self.arrived, at - 1.0 + 1e-6)
            for number, at in enumerate(self.arrived)
        )
        assert most <= 1 + math.floor((1.0 + self.jitter + catch_up) / SLOT)
        if not self.others and self.jitter + catch_up <= 10 * SLOT - 1:
            assert most <= 10
            assert self.refused == 0


def _same(loop: _StallingLoop) -> _StallingLoop:
    return loop


async def _comes_back(limiter: RateLimiter) -> None:
    """After a quiet time the margin is at its floor, and the pace even from the first slot on."""
    loop = asyncio.get_running_loop()
    stats = limiter.stats()
    await asyncio.sleep(stats.paused_for + 60 + (stats.margin - 0.02) / 0.0001 + 0.01)
    assert limiter.stats().margin == pytest.approx(0.02)
    times = []
    for _ in range(4):
        await limiter.acquire()
        times.append(loop.time())
    assert times[1] - times[0] >= SLOT * 0.98
    assert times[3] - times[1] == pytest.approx(2 * SLOT, rel=1e-3)


@pytest.mark.parametrize("hundred", range(10))
def test_a_local_limiter_stays_within_its_bound(hundred: int) -> None:
    """
    Whatever the network, the loop and the server do, no second sees more than the bound.
    """
    for seed in range(100 * hundred, 100 * hundred + 100):
        loop = _StallingLoop()
        world = _World(seed, loop)

        async def scenario(world: _World = world) -> None:
            limiter = LocalLimiter(max_pause=LONGEST_PAUSE, catch_up=CATCH_UP)
            await limiter.start()
            await world.run([limiter])
            await _comes_back(limiter)
            await limiter.aclose()

        try:
            with asyncio.Runner(loop_factory=partial(_same, loop)) as runner:
                runner.run(scenario())
            world.check(CATCH_UP)
        except BaseException as error:
            error.add_note(f"seed {seed}: jitter {world.jitter:g} s")
            raise


@pytest.mark.parametrize("fifty", range(2))
def test_limiters_that_share_stay_within_the_same_bound(tmp_path: Path, fifty: int) -> None:
    """
    Three who share one file are one sender; a slot may be used up to 10 ms late.
    """
    for seed in range(50 * fifty, 50 * fifty + 50):
        loop = _StallingLoop()
        world = _World(seed, loop)

        async def scenario(world: _World = world, seed: int = seed) -> None:
            clock = asyncio.get_running_loop().time
            path = tmp_path / f"{seed}.budget"
            limiters = [
                HostLimiter(path=path, max_pause=LONGEST_PAUSE, clock=clock) for _ in range(3)
            ]
            for limiter in limiters:
                await limiter.start()
            await world.run(list(limiters))
            for limiter in limiters:
                await limiter.acquire()  # learns what the others were told
            await _comes_back(limiters[0])
            for limiter in limiters:
                await limiter.aclose()

        try:
            with asyncio.Runner(loop_factory=partial(_same, loop)) as runner:
                runner.run(scenario())
            world.check(LATE)
        except BaseException as error:
            error.add_note(f"seed {seed}: jitter {world.jitter:g} s")
            raise


@pytest.mark.parametrize("enforcer", [FixedWindow, SlidingLog])
@pytest.mark.parametrize(("jitter", "least"), [(0.05, 0.94), (0.2, 0.82)])
def test_refusals_are_rare_after_a_minute_of_learning(
    enforcer: type[Enforcer], jitter: float, least: float
) -> None:
    """
    Ten runs together: the 600 requests of one cannot tell 0.5 % from 0.8 %.
    """
    late: list[bool] = []
    shares = []
    for seed in range(10):
        arrived: list[tuple[float, bool]] = []
        with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
            runner.run(_learning(enforcer(), jitter, Random(seed), arrived))
        late += [admitted for at, admitted in arrived if at >= 60]
        shares.append(sum(admitted for _, admitted in arrived) / 130 / 10)

    assert len(late) > 5_000
    assert late.count(False) / len(late) <= 0.005
    assert min(shares) >= least


async def _learning(
    enforcer: Enforcer, jitter: float, random: Random, arrived: list[tuple[float, bool]]
) -> None:
    """Send for 130 s through one limiter, over a network that delays by up to *jitter* seconds."""
    loop = asyncio.get_running_loop()
    limiter = LocalLimiter()
    await limiter.start()
    await asyncio.sleep(random.random())

    def arrive(sent_at: float) -> None:
        admitted = enforcer.admit(loop.time())
        arrived.append((loop.time(), admitted))
        if admitted:
            limiter.answered(sent_at)
        else:
            limiter.throttled(sent_at, None)

    while loop.time() < 130:
        await limiter.acquire()
        loop.call_later(ROUND_TRIP / 2 + random.uniform(0, jitter), arrive, loop.time())
    await limiter.aclose()
