"""
The local limiter on a virtual clock: when exactly each slot is granted, and never earlier.
"""

from __future__ import annotations

import asyncio
import math
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onehouse_tracker.errors import ConfigError
from onehouse_tracker.limiters import LocalLimiter, local
from onehouse_tracker.testing import VirtualClockLoop
from onehouse_tracker.testing.enforcers import FixedWindow, SlidingLog, Strict
from tests.support import run

INTERVAL = 1 / 9.8
"""Seconds between two slots at 10 requests a second, less 2 %: 102.04 ms."""

EXACT = 5e-6
"""Seconds: the virtual clock counts whole microseconds and creeps a little between them."""


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    """
    Every test closes the limiters that it opened.
    """
    yield
    assert not tuple(local._open_limiters)


def _time() -> float:
    return asyncio.get_running_loop().time()


async def _grants(limiter: LocalLimiter, count: int) -> list[float]:
    times = []
    for _ in range(count):
        await limiter.acquire()
        times.append(_time())

    return times


def _gaps(times: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


def _most_in_a_second(times: Sequence[float]) -> int:
    window: deque[float] = deque()
    most = 0
    for time in sorted(times):
        window.append(time)
        while time - window[0] >= 1.0:
            window.popleft()
        most = max(most, len(window))

    return most


async def _started(*args: Any, **settings: Any) -> LocalLimiter:
    limiter = LocalLimiter(*args, **settings)
    await limiter.start()

    return limiter


# --- The pace ----------------------------------------------------------------------------


def test_slots_come_every_102_milliseconds() -> None:
    """
    From the first one on, and without any drift over ten minutes.
    """

    async def scenario() -> list[float]:
        limiter = await _started()
        times = await _grants(limiter, 5881)
        await limiter.aclose()
        return times

    times = run(scenario())

    assert times[0] == 0
    assert _gaps(times) == pytest.approx([INTERVAL] * 5880, abs=EXACT)
    assert times[-1] == pytest.approx(600.0, abs=0.05)
    assert _most_in_a_second(times) == 10


@pytest.mark.parametrize(
    ("limit", "share", "interval"),
    [
        (0.1, 1.0, 10.2041),
        (1, 1.0, 1.02041),
        (10, 0.25, 0.408163),
        (10, 0.001, 102.041),
        (200, 1.0, 0.00510204),
        (1000, 0.5, 0.00204082),
    ],
)
def test_any_limit_and_share_are_paced_evenly(limit: float, share: float, interval: float) -> None:
    """
    A limit that Onehouse raised for the project needs no other setting.
    """

    async def scenario() -> list[float]:
        limiter = await _started(limit, share=share)
        assert limiter.limit == pytest.approx(limit * share)
        times = await _grants(limiter, 20)
        await limiter.aclose()
        return times

    assert _gaps(run(scenario())) == pytest.approx([interval] * 19, rel=1e-3, abs=EXACT)


def test_ten_thousand_a_second_stay_below_their_limit() -> None:
    """
    At such rates timers are coarser than the slots, and the catch-up fills the gaps.
    """

    async def scenario() -> list[float]:
        limiter = await _started(10_000)
        times = await _grants(limiter, 15_000)
        await limiter.aclose()
        return times

    times = run(scenario())

    assert times[9_800] - times[0] == pytest.approx(1.0, abs=0.006)
    assert _most_in_a_second(times) <= 10_000


@pytest.mark.parametrize("seconds", [0.2, 1.0, 3.7, 3600.0])
def test_idle_time_is_never_saved_up(seconds: float) -> None:
    """
    After a quiet hour the slots are as far apart as ever: no burst, not even a small one.
    """

    async def scenario() -> list[float]:
        limiter = await _started()
        await _grants(limiter, 5)
        await asyncio.sleep(seconds)
        times = await _grants(limiter, 12)
        await limiter.aclose()
        return times

    assert _gaps(run(scenario())) == pytest.approx([INTERVAL] * 11, abs=EXACT)


class _StallingLoop(VirtualClockLoop):
    """A loop that is blocked for a while, as by a plain function that takes long."""

    def stall(self, seconds: float) -> None:
        """Move the clock without running anything."""
        self._ticks += round(seconds * 1e7)
        self._now = self._ticks / 1e7


@pytest.mark.parametrize(
    ("stall", "made_up_for"), [(0.001, 0.001), (0.002, 0.002), (0.05, 0.002), (5.0, 0.002)]
)
def test_a_late_wake_up_is_made_up_for_by_two_milliseconds_at_most(
    stall: float, made_up_for: float
) -> None:
    """
    Small delays of the loop must not cost budget; a stall of seconds must not cause a burst.
    """

    async def scenario(loop: _StallingLoop) -> list[float]:
        limiter = await _started()
        times = await _grants(limiter, 3)
        # Blocked from just before the next slot is due.
        loop.call_later(INTERVAL - 0.0001, loop.stall, stall + 0.0001)
        times += await _grants(limiter, 8)
        await limiter.aclose()
        return times

    loop = _StallingLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        gaps = _gaps(runner.run(scenario(loop)))

    assert gaps[:2] == pytest.approx([INTERVAL] * 2, abs=EXACT)
    assert gaps[2] == pytest.approx(INTERVAL + stall, abs=EXACT)
    assert gaps[3] == pytest.approx(INTERVAL - made_up_for, abs=EXACT)
    assert gaps[4:] == pytest.approx([INTERVAL] * 6, abs=EXACT)


def test_without_catch_up_every_gap_is_whole() -> None:
    """
    For servers that refuse whatever comes a moment early.
    """

    async def scenario(loop: _StallingLoop) -> list[float]:
        limiter = await _started(catch_up=0)
        loop.call_later(0.3, loop.stall, 1.0)
        times = await _grants(limiter, 20)
        await limiter.aclose()
        return times

    loop = _StallingLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        gaps = _gaps(runner.run(scenario(loop)))

    assert min(gaps) >= INTERVAL - EXACT


@pytest.mark.parametrize("enforcer", [SlidingLog(10), FixedWindow(10), Strict(10)], ids=repr)
def test_no_server_refuses_an_even_pace(enforcer: SlidingLog | FixedWindow | Strict) -> None:
    """
    Even the server that allows no burst at all, and through idle times and restarts of work.
    """

    async def scenario() -> list[float]:
        limiter = await _started()
        times = []
        for pause in (0, 0.05, 0.11, 0.5, 1.0, 7.3):
            await asyncio.sleep(pause)
            times += await _grants(limiter, 30)
        await limiter.aclose()
        return times

    assert all(enforcer.admit(time) for time in run(scenario()))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**9))
