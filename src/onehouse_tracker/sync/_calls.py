"""
How what blocks reaches the tracker on its private loop, and brings back what works anywhere.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, TypeVar

from onehouse_tracker.errors import ProjectError
from onehouse_tracker.protocols import OpenableSource
from onehouse_tracker.results import Results
from onehouse_tracker.sync._loop_thread import LoopThread
from onehouse_tracker.tracker import Tracker

__all__ = ["Calls"]

T = TypeVar("T")


class Calls:
    """
    One tracker, its private loop, and calls to it.

    When it is garbage-collected the tracker closes: a reference to this keeps it open.

    Args:
        tracker: Not entered yet.

        client: Opened before the tracker, if the tracker does not do so itself.
    """

    def __init__(self, tracker: Tracker, client: object) -> None:
        self.tracker = tracker
        self.thread = LoopThread(_Opened(tracker, client), name="onehouse-tracker loop")
        # Closing waits, and a finalizer must not.
        weakref.finalize(self, self.thread.close_soon).atexit = False

    @property
    def closed(self) -> bool:
        """Whether every call raises `TrackerClosedError`: closed, failed, or inherited."""
        return self.thread.closed or self.tracker._session.closed  # noqa: SLF001 - the same, inside

    def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run the coroutine that *work* makes, and wait for it; see `LoopThread.call`."""
        try:
            return self.thread.call(work)
        except ProjectError as error:
            if error.results is not None:
                error.results = self.own(error.results)
            raise

    def do(self, work: Callable[[], T]) -> T:
        """Do on the private loop what must be done there, and does not wait."""

        async def done() -> T:
            return work()

        return self.call(done)

    def own(self, results: Results) -> Results:
        """*results*, acknowledged from any thread: the journal belongs to the private loop."""

        def acknowledge(_: Iterable[str]) -> None:
            self.call(results.ack_and_wait)

        return Results(
            results.values(), callback_errors=results.callback_errors, acknowledge=acknowledge
        )


class _Opened(AbstractAsyncContextManager[None]):
    """The tracker, and before it the client where the tracker does not open it."""

    def __init__(self, tracker: Tracker, client: object) -> None:
        self._tracker = tracker
        self._client = client
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> None:
        async with AsyncExitStack() as stack:
            client = self._client
            # Nobody else can have opened it on this loop.
            if isinstance(client, AbstractAsyncContextManager) and not isinstance(
                client, OpenableSource
            ):
                await stack.enter_async_context(client)
            await stack.enter_async_context(self._tracker)
            self._stack = stack.pop_all()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(exc_type, exc, traceback)
