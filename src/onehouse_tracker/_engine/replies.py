"""
What follows from each reply: for its request, for the project, and for whoever waits.

Bookkeeping: it passes the reply to those who decide (`health`, `retry`) and does what
they say.  No task, nothing to await.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onehouse_tracker import events
from onehouse_tracker._engine.health import Blame, Health
from onehouse_tracker._engine.retry import Again, Ended, Pending, judge_error, judge_reply
from onehouse_tracker.errors import (
    AuthenticationError,
    OutageError,
    ProjectError,
    RejectedError,
    StaleConnectionError,
    StatusError,
    ThrottledError,
    TransportError,
    UnauthorizedError,
)
from onehouse_tracker.models import Outcome, StatusReply

if TYPE_CHECKING:
    from collections.abc import Callable

    from onehouse_tracker._engine.roster import Roster
    from onehouse_tracker._engine.slots import SlotQueue
    from onehouse_tracker._engine.tracked import Tracked
    from onehouse_tracker._schedule.schedule import Schedule
    from onehouse_tracker.gates import Gate
    from onehouse_tracker.policy import PollPolicy

__all__ = ["Replies"]

_LOOK = 0.05
"""Seconds between two looks at the state of the budget, at least."""

_GOOD = (StatusReply, RejectedError)
"""Answers that show that the server works."""


class Replies:
    """Where every reply of one project arrives."""

    def __init__(
        self,
        schedule: Schedule,
        health: Health,
        roster: Roster,
        slots: SlotQueue,
        *,
        gate: Gate,
        policy: PollPolicy,
        emit: events.Emitter,
        random: Callable[[], float],
    ) -> None:
        self._schedule = schedule
        self._health = health
        self._roster = roster
        self._slots = slots
        self._gate = gate
        self._policy = policy
        self._emit = emit
        self._random = random
        self.refusals = 0
        """Replies 429 so far."""
        self.last_failure: ProjectError | None = None
        """The last error that failed every waiter."""
        self._degraded = False
        self._next_look = -math.inf

    def note_budget(self, now: float) -> None:
        """Tell the observers if a shared budget was lost, or is shared again."""
        if not self._emit or now < self._next_look:
            return
        self._next_look = now + _LOOK
        stats = self._gate.stats()
        if stats.degraded is self._degraded:
            return
        self._degraded = stats.degraded
        event = events.BudgetDegraded if stats.degraded else events.BudgetRestored
        self._emit(event(at=now, gate=stats.kind, rate=stats.rate))

    # --- One poll --------------------------------------------------------------------

    def receive(
        self,
        tracked: Tracked,
        answer: StatusReply | StatusError,
        sent_at: float,
        now: float,
        *,
        confirming: bool,
    ) -> None:
        """Take the answer to a poll of *tracked*, which somebody still waits for."""
        if self._emit:
            self._emit(_poll_finished(tracked, answer, now, sent_at))
        if isinstance(answer, ThrottledError):
            self.throttled(sent_at, answer, now)
            self._again(tracked, sent_at)  # unharmed, and not behind the others
            return
        if isinstance(answer, UnauthorizedError):
            self._refused(tracked, answer, now, confirming=confirming)
            return
        if isinstance(answer, _GOOD):
            self._gate.answered(sent_at)
            self.good(now)
            if confirming:
                self._acquit(tracked, now)
        if isinstance(answer, StatusReply):
            self._reply(tracked, answer, sent_at, now)
        else:
            self._error(tracked, answer, sent_at, now)

    def _again(self, tracked: Tracked, due: float) -> None:
        if self._roster.follows(tracked):
            self._schedule.again(tracked, due)

    def _reply(self, tracked: Tracked, reply: StatusReply, sent_at: float, now: float) -> None:
        if not self._roster.follows(tracked):
            return  # an observer, told of the poll, let it go
        verdict = judge_reply(
            tracked, reply, sent_at=sent_at, now=now, policy=self._policy, random=self._random
        )
        match verdict:
            case Pending():
                self._schedule.pending(tracked, sent_at, now)
            case Again(due):
                self._again(tracked, due)
            case Ended(outcome):
                if outcome is not Outcome.UNRECOGNISED:  # of which nobody knows when it ended
                    self._schedule.finished(tracked, sent_at)
                self._roster.end(tracked, outcome, reply, now)

    def _error(self, tracked: Tracked, error: StatusError, sent_at: float, now: float) -> None:
        if not isinstance(error, TransportError | RejectedError):
            error = TransportError(str(error), request_id=tracked.request_id)
        if isinstance(error, TransportError) and not isinstance(error, StaleConnectionError):
            begins = self._health.failed(now, tracked.request_id, is_only_one=self._is_alone)
            if begins and self._emit:
                self._emit(events.OutageBegan(at=now, reason=str(error)))
        verdict = judge_error(
            tracked,
            error,
            sent_at=sent_at,
            now=now,
            policy=self._policy,
            random=self._random,
            answered_at=self._health.answered_at,
        )
        match verdict:
            case Again(due):
                self._again(tracked, due)
            case Ended(outcome):
                self._roster.end(tracked, outcome, None, now)

    def _refused(
        self, tracked: Tracked, error: UnauthorizedError, now: float, *, confirming: bool
    ) -> None:
        tracked.error = error
        blame = self._health.refused(
            now, tracked, is_confirmation=confirming, is_only_one=self._is_alone
        )
        if not self._roster.follows(tracked):
            self._health.suspects.pop(tracked, None)
        if blame is Blame.PROJECT:
            self.condemn(error, now)
        elif self._emit:
            self._emit(
                events.CredentialsDoubted(
                    at=now, request_id=tracked.request_id, reason=error.reason
                )
            )

    def _acquit(self, witness: Tracked, now: float) -> None:
        """The credentials are good after all: the suspects are refused for themselves."""
        for suspect in self._health.acquit_project():
            if suspect is not witness:
                self._roster.end(suspect, Outcome.REJECTED, None, now)

    @property
    def _is_alone(self) -> bool:
        return len(self._roster) == 1

    # --- The project -----------------------------------------------------------------

    def good(self, now: float) -> None:
        """The server answered: an outage is over, and failures in it are forgotten."""
        silent_since = self._health.silent_since
        if self._health.good(now):
            self._roster.forgive_failures(now)
            if self._emit:
                lasted = 0.0 if silent_since is None else now - silent_since
                self._emit(events.OutageEnded(at=now, lasted=lasted))

    def throttled(self, sent_at: float, error: ThrottledError, now: float) -> None:
        """The server refused a request sent at *sent_at* for its rate."""
        self.refusals += 1
        self._gate.throttled(sent_at, error.retry_after)
        self._health.throttled(now)
        if error.retry_after is not None:
            # What we rest beyond that is our own choice, and silence like any other.
            until = min(self._gate.paused_until, now + error.retry_after)
            self._health.paused(now, until)
        if self._emit:
            stats = self._gate.stats()
            self._emit(
                events.BudgetRefused(
                    at=now,
                    request_id=error.request_id,
                    retry_after=error.retry_after,
                    paused_for=stats.paused_for,
                    margin=stats.margin,
                )
            )

    def condemn(self, error: StatusError, now: float) -> ProjectError:
        """The credentials are refused: every request would be."""
        return self.fail(
            AuthenticationError(
                f"Onehouse refused the credentials (HTTP {error.http_status}: {error.reason});"
                " check the API key and secret, the link UID, the project and the region"
            ),
            now,
        )

    def give_up(self, now: float) -> ProjectError:
        """Patience is over."""
        silent_since = self._health.silent_since
        silent_for = 0.0 if silent_since is None else now - silent_since
        return self.fail(
            OutageError(
                f"no good reply for {silent_for:.0f} s; the requests go on at the server,"
                " wait for them again when it answers"
            ),
            now,
        )

    def fail(self, error: ProjectError, now: float) -> ProjectError:
        """Fail every waiter of this moment; the next wait starts with a single probe."""
        self.last_failure = error
        self._health.reset()
        # A slot for the user's own call is still theirs: only submissions are turned away.
        self._slots.fail_submissions(error)
        self._roster.fail(error, now)
        return error


def _poll_finished(
    tracked: Tracked, answer: StatusReply | StatusError, now: float, sent_at: float
) -> events.PollFinished:
    error = answer if isinstance(answer, StatusError) else None
    return events.PollFinished(
        at=now,
        request_id=tracked.request_id,
        attempt=tracked.polls,
        took=now - sent_at,
        status=answer.status if isinstance(answer, StatusReply) else None,
        error=None if error is None else type(error).__name__,
        reason=None if error is None else error.reason,
    )