def test_jitter_of_15_ms_never_makes_an_eleventh_in_a_second(seed: int) -> None:
    """
    The margin of 20 ms a second holds the catch-up of 5 ms and the jitter of the network.
    """
    random = Random(seed)

    async def scenario(loop: _StallingLoop) -> list[float]:
        limiter = await _started()
        times = []
        for _ in range(200):
            if random.random() < 0.2:
                loop.call_later(random.uniform(0, 0.2), loop.stall, random.uniform(0, 0.05))
            if random.random() < 0.05:
                await asyncio.sleep(random.uniform(0, 0.5))
            times += await _grants(limiter, 1)
        await limiter.aclose()
        return times

    loop = _StallingLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        sent = runner.run(scenario(loop))
    arrivals = sorted(time + random.uniform(0, 0.015) for time in sent)
    server = SlidingLog(10)

    assert _most_in_a_second(arrivals) <= 10
    assert all(server.admit(time) for time in arrivals)


# --- Refusals ------------------------------------------------------------------------------


def test_a_pause_is_respected_to_the_end() -> None:
    """
    Nothing is granted before it is over, and the pace goes on from there.
    """

    async def scenario() -> list[float]:
        limiter = await _started()
        times = await _grants(limiter, 2)
        limiter.throttled(times[1], 3.0)
        assert limiter.paused_until == pytest.approx(times[1] + 3)
        assert limiter.stats().paused_for == pytest.approx(3)
        times += await _grants(limiter, 3)
        await limiter.aclose()
        return times

    times = run(scenario())

    assert times[2] == pytest.approx(times[1] + 3, abs=EXACT)
    assert _gaps(times[2:]) == pytest.approx([1 / 9.7] * 2, abs=EXACT)


def test_a_pause_that_begins_while_a_slot_is_awaited_holds_it_back() -> None:
    """
    The refusal of an earlier request arrives 50 ms before the next slot.
    """

    async def scenario(loop: asyncio.AbstractEventLoop) -> list[float]:
        limiter = await _started()
        times = await _grants(limiter, 1)
        loop.call_later(0.05, limiter.throttled, 0.0, 2.0)
        times += await _grants(limiter, 2)
        await limiter.aclose()
        return times

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        times = runner.run(scenario(runner.get_loop()))

    assert times[1] == pytest.approx(2.05, abs=EXACT)
    assert times[2] == pytest.approx(2.05 + 1 / 9.7, abs=EXACT)


