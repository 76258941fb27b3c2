"""
Values as columns that people can read, and back: ISO 8601 times, JSON text, plain words.

What goes into a row never raises: one odd reply must not keep the others off the disk.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from onehouse_tracker import errors
from onehouse_tracker.errors import StatusError
from onehouse_tracker.journal._protocol import Accepted, Added, Intended, Journalled, Recorded
from onehouse_tracker.models import Outcome, Result

__all__ = [
    "COLUMNS",
    "added_row",
    "intended_row",
    "iso",
    "journalled",
    "parse_time",
    "recorded_row",
    "text",
]

COLUMNS = (
    "number, request_id, label, submitted_at, added_at, outcome, status, response, error, polls,"
    " first_polled_at, detected_at, waited_s, delay_bound_s"
)
"""What `journalled` needs, in this order."""

WITHHELD = "not kept, as the tracker was told"
_KIND = re.compile(r"\s*([A-Za-z_]{1,30}\s+[A-Za-z_]{1,30})(?![^\s;(])")


def iso(moment: datetime | None) -> str | None:
    """A point in time, in UTC."""
    return None if moment is None else moment.astimezone(UTC).isoformat()


def parse_time(value: str) -> datetime:
    """Read what `iso` wrote."""
    return datetime.fromisoformat(value)


def text(value: str | None) -> str | None:
    """A string that SQLite can store: JSON may bring halves of characters."""
    if value is None or value.isascii():
        return value
    return value.encode("utf-8", "backslashreplace").decode()


def added_row(entry: Added | Accepted) -> tuple[object, ...]:
    """The columns ``request_id, label, submitted_at, added_at``."""
    request = entry.request
    return (request.request_id, text(request.label), iso(request.submitted_at), iso(entry.at))


def recorded_row(entry: Recorded, *, keep_response: bool) -> tuple[object, ...]:
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
    kind = _KIND.match(entry.statement)
    return (
        entry.key,
        text(entry.label),
        None if kind is None else " ".join(kind[1].upper().split()),
        hashlib.sha256(raw).hexdigest(),
        raw.decode() if keep_statement else None,
        iso(entry.at),
    )


def journalled(row: tuple[Any, ...]) -> Journalled:
    """
    One request from the columns `COLUMNS`.

    Raises:
        ValueError: Somebody else wrote the row.
    """
    number, request_id, label, submitted_at, added_at, outcome = row[:6]
    return Journalled(
        number,
        request_id,
        label,
        None if submitted_at is None else parse_time(submitted_at),
        parse_time(added_at),
        None if outcome is None else _result(request_id, label, *row[5:]),
    )


def _result(  # noqa: PLR0913, PLR0917 - the columns of a row
    request_id: str,
    label: str | None,
    outcome: str,
    status: str | None,
    response: str | None,
    error: str | None,
    polls: int,
    first_polled_at: str | None,
    detected_at: str | None,
    waited: float,
    delay_bound: float | None,
) -> Result:
    return Result(
        request_id=request_id,
        outcome=Outcome(outcome),
        label=label,
        status=status,
        response=None if response is None else json.loads(response),
        error=None if error is None else _error(json.loads(error), request_id),
        polls=polls,
        first_polled_at=None if first_polled_at is None else parse_time(first_polled_at),
        detected_at=None if detected_at is None else parse_time(detected_at),
        waited=waited,
        delay_bound=delay_bound,
    )


def _response(response: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """``apiResponse`` as JSON, and a note where it cannot be told in JSON."""
    try:
        # ASCII only: it may hold halves of characters, which are no UTF-8.
        return json.dumps(response, default=_plain), None
    except (TypeError, ValueError, RecursionError) as error:
        return None, f"not kept, it is no JSON: {type(error).__name__}"


def _plain(value: object) -> object:
    # Sources of the user's own may answer with mappings of any kind, dates, decimals.
    return dict(value) if isinstance(value, Mapping) else str(value)


def _error_text(error: StatusError | None) -> str | None:
    if error is None:
        return None
    told = {
        "type": type(error).__name__,
        "reason": error.reason,
        "http_status": error.http_status,
        "grpc_status": error.grpc_status,
    }
    return json.dumps(told, default=str)


def _error(told: Mapping[str, Any], request_id: str) -> StatusError:
    kind = getattr(errors, str(told.get("type")), StatusError)
    if not (isinstance(kind, type) and issubclass(kind, StatusError)):
        kind = StatusError
    return kind(
        str(told.get("reason") or ""),
        request_id=request_id,
        http_status=told.get("http_status"),
        grpc_status=told.get("grpc_status"),
    )
