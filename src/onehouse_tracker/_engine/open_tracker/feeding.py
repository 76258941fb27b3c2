"""
Feeds a wait with its requests: very many in steps, or one by one as an async iterable brings them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Sequence
from contextlib import aclosing
from typing import Any

from onehouse_tracker._engine.open_tracker.validation import check, ids_of, in_steps
from onehouse_tracker._engine.waits import Wait
from onehouse_tracker._util.cancelling import is_cancelled, is_running
from onehouse_tracker.errors import TrackerError
from onehouse_tracker.models import Request, RequestLike

__all__ = ["AT_ONCE", "Join", "feed", "join_in_steps", "tell_if_cancelled"]

AT_ONCE = 1_000
"""Requests that join in one turn of the event loop: a hundred thousand take a second or more."""

Join = Callable[[str | Request], None]
"""Lets one request, which was checked, join a wait."""


async def join_in_steps(
    wait: Wait, requests: Sequence[str | Request], label: str | None, join: Join
) -> None:
    """Let *requests* join, and the event loop turn now and then; no others come."""
    for number, request in enumerate(requests):
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
        if not wait.over:
            join(request)
        elif (request_id := ids_of((request,))[0]) not in wait:
            wait.enter(request_id, label)  # the project failed: this one is open, too
    if requests:
        wait.fed()


async def feed(wait: Wait, request_ids: AsyncIterable[RequestLike], join: Join) -> None:
    """
    Let what *request_ids* brings join, until it ends or the wait is over.

    What it raises is passed to the waiter.  Cancelling ends it without a word.
    """
    try:
        # Closed here, or the garbage collector has the loop do it in a task, some time later.
        async with aclosing(in_steps(request_ids)) as items:
            async for item in items:
                if wait.over or wait.expired:
                    return
                join(check(item))
        wait.fed()
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        # It awaited something that others cancelled.  Nobody cancelled the waiter.
        failure = RuntimeError("the iterable of request IDs was cancelled from within")
        failure.__cause__ = error
        wait.fail(failure)
    except BaseException as error:
        if isinstance(error, GeneratorExit) and not is_running():
            raise  # the event loop is gone, and this coroutine with it
        # The user's own iterable failed: its waiter learns of it.  `SystemExit` too is
        # raised there, and not here, where it would break the loop under everyone else.
        wait.fail(error)


def tell_if_cancelled(wait: Wait, who: str, task: asyncio.Task[Any]) -> None:
    """Fail *wait* when *task*, without which it gets no further, has ended as cancelled."""
    if task.cancelled():
        # Where it was cancelled because the wait is over, nobody hears of this.
        wait.fail(TrackerError(f"the task that {who} was cancelled from outside the tracker"))
