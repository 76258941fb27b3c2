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
from pathlib import Path
from typing import TypeVar, final

from onehouse_tracker._checks import user_path
from onehouse_tracker._util.own_files import create_private, followed, make_private, sync_directory
from onehouse_tracker._util.times import iso, utc_now
from onehouse_tracker.errors import JournalWriteError
from onehouse_tracker.journal._entries import PENDING, UNACKNOWLEDGED, page, write
from onehouse_tracker.journal._errors import altered, foreign, newer, odd_row, translated
from onehouse_tracker.journal._lock import WriterLock
from onehouse_tracker.journal._protocol import Entry, Journalled
from onehouse_tracker.journal._reader import JournalReader
from onehouse_tracker.journal._runs import JournalRun, batch_of_runs, open_runs
from onehouse_tracker.journal._schema import VERSION, is_as_made, migrate, version_of
from onehouse_tracker.models import Result
from onehouse_tracker.results import Results

__all__ = ["SqliteJournal"]

_T = TypeVar("_T")

_LAST_NUMBER = "SELECT coalesce(max(number), 0) FROM requests"
_FORSAKE = """
UPDATE statements SET state = 'unknown', settled_at = ?,
    reason = 'the process ended before it wrote the answer down'
WHERE state = 'sending'
"""
_BESIDE = ("", "-wal", "-shm", "-journal")
"""What SQLite calls the file itself, and those that it reads and writes beside it."""


@final
class SqliteJournal:
    """
    What must survive a crash, in one file on a local disk.

    Give it to ``Tracker(journal=...)``, which opens and closes it.  SQLite keeps two more files
    beside it while it is open (``-wal`` and ``-shm``), and we one that is empty (``-lock``);
    move all of them together.  Only their owner may read them, and only the owner writes.

    Of a statement that is submitted its SHA-256 is kept, its label, and its leading
    words, so that you recognize it; its text may hold secrets and stays out unless you want it in.

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
        self._given = user_path(path)
        self._path = Path(os.path.realpath(self._given))
        self._store_responses = store_responses
        self._store_statements = store_statements
        self._executor = executor
        self._lock = WriterLock(self._path)
        self._connection: sqlite3.Connection | None = None

    def __repr__(self) -> str:
        return f"<SqliteJournal {self._path}: {'open' if self._connection else 'closed'}>"

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

            JournalWriteError: It cannot be created, opened or written; or it, or a file beside
                it, belongs to another user, is a link, or has a second name.
        """
        try:
            followed(self._given)  # refuses links that others made
        except OSError as error:
            raise translated(error, self._given) from error
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
            The results, by request ID, of those `Added` that have a final one already.

        Raises:
            JournalError: Nothing of it was written.
        """
        return self._guarded(
            lambda connection: write(
                connection,
                entries,
                keep_responses=self._store_responses,
                keep_statements=self._store_statements,
            )
        )

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
        Requests with a final result that nobody acknowledged, in order, behind number *after*.

        Raises:
            JournalError: It cannot be read.
        """
        return self._guarded(lambda connection: page(connection, UNACKNOWLEDGED, after, limit))

    def pending(self, after: int, limit: int) -> Sequence[Journalled]:
        """
        Requests to poll, in order, behind number *after*, *limit* at most.

        Raises:
            JournalError: It cannot be read.
        """
        return self._guarded(lambda connection: page(connection, PENDING, after, limit))

    def open_runs(self, after: int, limit: int) -> Sequence[JournalRun]:
        """
        Runs that did not end, or that nobody acknowledged, behind number *after*, in order.

        Raises:
            JournalError: It cannot be read.
        """
        return self._guarded(lambda connection: open_runs(connection, after, limit))

    def batch_of_runs(self, batch: str) -> Sequence[JournalRun]:
        """
        The statements and runs of the last call of this hash, by position.

        Raises:
            JournalError: It cannot be read.
        """
        return self._guarded(lambda connection: batch_of_runs(connection, batch))

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
        self._make_private()
        if create_private(self._path):
            sync_directory(self._path.parent)
        # One thread uses it at a time, but the executor may have several.
        self._connection = connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False
        )
        version = version_of(connection)
        if version is None:
            raise foreign(self._path)
        if version > VERSION:
            raise newer(self._path, version)
        if not is_as_made(connection, version):
            raise altered(self._path)
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise JournalWriteError(
                f"journal {self._path}: this file system cannot do write-ahead logging;"
                " choose a local disk",
                path=str(self._path),
            )
        connection.execute("PRAGMA synchronous = FULL")
        # On macOS a sync ends in the cache of the disk without it; elsewhere it does nothing.
        connection.execute("PRAGMA fullfsync = ON")
        migrate(connection, version)
        now = iso(utc_now())
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM writer")
        connection.execute(
            "INSERT INTO writer (started_at, host, pid) VALUES (?, ?, ?)",
            (now, platform.node(), os.getpid()),
        )
        interrupted = connection.execute(_FORSAKE, (now,)).rowcount
        connection.execute("COMMIT")
        # Again, because others may have been faster than SQLite: no answer was written yet.
        self._make_private()
        return interrupted

    def _make_private(self) -> None:
        """
        Refuse what others put in our way, and let nobody read what is ours.

        Raises:
            OSError: There is something that is not ours.
        """
        for ending in _BESIDE:
            make_private(self._path.with_name(f"{self._path.name}{ending}"))

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
