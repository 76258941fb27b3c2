"""
A journal that learns what was delivered when it was printed, not when it was known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from onehouse_tracker.journal import Acknowledged, Entry, Journal
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

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal)
        self.delivered = False
        """Whether the results have arrived where they were wanted."""
        self._held: list[Acknowledged] = []

    def write(self, entries: Sequence[Entry]) -> Mapping[str, Result]:
        """Write *entries*, but for acknowledgments."""
        self._held += [entry for entry in entries if isinstance(entry, Acknowledged)]
        rest = [entry for entry in entries if not isinstance(entry, Acknowledged)]
        return super().write(rest) if rest else {}

    def close(self) -> None:
        """Write the acknowledgments if all was delivered, and close the journal."""
        held, self._held = self._held, []
        try:
            if held and self.delivered:
                super().write(held)
        finally:
            super().close()
