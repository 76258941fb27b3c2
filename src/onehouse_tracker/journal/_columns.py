"""
The columns of a result in the table ``requests``: each is named here, and nowhere else.

A new field of `Result` is one more row with the version of the schema that brings it: the tables
of older files get the column, and statements and rows include it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from onehouse_tracker._util.times import iso
from onehouse_tracker.journal._values import (
    error_of,
    error_text,
    object_of,
    optional_moment_of,
    outcome_of,
    seconds_of,
    string_of,
    text,
    whole_of,
)
from onehouse_tracker.models import Result

__all__ = ["RESULT_COLUMNS", "Column", "result_of"]


class Column(NamedTuple):
    """One field of a result, as a column."""

    name: str
    """The name of the column."""

    sql_type: str
    """What SQLite takes it for."""

    field: str
    """The name of the field."""

    encode: Callable[[Any], object]
    """From the value of the field to that of the column; raises nothing."""

    decode: Callable[[Any], object]
    """The other way; raises `ValueError` where somebody else wrote it.  In files that are older
    than the column it is `None`."""

    since: int = 1
    """The version of the schema that brought it."""


def _same(value: object) -> object:
    return value


RESULT_COLUMNS: Final = (
    Column("outcome", "TEXT", "outcome", str, outcome_of),
    Column("status", "TEXT", "status", text, string_of),
    # May be left out, see `_rows.result_row`.
    Column("response", "TEXT", "response", _same, lambda v: None if v is None else object_of(v)),
    Column("error", "TEXT", "error", error_text, _same),  # see `result_of`
    Column("polls", "INTEGER", "polls", _same, whole_of),
    Column("first_polled_at", "TEXT", "first_polled_at", iso, optional_moment_of),
    Column("detected_at", "TEXT", "detected_at", iso, optional_moment_of),
    Column("waited_s", "REAL", "waited", _same, seconds_of),
    Column(
        "delay_bound_s",
        "REAL",
        "delay_bound",
        _same,
        lambda v: None if v is None else seconds_of(v),
    ),
)
"""In the order in which they are written and read; the outcome is the first."""


def result_of(request_id: str, label: str | None, values: tuple[Any, ...]) -> Result:
    """
    Make a result of *values*, in the order of `RESULT_COLUMNS`.

    Raises:
        ValueError: Somebody else wrote them.
    """
    fields: dict[str, Any] = {
        column.field: column.decode(value)
        for column, value in zip(RESULT_COLUMNS, values, strict=True)
    }
    fields["error"] = error_of(fields["error"], request_id)  # an error names its request
    return Result(request_id=request_id, label=label, **fields)
