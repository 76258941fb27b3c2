"""
When each request is due for its next poll, and which of those that may be asked goes first.

Bookkeeping only: no clock, no I/O, no tasks.  Callers pass the time in, so every rule
here can be tested with plain numbers.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from onehouse_tracker._engine.schedule.cells import STALE
from onehouse_tracker._engine.schedule.ranking import Ranking

if TYPE_CHECKING:
    from onehouse_tracker._engine.schedule.laws import Laws
    from onehouse_tracker._engine.tracked import Tracked
    from onehouse_tracker.policy import PollPolicy

__all__ = ["EARLIEST", "LATEST", "ROUNDS", "TICK", "Schedule"]

TICK = 0.001
"""Seconds by which a poll may be early: what floating-point remainders leave would spin."""

EARLIEST = 0.2
"""Seconds after the last look before which no idle budget is spent on the same request; or
`PollPolicy.earliest_share` of its gap, if that is longer."""

WORTH = 0.0125
"""Seconds of delay that an early poll must be expected to save, times `PollPolicy.earliest_share`,
if the gaps alone asked for the whole budget; less where they ask for less."""

LATEST = 2.5
"""An early poll waits for its worth at most so many times as long as that share asks."""

ROUNDS = 1.9
"""Nobody waits longer than so many rounds of questions to all, or so many of the longest gap."""

_DEBT = 1.0
_RANKED_AT_ONCE = 1000
_BECOMING_DUE = 10
_SLACK = 1000

_Heap = list[tuple[float, int, "Tracked"]]


class Schedule:
    """
    Pending requests, each with a time from which it is due.

    A request is in the schedule at most once: it leaves when it is taken for a poll and
    comes back with `pending` or `again`.  Among those that are due, ``order="due"`` takes
    the one that is due longest, ``order="learned"`` the one most worth a poll: see `Cells`.

    While the budget lies idle, a request may be looked at before it is due.  Looks of
    both kinds together then keep to min(limit, demand + idle_share x limit), where the
    demand is the sum of 1 / gap over what waits here for no failure.

    Nothing starves: a request that has waited for `ROUNDS` goes first.

    Args:
        policy: Gaps, the order, and the share of an idle budget that may be spent.

        limit: Requests per second of the whole budget; 0 knows no idle budget.

        laws: What earlier runs taught; `None` if nothing is kept.

        stale: How old a score may be, see `STALE`.
    """

    __slots__ = (
        "_backing_off",
        "_demand",
        "_early",
        "_early_from",
        "_heap",
        "_idle_rate",
        "_laws",
        "_limit",
        "_live",
        "_policy",
        "_ranking",
        "_ticket",
    )

    def __init__(
        self,
        policy: PollPolicy,
        limit: float = 0.0,
        *,
        laws: Laws | None = None,
        stale: float = STALE,
    ) -> None:
        self._policy = policy
        self._laws = laws
        self._limit = limit
        self._idle_rate = limit * policy.idle_share
        self._ranking = Ranking(laws, stale=stale) if policy.order == "learned" else None
        self._heap: _Heap = []
        # By the time from which a request may be looked at early; only with the learned
        # order, and only while there is idle budget.
        self._early: _Heap = []
        self._early_from = -math.inf
        self._demand = 0.0
        self._ticket = 0
        self._live = 0
        self._backing_off: dict[Tracked, float] = {}

    def __len__(self) -> int:
        return self._live

    @property
    def demand(self) -> float:
        """Looks per second that the gaps alone ask for."""
        return self._demand

    # --- What becomes of a request -----------------------------------------------------

    def add(self, tracked: Tracked, due: float) -> None:
        """Take in a request that was not polled yet."""
        # Of what began nobody knows when, the age is not known that its law speaks about.
        if self._laws is not None and tracked.start_known:
            tracked.law = self._laws.follow(*tracked.names)
        if self._ranking is not None and not tracked.place:
            self._ranking.join(tracked)
        self._push(tracked, due)

    def pending(self, tracked: Tracked, sent_at: float, now: float) -> float | None:
        """
        A poll sent at *sent_at* said PENDING: the gap runs from its sending.

        Returns:
            How long the request usually takes, if it is overdue and was not before.
        """
        if self._ranking is not None:
            self._ranking.learn(tracked, sent_at, ended=False)
        tracked.looked = tracked.asked = sent_at
        gap = self._policy.gap(sent_at - tracked.born)
        self._push(tracked, max(now, sent_at + gap))
        return None if self._laws is None else self._laws.mark_overdue(tracked)

    def again(self, tracked: Tracked, due: float) -> None:
        """A poll taught nothing: ask again at *due*, or when it is forgiven."""
        self._push(tracked, due, failed=True)

    def finished(self, tracked: Tracked, sent_at: float, *, teaches: bool = True) -> None:
        """
        A poll sent at *sent_at* told how it ended.

        It *teaches* those who come after it if it succeeded.  What the first poll finds ended,
        or what began nobody knows when, teaches nothing.
        """
        first_found_it = tracked.pending_sent_at is None
        if self._laws is not None and teaches and tracked.start_known and not first_found_it:
            born = tracked.born
            self._laws.teach(tracked.names, tracked.looked - born, sent_at - born)
        if self._ranking is not None:
            self._ranking.learn(tracked, sent_at, ended=True)
            self._ranking.leave(tracked)

    def remove(self, tracked: Tracked) -> None:
        """Forget a request, in here or out for a poll; nothing happens if it is unknown."""
        self.take(tracked)
        if self._ranking is not None:
            self._ranking.leave(tracked)

    def clear(self) -> None:
        """Forget all requests, in here or out for a poll; what was learned stays."""
        self._heap, self._early, self._backing_off = [], [], {}
        self._demand, self._live = 0.0, 0
        if self._ranking is not None:
            self._ranking.clear()

    def idle(self) -> None:
        """Nothing is tracked any more: what was taught counts for what comes."""
        if self._laws is not None:
            self._laws.settle()

    def forgive(self, tracked: Tracked, now: float) -> None:
        """Make a request due that waits only because polls failed."""
        due = self._backing_off.get(tracked)
        if due is None:
            return
        if due > now:
            self._push(tracked, now)
        else:  # what is overdue keeps its place
            del self._backing_off[tracked]
            self._demand += self._share_of(tracked)

    # --- Whose turn it is --------------------------------------------------------------

    def next_due(self) -> float | None:
        """When the next look is due; long ago if one is overdue, `None` if nothing waits."""
        if self._ranking is not None and len(self._ranking.due):
            return -math.inf
        _prune(self._heap)
        if not self._heap:
            return None
        return min(self._heap[0][0], self._next_early())

    def chance_of_due(self, now: float) -> float | None:
        """
        The chance that the request whose look is due, and goes first, has ended by now.

        1 where nothing is learned; `None` if no look is due, but for early ones.
        """
        tracked = self._choose_due(now)
        if tracked is None:
            return None
        return 1.0 if self._ranking is None else self._ranking.due.chance(tracked, now)

    def value_of_due(self, now: float) -> float:
        """
        What a poll of the request is worth that is due and goes first; 0 if none is due.

        That is (chance that it has ended) x (seconds since its last poll).
        """
        tracked = self._choose_due(now)
        if tracked is None:
            return 0.0
        chance = 1.0 if self._ranking is None else self._ranking.due.chance(tracked, now)
        return chance * (now - tracked.asked)

    def pop(self, now: float) -> Tracked | None:
        """Remove and return the request to poll now, if there is one."""
        tracked = self._choose_due(now)
        if tracked is None and self._next_early() <= now + TICK:
            tracked = self._choose_early(now)
        if tracked is not None:
            self._leave_for_a_look(tracked, now)
        return tracked

    def take(self, tracked: Tracked) -> None:
        """Remove a request that is polled out of turn; nothing happens if it is not here."""
        if not tracked.ticket:
            return
        tracked.ticket = 0
        self._live -= 1
        if tracked.cell is not None:
            tracked.cell.owner.discard(tracked)
        if self._backing_off.pop(tracked, None) is None and self._idle_rate:
            # What remains of rounding is nothing beside one request's share.
            self._demand = max(0.0, self._demand - self._share_of(tracked)) if self._live else 0.0
        # Cancelled waits leave dead entries behind; do not let them outgrow the living.
        if len(self._heap) > 2 * self._live + _SLACK:
            self._heap = _alive(self._heap)
        if len(self._early) > 2 * self._live + _SLACK:
            self._early = _alive(self._early)

    # --- Private -----------------------------------------------------------------------

    def _push(self, tracked: Tracked, due: float, *, failed: bool = False) -> None:
        self.take(tracked)
        self._ticket += 1
        self._live += 1
        tracked.ticket = self._ticket
        heappush(self._heap, (due, self._ticket, tracked))
        if failed:
            self._backing_off[tracked] = due
        elif self._idle_rate:
            self._demand += self._share_of(tracked)
            if self._ranking is not None and self._demand < self._limit:
                heappush(self._early, (self._early_at(tracked), self._ticket, tracked))

    def _choose_due(self, now: float) -> Tracked | None:
        heap = self._heap
        _prune(heap)
        if self._ranking is None:
            return heap[0][2] if heap and heap[0][0] <= now + TICK else None
        cells = self._ranking.due
        if self._limit:
            cells.longest = ROUNDS * max(self._live / self._limit, self._policy.gap_max)
        # A whole batch may become due at once.  Some hundreds are ranked at once, which takes
        # a few milliseconds; of more a few join with each poll: each pays for its share, and
        # nobody waits for seconds until a million are sorted.
        for _ in range(len(heap) if len(heap) <= _RANKED_AT_ONCE else _BECOMING_DUE):
            if not heap or heap[0][0] > now + TICK:
                break
            tracked = heappop(heap)[2]
            if tracked.cell is not None:
                tracked.cell.owner.discard(tracked)
            cells.add(tracked, now)
            _prune(heap)
        return cells.best(now)

    def _next_early(self) -> float:
        """When the idle budget allows for the next early look; infinity for never."""
        if not self._idle_rate or self._demand >= self._limit:
            return math.inf
        if self._ranking is None:
            # The one that is due first; what backs off from a failure is not polled early.
            if not self._heap or self._heap[0][2] in self._backing_off:
                return math.inf
            return max(self._early_from, self._early_at(self._heap[0][2]))
        if len(self._ranking.early):
            return self._early_from
        _prune(self._early)
        return max(self._early_from, self._early[0][0]) if self._early else math.inf

    def _choose_early(self, now: float) -> Tracked | None:
        if self._ranking is None:
            return self._heap[0][2]
        early, cells = self._early, self._ranking.early
        _prune(early)
        while early and early[0][0] <= now + TICK:
            tracked = heappop(early)[2]
            if tracked.cell is None:
                cells.add(tracked, now)
            _prune(early)
        return cells.best(now)

    def _leave_for_a_look(self, tracked: Tracked, now: float) -> None:
        if self._idle_rate:
            rate = min(self._limit, self._demand + self._idle_rate)
            # Due looks are never held back; a burst of them is paid for, up to a second.
            paid = min(max(self._early_from, now), now + _DEBT)
            self._early_from = paid + 1.0 / rate
        self.take(tracked)

    def _share_of(self, tracked: Tracked) -> float:
        return 1.0 / self._policy.gap(tracked.asked - tracked.born)

    def _early_at(self, tracked: Tracked) -> float:
        """
        When a request may be polled early: once a share of its gap is over, and the poll is
        worth a slot by what was learned tonight.  Few requests that run for minutes would else
        get most of an idle budget, in polls that hardly ever find anything.
        """
        asked, share = tracked.asked, self._policy.earliest_share
        gap = self._policy.gap(asked - tracked.born)
        wait = max(EARLIEST, share * gap)
        if share and self._ranking is not None:
            worth = wait * self._ranking.chance_later(tracked, asked + wait)
            least = WORTH * share * math.sqrt(self._demand / self._limit)
            # Where endings come at a constant rate, the worth grows with the wait squared.
            if worth * LATEST**2 <= least:
                wait *= LATEST
            elif worth < least:
                wait *= math.sqrt(least / worth)
        return asked + min(wait, max(EARLIEST, gap))


def _prune(heap: _Heap) -> None:
    # Superseded entries stay in the heap until they surface: removing them early would
    # cost a scan.
    while heap and heap[0][1] != heap[0][2].ticket:
        heappop(heap)


def _alive(heap: _Heap) -> _Heap:
    kept = [entry for entry in heap if entry[1] == entry[2].ticket]
    heapify(kept)
    return kept
