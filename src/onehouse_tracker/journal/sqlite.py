"""
The journal as an SQLite file.
"""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar, final

from onehouse_tracker._paths import user_path
from onehouse_tracker.errors import JournalWriteError
from onehouse_tracker.journal import _rows as rows
from onehouse_tracker.journal._lock import WriterLock, create_private
from onehouse_tracker.journal._protocol import (
    Accepted,
    Acknowledged,
    Added,
    Entry,
    Intended,
    Journalled,
    Recorded,
    Settled,
)
from onehouse_tracker.journal._reader import JournalReader
from onehouse_tracker.journal._schema import VERSION, migrate, version_of
from onehouse_tracker.journal._trouble import foreign, newer, odd_row, translated
from onehouse_tracker.models import Result
from onehouse_tracker.results import Results

__all__ = ["SqliteJournal"]

_T = TypeVar("_T")

_ADD = """
INSERT INTO requests (request_id, label, submitted_at, added_at) VALUES (?, ?, ?, ?)
ON CONFLICT (request_id) DO UPDATE SET
    label = coalesce(label, excluded.label),
    submitted_at = coalesce(submitted_at, excluded.submitted_at)
WHERE outcome IS NULL
    AND (label IS NULL AND excluded.label IS NOT NULL
         OR submitted_at IS NULL AND excluded.submitted_at IS NOT NULL)
"""
# The first outcome stands: what is final does not change.
_RECORD = """
INSERT INTO requests (request_id, label, added_at, outcome, status, response, error, polls,
    first_polled_at, detected_at, waited_s, delay_bound_s, response_note, recorded_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (request_id) DO UPDATE SET
    outcome = excluded.outcome, status = excluded.status, response = excluded.response,
    error = excluded.error, polls = excluded.polls,
    first_polled_at = excluded.first_polled_at, detected_at = excluded.detected_at,
    waited_s = excluded.waited_s, delay_bound_s = excluded.delay_bound_s,
    response_note = excluded.response_note, recorded_at = excluded.recorded_at
WHERE outcome IS NULL
"""
_ACKNOWLEDGE = """
UPDATE requests SET acknowledged_at = ?
WHERE request_id = ? AND outcome IS NOT NULL AND acknowledged_at IS NULL
"""
_LAST_NUMBER = "SELECT coalesce(max(number), 0) FROM requests"
_INTEND = """
INSERT INTO statements (key, label, kind, sha256, statement, intended_at, state)
VALUES (?, ?, ?, ?, ?, ?, 'sending') ON CONFLICT (key) DO NOTHING
"""
_ACCEPT = """
UPDATE statements SET state = 'accepted', request_id = ?, settled_at = ? WHERE key = ?
"""
_SETTLE = """
UPDATE statements SET state = ?, reason = ?, settled_at = ? WHERE key = ? AND state = 'sending'
"""
_FORSAKE = """
UPDATE statements SET state = 'unknown', settled_at = ?,
    reason = 'the process ended before it wrote the answer down'
WHERE state = 'sending'
"""
_UNACKNOWLEDGED = f"""
SELECT {rows.COLUMNS} FROM requests
WHERE outcome IS NOT NULL AND acknowledged_at IS NULL AND number > ? ORDER BY number LIMIT ?
"""  # noqa: S608 - our own column names
_PENDING = f"""
SELECT {rows.COLUMNS} FROM requests
WHERE outcome IS NULL AND number > ? ORDER BY number LIMIT ?
"""  # noqa: S608 - our own column names
_PLACES = 500
"""Parameters of one statement; SQLite promises 999."""


