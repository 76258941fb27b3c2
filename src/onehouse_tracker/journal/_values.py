"""
One value as it is stored and as it is used: ISO 8601 times, JSON text, plain words and numbers.

What is stored never raises: one odd reply must not keep the others off the disk.  What is read is
checked: a file that was edited, or planted, raises a `ValueError`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from onehouse_tracker import errors
from onehouse_tracker.errors import StatusError
from onehouse_tracker.models import Outcome

__all__ = [
    "UnknownOutcomeError",
    "error_of",
    "error_text",
    "moment_of",
    "object_of",
    "object_text",
    "optional_moment_of",
    "outcome_of",
    "seconds_of",
    "string_of",
    "text",
    "whole_of",
]

_WHOLE_END = 2**63
"""Whole numbers are below it: SQLite holds no others."""

_DEEPEST = 200
"""Levels of an answer; a reply of the server has no more, or it is refused."""

_WORD = re.compile(r"[A-Z][A-Z_]{1,40}")


class UnknownOutcomeError(ValueError):
    """An outcome in words that this version does not know; the only argument is the word."""


# --- To be stored ----------------------------------------------------------------------


def text(value: str | None) -> str | None:
    """A string that SQLite can store: JSON may bring halves of characters."""
    if value is None or value.isascii():
        return value
    return value.encode("utf-8", "backslashreplace").decode()


def object_text(value: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """``apiResponse`` as JSON, and a note where it cannot be written in JSON."""
    try:
        # ASCII only: it may hold halves of characters, which are no UTF-8.
        written = json.dumps(value, default=_plain)
        _refuse_depths(written)  # what cannot be read again would spoil the journal
    except Exception as error:  # noqa: BLE001 - what a source answered may raise anything
        return None, f"not kept, it is no JSON: {type(error).__name__}"
    return written, None


def error_text(error: StatusError | None) -> str | None:
    """An error as JSON."""
    if error is None:
        return None
    stored = {
        "type": type(error).__name__,
        # A source of the user's own may put anything there.
        "reason": str(error.reason),
        "http_status": _whole(error.http_status),
        "grpc_status": _whole(error.grpc_status),
    }
    return json.dumps(stored)


def _plain(value: object) -> object:
    # Sources of the user's own may answer with mappings of any kind, dates, decimals.
    return dict(value) if isinstance(value, Mapping) else str(value)


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int) and 0 <= value < _WHOLE_END else None


# --- As it was stored ------------------------------------------------------------------


def string_of(value: object) -> str | None:
    """A string, or none."""
    if value is None or isinstance(value, str):
        return value
    raise ValueError("no text")


def outcome_of(value: object) -> Outcome:
    """
    An outcome.

    Raises:
        UnknownOutcomeError: It is a word, but not one of our outcomes.
    """
    word = string_of(value) or ""
    try:
        return Outcome(word)
    except ValueError:
        if _WORD.fullmatch(word):
            raise UnknownOutcomeError(word) from None
        raise


def moment_of(value: object) -> datetime:
    """A point in time."""
    try:
        at = datetime.fromisoformat(string_of(value) or "")
        if at.utcoffset() is None:
            raise ValueError("no time zone")
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("no point in time") from None


def optional_moment_of(value: object) -> datetime | None:
    """A point in time, or none."""
    return None if value is None else moment_of(value)


def whole_of(value: object) -> int:
    """A whole number, at least 0."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _WHOLE_END:
        return value
    raise ValueError("no count")


def seconds_of(value: object) -> float:
    """A duration."""
    if isinstance(value, int | float) and 0 <= value < math.inf:
        return float(value)
    raise ValueError("no duration")


def object_of(value: object) -> dict[str, Any]:
    """A JSON object."""
    written = string_of(value) or ""
    try:
        _refuse_depths(written)
        content = json.loads(written)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("no JSON object")  # noqa: TRY004 - one error for whatever is odd
    return content


def error_of(value: object, request_id: str) -> StatusError | None:
    """An error about *request_id*, or none."""
    if value is None:
        return None
    stored = object_of(value)
    kind = getattr(errors, str(stored.get("type")), StatusError)
    if not (isinstance(kind, type) and issubclass(kind, StatusError)):
        kind = StatusError
    http_status, grpc_status = stored.get("http_status"), stored.get("grpc_status")
    return kind(
        string_of(stored.get("reason")) or "",
        request_id=request_id,
        http_status=None if http_status is None else whole_of(http_status),
        grpc_status=None if grpc_status is None else whole_of(grpc_status),
    )


def _refuse_depths(written: str) -> None:
    """
    Refuse JSON that is nested so deeply that handing it on may fail.

    Raises:
        ValueError: It is.
    """
    if written.count("{") + written.count("[") <= _DEEPEST:  # most are: no need to look closer
        return
    level = [json.loads(written)]
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.values()
            elif isinstance(item, list):
                below += item
        level = below
    if level:
        raise ValueError("nested too deeply")
