"""
Calls the user's ``on_result`` with results of runs, as it is called with those of requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from onehouse_tracker._engine.open_tracker.callbacks import Callbacks
from onehouse_tracker._engine.open_tracker.teardown import cancel_and_wait
from onehouse_tracker.errors import JournalError, TrackerClosedError
from onehouse_tracker.run_results import RunOutcome, RunResult

if TYPE_CHECKING:
    from onehouse_tracker._engine.open_tracker.session import Session
    from onehouse_tracker.runs._followed import RunWait

__all__ = ["OnRunResult", "RunCallbacks"]

OnRunResult: TypeAlias = Callable[[RunResult], object] | Callable[[RunResult], Awaitable[object]]
"""What ``on_result`` may be: a plain function or a coroutine function of one result."""


class _Numbered(NamedTuple):
    """One result and its position, in the place of the result of a request."""

    position: int
    result: RunResult

    @property
    def request_id(self) -> str:
        """What the log and the event call it."""
        return self.result.run_id or self.result.request_id or f"number {self.position + 1}"

    @property
    def outcome(self) -> RunOutcome:
        """Its outcome."""
        return self.result.outcome


class _Calls(Callbacks):
    """The queue of calls, of results of runs."""

    def __init__(
        self, callback: Any, session: Session, interrupt: Callable[[BaseException], object]
    ) -> None:
        super().__init__(callback, session, interrupt)
        self._journal_queue = None  # it acknowledges requests
        self.by_position: dict[int, Exception] = {}
        self.acknowledge: Callable[[int], Awaitable[None]] | None = None

    async def _call(self, result: Any) -> BaseException | None:
        raised = await super()._call(result.result)
        if isinstance(raised, Exception):
            self.by_position[result.position] = raised
        elif raised is None and self.acknowledge is not None:
            # Before the next call: at most one result is delivered and not acknowledged.
            try:
                await self.acknowledge(result.position)
            except JournalError as error:
                self.failure = error
        return raised


class RunCallbacks:
    """
    The calls of one ``on_result``, and the task that makes them.

    Args:
        callback: Coroutine functions run on the event loop, plain ones in a thread.

        session: What the task belongs to.
    """

    def __init__(self, callback: OnRunResult, session: Session) -> None:
        self._session = session
        self._calls = _Calls(callback, session, self._interrupt)
        self._wait: RunWait | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def errors(self) -> dict[int, Exception]:
        """What the callback raised, by position."""
        return self._calls.by_position

    def start(
        self, wait: RunWait, acknowledge: Callable[[Iterable[str]], Awaitable[None]] | None = None
    ) -> None:
        """Begin to call; what ends the program ends *wait* too.  What arrived is acknowledged."""
        self._wait = wait
        if acknowledge is not None:
            self._calls.acknowledge = lambda position: acknowledge((wait.keys[position],))
        self._task = self._session.start(self._calls.run(), "onehouse-tracker callbacks of runs")

    def _interrupt(self, error: BaseException) -> None:
        if self._wait is not None:
            self._wait.fail(error)

    def put(self, position: int, result: RunResult) -> None:
        """Queue one result."""
        queued: Any = _Numbered(position, result)
        self._calls.put(queued)

    async def until_done(self) -> None:
        """
        Wait until everything that was queued has been called.

        Raises:
            TrackerClosedError: The tracker was closed before.

            BaseException: What a callback raised to end the program.
        """
        task = self._task
        if task is None:
            return
        self._calls.finish()
        # Not awaited itself: closing cancels it, and that cancels nobody who waits here.
        await asyncio.wait([task])
        if task.cancelled():
            raise TrackerClosedError("the tracker was closed before every callback had run")
        if (failure := task.exception()) is not None:
            raise failure
        if self._calls.interruption is not None:
            raise self._calls.interruption
        if self._wait is not None:
            self._wait.error = self._wait.error or self._calls.failure

    async def aclose(self) -> None:
        """Stop calling."""
        if self._task is not None:
            await cancel_and_wait(self._task)
