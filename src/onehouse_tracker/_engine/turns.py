"""
Whose turn it is: when the next poll is wanted, and which request it goes to.

Usually the schedule says so.  While the project is in trouble it does not: see `Turns`.
Bookkeeping only: no clock, no I/O, no tasks; callers pass the time in.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onehouse_tracker._engine.health import WITNESSES

if TYPE_CHECKING:
    from collections.abc import Callable

    from onehouse_tracker._engine.roster import Roster
    from onehouse_tracker._engine.schedules import Schedules
    from onehouse_tracker._engine.state import ProjectState
    from onehouse_tracker._engine.tracked import Tracked

__all__ = ["LIKELY", "SLOW_POLL", "Turns"]

SLOW_POLL = 2.0
"""Seconds after which a poll without a reply does not hold up the next one, where only one at
a time may be on the wire: a request that hangs must not decide for all others."""


LIKELY = 0.5
"""From this chance to have ended on, a poll is worth more than the next statement: a slot brings
the end of a statement forward by one slot, but of what ends, much then waits to be noticed."""

MOST_GRANTED = 9
MANY_WAIT = 300
MOST_GRANTED_TO_MANY = 2
"""Slots in a row that go to statements while a poll is due, at most: up to `MANY_WAIT` that wait,
and beyond.  A long queue would otherwise leave those tracked before with too few polls."""


class Turns:
    """
    Chooses the request that gets the next poll.

    ==================  ==============================================================
    project             the next poll
    ==================  ==============================================================
    fine                what the schedule says
    refused (429)       once another request that nothing is wrong with, at random
    not proven          the same at first, then requests at random that were never asked;
                        one on the wire at a time (see `SLOW_POLL`)
    under suspicion     a witness, at once; three at most
    in an outage        once a second, in turn the request that was answered last, and
                        one at random, of those that were never asked if there are any
    credentials in      one on the wire at a time: a request that was answered last time, at
    doubt               once, and then every second; the refused one if there is no other
    ==================  ==============================================================
    """

    def __init__(
        self,
        state: ProjectState,
        schedule: Schedules,
        roster: Roster,
        *,
        random: Callable[[], float],
    ) -> None:
        self._schedule = schedule
        self._health = state.health
        self._credentials = state.credentials
        self._witnesses = state.witnesses
        self._roster = roster
        self._random = random
        self._probe_latest = False

    # --- When ------------------------------------------------------------------------

    def poll_wanted_at(self, now: float, *, on_the_wire: int, last_sent_at: float) -> float:
        """When a poll will want a slot, if nothing changes; infinity for never."""
        health = self._health
        if not len(self._schedule):
            return math.inf
        one_at_a_time = self._credentials.in_doubt or not health.proven
        earliest = last_sent_at + SLOW_POLL if one_at_a_time and on_the_wire else -math.inf
        if health.outage:
            # The clock decides and not the backoff.
            earliest = max(earliest, health.next_probe_at)
        if self._credentials.in_doubt:
            has_another = self._unrefused() is not None
            return max(earliest, self._credentials.next_poll_at(has_another=has_another))
        if health.suspicion is not None:
            return now if self._witness() is not None else math.inf
        if health.outage:
            return earliest
        due = self._schedule.next_due()
        return math.inf if due is None else max(earliest, due)

    def submission_wanted_at(self, now: float, *, on_the_wire: int, last_sent_at: float) -> float:
        """When a statement that waits may be sent; infinity for not until something changes."""
        health = self._health
        if health.suspicion is not None or (self._credentials.in_doubt and len(self._roster)):
            return math.inf
        earliest = now
        if not health.proven and on_the_wire:
            earliest = last_sent_at + SLOW_POLL
        if health.outage:
            # A statement sent into an outage would be of unknown fate: polls probe first.
            return math.inf if len(self._roster) else max(earliest, health.next_probe_at)
        return earliest

    def poll_goes_first(self, now: float, granted: int, waiting: int) -> bool:
        """
        Whether a poll gets this slot, while *waiting* statements and own calls wait for one.

        *granted* says how many slots in a row went to them.
        """
        if not waiting:
            return True
        health, in_doubt = self._health, self._credentials.in_doubt
        if in_doubt or health.outage or not health.proven or health.suspicion is not None:
            return granted > 0  # such a poll finds out whether anything works
        chance = self._schedule.chance_of_due(now)
        if chance is None:
            return False  # an early poll has time
        return granted >= most_granted(waiting) or (granted > 0 and chance >= LIKELY)

    def review_at(self) -> float:
        """When `review` has something to decide, if no reply comes first."""
        suspicion = self._health.suspicion
        return math.inf if suspicion is None else suspicion.deadline

    def review(self, now: float) -> bool:
        """Decide what time has decided.  True if a suspicion became an outage."""
        suspicion = self._health.suspicion
        if suspicion is None or self._witness() is not None:
            return False
        # Those that were let go meanwhile will not answer.
        waiting = any(self._roster.tracks(witness) for witness in suspicion.waiting)
        if now < suspicion.deadline and (
            waiting or (not suspicion.asked and self._witnesses.on_the_wire())
        ):
            return False
        self._health.begin_outage(now)
        return True

    # --- Who -------------------------------------------------------------------------

    def take(self, now: float) -> Tracked | None:
        """Take the request out of the schedule that gets the poll of this moment."""
        health = self._health
        if self._credentials.in_doubt:
            tracked = self._doubtful()
            health.probe_sent(now)
        elif health.suspicion is not None:
            tracked = self._witness()
            if tracked is not None:
                health.suspicion.ask(tracked, now)
        elif health.outage:
            tracked = self._probe()
            health.probe_sent(now)
        elif not health.proven:
            tracked = self._first_impression() or self._schedule.pop(now)
        else:
            tracked = self._after_refusal() or self._schedule.pop(now)
        if tracked is not None:
            self._schedule.take(tracked)
        return tracked

    def _after_refusal(self) -> Tracked | None:
        """
        After a refusal for the rate, once: another request at random that nothing is wrong with.

        Requests that are always refused may stand side by side.  Without an answer between
        theirs, they would look like a rate that is exceeded ever more.
        """
        wary, self._health.wary = self._health.wary, False
        other = self._roster.pick(self._random(), prefer=_is_well) if wary else None
        return other if other is not None and _is_well(other) else None

    def _first_impression(self) -> Tracked | None:
        """
        A request that was never asked, at random, once the first one has brought nothing.

        Those that stand side by side in a list may well be sick together.
        """
        tried, self._health.tried = self._health.tried, True
        other = self._roster.pick(self._random(), prefer=_was_never_asked) if tried else None
        return other if other is not None and _was_never_asked(other) else None

    def _witness(self) -> Tracked | None:
        suspicion = self._health.suspicion
        if suspicion is None or len(suspicion.asked) >= WITNESSES:
            return None
        return self._witnesses.next(suspicion.asked, self._roster)

    def _probe(self) -> Tracked | None:
        self._probe_latest = not self._probe_latest
        if self._probe_latest:
            # What has not failed since its last answer tells more than what answered last of all.
            witness = self._witnesses.next((), ()) or self._roster.pick(
                self._random(), prefer=_was_answered
            )
            if witness is not None and not witness.answered:
                witness = self._witnesses.latest()
            if witness is not None:
                return witness
        return self._roster.pick(self._random(), prefer=_was_never_asked)

    def _doubtful(self) -> Tracked | None:
        return self._unrefused() or self._roster.pick(self._random(), prefer=self._was_refused)

    def _unrefused(self) -> Tracked | None:
        """
        A request that waits and was not refused since the doubt began.

        Best one that was answered last time: we are certainly allowed to poll it.
        """
        witness = self._witnesses.next(self._credentials, ())
        if witness is not None:
            return witness
        other = self._roster.pick(self._random(), prefer=self._was_not_refused)
        return other if other is not None and self._was_not_refused(other) else None

    def _was_refused(self, tracked: Tracked) -> bool:
        return tracked in self._credentials

    def _was_not_refused(self, tracked: Tracked) -> bool:
        return not self._was_refused(tracked)


def most_granted(waiting: int) -> int:
    """Slots in a row that go to statements while a poll is due, where so many statements wait."""
    return MOST_GRANTED if waiting <= MANY_WAIT else MOST_GRANTED_TO_MANY


def _is_well(tracked: Tracked) -> bool:
    return tracked.faults is None


def _was_answered(tracked: Tracked) -> bool:
    return tracked.answered


def _was_never_asked(tracked: Tracked) -> bool:
    return not tracked.polls