def test_a_pause_can_be_extended_while_it_lasts() -> None:
    """
    A second refusal of the same episode asks for more; less is not listened to.
    """

    async def scenario(loop: asyncio.AbstractEventLoop) -> list[float]:
        limiter = await _started()
        times = await _grants(limiter, 1)
        limiter.throttled(0.0, 1.0)
        loop.call_later(0.5, limiter.throttled, 0.0, 0.1)
        loop.call_later(0.9, limiter.throttled, 0.0, 5.0)
        loop.call_later(5.8, limiter.throttled, 0.0, 1.0)
        times += await _grants(limiter, 1)
        await limiter.aclose()
        return times

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        times = runner.run(scenario(runner.get_loop()))

    assert times[1] == pytest.approx(6.8, abs=EXACT)


def test_without_retry_after_the_pauses_double() -> None:
    """
    0.2, 0.4, 0.8 s, and 0.2 again after an answer.
    """

    async def scenario() -> list[float]:
        limiter = await _started()
        await limiter.acquire()
        pauses = []
        for number in range(4):
            sent_at = _time()
            if number == 3:
                limiter.answered(sent_at)
            limiter.throttled(sent_at, None)
            await limiter.acquire()
            pauses.append(_time() - sent_at)
        await limiter.aclose()
        return pauses

    assert run(scenario()) == pytest.approx([0.2, 0.4, 0.8, 0.2], abs=EXACT)


def test_who_has_a_share_comes_back_at_a_moment_of_its_own() -> None:
    """
    The others were told the same Retry-After, and would all come back at once.
    """

    async def scenario(share: float) -> float:
        limiter = await _started(share=share)
        limiter.throttled(_time(), 3.0)
        pause = limiter.stats().paused_for
        await limiter.aclose()
        return pause

    pauses = {run(scenario(0.5)) for _ in range(5)}
    assert len(pauses) == 5
    assert all(3.0 <= pause <= 3.1 for pause in pauses)
    assert run(scenario(1.0)) == 3.0


def test_absurd_pauses_are_bounded() -> None:
    """
    A server that says "come back next year" is asked again in two minutes.
    """

    async def scenario() -> tuple[float, float]:
        limiter = await _started()
        limiter.throttled(0.0, math.inf)
        await limiter.acquire()
        first = _time()
        limiter.throttled(_time(), 1e308)
        await limiter.acquire()
        await limiter.aclose()
        return first, _time()

    assert run(scenario()) == pytest.approx((120, 240), abs=EXACT)


def test_a_slower_rate_never_grants_earlier_than_the_old_one() -> None:
    """
    Each refusal with Retry-After 0 slows the pace from the next slot on: no gap shrinks.
    """

    async def scenario() -> list[float]:
        limiter = await _started()
        times = await _grants(limiter, 3)
        for _ in range(30):
            limiter.throttled(_time(), 0.0)
            times += await _grants(limiter, 1)
        await limiter.aclose()
        return times

    times = run(scenario())
    gaps = _gaps(times)

    # The slot after a refusal still comes at the old pace, and begins the new one.
    expected = [0.02, 0.02, 0.02, *(0.02 + number / 100 for number in range(1, 30))]
    assert gaps == pytest.approx([0.1 / (1 - margin) for margin in expected], abs=EXACT)
    assert _most_in_a_second(times) <= 10


def test_a_storm_of_refusals_leaves_half_of_the_budget() -> None:
    """
    However long it lasts; afterwards the full rate comes back within the time that was promised.
    """

    async def scenario() -> tuple[list[float], list[float], float]:
        limiter = await _started()
        for _ in range(100):
            await limiter.acquire()
            limiter.throttled(_time(), 0.0)
        stats = limiter.stats()
        assert stats.refusals == 100
        assert stats.margin == pytest.approx(0.5)
        assert stats.rate == pytest.approx(5)
        slow = await _grants(limiter, 5)
        await asyncio.sleep(60 + 4800)
        await limiter.acquire()
        fast = await _grants(limiter, 5)
        rate = limiter.stats().rate
        await limiter.aclose()
        return slow, fast, rate

    slow, fast, rate = run(scenario())

    assert _gaps(slow) == pytest.approx([0.2] * 4, abs=EXACT)
    assert _gaps(fast) == pytest.approx([INTERVAL] * 4, abs=EXACT)
    assert rate == pytest.approx(9.8)


