"""
How a wait ends: at its deadline, or because the waiter goes away.
"""

from __future__ import annotations

import asyncio

from onehouse_tracker._engine.engine import Engine
from onehouse_tracker._engine.waits import Wait

__all__ = ["JOURNAL_GRACE", "cancel_and_wait", "expire", "expire_after", "release"]

JOURNAL_GRACE = 5.0
"""Seconds beyond a deadline in which the journal may still say what it knows."""


def expire_after(timeout: float | None, engine: Engine, wait: Wait) -> asyncio.TimerHandle | None:
    """Settle what is open at the deadline; cancel the timer when the wait is over."""
    if timeout is None:
        return None
    loop = asyncio.get_running_loop()
    return loop.call_at(loop.time() + timeout, expire, engine, wait)


def expire(engine: Engine, wait: Wait) -> None:
    """The deadline has come: settle what is open, a moment later what the journal may know."""
    engine.expire(wait)
    wait.fed()
    if not wait.over:
        asyncio.get_running_loop().call_later(JOURNAL_GRACE, _expire_all, engine, wait)


def _expire_all(engine: Engine, wait: Wait) -> None:
    wait.overdue = True
    engine.expire(wait)


def release(
    engine: Engine,
    wait: Wait,
    feeder: asyncio.Task[None] | None,
    timer: asyncio.TimerHandle | None,
) -> None:
    """End a wait: a plain function, so that a finalizer can hold it."""
    if timer is not None:
        timer.cancel()
    if feeder is not None:
        feeder.cancel()
    engine.leave(wait)
    wait.end()


async def cancel_and_wait(task: asyncio.Task[None]) -> None:
    """Cancel *task* and wait until it has ended, whatever it raises."""
    task.cancel()
    await asyncio.wait([task])
