"""
What lets several trackers of one event loop share a limiter: its first user opens it, its last
closes it, and they wait for slots in turn.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod

from onehouse_tracker.errors import ConfigError

__all__ = ["OpenedByUsers"]


class OpenedByUsers(ABC):
    """
    A limiter that counts its users.

    Users belong to one event loop.  What a loop that ended without closing, or the process
    that forked this one, left behind counts no more.
    """

    def __init__(self) -> None:
        self._users = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._opening = asyncio.Lock()
        self._turns = asyncio.Lock()

    async def start(self) -> None:
        """
        Make ready for one user more, on the running loop; the first one opens the limiter.

        Raises:
            ConfigError: It cannot be opened, or it is in use on another event loop.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop or self._pid != os.getpid():
            if self._users and self._is_in_use():
                raise ConfigError(
                    "this limiter is in use on another event loop: give each its own; one budget"
                    ' for several loops or processes takes limiter="host"'
                )
            self._users, self._loop, self._pid = 0, loop, os.getpid()
            self._opening, self._turns = asyncio.Lock(), asyncio.Lock()
        async with self._opening:
            if not self._users:
                await self._open()
            self._users += 1

    async def acquire(self) -> None:
        """
        Wait for the next slot, behind the other users who wait.

        Cancelling gives up the place, and loses a slot at most.
        """
        if not self._users:
            raise RuntimeError("the limiter was not started")
        async with self._turns:
            await self._next_slot()

    async def aclose(self) -> None:
        """
        Count one user less; the last one lets go of everything.

        What was learned stays for the next `start`.
        """
        self._users = max(0, self._users - 1)
        if not self._users:
            await self._close()

    def _is_in_use(self) -> bool:
        loop = self._loop
        return loop is not None and loop.is_running() and self._pid == os.getpid()

    @abstractmethod
    async def _open(self) -> None:
        """Make ready on the running loop; whatever an earlier loop left behind is gone."""

    @abstractmethod
    async def _next_slot(self) -> None:
        """Wait for the next slot, as its only waiter."""

    @abstractmethod
    async def _close(self) -> None:
        """Let go of everything.  Nobody waits.  Closing twice does no harm."""
