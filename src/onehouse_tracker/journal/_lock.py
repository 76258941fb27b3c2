"""
One writer per journal: a lock that dies with its process.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from onehouse_tracker._own_files import create_private, make_private
from onehouse_tracker.errors import JournalError, JournalLockedError
from onehouse_tracker.journal._reader import JournalReader
from onehouse_tracker.journal._trouble import translated

__all__ = ["WriterLock"]


class WriterLock:
    """
    Holds an empty SQLite database locked, beside the journal.

    SQLite's locks work on every system, between threads and processes alike, and the system
    drops them when the process dies.  Unlike ``flock``, a child after ``fork`` does not
    inherit them: it cannot keep a journal locked that its dead parent wrote to.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._path = journal.with_name(f"{journal.name}-lock")
        self._connection: sqlite3.Connection | None = None

    def acquire(self) -> None:
        """
        Lock, or fail at once.

        Raises:
            JournalLockedError: Somebody else has it.

            JournalWriteError: The file beside the journal cannot be used.
        """
        connection: sqlite3.Connection | None = None
        try:
            make_private(self._path)
            create_private(self._path)
            connection = sqlite3.connect(
                self._path, timeout=0, isolation_level=None, check_same_thread=False
            )
            # Nothing is ever written to it, so it needs no journal of its own on the disk.
            connection.execute("PRAGMA journal_mode = MEMORY")
            connection.execute("BEGIN EXCLUSIVE")
        except (sqlite3.Error, OSError) as error:
            if connection is not None:
                connection.close()
            code = getattr(error, "sqlite_errorcode", 0)
            if code == sqlite3.SQLITE_BUSY:
                raise JournalLockedError(
                    f"journal {self._journal}: {self._holder()} writes to it; one journal"
                    " belongs to one tracker at a time. Wait for its end, or choose another path",
                    path=str(self._journal),
                ) from None
            raise translated(error, self._path) from error
        self._connection = connection

    def release(self) -> None:
        """Unlock.  Does nothing if it is not locked."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _holder(self) -> str:
        with suppress(JournalError):
            writer = JournalReader(self._journal).writer()
            if writer is not None:
                return writer
        return "another tracker"
