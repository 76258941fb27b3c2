"""
What nobody closed and is cancelled all the same: whoever waits, now or later, is told at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from onehouse_tracker import Result, Tracker, TrackerClosedError, TrackerError
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.models import StatusReply
from onehouse_tracker.testing import ScriptedSource
from tests.support import PENDING, SUCCESS, now, run


def cancel_all_but_me() -> None:
    """What many a service does before it waits for the last time."""
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


def cancel(name: str) -> None:
    """Cancel the task of this name."""
    for task in asyncio.all_tasks():
        if task.get_name().endswith(name):
            task.cancel()


class Stubborn:
    """Its polls take their time to end when they are cancelled."""

    async def fetch(self, request_id: str) -> StatusReply:
        """Answer late."""
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            await asyncio.sleep(20)
        return StatusReply(PENDING)


async def all_ids(tracker: Tracker) -> object:
    """Wait for a list."""
    return await tracker.wait_all(["a"])


async def one_by_one(tracker: Tracker) -> object:
    """Wait for what an iterable brings."""

    async def ids() -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(1_000)

    return await tracker.wait_all(ids())


async def as_they_come(tracker: Tracker) -> object:
    """Take results as they come."""
    return [result async for result in tracker.as_completed(["a"])]


async def with_a_handle(tracker: Tracker) -> object:
    """Hold a handle."""
    return await tracker.track("a")


async def a_slot(tracker: Tracker) -> object:
    """Wait for a slot, or do without."""
    async with tracker.slot():
        return await tracker.track("a")


WAYS = [all_ids, one_by_one, as_they_come, with_a_handle, a_slot]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("turns", [0, 1, 5])
@pytest.mark.parametrize("source", [Stubborn, lambda: ScriptedSource({"a": [PENDING]})])
def test_a_wait_after_all_tasks_were_cancelled_is_refused(
    way: Callable[[Tracker], Awaitable[object]], turns: int, source: Callable[[], Stubborn]
) -> None:
    """
    The polling has ended for good: also where the wait begins before that has come to pass.
    """

    async def scenario() -> None:
        async with Tracker(source()) as tracker:
            asleep = tracker.track("a")
            await asyncio.sleep(2)
            cancel_all_but_me()
            for _ in range(turns):
                await asyncio.sleep(0)
            for waits in (way(tracker), asleep):
                with pytest.raises(TrackerClosedError, match="was cancelled from outside"):
                    await waits
            with pytest.raises(TrackerClosedError, match="was cancelled from outside"):
                tracker.stats()
            assert now() == 2
        with pytest.raises(TrackerClosedError, match="was cancelled from outside"):
            tracker.track("a")

    run(scenario())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("later", [0, 3])
def test_who_waits_is_told_at_once_that_the_engine_was_cancelled(
    way: Callable[[Tracker], Awaitable[object]], later: float
) -> None:
    """
    Not when the last poll has ended, and not only who comes later; nobody is cancelled himself.
    """

    async def scenario() -> None:
        async with Tracker(Stubborn()) as tracker:
            waiting = [asyncio.create_task(_run(way, tracker)) for way in WAYS]
            await asyncio.sleep(later)
            cancel("engine")
            await asyncio.wait(waiting)
            assert now() == later
            for task in waiting:
                assert isinstance(task.exception(), TrackerClosedError)

    run(scenario())


async def _run(way: Callable[[Tracker], Awaitable[object]], tracker: Tracker) -> object:
    return await way(tracker)


def test_a_limiter_that_is_cancelled_from_within_is_named() -> None:
    """
    It ends the polling, and nobody but those who wait can say so.
    """

    class Broken(LocalLimiter):
        async def acquire(self) -> None:
            await super().acquire()
            if self.stats().granted == 2:
                raise asyncio.CancelledError

    async def scenario() -> None:
        async with Tracker(ScriptedSource({"a": [PENDING]}), limiter=Broken()) as tracker:
            with pytest.raises(TrackerClosedError, match="its limiter was cancelled"):
                await tracker.wait_all(["a"])
            assert now() < 1

    run(scenario())


@pytest.mark.parametrize("turns", [0, 1, 4])
def test_an_iterable_whose_task_is_cancelled_fails_its_wait(turns: int) -> None:
    """
    Nobody would feed the wait any more; everything else goes on.
    """

    async def ids() -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(1_000)

    async def scenario() -> None:
        source = ScriptedSource({"a": [SUCCESS], "b": [PENDING] * 9 + [SUCCESS]})
        async with Tracker(source) as tracker:
            waiting = asyncio.create_task(tracker.wait_all(ids()))
            taking = asyncio.create_task(_run(_take, tracker))
            other = tracker.track("b")
            for _ in range(turns):
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            cancel("feeder")
            await asyncio.wait([waiting, taking])
            assert now() == 0
            for task in (waiting, taking):
                assert type(task.exception()) is TrackerError
                assert "reads the iterable" in str(task.exception())
            assert (await other).ok

    async def _take(tracker: Tracker) -> object:
        return [result async for result in tracker.as_completed(ids())]

    run(scenario())


def test_a_callback_whose_task_is_cancelled_fails_its_wait() -> None:
    """
    The results would come to nobody, and the wait would end when all have.
    """

    async def save(_result: Result) -> None:
        pass

    async def scenario() -> None:
        source = ScriptedSource({"a": [PENDING]})
        async with Tracker(source) as tracker:
            waiting = asyncio.create_task(tracker.wait_all(["a"], on_result=save))
            await asyncio.sleep(3)
            cancel("callbacks")
            await asyncio.wait([waiting])
            assert now() == 3
            assert "calls on_result" in str(waiting.exception())

    run(scenario())


@pytest.mark.parametrize("turns", [0, 1, 5])
def test_a_poll_that_is_cancelled_is_a_poll_that_failed(turns: int) -> None:
    """
    Its request is asked about again.
    """

    async def scenario() -> None:
        source = ScriptedSource({"a": [SUCCESS]}, latency=0.5)
        async with Tracker(source) as tracker:
            waiting = asyncio.create_task(tracker.wait_all(["a"]))
            await asyncio.sleep(0.1)
            assert tracker.stats().in_flight == 1
            for _ in range(turns):
                await asyncio.sleep(0)
            cancel("poll a")
            results = await waiting
            assert results.ok
            assert tracker.stats().in_flight == 0
            assert results["a"].polls == 2

    run(scenario())


@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt])
def test_an_iterable_may_end_the_program(ending: type[BaseException]) -> None:
    """
    It is raised where somebody waits.
    """

    async def ids() -> AsyncIterator[str]:
        yield "a"
        raise ending

    async def scenario() -> None:
        async with Tracker(ScriptedSource({"a": [PENDING]})) as tracker:
            with pytest.raises(ending):
                await tracker.wait_all(ids())
            assert tracker.stats().pending == 0

    run(scenario())
