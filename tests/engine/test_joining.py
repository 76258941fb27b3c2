"""
Joining very many requests: the loop goes on meanwhile, and nothing else is different.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from onehouse_tracker import (
    AuthenticationError,
    Outcome,
    PollPolicy,
    StatusReply,
    Tracker,
    TrackerClosedError,
    events,
)
from onehouse_tracker.errors import UnauthorizedError
from tests.support import PENDING, SUCCESS, run

IDS = [f"r{number}" for number in range(5_000)]
AT_ONCE = 1_000


class Source:
    """Says the same about every request, at once."""

    def __init__(self, status: str | None = PENDING) -> None:
        self.status = status

    async def fetch(self, request_id: str) -> StatusReply:
        """Answer, or refuse."""
        if self.status is None:
            raise UnauthorizedError("no", request_id=request_id)
        return StatusReply(self.status)


async def joined(tracker: Tracker, count: int) -> None:
    """Wait until so many are followed."""
    while tracker.stats().pending < count:  # noqa: ASYNC110 - that takes no time
        await asyncio.sleep(0)


def test_the_loop_turns_while_very_many_join() -> None:
    """
    In a service, everything else stands still for as long as one turn takes.
    """

    async def scenario() -> list[int]:
        async with Tracker(Source()) as tracker:
            waiting = asyncio.create_task(tracker.wait_all(IDS))
            seen = [0, tracker.stats().pending]  # an eager task has begun to join by now
            while seen[-1] < len(IDS):
                await asyncio.sleep(0)
                seen.append(tracker.stats().pending)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert tracker.stats().pending == 0
            return [after - before for before, after in pairwise(seen)]

    assert max(run(scenario())) <= AT_ONCE


def test_all_of_them_come_back_in_the_order_given() -> None:
    """
    Duplicates across the pieces count once, as ever.
    """

    async def scenario() -> list[str]:
        async with Tracker(Source(SUCCESS), policy=PollPolicy()) as tracker:
            ids = [*IDS[:1200], *IDS[:900], "last"]
            results = await tracker.wait_all(ids)
            assert results.ok
            return list(results)

    assert run(scenario()) == [*IDS[:1200], "last"]


@pytest.mark.parametrize("seed", range(5))
def test_a_failure_in_between_names_all_that_is_open(seed: int) -> None:
    """
    The error arrives while most have not joined: they are open all the same.
    """

    async def scenario() -> None:
        async with Tracker(Source(None)) as tracker:
            with pytest.raises(AuthenticationError) as caught:
                await tracker.wait_all([*IDS, *IDS[:10]])
            assert caught.value.pending == tuple(IDS)
            assert tracker.stats().pending == 0

    run(scenario(), seed=seed)


def test_a_deadline_in_between_holds_for_all() -> None:
    """
    A time-out of nothing is over before the last one has joined.
    """

    async def scenario() -> None:
        async with Tracker(Source()) as tracker:
            results = await tracker.wait_all(IDS, timeout=0)
            assert list(results) == IDS
            assert {result.outcome for result in results.values()} == {Outcome.TIMED_OUT}
            assert tracker.stats().pending == 0

    run(scenario())


def test_cancelling_in_between_leaves_nothing_behind() -> None:
    """
    Half of them have joined.
    """

    async def scenario() -> None:
        async with Tracker(Source()) as tracker:
            waiting = asyncio.create_task(tracker.wait_all(IDS))
            await joined(tracker, 2 * AT_ONCE)
            assert tracker.stats().pending < len(IDS)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
            assert tracker.stats().pending == 0

    run(scenario())


def test_closing_in_between_tells_the_waiter_of_all() -> None:
    """
    The tracker is gone; nobody may be followed any more, and nobody may be forgotten.
    """

    async def scenario() -> None:
        async with Tracker(Source()) as tracker:
            waiting = asyncio.create_task(tracker.wait_all(IDS))
            await joined(tracker, AT_ONCE)
        with pytest.raises(TrackerClosedError) as caught:
            await waiting
        assert caught.value.pending == tuple(IDS)

    run(scenario())


def test_an_endless_stream_needs_no_more_memory_the_longer_it_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Of what was delivered the latest is remembered, so that what comes twice comes once.
    """
    monkeypatch.setattr("onehouse_tracker._engine.waits.REMEMBERED", 50)
    numbers = [number for number in range(500) for _ in range(2)] + [0]
    kept: list[int] = []

    async def endless() -> AsyncIterator[str]:
        for number in numbers:
            await asyncio.sleep(1)
            yield f"r-{number}"

    async def scenario() -> list[str]:
        async with Tracker(Source(SUCCESS)) as tracker:
            completions = tracker.as_completed(endless())
            seen = []
            async for result in completions:
                seen.append(result.request_id)
                kept.append(len(completions._wait._entries))
            return seen

    assert run(scenario()) == [f"r-{number}" for number in range(500)] + ["r-0"]
    assert max(kept) <= 52


