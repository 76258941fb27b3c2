"""
What `Runs` hands out: a handle for one run, an iterator for many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from contextvars import Context, copy_context
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self, final

if TYPE_CHECKING:
    from onehouse_tracker.run_results import RunResult
    from onehouse_tracker.runs._followed import Followed, RunWait

__all__ = ["RunCompletions", "RunHandle"]


@final
class RunHandle:
    """
    One run that is followed until it ends, `cancel` is called, or the tracker closes.

    ``await handle`` returns its `RunResult`.  Any number of tasks may await it, any number of
    times.  Cancelling a task that awaits the handle does not cancel the handle.

    Raises:
        AuthenticationError: The server refused our credentials.

        OutageError: Nothing answered for ``PollPolicy.patience`` seconds.

        TrackerClosedError: The tracker was closed first.

        asyncio.CancelledError: `cancel` was called first.
    """

    __slots__ = ("__weakref__", "_cancel_run", "_leave", "_told", "_wait", "followed")

    def __init__(
        self,
        followed: Followed,
        wait: RunWait,
        leave: Callable[[RunWait], None],
        cancel_run: Callable[[Followed], Awaitable[None]],
        told: Callable[[Iterable[str]], None] | None = None,
    ) -> None:
        self.followed = followed
        """What the tracker knows of it; not for users."""
        self._wait = wait
        self._leave = leave
        self._cancel_run = cancel_run
        self._told = told

    def __repr__(self) -> str:
        if not self._wait.over:
            state = "not ended"
        elif self.cancelled():
            state = "canceled"
        elif self._wait.error is not None:
            state = type(self._wait.error).__name__
        else:
            state = str(self._wait.results()[0].outcome)
        return f"<RunHandle {self.run_id or self.request_id}: {state}>"

    @property
    def job(self) -> str | None:
        """The name of the job; `None` for a statement that starts no run."""
        return self.followed.job

    @property
    def run_id(self) -> str | None:
        """The run, once it is known."""
        if self.followed.run is not None:
            return self.followed.run.run_id
        return None if self.followed.result is None else self.followed.result.run_id

    @property
    def request_id(self) -> str | None:
        """The request that started it; `None` for a run that was started elsewhere."""
        return self.followed.request_id

    @property
    def label(self) -> str | None:
        """The label it was given."""
        return self.followed.label

    @property
    def status(self) -> str | None:
        """The server's last word about the run; `None` before the first."""
        return None if self.followed.run is None else self.followed.run.word

    def done(self) -> bool:
        """Whether awaiting returns, or raises, at once."""
        return self._wait.over

    def result(self) -> RunResult:
        """
        The result, without waiting.

        Raises:
            asyncio.InvalidStateError: It has not ended.

            asyncio.CancelledError: `cancel` was called first.

            TrackerError: What awaiting would raise.
        """
        if (error := self.exception()) is not None:
            raise error
        if self._told is not None:
            self._told(self._wait.keys)
        return self._wait.results()[0]

    def exception(self) -> BaseException | None:
        """
        Why there is no result, without waiting; `None` if there is one, whatever it says.

        Raises:
            asyncio.InvalidStateError: It has not ended.

            asyncio.CancelledError: `cancel` was called first.
        """
        if not self._wait.over:
            raise asyncio.InvalidStateError(f"run {self.run_id or '-'} has not ended")
        if self.cancelled():
            raise self._cancelled()
        return self._wait.own_error()

    def add_done_callback(
        self, callback: Callable[[RunHandle], object], *, context: Context | None = None
    ) -> None:
        """
        Call *callback* with this handle when it is done; soon, if it is done already.

        It is called on the event loop, in *context* or a copy of the current one, and must not
        block.  What it raises goes to the event loop's exception handler.
        """
        context = copy_context() if context is None else context
        if self._wait.over:
            asyncio.get_running_loop().call_soon(callback, self, context=context)
        else:
            self._wait.change().add_done_callback(lambda _: callback(self), context=context)

    def cancelled(self) -> bool:
        """Whether `cancel` was called before the run ended."""
        return isinstance(self._wait.error, asyncio.CancelledError)

    def _cancelled(self) -> asyncio.CancelledError:
        name = self.run_id or self.request_id or "-"
        return asyncio.CancelledError(f"run {name}: its handle was canceled; it still runs")

    def cancel(self) -> bool:
        """
        Stop following it, if nobody else does.  The run itself continues.

        Returns False if the handle was done.
        """
        if self._wait.over:
            return False
        self._leave(self._wait)
        self._wait.fail(self._cancelled())
        return True

    async def cancel_run(self) -> RunResult:
        """
        Have the server cancel the run, and wait until it has stopped.

        It may have ended in another way before; `RunResult.cancellation` has what the server
        said.  Cancelling this call stops the waiting only.

        Returns:
            How the run ended.

        Raises:
            InvalidRequestError: The run is not known, or such work cannot be cancelled.

            SubmissionError: The server refused the statement, or its fate is unknown.

            ProjectError: What awaiting would raise.
        """
        if not self._wait.over:
            await self._cancel_run(self.followed)
        result = await self
        if result.cancellation is None:  # it ended before the answer came
            result = replace(result, cancellation=self.followed.cancellation)
        return result

    def __await__(self) -> Generator[object, None, RunResult]:
        yield from self._wait.until_over().__await__()
        return self.result()


@final
class RunCompletions(AsyncIterator["RunResult"]):
    """
    Results in the order in which the runs end.

    An async iterator and an async context manager.  Leaving the ``async with`` block, or
    `aclose`, stops the checks of what nobody else follows.  With a journal, asking for the next
    result acknowledges the one before.

    Raises:
        ProjectError: After the results that were known before it.
    """

    def __init__(
        self,
        wait: RunWait,
        arrived: deque[tuple[int, RunResult]],
        release: Callable[[], None],
        acknowledge: Callable[[Iterable[str]], None] | None = None,
    ) -> None:
        self._wait = wait
        self._arrived = arrived
        self._release = release
        self._acknowledge = acknowledge
        self._taken: str | None = None

    def __repr__(self) -> str:
        return f"<RunCompletions: {len(self._arrived)} arrived, {self._wait.open} not ended>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RunResult:
        """
        Wait for the next result.

        Cancelling loses nothing: the next call gets the result.
        """
        taken, self._taken = self._taken, None
        if taken is not None and self._acknowledge is not None:
            self._acknowledge((taken,))
        while not self._arrived:
            if self._wait.over:
                self._release()
                self._wait.raise_error()
                raise StopAsyncIteration
            await self._wait.changed()
        position, result = self._arrived.popleft()
        self._taken = self._wait.keys[position]
        return result

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop waiting.  Results that have arrived can still be taken."""
        self._release()
