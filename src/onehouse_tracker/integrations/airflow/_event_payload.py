"""
What a trigger reports to its operator: how each request ended, in bounded JSON.

Airflow writes it into the database as part of the task instance, and the triggerer writes it
into its log.  So it holds no more than it must, and its `repr` does not show what it holds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from onehouse_tracker._util.text import printable
from onehouse_tracker.models import Outcome, Result

__all__ = ["EventPayload", "counted", "describe_ids", "json_of"]

_ROOM: Final = 512 * 1024
"""Characters for reasons and responses, all requests together.  IDs and outcomes come on top:
about 70 characters a request."""

_NAMED: Final = 3
"""IDs that a line of the log names."""


class EventPayload(dict[str, Any]):
    """
    The payload of a trigger's event.

    ``results`` holds one object per request, in the order of the task: always ``request_id`` and
    ``outcome``, and ``label``, ``status``, ``reason`` and ``response`` where there are any.  Of
    ``count`` requests, one that did not simply succeed has its ``number``.  A response that found
    no room any more, or that a database would refuse, is left out, and ``response_left_out`` is
    true.

    ``error`` says why tracking stopped early, ``pending`` then holds the IDs that are still
    open, and ``hopeless`` says that another try would end the same way.  ``limit`` names what
    set the deadline that has passed.
    """

    @classmethod
    def of(
        cls,
        results: Iterable[Result],
        *,
        order: Sequence[str] = (),
        error: str | None = None,
        pending: Iterable[str] = (),
        hopeless: bool = False,
        limit: str | None = None,
    ) -> EventPayload:
        """
        Make the payload.

        Args:
            results: Of the requests that have ended.

            order: The IDs of all requests of the task; those of *results* if there are no others.

            error: Why tracking stopped early.

            pending: What it left open.

            hopeless: Whether another try would end the same way.

            limit: What set the deadline: ``"follow_timeout of 3600 s"``.
        """
        results = list(results)
        order = order or [one.request_id for one in results]
        numbers = {request_id: number for number, request_id in enumerate(order, 1)}
        room = _ROOM
        packed = []
        for result in results:
            item, used = _pack(result, room)
            room -= used
            if len(order) > 1 and result.outcome is not Outcome.SUCCEEDED:
                item["number"] = numbers[result.request_id]
            packed.append(item)
        payload = cls(results=packed, count=len(order))
        if error is not None:
            payload.update(error=printable(error), pending=list(pending), hopeless=hopeless)
        if limit is not None and any(one.outcome is Outcome.TIMED_OUT for one in results):
            payload["limit"] = limit
        return payload

    def __repr__(self) -> str:
        outcomes = Counter(item["outcome"] for item in self.get("results", ()))
        counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
        error = f"; {self['error']}" if self.get("error") else ""
        return f"<{counts or 'no outcome'}{error}>"


def counted(number: int, noun: str) -> str:
    """Say how many there are: ``1 request``, ``2 requests``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def describe_ids(request_ids: Iterable[str]) -> str:
    """Name the first of several requests, and count the others."""
    ids = list(request_ids)
    named = ", ".join(ids[:_NAMED])
    more = len(ids) - _NAMED
    return f"{named} and {more} more" if more > 0 else named


def json_of(value: object) -> str | None:
    """Write *value* as JSON that every database takes; `None` if that cannot be done."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()  # one half of a surrogate pair cannot be
    except (TypeError, ValueError, RecursionError):
        return None
    # PostgreSQL knows no NUL.  The text may also mean a backslash and five characters.
    if "\\u0000" in text and "\x00" in _all_text(value):
        return None
    return text


def _pack(result: Result, room: int) -> tuple[dict[str, Any], int]:
    item: dict[str, Any] = {"request_id": result.request_id, "outcome": str(result.outcome)}
    used = 0
    for name, text in (("label", result.label), ("status", result.status)):
        if text:
            item[name] = printable(text)
            used += len(text)
    if not result.ok and result.reason and len(result.reason) <= room - used:
        item["reason"] = printable(result.reason)
        used += len(result.reason)
    if result.response:
        text = json_of(result.response)
        if text is None or len(text) > room - used:
            item["response_left_out"] = True
        else:
            item["response"] = result.response
            used += len(text)
    return item, used


def _all_text(value: object) -> str:
    if isinstance(value, Mapping):
        return "".join(f"{key}{_all_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "".join(_all_text(item) for item in value)
    return value if isinstance(value, str) else ""
