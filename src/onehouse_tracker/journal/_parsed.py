"""
Columns as values again, checked: a file that was edited, or planted, is told from one of ours.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from onehouse_tracker import errors
from onehouse_tracker._checks import check_label, check_request_id
from onehouse_tracker.errors import InvalidRequestError, StatusError
from onehouse_tracker.journal._protocol import Journalled
from onehouse_tracker.models import Outcome, Result

__all__ = [
    "COLUMNS",
    "COLUMNS_WITHOUT_RESULT",
    "WHOLE_END",
    "ascending",
    "journalled",
    "moment",
    "refuse_depths",
    "statement",
    "writer",
]

COLUMNS = (
    "number, request_id, label, submitted_at, added_at, outcome, status, response, error, polls,"
    " first_polled_at, detected_at, waited_s, delay_bound_s"
)
"""What `journalled` needs, in this order."""

COLUMNS_WITHOUT_RESULT = f"{', '.join(COLUMNS.split(', ')[:5])}{', NULL' * 9}"
"""The same of a request that is to be asked about, whatever was concluded before."""

WHOLE_END = 2**63
"""Whole numbers are below it: SQLite holds no others."""

_DEEPEST = 200
"""Levels of an answer; a reply of the server has no more, or it is refused."""

_STATES = frozenset({"sending", "accepted", "refused", "unsent", "unknown"})
_SHA256 = re.compile(r"[0-9a-f]{64}")


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
    number, request_id, label, submitted_at, added_at, outcome = row[:6]
    _identify(request_id, label)
    return Journalled(
        number,
        request_id,
        label,
        moment(submitted_at),
        _at(added_at),
        None if outcome is None else _result(request_id, label, *row[5:]),
    )


def statement(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """
    The columns ``state, label, kind, sha256, statement, intended_at, request_id, reason``.

    Raises:
        ValueError: Somebody else wrote the row.
    """
    state, label, kind, sha256, statement, intended_at, request_id, reason = row
    if state not in _STATES or not _SHA256.fullmatch(_text(sha256) or ""):
        raise ValueError("no state, or no hash")
    _identify("none" if request_id is None else request_id, label)
    told = _text(kind), sha256, _text(statement), _at(intended_at), request_id, _text(reason)
    return (state, label, *told)


def writer(row: tuple[Any, ...]) -> str:
    """
    The columns ``pid, host, started_at``, for people.

    Raises:
        ValueError: Somebody else wrote the row.
    """
    pid, host, started_at = row
    host = _text(host) or ""
    return (
        f"process {_count(pid)} on {host if host.isprintable() else repr(host)}"
        f" (since {_at(started_at).isoformat()})"
    )


def moment(value: object) -> datetime | None:
    """
    A point in time, or none.

    Raises:
        ValueError: It is neither.
    """
    return None if value is None else _at(value)


def refuse_depths(written: str) -> None:
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


def _object(value: object) -> dict[str, Any]:
    written = _text(value) or ""
    try:
        refuse_depths(written)
        content = json.loads(written)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("no JSON object")  # noqa: TRY004 - one error for whatever is odd
    return content


def _result(  # noqa: PLR0913, PLR0917 - the columns of a row
    request_id: str,
    label: str | None,
    outcome: object,
    status: object,
    response: object,
    error: object,
    polls: object,
    first_polled_at: object,
    detected_at: object,
    waited: object,
    delay_bound: object,
) -> Result:
    return Result(
        request_id=request_id,
        outcome=Outcome(_text(outcome) or ""),
        label=label,
        status=_text(status),
        response=None if response is None else _object(response),
        error=None if error is None else _error(_object(error), request_id),
        polls=_count(polls),
        first_polled_at=moment(first_polled_at),
        detected_at=moment(detected_at),
        waited=_seconds(waited),
        delay_bound=None if delay_bound is None else _seconds(delay_bound),
    )


def _error(told: dict[str, Any], request_id: str) -> StatusError:
    kind = getattr(errors, str(told.get("type")), StatusError)
    if not (isinstance(kind, type) and issubclass(kind, StatusError)):
        kind = StatusError
    http_status, grpc_status = told.get("http_status"), told.get("grpc_status")
    return kind(
        _text(told.get("reason")) or "",
        request_id=request_id,
        http_status=None if http_status is None else _count(http_status),
        grpc_status=None if grpc_status is None else _count(grpc_status),
    )


def _identify(request_id: object, label: object) -> None:
    try:
        check_request_id(request_id)
        check_label(label)
    except InvalidRequestError as error:
        raise ValueError("no request ID, or no label") from error


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ValueError("no text")


def _at(value: object) -> datetime:
    try:
        at = datetime.fromisoformat(_text(value) or "")
        if at.utcoffset() is None:
            raise ValueError("no time zone")
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("no point in time") from None


def _count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < WHOLE_END:
        return value
    raise ValueError("no count")


def _seconds(value: object) -> float:
    if isinstance(value, int | float) and 0 <= value < math.inf:
        return float(value)
    raise ValueError("no duration")
