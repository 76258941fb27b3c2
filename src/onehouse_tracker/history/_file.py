"""
The file that remembers, one SQLite database for all projects of a user.

Each call opens it, does one transaction and closes it again: any number of processes may use it,
and a process that is killed leaves what was written before.
"""

from __future__ import annotations

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

from onehouse_tracker._util.own_files import create_private, followed, make_private
from onehouse_tracker.history._records import MOST_NAMES, Lesson, Record, taught

__all__ = ["Contents", "HistoryFile", "default_path"]

_APPLICATION = 0x0E704157
_VERSION = 1
_PATIENCE = 2.0
"""Seconds to wait for another process that is writing."""

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
_READ = "SELECT name, runs, mean, variance FROM runs WHERE project = ?"
_READ_ONE = "SELECT runs, mean, variance FROM runs WHERE project = ? AND name = ?"
_WRITE = "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)"
_FORGET = "DELETE FROM runs WHERE project = ifnull(?, project) AND name = ifnull(?, name)"
_OLDEST = """
DELETE FROM runs WHERE project = ? AND name IN (
    SELECT name FROM runs WHERE project = ? ORDER BY last DESC LIMIT -1 OFFSET ?
)
"""


class Contents(NamedTuple):
    """What is remembered of one project."""

    key: bytes
    """Makes fingerprints of statements useless outside this file."""

    records: dict[str, Record]


class HistoryFile:
    """
    The file at *path*.  All methods block, and raise `OSError` or `sqlite3.Error`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, project: str) -> Contents:
        """Read what is remembered of a project; make the file if there is none."""
        with self._opened() as connection:
            (key,) = connection.execute("SELECT key FROM secret").fetchone()
            rows = connection.execute(_READ, (project,))
            records = {
                name: Record(runs, mean, variance)
                for name, runs, mean, variance in rows
                if _is_sound(runs, mean, variance)
            }
        return Contents(bytes(key), records)

    def rows(self) -> list[tuple[str, str, Record, int]]:
        """Project, name, record and last run of everything; nothing if there is no file."""
        if not self.path.exists():
            return []
        with self._opened() as connection:
            return [
                (project, name, Record(runs, mean, variance), last)
                for project, name, runs, mean, variance, last in connection.execute(
                    "SELECT * FROM runs ORDER BY project, name"
                )
                if _is_sound(runs, mean, variance)
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

    def set_aside(self) -> Path:
        """Rename a file that is no database, so that the next run begins a new one."""
        aside = self.path.with_name(f"{self.path.name}.broken")
        self.path.replace(aside)
        with suppress(OSError):
            self.path.with_name(f"{self.path.name}-journal").unlink()
        return aside

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        path = followed(self.path)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_private(path)
        make_private(path)
        connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            _check_version(connection)
            for statement in _SCHEMA:
                connection.execute(statement)
            if connection.execute("SELECT key FROM secret").fetchone() is None:
                connection.execute("INSERT INTO secret VALUES (?)", (secrets.token_bytes(16),))
            yield connection
            connection.execute("COMMIT")
        finally:
            connection.close()  # which takes back what was not committed


def _check_version(connection: sqlite3.Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables and not application:
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {_VERSION}")
    elif application != _APPLICATION:
        raise OSError("it is a database of something else")
    elif version != _VERSION:
        raise OSError(f"another version of onehouse-tracker wrote it (format {version})")


def _is_sound(runs: object, mean: object, variance: object) -> bool:
    return all(
        isinstance(number, float) and least <= number <= most
        for number, (least, most) in zip((runs, mean, variance), _BOUNDS, strict=True)
    )


def statement_name(key: bytes, text: str) -> str:
    """What a statement is remembered by: nobody can tell from it what the statement was."""
    return "s:" + hashlib.blake2b(text.encode(), key=key, digest_size=12).hexdigest()


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