def test_the_rate_comes_back_without_a_burst() -> None:
    """
    While the margin shrinks the limiter is replaced many times; no replacement gives slots away.
    """

    async def scenario() -> list[float]:
        limiter = await _started()
        for _ in range(5):
            await limiter.acquire()
            limiter.throttled(_time(), 0.0)
        await limiter.acquire()
        times = await _grants(limiter, 5_500)
        await limiter.aclose()
        return times

    times = run(scenario())
    gaps = _gaps(times)

    assert gaps[0] == pytest.approx(0.1 / 0.93, abs=EXACT)
    assert gaps[-1] == pytest.approx(INTERVAL, rel=0.0011)
    # Never faster than the final rate, and from one gap to the next by a tenth of a percent.
    assert min(gaps) >= INTERVAL - EXACT
    assert all(later >= earlier * 0.998 for earlier, later in pairwise(gaps))
    assert _most_in_a_second(times) == 10


# --- One waiter that may leave -----------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "slots"), [(0.0, {1}), (0.05, {1}), (0.102, {1}), (INTERVAL, {1, 2}), (0.103, {2})]
)
@pytest.mark.parametrize("seed", range(5))
def test_a_waiter_that_leaves_costs_at_most_its_slot(
    after: float, slots: set[int], seed: int
) -> None:
    """
    Cancelling gives up the place; whoever comes next waits no longer than one slot more.
    """

    async def scenario() -> float:
        limiter = await _started()
        await limiter.acquire()
        waiter = asyncio.create_task(limiter.acquire())
        await asyncio.sleep(after)
        waiter.cancel()
        await asyncio.wait([waiter])
        await limiter.acquire()
        await limiter.aclose()
        return _time()

    taken = run(scenario(), seed=seed) / INTERVAL

    assert round(taken) in slots
    assert taken == pytest.approx(round(taken), abs=1e-4)


def test_leaving_during_a_pause_leaves_the_pause() -> None:
    """
    The pause belongs to the project and not to who waited first.
    """

    async def scenario() -> float:
        limiter = await _started()
        limiter.throttled(0.0, 5.0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await limiter.acquire()
        assert limiter.stats().granted == 0
        await limiter.acquire()
        await limiter.aclose()
        return _time()

    assert run(scenario()) == pytest.approx(5.0, abs=EXACT)


def test_many_that_leave_do_not_slow_the_pace() -> None:
    """
    Waiters that come and go between two slots leave nothing behind.
    """

    async def scenario() -> list[float]:
        limiter = await _started()
        times = await _grants(limiter, 1)
        for _ in range(50):
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.03):
                        await limiter.acquire()
            times += await _grants(limiter, 1)
        await limiter.aclose()
        return times

    assert _gaps(run(scenario())) == pytest.approx([INTERVAL] * 50, abs=EXACT)


# --- Life cycle ----------------------------------------------------------------------------


def test_a_limiter_has_to_be_started() -> None:
    """
    A limiter belongs to one loop, so there is none before and none after.
    """

    async def scenario() -> None:
        limiter = LocalLimiter()
        with pytest.raises(RuntimeError, match=r"^the limiter was not started$"):
            await limiter.acquire()
        await limiter.start()
        await limiter.acquire()
        await limiter.aclose()
        await limiter.aclose()
        with pytest.raises(RuntimeError, match=r"^the limiter was not started$"):
            await limiter.acquire()

    run(scenario())


def test_a_limiter_can_be_started_again_on_another_loop() -> None:
    """
    The learned margin stays; the limiter is new, and no warning says otherwise.
    """
    limiter = LocalLimiter(project="p")

    async def scenario() -> list[float]:
        await limiter.start()
        times = await _grants(limiter, 3)
        limiter.throttled(_time(), 0.0)
        await limiter.aclose()
        return times

    first, second = run(scenario()), run(scenario())

    assert _gaps(first) == pytest.approx([INTERVAL] * 2, abs=EXACT)
    assert _gaps(second) == pytest.approx([1 / 9.7] * 2, abs=EXACT)
    assert repr(limiter) == "<LocalLimiter: 10 requests/s, 6 granted>"


def test_the_statistics_tell_the_budget() -> None:
    """
    Users must see what is left of their limit, and why.
    """

    async def scenario() -> None:
        limiter = await _started(10, share=0.5)
        await _grants(limiter, 2)
        limiter.throttled(_time(), 1.5)
        await asyncio.sleep(0.5)
        stats = limiter.stats()
        await limiter.aclose()

        assert (stats.kind, stats.granted, stats.refusals) == ("local", 2, 1)
        assert stats.rate == pytest.approx(4.85)
        assert stats.margin == pytest.approx(0.03)
        assert 1.0 - EXACT <= stats.paused_for <= 1.1 + EXACT  # a little is added
        assert stats.waited == pytest.approx(1 / 4.9, abs=EXACT)
        assert not stats.degraded
        assert limiter.limit == 5
        assert repr(limiter) == "<LocalLimiter: 5 requests/s, 2 granted>"

    run(scenario())