def test_what_was_delivered_of_a_list_is_not_remembered() -> None:
    """
    Nothing can come any more that it would have to be told from.
    """

    async def scenario() -> None:
        async with Tracker(Source(SUCCESS)) as tracker:
            completions = tracker.as_completed(["a", "b", "a", "c"])
            seen = [result.request_id async for result in completions]
            assert sorted(seen) == ["a", "b", "c"]
            assert completions._wait._entries == {}


async def many(count: int) -> AsyncIterator[str]:
    """So many IDs, without ever waiting for one."""
    for number in range(count):
        yield f"r{number}"


def test_the_first_of_very_many_is_asked_about_before_all_have_joined() -> None:
    """
    A million IDs in a file take their time to join; nobody wants to wait for that.
    """

    async def scenario() -> tuple[int, list[int]]:
        source = Source()
        async with Tracker(source) as tracker:
            waiting = asyncio.create_task(tracker.wait_all(many(len(IDS))))
            seen, at_first_poll = [0, tracker.stats().pending], 0
            while seen[-1] < len(IDS):
                await asyncio.sleep(0)
                seen.append(tracker.stats().pending)
                if tracker.stats().polls and not at_first_poll:
                    at_first_poll = seen[-1]
            waiting.cancel()
            await asyncio.wait([waiting])
            return at_first_poll, [after - before for before, after in pairwise(seen)]

    at_first_poll, steps = run(scenario())

    assert 0 < at_first_poll < len(IDS) / 10
    assert max(steps) <= AT_ONCE / 10


@pytest.mark.parametrize("somebody_listens", [False, True])
def test_whoever_leaves_last_leaves_nothing_behind(*, somebody_listens: bool) -> None:
    """
    All at once, or one by one where an observer wants to hear of each; and it goes on anew.
    """
    dropped: list[str] = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.RequestDropped):
            dropped.append(event.request_id)

    async def scenario() -> None:
        source = Source()
        observers = (listen,) if somebody_listens else ()
        async with Tracker(source, observers=observers) as tracker:
            for _ in range(2):
                waiting = asyncio.create_task(tracker.wait_all(many(300)))
                await joined(tracker, 300)
                await asyncio.sleep(3)
                waiting.cancel()
                await asyncio.wait([waiting])
                assert tracker.stats().pending == tracker.stats().in_flight == 0
            before = tracker.stats().polls
            await asyncio.sleep(60)
            assert tracker.stats().polls == before
            source.status = SUCCESS
            assert (await tracker.wait_all(many(30))).ok

    run(scenario())

    assert len(dropped) == (600 if somebody_listens else 0)


def test_whoever_leaves_first_takes_nothing_from_the_others() -> None:
    """
    A second waiter keeps what it waits for.
    """

    async def scenario() -> None:
        source = Source()
        async with Tracker(source) as tracker:
            handle = tracker.track("r7")
            waiting = asyncio.create_task(tracker.wait_all(many(300)))
            await joined(tracker, 300)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert tracker.stats().pending == 1
            source.status = SUCCESS
            assert (await handle).ok

    run(scenario())
