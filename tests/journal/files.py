"""
What the tests of the journal share: files, and a look at what is on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime
from pathlib import Path

from onehouse_tracker.journal import (
    Added,
    Entry,
    Journalled,
    JournalReader,
    ResultEntry,
    SqliteJournal,
)
from onehouse_tracker.models import ApiStatus, Outcome, Request, Result
from onehouse_tracker.testing import InlineExecutor

__all__ = ["NOON", "Spied", "added", "inline", "opened", "recorded", "state"]

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def inline(path: Path) -> SqliteJournal:
    """A journal for a tracker on a virtual clock."""
    return SqliteJournal(path, executor=InlineExecutor())


def opened(path: Path) -> SqliteJournal:
    """A journal that is open.  Close it."""
    journal = SqliteJournal(path)
    journal.open()
    return journal


def added(request_id: str, label: str | None = None) -> Added:
    """A request that was added at noon."""
    return Added(Request(request_id, label=label), NOON)


def recorded(request_id: str, outcome: Outcome = Outcome.SUCCEEDED) -> ResultEntry:
    """A request whose outcome was known at noon."""
    status = str(ApiStatus.SUCCESS if outcome.ok else ApiStatus.FAILED)
    return ResultEntry(Result(request_id=request_id, outcome=outcome, status=status), NOON)


def state(path: Path) -> dict[str, str]:
    """What is on disk now, as another process would see it: request ID, and its state."""
    return {item.request.request_id: item.state for item in JournalReader(path).requests()}


class Spied:
    """
    A journal of another make: it writes to a real one, and lets a test watch and interfere.

    Args:
        before: Called with each batch before it is written; what it raises fails the batch.
    """

    def __init__(
        self,
        path: Path,
        before: Callable[[Sequence[Entry]], object] | None = None,
        executor: Executor | None = None,
    ) -> None:
        self._journal = SqliteJournal(path)
        self._before = before
        self.executor: Executor | None = executor or InlineExecutor()
        self.batches: list[list[Entry]] = []

    @property
    def name(self) -> str:
        """The path."""
        return self._journal.name

    def open(self) -> int:
        """Open the real one."""
        return self._journal.open()

    def write(self, entries: Sequence[Entry]) -> Mapping[str, Result]:
        """Take note, and pass it on."""
        self.batches.append(list(entries))
        if self._before is not None:
            self._before(entries)
        return self._journal.write(entries)

    def last_number(self) -> int:
        """Ask the real one."""
        return self._journal.last_number()

    def unacknowledged(self, after: int, limit: int) -> Sequence[Journalled]:
        """Ask the real one."""
        return self._journal.unacknowledged(after, limit)

    def pending(self, after: int, limit: int) -> Sequence[Journalled]:
        """Ask the real one."""
        return self._journal.pending(after, limit)

    def close(self) -> None:
        """Close the real one."""
        self._journal.close()
