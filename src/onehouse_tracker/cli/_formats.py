"""
JSON and CSV, written so that every other program reads them, and CSV read back.

A spreadsheet takes a cell that begins like a formula for one, and labels and reasons are
written by others: such cells get an apostrophe before them, which is removed on reading.  So
do those that look as if they had one already, or they would lose it.  Where a spreadsheet splits
at semicolons, a cell may begin after each of them.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from onehouse_tracker.cli._terminal import clean

__all__ = ["csv_lines", "split_row", "to_json", "unguarded"]

_GUARD = "'"
_FORMULA = r"""(?=['"\s]*[=+\-@])"""
_UNGUARDED = re.compile(rf"(^|;){_FORMULA}")
_GUARDED = re.compile(rf"(^|;){_GUARD}{_FORMULA}")
# An answer of the server is one cell, of up to 8 MiB; Python's own limit is 128 KiB.
csv.field_size_limit(2**31 - 1)


def to_json(data: Any) -> str:
    """
    Write *data* as JSON on one line; ASCII only, so that no terminal and no pipe can spoil it.

    What JSON has no word for, infinity for example, becomes null; dates and the like their text.
    """
    try:
        return json.dumps(data, default=str, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(data), default=str, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value


def csv_lines(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """
    The header, then one line for each row (RFC 4180); a value that is absent is an empty cell.
    """
    names = tuple(columns)
    yield _line(names)
    for row in rows:
        yield _line(_cell(row.get(name)) for name in names)


def unguarded(cell: str) -> str:
    """What a cell said before it was guarded."""
    return _GUARDED.sub(r"\1", cell)


def split_row(line: str, delimiter: str) -> list[str]:
    """
    The cells of one line, which may have line breaks in it.

    Raises:
        csv.Error: It is none.
    """
    (cells,) = csv.reader([line], delimiter=delimiter, strict=True)
    return cells


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        # Still JSON, and nothing in it is split.
        return to_json(value).replace(";", "\\u003b")
    return _UNGUARDED.sub(rf"\1{_GUARD}", clean(value))


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
