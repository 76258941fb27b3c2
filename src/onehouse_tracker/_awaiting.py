"""
What a handle and an iterator have in common, whether they wait for requests or for runs.
"""

from __future__ import annotations

import asyncio
import weakref
from abc import abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from onehouse_tracker.errors import TrackerClosedError

if TYPE_CHECKING:
    from onehouse_tracker._engine.waits import Changing
    from onehouse_tracker.results import Results
    from onehouse_tracker.run_results import RunResults

__all__ = ["Arrivals", "Awaited"]

WaitT = TypeVar("WaitT", bound="Changing")
ResultT = TypeVar("ResultT")
ArrivedT = TypeVar("ArrivedT")


class Awaited(Generic[WaitT, ResultT]):
    """
    One thing that is waited for until it ends, `cancel` is called, or the tracker closes.

    It is used like a future: ``await handle`` returns its result.
    """

    __slots__ = ("__weakref__", "_leave", "_loop", "_wait")

    def __init__(self, wait: WaitT, leave: Callable[[WaitT], None]) -> None:
        self._wait = wait
        self._leave = leave
        self._loop = asyncio.get_running_loop()

    @abstractmethod
    def _named(self) -> str:
        """What it waits for, for people: ``request r-1``."""

    @abstractmethod
    def _own(self) -> ResultT:
        """A copy of the result, which is there."""

    @abstractmethod
    def _deliver(self, result: ResultT) -> None:
        """The caller has *result* from now on."""

    @abstractmethod
    def _as_results(self, result: ResultT) -> Results | RunResults:
        """The result as those of many are handed out, which can be acknowledged."""

    def _known(self) -> ResultT | None:
        """The result, if there is one; that it was looked at is not written down."""
        return self._own() if self._wait.over and self._wait.error is None else None

    def _state(self) -> str:
        """For the `repr`; empty if there is a result."""
        if not self._wait.over:
            return "pending"
        if self.cancelled():
            return "canceled"
        return "" if self._wait.error is None else type(self._wait.error).__name__

    def done(self) -> bool:
        """Whether awaiting returns, or raises, at once."""
        return self._wait.over

    def cancelled(self) -> bool:
        """Whether `cancel` was called before the end was known."""
        return isinstance(self._wait.error, asyncio.CancelledError)

    def exception(self) -> BaseException | None:
        """
        Why there is no result, without waiting; `None` if there is one, whatever it says.

        Raises:
            asyncio.InvalidStateError: It is still pending.

            asyncio.CancelledError: `cancel` was called first.
        """
        if not self._wait.over:
            raise asyncio.InvalidStateError(f"{self._named()} is still pending")
        if self.cancelled():
            raise self._cancelled()
        return self._wait.own_error()

    def result(self) -> ResultT:
        """
        The result, without waiting.

        Raises:
            asyncio.InvalidStateError: It is still pending.

            asyncio.CancelledError: `cancel` was called first.

            TrackerError: What awaiting would raise.
        """
        if (error := self.exception()) is not None:
            raise error
        result = self._own()
        self._deliver(result)
        return result

    def add_done_callback(
        self, callback: Callable[[Self], object], *, context: Context | None = None
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

        Until then ``resume()`` delivers it again after a crash.  This returns at once; it is
        written soon afterwards, and at the latest when the tracker closes.  `ack_and_wait` waits
        for that.  Without a journal it does nothing.

        Raises:
            asyncio.InvalidStateError: It is still pending.

            TrackerClosedError: The tracker was closed before, by an exception.

            TrackerError: What awaiting the handle would raise.
        """
        self._as_results(self.result()).ack()

    async def ack_and_wait(self) -> None:
        """
        Do what `ack` does, and wait until it is on disk.  Cancelling ends the waiting only.

        Raises:
            JournalError: It could not be written.

            asyncio.InvalidStateError: It is still pending.

            TrackerError: What awaiting the handle would raise.
        """
        await self._as_results(self.result()).ack_and_wait()

    def cancel(self) -> bool:
        """
        Stop waiting; what nobody else waits for is no longer asked for.

        At the server it still runs.  Returns False if the handle was done.
        """
        if self._wait.over:
            return False
        self._leave(self._wait)
        self._wait.fail(self._cancelled())
        return True

    def _cancelled(self) -> asyncio.CancelledError:
        return asyncio.CancelledError(
            f"{self._named()}: its handle was canceled; it still runs at the server"
        )

    def __await__(self) -> Generator[object, None, ResultT]:
        yield from self._wait.until_over().__await__()
        return self.result()


class Arrivals(AsyncIterator[ResultT], Generic[ArrivedT, ResultT]):
    """
    Results in the order in which they arrive.

    `Completions` says what it promises, and all of it holds for runs too.

    Args:
        wait: What fills *arrived*, until it is over.

        release: Stops the waiting.  It must not refer to this object.

        acknowledge: Writes down what has arrived, by the keys of `_unpack`; `None` without a
            journal.
    """

    def __init__(
        self,
        wait: Changing,
        arrived: deque[ArrivedT],
        release: Callable[[], None],
        acknowledge: Callable[[Iterable[str]], Awaitable[None]] | None = None,
    ) -> None:
        self._wait = wait
        self._arrived = arrived
        self._acknowledge = acknowledge
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

    @abstractmethod
    def _pending(self) -> int:
        """How many have not ended."""

    @abstractmethod
    def _unpack(self, arrived: ArrivedT) -> tuple[str | None, ResultT]:
        """A result, and the key by which the journal knows it: `None` if it is not to know."""

    def __repr__(self) -> str:
        arrived, pending = len(self._arrived), self._pending()
        return f"<{type(self).__name__}: {arrived} arrived, {pending} pending>"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ResultT:
        """
        Wait for the next result.

        Cancelling loses nothing: the next call gets the result.
        """
        # Two who ask at once are two consumers, from now on.
        self._is_shared = self._is_shared or self._asking > 0
        self._asking += 1
        try:
            if self._taken:
                await self._acknowledge_last()
            taken = await self._take()
        finally:
            self._asking -= 1
        if taken is None:
            raise StopAsyncIteration
        key, result = taken
        task = asyncio.current_task()
        if key is not None and task is not None:
            self._taken[task] = key
        return result

    async def _take(self) -> tuple[str | None, ResultT] | None:
        """
        The next result, without acknowledging any; `None` at the end.

        Before it the key by which the journal knows it, if it has to.
        """
        while not self._arrived:
            if self._wait.over:
                self._close()
                self._wait.raise_error()
                return None
            await self._wait.changed()
        key, result = self._unpack(self._arrived.popleft())
        return (None if self._acknowledge is None else key), result

    async def _acknowledge_last(self) -> None:
        current = asyncio.current_task()
        arrived: list[str] = []
        for task, key in tuple(self._taken.items()):
            if task is current or (not self._is_shared and _has_handed_over(task)):
                arrived.append(key)
            elif not task.done():
                continue  # it is at work
            del self._taken[task]
        await self._have_arrived(arrived)

    async def _have_arrived(self, keys: Sequence[str]) -> None:
        """Write it down."""
        # After closing it is too late: what has arrived can be taken all the same.
        with suppress(TrackerClosedError):
            if keys and self._acknowledge is not None:
                await self._acknowledge(keys)

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
