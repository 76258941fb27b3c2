"""
Writes entries into the tables of a journal, in one transaction, and reads requests back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from onehouse_tracker._util.times import iso
from onehouse_tracker.journal import _rows as rows
from onehouse_tracker.journal._columns import RESULT_COLUMNS
from onehouse_tracker.journal._protocol import (
    Accepted,
    Acknowledged,
    Added,
    Entry,
    Intended,
    Journalled,
    ResultEntry,
    Settled,
)
from onehouse_tracker.journal._runs import RunEntries, RunEntry, RunsAcknowledged, write_runs
from onehouse_tracker.journal._values import text
from onehouse_tracker.models import Outcome, Result

__all__ = ["PENDING", "UNACKNOWLEDGED", "page", "write"]

# Named one by one, because a word that we do not know is to be met where it is read.
_CONCLUDED = ", ".join(f"'{outcome}'" for outcome in Outcome if not outcome.final)
_RESULT = [column.name for column in RESULT_COLUMNS]
_NONE = ", ".join(f"{name} = NULL" for name in _RESULT)
# What is not final is asked anew: then the request is pending again.
_ADD = f"""
INSERT INTO requests (request_id, label, submitted_at, added_at) VALUES (?, ?, ?, ?)
ON CONFLICT (request_id) DO UPDATE SET
    label = coalesce(label, excluded.label),
    submitted_at = coalesce(submitted_at, excluded.submitted_at),
    {_NONE}, response_note = NULL, recorded_at = NULL, acknowledged_at = NULL
WHERE outcome IN ({_CONCLUDED})
    OR outcome IS NULL
    AND (label IS NULL AND excluded.label IS NOT NULL
         OR submitted_at IS NULL AND excluded.submitted_at IS NOT NULL)
"""  # noqa: S608 - our own words
_WRITTEN_WITH_RESULT = ["response_note", "recorded_at", *_RESULT]
_ROOM = ", ".join("?" * (3 + len(_WRITTEN_WITH_RESULT)))
_EXCLUDED = ", ".join(f"{name} = excluded.{name}" for name in _WRITTEN_WITH_RESULT)
# The first outcome stays if it is final, for that does not change.
_RECORD = f"""
INSERT INTO requests (request_id, label, added_at, {", ".join(_WRITTEN_WITH_RESULT)})
VALUES ({_ROOM})
ON CONFLICT (request_id) DO UPDATE SET {_EXCLUDED}, acknowledged_at = NULL
WHERE outcome IS NULL OR outcome IN ({_CONCLUDED})
"""  # noqa: S608 - our own words
_ACKNOWLEDGE = """
UPDATE requests SET acknowledged_at = ?
WHERE request_id = ? AND outcome IS NOT NULL AND acknowledged_at IS NULL
"""
# Again, where nothing was sent of it: it was refused for its rate.
_INTEND = """
INSERT INTO statements (key, label, kind, sha256, statement, intended_at, state)
VALUES (?, ?, ?, ?, ?, ?, 'sending')
ON CONFLICT (key) DO UPDATE SET state = 'sending', reason = NULL, settled_at = NULL
WHERE state = 'unsent'
"""
_ACCEPT = """
UPDATE statements SET state = 'accepted', request_id = ?, settled_at = ? WHERE key = ?
"""
_SETTLE = """
UPDATE statements SET state = ?, reason = ?, settled_at = ? WHERE key = ? AND state = 'sending'
"""
UNACKNOWLEDGED = f"""
SELECT {rows.COLUMNS} FROM requests
WHERE outcome IS NOT NULL AND acknowledged_at IS NULL AND outcome NOT IN ({_CONCLUDED})
    AND number > :after ORDER BY number LIMIT :limit
"""  # noqa: S608 - our own column names
"""For `page`: requests with a final result that nobody acknowledged."""

# One half for each index.
PENDING = f"""
SELECT {rows.COLUMNS_WITHOUT_RESULT} FROM requests
WHERE outcome IS NULL AND number > :after
UNION ALL
SELECT {rows.COLUMNS_WITHOUT_RESULT} FROM requests
WHERE outcome IS NOT NULL AND acknowledged_at IS NULL AND outcome IN ({_CONCLUDED})
    AND number > :after
