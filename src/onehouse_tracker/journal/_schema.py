"""
The tables of a journal file, and how files of older versions are brought up to date.
"""

from __future__ import annotations

import sqlite3

__all__ = ["APPLICATION_ID", "VERSION", "migrate", "version_of"]

APPLICATION_ID = 0x6F685472
"""Tells our files from other SQLite databases: "ohTr"."""

# Step n brings a file from version n to version n + 1.  Never change a step that was
# released: add another one.
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
)

VERSION = len(_STEPS)
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
        for step in _STEPS[version:until]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {until}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
