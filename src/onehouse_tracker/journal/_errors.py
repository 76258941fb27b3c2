"""
What SQLite and the system complain about, as errors that name the file and what to do.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from onehouse_tracker.errors import (
    JournalCorruptError,
    JournalError,
    JournalVersionError,
    JournalWriteError,
)
from onehouse_tracker.journal._schema import VERSION
from onehouse_tracker.journal._values import UnknownOutcomeError

__all__ = ["altered", "foreign", "newer", "odd_row", "translated", "unreadable"]

# Primary result codes; the extended ones carry more in the higher bits.
_PRIMARY = 0xFF
_WRITE_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full: make room, then go on with resume()",
    sqlite3.SQLITE_READONLY: "it is read-only: make it and its directory writable for this user",
    sqlite3.SQLITE_PERM: "this user may not: make it and its directory writable for this user",
    sqlite3.SQLITE_IOERR: (
        "the disk refuses to read or write it: look for a full or failing disk, or a quota"
    ),
    sqlite3.SQLITE_BUSY: "another program holds it locked: end what has it open for writing",
    sqlite3.SQLITE_NOMEM: "there is not enough memory",
}
_OLD_WORDS = frozenset({"UNRECOGNISED"})  # codespell:ignore
"""Outcomes of versions before the first release."""

_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def translated(error: sqlite3.Error | OSError, path: Path) -> JournalError:
    """What happened, for people, and what to do about it."""
    if isinstance(error, OSError):
        return JournalWriteError(
            f"journal {path}: cannot be used: {error.strerror or type(error).__name__};"
            " choose a directory that exists and that this user may write to",
            path=str(path),
        )
    if str(error).startswith("Could not decode"):
        # Python's own complaint about text that is not UTF-8.  It quotes it, so it stays here.
        return odd_row(path, error)
    # Python sets none where it complains itself, about a closed connection for example.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY
    if code in _CORRUPT:
        return JournalCorruptError(
            f"journal {path}: {error}; it was left as it is. Move it away to begin a new one;"
            " `sqlite3 FILE .recover` may save what it holds",
            path=str(path),
        )
    if code == sqlite3.SQLITE_CANTOPEN:
        return JournalWriteError(f"journal {path}: {_cannot_open(path)}", path=str(path))
    advice = _WRITE_ADVICE.get(code, str(error))
    return JournalWriteError(f"journal {path}: {advice}", path=str(path))


def _cannot_open(path: Path) -> str:
    if path.is_dir():
        return "it is a directory: name a file in it"
    if not path.parent.is_dir():
        return "its directory does not exist: create it"
    return (
        "cannot be opened: this user must be allowed to write to it and to its directory,"
        " and the limit on open files must not be reached"
    )


def foreign(path: Path) -> JournalCorruptError:
    """A database, but not our own."""
    return JournalCorruptError(
        f"journal {path}: this is another program's SQLite database; it was left as it is."
        " Choose another path",
        path=str(path),
    )


def newer(path: Path, version: int) -> JournalVersionError:
    """A file from the future."""
    return JournalVersionError(
        f"journal {path}: written by a newer version of onehouse-tracker (schema {version},"
        f" this one knows {VERSION}); it was left as it is. Update onehouse-tracker",
        path=str(path),
    )


def altered(path: Path) -> JournalCorruptError:
    """Tables that we did not make."""
    return JournalCorruptError(
        f"journal {path}: its tables are not those that onehouse-tracker made; it was left as it"
        " is. Was it edited by hand?",
        path=str(path),
    )


def odd_row(path: Path, error: Exception) -> JournalCorruptError | JournalVersionError:
    """A row that we would not have written."""
    if isinstance(error, UnknownOutcomeError):
        return _unknown_outcome(path, error.args[0])
    return JournalCorruptError(
        f"journal {path}: a row does not make sense ({type(error).__name__}); it was left as it"
        " is. Was it edited by hand?",
        path=str(path),
    )


def _unknown_outcome(path: Path, word: str) -> JournalVersionError:
    if word in _OLD_WORDS:
        what, advice = "an older version", "Finish with that version what it holds, or begin anew"
    else:
        what, advice = "a newer version", "Update onehouse-tracker"
    return JournalVersionError(
        f"journal {path}: written by {what} of onehouse-tracker: a request ended {word}, which"
        f" this version does not know; it was left as it is. {advice}",
        path=str(path),
    )


def unreadable(path: Path, reason: str) -> JournalError:
    """There is nothing to read, or reading is not allowed."""
    return JournalError(f"journal {path}: {reason}", path=str(path))
