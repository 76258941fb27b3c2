"""
Looks into a journal without writing to it, also while another process does.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, final

from onehouse_tracker._checks import user_path
from onehouse_tracker.journal import _rows as rows
from onehouse_tracker.journal._errors import (
    altered,
    foreign,
    newer,
    odd_row,
    translated,
    unreadable,
)
from onehouse_tracker.journal._runs import ALL_RUNS, JournalRun, run_of
from onehouse_tracker.journal._schema import VERSION, is_as_made, migrate, version_of
from onehouse_tracker.journal._values import optional_moment_of
from onehouse_tracker.models import Request, Result
from onehouse_tracker.results import Results

__all__ = ["JournalReader", "JournalRequest", "JournalStatement"]

_T = TypeVar("_T")

_PIECE = 1_000
"""Rows that are read at once."""

_BEFORE_ALL = -(2**63)
"""Numbers are above it."""


@dataclass(frozen=True, slots=True)
class JournalRequest:
    """One request as the journal has it."""

    request: Request
    """ID, label, and when it was submitted, as far as it is known."""

    added_at: datetime
    """When it was added, by the wall clock (UTC)."""

    result: Result | None
    """Its result; `None` while it is pending."""

    acknowledged_at: datetime | None
    """When its delivery was acknowledged; `None` if `Tracker.resume` would deliver it."""

    @property
    def state(self) -> str:
        """``pending``, then ``recorded``, then ``acknowledged``."""
        if self.result is None:
            return "pending"
        return "recorded" if self.acknowledged_at is None else "acknowledged"


@dataclass(frozen=True, slots=True)
class JournalStatement:
    """One statement that was submitted."""

    state: str
    """``sending``, then ``accepted``, ``refused``, ``unsent`` or ``unknown``."""

    label: str | None
    """The label it was submitted with."""

    kind: str | None
    """What kind of statement it is, by its leading words; `None` where it begins with none."""

    sha256: str
    """What its text hashes to, in UTF-8: compare it with your own."""

    statement: str | None = field(repr=False)
    """Its text; `None` unless the journal was told to keep it."""

    intended_at: datetime
    """When it was about to be sent, by the wall clock (UTC)."""

    request_id: str | None
    """The request, where it was accepted."""

    reason: str | None
    """Why it was not accepted, for people."""

    @property
    def fate_unknown(self) -> bool:
        """
        Whether it may or may not run; it is never sent again on its own.

        A statement that another process is sending at this moment counts as well.
        """
        return self.state in {"sending", "unknown"}


@final
class JournalReader:
    """
    A journal, to look at.  Each call sees what is on disk at that moment.

    Args:
        path: The file.  Its directory must be writable where the last writer was killed, or
            is at work, because SQLite then keeps two files beside it.

    Raises:
        ConfigError: The path begins with ``~`` and leads to no home.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = user_path(path).absolute()

    def __repr__(self) -> str:
        return f"<JournalReader {self._path}>"

    def results(self) -> Results:
        """
        What is known, in the order in which the requests were added.

        Raises:
            JournalError: There is no such file, or it cannot be read.
        """
        return Results(item.result for item in self.requests() if item.result is not None)

    def requests(self) -> Iterator[JournalRequest]:
        """
        Everything that was ever followed, in the order in which it was added.

        It is read a piece at a time, each as it is on disk by then, so that a slow
        reader does not keep the writer from tidying up.

        Raises:
            JournalError: There is no such file, or it cannot be read.
        """
        query = (
            f"SELECT {rows.COLUMNS}, acknowledged_at"  # noqa: S608 - our own column names
            " FROM requests WHERE number > ? ORDER BY number LIMIT ?"
        )
        return self._read(query, _request)

    def statements(self) -> Iterator[JournalStatement]:
        """
        Everything that was ever submitted, in order.

        Raises:
            JournalError: There is no such file, or it cannot be read.
        """
        query = (
            "SELECT number, state, label, kind, sha256, statement, intended_at, request_id, reason"
            " FROM statements WHERE number > ? ORDER BY number LIMIT ?"
        )
        return self._read(query, _statement)

    def runs(self) -> Iterator[JournalRun]:
        """
        Every run, and every statement that was to start one, in the order of adding.

        Raises:
            JournalError: There is no such file, or it cannot be read.
        """
        return self._read(ALL_RUNS, run_of)

    def writer(self) -> str | None:
        """
        Who wrote to it last, or does at this moment, for people; `None` if it does not say.

        Raises:
            JournalError: There is no such file, or it cannot be read.
        """
        with self._connected() as connection:
            row = connection.execute("SELECT pid, host, started_at FROM writer").fetchone()
            return None if row is None else rows.writer(row)

    def _read(self, query: str, make: Callable[[tuple[Any, ...]], _T]) -> Iterator[_T]:
        # The connection stays here, and no statement of it, which would hold what it reads.
        with self._connected() as connection:
            after = _BEFORE_ALL
            while True:
                found = connection.execute(query, (after, _PIECE)).fetchall()
                for row in rows.ascending(found, after):
                    yield make(row)
                if len(found) < _PIECE:
                    return
                after = found[-1][0]

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        path = self._path
        if not path.is_file():
            raise unreadable(path, "there is no such file")
        try:
            with closing(_open_read_only(path)) as connection:
                version = version_of(connection)
                if version is None:
                    raise foreign(path)
                if version > VERSION:
                    raise newer(path, version)
                if not is_as_made(connection, version):
                    raise altered(path)
                if version == VERSION:
                    yield connection
                    return
                # Older than us: it is brought up to date in a copy.
                with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
                    connection.backup(copy)
                    migrate(copy, version)
                    yield copy
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CANTOPEN:
                raise unreadable(
                    path,
                    "cannot be opened: this user must be allowed to read it and to write to its"
                    " directory. Or copy it, with the -wal file beside it, to where you may",
                ) from error
            raise translated(error, path) from error
        except (ValueError, TypeError) as error:
            raise odd_row(path, error) from error


def _open_read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)


def _request(row: tuple[Any, ...]) -> JournalRequest:
    item = rows.journalled(row[:-1])
    acknowledged = optional_moment_of(row[-1])
    request = Request(item.request_id, label=item.label, submitted_at=item.submitted_at)
    return JournalRequest(request, item.added_at, item.result, acknowledged)


def _statement(row: tuple[Any, ...]) -> JournalStatement:
    return JournalStatement(*rows.statement(row[1:]))
