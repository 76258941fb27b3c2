"""
The calls of one client that are under way, and what becomes of them when it closes.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from onehouse_tracker._util.cancelling import is_cancelled
from onehouse_tracker.onehouse._http.connections import Use
from onehouse_tracker.onehouse._http.failures import ClosedError

__all__ = ["UnderWay"]


class UnderWay:
    """
    Ends the calls that wait for a name or a connection, when their client closes.

    aiohttp would cancel all that wait there, though nobody cancelled them, or, where others use
    the session as well, let them send after all.
    """

    def __init__(self) -> None:
        self._calls: set[_Call] = set()

    def call(self, use: Use) -> _Call:
        """
        Return a context manager: its block is one call, which learns in *use* what its
        connection is.

        Raises:
            ClosedError: The client, or its session, was closed meanwhile.
        """
        return _Call(use, self._calls)

    def end(self) -> None:
        """End what has no connection yet; what has one, somebody may still be answered."""
        for call in self._calls:
            call.end()


class _Call:
    # Ends a block as `asyncio.timeout` does, which takes three times as long for each call.

    __slots__ = ("_calls", "_cancelled_before", "_ended", "_task", "_use")

    def __init__(self, use: Use, calls: set[_Call]) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - aiohttp needs one, too
        self._task = task
        self._cancelled_before = task.cancelling()
        self._ended = False
        self._use = use
        self._calls = calls

    def __enter__(self) -> None:
        self._use.begin()
        self._calls.add(self)

    def end(self) -> None:
        if self._use.connected is False and not self._ended:
            self._ended = self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._calls.discard(self)
        if self._ended:
            by_others = self._task.uncancel() > self._cancelled_before
            cancelled = isinstance(error, asyncio.CancelledError) and not by_others
            if cancelled or isinstance(error, TimeoutError):
                raise ClosedError("the client was closed") from None
        if isinstance(error, asyncio.CancelledError) and not is_cancelled():
            raise ClosedError("the session was closed") from None
