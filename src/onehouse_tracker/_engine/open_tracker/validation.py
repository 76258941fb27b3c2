"""
Checks what users hand in, before anything is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from datetime import datetime
from typing import TypeVar

from onehouse_tracker._checks import check_label, check_no_mapping, check_request_id
from onehouse_tracker._engine.tracked import Joining
from onehouse_tracker._util.numbers import is_count, is_number
from onehouse_tracker.errors import ConfigError, InvalidRequestError
from onehouse_tracker.models import HasRequestId, Request, RequestLike
from onehouse_tracker.results import Results

__all__ = [
    "CLOCKS_DIFFER",
    "RequestIds",
    "check",
    "check_max_running",
    "check_timeout",
    "check_wait",
    "checked",
    "ids_of",
    "in_steps",
    "joining_of",
]

T = TypeVar("T")

_AT_ONCE = 100
CLOCKS_DIFFER = 1.0
"""Seconds by which the clock of the machine that submitted may be ahead of the own one."""
"""Items in one turn of the event loop: a poll takes many turns, and must not wait for all."""

RequestIds = Iterable[RequestLike] | AsyncIterable[RequestLike]


def checked(request_ids: Iterable[RequestLike]) -> list[str | Request]:
    """Check everything before anything is polled: bad input loses nothing."""
    if isinstance(request_ids, str | bytes | HasRequestId):
        raise InvalidRequestError(
            f"give a list of request IDs, not one {type(request_ids).__name__};"
            " for one request use tracker.track(request_id)"
        )
    if not isinstance(request_ids, Results):
        check_no_mapping(request_ids, "ids", "request IDs", "polled")
    return [check(item) for item in request_ids]


def ids_of(request_ids: RequestIds) -> tuple[str, ...]:
    """The IDs of what was checked, each once; none of what would have to be awaited."""
    if isinstance(request_ids, AsyncIterable):
        return ()
    names = (item if isinstance(item, str) else item.request_id for item in request_ids)
    return tuple(dict.fromkeys(names))


async def in_steps(items: AsyncIterable[T]) -> AsyncGenerator[T, None]:
    """Pass *items* on, and let the event loop turn now and then: they may be there at once."""
    count = 0
    async for item in items:
        yield item
        count += 1
        if count % _AT_ONCE == 0:
            await asyncio.sleep(0)


def check(item: object) -> str | Request:
    """Return *item* as what can be tracked, else raise `InvalidRequestError`."""
    if isinstance(item, Request):
        return item
    if isinstance(item, HasRequestId):
        return Request(item)
    return check_request_id(item)


def check_max_running(max_running: int | None) -> None:
    """Raise `ConfigError` unless so many statements or runs can be open at once."""
    if max_running is not None and not is_count(max_running):
        raise ConfigError(f"max_running is None or a whole number from 1, not {max_running!r}")


def check_timeout(timeout: float | None) -> None:
    """Raise `ConfigError` unless it is `None` or a number of seconds."""
    if timeout is not None and not is_number(timeout):
        raise ConfigError(f"timeout is None or seconds from 0, not {timeout!r}")


def check_wait(timeout: float | None, label: str | None) -> None:
    """Check what a wait was given beside its requests, as `check_timeout` and `check_label` do."""
    check_timeout(timeout)
    check_label(label)


def joining_of(
    request: str | Request,
    label: str | None,
    first_look: float,
    wall_clock: Callable[[], datetime],
) -> Joining:
    """What the engine has to know of *request*; *label* is for one that brings none."""
    if isinstance(request, str):
        return Joining(request, label, first_look=first_look)
    age, submitted_at, start_known = 0.0, request.submitted_at, first_look > 0.0
    if submitted_at is not None:
        age = (wall_clock() - submitted_at).total_seconds()
        # In the future it is by another clock than ours, which nearly agrees with it at best.
        age, start_known = max(0.0, age), age >= -CLOCKS_DIFFER
    label = request.label if request.label is not None else label
    return Joining(
        request.request_id, label, age, first_look, submitted_at, start_known=start_known
    )
