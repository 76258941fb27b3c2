"""
Rows of the tables: made of what the tracker writes, and read back, checked.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from onehouse_tracker._checks import check_label, check_request_id
from onehouse_tracker._util.times import iso
from onehouse_tracker.errors import InvalidRequestError
from onehouse_tracker.journal._columns import RESULT_COLUMNS, result_of
from onehouse_tracker.journal._protocol import (
    Accepted,
    Added,
    Intended,
    Journalled,
    ResultEntry,
)
from onehouse_tracker.journal._values import (
    moment_of,
    object_text,
    optional_moment_of,
    string_of,
    text,
    whole_of,
)
from onehouse_tracker.onehouse.labels import label_of

__all__ = [
    "COLUMNS",
    "COLUMNS_WITHOUT_RESULT",
    "added_row",
    "ascending",
    "intended_row",
    "journalled",
    "result_row",
    "statement",
    "writer",
]

_REQUEST = "number, request_id, label, submitted_at, added_at"
COLUMNS = ", ".join([_REQUEST, *(column.name for column in RESULT_COLUMNS)])
"""What `journalled` needs, in this order."""

COLUMNS_WITHOUT_RESULT = ", ".join([_REQUEST, *("NULL" for _ in RESULT_COLUMNS)])
"""The same of a request that is to be polled, whatever was concluded before."""

_WITHHELD = "not kept, as the tracker was told"
_STATES = frozenset({"sending", "accepted", "refused", "unsent", "unknown"})
_SHA256 = re.compile(r"[0-9a-f]{64}")


# --- To be written ---------------------------------------------------------------------


def added_row(entry: Added | Accepted) -> tuple[object, ...]:
    """The columns ``request_id, label, submitted_at, added_at``."""
    request = entry.request
    return (request.request_id, text(request.label), iso(request.submitted_at), iso(entry.at))


def result_row(entry: ResultEntry, *, keep_response: bool) -> tuple[object, ...]:
    """
    The columns ``request_id, label, added_at, response_note, recorded_at``, then those of
    `RESULT_COLUMNS`.
    """
    result, at = entry.result, iso(entry.at)
    response, note = None, None
    if result.response is not None:
        response, note = object_text(result.response) if keep_response else (None, _WITHHELD)
    return (
        *(result.request_id, text(result.label), at, note, at),
        *(
            response
            if column.field == "response"
            else column.encode(getattr(result, column.field))
            for column in RESULT_COLUMNS
        ),
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


# --- As they were written ----------------------------------------------------------------


def ascending(
    found: Iterable[tuple[Any, ...]], after: float = -math.inf
) -> Iterator[tuple[Any, ...]]:
    """
    Pass rows on whose first column, their number, grows.

    Raises:
        ValueError: It does not: the file leads in a circle.
    """
    for row in found:
        if not row[0] > after:
            raise ValueError("the numbers do not ascend")
        after = row[0]
        yield row


def journalled(row: tuple[Any, ...]) -> Journalled:
    """
    One request from the columns `COLUMNS`.

    Raises:
        ValueError: Somebody else wrote the row.
    """
    number, request_id, label, submitted_at, added_at, *result = row
    _identify(request_id, label)
    return Journalled(
        number,
        request_id,
        label,
        optional_moment_of(submitted_at),
        moment_of(added_at),
        None if result[0] is None else result_of(request_id, label, tuple(result)),
    )


def statement(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """
    The columns ``state, label, kind, sha256, statement, intended_at, request_id, reason``.

    Raises:
        ValueError: Somebody else wrote the row.
    """
    state, label, kind, sha256, statement, intended_at, request_id, reason = row
    if state not in _STATES or not _SHA256.fullmatch(string_of(sha256) or ""):
        raise ValueError("no state, or no hash")
    _identify("none" if request_id is None else request_id, label)
    return (
        *(state, label, string_of(kind), sha256, string_of(statement), moment_of(intended_at)),
        *(request_id, string_of(reason)),
    )


def writer(row: tuple[Any, ...]) -> str:
    """
    The columns ``pid, host, started_at``, for people.

    Raises:
        ValueError: Somebody else wrote the row.
    """
    pid, host, started_at = row
    host = string_of(host) or ""
    return (
        f"process {whole_of(pid)} on {host if host.isprintable() else repr(host)}"
        f" (since {moment_of(started_at).isoformat()})"
    )


def _identify(request_id: object, label: object) -> None:
    try:
        check_request_id(request_id)
        check_label(label)
    except InvalidRequestError as error:
        raise ValueError("no request ID, or no label") from error
