"""
A journal that passes everything on to another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from onehouse_tracker.journal._protocol import Entry, Journal, Journalled

if TYPE_CHECKING:
    from onehouse_tracker.models import Result

__all__ = ["ForwardingJournal"]


class ForwardingJournal(Journal):
    """
    For classes that change one thing: they override it, and the rest is passed on to *journal*.

    Args:
        journal: Where everything goes.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    @property
    def name(self) -> str:
        """That of the journal."""
        return self._journal.name

    @property
    def executor(self) -> Executor | None:
        """That of the journal."""
        return self._journal.executor

    def open(self) -> int:
        """Open the journal."""
        return self._journal.open()

    def write(self, entries: Sequence[Entry]) -> Mapping[str, Result]:
        """Write *entries*."""
        return self._journal.write(entries)

    def last_number(self) -> int:
        """That of the journal."""
        return self._journal.last_number()

    def unacknowledged(self, after: int, limit: int) -> Sequence[Journalled]:
        """What the journal has."""
        return self._journal.unacknowledged(after, limit)

    def pending(self, after: int, limit: int) -> Sequence[Journalled]:
        """What the journal has."""
        return self._journal.pending(after, limit)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()
