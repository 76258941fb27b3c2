"""
A journal that learns what was delivered when it was printed, not when it was known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import final

from onehouse_tracker.journal import Acknowledged, Entry, Journal, Journalled
from onehouse_tracker.models import Result

__all__ = ["PatientJournal"]


@final
class PatientJournal(Journal):
    """
    Keeps acknowledgements back until it is closed, and drops them unless all was `delivered`.

    For outputs that are printed as a whole at the end: until then nothing has arrived.

    Args:
        journal: Gets everything else at once.
    """

    def __init__(self, journal: Journal) -> None:
        self.delivered = False
        """Whether the results have arrived where they were wanted."""
        self._journal = journal
        self._held: list[Acknowledged] = []

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
        """Write *entries*, but for acknowledgements."""
        self._held += [entry for entry in entries if isinstance(entry, Acknowledged)]
        rest = [entry for entry in entries if not isinstance(entry, Acknowledged)]
        return self._journal.write(rest) if rest else {}

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
        """Write the acknowledgements if all was delivered, and close the journal."""
        held, self._held = self._held, []
        try:
            if held and self.delivered:
                self._journal.write(held)
        finally:
            self._journal.close()
