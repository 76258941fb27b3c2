"""
A journal that learns what was delivered when it was printed, not when it was known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from onehouse_tracker.journal import (
    Acknowledged,
    Entry,
    JournalRun,
    RunsAcknowledged,
    SqliteJournal,
)
from onehouse_tracker.journal._forwarding import ForwardingJournal
from onehouse_tracker.models import Result

__all__ = ["PatientJournal"]


@final
class PatientJournal(ForwardingJournal):
    """
    Keeps acknowledgments back until it is closed, and drops them unless all was `delivered`.

    For outputs that are printed as a whole at the end: until then nothing has arrived.

    Args:
        journal: Gets everything else at once.
    """

    def __init__(self, journal: SqliteJournal) -> None:
        super().__init__(journal)
        self._runs = journal
        self.delivered = False
        """Whether the results have arrived where they were wanted."""
        self._held: list[Acknowledged | RunsAcknowledged] = []

    def write(self, entries: Sequence[Entry]) -> Mapping[str, Result]:
        """Write *entries*, but for acknowledgments."""
        held = Acknowledged | RunsAcknowledged
        self._held += [entry for entry in entries if isinstance(entry, held)]
        rest = [entry for entry in entries if not isinstance(entry, held)]
        return super().write(rest) if rest else {}

    def open_runs(self, after: int, limit: int) -> Sequence[JournalRun]:
        """What the journal has."""
        return self._runs.open_runs(after, limit)

    def batch_of_runs(self, batch: str) -> Sequence[JournalRun]:
        """What the journal has."""
        return self._runs.batch_of_runs(batch)

    def close(self) -> None:
        """Write the acknowledgments if all was delivered, and close the journal."""
        held, self._held = self._held, []
        try:
            if held and self.delivered:
                super().write(held)
        finally:
            super().close()
