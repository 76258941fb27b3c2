"""wait_all, as_completed and handles: joining, sharing, leaving, deadlines."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import AsyncIterator, Awaitable, Iterator
from datetime import timedelta

import pytest

from onehouse_tracker import Handle, Outcome, PollPolicy, Request, Result, Tracker
from onehouse_tracker.errors import (
    ConfigError,
    InvalidRequestError,
    TrackerClosedError,
)
from onehouse_tracker.events import Event, ProjectFailed
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.models import StatusReply
from onehouse_tracker.testing import After, ScriptedSource, hang
from tests.support import FAILED, PENDING, SUCCESS, now, run


def pending_for(polls: int, last: str = SUCCESS) -> list[str]:
    """A script that is pending for so many polls."""
    return [PENDING] * polls + [last]


def test_results_are_in_input_order_and_duplicates_are_asked_once() -> None:
    """
    The order of the answer is that of the question, whatever ends first.
    """
    source = ScriptedSource({"a": pending_for(3), "b": [SUCCESS], "c": pending_for(1, FAILED)})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            results = await tracker.wait_all(["a", Request("b", label="DDL"), "c", "a"])
            assert list(results) == ["a", "b", "c"]
            assert [result.request_id for result in results.failed] == ["c"]
            assert results["b"].label == "DDL"
            with pytest.raises(ExceptionGroup) as caught:
                results.raise_for_failures()
            assert "request c ended FAILED" in str(caught.value.exceptions[0])

    run(scenario())
    assert len(source.times("b")) == 1


def test_nothing_to_wait_for_is_done_at_once() -> None:
    """
    An empty list is not an error, and costs no request.
    """

    async def scenario() -> None:
        async with Tracker(ScriptedSource({})) as tracker:
            assert len(await tracker.wait_all([])) == 0
            assert [result async for result in tracker.as_completed([])] == []

    run(scenario())


@pytest.mark.parametrize(
    "bad", ["abc", b"abc", ["ok", ""], ["ok", 7], ["ok", "a\nb"], ["x" * 257], [None]]
)
def test_bad_input_is_refused_before_anything_is_asked(bad: object) -> None:
    """
    One bad ID among good ones is an error at once; nothing was sent.
    """
    source = ScriptedSource({"ok": [SUCCESS]})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            with pytest.raises(InvalidRequestError):
                await tracker.wait_all(bad)  # type: ignore[arg-type] # that is the point
            with pytest.raises(InvalidRequestError):
                tracker.as_completed(bad)  # type: ignore[arg-type] # that is the point
            assert tracker.stats().pending == 0

    run(scenario())
    assert source.calls == []


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf"), "5", timedelta(5), True])
def test_senseless_timeout_is_refused(timeout: float) -> None:
    """
    A deadline in the past or in no time at all is a mistake of the caller.
    """

    async def scenario() -> None:
        async with Tracker(ScriptedSource({})) as tracker:
            with pytest.raises(ConfigError, match="timeout"):
                await tracker.wait_all(["a"], timeout=timeout)

    run(scenario())


def test_shared_request_is_polled_once_and_everyone_is_told() -> None:
    """
    Three waiters for one ID: one poll per turn, and results that share nothing mutable.
    """

    async def answer(_request_id: str) -> StatusReply:
        return StatusReply(SUCCESS, {"tables": ["t"]})

    source = ScriptedSource({"a": [PENDING, PENDING, answer]})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            handle = tracker.track("a", label="third")
            first, second = await asyncio.gather(
                tracker.wait_all(["a"], default_label="first"), tracker.wait_all(["a"])
            )
            third = await handle
            assert (first["a"].label, third.label) == ("first", "third")
            responses = [first["a"].response, second["a"].response, third.response]
            assert responses == [{"tables": ["t"]}] * 3
            assert len({id(response) for response in responses}) == 3

    run(scenario())
    assert len(source.calls) == 3


def test_cancelling_one_waiter_does_not_disturb_another() -> None:
    """
    The poll in flight goes on as long as anyone needs it.
    """
    source = ScriptedSource({"a": [After(5.0, SUCCESS)]})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            first = asyncio.create_task(tracker.wait_all(["a"]))
            second = asyncio.create_task(tracker.wait_all(["a"]))
            await asyncio.sleep(1)
            first.cancel()
            assert (await second)["a"].ok
            assert first.cancelled()

    run(scenario())
    assert len(source.calls) == 1


def test_cancelling_the_last_waiter_stops_the_polling() -> None:
    """
    Nobody waits any more: the poll in flight is cancelled and no other is sent.
    """
    source = ScriptedSource({"a": [PENDING, hang], "b": pending_for(1)})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            task = asyncio.create_task(tracker.wait_all(["a", "b"]))
            await asyncio.sleep(2)
            assert source.in_flight == {"a": 1}
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0)
            assert source.in_flight == {}
            assert (tracker.stats().pending, tracker.stats().in_flight) == (0, 0)
            await asyncio.sleep(100)

    run(scenario())
    assert source.times("a")[-1] < 2


def test_timeout_loses_nothing() -> None:
    """
    What is pending at the deadline is TIMED_OUT, and can be waited for again.
    """
    source = ScriptedSource({"slow": pending_for(8), "quick": [SUCCESS]})

    async def scenario() -> None:
        async with Tracker(source, policy=PollPolicy(idle_share=0)) as tracker:
            results = await tracker.wait_all(["slow", "quick"], timeout=2.5)
            assert now() == 2.5
            assert results["slow"].outcome is Outcome.TIMED_OUT
            assert results["slow"].status == PENDING
            assert results["slow"].polls == 7
            assert results["slow"].detected_at is None
            assert [result.request_id for result in results.unfinished] == ["slow"]
            assert not results.ok
            assert (await tracker.wait_all(result.request_id for result in results.unfinished)).ok

    run(scenario())


def test_deadline_of_one_waiter_leaves_the_poll_to_another() -> None:
    """
    A poll in flight at the deadline is finished if somebody else needs it.
    """
    source = ScriptedSource({"a": [After(5.0, SUCCESS)]})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            handle = tracker.track("a")
            results = await tracker.wait_all(["a"], timeout=1)
            assert results["a"].outcome is Outcome.TIMED_OUT
            assert (await handle).ok

    run(scenario())
    assert len(source.calls) == 1


def test_timeout_of_zero_asks_nothing() -> None:
    """
    A deadline of now is the deadline of now.
    """

    async def scenario() -> None:
        async with Tracker(ScriptedSource({"a": [hang]})) as tracker:
            results = await tracker.wait_all(["a"], timeout=0)
            assert results["a"].outcome is Outcome.TIMED_OUT
            assert now() == 0

    run(scenario())


def test_async_iterable_is_followed_while_it_produces() -> None:
    """
    IDs that come late are asked about when they come, not when the last one has come.
    """
    source = ScriptedSource({"a": [SUCCESS], "b": [SUCCESS]})

    async def produce() -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(50)
        yield "b"
        yield "a"

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            seen = [(now(), result.request_id) async for result in tracker.as_completed(produce())]
            assert seen == [(0, "a"), (50, "b")]
            assert list(await tracker.wait_all(produce())) == ["a", "b"]
            late = await tracker.wait_all(produce(), timeout=10)
            assert list(late) == ["a"]

    run(scenario())


def test_failing_async_iterable_fails_its_waiter() -> None:
    """
    The user's own error reaches the user, and the IDs are let go.
    """
    source = ScriptedSource({"a": [hang]})

    async def produce() -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(1)
        raise LookupError("no more rows")

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            with pytest.raises(LookupError, match="no more rows"):
                await tracker.wait_all(produce())
            assert tracker.stats().pending == 0

    run(scenario())


def test_iterable_cancelled_from_within_fails_its_waiter() -> None:
    """
    It awaited something that others cancelled: whoever waits is told, and does not hang.
    """

    async def ids() -> AsyncIterator[str]:
        yield "a"
        query = asyncio.create_task(asyncio.sleep(1))
        query.cancel()
        await query

    async def scenario() -> None:
        async with Tracker(ScriptedSource({"a": [SUCCESS]})) as tracker:
            with pytest.raises(RuntimeError, match="cancelled from within") as caught:
                await tracker.wait_all(ids())
            assert isinstance(caught.value.__cause__, asyncio.CancelledError)

    run(scenario())


def test_other_threads_are_refused() -> None:
    """
    A plain callback runs in a thread: what it told the engine from there would be lost or
    late, because nothing wakes the loop.
    """
    caught: list[TrackerClosedError] = []

    async def scenario() -> None:
        async with Tracker(ScriptedSource({"a": [SUCCESS]})) as tracker:

            def follow_up(_result: Result) -> None:
                with pytest.raises(TrackerClosedError, match="another event loop") as error:
                    tracker.track("b")
                caught.append(error.value)

            assert (await tracker.wait_all(["a"], on_result=follow_up)).callback_errors == {}
            assert tracker.stats().pending == 0

    run(scenario())
    assert len(caught) == 1


@pytest.mark.parametrize("status", [7, ["API_OPERATION_STATUS_SUCCESS"], {}])
def test_senseless_status_harms_its_own_request_only(status: object) -> None:
    """
    A source of the user's own may hand on what it got: once it has answered, one bad
    reply must not end the polling.
    """

    async def senseless(_request_id: str) -> StatusReply:
        return StatusReply(status)  # type: ignore[arg-type] # that is the point

    async def scenario() -> None:
        source = ScriptedSource({"a": [senseless], "b": pending_for(2)})
        async with Tracker(source) as tracker:
            results = await tracker.wait_all(["b", "a"], timeout=30)
            assert results["a"].outcome is Outcome.TIMED_OUT
            assert results["a"].reason.startswith("TypeError: a status is a str or None")
            assert results["b"].ok

    run(scenario())


def test_as_completed_yields_in_the_order_of_ending() -> None:
    """
    The first to end comes first; leaving the block lets the rest go.
    """
    source = ScriptedSource({"slow": pending_for(4), "quick": [SUCCESS], "never": [PENDING]})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            async with tracker.as_completed(["slow", "never", "quick"]) as completions:
                seen = [(await anext(completions)).request_id for _ in range(2)]
                assert "1 pending" in repr(completions)
            assert seen == ["quick", "slow"]
            assert tracker.stats().pending == 0

    run(scenario())


def test_abandoned_iterator_releases_its_ids() -> None:
    """
    After a bare break the garbage collector ends the polling.
    """
    source = ScriptedSource({"a": [SUCCESS], "b": [PENDING]})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            async for result in tracker.as_completed(["a", "b"]):
                assert result.request_id == "a"
                break
            gc.collect()
            await asyncio.sleep(0)
            assert tracker.stats().pending == 0

    run(scenario())


def test_cancelled_step_of_an_iterator_loses_no_result() -> None:
    """
    A time-out around one step is common; the next step gets the result.
    """
    source = ScriptedSource({"a": pending_for(3)})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            completions = tracker.as_completed(["a"])
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await anext(completions)
            assert (await anext(completions)).request_id == "a"
            with pytest.raises(StopAsyncIteration):
                await anext(completions)

    run(scenario())


def test_several_tasks_share_one_iterator() -> None:
    """
    A pool of workers takes from one iterator: each result goes to one of them.
    """
    ids = [f"r{number}" for number in range(20)]
    source = ScriptedSource({request_id: [SUCCESS] for request_id in ids})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            completions = tracker.as_completed(ids)

            async def worker() -> list[str]:
                return [result.request_id async for result in completions]

            shares = await asyncio.gather(*(worker() for _ in range(3)))
            assert sorted(itertools.chain(*shares)) == sorted(ids)

    run(scenario())


def test_as_completed_hands_out_time_outs_too() -> None:
    """
    At the deadline each open request comes as TIMED_OUT: one result per ID, always.
    """

    async def scenario() -> None:
        async with Tracker(ScriptedSource({"a": [SUCCESS], "b": [PENDING]})) as tracker:
            seen = {
                r.request_id: r.outcome async for r in tracker.as_completed(["a", "b"], timeout=3)
            }
            assert seen == {"a": Outcome.SUCCEEDED, "b": Outcome.TIMED_OUT}
            assert now() == 3

    run(scenario())


def test_handle_can_be_awaited_by_many_and_more_than_once() -> None:
    """
    Cancelling a task that awaits a handle does not cancel the handle.
    """
    source = ScriptedSource({"a": pending_for(3)})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            handle = tracker.track("a", label="RUN JOB")
            with pytest.raises(asyncio.InvalidStateError):
                handle.result()

            async def wait() -> Result:
                return await handle

            tasks = [asyncio.create_task(wait()) for _ in range(3)]
            await asyncio.sleep(0.5)
            tasks[0].cancel()
            results = await asyncio.gather(*tasks[1:], handle)
            assert {result.outcome for result in results} == {Outcome.SUCCEEDED}
            assert handle.done()
            assert handle.result() == await handle
            assert handle.label == "RUN JOB"
            assert "SUCCEEDED" in repr(handle)
            assert not handle.cancel()

    run(scenario())


def test_cancelled_handle_stops_the_polling_and_says_so() -> None:
    """
    Whoever awaits it gets what a cancelled future raises, with the request's name in it.
    """
    source = ScriptedSource({"a": [PENDING]})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            handle = tracker.track("a")
            await asyncio.sleep(1)
            assert handle.cancel()
            assert tracker.stats().pending == 0
            with pytest.raises(asyncio.CancelledError, match="request a"):
                await handle
            assert handle.cancelled()
            assert "canceled" in repr(handle)

    run(scenario())


def test_outcome_is_remembered_as_long_as_a_handle_holds_it() -> None:
    """
    While the handle lives nobody asks again; afterwards a later wait does.
    """
    source = ScriptedSource({"a": [SUCCESS]})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            handle = tracker.track("a")
            await handle
            assert (await tracker.wait_all(["a"], default_label="again"))["a"].label == "again"
            assert (await tracker.track("a")).ok
            assert len(source.calls) == 1
            await tracker.track("a")  # another handle, which comes and goes
            gc.collect()
            assert (await tracker.wait_all(["a"])).ok
            assert len(source.calls) == 1
            del handle
            gc.collect()
            assert (await tracker.wait_all(["a"])).ok
            assert len(source.calls) == 2

    run(scenario())


def test_everything_outside_the_block_is_a_clear_error() -> None:
    """
    Before, after, and a second time: each says what to do.
    """

    async def scenario() -> None:
        tracker = Tracker(ScriptedSource({}))
        attempts: list[Awaitable[object]] = [tracker.wait_all(["a"]), tracker.submit("SHOW X")]
        for attempt in attempts:
            with pytest.raises(TrackerClosedError, match="async with"):
                await attempt
        with pytest.raises(TrackerClosedError):
            tracker.track("a")
        with pytest.raises(TrackerClosedError):
            tracker.as_completed(["a"])
        with pytest.raises(TrackerClosedError):
            tracker.stats()
        async with tracker:
            with pytest.raises(TrackerClosedError, match="only once"):
                await tracker.__aenter__()
        assert repr(tracker) == "<Tracker: closed>"
        with pytest.raises(TrackerClosedError, match="closed"):
            await tracker.wait_all(["a"])
        with pytest.raises(TrackerClosedError, match="only once"):
            await tracker.__aenter__()

    run(scenario())


def test_closing_tells_everyone_who_waits() -> None:
    """
    No waiter hangs when the block ends: each gets the results so far and what is open.
    """
    source = ScriptedSource({"a": [SUCCESS], "b": [hang]})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            waiter = asyncio.create_task(tracker.wait_all(["a", "b"]))
            await asyncio.sleep(0)
            handle = tracker.track("b")
            completions = tracker.as_completed(["a", "b"])
            slot = asyncio.create_task(_enter(tracker))
            await asyncio.sleep(1)
        with pytest.raises(TrackerClosedError) as caught:
            await waiter
        assert caught.value.results is not None
        assert caught.value.results["a"].ok
        assert caught.value.pending == ("b",)
        with pytest.raises(TrackerClosedError):
            await handle
        assert (await anext(completions)).request_id == "a"
        with pytest.raises(TrackerClosedError):
            await anext(completions)
        await slot

    run(scenario())
    assert source.in_flight == {}


async def _enter(tracker: Tracker) -> None:
    async with tracker.slot():
        pass


def test_closing_ends_even_if_the_limiter_swallows_the_cancellation() -> None:
    """
    A library behind a limiter may do so; the tracker must not wait for ever, nor send once more.
    """

    class DeafLimiter(LocalLimiter):
        async def acquire(self) -> None:
            try:
                await super().acquire()
            except asyncio.CancelledError:
                await asyncio.sleep(0.01)

    source = ScriptedSource({"a": [PENDING] * 100})

    async def scenario() -> None:
        async with Tracker(source, limiter=DeafLimiter(limit=1.0)) as tracker:
            tracker.track("a")
            await asyncio.sleep(1.5)  # the next slot is being waited for
            asked = len(source.calls)
        assert len(source.calls) == asked
        assert now() == 1.51

    run(scenario())


def test_engine_that_dies_takes_nobody_with_it() -> None:
    """
    Nobody waits for a dead engine: the cause is told.
    """

    class BrokenLimiter:
        limit = 10.0
        paused_until = 0.0

        async def start(self) -> None:
            pass

        async def acquire(self) -> None:
            await asyncio.sleep(1)
            raise RuntimeError("the limiter broke")

        async def aclose(self) -> None:
            pass

    async def scenario() -> None:
        async with Tracker(ScriptedSource({"a": [SUCCESS]}), limiter=BrokenLimiter()) as tracker:  # type: ignore[arg-type] # as much of a limiter as is needed
            with pytest.raises(TrackerClosedError, match="polling loop failed") as caught:
                await tracker.wait_all(["a"])
            assert "the limiter broke" in repr(caught.value.__cause__)
            with pytest.raises(TrackerClosedError):
                await tracker.wait_all(["a"])

    run(scenario())


def test_generator_is_consumed_once() -> None:
    """
    Any iterable will do, a generator included.
    """

    def produce() -> Iterator[str]:
        yield from ("a", "b")

    async def scenario() -> None:
        source = ScriptedSource({"a": [SUCCESS], "b": [SUCCESS]})
        async with Tracker(source) as tracker:
            assert list(await tracker.wait_all(produce())) == ["a", "b"]

    run(scenario())


def test_waiter_cancelled_in_the_turn_in_which_its_wait_ends() -> None:
    """
    The cancellation and the end meet: the task is cancelled, and nothing else goes wrong.
    """
    source = ScriptedSource({"a": [PENDING]})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            handle = tracker.track("a")
            task = asyncio.create_task(_result_of(handle))
            await asyncio.sleep(1)
            task.cancel()
            handle.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(scenario())


async def _result_of(handle: Handle) -> Result:
    return await handle


def test_closing_on_purpose_is_no_failure_of_the_project() -> None:
    """
    Observers are told of failures; the end of a block, even with somebody waiting, is none.
    """
    seen: list[Event] = []

    async def scenario() -> None:
        async with Tracker(ScriptedSource({"a": [PENDING]}), observers=[seen.append]) as tracker:
            tracker.track("a")
            await asyncio.sleep(1)

    run(scenario())
    assert not [event for event in seen if isinstance(event, ProjectFailed)]
    assert seen


def test_response_too_deep_to_copy_harms_nobody() -> None:
    """
    A source of the user's own may nest as it likes: the waiters then share what it returned.
    """
    deep: dict[str, object] = {}
    for _ in range(5000):
        deep = {"in": deep}

    async def answer(_request_id: str) -> StatusReply:
        return StatusReply(SUCCESS, deep)

    async def scenario() -> None:
        async with Tracker(ScriptedSource({"a": [answer]})) as tracker:
            first, second = await asyncio.gather(tracker.wait_all(["a"]), tracker.wait_all(["a"]))
            assert first["a"].response is second["a"].response is deep

    run(scenario())


@pytest.mark.parametrize("kind", ["list", "stream"])
def test_the_label_of_a_duplicate_counts_where_the_first_had_none(kind: str) -> None:
    """
    Two files name one request, and one of them knows more of it.
    """
    given: list[str | Request] = [
        "a",
        Request("a", label="RUN JOB"),
        Request("a", label="later"),
        "a",
    ]

    async def stream() -> AsyncIterator[str | Request]:
        for number, item in enumerate(given):
            await asyncio.sleep(5 * number)  # the first has ended by then
            yield item

    async def scenario() -> None:
        async with Tracker(ScriptedSource({"a": [SUCCESS]})) as tracker:
            results = await tracker.wait_all(given if kind == "list" else stream())
            assert [(one.request_id, one.label) for one in results.values()] == [("a", "RUN JOB")]

    run(scenario())
