"""
Who waits for which request, and what each of them is told.

Bookkeeping on one event loop: no task, no I/O, nothing to await.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING

from onehouse_tracker import events
from onehouse_tracker._engine.tracked import Tracked
from onehouse_tracker.errors import JournalError, TrackerClosedError
from onehouse_tracker.models import Outcome, Result, own_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from onehouse_tracker._engine.health import Health
    from onehouse_tracker._engine.journal_queue import JournalQueue
    from onehouse_tracker._engine.schedules import Schedules
    from onehouse_tracker._engine.tracked import Joining
    from onehouse_tracker._engine.waits import Wait
    from onehouse_tracker.models import StatusReply

__all__ = ["Roster"]

_SEARCHED = 256
"""Requests that are looked at, at least, before a search for a preferred one ends."""


class Roster:
    """
    All requests that are followed.

    Each is in exactly one place:

    * in the *schedule*, waiting for its turn;
    * *in flight*: `Tracked.task` is its poll;
    * with the *journal_queue*, if there is one: until it is on disk that the request is followed,
      and again until its outcome is.

    A request leaves when it has its outcome, when nobody waits for it any more, or when
    the project fails; a poll in flight is cancelled then, and what it brings is ignored.
    """

    def __init__(
        self,
        schedule: Schedules,
        health: Health,
        *,
        emit: events.Emitter,
        wall_clock: Callable[[], datetime],
        journal_queue: JournalQueue | None = None,
    ) -> None:
        self._schedule = schedule
        self._health = health
        self._emit = emit
        self._wall_clock = wall_clock
        self._journal_queue = journal_queue
        self._tracked: dict[str, Tracked] = {}
        self._waits: dict[Wait, None] = {}
        self._unreported = 0
        self.on_failure: Callable[[BaseException], None] | None = None
        """Called when every waiter of a moment has failed."""
        self.ended = 0
        """Reported requests that had their outcome so far."""
        self.overdue = 0
        """Requests that are tracked and have been running for unusually long."""

    def __len__(self) -> int:
        return len(self._tracked)

    @property
    def reported(self) -> int:
        """How many requests are tracked whose class is reported."""
        return len(self._tracked) - self._unreported

    def introduce(self, observer: events.Observer) -> None:
        """Tell *observer*, who comes late, of everything that is followed."""
        for tracked in self._tracked.values():
            if tracked.of_class.reported:
                self._emit.tell(observer, tracked.joined())

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._tracked

    def find(self, request_id: str) -> Tracked | None:
        """What is tracked under this ID."""
        return self._tracked.get(request_id)

    def open(self, wait: Wait) -> None:
        """Take in a waiter; a failure of the project reaches it from now on."""
        self._waits[wait] = None

    def join(self, wait: Wait, joining: Joining, now: float) -> None:
        """Follow a request for *wait*, which is open and does not contain it yet."""
        request_id, label, age = joining.request_id, joining.label, joining.age
        wait.enter(request_id, label)
        tracked = self._tracked.get(request_id)
        if tracked is not None:
            if isinstance(tracked.waits, tuple):
                tracked.waits = dict.fromkeys(tracked.waits)
            tracked.waits[wait] = None
            return
        of_class = joining.of_class
        tracked = Tracked(
            request_id, label=label, born=now - age, now=now, wait=wait, of_class=of_class
        )
        if joining.names:
            tracked.names, tracked.start_known = joining.names, joining.start_known
        if not self._tracked:
            self._health.busy(now)
        self._tracked[request_id] = tracked
        self._unreported += not of_class.reported
        if self._emit and of_class.reported:
            self._emit(tracked.joined())
            if not self.tracks(tracked):
                return  # an observer, told of it, let it go
        due = now + joining.first_look
        if self._journal_queue is None or joining.on_disk or not of_class.reported:
            self._schedule.add(tracked, due)
        else:
            then = partial(self._added, tracked, due)
            tracked.writing = True
            self._journal_queue.add(request_id, label, joining.submitted_at, then)

    def tell_overdue(self, tracked: Tracked, usual: float, now: float) -> None:
        """A request has been running for unusually long: once is enough to say so."""
        self.overdue += 1
        if self._emit and tracked.of_class.reported:
            self._emit(
                events.RequestOverdue(
                    at=now,
                    request_id=tracked.request_id,
                    label=tracked.label,
                    age=now - tracked.born,
                    usual=usual,
                )
            )

    def count_poll(self, tracked: Tracked) -> None:
        """A poll of *tracked* is sent."""
        tracked.polls += 1
        if tracked.first_polled_at is None:
            tracked.first_polled_at = self._wall_clock()

    def leave(self, wait: Wait, now: float) -> None:
        """Let a waiter go; what nobody else waits for is not polled any more."""
        self._waits.pop(wait, None)
        if not self._waits and not self._emit.wants(events.RequestDropped):
            # One by one, a million of them would hold up the end for many seconds.
            self._forget_all(now)
            return
        # An observer, told of one of them, may do anything with this wait and with others.
        for request_id in tuple(wait.open_ids()):
            tracked = self._tracked.get(request_id)
            if tracked is not None:
                self._let_go(tracked, wait, now)

    def expire(self, wait: Wait, now: float) -> None:
        """
        Settle what *wait* still waits for as `TIMED_OUT`.

        What is with the journal_queue is settled when that answers: the journal may hold the
        outcome, or the outcome may be on its way to the disk.  A wait that is overdue does
        not wait for that.
        """
        if wait.over:
            return
        wait.expired = True
        for request_id in tuple(wait.open_ids()):
            tracked = self._tracked.get(request_id)
            # An observer, told of one of them, may have let the others go.
            if tracked is not None and (wait.overdue or not tracked.writing):
                self._time_out(tracked, wait, now)

    def _time_out(self, tracked: Tracked, wait: Wait, now: float) -> None:
        result = self._result(tracked, Outcome.TIMED_OUT, None, now)
        self._let_go(tracked, wait, now, timed_out=True)
        wait.settle(result)

    def end(
        self, tracked: Tracked, outcome: Outcome, reply: StatusReply | None, now: float
    ) -> None:
        """Hand the outcome to everyone who waits for it, once it is on disk."""
        if not self.tracks(tracked):
            return
        result = self._result(tracked, outcome, reply, now)
        is_written = outcome.finished and tracked.of_class.reported
        if self._journal_queue is None or not is_written:
            self._tell(tracked, result, now)
        else:
            tracked.writing = True
            self._journal_queue.record(result, partial(self._recorded, tracked, result))

    def _added(
        self, tracked: Tracked, due: float, known: Result | JournalError | None, now: float
    ) -> None:
        """It is on disk that *tracked* is tracked: now it may be polled."""
        tracked.writing = False
        if not self.tracks(tracked) or isinstance(known, JournalError):
            return
        if known is not None and known.outcome.final:
            # An earlier run knew it: what is final does not change.
            self._tell(tracked, known, now)
            return
        for wait in tuple(tracked.waits):
            if wait.expired and self.tracks(tracked):
                self._time_out(tracked, wait, now)
        if self.tracks(tracked):
            self._schedule.add(tracked, due)

    def _recorded(
        self, tracked: Tracked, result: Result, failure: Result | JournalError | None, now: float
    ) -> None:
        """The outcome of *tracked* is on disk: now it may be told."""
        tracked.writing = False
        if self.tracks(tracked) and not isinstance(failure, JournalError):
            self._tell(tracked, result, now)

    def tracks(self, tracked: Tracked) -> bool:
        """
        Whether anybody still waits for *tracked*.

        An observer, or the time that a write took, may have let everybody go, and others
        may have joined the same request anew.
        """
        return self._tracked.get(tracked.request_id) is tracked

    def _tell(self, tracked: Tracked, result: Result, now: float) -> None:
        self.ended += tracked.of_class.reported
        waits = tracked.waits
        self._forget(tracked, now)
        if self._emit and tracked.of_class.reported:
            self._emit(
                events.RequestEnded(
                    at=now,
                    request_id=tracked.request_id,
                    label=tracked.label,
                    outcome=result.outcome,
                    reason=result.reason or None,
                    polls=result.polls,
                    waited=result.waited,
                    delay_bound=result.delay_bound,
                )
            )
        for number, wait in enumerate(waits):
            wait.settle(result if number == 0 else own_copy(result))
            if wait.over:
                self._waits.pop(wait, None)

    def fail(self, error: BaseException, now: float) -> None:
        """Fail every waiter of this moment and forget all requests."""
        # All that is done here is done before anyone is told: an observer may do anything then.
        followed = self._forget_all(now)
        waits, self._waits = self._waits, {}
        for wait in waits:
            wait.fail(error)
        if self.on_failure is not None:
            self.on_failure(error)
        if not self._emit:
            return
        if isinstance(error, TrackerClosedError) and error.__cause__ is None:  # on purpose
            for tracked in followed:
                self._tell_dropped(tracked, now)
            return
        self._emit(
            events.ProjectFailed(
                at=now, error=type(error).__name__, message=str(error), pending=len(followed)
            )
        )

    def __iter__(self) -> Iterator[Tracked]:
        """Everything that is tracked, in the order in which it came."""
        return iter(self._tracked.values())

    def pick(self, draw: float, *, prefer: Callable[[Tracked], bool]) -> Tracked | None:
        """
        Return a request that waits in the schedule, at random; `None` if there is none.

        Args:
            draw: From 0 to 1: where the search begins.

            prefer: One of which this is true is returned, if a short search finds it.
        """
        start = int(draw * len(self._tracked))
        found: Tracked | None = None
        values = self._tracked.values
        for number, tracked in enumerate(chain(islice(values(), start, None), values())):
            if number >= _SEARCHED and found is not None:
                return found
            if tracked.ticket:
                if prefer(tracked):
                    return tracked
                found = found or tracked
        return found

    def hopeless(self, answered_sent_at: float) -> list[Tracked]:
        """
        List the requests that fail by themselves: others were answered since they began to fail.

        One failure proves nothing, even if that poll hung for as long as the patience.
        """
        return [
            tracked
            for tracked in self._tracked.values()
            if (faults := tracked.faults) is not None
            and faults.since < answered_sent_at
            and faults.repeated
        ]

    def forgive_failures(self, since: float, now: float) -> None:
        """An outage is over: what began to fail after *since* failed for no fault of its own."""
        for tracked in self._tracked.values():
            if tracked.faults is not None and since <= tracked.faults.failed_at < math.inf:
                tracked.forgive()
                self._schedule.forgive(tracked, now)

    def _let_go(
        self, tracked: Tracked, wait: Wait, now: float, *, timed_out: bool = False
    ) -> None:
        if isinstance(tracked.waits, dict):
            tracked.waits.pop(wait, None)
        elif wait in tracked.waits:
            tracked.waits = ()
        if not tracked.waits:
            self._drop(tracked, now, timed_out=timed_out)

    def _drop(self, tracked: Tracked, now: float, *, timed_out: bool = False) -> None:
        self._forget(tracked, now)
        if self._emit and tracked.of_class.reported:
            self._tell_dropped(tracked, now, timed_out=timed_out)

    def _tell_dropped(self, tracked: Tracked, now: float, *, timed_out: bool = False) -> None:
        self._emit(
            events.RequestDropped(
                at=now,
                request_id=tracked.request_id,
                label=tracked.label,
                timed_out=timed_out,
                reason=None if tracked.error is None else tracked.error.reason or None,
            )
        )

    def _forget(self, tracked: Tracked, now: float) -> None:
        del self._tracked[tracked.request_id]
        self.overdue -= tracked.overdue
        self._unreported -= not tracked.of_class.reported
        self._schedule.remove(tracked)
        task, tracked.task = tracked.task, None
        if task is not None:
            task.cancel()
        if not self._tracked:
            self._health.idle(now)
            self._schedule.idle()

    def _forget_all(self, now: float) -> list[Tracked]:
        """Forget all requests, and return those that are reported."""
        followed, self._tracked = list(self._tracked.values()), {}
        self._unreported = self.overdue = 0
        self._schedule.clear()
        for tracked in followed:
            task, tracked.task = tracked.task, None
            if task is not None:
                task.cancel()
        if followed:
            self._health.idle(now)
            self._schedule.idle()
        return [tracked for tracked in followed if tracked.of_class.reported]

    def _result(
        self, tracked: Tracked, outcome: Outcome, reply: StatusReply | None, now: float
    ) -> Result:
        wall = self._wall_clock()
        bound = None
        if outcome.finished and tracked.pending_sent_at is not None:
            bound = now - tracked.pending_sent_at
        return Result(
            request_id=tracked.request_id,
            outcome=outcome,
            label=tracked.label,
            status=tracked.status,
            response=None if reply is None else reply.response,
            error=tracked.error,
            polls=tracked.polls,
            first_polled_at=tracked.first_polled_at,
            detected_at=None if outcome is Outcome.TIMED_OUT else wall,
            waited=now - tracked.added_at,
            delay_bound=bound,
        )
