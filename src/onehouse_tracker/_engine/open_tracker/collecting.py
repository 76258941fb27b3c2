"""
Waits until a wait is over, and calls back for each result meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING

from onehouse_tracker._engine.open_tracker.callbacks import Callbacks, OnResult
from onehouse_tracker._engine.open_tracker.feeding import tell_if_cancelled
from onehouse_tracker._engine.open_tracker.teardown import cancel_and_wait
from onehouse_tracker._engine.waits import Wait
from onehouse_tracker.errors import TrackerClosedError
from onehouse_tracker.models import Result
from onehouse_tracker.results import Results

if TYPE_CHECKING:
    from onehouse_tracker._engine.engine import Engine
    from onehouse_tracker._engine.open_tracker.session import Session

__all__ = ["collect"]


async def collect(
    session: Session,
    engine: Engine,
    waiting: Callable[[Wait], AbstractAsyncContextManager[None]],
    on_result: OnResult | None,
    on_each: Callable[[Result], None] | None,
) -> Results:
    """
    Wait for what *waiting* feeds to the wait that it is given, and return all results.

    *on_result* is the user's callback; *on_each* gets each result at once and must not block.
    Raises what `Tracker.wait_all` raises.
    """
    if on_result is None:
        wait = Wait(on_each=on_each, acknowledge=session.acknowledge)
        async with waiting(wait):
            await wait.until_over()
        wait.raise_error()
        return session.handed_out(wait)

    def arrived(result: Result) -> None:
        callbacks.put(result)
        if on_each is not None:
            on_each(result)

    wait = Wait(on_each=arrived, acknowledge=session.acknowledge)
    callbacks = Callbacks(on_result, session, wait.fail)
    caller = session.start(callbacks.run(), "onehouse-tracker callbacks")
    caller.add_done_callback(partial(tell_if_cancelled, wait, "calls on_result"))
    try:
        async with waiting(wait):
            await wait.until_over()
        callbacks.finish()
        # Not awaited itself: closing cancels it, and that cancels nobody who waits here.
        await asyncio.wait([caller])
        if not caller.cancelled() and (failure := caller.exception()) is not None:
            raise failure
        if callbacks.interruption is not None:
            raise callbacks.interruption
    finally:
        await cancel_and_wait(caller)
    wait.error = wait.error or callbacks.failure
    if caller.cancelled() and wait.error is None:
        what = "the tracker was closed" if engine.closed_by else "its task was cancelled"
        wait.error = TrackerClosedError(f"{what} before every callback had run")
    wait.raise_error()
    return Results(
        wait.results().values(),
        callback_errors=callbacks.errors,
        acknowledge=session.acknowledge,
    )
