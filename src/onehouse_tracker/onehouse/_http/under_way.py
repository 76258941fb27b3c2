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
        self._calls: dict[Use, asyncio.Timeout] = {}

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
        now = asyncio.get_running_loop().time()
        for use, ending in tuple(self._calls.items()):
            if use.connected is False:
                ending.reschedule(now)


class _Call:
    __slots__ = ("_calls", "_ending", "_use")

    def __init__(self, use: Use, calls: dict[Use, asyncio.Timeout]) -> None:
        self._use = use
        self._calls = calls
        self._ending = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        self._use.begin()
        await self._ending.__aenter__()
        self._calls[self._use] = self._ending

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._calls.pop(self._use, None)
        try:
            await self._ending.__aexit__(kind, error, trace)
        except TimeoutError:
            raise ClosedError("the client was closed") from None
        if isinstance(error, TimeoutError) and self._ending.expired():
            raise ClosedError("the client was closed") from None
        if isinstance(error, asyncio.CancelledError) and not is_cancelled():
            raise ClosedError("the session was closed") from None
