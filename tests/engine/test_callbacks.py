"""on_result: off the polling path, one at a time, and nobody is disturbed when it raises."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading

import pytest

from onehouse_tracker import Handle, PollPolicy, Result, Results, Tracker
from onehouse_tracker.errors import (
    OutageError,
    ThrottledError,
    TrackerClosedError,
    TransportError,
    UnauthorizedError,
)
from onehouse_tracker.events import CallbackFailed, Event, PollFinished
from onehouse_tracker.testing import ScriptedSource, Step, hang
from tests.support import PENDING, SUCCESS, now, run

IDS = ["a", "b", "c"]


def source() -> ScriptedSource:
    """Three requests that end at once."""
    return ScriptedSource({request_id: [SUCCESS] for request_id in IDS})


def test_plain_callback_runs_in_one_worker_thread() -> None:
    """
    It may block: the event loop never runs it.
    """
    seen: list[tuple[str, str]] = []

    def save(result: Result) -> None:
        seen.append((result.request_id, threading.current_thread().name))

    async def scenario() -> None:
        async with Tracker(source()) as tracker:
            await tracker.wait_all(IDS, on_result=save)

    run(scenario())
    assert [request_id for request_id, _ in seen] == IDS
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1].startswith("onehouse-tracker callback")
    assert not [thread for thread in threading.enumerate() if "callback" in thread.name]


def test_async_callbacks_run_one_at_a_time_and_are_waited_for() -> None:
    """
    wait_all returns when the last callback has; the polls do not wait for them.
    """
    running: list[int] = [0]

    async def save(_result: Result) -> None:
        running[0] += 1
        assert running[0] == 1
        await asyncio.sleep(10)
        running[0] -= 1

    requests = source()

    async def scenario() -> None:
        async with Tracker(requests) as tracker:
            await tracker.wait_all(IDS, on_result=save)
            assert now() == 30

    run(scenario())
    assert requests.calls[-1][0] < 0.5


class AsyncCallable:
    """An object whose call is a coroutine function."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def __call__(self, result: Result) -> None:
        """Take note of the result."""
        await asyncio.sleep(0)
        self.seen.append(result.request_id)


def test_every_kind_of_async_callable_is_awaited() -> None:
    """
    A partial, a lambda and a callable object hide the coroutine function they call.
    """
    kept = AsyncCallable()

    async def scenario() -> None:
        async with Tracker(source()) as tracker:
            await tracker.wait_all(IDS, on_result=kept)
            await tracker.wait_all(IDS, on_result=functools.partial(AsyncCallable.__call__, kept))
            await tracker.wait_all(IDS, on_result=lambda result: kept(result=result))

    run(scenario())
    assert kept.seen == IDS * 3


def test_callback_that_raises_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """
    Its exception is logged by name, kept in the results, and told to the observers.
    """
    events: list[Event] = []

    def save(result: Result) -> None:
        if result.request_id == "b":
            raise LookupError("token=hunter2")

    async def scenario() -> None:
        async with Tracker(source(), observers=[events.append]) as tracker:
            results = await tracker.wait_all(IDS, on_result=save)
            assert results.ok
            assert list(results.callback_errors) == ["b"]
            assert isinstance(results.callback_errors["b"], LookupError)

    with caplog.at_level(logging.DEBUG):
        run(scenario())
    assert "LookupError for request b" in caplog.text
    assert "hunter2" not in caplog.text
    assert [event.request_id for event in events if isinstance(event, CallbackFailed)] == ["b"]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_callback_that_panics_disturbs_nobody(kind: str) -> None:
    """
    Extensions raise exceptions that are no `Exception`; the later results come all the same.
    """

    class Panic(BaseException):
        pass

    called: list[str] = []

    def save(result: Result) -> None:
        called.append(result.request_id)
        if result.request_id == "b":
            raise Panic

    async def save_async(result: Result) -> None:
        save(result)

    async def scenario() -> Results:
        async with Tracker(ScriptedSource({name: [SUCCESS] for name in "abc"})) as tracker:
            return await tracker.wait_all(
                list("abc"), on_result=save if kind == "plain" else save_async
            )

    results = run(scenario())

    assert called == ["a", "b", "c"]
    assert list(results.callback_errors) == ["b"]
    assert isinstance(results.callback_errors["b"].__cause__, Panic)


def test_callback_gets_one_call_per_result_time_outs_included() -> None:
    """
    What was pending at the deadline is a result too.
    """
    seen: dict[str, str] = {}

    def save(result: Result) -> None:
        seen[result.request_id] = result.outcome

    async def scenario() -> None:
        async with Tracker(ScriptedSource({"a": [SUCCESS], "b": [PENDING]})) as tracker:
            await tracker.wait_all(["a", "b"], timeout=2, on_result=save)

    run(scenario())
    assert seen == {"a": "SUCCEEDED", "b": "TIMED_OUT"}


