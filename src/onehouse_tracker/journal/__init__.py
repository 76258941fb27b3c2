"""
The file that makes tracking survive a crash.
"""

from __future__ import annotations

from onehouse_tracker.journal._protocol import (
    Accepted,
    Acknowledged,
    Added,
    Entry,
    Fate,
    Intended,
    Journal,
    Journalled,
    ResultEntry,
    Settled,
)
from onehouse_tracker.journal._reader import JournalReader, JournalRequest, JournalStatement
from onehouse_tracker.journal._runs import JournalRun, RunEntry, RunsAcknowledged, RunsJournal
from onehouse_tracker.journal.sqlite import SqliteJournal

__all__ = [
    "Accepted",
    "Acknowledged",
    "Added",
    "Entry",
    "Fate",
    "Intended",
    "Journal",
    "JournalReader",
    "JournalRequest",
    "JournalRun",
    "JournalStatement",
    "Journalled",
    "ResultEntry",
    "RunEntry",
    "RunsAcknowledged",
    "RunsJournal",
    "Settled",
    "SqliteJournal",
]
