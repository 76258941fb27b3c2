"""
What the tracker hands out: a handle for one request, an iterator for many.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, final

from onehouse_tracker._awaiting import Arrivals, Awaited
from onehouse_tracker.models import Result, own_copy
from onehouse_tracker.results import Results

if TYPE_CHECKING:
    from onehouse_tracker._engine.journal_queue import JournalQueue
    from onehouse_tracker._engine.waits import Wait

__all__ = ["Completions", "Handle"]


@final
class Handle(Awaited["Wait", Result]):
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

    __slots__ = ("_journal_queue", "_label", "_request_id", "_siblings")

    def __init__(
        self,
        request_id: str,
        label: str | None,
        wait: Wait,
        leave: Callable[[Wait], None],
        journal_queue: JournalQueue | None = None,
    ) -> None:
        super().__init__(wait, leave)
        self._request_id = request_id
        self._label = label
        self._journal_queue = journal_queue
        # All handles for this request: while one lives, its outcome is remembered.
        self._siblings: weakref.WeakSet[Handle] = weakref.WeakSet()

    def __repr__(self) -> str:
        return f"<Handle {self._request_id}: {self._state() or self._stored().outcome}>"

    @property
    def request_id(self) -> str:
        """The request."""
        return self._request_id

    @property
    def label(self) -> str | None:
        """The label it was tracked with."""
        return self._label

    def _named(self) -> str:
        return f"request {self._request_id}"

    def _own(self) -> Result:
        return own_copy(self._stored())

    def _deliver(self, result: Result) -> None:
        if self._journal_queue is not None:
            self._journal_queue.delivered((result,))

    def _as_results(self, result: Result) -> Results:
        queue = self._journal_queue
        acknowledge = None if queue is None else queue.acknowledge
        return Results((result,), acknowledge=acknowledge)

    def _remembered(self) -> Result | None:
        """The outcome, if it is final, for another waiter; `None` otherwise."""
        result = self._known()
        return result if result is not None and result.outcome.final else None

    def _stored(self) -> Result:
        return self._wait.results()[self._request_id]


@final
class Completions(Arrivals[Result, Result]):
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

    _wait: Wait

    def __init__(
        self,
        wait: Wait,
        arrived: deque[Result],
        release: Callable[[], None],
        journal_queue: JournalQueue | None = None,
    ) -> None:
        acknowledge = None if journal_queue is None else journal_queue.acknowledge
        super().__init__(wait, arrived, release, acknowledge)

    def _pending(self) -> int:
        return sum(1 for _ in self._wait.open_ids())

    def _unpack(self, arrived: Result) -> tuple[str | None, Result]:
        return (arrived.request_id if arrived.outcome.finished else None), arrived
