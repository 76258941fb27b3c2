"""
Runs in a journal: what is written of each, and how it is read back.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from onehouse_tracker._checks import check_job_name, check_label, check_run_id
from onehouse_tracker._util.times import iso
from onehouse_tracker.errors import InvalidRequestError
from onehouse_tracker.journal._values import (
    moment_of,
    optional_moment_of,
    string_of,
    text,
    whole_of,
)
from onehouse_tracker.run_results import RunOutcome

__all__ = [
    "ALL_RUNS",
    "TABLE",
    "JournalRun",
    "RunEntries",
    "RunEntry",
    "RunsAcknowledged",
    "RunsJournal",
    "batch_of_runs",
    "open_runs",
    "run_of",
    "sha256_of",
    "write_runs",
]

TABLE = """
CREATE TABLE runs (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    statement_key TEXT,
    batch TEXT,
    position INTEGER,
    kind TEXT,
    job TEXT,
    label TEXT,
    sha256 TEXT,
    statement TEXT,
    run_id TEXT,
    started_at TEXT,
    added_at TEXT NOT NULL,
    status TEXT,
    outcome TEXT,
    reason TEXT,
    recorded_at TEXT,
    acknowledged_at TEXT
)
"""
"""What the schema makes."""


def sha256_of(statement: str) -> str:
    """What a statement hashes to, in UTF-8."""
    return hashlib.sha256(statement.encode("utf-8", "backslashreplace")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """What is known of one run, or of a statement that is to start one, in its present state."""

    key: str
    """Tells it from every other one."""

    statement_key: str | None = None
    """That of its `Intended`, once it may be sent."""

    batch: str | None = None
    """The call that it is part of."""

    position: int | None = None
    """Its place in that call, from 0."""

    kind: str | None = None
    """The kind of work; `None` for a statement that starts none."""

    job: str | None = None
    label: str | None = None

    statement: str | None = field(default=None, repr=False)
    """It may hold secrets: only its hash is kept unless the journal keeps statements."""

    run_id: str | None = None
    """The run, once it is known."""

    started_at: datetime | None = None
    """When it was started, as far as we know."""

    status: str | None = None
    """The server's last word."""

    outcome: RunOutcome | None = None
    """How it ended; `None` while it has not."""

    reason: str | None = None
    at: datetime


@dataclass(frozen=True, slots=True)
class RunsAcknowledged:
    """The results of these runs, by key, have arrived where they were wanted."""

    keys: tuple[str, ...]
    at: datetime


RunEntries: TypeAlias = RunEntry | RunsAcknowledged


class JournalRun(NamedTuple):
    """One run as the journal has it."""

    number: int
    key: str
    batch: str | None
    position: int | None
    kind: str | None
    job: str | None
    label: str | None
    sha256: str | None
    run_id: str | None
    started_at: datetime | None
    added_at: datetime
    status: str | None
    outcome: RunOutcome | None
    reason: str | None
    recorded_at: datetime | None
    acknowledged_at: datetime | None
    state: str | None
    """That of its statement; `None` if it was never about to be sent."""
    request_id: str | None
    refusal: str | None
    """Why its statement was not accepted."""

    @property
    def never_sent(self) -> bool:
        """Whether it is a statement that nothing was ever sent of."""
        return (
            self.outcome is None
            and self.run_id is None
            and self.sha256 is not None
            and self.state in {None, "unsent"}
        )

    @property
    def stage(self) -> str:
        """``planned``, ``starting``, ``running``, then ``recorded``, then ``acknowledged``."""
        if self.outcome is not None:
            return "recorded" if self.acknowledged_at is None else "acknowledged"
        if self.run_id is not None:
            return "running"
        return "planned" if self.never_sent else "starting"


@runtime_checkable
class RunsJournal(Protocol):
    """A journal that also keeps runs."""

    def open_runs(self, after: int, limit: int, /) -> Sequence[JournalRun]:
        """Runs that did not end, or that nobody acknowledged, behind number *after*, in order."""

    def batch_of_runs(self, batch: str, /) -> Sequence[JournalRun]:
        """The last call of this hash: its statements and runs, by position."""


# --- Writing -------------------------------------------------------------------------------

_FINAL = ", ".join(f"'{outcome}'" for outcome in RunOutcome if outcome.final)
_WRITE = f"""
INSERT INTO runs (key, statement_key, batch, position, kind, job, label, sha256, statement,
    run_id, started_at, added_at, status, outcome, reason, recorded_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET
    statement_key = coalesce(excluded.statement_key, statement_key),
    label = coalesce(label, excluded.label),
    run_id = coalesce(excluded.run_id, run_id),
    started_at = coalesce(started_at, excluded.started_at),
    status = coalesce(excluded.status, status),
    outcome = excluded.outcome, reason = excluded.reason, recorded_at = excluded.recorded_at,
    acknowledged_at = NULL
WHERE outcome IS NULL OR outcome NOT IN ({_FINAL})
"""  # noqa: S608 - our own words
_ACKNOWLEDGE = """
UPDATE runs SET acknowledged_at = ?
WHERE key = ? AND outcome IS NOT NULL AND acknowledged_at IS NULL
"""


