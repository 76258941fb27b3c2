"""
Results that users have and did not acknowledge: some in memory, any number in a file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

__all__ = ["DeliveredFile"]


class DeliveredFile:
    """
    Request IDs in a temporary file, which the system deletes however the process ends.

    A service that never acknowledges could otherwise not run for years.  All methods block, and
    belong to one thread at a time.  An ID that cannot be written stays in memory.
    """

    def __init__(self) -> None:
        self._rest: set[str] = set()
        self._file: sqlite3.Connection | None = None

    def add(self, request_ids: Iterable[str]) -> None:
        """Keep these too."""
        self._rest.update(request_ids)
        try:
            if self._file is None:
                # An empty name is a file of SQLite's own, private and already deleted.
                self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
                self._file.execute("CREATE TABLE delivered (id TEXT PRIMARY KEY) WITHOUT ROWID")
            self._file.execute("BEGIN")
            rows = ((request_id,) for request_id in self._rest)
            self._file.executemany("INSERT OR IGNORE INTO delivered VALUES (?)", rows)
            self._file.execute("COMMIT")
            self._rest.clear()
        except sqlite3.Error:
            if self._file is not None and self._file.in_transaction:
                self._file.rollback()

    def discard(self, request_ids: Iterable[str]) -> None:
        """Forget these, where they are known."""
        request_ids = tuple(request_ids)
        self._rest.difference_update(request_ids)
        if self._file is not None:
            rows = ((request_id,) for request_id in request_ids)
            self._file.executemany("DELETE FROM delivered WHERE id = ?", rows)

    def take(self, count: int) -> tuple[str, ...]:
        """Take *count* of them out, or as many as there are."""
        if self._rest:
            taken = tuple(self._rest)
            self._rest.clear()
            return taken
        if self._file is None:
            return ()
        rows = self._file.execute("SELECT id FROM delivered LIMIT ?", (count,)).fetchall()
        taken = tuple(request_id for (request_id,) in rows)
        self.discard(taken)
        return taken

    def close(self) -> None:
        """Delete the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
