"""
Statements that are sent in order, so many at a time, and what stops them.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from onehouse_tracker.errors import TrackerError
from onehouse_tracker.runs._followed import new_key
from onehouse_tracker.runs._journal import batch_hash

if TYPE_CHECKING:
    from onehouse_tracker.journal import JournalRun
    from onehouse_tracker.run_results import RunResult
    from onehouse_tracker.runs._book import Book
    from onehouse_tracker.runs._followed import Followed, RunWait

__all__ = ["Queue"]

_AHEAD = 50
"""Statements that wait for their slots at one time, at most: all others cost no task."""

_log = logging.getLogger(__name__)


class Queue:
    """
    The statements of one call of ``execute_all``.

    Args:
        book: What follows them.

        statements: In the order in which they are sent.

        label: Their label.

        max_running: How many may be open at once; `None` is any number.

        stop_on_failure: Whether nothing further is sent once one is not ok.

        cancel_runs: Whether what runs is canceled then.

        allow_unfollowed: Whether `RunOutcome.STARTED` is ok.

        resume: Whether only what an earlier call has not sent is sent.

        start: Starts a task that belongs to the tracker.
    """

    def __init__(  # noqa: PLR0913 - the settings of one call
        self,
        book: Book,
        statements: list[str],
        label: str | None,
        *,
        max_running: int | None,
        stop_on_failure: bool,
        cancel_runs: bool,
        allow_unfollowed: bool,
        resume: bool,
        start: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._book = book
        self._statements = statements
        self._label = label
        self._max_running = math.inf if max_running is None else max_running
        self._stop_on_failure = stop_on_failure
        self._cancel_runs = cancel_runs
        self._allow_unfollowed = allow_unfollowed
        self._resume = resume
        self._start = start
        self._open: set[int] = set()
        self._failed: RunResult | None = None
        self._wait: RunWait | None = None
        self._sending: dict[Followed, None] = {}
        self._behind = 0
        self._known: dict[int, JournalRun] = {}
        self._news = asyncio.Event()

    async def feed(self, wait: RunWait) -> None:
        """Send one after the other, as many as may be open; return when all are sent."""
        self._wait = wait
        planned = await self._planned()
        with self._book.slots.backlog.add(self._backlog):
            await self._feed(wait, planned)

    async def _feed(self, wait: RunWait, planned: list[Followed]) -> None:
        for number, followed in enumerate(planned):
            self._behind = len(planned) - number
            while self._must_wait and not (self._failed or wait.over or wait.expired):
                self._news.clear()
                await self._news.wait()
            position = wait.join(followed, None)
            if wait.error is not None:
                return
            if followed.over or not self._is_to_be_sent(number):
                if not followed.over:
                    self._open.add(position)
                continue
            if self._failed is not None or wait.expired:
                self._book.never_sent(followed, self._why(number))
                continue
            self._open.add(position)
            self._sending[followed] = None
            self._book.send_and_follow(followed, self._sent)
        wait.fed()

    async def _planned(self) -> list[Followed]:
        """What is to be followed, by position: written down before the first one is sent."""
        journal = self._book.journal
        batch = ""
        if journal is not None:
            batch = batch_hash(self._statements)
            if self._resume:
                self._known = {
                    row.position: row
                    for row in await journal.read_batch(batch)
                    if row.position is not None
                }
            batch = f"{batch}:{new_key()}"
        planned = [self._plan(number, batch) for number in range(len(self._statements))]
        if journal is not None and not self._known:
            await journal.plan(planned)
        return planned

    def _plan(self, number: int, batch: str) -> Followed:
        row = self._known.get(number)
        statement = self._statements[number]
        if row is not None and not row.never_sent:
            return self._book.restore(row, statement)
        followed = self._book.statement(
            statement,
            self._label,
            allow_unfollowed=self._allow_unfollowed,
            key=None if row is None else row.key,
        )
        followed.batch = (batch or None) if row is None else row.batch
        followed.position = number
        return followed

    def _is_to_be_sent(self, number: int) -> bool:
        row = self._known.get(number)
        return row is None or row.never_sent

    def _why(self, number: int) -> str:
        if self._failed is None:
            return "it was not sent in time"
        return (
            f"statement {number + 1} was not sent, because another one was {self._failed.outcome}"
        )

    @property
    def _must_wait(self) -> bool:
        return len(self._open) >= self._max_running or len(self._sending) >= _AHEAD

    def _backlog(self) -> int:
        return int(min(self._behind, self._max_running - len(self._open)))

    def _sent(self, followed: Followed) -> None:
        self._sending.pop(followed, None)
        self._news.set()

    def ended(self, position: int, result: RunResult) -> None:
        """One has its outcome."""
        wait = self._wait
        if wait is None:
            return
        self._open.discard(position)
        self._news.set()
        if not self._stop_on_failure or result.ok or self._failed is not None:
            return
        self._failed = result
        for followed in tuple(self._sending):
            # Those that wait for a slot are not sent any more.
            if not followed.was_sent:
                self._book.never_sent(followed, self._why(position))
        if self._cancel_runs:
            for _, followed in tuple(wait.open_members()):
                if followed.run is not None:
                    self._start(self._cancel(followed), "onehouse-tracker cancel")

    async def _cancel(self, followed: Followed) -> None:
        try:
            await self._book.cancel_run(followed)
        except TrackerError as error:
            followed.cancellation = str(error)
            _log.warning("a run of job %r could not be canceled: %s", followed.job, error)
