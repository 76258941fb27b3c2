"""
The tables of a journal file, and how files of older versions are brought up to date.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from typing import Any

from onehouse_tracker.journal._columns import RESULT_COLUMNS
from onehouse_tracker.journal._runs import TABLE as TABLE_OF_RUNS

__all__ = ["APPLICATION_ID", "VERSION", "is_as_made", "migrate", "version_of"]

APPLICATION_ID = 0x6F685472
"""Tells our files from other SQLite databases: "ohTr"."""

# Step n brings a file from version n to version n + 1.  Never change a step that was
# released: add another one.  Files are compared with what the steps make.  A column of a result
# needs no step: see `_columns`.
_STEPS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE requests (
            number INTEGER PRIMARY KEY,
            request_id TEXT NOT NULL UNIQUE,
            label TEXT,
            submitted_at TEXT,
            added_at TEXT NOT NULL,
            outcome TEXT,
            status TEXT,
            response TEXT,
            error TEXT,
            polls INTEGER,
            first_polled_at TEXT,
            detected_at TEXT,
            waited_s REAL,
            delay_bound_s REAL,
            recorded_at TEXT,
            acknowledged_at TEXT
        )
        """,
        "CREATE INDEX requests_pending ON requests (number) WHERE outcome IS NULL",
        """
        CREATE INDEX requests_unacknowledged ON requests (number)
        WHERE outcome IS NOT NULL AND acknowledged_at IS NULL
        """,
        "CREATE TABLE writer (started_at TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL)",
    ),
    (
        """
        CREATE TABLE statements (
            number INTEGER PRIMARY KEY,
            key TEXT NOT NULL UNIQUE,
            state TEXT NOT NULL,
            label TEXT,
            kind TEXT,
            sha256 TEXT NOT NULL,
            statement TEXT,
            intended_at TEXT NOT NULL,
            settled_at TEXT,
            request_id TEXT,
            reason TEXT
        )
        """,
        "CREATE INDEX statements_sending ON statements (number) WHERE state = 'sending'",
        "ALTER TABLE requests ADD COLUMN response_note TEXT",
    ),
    (TABLE_OF_RUNS, "CREATE INDEX runs_open ON runs (number) WHERE acknowledged_at IS NULL"),
)

_TABLES = ("requests", "runs", "statements", "writer")

VERSION = max(len(_STEPS), *(column.since for column in RESULT_COLUMNS))
"""The version that this package writes."""


def version_of(connection: sqlite3.Connection) -> int | None:
    """
    The version of a journal, 0 of an empty file, `None` of somebody else's database.

    Raises:
        sqlite3.Error: It cannot be read.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if application == APPLICATION_ID:
        return version
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    return None if application or version or tables else 0


def is_as_made(connection: sqlite3.Connection, version: int) -> bool:
    """
    Whether the tables that we use are those that we made, with nothing attached to them.

    A view may bear the name of a table, and never end; a trigger may act on what we write.
    What else there is in the file does not concern us, because we never touch it.

    Raises:
        sqlite3.Error: It cannot be read.
    """
    if version < 0:
        return False
    there, made = _objects(connection), _made(version)
    # An index that is missing makes it slow, and not wrong.
    return {item for item in made if item[0] == "table"} <= there <= made


@cache
def _made(version: int) -> frozenset[tuple[Any, ...]]:
    """What a new file of *version* holds."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        migrate(fresh, 0, until=version)
        return _objects(fresh)


def _objects(connection: sqlite3.Connection) -> frozenset[tuple[Any, ...]]:
    names = ", ".join(f"'{name}'" for name in _TABLES)
    rows = connection.execute(
        "SELECT type, name, lower(tbl_name), sql FROM sqlite_schema"  # noqa: S608 - our own names
        f" WHERE lower(tbl_name) IN ({names}) OR lower(name) IN ({names})"
    )
    return frozenset((*row[:3], _plain(row[3])) for row in rows)


def _plain(sql: object) -> object:
    # As tools that save what is damaged may write it.
    return "".join(sql.split()).lower() if isinstance(sql, str) else sql


def _statements(version: int, until: int) -> Iterator[str]:
    """What brings a file from *version* to *until*."""
    for step in _STEPS[version:until]:
        yield from step
    for column in RESULT_COLUMNS:
        if column.since > 1 and version < column.since <= until:
            yield f"ALTER TABLE requests ADD COLUMN {column.name} {column.sql_type}"


def migrate(connection: sqlite3.Connection, version: int, *, until: int = VERSION) -> None:
    """
    Bring a file of an older *version* up to date: wholly, or not at all.

    Raises:
        sqlite3.Error: It cannot be written.
    """
    if version >= until:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _statements(version, until):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {until}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
