"""
The worker threads for plain callbacks.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from onehouse_tracker._engine.open_tracker.inside import inside, is_inside

__all__ = ["Workers"]

T = TypeVar("T")


class Workers:
    """
    One thread for the callbacks of all waits.

    A callback may begin a wait that has a callback itself, and wait for it: that one runs in
    another thread, one for each level, or it would wait for itself.

    Args:
        owner: What the callbacks are inside of.
    """

    def __init__(self, owner: object) -> None:
        self._owner = owner
        self._threads: list[ThreadPoolExecutor] = []

    def level(self) -> int:
        """Which thread calls the callbacks of a wait that begins here."""
        for number in reversed(range(len(self._threads))):
            if is_inside(self._threads[number]):
                return number + 1
        return 0

    def run(self, level: int, work: Callable[[], T]) -> asyncio.Future[T]:
        """Do *work* in the thread of this level, which sees the caller's context variables."""
        while len(self._threads) <= level:
            self._threads.append(
                ThreadPoolExecutor(max_workers=1, thread_name_prefix="onehouse-tracker callback")
            )
        thread = self._threads[level]
        context = contextvars.copy_context()
        return asyncio.get_running_loop().run_in_executor(
            thread, context.run, self._inside, thread, work
        )

    def _inside(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        with inside(self._owner), inside(thread):
            return work()

    async def aclose(self) -> None:
        """
        Wait until what runs has ended; a plain function cannot be interrupted.

        Cancelling ends the waiting.
        """
        # The last job of each thread tells: the loop's own threads may all be busy with other
        # work, and nobody should wait for that.
        loop = asyncio.get_running_loop()
        last = [loop.run_in_executor(thread, _nothing) for thread in self._threads]
        done = False
        try:
            if last:
                await asyncio.wait(last)
            done = True
        finally:
            for thread in self._threads:
                thread.shutdown(wait=done)  # where it is done, it ends at once

    def abandon(self) -> None:
        """Let the threads end when what runs in them has ended; nobody waits for that."""
        for thread in self._threads:
            thread.shutdown(wait=False)


def _nothing() -> None:
    """The last job of a thread."""
