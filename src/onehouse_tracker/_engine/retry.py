"""
What one poll means for its own request: ended, pending, or ask again when.

No clock, no I/O, no tasks; callers pass the time and the randomness in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from onehouse_tracker._engine.tracked import Run, Tracked
from onehouse_tracker.errors import (
    NotFoundError,
    RejectedError,
    StaleConnectionError,
    StatusError,
    TransportError,
)
from onehouse_tracker.models import ApiStatus, Outcome, StatusReply

if TYPE_CHECKING:
    from collections.abc import Callable

    from onehouse_tracker.policy import PollPolicy

__all__ = ["Again", "Ended", "Pending", "Verdict", "judge_error", "judge_reply"]

UNREACHABLE_AFTER = 20
"""Failures in a row, while other requests are answered."""

UNRECOGNISED_AFTER = 3
"""Replies in a row without a status that we know."""

_OUTCOMES = {
    ApiStatus.SUCCESS: Outcome.SUCCEEDED,
    ApiStatus.SUCCESS_PARTIAL: Outcome.PARTIALLY_SUCCEEDED,
    ApiStatus.FAILED: Outcome.FAILED,
    ApiStatus.INVALID: Outcome.INVALID,
}


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more to ask about this request."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Pending:
    """The server is still at it."""


@dataclass(frozen=True, slots=True)
class Again:
    """The poll taught nothing; ask again at *due*."""

    due: float


Verdict = Ended | Pending | Again
_PENDING = Pending()


def judge_reply(
    tracked: Tracked,
    reply: StatusReply,
    *,
    sent_at: float,
    now: float,
    policy: PollPolicy,
    random: Callable[[], float],
) -> Verdict:
    """Take note of a reply about *tracked* and say what follows."""
    tracked.status = reply.status
    if reply.status == ApiStatus.PENDING:
        tracked.end_run()
        tracked.pending_sent_at = sent_at
        return _PENDING
    outcome = _OUTCOMES.get(reply.status)  # type: ignore[call-overload] # a str equals its enum
    if outcome is not None:
        tracked.end_run()
        return Ended(outcome)
    # proto3 JSON leaves zero-valued enums out, so a missing status is not PENDING.
    replies = tracked.extend_run(Run.UNRECOGNISED, sent_at)
    tracked.not_found_since = None
    tracked.error = StatusError(
        "the reply has no status"
        if reply.status is None
        else f"the reply has a status that is not known: {reply.status[:80]!r}",
        request_id=tracked.request_id,
    )
    if replies >= UNRECOGNISED_AFTER:
        return Ended(Outcome.UNRECOGNISED)
    return Again(now + backoff(replies, policy, random()))


def judge_error(
    tracked: Tracked,
    error: TransportError | RejectedError,
    *,
    sent_at: float,
    now: float,
    policy: PollPolicy,
    random: Callable[[], float],
    answered_at: float,
) -> Verdict:
    """
    Take note of an error about *tracked* and say what follows.

    *answered_at* is when any request was last answered: a request that fails for itself
    while others are answered is not an outage.
    """
    if isinstance(error, StaleConnectionError):
        return Again(sent_at)  # nothing was sent, so nothing failed
    tracked.error = error
    if isinstance(error, NotFoundError):
        polls = tracked.extend_run(Run.NOT_FOUND, sent_at)
        # A failed poll in between is no reply, so it does not break the run of 404.
        if tracked.not_found_since is None:
            tracked.not_found_since = sent_at
        grace_over = tracked.not_found_since + policy.not_found_grace
        if sent_at > grace_over:
            return Ended(Outcome.NOT_FOUND)
        # The last look comes right after the grace, however long the backoff is by then.
        return Again(min(now + backoff(polls, policy, random()), max(now, grace_over + 0.01)))
    if isinstance(error, RejectedError):
        return Ended(Outcome.REJECTED)
    if isinstance(error, TransportError):
        failures = tracked.extend_run(Run.FAILURES, sent_at)
        if failures >= UNREACHABLE_AFTER and answered_at > tracked.run_started:
            return Ended(Outcome.UNREACHABLE)
        return Again(now + backoff(failures, policy, random()))
    assert_never(error)


def backoff(attempt: int, policy: PollPolicy, draw: float) -> float:
    """
    Seconds before asking again after *attempt* bad polls in a row, the first being 1.

    Doubling with equal jitter: half of it fixed, half random; *draw* is from 0 to 1.
    """
    # 2**64 seconds are beyond any maximum; larger exponents would overflow a float.
    whole = min(policy.failure_max, policy.failure_base * 2.0 ** min(attempt - 1, 64))
    return whole * (0.5 + 0.5 * draw)