ORDER BY number LIMIT :limit
"""  # noqa: S608 - our own column names
"""For `page`: requests to poll."""

_KEY = "\n"
"""Before the key of a statement, so that it is no request ID."""

_PLACES = 500
"""Parameters of one statement; SQLite promises 999."""


def write(
    connection: sqlite3.Connection,
    entries: Sequence[Entry],
    *,
    keep_responses: bool,
    keep_statements: bool,
) -> Mapping[str, Result]:
    """
    Write all of *entries* in one transaction, or none.

    Returns:
        The results, by request ID, of those that are added and have a final one already.

    Raises:
        sqlite3.Error: It cannot be written; the transaction may still be open.
    """
    added: list[str] = []
    new = 0
    connection.execute("BEGIN IMMEDIATE")
    for part in _parts(entries):
        written = _write_part(
            connection, part, keep_responses=keep_responses, keep_statements=keep_statements
        )
        added += written.added
        new += written.new
    found = {}
    if new < len(added):
        found = _results(connection, added)
    connection.execute("COMMIT")
    return found


def _write_part(
    connection: sqlite3.Connection,
    entries: Sequence[Entry],
    *,
    keep_responses: bool,
    keep_statements: bool,
) -> _Written:
    added: list[tuple[object, ...]] = []
    recorded: list[tuple[object, ...]] = []
    acknowledged: list[tuple[str | None, str]] = []
    intended: list[tuple[object, ...]] = []
    accepted: list[tuple[object, ...]] = []
    settled: list[tuple[object, ...]] = []
    of_runs: list[RunEntries] = []
    for entry in entries:
        match entry:
            case Added():
                added.append(rows.added_row(entry))
            case ResultEntry():
                recorded.append(rows.result_row(entry, keep_response=keep_responses))
            case Acknowledged():
                at = iso(entry.at)
                acknowledged += [(at, request_id) for request_id in entry.request_ids]
            case Intended():
                intended.append(rows.intended_row(entry, keep_statement=keep_statements))
            case Accepted():
                added.append(rows.added_row(entry))
                accepted.append((entry.request.request_id, iso(entry.at), entry.key))
            case RunEntry() | RunsAcknowledged():
                of_runs.append(entry)
            case Settled():
                settled.append((entry.fate, text(entry.reason), iso(entry.at), entry.key))
    write_runs(connection, of_runs, keep_statements=keep_statements)
    new = 0
    # In this order, because one part may hold several steps in the life of a request.
    for statement, batch in (
        (_INTEND, intended),
        (_ACCEPT, accepted),
        (_SETTLE, settled),
        (_ADD, added),
        (_RECORD, recorded),
        (_ACKNOWLEDGE, acknowledged),
    ):
        if batch:
            changed = connection.executemany(statement, batch).rowcount
            new = changed if statement is _ADD else new
    return _Written([str(row[0]) for row in added], new)


class _Written(NamedTuple):
    """What was written of the requests that are to be followed."""

    added: list[str]
    """Their IDs."""

    new: int
    """How many rows that changed: of all others a result may be known."""


def _parts(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """
    Cut *entries* where a request is polled, or a statement sent, anew after what was concluded.
    """
    start = 0
    over: set[str] = set()
    for number, entry in enumerate(entries):
        anew: str | None = None
        match entry:
            case Added(request=told) | ResultEntry(result=told):
                anew = told.request_id
            case Intended():
                anew = f"{_KEY}{entry.key}"
            case _:
                pass
        if anew in over:
            yield entries[start:number]
            start = number
            over.clear()
        match entry:
            case ResultEntry():
                over.add(entry.result.request_id)
            case Acknowledged():
                over.update(entry.request_ids)
            case Settled():
                over.add(f"{_KEY}{entry.key}")
            case _:
                pass
    yield entries[start:]


def _results(connection: sqlite3.Connection, request_ids: Sequence[str]) -> dict[str, Result]:
    """The final results that are known of *request_ids*."""
    found: dict[str, Result] = {}
    for start in range(0, len(request_ids), _PLACES):
        some = request_ids[start : start + _PLACES]
        places = ", ".join("?" * len(some))
        query = (
            f"SELECT {rows.COLUMNS} FROM requests"  # noqa: S608 - our own column names
            f" WHERE outcome NOT IN ({_CONCLUDED}) AND request_id IN ({places})"
        )
        for item in map(rows.journalled, connection.execute(query, some)):
            if item.result is not None:
                found[item.request_id] = item.result
    return found


def page(connection: sqlite3.Connection, query: str, after: int, limit: int) -> list[Journalled]:
    """
    What *query* finds behind number *after*, *limit* at most.

    Raises:
        ValueError: Somebody else wrote a row.

        sqlite3.Error: It cannot be read.
    """
    found = connection.execute(query, {"after": after, "limit": limit})
    # The next page begins behind the last of them: if they did not ascend, it would never end.
    return [rows.journalled(row) for row in rows.ascending(found, after)]
