"""
Which of many requests deserves the next poll, at a cost that does not grow with their number.

Bookkeeping only: no clock, no I/O, no tasks.  Callers pass the time in.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onehouse_tracker._engine.schedule.durations import Durations, Factor, Label
    from onehouse_tracker._engine.schedule.law import Law
    from onehouse_tracker._engine.schedule.laws import Laws
    from onehouse_tracker._engine.tracked import Tracked

__all__ = ["STALE", "Cell", "Cells"]

STALE = 0.03
"""A score may be so old, as a share of the wait, or of a second where the wait is shorter."""

STALE_BEHIND = 0.25
"""The same for a score that is far behind the best: half of what it needs to catch up."""

_SLACK = 64
_OLDEST = 1e9
_URGENT = 1e12

_Key = tuple[int, int, int, int, int]


class Cell:
    """
    Requests that share one chance: born about together, of one label and name, at one place.

    Among them the one that waited longest since its last poll comes first, whatever was
    learned, so only the heads of the cells compete.  *Born* is the middle of their births:
    nobody's age is off by more than an eighth of the age at which it came in, or an eighth
    of a second.
    """

    __slots__ = ("born", "heap", "key", "label", "law", "live", "owner", "place", "version")

    def __init__(
        self,
        owner: Cells,
        key: _Key,
        label: Label,
        law: Law | None,
        place: Factor,
        born: float,
    ) -> None:
        self.owner = owner
        self.key = key
        self.label = label
        self.law = law
        self.place = place
        self.born = born
        self.heap: list[tuple[float, int, Tracked]] = []
        self.live = 0
        self.version = 0


class Cells:
    """
    A set of requests that can be polled now, ordered by what a poll of each is worth.

    A poll is worth (chance that the request has ended) x (seconds since its last poll).
    The choice is that of a full scan over all requests in which every age may be off as
    `Cell` says, and every score as old as `STALE` says.  A request that has waited for `longest`
    goes before all others.
    """

    __slots__ = (
        "_best",
        "_cells",
        "_durations",
        "_laws",
        "_live",
        "_stale",
        "_stale_share",
        "_top",
        "_version",
        "longest",
    )

    def __init__(
        self, durations: Durations, laws: Laws | None = None, *, stale: float = STALE
    ) -> None:
        self._durations = durations
        self._laws = laws
        self._cells: dict[_Key, Cell] = {}
        self._live = 0
        self._version = 0
        self._stale_share = stale
        self._top = 0.0
        self.longest = math.inf
        """Seconds after which a request goes first, whatever was learned."""
        # Each cell has one valid entry in each: those that bear its version.
        self._best: list[tuple[float, int, Cell]] = []
        self._stale: list[tuple[float, int, Cell]] = []

    def __len__(self) -> int:
        return self._live

    def add(self, tracked: Tracked, now: float) -> None:
        """Take a request in.  Its schedule ticket is the tie-breaker, and proves it alive."""
        law = tracked.law
        label = self._durations.label(tracked.label, known=law is not None and law.is_known)
        # A quarter of the age, rounded down to a power of two; a quarter of a second at least.
        # Earlier runs may say to a few percent when it ends: then a hundredth of the age.
        age = min(max(now - tracked.born, 1.0), _OLDEST)
        power = math.frexp(age)[1] - (3 if law is None else 8)
        width = math.ldexp(1.0, power)
        cohort = math.floor(tracked.born / width)
        key = (tracked.place, id(label), id(law), power, cohort)
        cell = self._cells.get(key)
        if cell is None:
            place = self._durations.place(tracked.place)
            cell = Cell(self, key, label, law, place, (cohort + 0.5) * width)
            self._cells[key] = cell
        self._put(cell, tracked)

    def discard(self, tracked: Tracked) -> None:
        """Let a request go that is in here."""
        cell = tracked.cell
        assert cell is not None  # noqa: S101 - only its own cells are asked
        tracked.cell = None
        self._live -= 1
        cell.live -= 1
        if not cell.live:
            cell.version = 0
            del self._cells[cell.key]
        elif len(cell.heap) > 2 * cell.live + _SLACK:
            # By request: one that left and came back under one ticket has two entries.
            alive = {entry[2]: entry for entry in cell.heap if _is_alive(entry, cell)}
            cell.heap = [*alive.values()]
            heapify(cell.heap)

    def move(self, tracked: Tracked) -> None:
        """The place of a request that is in here has changed."""
        old = tracked.cell
        assert old is not None  # noqa: S101 - only its own cells are asked
        key = (tracked.place, *old.key[1:])
        self.discard(tracked)
        cell = self._cells.get(key)
        if cell is None:
            place = self._durations.place(tracked.place)
            cell = self._cells[key] = Cell(self, key, old.label, old.law, place, old.born)
        self._put(cell, tracked)

    def best(self, now: float) -> Tracked | None:
        """The request most worth a poll; it stays in here.  `None` if there is none."""
        while self._stale and self._stale[0][0] <= now:
            _, version, cell = heappop(self._stale)
            if cell.version == version:
                self._score(cell, now)
        while self._best:
            _, version, cell = self._best[0]
            if cell.version != version:
                heappop(self._best)
            elif not _is_alive(cell.heap[0], cell):
                self._score(cell, now)
            else:
                self._top = -self._best[0][0]
                return cell.heap[0][2]
        return None

    def chance(self, tracked: Tracked, now: float) -> float:
        """The chance that a request that is in here has ended since its last poll."""
        cell = tracked.cell
        assert cell is not None  # noqa: S101 - only its own cells are asked
        return self._chance(cell, tracked.asked, now)

    def _chance(self, cell: Cell, asked: float, now: float) -> float:
        born = cell.born
        return self._durations.chance_with(
            self._laws, cell.law, cell.label, cell.place, asked - born, now - born
        )

    def _put(self, cell: Cell, tracked: Tracked) -> None:
        tracked.cell = cell
        cell.live += 1
        self._live += 1
        entry = (tracked.asked, tracked.ticket, tracked)
        heappush(cell.heap, entry)
        if cell.heap[0] is entry:
            # A new head: score it when the next choice is made, and not before it must be.
            self._version += 1
            cell.version = self._version
            heappush(self._stale, (-math.inf, cell.version, cell))

    def _score(self, cell: Cell, now: float) -> None:
        heap = cell.heap
        while not _is_alive(heap[0], cell):
            heappop(heap)
        asked = heap[0][0]
        wait = max(0.0, now - asked)
        chance = self._chance(cell, asked, now)
        # A request that has waited too long goes first, the longest wait before all others.
        score = chance * wait if wait <= self.longest else _URGENT + wait
        self._version = cell.version = version = self._version + 1
        heappush(self._best, (-score, version, cell))
        heappush(self._stale, (self._good_until(now, wait, score), version, cell))
        if len(self._best) > 2 * len(self._cells) + _SLACK:
            self._best = _valid(self._best)
        if len(self._stale) > 2 * len(self._cells) + _SLACK:
            self._stale = _valid(self._stale)

    def _good_until(self, now: float, wait: float, score: float) -> float:
        stale = self._stale_share
        if not stale:
            return math.nextafter(now, math.inf)  # not now, or the caller's loop would not end
        age = stale if wait < 1.0 else stale * wait
        if 0.0 < score < self._top:
            # At a constant rate a score grows with the square of the wait.
            behind = 0.5 * (math.sqrt(self._top / score) - 1.0)
            age = max(age, wait * min(STALE_BEHIND, behind))
        if wait < self.longest < wait + age:
            age = self.longest - wait
        return max(now + age, math.nextafter(now, math.inf))


def _is_alive(entry: tuple[float, int, Tracked], cell: Cell) -> bool:
    tracked = entry[2]
    return tracked.cell is cell and tracked.ticket == entry[1]


def _valid(heap: list[tuple[float, int, Cell]]) -> list[tuple[float, int, Cell]]:
    kept = [entry for entry in heap if entry[2].version == entry[1]]
    heapify(kept)
    return kept
