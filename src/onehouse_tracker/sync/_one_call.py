"""
One call of a caller that blocks: begun on the loop, waited for in the caller's thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from onehouse_tracker.errors import TrackerClosedError
from onehouse_tracker.sync._latch import Latch

__all__ = ["Call"]

T = TypeVar("T")


class Owner(Protocol):
    """Whose loop it is."""

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Take note of a call's task."""

    def may_wake(self, call: Call[Any]) -> bool:
        """Whether the caller should learn of the end."""

    def why_closed(self) -> TrackerClosedError:
        """What to raise where a call has no outcome because of the closing."""


class Call(Generic[T]):
    """One call: begun and abandoned on the loop, waited for in the caller's thread."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]], owner: Owner) -> None:
        self._work = work
        self._owner = owner
        self._context = contextvars.copy_context()
        self._task: asyncio.Task[T | _Raised] | None = None
        self._ended = Latch()
        thread = threading.current_thread()
        self.is_daemon = thread.daemon
        # The main thread runs what is done at the exit, so it waits for nothing then; and it alone
        # can be interrupted where it would be counted out.
        self.holds_up_exit = not thread.daemon and thread is not threading.main_thread()
        self.is_counted = False

    def start(self) -> None:
        """Start the task; on the loop."""
        self._task = asyncio.get_running_loop().create_task(
            _done(self._work), context=self._context
        )
        self._owner.keep(self._task)
        self._task.add_done_callback(self._end)

    def abandon(self) -> None:
        """Cancel the task if it was started; on the loop, and never before `start`."""
        if self._task is None:
            self._ended.set()
        else:
            self._task.cancel()

    def wait(self) -> None:
        """Wait for the end; in the caller's thread."""
        self._ended.wait()

    def outcome(self) -> T:
        """What came of it, once it has ended."""
        task = self._task
        if task is None or task.cancelled():
            raise self._owner.why_closed()
        outcome = task.result()
        if isinstance(outcome, _Raised):
            raise outcome.error
        return outcome

    def _end(self, task: asyncio.Task[T | _Raised]) -> None:
        if not task.cancelled():
            task.exception()  # seen, even where the caller was interrupted and never looks
        if self._owner.may_wake(self):
            self._ended.set()


async def _done(work: Callable[[], Coroutine[Any, Any, T]]) -> T | _Raised:
    # No method: what it raises would hold the call, which holds what it raised.
    try:
        return await work()
    except (KeyboardInterrupt, SystemExit) as error:
        # The caller's: it must not go through the loop, which is everybody's.
        return _Raised(error)


class _Raised(NamedTuple):
    """What a call raised that would break the event loop."""

    error: BaseException
