"""
Sends many statements, each once, as many at a time as may be open.

Where one statement is::

    waiting --> sending --> accepted --> ended
       |           |---> refused
       |           |---> unknown      (it was on the wire)
       '-----------'---> unsent       (it was not)

*Waiting* costs no task.  *Sending* is one task, which the call of `Batch.run` owns: it starts
the task, and `run` does not return, nor raise, before the task has ended.  What happens after a
statement was accepted, and when it has ended, is not known here: the code that gets it in
``accepted`` calls `Batch.ended` later.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from onehouse_tracker._engine.open_tracker.session import start_task, until_ended
from onehouse_tracker._engine.open_tracker.submission import Progress, fate_of
from onehouse_tracker.errors import (
    ProjectError,
    SubmissionRejectedError,
    SubmissionUnknownError,
    SubmissionUnsentError,
    TrackerError,
)
from onehouse_tracker.statement_results import StatementState

__all__ = ["Batch", "Statement"]

_AHEAD = 100
"""Statements that are being sent at one time, at most: all others cost no task."""

_STATES = {
    "refused": (StatementState.REFUSED, SubmissionRejectedError),
    "unsent": (StatementState.UNSENT, SubmissionUnsentError),
    "unknown": (StatementState.UNKNOWN, SubmissionUnknownError),
}
_WORDS = {
    StatementState.ACCEPTED: "did not succeed",
    StatementState.REFUSED: "was refused",
    StatementState.UNSENT: "was not sent",
    StatementState.UNKNOWN: "may or may not run",
}


@dataclass(eq=False, slots=True)
class Statement:
    """One statement of a batch."""

    number: int
    text: str = field(repr=False)
    label: str | None = None
    state: StatementState | None = None
    """`None` while it is waiting or being sent."""
    error: TrackerError | None = None
    was_stopped: bool = False
    """Whether it is unsent only because sending was stopped."""
    progress: Progress = field(default_factory=Progress)

    @property
    def request_id(self) -> str | None:
        """Its request, as soon as the server has named it."""
        return self.progress.request_id


class Batch:
    """
    The statements of one call.

    Args:
        statements: In the order in which they are sent.

        send: Sends one, once, and returns when it was accepted.  It keeps the statement's
            `Progress` up to date.

        accepted: Told of each statement that was accepted.  `ended` must be called for it,
            now or later.

        max_running: How many may be open, from waiting for their slot to their end; `None` is
            any number.

        stop_on_failure: Whether nothing further is sent once one was not accepted, or ended
            other than ok.

        known: Told of each statement whose state is known; it must not block.

    Attributes:
        failure: What failed all of them; `None` if nothing did.
    """

    def __init__(
        self,
        statements: Iterable[Statement],
        send: Callable[[Statement], Coroutine[Any, Any, object]],
        *,
        accepted: Callable[[Statement], None],
        max_running: int | None = None,
        stop_on_failure: bool = False,
        known: Callable[[Statement], None] | None = None,
    ) -> None:
        self.failure: BaseException | None = None
        self._waiting = deque(statements)
        self._send = send
        self._accepted = accepted
        self._max_running = math.inf if max_running is None else max_running
        self._stop_on_failure = stop_on_failure
        self._known = known or _nothing
        self._open: set[Statement] = set()
        self._sending: dict[Statement, asyncio.Task[object]] = {}
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._stopped_by: str | None = None
        self._news = asyncio.Event()

    def __len__(self) -> int:
        """How many are waiting or being sent."""
        return len(self._waiting) + len(self._sending)

    def backlog(self) -> int:
        """How many more would be sent now if so many tasks cost nothing."""
        return int(min(len(self._waiting), self._max_running - len(self._open)))

    async def run(self) -> None:
        """
        Send all that may be sent; return when nothing more is or will be sent.

        Cancelling gives up what waits for its slot, which is then unsent, and leaves unknown
        what is on the wire.  Raises nothing else: see `failure`.
        """
        try:
            while True:
                self._start_some()
                if not self._waiting and not self._sending:
                    return
                self._news.clear()
                await self._news.wait()
        finally:
            self.stop("it was not sent, because the call was cancelled")
            for task in self._tasks:
                task.cancel()
            await until_ended(*self._tasks)

    def raise_failure(self) -> None:
        """Raise what failed all of them, if anything did."""
        if self.failure is not None:
            raise self.failure

    def ended(self, statement: Statement, *, ok: bool) -> None:
        """It is no longer open."""
        self._open.discard(statement)
        if not ok and self._stop_on_failure:
            word = _WORDS[statement.state or StatementState.UNSENT]
            self.stop(f"it was not sent, because statement {statement.number} {word}")
        self._news.set()

    def stop(self, reason: str) -> None:
        """Send nothing further.  What is on the wire gets its answer."""
        if self._stopped_by is None:
            self._stopped_by = reason
        while self._waiting:
            statement = self._waiting.popleft()
            statement.state = StatementState.UNSENT
            statement.error = SubmissionUnsentError(self._stopped_by)
            statement.was_stopped = True
            self._known(statement)
        for statement, task in self._sending.items():
            if not statement.progress.on_the_wire:
                task.cancel()
        self._news.set()

    def fail(self, error: BaseException) -> None:
        """Nothing more can be sent; the first error counts."""
        if self.failure is None:
            self.failure = error
            self.stop(f"it was not sent: {type(error).__name__}")

    def _start_some(self) -> None:
        while (
            self._waiting
            and len(self._sending) < _AHEAD
            and len(self._open) < self._max_running
            and self._stopped_by is None
        ):
            statement = self._waiting.popleft()
            self._open.add(statement)
            task = start_task(
                self._send(statement),
                f"onehouse-tracker statement {statement.number}",
                self._tasks,
            )
            self._sending[statement] = task
            # Not in the task: one that is cancelled before its first step runs nothing.
            task.add_done_callback(partial(self._sent, statement))

    def _sent(self, statement: Statement, task: asyncio.Task[object]) -> None:
        del self._sending[statement]
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if statement.request_id is not None:
            statement.state = StatementState.ACCEPTED
            statement.error = error if isinstance(error, TrackerError) else None
        elif error is not None:
            self._settle(statement, error)
        if isinstance(error, ProjectError) or not isinstance(
            error, Exception | asyncio.CancelledError | None
        ):
            self.fail(error)
        if statement.state is StatementState.ACCEPTED:
            try:
                self._accepted(statement)
            except BaseException as wrong:  # noqa: BLE001 - or `run` would wait forever
                self.fail(wrong)
        else:
            self.ended(statement, ok=False)
        self._known(statement)
        self._news.set()

    def _settle(self, statement: Statement, error: BaseException) -> None:
        """It was not accepted: say what became of it, by an error of its own."""
        fate, reason = fate_of(error, on_the_wire=statement.progress.on_the_wire)
        statement.state, kind = _STATES[fate]
        if isinstance(error, TrackerError) and not isinstance(error, ProjectError):
            statement.error = error
            return
        if isinstance(error, asyncio.CancelledError):
            reason = "the call was cancelled while it was on the wire"
            if fate == "unsent":
                reason = self._stopped_by or "its task was cancelled"
                statement.was_stopped = True
        statement.error = kind(reason)
        statement.error.__cause__ = error


def _nothing(_statement: Statement) -> None:
    """Where nobody wants to know."""
