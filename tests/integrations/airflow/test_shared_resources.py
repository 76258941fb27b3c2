"""
What all triggers of a loop share: opened once, closed after the last, whoever is cancelled.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from onehouse_tracker.integrations.airflow._shared_resources import Shared
from tests.support import now, run


class SpoiltError(Exception):
    """What a user raises when the resource is of no use any more."""


class Door:
    """A resource that takes time to open and to close, and writes down when it did."""

    def __init__(self, *, opening: float = 1.0, closing: float = 1.0) -> None:
        self.opening = opening
        self.closing = closing
        self.log: list[tuple[float, str]] = []
        self.opened = 0
        self.failures = 0

    @asynccontextmanager
    async def __call__(self, key: str) -> AsyncIterator[str]:
        """Open it, and close it after the block."""
        self.opened += 1
        name = f"{key}{self.opened}"
        self.log.append((now(), f"opens {name}"))
        await asyncio.sleep(self.opening)
        if self.failures:
            self.failures -= 1
            raise ValueError("it is stuck")
        try:
            yield name
        finally:
            await asyncio.sleep(self.closing)
            self.log.append((now(), f"closed {name}"))


async def _use(shared: Shared[str, str], seconds: float, key: str = "a") -> str:
    async with shared.use(key) as name:
        await asyncio.sleep(seconds)
    return name


def test_it_is_opened_once_and_closed_after_the_last() -> None:
    """
    Three hundred triggers that start together need one tracker, as long as one of them runs.
    """
    door = Door()
    shared = Shared(door)

    async def scenario() -> list[str]:
        names = await asyncio.gather(*(_use(shared, seconds) for seconds in (1, 5, 3)))
        await asyncio.sleep(2)
        return names

    assert run(scenario()) == ["a1", "a1", "a1"]
    assert door.log == [(0, "opens a1"), (7, "closed a1")]


def test_each_key_and_each_loop_has_its_own() -> None:
    """
    Two projects have two budgets, and nothing of one loop can be used on another.
    """
    door = Door()
    shared = Shared(door)

    async def scenario() -> list[str]:
        names = await asyncio.gather(_use(shared, 1, "a"), _use(shared, 1, "b"))
        await asyncio.sleep(2)
        return list(names)

    assert run(scenario()) == ["a1", "b2"]
    assert run(scenario()) == ["a3", "b4"]


def test_who_comes_while_it_lingers_finds_it_open() -> None:
    """
    The triggerer starts triggers once a second: the tracker must not close in between.
    """
    door = Door()
    shared = Shared(door, linger=5)

    async def scenario() -> None:
        await _use(shared, 1)
        await asyncio.sleep(4)
        await _use(shared, 1)
        await asyncio.sleep(7)

    run(scenario())

    assert door.log == [(0, "opens a1"), (13, "closed a1")]


def test_who_comes_while_it_closes_gets_a_new_one() -> None:
    """
    What is closing cannot be used any more, and nobody has to wait for it.
    """
    door = Door(closing=10)
    shared = Shared(door)

    async def scenario() -> str:
        await _use(shared, 1)
        await asyncio.sleep(1)
        name = await _use(shared, 1)
        await asyncio.sleep(12)
        return name

    assert run(scenario()) == "a2"
    assert door.log == [(0, "opens a1"), (3, "opens a2"), (12, "closed a1"), (15, "closed a2")]


def test_cancelling_one_who_waits_for_it_disturbs_nobody() -> None:
    """
    The user who came first opens it for all; his trigger may be cancelled at any moment.
    """
    door = Door()
    shared = Shared(door)

    async def scenario() -> str:
        first = asyncio.create_task(_use(shared, 1))
        second = asyncio.create_task(_use(shared, 1))
        await asyncio.sleep(0.5)
        first.cancel()
        name = await second
        await asyncio.sleep(2)
        assert first.cancelled()
        return name

    assert run(scenario()) == "a1"
    assert door.log == [(0, "opens a1"), (3, "closed a1")]


def test_what_nobody_waits_for_any_more_is_given_up() -> None:
    """
    A triggerer that cancels what it has just created leaves nothing behind.
    """
    door = Door()
    shared = Shared(door)

    async def scenario() -> str:
        first = asyncio.create_task(_use(shared, 1))
        await asyncio.sleep(0.5)
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        name = await _use(shared, 1)
        await asyncio.sleep(2)
        return name

    assert run(scenario()) == "a2"
    assert door.log == [(0, "opens a1"), (0.5, "opens a2"), (3.5, "closed a2")]


def test_a_failed_opening_fails_each_with_an_error_of_its_own_and_is_tried_again() -> None:
    """
    A traceback that is shared tells everybody's story to everybody.
    """
    door = Door()
    door.failures = 1
    shared = Shared(door)

    async def scenario() -> list[BaseException | str]:
        failed = await asyncio.gather(_use(shared, 1), _use(shared, 1), return_exceptions=True)
        again = await _use(shared, 1)
        await asyncio.sleep(2)
        return [*failed, again]

    one, other, again = run(scenario())

    assert isinstance(one, ValueError)
    assert isinstance(other, ValueError)
    assert one is not other
    assert again == "a2"


def test_an_error_that_cannot_be_copied_is_raised_as_it_is() -> None:
    """
    Airflow's errors are not ours to choose.
    """

    class OddError(Exception):
        def __init__(self, one: int, other: int) -> None:
            super().__init__(one + other)

    @asynccontextmanager
    async def fail(key: str) -> AsyncIterator[str]:
        if key:
            raise OddError(1, 2)
        yield key

    async def scenario() -> None:
        with pytest.raises(OddError, match="3"):
            await _use(Shared(fail), 1)

    run(scenario())


def test_what_is_spoilt_is_replaced_for_those_who_come_next() -> None:
    """
    Credentials may have been changed in the connection while a tracker used the old ones.
    """
    door = Door()
    shared = Shared(door, linger=60, invalid_after=(SpoiltError,))

    async def spoil() -> None:
        async with shared.use("a"):
            await asyncio.sleep(1)
            raise SpoiltError

    async def scenario() -> list[str]:
        staying = asyncio.create_task(_use(shared, 5))
        with pytest.raises(SpoiltError):
            await spoil()
        after = await _use(shared, 1)
        stayed = await staying
        await asyncio.sleep(65)
        return [after, stayed]

    assert run(scenario()) == ["a2", "a1"]
    # The spoilt one does not linger.
    assert (7, "closed a1") in door.log


def test_an_error_in_closing_is_logged_and_disturbs_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Nobody is there any more who could be told.
    """

    @asynccontextmanager
    async def jam(key: str) -> AsyncIterator[str]:
        yield key
        raise ValueError("it does not close")

    async def scenario() -> str:
        name = await _use(Shared(jam), 1)
        await asyncio.sleep(1)
        return name

    assert run(scenario()) == "a"
    assert "it does not close" in caplog.text


