"""
One waiter's view: which requests it waits for, and what became of them.

A wait is fed by the engine and read by the tracker; it starts no task and polls nothing.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Literal

from onehouse_tracker.errors import ProjectError, TrackerError
from onehouse_tracker.models import Result, relabelled
from onehouse_tracker.results import Results

__all__ = ["Changing", "Wait"]

REMEMBERED = 10_000
"""Requests of an endless stream that are known to have been delivered: the latest."""

_Entry = str | Result | Literal[True] | None


class Changing:
    """
    Something that changes until it is over, and the tasks that wait for the next change.

    Over is final: by itself, or by an error.
    """

    __slots__ = ("_futures", "error")

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self._futures: dict[asyncio.Future[None], None] = {}

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.error is not None

    def fail(self, error: BaseException) -> None:
        """End all waiting with an error; the first one counts."""
        if not self.over:
            self.error = error
            self.notify()

    def own_error(self) -> BaseException | None:
        """The error that ended it, as an object of the caller's own; `None` if none did."""
        raise NotImplementedError

    def raise_error(self) -> None:
        """Raise the error that ended it, as an object of the caller's own."""
        if (error := self.own_error()) is not None:
            raise error

    def change(self) -> asyncio.Future[None]:
        """A future that is done with the next change."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._futures[future] = None
        return future

    async def changed(self) -> None:
        """Wait for a change.  Any number of tasks may; cancelling one disturbs no other."""
        future = self.change()
        try:
            await future
        finally:
            # A cancelled one may be gone already: woken and cancelled in one turn of the loop.
            self._futures.pop(future, None)

    async def until_over(self) -> None:
        """Wait until nothing more will happen.  Raises nothing."""
        while not self.over:
            await self.changed()

    def notify(self) -> None:
        """Wake everyone in `changed`."""
        futures, self._futures = self._futures, {}
        for future in futures:
            if not future.done():
                future.set_result(None)


class Wait(Changing):
    """
    What one call of ``wait_all``, one iterator, or one handle waits for.

    States: *open* (requests to come or to end), then *over*, by the last result, by a
    project-wide error, or by its owner leaving.  Over is final.

    Args:
        deliver: Called with each result as it arrives, instead of keeping it.

        forgets: Whether a request that was delivered long ago may come again, and then is a new
            one.  For streams that never end.

        on_each: Called with each result as it arrives, and it is kept as well.

        acknowledge: What `Results.ack` of its results calls.
    """

    __slots__ = (
        "_acknowledge",
        "_deliver",
        "_delivered",
        "_ended",
        "_entries",
        "_on_each",
        "_open",
        "alone",
        "expired",
        "feeding",
        "overdue",
    )

    def __init__(
        self,
        *,
        deliver: Callable[[Result], None] | None = None,
        forgets: bool = False,
        on_each: Callable[[Result], None] | None = None,
        acknowledge: Callable[[Iterable[str]], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__()
        self.alone = (self,)
        self.feeding = True
        """Whether more requests may come."""
        self.expired = False
        """Whether its deadline has passed: only what the journal may know is waited for."""
        self.overdue = False
        """Whether it waits for the journal no longer either."""
        self._deliver = deliver
        self._delivered: deque[str] | None = deque() if forgets else None
        self._on_each = on_each
        self._acknowledge = acknowledge
        # request ID -> its label while it is open, then its result, or True once it was
        # delivered: one dict, because a wait may hold a million requests.
        self._entries: dict[str, _Entry] = {}
        self._open = 0
        self._ended = False

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        if self._ended or self.error is not None:
            return True
        return not self._open and not self.feeding

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._entries

    def open_ids(self) -> Iterator[str]:
        """The requests without a result, in the order given."""
        return (
            key for key, entry in self._entries.items() if entry is None or isinstance(entry, str)
        )

    def results(self) -> Results:
        """The results that were kept, in the order given."""
        return Results(
            (entry for entry in self._entries.values() if type(entry) is Result),
            acknowledge=self._acknowledge,
        )

    def enter(self, request_id: str, label: str | None) -> None:
        """Wait for one more request, which is not in this wait yet."""
        self._entries[request_id] = label
        self._open += 1

    def has(self, request_id: str, label: str | None) -> bool:
        """Whether it is in this wait already: then a *label* counts where it had none before."""
        if request_id not in self._entries:
            return False
        entry = self._entries[request_id]
        if label is not None and entry is None:
            self._entries[request_id] = label
        elif label is not None and isinstance(entry, Result) and entry.label is None:
            self._entries[request_id] = relabelled(entry, label)
        return True

    def settle(self, result: Result) -> None:
        """One request ended."""
        entry = self._entries[result.request_id]
        if isinstance(entry, str) and entry != result.label:
            result = relabelled(result, entry)
        self._open -= 1
        if self._deliver is None:
            self._entries[result.request_id] = result
            if self._on_each is not None:
                self._on_each(result)
        else:
            self._forget(result.request_id)
            self._deliver(result)
            self.notify()
        if self.over:
            self.notify()

    def _forget(self, request_id: str) -> None:
        """Remember no more of what was delivered than it takes to deliver it once."""
        if not self.feeding:
            del self._entries[request_id]
            return
        self._entries[request_id] = True
        if self._delivered is not None:
            self._delivered.append(request_id)
            if len(self._delivered) > REMEMBERED:
                del self._entries[self._delivered.popleft()]

    def fed(self) -> None:
        """No more requests will come."""
        self.feeding = False
        if self._deliver is not None:
            self._entries = {key: self._entries[key] for key in self.open_ids()}
        if self.over:
            self.notify()

    def end(self) -> None:
        """Its owner leaves: whatever comes later is ignored."""
        self._ended = True
        self.notify()

    def own_error(self) -> BaseException | None:
        """The error that ended this wait, as an object of the caller's own."""
        error = self.error
        if isinstance(error, ProjectError):
            own = copy.copy(error)
            own.results = self.results()
            own.pending = (*self.open_ids(),)
            own.__cause__ = error.__cause__
            return own
        if isinstance(error, TrackerError):
            return copy.copy(error)
        return error  # the caller's own, from the iterable they gave us
