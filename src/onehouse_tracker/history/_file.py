"""
The file that remembers, one SQLite database for all projects of a user.

Each call opens it, does one transaction and closes it again: any number of processes may use it,
and a process that is killed leaves what was written before.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import sqlite3
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from onehouse_tracker._util.own_files import (
    create_private,
    followed,
    make_private,
    refuse_foreign,
)
from onehouse_tracker.history._records import MOST_NAMES, Lesson, Record, taught
from onehouse_tracker.history._whose import (
    APPLICATION,
    ForeignFileError,
    alone_in,
    free_name,
    refuse_other_files,
)

__all__ = ["Contents", "DamagedError", "HistoryFile", "default_path", "statement_name"]

_VERSION = 1
_PATIENCE = 2.0
"""Seconds to wait for another process that is writing."""

_LOOKS = 10
"""How often it may vanish between two looks at it."""

_BOUNDS = ((1.0, 1e6), (-10.0, 30.0), (0.0, 1e3))

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS secret (key BLOB NOT NULL)",
    """
    CREATE TABLE IF NOT EXISTS runs (
        project TEXT NOT NULL, name TEXT NOT NULL, runs REAL NOT NULL, mean REAL NOT NULL,
        variance REAL NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (project, name)
    ) WITHOUT ROWID
    """,
)
# Whatever else is there is not even read: it may be as large as the disk.
_KEY = """
SELECT CASE WHEN typeof(key) = 'blob' AND length(key) = 16 THEN key END FROM secret
"""
_ALL = "SELECT project, name, runs, mean, variance, last FROM runs ORDER BY project, name"
_READ = "SELECT name, runs, mean, variance FROM runs WHERE project = ?"
_READ_ONE = "SELECT runs, mean, variance FROM runs WHERE project = ? AND name = ?"
_WRITE = "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)"
_FORGET = "DELETE FROM runs WHERE project IS ifnull(?, project) AND name IS ifnull(?, name)"
_OLDEST = """
DELETE FROM runs WHERE project = ? AND name IN (
    SELECT name FROM runs WHERE project = ? ORDER BY last DESC LIMIT -1 OFFSET ?
)
"""


class Contents(NamedTuple):
    """What is remembered of one project."""

    key: bytes
    """Makes fingerprints of statements useless outside this file; empty if there is no file."""

    records: dict[str, Record]


class DamagedError(sqlite3.DatabaseError):
    """The file is a history, and damaged."""

    def __init__(self, reason: str, seen: os.stat_result) -> None:
        super().__init__(reason)
        self.seen = seen
        """Tells the file from one that another process put in its place meanwhile."""


class HistoryFile:
    """
    The file at *path*.  All methods block, and raise `OSError` or `sqlite3.Error`: the file is
    something else (`ForeignFileError`), is damaged (`DamagedError`), or cannot be used now.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, project: str) -> Contents:
        """Read what is remembered of a project; make the file if there is none."""
        with self._opened() as connection:
            key = _key(connection)
            rows = connection.execute(_READ, (project,))
            records = {
                name: Record(runs, mean, variance)
                for name, runs, mean, variance in rows
                if _is_sound(runs, mean, variance) and isinstance(name, str)
            }
        return Contents(key, records)

    def rows(self) -> list[tuple[str, str, Record, int]]:
        """Project, name, record and last run of everything; nothing if there is no file."""
        if not self.path.exists():
            return []
        with self._opened() as connection:
            return [
                (project, name, Record(runs, mean, variance), last)
                for project, name, runs, mean, variance, last in connection.execute(_ALL)
                if _is_sound(runs, mean, variance)
                and isinstance(project, str)
                and isinstance(name, str)
            ]

    def add(self, project: str, lessons: Sequence[Lesson], common: float) -> None:
        """Merge what was learned into what other processes wrote meanwhile."""
        now = int(time.time())
        with self._opened() as connection:
            for lesson in lessons:
                for name in lesson.names:
                    row = connection.execute(_READ_ONE, (project, name)).fetchone()
                    known = Record(*row) if row is not None and _is_sound(*row) else None
                    record = taught(known, lesson.seconds, common)
                    connection.execute(_WRITE, (project, name, *record, now))
            (count,) = connection.execute(
                "SELECT count(*) FROM runs WHERE project = ?", (project,)
            ).fetchone()
            if count > MOST_NAMES:
                connection.execute(_OLDEST, (project, project, MOST_NAMES))

    def forget(self, project: str | None = None, names: Sequence[str] | None = None) -> int:
        """
        Forget what is known, and return how many names.

        Args:
            project: Of this project only; `None` is all.

            names: These only; `None` is all.
        """
        if not self.path.exists():
            return 0
        with self._opened() as connection:
            return sum(
                connection.execute(_FORGET, (project, name)).rowcount
                for name in ((None,) if names is None else names)
            )

    def set_aside(self, damage: DamagedError) -> Path | None:
        """
        Rename the damaged file, so that the next call begins a new one.

        Returns:
            What it is called now; `None` if another process has done so.
        """
        path = followed(self.path)
        with alone_in(path.parent):
            return _set_aside(path, damage.seen)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        path = followed(self.path)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        seen = _prepared(path)
        connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
        connection.text_factory = _text
        try:
            connection.execute("BEGIN IMMEDIATE")
            _check_version(connection)
            for statement in _SCHEMA:
                connection.execute(statement)
            if connection.execute("SELECT 1 FROM secret").fetchone() is None:
                connection.execute("INSERT INTO secret VALUES (?)", (secrets.token_bytes(16),))
            yield connection
            connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            if _is_damage(error) or _is_replaced(path, seen):
                raise DamagedError(str(error), seen) from error
            raise
        except _KeyLostError as error:
            raise DamagedError("its key is lost", seen) from error
        finally:
            connection.close()  # which takes back what was not committed


