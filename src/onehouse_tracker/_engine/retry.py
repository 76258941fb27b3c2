"""
What one poll means for its own request: ended, pending, or ask again when.

No clock, no I/O, no tasks; callers pass the time and the randomness in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onehouse_tracker._engine.tracked import Tracked
from onehouse_tracker.errors import (
    NotFoundError,
    RejectedError,
    StaleConnectionError,
    StatusError,
    ThrottledError,
    TransportError,
)
from onehouse_tracker.models import OUTCOME_OF, ApiStatus, Outcome, StatusReply

if TYPE_CHECKING:
    from collections.abc import Callable

    from onehouse_tracker.policy import PollPolicy

__all__ = [
    "Again",
    "Ended",
    "Pending",
    "judge_failure",
    "judge_rejection",
    "judge_reply",
    "least_wait",
]

UNREACHABLE_AFTER = 20
"""Failures in a row, while other requests are answered."""

MOST_STALE = 3
"""Polls of one request in a row that may find a dead connection; one more is a failure."""

LONGEST_RETRY_AFTER = 120.0
"""Seconds that ``Retry-After`` can delay one request, at most."""

UNRECOGNIZED_AFTER = 3
"""Replies in a row without a status that we know."""


@dataclass(frozen=True, slots=True)
class Ended:
    """There is nothing more to learn about this request."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Pending:
    """The server is still at it."""


@dataclass(frozen=True, slots=True)
class Again:
    """The poll taught nothing; ask again at *due*."""

    due: float


_PENDING = Pending()


def judge_reply(
    tracked: Tracked,
    reply: StatusReply,
    *,
    sent_at: float,
    now: float,
    policy: PollPolicy,
    random: Callable[[], float],
) -> Ended | Pending | Again:
    """Take note of a reply about *tracked* and say what follows."""
    tracked.status = reply.status
    if reply.status == ApiStatus.PENDING:
        tracked.well()
        tracked.pending_sent_at = sent_at
        return _PENDING
    outcome = OUTCOME_OF.get(reply.status or "")
    if outcome is not None:
        tracked.well()
        return Ended(outcome)
    # proto3 JSON leaves zero-valued enums out, so a missing status is not PENDING.
    faults = tracked.faulty()
    faults.answer()
    faults.not_found = 0
    faults.not_found_since = math.inf
    faults.unrecognized += 1
    tracked.error = StatusError(
        "the reply has no status"
        if reply.status is None
        else f"the reply has a status that is not known: {reply.status[:80]!r}",
        request_id=tracked.request_id,
    )
    if faults.unrecognized >= UNRECOGNIZED_AFTER:
        return Ended(Outcome.UNRECOGNIZED)
    return Again(now + backoff(faults.unrecognized, policy, random()))


def judge_rejection(
    tracked: Tracked,
    error: RejectedError,
    *,
    sent_at: float,
    now: float,
    policy: PollPolicy,
    random: Callable[[], float],
) -> Ended | Again:
    """Take note that the server will not answer about *tracked*, and say what follows."""
    faults = tracked.faulty()
    faults.answer()
    tracked.error = error
    if not isinstance(error, NotFoundError):
        return Ended(Outcome.REJECTED)
    # A failed poll in between is no answer, so it does not break the row of 404.
    if not faults.not_found:
        faults.not_found_since = sent_at
    faults.not_found += 1
    grace_over = faults.not_found_since + policy.not_found_grace
    if sent_at > grace_over:
        return Ended(Outcome.NOT_FOUND)
    # The last poll comes right after the grace, however long the backoff is by then.
    wait = backoff(faults.not_found, policy, random())
    return Again(min(now + wait, max(now, grace_over + 0.01)))


def judge_failure(
    tracked: Tracked,
    error: TransportError | ThrottledError,
    *,
    sent_at: float,
    now: float,
    policy: PollPolicy,
    random: Callable[[], float],
    answered_sent_at: float,
    outage: bool,
) -> Ended | Again:
    """
    Take note of a failed poll of *tracked*, and say what follows.

    Args:
        tracked: The request.

        error: What failed; a 429 where it is this request's own.

        sent_at: When the poll was sent.

        now: The time.

        policy: The backoff, and patience.

        random: From 0 to 1.

        answered_sent_at: When the latest poll was sent that was answered.  A request that
            fails while others are answered fails for itself.

        outage: Whether nothing succeeds any more.  Then probes come faster than the backoff,
            and prove nothing by their number.
    """
    faults = tracked.faulty()
    if isinstance(error, StaleConnectionError):
        # Nothing was sent, so nothing failed; but no request may find dead connections forever.
        faults.stale += 1
        if faults.stale <= MOST_STALE:
            return Again(sent_at)
    else:
        faults.stale = 0
    tracked.error = error
    failures = faults.fail(sent_at, now)
    if answered_sent_at > faults.failing_since:
        too_many = failures >= UNREACHABLE_AFTER and not outage
        if too_many or sent_at - faults.failing_since >= policy.patience:
            return Ended(Outcome.UNREACHABLE)
    wait = backoff(failures, policy, random())
    return Again(now + max(wait, least_wait(error)))


def least_wait(error: TransportError | ThrottledError) -> float:
    """Seconds to wait at least, as the server asked with ``Retry-After``, within bounds."""
    return min(error.retry_after or 0.0, LONGEST_RETRY_AFTER)


def backoff(attempt: int, policy: PollPolicy, draw: float) -> float:
    """
    Seconds before asking again after *attempt* bad polls in a row, the first being 1.

    Doubling with equal jitter: half of it fixed, half random; *draw* is from 0 to 1.
    """
    # 2**64 seconds are beyond any maximum; larger exponents would overflow a float.
    whole = min(policy.failure_max, policy.failure_base * 2.0 ** min(attempt - 1, 64))
    return whole * (0.5 + 0.5 * draw)