def test_cancelling_the_wait_interrupts_an_async_callback() -> None:
    """
    A callback that hangs does not outlive the call that owns it.
    """
    interrupted: list[str] = []

    async def save(result: Result) -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            interrupted.append(result.request_id)
            raise

    async def scenario() -> None:
        async with Tracker(source()) as tracker:
            task = asyncio.create_task(tracker.wait_all(IDS, on_result=save))
            await asyncio.sleep(5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert interrupted == ["a"]

    run(scenario())


def test_what_is_known_is_called_back_before_the_error() -> None:
    """
    A project that fails must not swallow the results that came before.
    """
    seen: list[str] = []

    async def save(result: Result) -> None:
        await asyncio.sleep(1)
        seen.append(result.request_id)

    async def scenario() -> None:
        policy = PollPolicy(patience=0.3, poll_timeout=0.2)
        scripted = ScriptedSource({"a": [SUCCESS], "b": [SUCCESS], "c": [hang]})
        async with Tracker(scripted, policy=policy) as tracker:
            task = asyncio.create_task(tracker.wait_all(IDS, on_result=save))
            await asyncio.sleep(0.5)
            assert seen == []
            with pytest.raises(OutageError) as caught:
                await task
            assert caught.value.pending == ("c",)
            assert seen == ["a", "b"]

    run(scenario())


def test_observer_that_raises_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """
    A broken sink is logged; polling goes on.
    """

    def broken(_event: Event) -> None:
        raise ValueError("sink")

    async def scenario() -> None:
        async with Tracker(source(), observers=[broken]) as tracker:
            assert (await tracker.wait_all(IDS)).ok

    run(scenario())
    assert "an observer failed on RequestJoined" in caplog.text


def test_callback_at_the_end_of_an_iterator_hangs_nobody() -> None:
    """
    No future takes a StopIteration: raised in the worker thread, it would never come back.
    """
    numbers = iter([1])

    async def scenario() -> None:
        async with Tracker(source()) as tracker:
            results = await tracker.wait_all(IDS, on_result=lambda _result: next(numbers))
            assert list(results.callback_errors) == ["b", "c"]
            assert isinstance(results.callback_errors["b"], StopIteration)

    run(scenario())


def test_callback_cancelled_from_within_disturbs_nobody() -> None:
    """
    Its own task was cancelled, not whoever waits here: the others are called back all the same.
    """
    seen: list[str] = []

    async def save(result: Result) -> None:
        seen.append(result.request_id)
        if result.request_id == "a":
            upload = asyncio.create_task(asyncio.sleep(1))
            upload.cancel()
            await upload

    async def scenario() -> None:
        async with Tracker(source()) as tracker:
            results = await tracker.wait_all(IDS, on_result=save)
            assert list(results.callback_errors) == ["a"]
            assert isinstance(results.callback_errors["a"].__cause__, asyncio.CancelledError)

    run(scenario())
    assert seen == IDS


@pytest.mark.parametrize("last", [SUCCESS, PENDING])
def test_closing_is_an_error_and_no_cancellation_for_a_wait_with_callbacks(last: str) -> None:
    """
    Closing cancels the task that calls back, not the task that waits: a cancellation that
    nobody asked for would end a task group without a word.
    """

    async def save(_result: Result) -> None:
        await asyncio.sleep(1000)

    async def scenario() -> None:
        async with Tracker(ScriptedSource({"a": [SUCCESS], "b": [last]})) as tracker:
            task = asyncio.create_task(tracker.wait_all(["a", "b"], on_result=save))
            await asyncio.sleep(1)
        with pytest.raises(TrackerClosedError) as caught:
            await task
        assert caught.value.results is not None
        assert "a" in caught.value.results
        assert caught.value.pending == (() if last == SUCCESS else ("b",))

    run(scenario())


@pytest.mark.parametrize(
    "step",
    [
        SUCCESS,
        PENDING,
        "NO_SUCH_STATUS",
        TransportError,
        ThrottledError("slow down", retry_after=1.0),
        UnauthorizedError("not yours", http_status=403),
    ],
)
def test_observer_may_let_a_request_go(step: Step) -> None:
    """
    An observer is told on the polling path: what it cancels there is not asked about again,
    and nobody else is disturbed.
    """
    handles: list[Handle] = []

    def let_go(event: Event) -> None:
        if isinstance(event, PollFinished) and event.request_id == "a":
            handles.pop().cancel()

    async def scenario() -> None:
        scripted = ScriptedSource({"a": [step], "b": [PENDING, PENDING, PENDING, SUCCESS]})
        async with Tracker(scripted, observers=[let_go]) as tracker:
            waiter = asyncio.create_task(tracker.wait_all(["b"]))
            await asyncio.sleep(0.05)
            handles.append(tracker.track("a"))
            assert (await waiter).ok
            await asyncio.sleep(60)
            assert len(scripted.times("a")) == 1
            assert tracker.stats().pending == 0

    run(scenario())
