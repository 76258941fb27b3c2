"""
Values as columns that people can read: ISO 8601 times, JSON text, plain words.

What goes into a row never raises: one odd reply must not keep the others off the disk.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from onehouse_tracker.errors import StatusError
from onehouse_tracker.journal._parsed import WHOLE_END, refuse_depths
from onehouse_tracker.journal._protocol import Accepted, Added, Intended, ResultEntry
from onehouse_tracker.onehouse.labels import label_of

__all__ = ["added_row", "intended_row", "iso", "recorded_row", "text"]

WITHHELD = "not kept, as the tracker was told"


def iso(moment: datetime | None) -> str | None:
    """A point in time, in UTC."""
    return None if moment is None else moment.astimezone(UTC).isoformat()


def text(value: str | None) -> str | None:
    """A string that SQLite can store: JSON may bring halves of characters."""
    if value is None or value.isascii():
        return value
    return value.encode("utf-8", "backslashreplace").decode()


def added_row(entry: Added | Accepted) -> tuple[object, ...]:
    """The columns ``request_id, label, submitted_at, added_at``."""
    request = entry.request
    return (request.request_id, text(request.label), iso(request.submitted_at), iso(entry.at))


def recorded_row(entry: ResultEntry, *, keep_response: bool) -> tuple[object, ...]:
    """
    The columns ``request_id, label, added_at``, then those of the result, ``response_note``
    and ``recorded_at``.
    """
    result = entry.result
    response, note = None, None
    if result.response is not None:
        response, note = _response(result.response) if keep_response else (None, WITHHELD)
    return (
        result.request_id,
        text(result.label),
        iso(entry.at),
        str(result.outcome),
        text(result.status),
        response,
        _error_text(result.error),
        result.polls,
        iso(result.first_polled_at),
        iso(result.detected_at),
        result.waited,
        result.delay_bound,
        note,
        iso(entry.at),
    )


def intended_row(entry: Intended, *, keep_statement: bool) -> tuple[object, ...]:
    """The columns ``key, label, kind, sha256, statement, intended_at``."""
    raw = entry.statement.encode("utf-8", "backslashreplace")
    return (
        entry.key,
        text(entry.label),
        label_of(entry.statement),
        hashlib.sha256(raw).hexdigest(),
        raw.decode() if keep_statement else None,
        iso(entry.at),
    )


def _response(response: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """``apiResponse`` as JSON, and a note where it cannot be told in JSON."""
    try:
        # ASCII only: it may hold halves of characters, which are no UTF-8.
        written = json.dumps(response, default=_plain)
        refuse_depths(written)  # what cannot be read again would spoil the journal
    except Exception as error:  # noqa: BLE001 - what a source answered may raise anything
        return None, f"not kept, it is no JSON: {type(error).__name__}"
    return written, None


def _plain(value: object) -> object:
    # Sources of the user's own may answer with mappings of any kind, dates, decimals.
    return dict(value) if isinstance(value, Mapping) else str(value)


def _error_text(error: StatusError | None) -> str | None:
    if error is None:
        return None
    told = {
        "type": type(error).__name__,
        # A source of the user's own may put anything there.
        "reason": str(error.reason),
        "http_status": _whole(error.http_status),
        "grpc_status": _whole(error.grpc_status),
    }
    return json.dumps(told)


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int) and 0 <= value < WHOLE_END else None
