"""
What was learned, put to use: which of the requests that may be polled goes first.

Bookkeeping only: no clock, no I/O, no tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onehouse_tracker._engine.schedule.cells import STALE, Cells
from onehouse_tracker._engine.schedule.durations import Durations
from onehouse_tracker._engine.schedule.places import Places

if TYPE_CHECKING:
    from onehouse_tracker._engine.schedule.durations import Factor, Label
    from onehouse_tracker._engine.schedule.laws import Laws
    from onehouse_tracker._engine.tracked import Tracked

__all__ = ["Ranking"]


class Ranking:
    """
    The learned order.  What it has learned lives as long as it does.

    Args:
        laws: What earlier runs taught; `None` if nothing is kept.

        stale: How old a score may be, see `STALE`.

    Attributes:
        due: Requests whose gap is over.

        early: Requests that could be polled before their gap is over.
    """

    __slots__ = ("_durations", "_laws", "_places", "_stale", "due", "early")

    def __init__(self, laws: Laws | None = None, *, stale: float = STALE) -> None:
        self._durations = Durations()
        self._laws = laws
        self._stale = stale
        self.clear()

    def join(self, tracked: Tracked) -> None:
        """Give a request its place, behind all others."""
        self._follow(self._places.join(tracked))

    def leave(self, tracked: Tracked) -> None:
        """Give its place up; nothing happens if it has none."""
        if tracked.place:
            self._follow(self._places.leave(tracked))

    def clear(self) -> None:
        """Forget all places, and all who compete."""
        self._places = Places()
        self.due = Cells(self._durations, self._laws, stale=self._stale)
        self.early = Cells(self._durations, self._laws, stale=self._stale)

    def chance_later(self, tracked: Tracked, later: float) -> float:
        """The chance, by what was learned tonight, that it will have ended at *later*."""
        label, place = self._learned_of(tracked)
        born = tracked.born
        return self._durations.chance(label, place, tracked.asked - born, later - born)

    def learn(self, tracked: Tracked, sent_at: float, *, ended: bool) -> None:
        """A poll sent at *sent_at* told whether the request had ended since the last look."""
        durations, born, law = self._durations, tracked.born, tracked.law
        label, place = self._learned_of(tracked)
        since, until = tracked.looked - born, sent_at - born
        if law is not None and self._laws is not None:
            other = durations.chance(label, place, since, until)
            self._laws.learn(law, other, since, until, ended=ended)
        durations.learn(label, place, since, until, ended=ended)

    def _learned_of(self, tracked: Tracked) -> tuple[Label, Factor]:
        """What is known of its label, and of its place."""
        law = tracked.law
        label = self._durations.label(tracked.label, known=law is not None and law.is_known)
        return label, self._durations.place(tracked.place)

    @staticmethod
    def _follow(moved: list[Tracked]) -> None:
        for tracked in moved:
            if tracked.cell is not None:
                tracked.cell.owner.move(tracked)
