"""
The chance that a run has ended, learned by job; and when a check is polled first.

No clock, no I/O, no tasks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onehouse_tracker._engine.schedule.durations import Durations
from onehouse_tracker._engine.schedule.laws import Laws
from onehouse_tracker._engine.schedule.time_left import Running, running_now
from onehouse_tracker.history._records import JOBS
from onehouse_tracker.run_results import RunOutcome

if TYPE_CHECKING:
    from onehouse_tracker.runs._run import Run

__all__ = ["Chances", "FirstGap"]

_SHORTEST = 0.3
_LONGEST = 10.0


class Chances:
    """
    What is known about how long the runs of each job take.

    Two forecasts compete, as those of requests do: what checks showed so far, and what earlier
    runs of the same job took.

    Args:
        laws: What earlier runs took, learned apart from what requests took.
    """

    __slots__ = ("_durations", "_jobs", "_laws", "_place")

    def __init__(self, laws: Laws | None = None) -> None:
        self._durations = Durations()
        self._laws = Laws() if laws is None else laws
        self._place = self._durations.place(0)
        self._jobs: set[str] = set()

    def know(self, run: Run) -> None:
        """Find what is known about the job of *run*, which is followed from now on."""
        run.law = self._laws.follow(_name_of(run.job)) if run.is_age_known else None
        # The first run of a job shares an account with those of all other jobs: alone, what it
        # has not done yet would look like news about its job.
        job = run.job if run.job in self._jobs else None
        self._jobs.add(run.job)
        known = run.law is not None and run.law.is_known
        run.durations = self._durations.label(job, known=known)

    def of(self, run: Run, now: float) -> float:
        """The chance that *run* has ended since it was last seen running."""
        since, until = run.looked - run.born, now - run.born
        return self._durations.chance_with(
            self._laws, run.law, run.durations, self._place, since, until
        )

    def learn(self, run: Run, sent_at: float, *, ended: bool) -> None:
        """A check sent at *sent_at* saw whether *run* has ended; called before it is noted."""
        since, until = run.looked - run.born, sent_at - run.born
        if until <= since:
            return
        if run.law is not None:
            other = self._durations.chance(run.durations, self._place, since, until)
            self._laws.learn(run.law, other, since, until, ended=ended)
        self._durations.learn(run.durations, self._place, since, until, ended=ended)

    def mark_overdue(self, run: Run) -> float | None:
        """How long *run* usually takes, if it is overdue and was not before; it is marked."""
        return self._laws.mark_overdue(run)

    def running(self, run: Run, now: float) -> Running:
        """*run* at the time *now*, for a forecast."""
        return running_now(self._laws, run.law, run, now)

    def starting(self, job: str | None) -> Running:
        """A run of *job* that begins about now; nothing is known of one without a job."""
        return Running(self._laws, None if job is None else self._laws.law(_name_of(job)), 0, 0)

    def ended(self, run: Run, sent_at: float, outcome: RunOutcome, *, last: bool) -> None:
        """A check sent at *sent_at* saw the end of *run*; *last* is whether no other is open."""
        first_found_it = run.seen_sent_at is None  # of which nobody knows when it ended
        if outcome is RunOutcome.SUCCEEDED and run.is_age_known and not first_found_it:
            names = (_name_of(run.job),)
            self._laws.teach(names, run.looked - run.born, sent_at - run.born)
        if last:
            self._laws.settle()


def _name_of(job: str) -> str:
    return f"{JOBS}{job}"


class FirstGap:
    """
    How long to wait before a check is polled for the first time.

    It is the time in which a certain share of checks are done.  Every first poll that finds a
    check done makes it a little shorter, every other one longer, by so much that it stays where
    that share is found.  To take the time of detection for the end would learn our own delay.

    Args:
        share: Of checks that are to be done at the first poll.

        start: Seconds before anything is learned.
    """

    __slots__ = ("_count", "_share", "seconds")

    def __init__(self, share: float, start: float = 1.5) -> None:
        self._share = share
        self._count = 0
        self.seconds = start

    def learn(self, *, found: bool) -> None:
        """A first poll after `seconds`, or about so many, found the check done, or not."""
        self._count += 1
        step = max(0.06, 1.0 / (2.0 + self._count))
        factor = math.exp(step * (self._share - found))
        self.seconds = min(_LONGEST, max(_SHORTEST, self.seconds * factor))
