"""
What the tracker writes down, and what it asks of whatever keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, Protocol, TypeAlias

from onehouse_tracker.journal._runs import RunEntry, RunsAcknowledged
from onehouse_tracker.models import Request, Result

__all__ = [
    "Accepted",
    "Acknowledged",
    "Added",
    "Entry",
    "Fate",
    "Intended",
    "Journal",
    "Journalled",
    "ResultEntry",
    "Settled",
]

Fate = Literal["refused", "unsent", "unknown"]
"""What became of a statement that was not accepted: nothing runs, nothing was sent, or
nobody knows."""


@dataclass(frozen=True, slots=True)
class Added:
    """A request is to be tracked; it is not polled before this is on disk."""

    request: Request
    at: datetime


@dataclass(frozen=True, slots=True)
class ResultEntry:
    """A request has its outcome; nobody is told before this is on disk."""

    result: Result
    at: datetime


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """These results have arrived where they were wanted."""

    request_ids: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class Intended:
    """A statement is about to be sent; it is not sent before this is on disk."""

    key: str
    """Tells this attempt from every other one."""

    statement: str = field(repr=False)
    """It may hold secrets: see `SqliteJournal` for what is kept of it."""

    label: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Accepted:
    """The server took the statement of this key; its request is to be followed."""

    key: str
    request: Request
    at: datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """The statement of this key was not accepted."""

    key: str
    fate: Fate
    reason: str
    at: datetime


Entry: TypeAlias = (
    Added
    | ResultEntry
    | Acknowledged
    | Intended
    | Accepted
    | Settled
    | RunEntry
    | RunsAcknowledged
)
"""One thing to write down.  All of them can be written a second time without harm."""


class Journalled(NamedTuple):
    """One request as the journal has it.  Plain, because a million are read at a start."""

    number: int
    """Its place in the journal, from 1."""

    request_id: str
    label: str | None
    submitted_at: datetime | None
    added_at: datetime
    result: Result | None
    """Its result; `None` while it is pending."""


class Journal(Protocol):
    """
    Keeps what must survive a crash.

    All methods are called by one thread at a time, but `name` and `executor` by any.  They
    may block: the tracker runs them in `executor`, off the event loop.  Each raises
    `JournalError`, and nothing else.
    """

    @property
    def name(self) -> str:
        """What errors and events call it, usually a path."""

    @property
    def executor(self) -> Executor | None:
        """Where the other methods run; `None` is a thread of the tracker's own."""

    def open(self) -> int:
        """
        Open it for writing, for this tracker alone.

        Returns:
            How many statements an earlier run left of unknown fate, and nobody was told of.
        """

    def write(self, entries: Sequence[Entry], /) -> Mapping[str, Result]:
        """
        Write all of *entries* or none; they are on disk when this returns.

        Returns:
            The results, by request ID, of those `Added` that have a final one already.  All
            others are pending from now on, whatever was concluded about them before.
        """

    def last_number(self) -> int:
        """The number of the request that was added last, 0 if there is none."""

    def unacknowledged(self, after: int, limit: int, /) -> Sequence[Journalled]:
        """
        Requests with a final result that nobody acknowledged, in order, behind number *after*.
        """

    def pending(self, after: int, limit: int, /) -> Sequence[Journalled]:
        """
        Requests to poll, in order, behind number *after*, *limit* at most.

        These are all without a result, and those whose result is neither final nor
        acknowledged.
        """

    def close(self) -> None:
        """Let others write.  Does nothing if it is not open."""
