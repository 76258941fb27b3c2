"""
One writer per journal: a lock that dies with its process.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from onehouse_tracker._util.own_files import create_private, make_private
from onehouse_tracker._util.posix import fcntl
from onehouse_tracker.errors import JournalError, JournalLockedError
from onehouse_tracker.journal._errors import translated
from onehouse_tracker.journal._reader import JournalReader

__all__ = ["WriterLock"]

_FORK_TAKES: Final = 1.0
"""Seconds in which a child whose parent was killed has let go of what it inherited."""

_held: Final[set[int]] = set()
"""Descriptors of files that this process has locked."""


def _hold(path: Path) -> int | None:
    """
    Open *path* and lock it, where the system can do that.

    Raises:
        BlockingIOError: Somebody else has it.

        OSError: It cannot be opened.
    """
    # On Windows the first lock cannot be lost.
    return None if sys.platform == "win32" else _hold_patiently(path)


def _hold_patiently(path: Path) -> int:
    # For reading only: network file systems, which take both locks for one, then refuse this one.
    descriptor = os.open(path, os.O_RDONLY)
    give_up_at = time.monotonic() + _FORK_TAKES
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < give_up_at:
                time.sleep(_FORK_TAKES / 20)
                continue
            os.close(descriptor)
            raise
        except OSError:
            pass  # and the first lock has to do
        _held.add(descriptor)
        return descriptor


def _forked() -> None:
    """A child has the descriptors, and with them the locks, which must die with its parent."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class WriterLock:
    """
    Holds an empty SQLite database locked, beside the journal.

    SQLite's locks work on every system, between threads and processes alike, and the system
    drops them when the process dies.  Unlike ``flock``, a child after ``fork`` does not
    inherit them: it cannot keep a journal locked that its dead parent wrote to.

    On POSIX systems a process loses them, though, as soon as it closes the file once, for
    example because it copied the directory.  So there is a second lock on the same file, of
    the kind that belongs to an open file, and a child closes that one.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._path = journal.with_name(f"{journal.name}-lock")
        self._connection: sqlite3.Connection | None = None
        self._descriptor: int | None = None

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
            # Not before: to close it again would drop the first lock of another tracker here.
            self._descriptor = _hold(self._path)
        except (sqlite3.Error, OSError) as error:
            if connection is not None:
                connection.close()
            code = getattr(error, "sqlite_errorcode", 0)
            if code == sqlite3.SQLITE_BUSY or isinstance(error, BlockingIOError):
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
        descriptor, self._descriptor = self._descriptor, None
        if connection is not None:
            connection.close()
        if descriptor in _held:
            _held.discard(descriptor)
            os.close(descriptor)

    def _holder(self) -> str:
        with suppress(JournalError):
            writer = JournalReader(self._journal).writer()
            if writer is not None:
                return writer
        return "another tracker"
