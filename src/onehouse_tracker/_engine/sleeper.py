"""
The dispatcher's sleep, from which whatever is new wakes it.
"""

from __future__ import annotations

import asyncio
import math

__all__ = ["Sleeper"]


class Sleeper:
    """Sleeps for one task, on the running loop."""

    __slots__ = ("_future", "_loop")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] | None = None

    @property
    def sleeps(self) -> bool:
        """Whether the task sleeps, and nobody has woken it."""
        return self._future is not None and not self._future.done()

    async def sleep_until(self, when: float) -> None:
        """Sleep until loop time *when*, or until `wake`; infinity for only that."""
        self._future = future = self._loop.create_future()
        timer = None if math.isinf(when) else self._loop.call_at(when, _resolve, future)
        try:
            await future
        finally:
            self._future = None
            if timer is not None:
                timer.cancel()

    def wake(self) -> None:
        """End the sleep, if there is one."""
        if self._future is not None:
            _resolve(self._future)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
