"""
Many statements that are handed over at once, beside requests that are tracked.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from onehouse_tracker import ApiStatus, StatusReply, StatusSource, Tracker
from tests.support import run

STATEMENTS = [f"RUN JOB job_{number}" for number in range(3000)]


class _Busy(StatusSource):
    """Every request is pending for ever; what was asked for is counted."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    async def fetch(self, request_id: str) -> StatusReply:
        self.asked["poll"] += 1
        await asyncio.sleep(0.05)
        return StatusReply(ApiStatus.PENDING)

    async def submit(self, statement: str) -> str:
        self.asked["statement"] += 1
        await asyncio.sleep(0.05)
        return f"id of {statement}"


async def _one_by_one(tracker: Tracker) -> None:
    await asyncio.gather(*map(tracker.submit, STATEMENTS))


@pytest.mark.parametrize(
    "hand_over",
    [
        _one_by_one,
        lambda tracker: tracker.submit_all(STATEMENTS),
        lambda tracker: tracker.execute_all(STATEMENTS),
        lambda tracker: tracker.runs.execute_all(STATEMENTS),
    ],
    ids=["submit", "submit_all", "execute_all", "runs.execute_all"],
)
def test_every_third_slot_is_a_poll_while_many_statements_wait(
    hand_over: Callable[[Tracker], Awaitable[object]],
) -> None:
    """
    However they are handed over: of a batch, only some cost a task and stand in the queue.
    """

    async def scenario() -> Counter[str]:
        source = _Busy()
        async with Tracker(source) as tracker:
            handles = [tracker.track(f"r{number}") for number in range(300)]
            await asyncio.sleep(120)
            source.asked.clear()
            call = asyncio.ensure_future(hand_over(tracker))
            await asyncio.sleep(60)
            asked = Counter(source.asked)
            call.cancel()
            with suppress(asyncio.CancelledError):
                await call
            for handle in handles:
                handle.cancel()
        return asked

    asked = run(scenario())
    assert asked["poll"] / asked.total() == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize("max_running", [200, None])
def test_what_may_not_be_sent_yet_is_no_queue(max_running: int | None) -> None:
    """
    With `max_running` the rest waits for ends and not for slots: then polls bring them.
    """

    async def scenario() -> Counter[str]:
        source = _Busy()
        async with Tracker(source) as tracker:
            tracker.track("r")
            await asyncio.sleep(30)
            source.asked.clear()
            call = asyncio.ensure_future(tracker.execute_all(STATEMENTS, max_running=max_running))
            await asyncio.sleep(120)
            asked = Counter(source.asked)
            call.cancel()
            with suppress(asyncio.CancelledError):
                await call
        return asked

    asked = run(scenario())
    if max_running is None:
        assert asked["poll"] < 0.5 * asked["statement"]
    else:
        assert asked["statement"] == max_running
        assert asked["poll"] > 4 * max_running
