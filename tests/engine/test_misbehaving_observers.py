"""
Whatever an observer or a source raises, and whatever an observer does when it is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from onehouse_tracker import Outcome, SqliteJournal, Tracker
from onehouse_tracker.events import Emitter, Event, RequestDropped, RequestEnded
from onehouse_tracker.handles import Handle
from onehouse_tracker.models import StatusReply
from onehouse_tracker.testing import InlineExecutor, ScriptedSource
from tests.support import PENDING, SUCCESS, run


class PanicError(BaseException):
    """What an extension raises that is no `Exception`."""


RAISED: list[type[BaseException]] = [
    ValueError,
    asyncio.CancelledError,
    PanicError,
    GeneratorExit,
    StopIteration,
    StopAsyncIteration,
    TimeoutError,
]


def source() -> ScriptedSource:
    """Requests that end, and one that does not."""
    ends = {f"r{number}": [PENDING, SUCCESS] for number in range(5)}
    return ScriptedSource({**ends, "endless": [PENDING]}, latency=0.05)


@pytest.mark.parametrize("raised", RAISED)
@pytest.mark.parametrize("journalled", [False, True])
def test_an_observer_may_raise_anything(
    raised: type[BaseException], quick_path: Path, *, journalled: bool
) -> None:
    """
    At every event: what is counted stays right, and every wait has its results.
    """
    told: set[str] = set()

    def observe(event: Event) -> None:
        told.add(type(event).__name__)
        raise raised

    async def scenario() -> None:
        journal = SqliteJournal(quick_path / "j.db", executor=InlineExecutor())
        tracker = Tracker(source(), observers=[observe], journal=journal if journalled else None)
        async with tracker:
            results = await tracker.wait_all([f"r{number}" for number in range(5)])
            assert results.ok
            timed_out = await tracker.wait_all(["endless"], timeout=5)
            assert timed_out["endless"].outcome is Outcome.TIMED_OUT
            tracker.track("endless").cancel()
            stats = tracker.stats()
            assert (stats.pending, stats.ended) == (0, 5)
            await asyncio.sleep(1)
            stats = tracker.stats()
            assert stats.in_flight <= stats.pending  # none of those that were dropped
            tracker.track("endless")

    run(scenario())
    assert told == {
        "RequestJoined", "PollFinished", "RequestEnded", "RequestDropped", "WaitBegan",
        "WaitEnded",
    }  # fmt: skip


@pytest.mark.parametrize("raised", RAISED)
def test_an_observer_may_not_even_say_what_it_listens_to(raised: type[BaseException]) -> None:
    """
    It is told everything then, and those who leave are let go.
    """

    class Confused:
        def listens_to(self, kind: type[Event]) -> bool:
            raise raised

        def __call__(self, event: Event) -> None:
            told.append(event)

    told: list[Event] = []

    async def scenario() -> None:
        async with Tracker(source(), observers=[Confused()]) as tracker:
            tracker.track("endless").cancel()
            assert tracker.stats().pending == 0

    run(scenario())
    assert isinstance(told[-1], RequestDropped)


@pytest.mark.parametrize("ending", [SystemExit(3), KeyboardInterrupt()])
def test_an_observer_may_end_the_program(ending: BaseException) -> None:
    """
    It leaves the event loop, when all has been noted; the tracker closes as with any Ctrl-C.
    """
    after: list[Event] = []
    closed: list[int] = []

    def observe(event: Event) -> None:
        if isinstance(event, RequestEnded):
            raise ending

    async def scenario() -> None:
        async with Tracker(source(), observers=[observe, after.append]) as tracker:
            handle = tracker.track("r0")
            try:
                await handle
                await asyncio.sleep(10)
            finally:
                assert handle.result().ok
                closed.append(tracker.stats().pending)

    with pytest.raises(type(ending)) as caught:
        run(scenario())
    assert caught.value is ending
    assert closed == [0]
    assert any(isinstance(event, RequestEnded) for event in after)


def test_an_emitter_that_nobody_helps_raises_when_all_have_been_told() -> None:
    """
    Nobody has to own an event loop to pass events on.
    """
    told: list[Event] = []

    def leave(_event: Event) -> None:
        raise SystemExit(4)

    with pytest.raises(SystemExit, match="4"):
        Emitter([leave, told.append])(Event(at=0.0))
    assert len(told) == 1


def others(handles: list[Handle]) -> None:
    """Cancel all handles."""
    for handle in handles:
        handle.cancel()


def the_last(handles: list[Handle]) -> None:
    """Cancel one that was not told of yet."""
    if handles:
        handles[-1].cancel()


@pytest.mark.parametrize("what", [others, the_last])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("journalled", [False, True])
def test_an_observer_may_cancel_handles_at_any_event(
    what: Callable[[list[Handle]], None], quick_path: Path, *, shared: bool, journalled: bool
) -> None:
    """
    Closing among them: no request is told twice, and every waiter gets what is true for it.
    """
    ids = [f"r{number}" for number in range(5)] + ["endless"]
    count = 0

    async def scenario(number: int) -> bool:
        """Cancel at one event, by its number; false if there are not so many."""
        nonlocal count
        count = 0
        handles: list[Handle] = []
        dropped: list[str] = []

        def observe(event: Event) -> None:
            nonlocal count
            if isinstance(event, RequestDropped):
                dropped.append(event.request_id)
            count += 1
            if count == number:
                what(handles)

        journal = SqliteJournal(quick_path / f"{number}.db", executor=InlineExecutor())
        tracker = Tracker(
            source(), observers=[observe], journal=journal if journalled else None, seed=1
        )
        async with tracker:
            for request_id in ids:
                handles.append(tracker.track(request_id))
                if shared:
                    handles.append(tracker.track(request_id))
            await asyncio.sleep(3)
            stats = tracker.stats()
            assert stats.in_flight <= stats.pending  # none of those that were dropped
        for handle in handles:
            assert handle.done()
            if handle.cancelled():
                with pytest.raises(asyncio.CancelledError):
                    handle.result()
            elif handle.request_id != "endless":
                assert handle.result().ok
        assert len(dropped) == len(set(dropped))
        return count >= number

    number = 1
    while run(scenario(number)):
        number += 1
    assert number > 15


def test_an_observer_that_follows_what_was_dropped_keeps_it() -> None:
    """
    Who leaves, and is told to leave again meanwhile, does not take the newcomer's request away.
    """
    handles: list[Handle] = []
    rejoined: list[Handle] = []

    def observe(event: Event) -> None:
        if isinstance(event, RequestDropped) and not rejoined:
            rejoined.append(tracker.track(event.request_id))
            handles[0].cancel()

    tracker = Tracker(ScriptedSource({"a": [PENDING] * 9 + [SUCCESS]}), observers=[observe])

    async def scenario() -> None:
        async with tracker:
            handles.append(tracker.track("a"))
            await asyncio.sleep(1)
            handles[0].cancel()
            assert (await rejoined[0]).ok

    run(scenario())


@pytest.mark.parametrize("shared", [False, True])
def test_a_deadline_while_two_join_a_journal(quick_path: Path, *, shared: bool) -> None:
    """
    One of them gives up before the request is on disk: the other goes on.
    """

    async def scenario() -> None:
        journal = SqliteJournal(quick_path / "j.db", executor=InlineExecutor())
        async with Tracker(source(), journal=journal) as tracker:
            hasty = [
                asyncio.create_task(tracker.wait_all(["r0"], timeout=0)) for _ in range(1 + shared)
            ]
            assert (await tracker.wait_all(["r0"])).ok
            for task in hasty:
                assert (await task)["r0"].outcome is Outcome.TIMED_OUT

    run(scenario())


@pytest.mark.parametrize("raised", [*RAISED, RecursionError, MemoryError])
def test_a_source_may_raise_anything(raised: type[BaseException]) -> None:
    """
    It costs that one poll.
    """
    asked = 0

    class Source:
        async def fetch(self, request_id: str) -> StatusReply:
            nonlocal asked
            asked += 1
            if asked in {2, 4}:
                raise raised
            return StatusReply(SUCCESS if asked > 5 else PENDING)

    async def scenario() -> None:
        async with Tracker(Source()) as tracker:
            results = await tracker.wait_all(["a", "b"])
            assert results.ok
            stats = tracker.stats()
            assert stats.in_flight <= stats.pending  # none of those that were dropped

    run(scenario())


@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt])
def test_a_source_may_end_the_program(ending: type[BaseException]) -> None:
    """
    The tracker closes on the way out.
    """
    ends: list[BaseException] = []

    class Source:
        async def fetch(self, request_id: str) -> StatusReply:
            raise ending

    async def scenario() -> None:
        async with Tracker(Source()) as tracker:
            try:
                await tracker.wait_all(["a"])
            except BaseException as error:
                ends.append(error)
                raise

    with pytest.raises(ending):
        run(scenario())
    assert len(ends) == 1
