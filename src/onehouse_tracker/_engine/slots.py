"""
Who waits for a slot besides the polls: submissions, and calls of the user's own.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from heapq import heappop, heappush

from onehouse_tracker._engine.tally import Tally

__all__ = ["SlotQueue"]


class SlotQueue:
    """
    Two queues, served in order of arrival; submissions can be held back on their own.

    It hands out nothing by itself: the dispatcher calls `grant` when it has a slot.
    """

    __slots__ = ("_calls", "_later", "_sequence", "_submissions", "backlog", "granted")

    def __init__(self) -> None:
        self._calls: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._submissions: deque[tuple[int, asyncio.Future[None]]] = deque()
        # Submissions that were refused and wait before they join the others.
        self._later: list[tuple[float, int, asyncio.Future[None]]] = []
        self.backlog = Tally()
        """Statements that wait before they join, which saves tasks, or while a journal is busy."""
        self._sequence = 0
        self.granted = 1
        """Slots that were given away since the last poll.  The first one of all goes to a poll."""

    def join(self, *, submission: bool, at: float = -math.inf) -> asyncio.Future[None]:
        """
        Return a future that is done when its slot is granted.  Cancel it to leave.

        A submission gets none before the loop time *at*.
        """
        future = asyncio.get_running_loop().create_future()
        self._sequence += 1
        if submission and at > -math.inf:
            heappush(self._later, (at, self._sequence, future))
        else:
            (self._submissions if submission else self._calls).append((self._sequence, future))
        return future

    @property
    def waiting(self) -> int:
        """How many wait now; those who gave up count until their turn comes."""
        return len(self._calls) + len(self._submissions) + self.backlog.total

    @property
    def has_call(self) -> bool:
        """Whether a call of the user's own waits."""
        return _prune(self._calls)

    @property
    def has_submission(self) -> bool:
        """Whether a submission waits, or will."""
        return self.submission_at(-math.inf) < math.inf

    def submission_at(self, now: float) -> float:
        """When a submission wants a slot: in the past if one waits, infinity if there is none."""
        later = self._later
        while later and (later[0][0] <= now or later[0][2].done()):
            _, sequence, future = heappop(later)
            self._submissions.append((sequence, future))
        if _prune(self._submissions):
            return -math.inf
        return later[0][0] if later else math.inf

    def grant(self, *, submissions: bool) -> bool | None:
        """
        Give one slot away: True to a submission, False to another call, `None` to nobody.

        *submissions* says whether submissions may go now.
        """
        first_call = self._calls[0][0] if self.has_call else None
        if submissions and _prune(self._submissions):
            sequence, future = self._submissions[0]
            if first_call is None or sequence < first_call:
                self._submissions.popleft()
                self.granted += 1
                future.set_result(None)
                return True
        if first_call is None:
            return None
        self.granted += 1
        self._calls.popleft()[1].set_result(None)
        return False

    def fail_submissions(self, error: BaseException) -> None:
        """Turn the waiting submissions away: nothing was sent of them."""
        while self._later:
            self._submissions.append(heappop(self._later)[1:])
        _fail(self._submissions, error)

    def fail_all(self, error: BaseException) -> None:
        """Turn everyone away."""
        self.fail_submissions(error)
        _fail(self._calls, error)


def _prune(queue: deque[tuple[int, asyncio.Future[None]]]) -> bool:
    """Whether anyone waits; those who gave up are taken out on the way."""
    while queue and queue[0][1].done():
        queue.popleft()
    return bool(queue)


def _fail(queue: deque[tuple[int, asyncio.Future[None]]], error: BaseException) -> None:
    # One shared object is enough here: `Engine.slot` raises a copy of it.
    while queue:
        future = queue.popleft()[1]
        if not future.done():
            future.set_exception(error)
