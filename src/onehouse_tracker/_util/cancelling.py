"""
Whose cancellation a `CancelledError` is.

A task that awaits something that others cancel gets a `CancelledError` too, though nobody
cancelled the task: passed on, it would end the task without an error, and those that wait for the
task would never learn of it.
"""

from __future__ import annotations

import asyncio

__all__ = ["is_cancelled", "is_running", "running_loop"]


def is_cancelled() -> bool:
    """Whether it is the task that runs now that was cancelled, and not what it awaited."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def is_running() -> bool:
    """Whether this runs on an event loop; a coroutine that is thrown away may not."""
    return running_loop() is not None


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that this runs on, if there is one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
