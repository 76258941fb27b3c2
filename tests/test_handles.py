"""
A handle is used like a future, and wherever an ID can be given.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from onehouse_tracker import (
    InvalidRequestError,
    Outcome,
    Request,
    Result,
    Results,
    Tracker,
    TrackerClosedError,
    TrackerPool,
    sync,
)
from onehouse_tracker.handles import Handle
from onehouse_tracker.testing import After, ScriptedSource
from tests.support import FAILED, PENDING, SUCCESS, run


def _source() -> ScriptedSource:
    return ScriptedSource(
        {"a": [After(1.0, SUCCESS)], "b": [After(2.0, FAILED)], "endless": [PENDING]}
    )


def test_what_a_handle_says_before_during_and_after() -> None:
    """
    A request that failed is a result, too: only what is not known is an exception.
    """

    async def scenario() -> None:
        async with Tracker(_source()) as tracker:
            handle, failed = tracker.track("a"), tracker.track("b")
            assert not handle.done()
            assert not handle.cancelled()
            with pytest.raises(asyncio.InvalidStateError, match="request a"):
                handle.exception()
            with pytest.raises(asyncio.InvalidStateError, match="request a"):
                handle.result()
            assert (await handle).ok
            assert handle.exception() is None
            assert (await failed).outcome is Outcome.FAILED
            assert failed.exception() is None
            assert not handle.cancel()
            assert not handle.cancelled()
            endless = tracker.track("endless")
        error = endless.exception()
        assert isinstance(error, TrackerClosedError)
        assert error.pending == ("endless",)
        assert endless.exception() is not error  # each caller has its own
        assert not endless.cancelled()

    run(scenario())


def test_cancelling_a_handle_cancels_who_awaits_it_as_futures_do() -> None:
    """
    `asyncio.wait`, `gather` and task groups know what a cancelled future is.
    """

    async def scenario() -> None:
        async with Tracker(_source()) as tracker:
            handle = tracker.track("endless")
            waiter = asyncio.ensure_future(handle)
            await asyncio.sleep(1)
            assert handle.cancel()
            await asyncio.wait([waiter])
            assert waiter.cancelled()
            for method in (handle.result, handle.exception):
                with pytest.raises(asyncio.CancelledError, match="request endless"):
                    method()
            assert "canceled" in repr(handle)

    run(scenario())


@pytest.mark.parametrize("how", ["result", "cancel", "close", "done already"])
def test_a_done_callback_is_called_once_however_it_ends(how: str) -> None:
    """
    In the context of whoever added it, and with the handle.
    """
    called: list[tuple[Handle, str]] = []
    name = contextvars.ContextVar("name", default="")

    async def scenario() -> None:
        async with Tracker(_source()) as tracker:
            handle = tracker.track("endless" if how in {"cancel", "close"} else "a")
            if how == "done already":
                await handle
            name.set("mine")
            handle.add_done_callback(lambda done: called.append((done, name.get())))
            name.set("later")
            assert not called
            await asyncio.sleep(3)
            handle.cancel()
            await asyncio.sleep(0.1)
            assert bool(called) is (how != "close")
        await asyncio.sleep(0)
        assert called == [(handle, "mine")]
        assert called[0][0].done()

    if how == "close":
        return _close(called)
    run(scenario())
    return None


def _close(called: list[tuple[Handle, str]]) -> None:
    async def scenario() -> None:
        async with Tracker(_source()) as tracker:
            handle = tracker.track("endless")
            handle.add_done_callback(lambda done: called.append((done, "")))
        await asyncio.sleep(0)
        assert called == [(handle, "")]

    run(scenario())


def test_what_a_done_callback_raises_disturbs_no_other() -> None:
    """
    It goes to the exception handler of the event loop, as with futures.
    """
    complaints: list[dict[str, Any]] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        async with Tracker(_source()) as tracker:
            handle = tracker.track("a")
            seen: list[Handle] = []
            handle.add_done_callback(lambda _: 1 // 0)
            handle.add_done_callback(seen.append)
            assert (await handle).ok
            await asyncio.sleep(0)
            assert seen == [handle]

    run(scenario())
    assert [type(each["exception"]) for each in complaints] == [ZeroDivisionError]


def test_a_dropped_handle_goes_on_and_a_dropped_iterator_does_not() -> None:
    """
    As with futures and with iterators: what the pages promise.
    """

    async def scenario() -> None:
        source = ScriptedSource({"a": [PENDING], "b": [PENDING]})
        async with Tracker(source) as tracker:
            tracker.track("a")
            tracker.as_completed(["b"])
            gc.collect()
            await asyncio.sleep(1)
            assert tracker.stats().pending == 1
            await asyncio.sleep(30)
        assert source.times("a")[-1] > 20

    run(scenario())


# --- Wherever an ID can be given --------------------------------------------------------


def _as_request(tracker: Tracker) -> Request:
    return Request(tracker.track("a", label="RUN JOB"))


def _as_result(tracker: Tracker) -> Result:
    del tracker
    return Result(request_id="a", outcome=Outcome.TIMED_OUT, label="RUN JOB")


def _as_handle(tracker: Tracker) -> Handle:
    return tracker.track("a", label="RUN JOB")


@pytest.mark.parametrize("make", [_as_request, _as_result, _as_handle])
def test_what_has_a_request_id_stands_for_it(make: Callable[[Tracker], Any]) -> None:
    """
    In every method that takes IDs, with its label.
    """

    async def stream(item: Any) -> AsyncIterator[Any]:
        yield item

    async def scenario() -> None:
        source = _source()
        async with Tracker(source) as tracker:
            item = make(tracker)
            listed = await tracker.wait_all([item, "a", item])
            streamed = await tracker.wait_all(stream(item))
            iterated = [result async for result in tracker.as_completed([item])]
            tracked = tracker.track(item)
            assert tracked.request_id == "a"
            assert tracked.label == "RUN JOB"
            for result in (listed["a"], streamed["a"], *iterated, await tracked):
                assert result.ok
                assert result.label == "RUN JOB"
            assert len(listed) == 1
        async with TrackerPool() as pool:
            pool.add("p", client=_source())
            assert (await pool.wait_all({"p": [item]}))["p"]["a"].label == "RUN JOB"
        assert Request(item) == Request("a", label="RUN JOB")
        assert Request(item, label="other").label == "other"

    run(scenario())


def test_handles_of_sync_stand_for_their_ids() -> None:
    """
    Those of the blocking tracker too, also with another tracker.
    """
    with sync.Tracker(ScriptedSource({"a": [SUCCESS], "b": [SUCCESS]})) as tracker:
        handles = [tracker.track("a", label="RUN JOB"), tracker.track("b")]
        assert list(tracker.wait_all(handles)) == ["a", "b"]
        assert {result.request_id for result in tracker.as_completed(handles)} == {"a", "b"}
        assert tracker.track(handles[0]).label == "RUN JOB"


def test_a_mapping_is_refused_with_a_hint() -> None:
    """
    Its keys would be polled, and seldom are they the IDs; those of `Results` are.
    """

    async def scenario() -> None:
        async with Tracker(_source()) as tracker:
            with pytest.raises(InvalidRequestError, match=r"not a dict, .*give ids\.values\(\)"):
                await tracker.wait_all({"nightly": "a"})
            with pytest.raises(InvalidRequestError, match="not one Handle"):
                await tracker.wait_all(tracker.track("a"))  # type: ignore[arg-type]
            results = await tracker.wait_all({"nightly": "a"}.values())
            assert isinstance(results, Results)
            assert (await tracker.wait_all(results)).ok

    run(scenario())


# --- The handle of sync -----------------------------------------------------------------


def test_done_callbacks_of_sync_run_in_a_thread_of_the_tracker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    They may block, and may use the tracker: polling is not delayed by them.
    """
    threads: list[str] = []
    done = threading.Event()

    def note(handle: sync.Handle) -> None:
        threads.append(threading.current_thread().name)
        assert handle.result().ok
        done.set()

    def fail(handle: sync.Handle) -> None:
        raise ValueError("secret of " + handle.request_id)

    with sync.Tracker(ScriptedSource({"a": [SUCCESS], "endless": [PENDING]})) as tracker:
        handle = tracker.track("a")
        assert handle.exception(timeout=5) is None
        with caplog.at_level(logging.ERROR):
            handle.add_done_callback(fail)
            handle.add_done_callback(note)
            assert done.wait(5)
        closed: list[sync.Handle] = []
        endless = tracker.track("endless")
        endless.add_done_callback(closed.append)
        with pytest.raises(TimeoutError):
            endless.exception(timeout=0.01)
    assert threads == ["onehouse-tracker callback_0"]
    assert "a done callback raised ValueError for request a" in caplog.text
    assert "secret" not in caplog.text
    assert closed == [endless]
    assert isinstance(endless.exception(), TrackerClosedError)
    endless.add_done_callback(closed.append)
    assert closed == [endless, endless]
