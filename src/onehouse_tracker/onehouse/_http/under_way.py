"""
The calls of one client that are under way, and what becomes of them when it closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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

    @asynccontextmanager
    async def call(self, use: Use) -> AsyncIterator[None]:
        """
        The block is one call, which learns in *use* what its connection is.

        Raises:
            ClosedError: The client, or its session, was closed meanwhile.
        """
        use.begin()
        ending = asyncio.timeout(None)
        try:
            async with ending:
                self._calls[use] = ending
                yield
        except TimeoutError:
            if ending.expired():
                raise ClosedError("the client was closed") from None
            raise
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            raise ClosedError("the session was closed") from None
        finally:
            self._calls.pop(use, None)

    def end(self) -> None:
        """End what has no connection yet; what has one, somebody may still be answered."""
        now = asyncio.get_running_loop().time()
        for use, ending in tuple(self._calls.items()):
            if use.connected is False:
                ending.reschedule(now)
