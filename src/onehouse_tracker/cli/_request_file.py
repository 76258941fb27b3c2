"""
Reads requests, or runs, out of lines: one ID each, JSON, or a CSV table with a header.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import PurePath
from typing import Any, Generic, TypeVar

from onehouse_tracker.cli._codes import CommandError
from onehouse_tracker.cli._formats import split_row, to_json, unguarded
from onehouse_tracker.cli._one_id import looks_like_header, why_not_one_id
from onehouse_tracker.cli._options import Format, Input
from onehouse_tracker.cli._output import request_data
from onehouse_tracker.errors import InvalidRequestError
from onehouse_tracker.models import Request

__all__ = ["RecordFile", "RequestFile", "list_line", "request_of"]

_LONGEST = 80
_DELIMITERS = ",;\t|"
_BY_ENDING = {
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".json": Format.JSON,
    ".jsonl": Format.JSON,
    ".ndjson": Format.JSON,
}


_T = TypeVar("_T")


class RecordFile(Generic[_T]):
    """
    What one file or stream names, line by line: requests, or runs.

    Where the format is not given it is told from the name, and else from the first line: JSON
    begins with a brace or a bracket, and a table names the column of the IDs in its header.

    Args:
        name: What the file or stream is called in messages.

        columns: The format, and what the fields are called.
    """

    what = "record"
    """What one of them is called in messages."""

    header_advice = "give the table a header"
    """What to do where the column of the IDs is missing."""

    def __init__(self, name: str, columns: Input) -> None:
        self._name = name
        self._columns = columns
        self._format = columns.format or _BY_ENDING.get(PurePath(name).suffix.lower())
        self._number = 0
        self._table: _Table | None = None
        self._pending: list[str] = []
        self._began = 0
        self._in_quotes = False

    @property
    def may_be_a_list(self) -> bool:
        """Whether nobody said that there are columns or fields in it."""
        return self._format in (None, Format.LINES) and not self._columns.columns_given

    def line(self, line: bytes) -> Iterator[_T]:
        """
        Read one more line; some are only understood with those that follow.

        Raises:
            CommandError: It is not what it should be; the line is named.
        """
        self._number += 1
        try:
            text = line.decode("utf-8-sig" if self._number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise CommandError(f"{self._where(self._number)}: not UTF-8") from None
        if not text.strip() and not self._pending:
            return
        if self._format is None:
            if text.startswith("#"):
                return
            self._format = self._guess(text)
        if self._format is Format.LINES:
            yield from self._plain(text)
        elif self._format is Format.CSV:
            yield from self._cells(text)
        elif self._pending or text.lstrip().startswith("["):
            self._pending.append(text)
        else:
            yield self._object(text)

    def end(self) -> Iterator[_T]:
        """
        There are no more lines.

        Raises:
            CommandError: Something was begun and not ended.
        """
        if self._pending and self._format is Format.CSV:
            raise CommandError(f"{self._where(self._began)}: a quote is not closed")
        if self._pending:
            yield from self._array("\n".join(self._pending))

    def _where(self, number: int) -> str:
        return f"{self._name}, line {number}"

    def _guess(self, text: str) -> Format:
        if text.lstrip().startswith(("{", "[")):
            return Format.JSON
        if self._columns.columns_given or _delimiter(text, self._columns.field) is not None:
            return Format.CSV
        if looks_like_header(text):
            raise CommandError(
                f"{self._where(self._number)}: {_shown(text.strip())} looks like the header of a"
                " table: name the column of the IDs with --field"
            )
        return Format.LINES

    def _plain(self, text: str) -> Iterator[_T]:
        if text.startswith("#"):
            return
        if text.lstrip().startswith("{"):  # as `submit --output jsonl` prints them
            yield self._object(text)
            return
        request_id, _, label = text.partition("\t")
        where = self._where(self._number)
        yield self.listed(request_id.strip(), label.strip(), where)

    # --- JSON --------------------------------------------------------------------------

    def _object(self, text: str) -> _T:
        where = self._where(self._number)
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            raise CommandError(f"{where}: no JSON object on one line") from None
        return self._record(data, where)

    def _array(self, text: str) -> Iterator[_T]:
        try:
            items = json.loads(text)
        except json.JSONDecodeError as error:
            number = self._number - len(self._pending) + error.lineno
            raise CommandError(f"{self._where(number)}: no JSON: {error.msg}") from None
        except (ValueError, RecursionError):
            raise CommandError(f"{self._name}: no JSON") from None
        for number, item in enumerate(items, 1):
            yield self._record(item, f"{self._name}, item {number}")

    # --- CSV ---------------------------------------------------------------------------

    def _cells(self, text: str) -> Iterator[_T]:
        if not self._pending:
            self._began = self._number
        self._pending.append(text)
        self._in_quotes ^= text.count('"') % 2 == 1
        if self._in_quotes:  # a line break that belongs to a cell
            return
        whole, self._pending = "\n".join(self._pending), []
        where = self._where(self._began)
        if self._table is None:
            self._table = _Table(whole, self._columns, where, self.header_advice)
        else:
            yield self._record(self._table.row(whole, where), where)

    # --- Either ------------------------------------------------------------------------

    def _record(self, data: Any, where: str) -> _T:
        if not isinstance(data, dict):
            raise CommandError(f"{where}: no object with the fields of a {self.what}")
        found = data.get(self._columns.field)
        if found is None or found == "":
            raise CommandError(f"{where}: no {self.what} ID in {_shown(self._columns.field)}")
        return self.described(found, data, where)

    def listed(self, found: str, label: str, where: str) -> _T:
        """Make one of a line with an ID and perhaps a label; errors begin with *where*."""
        raise NotImplementedError

    def described(self, found: Any, data: Mapping[str, Any], where: str) -> _T:
        """Make one of an ID and the fields around it; errors begin with *where*."""
        raise NotImplementedError

    def _optional(self, data: Mapping[str, Any], name: str, option: str, where: str) -> str | None:
        if name and name not in data and self._columns.is_given(option):
            raise CommandError(f"{where}: no field {_shown(name)}")
        value = data.get(name) if name else None
        if isinstance(value, dict | list):
            raise CommandError(f"{where}: {_shown(name)} is not one value")
        return None if value is None else str(value).strip()


class RequestFile(RecordFile[Request]):
    """The requests of one file or stream."""

    what = "request"
    header_advice = (
        "Choose with --field; if there is no header, put one before the table, such as"
        " request_id,label"
    )

    def listed(self, found: str, label: str, where: str) -> Request:
        """A request of a list."""
        return request_of(found, where, label=label, exact=False)

    def described(self, found: Any, data: Mapping[str, Any], where: str) -> Request:
        """A request of a table, or of JSON."""
        columns = self._columns
        label = self._optional(data, columns.label_field, "label_field", where)
        submitted = self._optional(data, columns.submitted_field, "submitted_field", where)
        return request_of(found, where, label=label, submitted=submitted)


class _Table:
    """The header of a table, and what makes rows of lines."""

    def __init__(self, header: str, columns: Input, where: str, advice: str) -> None:
        delimiter = _delimiter(header, columns.field)
        if delimiter is None:
            # Split as it seems to be meant, so that people see which columns there are.
            names = header.split(max(_DELIMITERS, key=header.count))
            raise CommandError(
                f"{where}: no column {_shown(columns.field)}; there are"
                f" {_shown(', '.join(name.strip() for name in names))}. {advice}"
            )
        self._delimiter = delimiter
        self._names = [cell.strip() for cell in split_row(header, delimiter)]
        for name in (columns.field, columns.label_field, columns.submitted_field):
            if self._names.count(name) > 1:
                raise CommandError(f"{where}: more than one column {_shown(name)}")

    def row(self, text: str, where: str) -> dict[str, str]:
        try:
            cells = split_row(text, self._delimiter)
        except csv.Error as error:
            raise CommandError(f"{where}: {error}") from None
        if len(cells) != len(self._names):
            raise CommandError(f"{where}: {len(cells)} cells, the header has {len(self._names)}")
        return dict(zip(self._names, (unguarded(cell.strip()) for cell in cells), strict=True))


def request_of(
    request_id: Any,
    where: str,
    *,
    label: str | None = None,
    submitted: str | None = None,
    exact: bool = True,
) -> Request:
    """
    Make a request of what was read.

    Args:
        request_id: What should be its ID.

        where: The file and the line, for messages.

        label: Its label, if there is one.

        submitted: When it was submitted, if that is known.

        exact: Whether it is certain where the ID begins and ends, see `why_not_one_id`.

    Raises:
        CommandError: It is none; the message begins with *where*.
    """
    if isinstance(request_id, str) and (why := why_not_one_id(request_id, exact=exact)):
        raise CommandError(f"{where}: {_shown(request_id)}: {why}")
    try:
        moment = datetime.fromisoformat(submitted) if submitted else None
    except ValueError:
        raise CommandError(
            f"{where}: {_shown(submitted or '')} is no time like 2026-01-31T12:00:00Z;"
            " --submitted-field '' does without"
        ) from None
    try:
        return Request(request_id, label=label or None, submitted_at=moment)
    except InvalidRequestError as error:
        raise CommandError(f"{where}: {error}") from None


def list_line(request: Request) -> str:
    """
    Write *request* as one line of a list: plain where it would be read again as it is, else JSON.

    A plain line begins with no ``#``, for example, and its label steers no terminal.
    """
    plain = f"{request.request_id}\t{request.label}" if request.label else request.request_id
    whole = request.request_id.isprintable() and (request.label or "").isprintable()
    return plain if whole and _read_again(plain) == [request] else to_json(request_data(request))


def _read_again(line: str) -> list[Request]:
    try:
        return list(RequestFile("a list", Input()).line(line.encode()))
    except CommandError:
        return []


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")


def _delimiter(header: str, field: str) -> str | None:
    """What separates the cells of *header*, so that *field* is one of them."""
    for delimiter in _DELIMITERS:
        try:
            if field in (cell.strip() for cell in split_row(header, delimiter)):
                return delimiter
        except csv.Error:
            continue
    return None
