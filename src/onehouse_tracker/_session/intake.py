"""
Checks what users hand in, before anything is asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable

from onehouse_tracker._numbers import is_number
from onehouse_tracker.errors import ConfigError, InvalidRequestError
from onehouse_tracker.models import Request, check_request_id

__all__ = ["RequestIds", "check", "check_timeout", "checked", "ids_of"]

RequestIds = Iterable[str | Request] | AsyncIterable[str | Request]


def checked(request_ids: Iterable[str | Request]) -> list[str | Request]:
    """Check everything before anything is asked: bad input loses nothing."""
    if isinstance(request_ids, str | bytes | Request):
        raise InvalidRequestError(
            f"give a list of request IDs, not one {type(request_ids).__name__};"
            " for one request use tracker.track(request_id)"
        )
    return [check(item) for item in request_ids]


def ids_of(request_ids: RequestIds) -> tuple[str, ...]:
    """The IDs of what was checked, each once; none of what would have to be awaited."""
    if isinstance(request_ids, AsyncIterable):
        return ()
    names = (item.request_id if isinstance(item, Request) else item for item in request_ids)
    return tuple(dict.fromkeys(names))


def check(item: object) -> str | Request:
    """Return *item* if it can be followed, else raise `InvalidRequestError`."""
    return item if isinstance(item, Request) else check_request_id(item)


def check_timeout(timeout: float | None) -> None:
    """Raise `ConfigError` unless it is `None` or a number of seconds."""
    if timeout is not None and not is_number(timeout):
        raise ConfigError(f"timeout is None or seconds from 0, not {timeout!r}")