def _prepared(path: Path) -> os.stat_result:
    """Make the file if there is none, refuse one that is not ours, and say which one it is."""
    for _ in range(_LOOKS):
        # Another process may put a damaged one aside at any moment.
        with suppress(FileNotFoundError):
            if not create_private(path) and refuse_foreign(path):
                refuse_other_files(path)
            make_private(path)
            return path.lstat()
    raise FileNotFoundError(errno.ENOENT, "it is removed again and again", str(path))


def _set_aside(path: Path, seen: os.stat_result) -> Path | None:
    aside = free_name(path)
    try:
        if not os.path.samestat(path.lstat(), seen):
            raise FileNotFoundError
        # Its journal first: beside a new file, SQLite would take it for that file's, and as
        # soon as this one is gone, there may be a new file with a journal of its own.
        with suppress(FileNotFoundError):
            journal = path.with_name(f"{path.name}-journal")
            journal.replace(aside.with_name(f"{aside.name}-journal"))
        path.replace(aside)
    except OSError as error:
        aside.unlink()
        if isinstance(error, FileNotFoundError):
            return None
        raise
    return aside


class _KeyLostError(Exception):
    """The file is sound, but without its key."""


def _key(connection: sqlite3.Connection) -> bytes:
    key = connection.execute(_KEY).fetchone()[0]
    if not isinstance(key, bytes):
        raise _KeyLostError
    return key


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF  # the rest tells more
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _is_replaced(path: Path, seen: os.stat_result) -> bool:
    """Whether another process put the file aside while it was open here."""
    try:
        return not os.path.samestat(path.lstat(), seen)
    except FileNotFoundError:
        return True


def _text(stored: bytes) -> str | None:
    """What is no text is left out, as a name that is none."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return None


def _check_version(connection: sqlite3.Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables and not application:
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {_VERSION}")
    elif application != APPLICATION:
        raise ForeignFileError  # another program began it this moment
    elif version != _VERSION:
        raise OSError(f"another version of onehouse-tracker wrote it (format {version})")


def _is_sound(runs: object, mean: object, variance: object) -> bool:
    return all(
        isinstance(number, float) and least <= number <= most
        for number, (least, most) in zip((runs, mean, variance), _BOUNDS, strict=True)
    )


def statement_name(key: bytes, text: str) -> str:
    """What a statement is remembered by: nobody can tell from it what the statement was."""
    encoded = text.encode(errors="surrogatepass")  # a source may accept what is no Unicode
    return "s:" + hashlib.blake2b(encoded, key=key, digest_size=12).hexdigest()


def default_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the history of this user is: the platform's directory for what programs remember."""
    if sys.platform == "win32":
        base = Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        given = environ.get("XDG_STATE_HOME", "")
        # A relative one is to be ignored, says the standard.
        base = Path(given) if Path(given).is_absolute() else Path.home() / ".local" / "state"
    return base / "onehouse-tracker" / "history.db"
