"""
How late an event loop is: what a benchmark of times must know about its own machine.
"""

from __future__ import annotations

import asyncio
from array import array

__all__ = ["Lateness"]

_TICK = 0.01


class Lateness:
    """Wakes up every 10 ms and notes by how much it was late, in seconds."""

    def __init__(self) -> None:
        self._late = array("d")

    async def watch(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _TICK
            await asyncio.sleep(_TICK)
            self._late.append(loop.time() - due)

    def at(self, quantile: float) -> float:
        """The lateness that this part of all wake-ups stayed below, in seconds."""
        late = sorted(self._late)
        return late[min(len(late) - 1, int(quantile * len(late)))] if late else 0.0
