"""
How late an event loop is: what a benchmark of times must know about its own machine.
"""

from __future__ import annotations

import asyncio
from array import array

__all__ = ["STALL", "Lateness"]

_TICK = 0.01
STALL = 0.008
"""Seconds: whoever stands still for so long cannot send evenly.  A limiter forgives 20 ms."""


class Lateness:
    """
    Wakes up every 10 ms and notes by how much it was late, in seconds.

    Attributes:
        stalls: From when until when it stood still, in loop time: each that took `STALL`.
    """

    def __init__(self) -> None:
        self._late = array("d")
        self.stalls: list[tuple[float, float]] = []

    async def watch(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _TICK
            await asyncio.sleep(_TICK)
            now = loop.time()
            self._late.append(now - due)
            if now - due >= STALL:
                self.stalls.append((due, now))

    def at(self, quantile: float) -> float:
        """The lateness that this part of all wake-ups stayed below, in seconds."""
        late = sorted(self._late)
        return late[min(len(late) - 1, int(quantile * len(late)))] if late else 0.0
