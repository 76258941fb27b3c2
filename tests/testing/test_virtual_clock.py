"""The loop whose clock jumps."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from aiolimiter import AsyncLimiter
from hypothesis import given
from hypothesis import strategies as st

from onehouse_tracker.testing import DeadlockError, InlineExecutor, VirtualClockLoop
from onehouse_tracker.testing.plugin import VirtualTime


async def order_of(count: int) -> list[int]:
    """The order in which *count* tasks that are ready together run."""
    order: list[int] = []

    async def note(number: int) -> None:
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(note(number))
    return order


def test_three_sleeps_of_a_tenth_end_at_exactly_three_tenths(virtual_time: VirtualTime) -> None:
    """
    Tests compare times exactly, so decimal remainders must not add up.
    """

    async def scenario() -> float:
        for _ in range(3):
            await asyncio.sleep(0.1)
        return asyncio.get_running_loop().time()

    assert virtual_time(scenario()) == 0.3


@given(
    st.integers(0, 10**9),
    st.lists(st.integers(1, 10**7), min_size=1, max_size=50),
)
def test_decimal_sleeps_add_up_exactly(start: int, microseconds: list[int]) -> None:
    """
    Whatever the sleeps, the clock shows the decimal sum, from any start.
    """

    async def scenario() -> float:
        for pause in microseconds:
            await asyncio.sleep(pause / 1e6)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=lambda: VirtualClockLoop(start=start / 1e6)) as runner:
        end = runner.run(scenario())

    assert end == (start + sum(microseconds)) / 1e6


def test_a_year_of_sleep_costs_no_time(virtual_time: VirtualTime) -> None:
    """
    The reason for the loop's existence.
    """
    before = time.perf_counter()

    virtual_time(asyncio.sleep(365 * 86400))

    assert time.perf_counter() - before < 1


def test_it_works_as_the_loop_factory_of_a_runner() -> None:
    """
    No wrapper must be needed where the defaults do.
    """
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(asyncio.sleep(5))

        assert runner.get_loop().time() == 5


def test_timers_of_one_instant_fire_in_the_order_in_which_they_were_set(
    virtual_time: VirtualTime,
) -> None:
    """
    A heap alone does not keep the order of equals, and exact tests would depend on its whims.
    """
    fired: list[int] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        for number in range(50):
            loop.call_at(1.0, fired.append, number)
        await asyncio.sleep(1)

    virtual_time(scenario())

    assert fired == list(range(50))


def test_a_timer_that_is_due_at_once_does_not_move_the_clock(virtual_time: VirtualTime) -> None:
    """
    Only code that spins may make the clock creep; one look at a past deadline does not spin.
    """

    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(2)
        fired = loop.create_future()
        loop.call_at(1.0, fired.set_result, None)
        await fired
        return loop.time()

    assert virtual_time(scenario()) == 2


def test_waiting_for_a_remainder_moves_the_clock_instead_of_spinning(
    virtual_time: VirtualTime,
) -> None:
    """
    A remainder less than a tick would be waited for again and again, at the same instant.
    """

    async def scenario() -> tuple[int, float]:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1)
        goal, looks = 1 + 3e-7, 0
        while loop.time() < goal:
            looks += 1
            assert looks < 100
            again = loop.create_future()
            loop.call_at(goal, again.set_result, None)
            await again
        await asyncio.sleep(1)
        return looks, loop.time()

    looks, end = virtual_time(scenario())

    assert looks <= 5
    assert end == 2


def test_aiolimiter_paces_without_spinning(virtual_time: VirtualTime) -> None:
    """
    The limiter sets timers that are due at once; a clock that stood still would never end it.
    """

    async def scenario() -> list[float]:
        loop, grants = asyncio.get_running_loop(), []
        limiter = AsyncLimiter(1, 0.102)
        for _ in range(500):
            await limiter.acquire()
            grants.append(loop.time())
        return grants

    grants = virtual_time(scenario())

    assert grants == pytest.approx([0.102 * place for place in range(500)], abs=1e-4)


def test_cancelled_timers_neither_fire_nor_pile_up(virtual_time: VirtualTime) -> None:
    """
    Every poll sets a time-out of half a minute and cancels it soon: the heap must not keep all.
    """
    fired: list[int] = []

    async def scenario() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        most = 0
        loop.call_later(1800, fired.clear)  # before them, so that they do not surface
        for number in range(2000):
            timer = loop.call_later(3600, fired.append, number)
            await asyncio.sleep(0.001)
            timer.cancel()
            most = max(most, len(loop._timers))
        await asyncio.sleep(7200)
        return most

    assert virtual_time(scenario()) < 300
    assert fired == []


def test_nothing_left_to_wake_it_is_an_error_that_names_the_waiting(
    virtual_time: VirtualTime,
) -> None:
    """
    A test that would hang for ever must fail at once and say who waits where.
    """

    async def wait_for_nobody() -> None:
        await asyncio.Event().wait()

    async def scenario() -> None:
        await asyncio.sleep(3)
        await asyncio.create_task(wait_for_nobody(), name="lost wake-up")

    with pytest.raises(DeadlockError, match=r"at 3 s .*lost wake-up in wait_for_nobody"):
        virtual_time(scenario())


def test_the_error_names_ten_tasks_at_most(virtual_time: VirtualTime) -> None:
    """
    A thousand waiting tasks must not bury the message.
    """

    async def scenario() -> None:
        await asyncio.gather(*(asyncio.Event().wait() for _ in range(30)))

    with pytest.raises(DeadlockError, match="and 21 more"):
        virtual_time(scenario())


def test_a_timer_at_infinity_wakes_nobody(virtual_time: VirtualTime) -> None:
    """
    ``sleep(inf)`` is how code waits for cancellation: legal, and no reason to go on.
    """

    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(math.inf), 10)
        await asyncio.sleep(math.inf)

    with pytest.raises(DeadlockError, match="at 10 s"):
        virtual_time(scenario())


def test_a_timer_needs_a_number(virtual_time: VirtualTime) -> None:
    """
    NaN compares with nothing and would corrupt the heap silently.
    """

    async def scenario() -> None:
        asyncio.get_running_loop().call_at(math.nan, print)

    with pytest.raises(ValueError, match="NaN"):
        virtual_time(scenario())


def test_a_seed_shuffles_reproducibly(virtual_time: VirtualTime) -> None:
    """
    A failing order must come back with its seed, and other seeds must bring other orders.
    """
    orders = [virtual_time(order_of(8), seed=seed) for seed in range(20)]

    assert orders == [virtual_time(order_of(8), seed=seed) for seed in range(20)]
    assert len({tuple(order) for order in orders}) > 15
    assert virtual_time(order_of(8)) == list(range(8))


def test_timers_of_one_instant_are_shuffled_too(virtual_time: VirtualTime) -> None:
    """
    Two polls that are due together may go either way.
    """

    async def scenario() -> list[int]:
        fired: list[int] = []
        for number in range(8):
            asyncio.get_running_loop().call_at(1, fired.append, number)
        await asyncio.sleep(2)
        return fired

    assert len({tuple(virtual_time(scenario(), seed=seed)) for seed in range(10)}) > 5


def test_work_in_threads_takes_no_virtual_time(virtual_time: VirtualTime) -> None:
    """
    A real thread needs real time; a time-out of virtual seconds must not run out meanwhile.
    """

    async def scenario() -> float:
        async with asyncio.timeout(0.001):
            await asyncio.to_thread(time.sleep, 0.02)
        return asyncio.get_running_loop().time()

    assert virtual_time(scenario()) == 0


def test_jobs_are_delivered_in_the_order_in_which_they_were_started(
    virtual_time: VirtualTime,
) -> None:
    """
    Which thread is faster is chance, and chance must not decide the course of a test.
    """
    done: list[int] = []

    async def job(number: int) -> None:
        await asyncio.to_thread(time.sleep, 0.01 * (3 - number))
        done.append(number)

    async def scenario() -> None:
        await asyncio.gather(*(job(number) for number in range(3)))

    virtual_time(scenario())

    assert done == [0, 1, 2]


def test_what_a_job_raises_reaches_its_waiter(virtual_time: VirtualTime) -> None:
    """
    Callbacks that raise in a worker thread are part of the product.
    """

    def fail() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        virtual_time(asyncio.to_thread(fail))


def test_a_job_may_call_back_into_the_loop(virtual_time: VirtualTime) -> None:
    """
    A worker that waits for the loop would wait for ever if the loop only waited for it.
    """

    async def answer() -> int:
        return 42

    async def scenario() -> int:
        loop = asyncio.get_running_loop()

        def work() -> int:
            time.sleep(0.01)  # until the loop has nothing left to do but to wait for us
            return asyncio.run_coroutine_threadsafe(answer(), loop).result(5)

        return await loop.run_in_executor(None, work)

    assert virtual_time(scenario()) == 42


def test_a_cancelled_job_is_not_waited_for(virtual_time: VirtualTime) -> None:
    """
    Whoever gave up must not be held up by a thread that goes on.
    """
    release = threading.Event()

    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(None, release.wait)
        job.cancel()
        await asyncio.sleep(5)
        release.set()
        return loop.time()

    assert virtual_time(scenario()) == 5


def test_a_job_that_never_ran_is_cancelled_for_its_waiter(virtual_time: VirtualTime) -> None:
    """
    An executor that is shut down drops what waits in it; the waiter must learn of it.
    """
    release = threading.Event()

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as executor:
            loop.run_in_executor(executor, release.wait)
            dropped = loop.run_in_executor(executor, print)
            executor.shutdown(wait=False, cancel_futures=True)
            release.set()
            with pytest.raises(asyncio.CancelledError):
                await dropped

    virtual_time(scenario())


def test_a_thread_that_never_ends_is_an_error() -> None:
    """
    A job that waits for the clock to move would stop everything, silently.
    """
    release = threading.Event()

    async def scenario() -> None:
        await asyncio.get_running_loop().run_in_executor(None, release.wait)

    loop_factory = partial(VirtualClockLoop, thread_patience=0.01)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        with pytest.raises(DeadlockError, match="a thread does not finish"):
            runner.run(scenario())
        release.set()


def test_an_inline_executor_works_in_the_calling_thread(virtual_time: VirtualTime) -> None:
    """
    Ten thousand small worlds cannot afford threads, nor the chance that comes with them.
    """

    async def scenario() -> tuple[int, str]:
        loop = asyncio.get_running_loop()
        executor = InlineExecutor()
        thread = await loop.run_in_executor(executor, threading.get_ident)
        with pytest.raises(ValueError, match="invalid literal") as caught:
            await loop.run_in_executor(executor, int, "x")
        return thread, type(caught.value).__name__

    assert virtual_time(scenario()) == (threading.get_ident(), "ValueError")


def test_a_timer_cancelled_among_others_of_its_instant_does_not_fire(
    virtual_time: VirtualTime,
) -> None:
    """
    It surfaces between two that do fire, after the loop has looked for cancelled ones.
    """

    async def scenario() -> list[str]:
        loop, fired = asyncio.get_running_loop(), list[str]()
        loop.call_at(1, fired.append, "first")
        loop.call_at(1, fired.append, "cancelled").cancel()
        loop.call_at(1, fired.append, "last")
        await asyncio.sleep(2)
        return fired

    assert virtual_time(scenario()) == ["first", "last"]


def test_a_callback_cancelled_while_it_is_ready_does_not_run(virtual_time: VirtualTime) -> None:
    """
    Whoever runs first in a round may cancel what would run later in it.
    """

    async def scenario() -> list[str]:
        loop, ran = asyncio.get_running_loop(), list[str]()
        loop.set_exception_handler(lambda _, context: ran.append(context["message"]))
        loop.call_soon(ran.append, "kept")
        loop.call_soon(ran.append, "cancelled").cancel()
        await asyncio.sleep(1)
        return ran

    assert virtual_time(scenario()) == ["kept"]


async def refuse_connection() -> None:
    """Open a connection the high-level way."""
    await asyncio.open_connection("127.0.0.1", 1)


async def refuse_server() -> None:
    """Open a server."""
    await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)


async def refuse_lookup() -> None:
    """Look up a host."""
    await asyncio.get_running_loop().getaddrinfo("localhost", 1)


async def refuse_socket() -> None:
    """Connect a socket the low-level way, as aiohttp does."""
    await asyncio.get_running_loop().sock_connect(None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "attempt", [refuse_connection, refuse_server, refuse_lookup, refuse_socket]
)
def test_sockets_are_refused_with_a_reason(virtual_time: VirtualTime, attempt: object) -> None:
    """
    The clock would jump past every time-out while a reply is on its way.
    """
    assert callable(attempt)

    with pytest.raises(RuntimeError, match="no sockets"):
        virtual_time(attempt())


def test_a_closed_loop_takes_no_timers_and_no_jobs() -> None:
    """
    A timer on a dead loop is a bug of the caller that must not pass unseen.
    """
    loop = VirtualClockLoop()
    loop.close()

    with pytest.raises(RuntimeError, match="closed"):
        loop.call_later(1, print)
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_in_executor(None, print)


def test_its_repr_tells_the_time() -> None:
    """
    It shows up in logs and in failing assertions.
    """
    loop = VirtualClockLoop(start=12.5)
    loop.call_later(1, print)

    assert repr(loop) == "<VirtualClockLoop: 12.5 s, 1 timers>"
    loop.close()


def test_it_is_fast_enough_for_billions_of_virtual_seconds(virtual_time: VirtualTime) -> None:
    """
    The benchmarks need 10,000 polls a second; a fifth of that time is the clock's.
    """

    async def scenario() -> None:
        for _ in range(20_000):
            await asyncio.sleep(0.1)

    before = time.process_time()
    virtual_time(scenario())

    # Five times slower than measured on a slow machine.
    assert 20_000 / (time.process_time() - before) > 20_000
