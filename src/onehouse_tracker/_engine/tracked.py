"""
One request that is being followed: all that the engine remembers about it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from onehouse_tracker import events
from onehouse_tracker._engine.classes import OF_USERS

if TYPE_CHECKING:
    from asyncio import Task
    from datetime import datetime

    from onehouse_tracker._engine.classes import RequestClass
    from onehouse_tracker._engine.refusals import RefusalRow
    from onehouse_tracker._engine.schedule.cells import Cell
    from onehouse_tracker._engine.schedule.law import Law
    from onehouse_tracker._engine.waits import Wait
    from onehouse_tracker.errors import StatusError

__all__ = ["Faults", "Joining", "Tracked"]


OFTEN = 5
"""Refusals 429 of one request in a row that are no chance, while others were answered."""


class Joining(NamedTuple):
    """A request that is to be followed, with what is known about it."""

    request_id: str
    label: str | None = None

    age: float = 0.0
    """Seconds since it was submitted, as far as we know."""

    first_look: float = 0.0
    """Seconds until its first poll, if nobody follows it already."""

    submitted_at: datetime | None = None
    """When that was, as we were told, for the journal."""

    on_disk: bool = False
    """Whether the journal has it already."""

    of_class: RequestClass = OF_USERS
    """Its class."""

    names: tuple[str, ...] = ()
    """What earlier runs of the same are remembered by, the best first."""

    start_known: bool = False
    """Whether *age* is known, and not only the time since we heard of it."""


class Faults:
    """
    What went wrong with the polls of one request since it last had a status that we know.

    A request that is well has none of these.  Rows are counted per kind, so that a request
    that is sick in two ways in turn still ends.
    """

    __slots__ = (
        "denied",
        "denied_since",
        "failed_at",
        "failing_since",
        "failures",
        "not_found",
        "not_found_since",
        "rate",
        "stale",
        "unrecognized",
    )

    def __init__(self) -> None:
        self.failures = 0
        """Failed polls with no answer since; 429 counts once it is this request's own."""
        self.failing_since = math.inf
        """When the first of them was sent."""
        self.failed_at = math.inf
        """When the first of them came back."""
        self.unrecognized = 0
        """Replies without a status that we know."""
        self.not_found = 0
        """Replies 404."""
        self.not_found_since = math.inf
        """When the first of them was sent."""
        self.denied = 0
        """Replies 401 or 403 with no answer since."""
        self.denied_since = math.inf
        """When the first of them was sent."""
        self.rate: RefusalRow | None = None
        """Replies 429 with no answer since."""
        self.stale = 0
        """Polls in a row that found a dead connection."""

    @property
    def since(self) -> float:
        """When the first poll was sent that failed or was refused 429 often, unanswered since."""
        if self.rate is None or self.rate.count < OFTEN:
            return self.failing_since
        return min(self.failing_since, self.rate.since)

    @property
    def repeated(self) -> bool:
        """Whether more than one poll failed or was refused, unanswered since."""
        return self.failures + (0 if self.rate is None else self.rate.count) > 1

    def fail(self, sent_at: float, now: float) -> int:
        """Count one more failure; return how many there were in a row."""
        if not self.failures:
            self.failing_since, self.failed_at = sent_at, now
        self.failures += 1
        return self.failures

    def deny(self, sent_at: float) -> None:
        """Count one more 401 or 403."""
        if not self.denied:
            self.denied_since = sent_at
        self.denied += 1

    def answer(self) -> None:
        """The server answered, whatever it said: nothing fails and nothing is denied."""
        self.failures = self.denied = self.stale = 0
        self.failing_since = self.failed_at = self.denied_since = math.inf
        self.rate = None


class Tracked:
    """
    One request that is being followed.

    A request that waits costs one of these and no task.  Times are loop times.
    """

    __slots__ = (
        "added_at",
        "after",
        "answered",
        "asked",
        "before",
        "born",
        "cell",
        "error",
        "faults",
        "first_polled_at",
        "label",
        "law",
        "looked",
        "names",
        "of_class",
        "overdue",
        "pending_sent_at",
        "place",
        "polls",
        "request_id",
        "start_known",
        "status",
        "task",
        "ticket",
        "waits",
        "writing",
    )

    def __init__(
        self,
        request_id: str,
        *,
        label: str | None,
        born: float,
        now: float,
        wait: Wait,
        of_class: RequestClass = OF_USERS,
    ) -> None:
        self.request_id = request_id
        self.label = label
        self.of_class = of_class
        self.born = born
        # One object where both are the same, as they nearly always are.
        self.added_at = born if born == now else now
        # A tuple, because nearly every request has one waiter and all requests of one
        # wait can share it; where several wait, any of thousands may leave at any time.
        self.waits: tuple[Wait, ...] | dict[Wait, None] = wait.alone
        self.ticket = 0
        """Its place in the schedule; 0 while it is not there."""
        self.looked = born
        """When the last poll was sent that said PENDING; before that, when it was born."""
        self.asked = self.added_at
        """When the last poll was sent, whatever it brought; before that, when we were told of it.
        What counts as waiting for the next poll begins here."""
        self.place = 0
        """Its place among all in the order of submission, see `Places`; 0 while it has none."""
        self.before: Tracked | None = None
        self.after: Tracked | None = None
        """Its neighbors in that order."""
        self.cell: Cell | None = None
        """Whose members it competes with for the next poll, while it may be polled."""
        self.law: Law | None = None
        """How long it takes by what earlier runs taught."""
        self.names: tuple[str, ...] = ()
        self.overdue = False
        """Whether it has been running for longer than nearly all earlier runs of the same."""
        self.start_known = False
        """As in `Joining`."""
        self.task: Task[None] | None = None
        """The poll in flight."""
        self.polls = 0
        self.first_polled_at: datetime | None = None
        """By the wall clock of that moment: counted back later, a suspend in between would
        move it by hours, since the clock of the loop stands still meanwhile."""
        self.pending_sent_at: float | None = None
        self.status: str | None = None
        self.error: StatusError | None = None
        self.answered = False
        """Whether the server answered the last poll."""
        self.faults: Faults | None = None
        """What went wrong since the last good status; `None` while nothing does."""
        self.writing = False
        """Whether it is with the journal_queue, which may know its outcome at once."""

    def __repr__(self) -> str:
        state = "failing" if self.faults else "well"
        return f"<Tracked {self.request_id}: {self.polls} polls, {state}>"

    def joined(self) -> events.RequestJoined:
        """That it is followed from now on."""
        return events.RequestJoined(
            at=self.added_at,
            request_id=self.request_id,
            label=self.label,
            age=self.added_at - self.born,
        )

    def faulty(self) -> Faults:
        """Its record of what went wrong, begun now if there was none."""
        if self.faults is None:
            self.faults = Faults()
        return self.faults

    def forgive(self) -> None:
        """Forget failures in a row: they were the server's, not this request's."""
        if self.faults is not None and self.faults.failures:
            self.faults.answer()
            self.error = None

    def well(self) -> None:
        """The server gave a status that we know: nothing is wrong with this request any more."""
        self.faults = None
        self.error = None
