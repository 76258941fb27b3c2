"""
Which statements are written down before their slots come: as few as keep sending at its rate.

Bookkeeping only: no clock, no I/O, no tasks; callers pass the time in.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque

__all__ = ["WriteAhead"]


class WriteAhead:
    """
    The places of statements that are on disk as being sent, and wait for their slots.

    After a crash nobody knows of those in such a place whether they were sent, so there is one,
    which is written down while the statement before it has its slot.  On a disk that is too
    slow for that there are more: they share a write.

    Args:
        limit: Slots per second.
    """

    MOST = 5
    """Places on the slowest disk."""

    def __init__(self, limit: float) -> None:
        # The other half of the time between two slots is for what else is written.
        self._share = 0.5 / limit
        self._places = 1
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> None:
        """Wait for a place, in order of arrival.  Cancelling gives up the turn."""
        if self._taken < self._places and not self._waiting:
            self._taken += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # given and canceled in the same turn
                self.release()
            raise

    def release(self) -> None:
        """Give a place back: the statement has its slot, or will not be sent."""
        self._taken -= 1
        self._give()

    def took(self, seconds: float) -> None:
        """Writing down the last statement took so long."""
        self._places = min(self.MOST, max(1, math.ceil(seconds / self._share)))
        self._give()

    def _give(self) -> None:
        while self._waiting and self._taken < self._places:
            turn = self._waiting.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)
