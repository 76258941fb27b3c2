"""
When each request is due for its next poll, and which of the due ones goes first.

Bookkeeping only: no clock, no I/O, no tasks.  Callers pass the time in, so every rule
here can be tested with plain numbers.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onehouse_tracker._tracked import Tracked
    from onehouse_tracker.policy import PollPolicy

__all__ = ["Schedule"]

TICK = 0.001
"""Seconds by which a poll may be early: what floating-point remainders leave would spin."""


class Schedule:
    """
    Pending requests ordered by due time, ties in insertion order.

    A request is in the schedule at most once: it leaves when it is taken for a poll and
    comes back with `pending` or `again`.  With ``order="due"`` the request that is due
    longest goes first; the learned order will choose here, among all that are due.
    """

    __slots__ = ("_backing_off", "_heap", "_live", "_policy", "_ticket")

    def __init__(self, policy: PollPolicy) -> None:
        self._policy = policy
        self._heap: list[tuple[float, int, Tracked]] = []
        self._ticket = 0
        self._live = 0
        self._backing_off: dict[Tracked, float] = {}

    def __len__(self) -> int:
        return self._live

    def add(self, tracked: Tracked, due: float) -> None:
        """Take in a request that was not asked about yet."""
        self._push(tracked, due)

    def pending(self, tracked: Tracked, sent_at: float, now: float) -> None:
        """A poll sent at *sent_at* said PENDING: the gap runs from its sending."""
        gap = self._policy.gap(sent_at - tracked.born)
        self._push(tracked, max(now, sent_at + gap))

    def again(self, tracked: Tracked, due: float) -> None:
        """A poll taught nothing: ask again at *due*, or when all backoff is cleared."""
        self._push(tracked, due)
        self._backing_off[tracked] = due

    def finished(self, tracked: Tracked, sent_at: float) -> None:
        """A poll sent at *sent_at* was the last: here the learned order will learn."""

    def remove(self, tracked: Tracked) -> None:
        """Forget a request; nothing happens if it is not here."""
        if tracked.ticket:
            self._take(tracked)

    def next_due(self) -> float | None:
        """When the next request is due; `None` if none waits."""
        heap = self._heap
        # Superseded entries stay in the heap until they surface: removing them early
        # would cost a scan.
        while heap and heap[0][1] != heap[0][2].ticket:
            heappop(heap)
        return heap[0][0] if heap else None

    def pop(self, now: float) -> Tracked | None:
        """Remove and return the request to ask about now, if any is due."""
        due = self.next_due()
        if due is None or due > now + TICK:
            return None
        return self.pop_earliest()

    def pop_earliest(self) -> Tracked | None:
        """Remove and return the request that is due first, even if it is not due yet."""
        if self.next_due() is None:
            return None
        tracked = heappop(self._heap)[2]
        self._take(tracked)
        return tracked

    def clear_backoff(self, now: float) -> None:
        """Make everything due that waits only because polls failed."""
        backing_off, self._backing_off = self._backing_off, {}
        for tracked, due in backing_off.items():
            if due > now:  # what is overdue keeps its place
                self._push(tracked, now)

    def _push(self, tracked: Tracked, due: float) -> None:
        if tracked.ticket:
            self._take(tracked)
        self._ticket += 1
        self._live += 1
        tracked.ticket = self._ticket
        heappush(self._heap, (due, self._ticket, tracked))

    def _take(self, tracked: Tracked) -> None:
        tracked.ticket = 0
        self._live -= 1
        self._backing_off.pop(tracked, None)
        # Cancelled waits leave dead entries behind; do not let them outgrow the living.
        if len(self._heap) > 2 * self._live + 1000:
            self._heap = [entry for entry in self._heap if entry[1] == entry[2].ticket]
            self._heap.sort()
