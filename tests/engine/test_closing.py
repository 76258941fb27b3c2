"""
Closing from inside of what closing waits for is refused, and closing waits for nothing else.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from onehouse_tracker import Result, Tracker, TrackerPool
from onehouse_tracker.models import StatusReply
from onehouse_tracker.testing import ScriptedSource
from tests.support import PENDING, SUCCESS, run

Closing = Callable[[], Awaitable[object]]


def source() -> ScriptedSource:
    """Two requests that end at once, and one that does not end."""
    return ScriptedSource({"a": [SUCCESS], "b": [SUCCESS], "endless": [PENDING]})


async def directly(close: Closing) -> None:
    """Close in the task that runs here."""
    await close()


async def in_a_task(close: Closing) -> None:
    """Close in a task of its own, and wait for it."""

    async def closing() -> None:
        await close()

    await asyncio.create_task(closing())


async def behind_a_shield(close: Closing) -> None:
    """Close in a task that is not cancelled with this one."""

    async def closing() -> None:
        await close()

    await asyncio.shield(closing())


WAYS = [directly, in_a_task, behind_a_shield]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", ["callback", "iterable", "source"])
@pytest.mark.parametrize("what", ["tracker", "pool", "remove"])
def test_closing_from_inside_is_refused(
    what: str, place: str, way: Callable[[Closing], Awaitable[None]]
) -> None:
    """
    It would wait for itself; everything else goes on.
    """
    refused: list[str] = []

    async def scenario() -> None:
        async def close_inside() -> None:
            with pytest.raises(RuntimeError, match="it cannot be") as caught:
                await way(close)
            refused.append(str(caught.value))

        async def callback(_result: Result) -> None:
            if place == "callback":
                await close_inside()

        async def iterable() -> AsyncIterator[str]:
            yield "a"
            if place == "iterable":
                await close_inside()
            yield "b"

        class Source:
            async def fetch(self, request_id: str) -> StatusReply:
                if place == "source":
                    await close_inside()
                return await scripted.fetch(request_id)

        scripted = source()
        async with TrackerPool() as pool:
            pool.add("p", Source())
            tracker = await pool.tracker("p")

            async def close() -> None:
                if what == "tracker":
                    await tracker.__aexit__(None, None, None)
                elif what == "pool":
                    await pool.__aexit__(None, None, None)
                else:
                    await pool.remove("p")

            results = await tracker.wait_all(iterable(), on_result=callback)
            assert results.ok
            assert results.callback_errors == {}
            assert (await tracker.wait_all(["a"])).ok  # still open

    run(scenario())
    assert refused


def test_what_a_callback_started_may_close_when_it_has_returned() -> None:
    """
    Nothing waits for the callback any more.
    """

    async def scenario() -> None:
        tracker = Tracker(source())
        closed = asyncio.Event()
        tasks: list[asyncio.Task[None]] = []

        async def close() -> None:
            await asyncio.sleep(0.1)
            await tracker.__aexit__(None, None, None)
            closed.set()

        async def save(_result: Result) -> None:
            tasks.append(asyncio.create_task(close()))

        await tracker.__aenter__()
        waiting = asyncio.create_task(tracker.wait_all(["a", "endless"], on_result=save))
        await closed.wait()
        await asyncio.wait([waiting, *tasks])
        assert "closed" in str(waiting.exception())

    run(scenario())


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_plain_callback_cannot_close_either(*, cancelled: bool) -> None:
    """
    Its thread would wait for a closing that waits for its thread, also if its wait has ended.
    """
    loop = asyncio.get_running_loop()
    refused: list[BaseException] = []
    goes_on, is_in = threading.Event(), asyncio.Event()

    def save(_result: Result) -> None:
        loop.call_soon_threadsafe(is_in.set)
        goes_on.wait(5)
        closing = asyncio.run_coroutine_threadsafe(tracker.__aexit__(None, None, None), loop)
        error = closing.exception(5)
        assert error is not None
        refused.append(error)

    async with Tracker(source()) as tracker:
        waiting = asyncio.create_task(tracker.wait_all(["a"], on_result=save))
        await is_in.wait()
        if cancelled:
            waiting.cancel()
            await asyncio.wait([waiting])
        goes_on.set()
        await asyncio.wait([waiting])
    assert isinstance(refused[0], RuntimeError)


async def test_a_plain_callback_may_wait_with_a_plain_callback() -> None:
    """
    One worker thread serves all waits, but nobody can wait in it for itself.
    """
    loop = asyncio.get_running_loop()
    seen: list[str] = []

    def inner(result: Result) -> None:
        seen.append(f"inner {result.request_id}")

    def outer(result: Result) -> None:
        nested = asyncio.run_coroutine_threadsafe(tracker.wait_all(["b"], on_result=inner), loop)
        assert nested.result(5).ok
        seen.append(f"outer {result.request_id}")

    async with Tracker(source()) as tracker, asyncio.timeout(8):
        results = await tracker.wait_all(["a"], on_result=outer)
        assert results.callback_errors == {}
    assert seen == ["inner b", "outer a"]
    assert not [thread for thread in threading.enumerate() if "callback" in thread.name]


@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_callback_may_end_the_program(kind: str, ending: type[BaseException]) -> None:
    """
    It ends the wait that it belongs to, and the program through that; the tracker closes well.
    """
    calls: list[str] = []

    def save(result: Result) -> None:
        calls.append(result.request_id)
        raise ending

    async def save_async(result: Result) -> None:
        save(result)

    async def scenario() -> None:
        async with Tracker(source()) as tracker:
            with pytest.raises(ending):
                await tracker.wait_all(
                    ["a", "b", "endless"], on_result=save if kind == "plain" else save_async
                )
            assert tracker.stats().pending == 0
            assert (await tracker.wait_all(["b"])).ok

    run(scenario())
    assert calls == ["a"]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_callbacks_see_the_context_of_whoever_waits(kind: str) -> None:
    """
    The trace that they belong to, and what is in each line of the log.
    """
    trace: contextvars.ContextVar[str] = contextvars.ContextVar("trace", default="none")
    seen: list[str] = []

    def save(result: Result) -> None:
        seen.append(f"{result.request_id} {trace.get()}")
        trace.set("of the callback")

    async def save_async(result: Result) -> None:
        save(result)

    async def one(tracker: Tracker, request_id: str) -> None:
        trace.set(f"of {request_id}")
        callback = save if kind == "plain" else save_async
        await tracker.wait_all([request_id], on_result=callback)
        assert trace.get() == f"of {request_id}"

    async def scenario() -> None:
        async with Tracker(source()) as tracker, asyncio.TaskGroup() as group:
            for request_id in ("a", "b"):
                group.create_task(one(tracker, request_id))

    run(scenario())
    assert sorted(seen) == ["a of a", "b of b"]


async def test_closing_does_not_wait_for_the_users_own_jobs() -> None:
    """
    The loop's own threads are everybody's, and may all be busy for hours.
    """
    loop = asyncio.get_running_loop()
    over = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        loop.set_default_executor(executor)
        job = loop.run_in_executor(None, over.wait)
        try:
            async with asyncio.timeout(5), Tracker(source()) as tracker:
                await tracker.wait_all(["a"], on_result=lambda _: None)
        finally:
            over.set()
            await job