@final
class SqliteJournal:
    """
    What must survive a crash, in one file on a local disk.

    Give it to ``Tracker(journal=...)``, which opens and closes it.  Only its owner may read
    the file.  SQLite keeps two more beside it while it is open (``-wal`` and ``-shm``), and
    we one that is empty (``-lock``); move all of them together.

    Of a statement that is submitted its SHA-256 is kept, its label, and its first two words,
    so that you recognise it; its text may hold secrets and stays out unless you want it in.

    Args:
        path: The file; created if there is none.  Its directory must exist.

        store_responses: Whether ``apiResponse`` is kept.  Without it a result that is read
            from the journal has ``response=None``.

        store_statements: Whether the text of submitted statements is kept.

        executor: Where it is written and read; `None` is a thread of the tracker's own.
            For tests on a virtual clock: ``InlineExecutor()``.

    Raises:
        ConfigError: The path begins with ``~`` and leads to no home.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        store_responses: bool = True,
        store_statements: bool = False,
        executor: Executor | None = None,
    ) -> None:
        # The lock is named after the file, whichever link led to it.
        self._path = user_path(path).resolve()
        self._store_responses = store_responses
        self._store_statements = store_statements
        self._executor = executor
        self._lock = WriterLock(self._path)
        self._connection: sqlite3.Connection | None = None

    def __repr__(self) -> str:
        state = "closed" if self._connection is None else "open"
        return f"<SqliteJournal {self._path}: {state}>"

    @property
    def name(self) -> str:
        """The absolute path, links followed."""
        return str(self._path)

    @property
    def executor(self) -> Executor | None:
        """Where it is written and read."""
        return self._executor

    @staticmethod
    def read(path: str | os.PathLike[str]) -> Results:
        """
        The results that a journal holds, without a server and without writing to it.

        Works while another process writes; it sees what is on disk now.  For what is pending
        and for statements see `JournalReader`.

        Raises:
            JournalError: There is no such file, or it cannot be read.
        """
        return JournalReader(path).results()

    # --- what the tracker calls ----------------------------------------------------------

    def open(self) -> int:
        """
        Open it for writing, bring an older file up to date, and lock others out.

        Returns:
            How many statements were being sent when the last writer died.

        Raises:
            JournalLockedError: Somebody else writes to it.

            JournalVersionError: A newer version wrote it.

            JournalCorruptError: It is damaged, or something else.

            JournalWriteError: It cannot be created, opened or written.
        """
        self._lock.acquire()
        try:
            return self._open()
        except BaseException as error:
            self.close()
            if isinstance(error, sqlite3.Error | OSError):
                raise translated(error, self._path) from error
            raise

    def write(self, entries: Sequence[Entry]) -> Mapping[str, Result]:
        """
        Write all of *entries* or none; they are on disk when this returns.

        Returns:
            The results, by request ID, of those `Added` that have one already.

        Raises:
            JournalError: Nothing of it was written.
        """
        return self._guarded(lambda connection: self._write(connection, entries))

    def last_number(self) -> int:
        """
        The number of the request that was added last, 0 if there is none.

        Raises:
            JournalError: It cannot be read.
        """
        return self._guarded(
            lambda connection: int(connection.execute(_LAST_NUMBER).fetchone()[0])
        )

    def unacknowledged(self, after: int, limit: int) -> Sequence[Journalled]:
        """
        Requests with a result that nobody acknowledged, in order, behind number *after*.

        Raises:
            JournalError: It cannot be read.
        """
        return self._guarded(
            lambda connection: _fetch(connection, _UNACKNOWLEDGED, (after, limit))
        )

    def pending(self, after: int, limit: int) -> Sequence[Journalled]:
        """
        Requests without a result, in order, behind number *after*, *limit* at most.

        Raises:
            JournalError: It cannot be read.
        """
        return self._guarded(lambda connection: _fetch(connection, _PENDING, (after, limit)))

    def close(self) -> None:
        """Let others write.  Does nothing if it is not open."""
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                # All that was promised is on disk; what tidying up fails on can wait.
                with suppress(sqlite3.Error):
                    connection.close()
        finally:
            self._lock.release()

    # --- how it is done ------------------------------------------------------------------

    def _open(self) -> int:
        if create_private(self._path):
            _sync_directory(self._path.parent)
        elif self._path.stat().st_mode & 0o077:
            self._path.chmod(0o600)
        # One thread uses it at a time, but the executor may have several.
        self._connection = connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False
        )
        version = version_of(connection)
        if version is None:
            raise foreign(self._path)
        if version > VERSION:
            raise newer(self._path, version)
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise JournalWriteError(
                f"journal {self._path}: this file system cannot do write-ahead logging;"
                " choose a local disk",
                path=str(self._path),
            )
        connection.execute("PRAGMA synchronous = FULL")
        migrate(connection, version)
        now = rows.iso(datetime.now(UTC))
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM writer")
        connection.execute(
            "INSERT INTO writer (started_at, host, pid) VALUES (?, ?, ?)",
            (now, platform.node(), os.getpid()),
        )
        forsaken = connection.execute(_FORSAKE, (now,)).rowcount
        connection.execute("COMMIT")
        return forsaken

    def _guarded(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        connection = self._connection
        if connection is None:
            raise JournalWriteError(f"journal {self._path}: not open", path=str(self._path))
        try:
            return work(connection)
        except sqlite3.Error as error:
            raise translated(error, self._path) from error
        except (ValueError, TypeError) as error:
            raise odd_row(self._path, error) from error
        finally:
            # A COMMIT that failed may leave the transaction open, or not.
            if connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")

    def _write(
        self, connection: sqlite3.Connection, entries: Sequence[Entry]
    ) -> Mapping[str, Result]:
        added: list[tuple[object, ...]] = []
        recorded: list[tuple[object, ...]] = []
        acknowledged: list[tuple[str | None, str]] = []
        intended: list[tuple[object, ...]] = []
        accepted: list[tuple[object, ...]] = []
        settled: list[tuple[object, ...]] = []
        for entry in entries:
            match entry:
                case Added():
                    added.append(rows.added_row(entry))
                case Recorded():
                    recorded.append(rows.recorded_row(entry, keep_response=self._store_responses))
                case Acknowledged():
                    at = rows.iso(entry.at)
                    acknowledged += [(at, request_id) for request_id in entry.request_ids]
                case Intended():
                    intended.append(
                        rows.intended_row(entry, keep_statement=self._store_statements)
                    )
                case Accepted():
                    added.append(rows.added_row(entry))
                    accepted.append((entry.request.request_id, rows.iso(entry.at), entry.key))
                case Settled():
                    settled.append(
                        (entry.fate, rows.text(entry.reason), rows.iso(entry.at), entry.key)
                    )
        connection.execute("BEGIN IMMEDIATE")
        new = 0
        # In this order, because one batch may hold several steps in the life of a request.
        for statement, batch in (
            (_INTEND, intended),
            (_ACCEPT, accepted),
            (_SETTLE, settled),
            (_ADD, added),
            (_RECORD, recorded),
            (_ACKNOWLEDGE, acknowledged),
        ):
            if batch:
                changed = connection.executemany(statement, batch).rowcount
                new = changed if statement is _ADD else new
        found = {}
        if new < len(added):
            found = _results(connection, [str(row[0]) for row in added])
        connection.execute("COMMIT")
        return found


def _results(connection: sqlite3.Connection, request_ids: Sequence[str]) -> dict[str, Result]:
    """The results that are known of *request_ids*."""
    found: dict[str, Result] = {}
    for start in range(0, len(request_ids), _PLACES):
        some = request_ids[start : start + _PLACES]
        places = ", ".join("?" * len(some))
        query = (
            f"SELECT {rows.COLUMNS} FROM requests"  # noqa: S608 - our own column names
            f" WHERE outcome IS NOT NULL AND request_id IN ({places})"
        )
        for item in _fetch(connection, query, some):
            if item.result is not None:
                found[item.request_id] = item.result
    return found


def _fetch(
    connection: sqlite3.Connection, query: str, parameters: Sequence[object]
) -> list[Journalled]:
    return [rows.journalled(row) for row in connection.execute(query, parameters)]


def _sync_directory(directory: Path) -> None:
    """Make the name of a new file as durable as its content; not every system can."""
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