def test_pauses_count_as_waiting_and_end() -> None:
    """
    A pause that is over is zero, never negative.
    """

    async def scenario() -> None:
        limiter = await _started()
        limiter.throttled(0.0, 2.0)
        await limiter.acquire()
        await asyncio.sleep(1)
        stats = limiter.stats()
        await limiter.aclose()

        assert stats.waited == pytest.approx(2.0, abs=EXACT)
        assert stats.paused_for == 0.0

    run(scenario())


def test_a_second_limiter_for_one_project_warns() -> None:
    """
    Together they would spend twice the budget, and the server would refuse half of it.
    """

    async def scenario() -> None:
        first = await _started(project="p")
        second = LocalLimiter(project="p")
        other = await _started(project="another")
        with pytest.warns(
            UserWarning, match="two local limiters are open for one Onehouse project"
        ):
            await second.start()
        for limiter in (first, second, other):
            await limiter.aclose()

    run(scenario())


def test_each_further_limiter_warns_while_one_is_open() -> None:
    """
    The first one closing does not make the second one disappear.
    """

    async def scenario() -> None:
        limiters = [LocalLimiter(project="p") for _ in range(3)]
        await limiters[0].start()
        with pytest.warns(UserWarning, match="two local limiters"):
            await limiters[1].start()
        await limiters[0].aclose()
        with pytest.warns(UserWarning, match="two local limiters"):
            await limiters[2].start()
        for limiter in limiters:
            await limiter.aclose()

    run(scenario())


def test_closing_a_limiter_that_is_not_open_closes_no_other() -> None:
    """
    Closing twice, or without having started, is harmless.
    """

    async def scenario() -> None:
        first = await _started(project="p")
        await LocalLimiter(project="p").aclose()
        second = LocalLimiter(project="p")
        with pytest.warns(UserWarning, match="two local limiters"):
            await second.start()
        await second.aclose()
        await second.aclose()
        with pytest.warns(UserWarning, match="two local limiters"):
            await second.start()
        await second.aclose()
        await first.aclose()

    run(scenario())


def test_limiters_that_follow_each_other_do_not_warn() -> None:
    """
    A script that opens one tracker after another is right, even one that lost a limiter unclosed.
    """

    async def scenario() -> None:
        for _ in range(3):
            limiter = await _started(project="p")
            await limiter.start()
            await limiter.aclose()
            await limiter.aclose()
        lost = await _started(project="p")
        del lost
        unnamed = [await _started() for _ in range(2)]
        last = await _started(project="p")
        for limiter in (*unnamed, last):
            await limiter.aclose()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(scenario())


def test_a_warning_that_is_an_error_leaves_the_limiter_closed() -> None:
    """
    Whoever turns warnings into errors gets one, and nothing half open.
    """

    async def scenario() -> None:
        first, second = await _started(project="p"), LocalLimiter(project="p")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(UserWarning, match="two local limiters"):
                await second.start()
        await first.aclose()
        with pytest.raises(RuntimeError, match="not started"):
            await second.acquire()
        await second.start()
        await second.aclose()

    run(scenario())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"limit": 0}, "limit is a number of requests per second above 0, not 0"),
        ({"limit": -10}, "limit is a number of requests per second above 0, not -10"),
        ({"limit": math.nan}, "limit is a number of requests per second above 0, not nan"),
        ({"limit": math.inf}, "limit is a number of requests per second above 0, not inf"),
        ({"share": 0}, "share is more than 0 and at most 1, not 0"),
        ({"share": 1.0001}, "share is more than 0 and at most 1, not 1.0001"),
        ({"share": math.nan}, "share is more than 0 and at most 1, not nan"),
        ({"max_pause": 0}, "max_pause is more than 0 seconds and finite, not 0"),
        ({"catch_up": -0.001}, "catch_up is 0 to 0.02 seconds, not -0.001"),
        ({"catch_up": 0.021}, "catch_up is 0 to 0.02 seconds, not 0.021"),
        ({"catch_up": math.nan}, "catch_up is 0 to 0.02 seconds, not nan"),
        ({"catch_up": math.inf, "limit": 0.1}, "catch_up is 0 to 0.02 seconds, not inf"),
    ],
)
def test_settings_that_make_no_sense_are_refused(args: dict[str, float], message: str) -> None:
    """
    At once and by name: later it would be a flood, or silence.
    """
    with pytest.raises(ConfigError) as caught:
        LocalLimiter(**args)  # type: ignore[arg-type]

    assert str(caught.value) == message
