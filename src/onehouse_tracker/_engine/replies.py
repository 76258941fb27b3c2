"""
What follows from each reply: for its request, for the project, and for the waiters.

Bookkeeping: it passes the reply to those who decide (`health`, `retry`) and does what
they say.  No task, nothing to await.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onehouse_tracker import events
from onehouse_tracker._engine.credentials import Condemned
from onehouse_tracker._engine.refusals import LEAST_ANSWERS
from onehouse_tracker._engine.retry import (
    UNREACHABLE_AFTER,
    Again,
    Ended,
    Pending,
    backoff,
    judge_failure,
    judge_rejection,
    judge_reply,
    least_wait,
)
from onehouse_tracker.errors import (
    AuthenticationError,
    OutageError,
    ProjectError,
    RejectedError,
    StaleConnectionError,
    StatusError,
    SubmissionUnsentError,
    ThrottledError,
    TransportError,
    UnauthorizedError,
)
from onehouse_tracker.models import Outcome, StatusReply

if TYPE_CHECKING:
    from collections.abc import Callable

    from onehouse_tracker._engine.refusals import RefusalRow
    from onehouse_tracker._engine.roster import Roster
    from onehouse_tracker._engine.schedules import Schedules
    from onehouse_tracker._engine.slots import SlotQueue
    from onehouse_tracker._engine.source import Answer
    from onehouse_tracker._engine.state import ProjectState
    from onehouse_tracker._engine.tracked import Tracked
    from onehouse_tracker.limiters import RateLimiter
    from onehouse_tracker.policy import PollPolicy

__all__ = ["Replies"]

_LOOK = 0.05
"""Seconds between two looks at the state of the budget, at least."""


class Replies:
    """Where every reply of one project arrives."""

    def __init__(
        self,
        state: ProjectState,
        schedule: Schedules,
        roster: Roster,
        slots: SlotQueue,
        *,
        limiter: RateLimiter,
        policy: PollPolicy,
        emit: events.Emitter,
        random: Callable[[], float],
    ) -> None:
        self._schedule = schedule
        self._state = state
        self._health = state.health
        self._credentials = state.credentials
        self._witnesses = state.witnesses
        self._refusals = state.refusals
        self._roster = roster
        self._slots = slots
        self._limiter = limiter
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
        stats = self._limiter.stats()
        if stats.degraded is self._degraded:
            return
        self._degraded = stats.degraded
        event = events.BudgetDegraded if stats.degraded else events.BudgetRestored
        self._emit(event(at=now, limiter=stats.kind, rate=stats.rate))

    # --- One poll --------------------------------------------------------------------

    def receive(self, tracked: Tracked, answer: Answer, sent_at: float, now: float) -> None:
        """Take the answer to a poll of *tracked*, which somebody still waits for."""
        if tracked.of_class.reported and self._emit.wants(events.PollFinished):
            self._emit(_poll_finished(tracked, answer, now, sent_at))
        if isinstance(answer, ProjectError):
            self.fail(answer, now)
        elif isinstance(answer, StatusReply):
            self._answered(tracked, sent_at, now)
            self._reply(tracked, answer, sent_at, now)
        elif isinstance(answer, RejectedError):
            self._answered(tracked, sent_at, now)
            self._follow(
                tracked,
                judge_rejection(
                    tracked,
                    answer,
                    sent_at=sent_at,
                    now=now,
                    policy=self._policy,
                    random=self._random,
                ),
                now,
            )
        elif isinstance(answer, ThrottledError):
            self._throttled(tracked, answer, sent_at, now)
        elif isinstance(answer, UnauthorizedError):
            self._denied(tracked, answer, sent_at, now)
        else:
            self._failed(tracked, answer, sent_at, now)

    def _answered(self, tracked: Tracked, sent_at: float, now: float) -> None:
        self._limiter.answered(sent_at)
        faults = tracked.faults
        self.good(sent_at, now, None if faults is None else faults.rate)
        tracked.answered = True
        self._witnesses.answered(tracked)

    def _reply(self, tracked: Tracked, reply: StatusReply, sent_at: float, now: float) -> None:
        if not self._roster.tracks(tracked):
            return  # an observer, told of the poll, let it go
        verdict = judge_reply(
            tracked, reply, sent_at=sent_at, now=now, policy=self._policy, random=self._random
        )
        match verdict:
            case Pending():
                usual = self._schedule.pending(tracked, sent_at, now)
                if usual is not None:
                    self._roster.tell_overdue(tracked, usual, now)
            case Again(due):
                self._schedule.again(tracked, due)
            case Ended(outcome):
                if outcome is not Outcome.UNRECOGNIZED:  # of which nobody knows when it ended
                    self._schedule.finished(tracked, sent_at, teaches=outcome.ok)
                self._roster.end(tracked, outcome, reply, now)

    def _failed(self, tracked: Tracked, error: StatusError, sent_at: float, now: float) -> None:
        tracked.answered = False
        if not isinstance(error, TransportError):
            error = TransportError(str(error), request_id=tracked.request_id)
        if not isinstance(error, StaleConnectionError):
            self._health.failed(now, tracked, error, is_only_one=self._is_alone)
            self._health.hold_probes(now + least_wait(error))
        self._judge_failure(tracked, error, sent_at, now)

    def _judge_failure(
        self, tracked: Tracked, error: TransportError | ThrottledError, sent_at: float, now: float
    ) -> None:
        verdict = judge_failure(
            tracked,
            error,
            sent_at=sent_at,
            now=now,
            policy=self._policy,
            random=self._random,
            answered_sent_at=self._health.answered_sent_at,
            outage=self._health.outage,
        )
        self._follow(tracked, verdict, now)

    def _throttled(
        self, tracked: Tracked, error: ThrottledError, sent_at: float, now: float
    ) -> None:
        tracked.answered = False
        tracked.error = error
        faults = tracked.faulty()
        faults.rate = self.throttled(faults.rate, sent_at, error, now)
        if faults.rate.own:
            self._judge_failure(tracked, error, sent_at, now)
        else:
            gap = self._policy.gap(sent_at - tracked.born)
            due = max(sent_at + gap, self._after_refusal(faults.rate, error, now))
            self._follow(tracked, Again(due), now)

    def _after_refusal(self, row: RefusalRow, error: ThrottledError, now: float) -> float:
        """When to send again what was refused for its rate."""
        resumed_at = max(now, self._limiter.paused_until)
        wait = backoff(row.count - 1, self._policy, self._random()) if row.count > 1 else 0.0
        if len(self._roster):
            # The others go first: enough of them to tell whose fault it is.
            wait = max(wait, 1.5 * LEAST_ANSWERS / self._limiter.limit)
        return max(resumed_at + wait, now + least_wait(error))

    def _denied(
        self, tracked: Tracked, error: UnauthorizedError, sent_at: float, now: float
    ) -> None:
        tracked.answered = False
        self._health.refused(now, error)
        was_in_doubt = self._credentials.in_doubt
        verdict = self._credentials.refused(
            tracked,
            error,
            sent_at=sent_at,
            now=now,
            proven=self._health.proven,
            answered_sent_at=self._health.answered_sent_at,
            is_only_one=self._is_alone,
        )
        if isinstance(verdict, Condemned):
            self.condemn(error, now)
            return
        if self._emit and self._credentials.in_doubt and not was_in_doubt:
            self._emit(
                events.CredentialsDoubted(
                    at=now, request_id=tracked.request_id, reason=error.reason
                )
            )
        self._follow(tracked, verdict, now)

    def _follow(self, tracked: Tracked, verdict: Again | Ended, now: float) -> None:
        if not self._roster.tracks(tracked):
            return
        match verdict:
            case Again(due):
                self._schedule.again(tracked, due)
            case Ended(outcome):
                self._roster.end(tracked, outcome, None, now)

    @property
    def _is_alone(self) -> bool:
        return len(self._roster) == 1

    # --- The project -----------------------------------------------------------------

    def good(self, sent_at: float, now: float, row: RefusalRow | None) -> None:
        """
        The server answered what was sent at *sent_at*, and was refused before as *row* says.

        An outage is over, and failures in it are forgotten.
        """
        silent_since = self._health.silent_since
        self._credentials.answered(sent_at)
        self._refusals.answered(row)
        forgiven_since = self._health.good(sent_at, now)
        if forgiven_since is not None:
            self._roster.forgive_failures(forgiven_since, now)
            if self._emit:
                lasted = 0.0 if silent_since is None else now - silent_since
                self._emit(events.OutageEnded(at=now, lasted=lasted))

    def outage_began(self, now: float) -> None:
        """Nothing succeeds any more."""
        if self._emit:
            self._emit(events.OutageBegan(at=now, reason=str(self._health.last_error or "")))

    def throttled(
        self, row: RefusalRow | None, sent_at: float, error: ThrottledError, now: float
    ) -> RefusalRow:
        """
        The server refused a request sent at *sent_at* for its rate.

        Args:
            row: The refusals of the same request or statement so far, with no answer between.

            sent_at: When it was sent.

            error: The refusal.

            now: The time.

        Returns:
            The row with this one.  Unless it is the request's own, the project slows down.
        """
        self.refusals += 1
        row = self._refusals.refused(row, sent_at, now)
        self._health.refused(now, error)
        if row.own:
            if row.steps:
                self._limiter.forgive(row.steps)
                row.steps = 0
            return row
        self._health.wary = True
        self._limiter.throttled(sent_at, error.retry_after)
        if error.retry_after is not None:
            # What we rest beyond that is our own choice, and silence like any other.
            until = min(self._limiter.paused_until, now + error.retry_after)
            self._health.paused(now, until)
        if self._emit:
            stats = self._limiter.stats()
            self._emit(
                events.BudgetRefused(
                    at=now,
                    request_id=error.request_id,
                    retry_after=error.retry_after,
                    paused_for=stats.paused_for,
                    margin=stats.margin,
                )
            )
        return row

    def submission_throttled(
        self, row: RefusalRow | None, sent_at: float, error: ThrottledError, now: float
    ) -> tuple[RefusalRow, float]:
        """
        The server refused a submission for its rate, so nothing runs of it.

        Returns:
            Its refusals so far, and the time before which it is not to be sent again.

        Raises:
            SubmissionUnsentError: It was refused 20 times while others were answered.

            OutageError: Nothing was answered since its first refusal, for all our patience.
        """
        row = self.throttled(row, sent_at, error, now)
        if self._health.answered_sent_at > row.since:
            if row.count >= UNREACHABLE_AFTER:
                raise SubmissionUnsentError(
                    f"refused {row.count} times for its rate while other requests were answered;"
                    f" nothing runs of it (the server says: {error})",
                    http_status=error.http_status,
                    grpc_status=error.grpc_status,
                )
        elif now - row.since >= self._policy.patience:
            raise OutageError(
                f"the statement was refused for {now - row.since:.0f} s, and nothing else was"
                f" answered meanwhile; nothing runs of it (the server says: {error})"
            )
        return row, self._after_refusal(row, error, now)

    def condemn(self, error: StatusError, now: float) -> ProjectError:
        """The credentials are refused: every request would be."""
        return self.fail(
            AuthenticationError(
                f"Onehouse refused the credentials (HTTP {error.http_status}: {error.reason});"
                " check the API key and secret, the link UID, the project and the region"
            ),
            now,
        )

    def give_up(self, now: float) -> None:
        """Patience is over."""
        # What failed for itself while others were answered is told so: it is not the server.
        for tracked in self._roster.hopeless(self._health.answered_sent_at):
            self._roster.end(tracked, Outcome.UNREACHABLE, None, now)
        if not len(self._roster) and not self._slots.has_submission:
            return
        silent_since = self._health.silent_since
        silent_for = 0.0 if silent_since is None else now - silent_since
        last = self._health.last_error
        self.fail(
            OutageError(
                f"no good reply for {silent_for:.0f} s; the requests go on at the server,"
                " wait for them again when it answers"
                + (f" (the last failure: {last})" if last is not None else "")
            ),
            now,
        )

    def fail(self, error: ProjectError, now: float) -> ProjectError:
        """Fail every waiter of this moment; the next wait starts with a single probe."""
        self.last_failure = error
        self._state.reset()
        # A slot for the user's own call is still theirs: only submissions are turned away.
        self._slots.fail_submissions(error)
        self._roster.fail(error, now)
        return error


def _poll_finished(
    tracked: Tracked, answer: Answer, now: float, sent_at: float
) -> events.PollFinished:
    error = None if isinstance(answer, StatusReply) else answer
    return events.PollFinished(
        at=now,
        request_id=tracked.request_id,
        attempt=tracked.polls,
        took=now - sent_at,
        status=answer.status if isinstance(answer, StatusReply) else None,
        error=None if error is None else type(error).__name__,
        reason=error.reason if isinstance(error, StatusError) else None,
    )
