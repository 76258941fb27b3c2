"""
One request that is being followed: all that the engine remembers about it.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from asyncio import Task
    from datetime import datetime

    from onehouse_tracker._engine.waits import Wait
    from onehouse_tracker._schedule.cells import Cell
    from onehouse_tracker.errors import StatusError

__all__ = ["Joining", "Run", "Tracked"]


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


class Run(Enum):
    """What the latest polls of one request had in common."""

    NONE = "good replies"
    FAILURES = "failures"
    NOT_FOUND = "404"
    UNRECOGNISED = "no status that we know"


class Tracked:
    """
    One request that is being followed.

    A request that waits costs one of these and no task.  Times are loop times.
    """

    __slots__ = (
        "added_at",
        "after",
        "before",
        "born",
        "cell",
        "error",
        "first_polled_at",
        "label",
        "looked",
        "not_found_since",
        "pending_sent_at",
        "place",
        "polls",
        "request_id",
        "run",
        "run_length",
        "run_started",
        "status",
        "task",
        "ticket",
        "waits",
        "writing",
    )

    def __init__(
        self, request_id: str, *, label: str | None, born: float, now: float, wait: Wait
    ) -> None:
        self.request_id = request_id
        self.label = label
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
        self.place = 0
        """Its place among all in the order of submission, see `Places`; 0 while it has none."""
        self.before: Tracked | None = None
        self.after: Tracked | None = None
        """Its neighbours in that order."""
        self.cell: Cell | None = None
        """Whose members it competes with for the next poll, while it may be asked about."""
        self.task: Task[None] | None = None
        """The poll in flight."""
        self.polls = 0
        self.first_polled_at: datetime | None = None
        """By the wall clock of that moment: counted back later, a suspend in between would
        move it by hours, since the clock of the loop stands still meanwhile."""
        self.pending_sent_at: float | None = None
        self.status: str | None = None
        self.error: StatusError | None = None
        self.run = Run.NONE
        self.run_length = 0
        self.run_started = 0.0
        self.not_found_since: float | None = None
        """When the first 404 was sent for, of those with no other reply since."""
        self.writing = False
        """Whether it is with the recorder, which may know its outcome at once."""

    def __repr__(self) -> str:
        return f"<Tracked {self.request_id}: {self.polls} polls, {self.run.value}>"

    def extend_run(self, run: Run, sent_at: float) -> int:
        """Count one more poll of this kind and return how many there were in a row."""
        if self.run is not run:
            self.run = run
            self.run_length = 0
            self.run_started = sent_at
        self.run_length += 1
        return self.run_length

    def forgive(self) -> None:
        """Forget failures in a row: they were the server's, not this request's."""
        if self.run is Run.FAILURES:
            self.run = Run.NONE
            self.run_length = 0
            self.error = None

    def end_run(self) -> None:
        """The server gave a status: nothing is wrong with this request any more."""
        self.run = Run.NONE
        self.run_length = 0
        self.not_found_since = None
        self.error = None