def test_the_end_of_the_loop_closes_what_lingers() -> None:
    """
    Airflow runs a trigger of ``dags test`` in ``asyncio.run``, which ends with its event.
    """
    door = Door(opening=0, closing=0)

    async def scenario() -> None:
        await _use(Shared(door, linger=60), 0)

    asyncio.run(scenario())

    assert [what for _, what in door.log] == ["opens a1", "closed a1"]


@pytest.mark.parametrize("seed", range(200))
def test_whoever_comes_goes_or_is_cancelled_nothing_is_lost_or_left(seed: int) -> None:
    """
    Every order of coming, going, failing and being cancelled: who has it, has it open.
    """
    luck = random.Random(seed)
    door = Door(opening=luck.choice([0, 0.3, 1]), closing=luck.choice([0, 0.3, 1]))
    alive: set[str] = set()

    @asynccontextmanager
    async def watched(key: str) -> AsyncIterator[str]:
        door.failures = luck.random() < 0.2
        async with door(key) as name:
            alive.add(name)
            try:
                yield name
            finally:
                alive.discard(name)

    shared = Shared(watched, linger=luck.choice([0, 0.5]), invalid_after=(SpoiltError,))

    async def user() -> None:
        await asyncio.sleep(luck.uniform(0, 3))
        with suppress(ValueError, SpoiltError):
            async with shared.use(luck.choice("ab")) as name:
                for _ in range(luck.randrange(4)):
                    assert name in alive
                    await asyncio.sleep(luck.uniform(0, 1))
                    if luck.random() < 0.1:
                        raise SpoiltError
                assert name in alive

    async def scenario() -> None:
        users = [asyncio.create_task(user()) for _ in range(12)]
        async with AsyncExitStack() as stack:
            for task in luck.sample(users, 5):
                stack.callback(
                    asyncio.get_running_loop().call_later(luck.uniform(0, 4), task.cancel).cancel
                )
            done, _ = await asyncio.wait(users)
        await asyncio.sleep(10)
        for task in done:
            assert task.cancelled() or task.exception() is None
        assert not alive

    run(scenario(), seed=seed)
