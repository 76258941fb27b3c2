"""Five hundred small worlds, each in another order of what is ready to run."""

from __future__ import annotations

import asyncio
import random

import pytest

from onehouse_tracker import Outcome, PollPolicy, Result, Tracker
from onehouse_tracker.errors import (
    NotFoundError,
    StaleConnectionError,
    ThrottledError,
    TransportError,
)
from onehouse_tracker.testing import After, ScriptedSource, hang
from onehouse_tracker.testing.scripted import Step
from tests.support import FAILED, INVALID, PARTIAL, PENDING, SUCCESS, run

TRUTH = {
    SUCCESS: Outcome.SUCCEEDED,
    PARTIAL: Outcome.PARTIALLY_SUCCEEDED,
    FAILED: Outcome.FAILED,
    INVALID: Outcome.INVALID,
}
POLICY = PollPolicy(poll_timeout=3.0)


class World:
    """Some requests with random replies, and some users who wait for random ones of them."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.ids = [f"r{number}" for number in range(self.dice.randint(1, 8))]
        self.ends = {request_id: self.dice.choice(list(TRUTH)) for request_id in self.ids}
        self.source = ScriptedSource(
            {request_id: self.replies(request_id) for request_id in self.ids},
            latency=self.dice.choice([0.0, 0.05, 0.3]),
        )

    def replies(self, request_id: str) -> list[Step]:
        """A few good and bad replies, then the end for ever."""
        bad: list[Step] = [
            TransportError("HTTP 503"),
            ThrottledError(),
            ThrottledError(retry_after=self.dice.choice([0.0, 0.5, 2.0])),
            NotFoundError(),
            StaleConnectionError(),
            OSError("reset"),
            asyncio.CancelledError,
            "NEW_STATUS",
            After(self.dice.uniform(0, 2), PENDING),
            hang,
        ]
        count = self.dice.randint(0, 5)
        steps = [
            PENDING if self.dice.random() < 0.5 else self.dice.choice(bad) for _ in range(count)
        ]
        # The third in a row would be the end.
        words = [number for number, step in enumerate(steps) if step == "NEW_STATUS"]
        for number in words[2:]:
            steps[number] = PENDING
        return [*steps, self.ends[request_id]]

    def some_ids(self) -> list[str]:
        """A random choice, duplicates included."""
        return self.dice.choices(self.ids, k=self.dice.randint(1, 6))

    def check(self, result: Result) -> None:
        """The outcome is the truth of the server."""
        assert result.outcome is TRUTH[self.ends[result.request_id]]

    async def wait_for_all(self, tracker: Tracker) -> None:
        """A user of wait_all: one result per ID."""
        wanted = self.some_ids()
        results = await tracker.wait_all(wanted)
        assert list(results) == list(dict.fromkeys(wanted))
        for result in results.values():
            self.check(result)

    async def wait_a_little(self, tracker: Tracker) -> None:
        """A user with a deadline: one result per ID all the same."""
        wanted = set(self.some_ids())
        results = await tracker.wait_all(wanted, timeout=self.dice.uniform(0, 3))
        assert set(results) == wanted
        for result in results.values():
            if result.outcome is not Outcome.TIMED_OUT:
                self.check(result)

    async def iterate(self, tracker: Tracker) -> None:
        """A user of as_completed who may leave early."""
        wanted = self.some_ids()
        leaves_after = self.dice.choice([1, 2, 100])
        seen: list[str] = []
        async with tracker.as_completed(wanted) as completions:
            async for result in completions:
                self.check(result)
                seen.append(result.request_id)
                if len(seen) == leaves_after:
                    break
        assert len(seen) == len(set(seen)) == min(leaves_after, len(set(wanted)))

    async def hold_a_handle(self, tracker: Tracker) -> None:
        """A user of handles who may cancel."""
        handle = tracker.track(self.dice.choice(self.ids))
        try:
            if self.dice.random() < 0.3:
                await asyncio.sleep(self.dice.uniform(0, 2))
                if handle.cancel():
                    with pytest.raises(asyncio.CancelledError):
                        await handle
                    return
            self.check(await handle)
            self.check(await handle)
        finally:
            handle.cancel()  # a cancelled user does not cancel the handle by itself

    async def live(self) -> None:
        """All users at once, late ones among them, some of them cancelled."""
        async with Tracker(self.source, policy=POLICY, seed=self.dice.randrange(99)) as tracker:
            kinds = [self.wait_for_all, self.wait_a_little, self.iterate, self.hold_a_handle]
            users: list[asyncio.Task[None]] = []
            for _ in range(self.dice.randint(1, 6)):
                users.append(asyncio.create_task(self.dice.choice(kinds)(tracker)))
                await asyncio.sleep(self.dice.choice([0, 0, 0.1, 2]))
                if self.dice.random() < 0.2:
                    self.dice.choice(users).cancel()
            ends = await asyncio.gather(*users, return_exceptions=True)
            for end in ends:
                assert end is None or isinstance(end, asyncio.CancelledError), repr(end)
            await asyncio.sleep(0.001)
            stats = tracker.stats()
            assert (stats.pending, stats.in_flight) == (0, 0)


@pytest.mark.parametrize("hundred", range(5))
def test_every_waiter_gets_one_result_whatever_the_order(hundred: int) -> None:
    """
    Faults, cancelled waiters and late joiners, under 500 orders of what is ready to run.
    """
    for seed in range(100 * hundred, 100 * hundred + 100):
        world = World(seed)
        try:
            run(world.live(), seed=seed)
            assert world.source.overlaps == []
            assert world.source.in_flight == {}
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
