"""
Brings back what earlier runs left in the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from onehouse_tracker._engine.open_tracker.teardown import JOURNAL_GRACE, expire
from onehouse_tracker._engine.tracked import Joining
from onehouse_tracker.errors import JournalError, JournalWriteError

if TYPE_CHECKING:
    from onehouse_tracker._engine.engine import Engine
    from onehouse_tracker._engine.journal_queue import JournalQueue
    from onehouse_tracker._engine.waits import Wait
    from onehouse_tracker.journal import Journalled
    from onehouse_tracker.policy import PollPolicy

__all__ = ["Resumption"]


class Resumption:
    """
    Feeds one wait from the journal: first the results that nobody acknowledged, then what
    was pending.

    It is driven by the journal_queue, a chunk at a time, and needs no task.

    Args:
        random: Returns numbers from 0 to 1.  What is pending gets its first look at a random
            moment of its own gap, as if polling had never stopped.
    """

    def __init__(
        self,
        engine: Engine,
        journal_queue: JournalQueue,
        wait: Wait,
        *,
        policy: PollPolicy,
        random: Callable[[], float],
        wall_clock: Callable[[], datetime],
        named: Callable[[Joining], Joining],
    ) -> None:
        self._engine = engine
        self._journal_queue = journal_queue
        self._wait = wait
        self._policy = policy
        self._random = random
        self._wall_clock = wall_clock
        self._named = named
        self._last = 0
        self._pending_is_read = False
        self._stall_timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """
        Begin to read; the wait is fed until all is read, or it is over.

        What is added from now on is none of its business.
        """
        self._journal_queue.read_last_number(self._take_last)

    def expire(self) -> None:
        """
        The deadline has come: what is read from now on is delivered at once, known or not.

        Reading continues to its end, as long as the journal answers.
        """
        if not self._wait.over:
            self._engine.expire(self._wait)
            self._watch()

    def _watch(self) -> None:
        """After the deadline, wait for each answer of the journal a short time only."""
        if self._stall_timer is not None:
            self._stall_timer.cancel()
        loop = asyncio.get_running_loop()
        self._stall_timer = loop.call_later(JOURNAL_GRACE, self._stalled)

    def _stalled(self) -> None:
        path = self._journal_queue.path
        self._wait.fail(
            JournalWriteError(
                f"journal {path}: it did not answer for {JOURNAL_GRACE:g} s after the timeout;"
                " what was not delivered comes with the next resume()",
                path=path,
            )
        )

    def _end(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
        if self._wait.expired:
            expire(self._engine, self._wait)
        else:
            self._wait.fed()

    def _take_last(self, found: int | JournalError) -> None:
        if isinstance(found, JournalError):
            self._wait.fail(found)
        elif not self._wait.over:
            if self._wait.expired:
                self._watch()
            self._last = found
            self._journal_queue.read_unacknowledged(0, self._take_results)

    def _take_results(self, found: Sequence[Journalled] | JournalError) -> None:
        items = self._usable(found)
        if items is None:
            return
        wait = self._wait
        for item in items:
            if item.result is None or not item.result.outcome.final:
                self._join(item)  # the journal of another make
            elif item.request_id not in wait:
                wait.enter(item.request_id, item.label)
                wait.settle(item.result)
        if self._more(items):
            self._journal_queue.read_unacknowledged(items[-1].number, self._take_results)
        elif self._pending_is_read:
            self._end()
        else:
            self._journal_queue.read_pending(0, self._take_pending)

    def _take_pending(self, found: Sequence[Journalled] | JournalError) -> None:
        items = self._usable(found)
        if items is None:
            return
        for item in items:
            self._join(item)
        if self._wait.expired:
            self._engine.expire(self._wait)
        if self._more(items):
            self._journal_queue.read_pending(items[-1].number, self._take_pending)
        else:
            # Once more: what others wait for may have ended between the two readings.
            self._pending_is_read = True
            self._journal_queue.read_unacknowledged(0, self._take_results)

    def _join(self, item: Journalled) -> None:
        if item.request_id in self._wait:
            return
        # A wall clock that was set back must not make anything younger than new.
        submitted_at = item.submitted_at or item.added_at
        age = max(0.0, (self._wall_clock() - submitted_at).total_seconds())
        first_look = self._random() * self._policy.gap(age)
        joining = Joining(item.request_id, item.label, age, first_look, on_disk=True)
        joining = joining._replace(start_known=item.submitted_at is not None)
        self._engine.join(self._wait, self._named(joining))

    def _usable(self, found: Sequence[Journalled] | JournalError) -> Sequence[Journalled] | None:
        if self._wait.over:
            return None
        if isinstance(found, JournalError):
            self._wait.fail(found)
            return None
        if self._wait.expired:
            self._watch()
        return [item for item in found if item.number <= self._last]

    def _more(self, items: Sequence[Journalled]) -> bool:
        """Whether there may be more behind *items*, the usable part of what was read."""
        return len(items) == self._journal_queue.CHUNK and items[-1].number < self._last
