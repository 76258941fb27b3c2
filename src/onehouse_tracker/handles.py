"""
What the tracker hands out: a handle for one request, an iterator for many.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import suppress
from contextvars import Context, copy_context
from types import TracebackType
from typing import TYPE_CHECKING, Self, final

from onehouse_tracker.errors import TrackerClosedError
from onehouse_tracker.models import own_copy
from onehouse_tracker.results import Results

if TYPE_CHECKING:
    from onehouse_tracker._engine.journal_queue import JournalQueue
    from onehouse_tracker._engine.waits import Wait
    from onehouse_tracker.models import Result

__all__ = ["Completions", "Handle"]


@final
class Handle:
    """
    One request that is tracked until it ends, `cancel` is called, or the tracker closes.

    It is used like a future: ``await handle`` returns the `Result`.  Any number of tasks may
    await it, any number of times; each gets a result, or an exception, of its own.  Cancelling
    a task that awaits the handle does not cancel the handle.  A request that failed is a
    result, too: an exception means that its result is not known.

    As with any future, the request is tracked whether you keep the handle or not: only `cancel`
    ends that.  It can be given wherever a request ID can.

    Raises:
        AuthenticationError: The server refused our credentials.

        OutageError: Nothing answered for ``PollPolicy.patience`` seconds.

        TrackerClosedError: The tracker was closed first.

        asyncio.CancelledError: `cancel` was called first.
    """

    __slots__ = (
        "__weakref__",
        "_journal_queue",
        "_label",
        "_leave",
        "_loop",
        "_request_id",
        "_siblings",
        "_wait",
    )

    def __init__(
        self,
        request_id: str,
        label: str | None,
        wait: Wait,
        leave: Callable[[Wait], None],
        journal_queue: JournalQueue | None = None,
    ) -> None:
        self._request_id = request_id
        self._label = label
        self._wait = wait
        self._leave = leave
        self._journal_queue = journal_queue
        self._loop = asyncio.get_running_loop()
        # All handles for this request: while one lives, its outcome is remembered.
        self._siblings: weakref.WeakSet[Handle] = weakref.WeakSet()

    def __repr__(self) -> str:
        if not self._wait.over:
            state = "pending"
        elif self.cancelled():
            state = "canceled"
        elif self._wait.error is not None:
            state = type(self._wait.error).__name__
        else:
            state = str(self._stored().outcome)
        return f"<Handle {self._request_id}: {state}>"

    @property
    def request_id(self) -> str:
        """The request."""
        return self._request_id

    @property
    def label(self) -> str | None:
        """The label it was tracked with."""
        return self._label

    def done(self) -> bool:
        """Whether awaiting returns, or raises, at once."""
        return self._wait.over

    def cancelled(self) -> bool:
        """Whether `cancel` was called before the request ended."""
        return isinstance(self._wait.error, asyncio.CancelledError)

    def exception(self) -> BaseException | None:
        """
        Why there is no result, without waiting; `None` if there is one, whatever it says.

        Raises:
            asyncio.InvalidStateError: It is still pending.

            asyncio.CancelledError: `cancel` was called first.
        """
        if not self._wait.over:
            raise asyncio.InvalidStateError(f"request {self._request_id} is still pending")
        if self.cancelled():
            raise self._cancelled()
        return self._wait.own_error()

    def result(self) -> Result:
        """
        The result, without waiting.

        Raises:
            asyncio.InvalidStateError: It is still pending.

            asyncio.CancelledError: `cancel` was called first.

            TrackerError: What awaiting would raise.
        """
        if (error := self.exception()) is not None:
            raise error
        result = own_copy(self._stored())
        if self._journal_queue is not None:
            self._journal_queue.delivered((result,))
        return result

    def add_done_callback(
        self, callback: Callable[[Handle], object], *, context: Context | None = None
    ) -> None:
        """
        Call *callback* with this handle when it is done; soon, if it is done already.

        It is called on the event loop, in *context* or a copy of the current one, however the
        handle got done, and must not block.  What it raises goes to the event loop's exception
        handler.
        """
        context = copy_context() if context is None else context
        if self._wait.over:
            self._loop.call_soon(callback, self, context=context)
        else:
            self._wait.change().add_done_callback(lambda _: callback(self), context=context)

    def ack(self) -> None:
        """
        Tell the journal that the result has arrived where you wanted it.

        Until then ``Tracker.resume()`` delivers it again after a crash.  This returns at once;
        it is written soon afterwards, and at the latest when the tracker closes.
        `ack_and_wait` waits for that.  Without a journal it does nothing.

        Raises:
            asyncio.InvalidStateError: It is still pending.

            TrackerClosedError: The tracker was closed before, by an exception.

            TrackerError: What awaiting the handle would raise.
        """
        self._as_results().ack()

    async def ack_and_wait(self) -> None:
        """
        Do what `ack` does, and wait until it is on disk.  Cancelling ends the waiting only.

        Raises:
            JournalError: It could not be written.

            asyncio.InvalidStateError: It is still pending.

            TrackerError: What awaiting the handle would raise.
        """
        await self._as_results().ack_and_wait()

    def _as_results(self) -> Results:
        queue = self._journal_queue
        acknowledge = None if queue is None else queue.acknowledge
        return Results((self.result(),), acknowledge=acknowledge)

    def _remembered(self) -> Result | None:
        """The outcome, if it is final, for another waiter; `None` otherwise."""
        result = self._known()
        return result if result is not None and result.outcome.final else None

    def _known(self) -> Result | None:
        """The outcome, if there is one; that it was looked at is not written down."""
        if not self._wait.over or self._wait.error is not None:
            return None
        return own_copy(self._stored())

    def cancel(self) -> bool:
        """
        Stop waiting; if nobody else waits for the request, it is no longer polled.

        The request itself still runs at the server.  Returns False if the handle was done.
        """
        if self._wait.over:
            return False
        self._leave(self._wait)
        self._wait.fail(self._cancelled())
        return True

    def _cancelled(self) -> asyncio.CancelledError:
        return asyncio.CancelledError(
            f"request {self._request_id}: its handle was canceled; it still runs at the server"
        )

    def __await__(self) -> Generator[object, None, Result]:
        yield from self._wait.until_over().__await__()
        return self.result()

    def _stored(self) -> Result:
        return self._wait.results()[self._request_id]


@final
class Completions(AsyncIterator["Result"]):
    """
    Results in the order in which the requests end.

    An async iterator and an async context manager.  Leaving the ``async with`` block, or
    `aclose`, stops the polling of what nobody else waits for.  As with any iterator, dropping it
    is the same, as a bare ``break`` does, but you cannot tell when.  Several tasks may take from
    one iterator: each result goes to one of them.

    With a journal, asking for the next result acknowledges the one before, and gets the
    next one when that is on disk.  What was taken last is delivered again by
    ``Tracker.resume()`` unless somebody asks once more, as a loop that runs to its end does.
    Each step may run in a task of its own, as with ``asyncio.wait_for(anext(it), 1)``.  Where
    several tasks take from one iterator, each acknowledges its own results only, and steps in
    tasks of their own acknowledge nothing, because nobody can tell whose they are.

    Raises:
        ProjectError: After the results that were known before it; ``pending`` names the
            requests that are still open.
    """

    def __init__(
        self,
        wait: Wait,
        arrived: deque[Result],
        release: Callable[[], None],
        journal_queue: JournalQueue | None = None,
    ) -> None:
        self._wait = wait
        self._arrived = arrived
        self._journal_queue = journal_queue
        # What each task got last: one task that asks for more says nothing about another's.
        self._taken: dict[asyncio.Task[object], str] = {}
        self._asking = 0
        self._is_shared = False
        # A finalizer may run in any thread, and must not refer to this object.
        self._finalizer = weakref.finalize(
            self, _release_soon, asyncio.get_running_loop(), release
        )
        self._finalizer.atexit = False
        self._release = release

    def __repr__(self) -> str:
        pending = sum(1 for _ in self._wait.open_ids())
        return f"<Completions: {len(self._arrived)} arrived, {pending} pending>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Result:
        """
        Wait for the next result.

        Cancelling loses nothing: the next call gets the result.
        """
        # Two who ask at once are two consumers, from now on.
        self._is_shared = self._is_shared or self._asking > 0
        self._asking += 1
        try:
            if self._journal_queue is not None:
                await self._acknowledge_last(self._journal_queue)
            result = await self._take()
        finally:
            self._asking -= 1
        if result is None:
            raise StopAsyncIteration
        if self._journal_queue is not None and result.outcome.finished:
            task = asyncio.current_task()
            if task is not None:
                self._taken[task] = result.request_id
        return result

    async def _take(self) -> Result | None:
        """The next result, without acknowledging any; `None` at the end."""
        while not self._arrived:
            if self._wait.over:
                self._close()
                self._wait.raise_error()
                return None
            await self._wait.changed()
        return self._arrived.popleft()

    async def _acknowledge_last(self, journal_queue: JournalQueue) -> None:
        current = asyncio.current_task()
        arrived: list[str] = []
        for task, request_id in tuple(self._taken.items()):
            if task is current or (not self._is_shared and _has_handed_over(task)):
                arrived.append(request_id)
            elif not task.done():
                continue  # it is at work
            del self._taken[task]
        if arrived:
            # After closing it is too late: what has arrived can be taken all the same.
            with suppress(TrackerClosedError):
                await journal_queue.acknowledge(arrived)

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
        self._close()

    def _close(self) -> None:
        if self._finalizer.detach() is not None:
            self._release()


def _has_handed_over(task: asyncio.Task[object]) -> bool:
    """Whether *task* was one step, and its waiter has the result by now."""
    if not task.done() or task.cancelled():
        return False
    # Not `exception()`: an error that nobody looks at must still be told in the log.
    return getattr(task, "_exception", task) is None


def _release_soon(loop: asyncio.AbstractEventLoop, release: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(release)