def write_runs(
    connection: sqlite3.Connection, entries: Sequence[RunEntries], *, keep_statements: bool
) -> None:
    """
    Write *entries* in order, within a transaction of the caller.

    Raises:
        sqlite3.Error: It cannot be written.
    """
    for entry in entries:
        if isinstance(entry, RunsAcknowledged):
            at = iso(entry.at)
            connection.executemany(_ACKNOWLEDGE, [(at, key) for key in entry.keys])
        else:
            connection.execute(_WRITE, _row(entry, keep_statement=keep_statements))


def _row(entry: RunEntry, *, keep_statement: bool) -> tuple[object, ...]:
    statement = entry.statement
    ended = entry.outcome is not None
    return (
        entry.key,
        entry.statement_key,
        entry.batch,
        entry.position,
        entry.kind,
        text(entry.job),
        text(entry.label),
        None if statement is None else sha256_of(statement),
        text(statement) if keep_statement else None,
        entry.run_id,
        iso(entry.started_at),
        iso(entry.at),
        text(entry.status),
        None if entry.outcome is None else str(entry.outcome),
        text(entry.reason),
        iso(entry.at) if ended else None,
    )


# --- Reading -------------------------------------------------------------------------------

_COLUMNS = """
SELECT runs.number, runs.key, batch, position, runs.kind, job, runs.label, runs.sha256,
    run_id, started_at, added_at, status, outcome, runs.reason, recorded_at, acknowledged_at,
    statements.state, statements.request_id, statements.reason
FROM runs LEFT JOIN statements ON statements.key = runs.statement_key
"""
_OPEN = (
    f"{_COLUMNS} WHERE acknowledged_at IS NULL AND runs.number > ? ORDER BY runs.number LIMIT ?"
)
ALL_RUNS = f"{_COLUMNS} WHERE runs.number > ? ORDER BY runs.number LIMIT ?"
"""Every run, a piece at a time: takes the number before the first, and how many."""

_BATCH = f"{_COLUMNS} WHERE batch = ? ORDER BY position"
_LAST_BATCH = """
SELECT batch FROM runs WHERE substr(batch, 1, 64) = ? ORDER BY number DESC LIMIT 1
"""
_STATES = frozenset({None, "sending", "accepted", "refused", "unsent", "unknown"})


def open_runs(connection: sqlite3.Connection, after: int, limit: int) -> list[JournalRun]:
    """
    Runs that did not end, or that nobody acknowledged, behind number *after*, in order.

    Raises:
        ValueError: Somebody else wrote a row.

        sqlite3.Error: It cannot be read.
    """
    return [run_of(row) for row in connection.execute(_OPEN, (after, limit))]


def batch_of_runs(connection: sqlite3.Connection, batch: str) -> list[JournalRun]:
    """
    The last call of this hash, by position; nothing if there was none.

    Raises:
        ValueError: Somebody else wrote a row.

        sqlite3.Error: It cannot be read.
    """
    last = connection.execute(_LAST_BATCH, (batch,)).fetchone()
    if last is None:
        return []
    return [run_of(row) for row in connection.execute(_BATCH, last)]


def run_of(row: tuple[Any, ...]) -> JournalRun:
    """
    What a row of one of these queries says.

    Raises:
        ValueError: Somebody else wrote it.
    """
    (number, key, batch, position, kind, job, label, sha256, run_id, started_at, added_at) = row[
        :11
    ]
    status, outcome, reason, recorded_at, acknowledged_at, state, request_id, refusal = row[11:]
    try:
        check_label(label)
        for value, check in ((job, check_job_name), (run_id, check_run_id)):
            if value is not None:
                check(value)
    except InvalidRequestError as error:
        raise ValueError("no job, no run ID, or no label") from error
    if state not in _STATES:
        raise ValueError("no state")
    return JournalRun(
        whole_of(number),
        string_of(key) or "",
        string_of(batch),
        None if position is None else whole_of(position),
        string_of(kind),
        job,
        label,
        string_of(sha256),
        run_id,
        optional_moment_of(started_at),
        moment_of(added_at),
        string_of(status),
        None if outcome is None else RunOutcome(string_of(outcome) or ""),
        string_of(reason),
        optional_moment_of(recorded_at),
        optional_moment_of(acknowledged_at),
        state,
        string_of(request_id),
        string_of(refusal),
    )
