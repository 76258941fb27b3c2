"""
How long all will still take while statements are still to be sent: nobody knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from onehouse_tracker import ApiStatus, SqliteJournal, StatusReply, TimeLeft, Tracker
from onehouse_tracker.cli._command_settings import CommandSettings
from onehouse_tracker.cli._options import Output
from onehouse_tracker.cli._statements import statements_from
from onehouse_tracker.cli._submit import _Submission
from onehouse_tracker.cli._terminal import Terminal
from onehouse_tracker.history import History
from onehouse_tracker.history._file import HistoryFile
from onehouse_tracker.history._records import Lesson
from onehouse_tracker.testing import InlineExecutor
from tests.support import now, run

MINUTE = 60.0


class Minutes:
    """A project in which each statement takes a minute."""

    def __init__(self) -> None:
        self._began: list[float] = []

    async def fetch(self, request_id: str) -> StatusReply:
        """Say whether the minute is over."""
        await asyncio.sleep(0.05)
        over = now() - self._began[int(request_id.removeprefix("r-"))] >= MINUTE
        return StatusReply(ApiStatus.SUCCESS if over else ApiStatus.PENDING)

    async def submit(self, _statement: str) -> str:
        """Begin one more minute."""
        await asyncio.sleep(0.05)
        self._began.append(now())
        return f"r-{len(self._began) - 1}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A history that knows what takes a minute."""
    path = tmp_path / "history.db"
    HistoryFile(path).add("", [Lesson(("l:x",), MINUTE, MINUTE)] * 10, 0.01)
    return path


@asynccontextmanager
async def learned(path: Path, journal: SqliteJournal | None = None) -> AsyncIterator[Tracker]:
    """A tracker that knows the history."""
    async with Tracker(
        Minutes(), history=History(path, executor=InlineExecutor()), journal=journal
    ) as tracker:
        yield tracker


async def execute_all(tracker: Tracker, statements: list[str]) -> None:
    """Wait for all that is handed over at once."""
    await tracker.execute_all(statements, label="x")


async def one_after_the_other(tracker: Tracker, statements: list[str]) -> None:
    """Few are open at one time."""
    await tracker.execute_all(statements, label="x", max_running=len(statements) // 4)


async def submit_all(tracker: Tracker, statements: list[str]) -> None:
    """Handles come once all are sent."""
    submitted = await tracker.submit_all(statements, label="x")
    await tracker.wait_all(submitted.handles)


async def own_loop(tracker: Tracker, statements: list[str]) -> None:
    """A loop of the user's own, which waits for each slot."""
    handles = [await tracker.submit(statement, label="x") for statement in statements]
    await tracker.wait_all(handles)


async def own_tasks(tracker: Tracker, statements: list[str]) -> None:
    """All wait for their slots at once."""
    submissions = [tracker.submit(statement, label="x") for statement in statements]
    await tracker.wait_all(await asyncio.gather(*submissions))


@pytest.mark.parametrize(
    "execute", [execute_all, one_after_the_other, submit_all, own_loop, own_tasks]
)
@pytest.mark.parametrize("journalled", [False, True])
def test_nothing_is_said_while_statements_are_still_to_be_sent(
    path: Path,
    tmp_path: Path,
    execute: Callable[[Tracker, list[str]], Awaitable[None]],
    *,
    journalled: bool,
) -> None:
    """
    What is sent last ends last.  Once all are sent, what is said holds.
    """
    journal = SqliteJournal(tmp_path / "j.db", executor=InlineExecutor()) if journalled else None

    async def watched() -> None:
        said: list[tuple[float, TimeLeft]] = []
        async with learned(path, journal) as tracker:
            job = asyncio.ensure_future(execute(tracker, [f"S {i}" for i in range(200)]))
            while not job.done():
                await asyncio.sleep(0.21)
                if (left := tracker.stats().left) is not None:
                    said.append((now(), left))
            await job
            assert tracker.stats().left is None
        ended = now()
        assert len(said) > 100
        # It may be as old as a second.
        assert all(ended - at < left.high + 3 for at, left in said)

    run(watched())


def test_a_statement_that_waits_makes_a_forecast_stale(path: Path) -> None:
    """
    What was computed a moment ago, without it, is not said again, neither now nor later.
    """

    async def watched() -> None:
        async with learned(path) as tracker:
            first = await tracker.submit("S 1", label="x")
            await asyncio.sleep(40)
            before = tracker.stats().left
            assert before is not None
            submission = asyncio.create_task(tracker.submit("S 2", label="x"))
            await asyncio.sleep(0)
            assert tracker.stats().left is None
            second = await submission
            after = tracker.stats().left
            assert after is not None
            assert after.low > before.high
            refused = asyncio.create_task(tracker.submit("S 3", label="x"))
            await asyncio.sleep(0)
            refused.cancel()
            await asyncio.wait([refused])
            assert tracker.stats().left is not None  # it will never be sent
            await tracker.wait_all([first, second])

    run(watched())


def test_a_slot_of_the_users_own_is_no_statement(path: Path) -> None:
    """
    Nobody waits for what is called in it.
    """

    async def one_call(tracker: Tracker) -> None:
        async with tracker.slot():
            pass

    async def watched() -> None:
        async with learned(path) as tracker:
            handle = await tracker.submit("S 1", label="x")
            calls = [asyncio.create_task(one_call(tracker)) for _ in range(30)]
            await asyncio.sleep(0.5)
            assert not all(call.done() for call in calls)
            assert tracker.stats().left is not None
            await asyncio.gather(*calls)
            await handle

    run(watched())


def test_the_command_knows_how_many_follow(path: Path) -> None:
    """
    Between two of them, while it prints one, a live page may ask.
    """

    async def watched() -> None:
        submission = _Submission(
            Terminal(),
            CommandSettings(label="x", output=Output.JSON),
            statements_from(["S 1", "S 2", "S 3"], [], allow_empty=False),
            wait=True,
            keep_going=False,
        )
        async with learned(path) as tracker:
            async for _ in submission.accepted(tracker):
                await asyncio.sleep(1)
                assert tracker.stats().left is None
            assert tracker.stats().left is not None

    run(watched())
