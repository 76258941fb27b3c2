"""
What one poll means for its own request, with the time and the dice in our hands.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehouse_tracker._engine.retry import (
    UNREACHABLE_AFTER,
    Again,
    Ended,
    Pending,
    backoff,
    judge_failure,
    judge_rejection,
    judge_reply,
)
from onehouse_tracker._engine.tracked import Tracked
from onehouse_tracker._engine.waits import Wait
from onehouse_tracker.errors import (
    NotFoundError,
    RejectedError,
    StaleConnectionError,
    ThrottledError,
    TransportError,
)
from onehouse_tracker.models import ApiStatus, Outcome, StatusReply
from onehouse_tracker.policy import PollPolicy

POLICY = PollPolicy()
DOWN = TransportError("down")
EARLY = NotFoundError("not found", http_status=404)


def _tracked() -> Tracked:
    return Tracked("r-1", label=None, born=0.0, now=0.0, wait=Wait())


def _reply(
    tracked: Tracked, status: str | None, *, sent_at: float = 10.0, draw: float = 1.0
) -> Ended | Pending | Again:
    return judge_reply(
        tracked,
        StatusReply(status),
        sent_at=sent_at,
        now=sent_at + 0.25,
        policy=POLICY,
        random=lambda: draw,
    )


def _error(
    tracked: Tracked,
    error: TransportError | ThrottledError | RejectedError,
    *,
    sent_at: float = 10.0,
    took: float = 0.25,
    draw: float = 1.0,
    answered_at: float = -math.inf,
    outage: bool = False,
    policy: PollPolicy = POLICY,
) -> Ended | Again:
    if isinstance(error, RejectedError):
        return judge_rejection(
            tracked,
            error,
            sent_at=sent_at,
            now=sent_at + took,
            policy=policy,
            random=lambda: draw,
        )
    return judge_failure(
        tracked,
        error,
        sent_at=sent_at,
        now=sent_at + took,
        policy=policy,
        random=lambda: draw,
        answered_sent_at=answered_at,
        outage=outage,
    )


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("API_OPERATION_STATUS_SUCCESS", Outcome.SUCCEEDED),
        ("API_OPERATION_STATUS_SUCCESS_PARTIAL", Outcome.PARTIALLY_SUCCEEDED),
        ("API_OPERATION_STATUS_FAILED", Outcome.FAILED),
        ("API_OPERATION_STATUS_INVALID", Outcome.INVALID),
    ],
)
def test_the_server_says_how_it_ended(status: str, outcome: Outcome) -> None:
    """
    A final word ends the request, and whatever failed before no longer matters.
    """
    tracked = _tracked()
    _error(tracked, DOWN)

    assert _reply(tracked, status) == Ended(outcome)
    assert (tracked.status, tracked.error, tracked.faults) == (status, None, None)


def test_pending_is_noted_with_the_time_of_sending() -> None:
    """
    The bound of the detection delay runs from there.
    """
    tracked = _tracked()
    _error(tracked, DOWN)

    assert _reply(tracked, ApiStatus.PENDING, sent_at=12.5) == Pending()
    assert (tracked.pending_sent_at, tracked.error, tracked.faults) == (12.5, None, None)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (None, "the reply has no status"),
        ("", "the reply has a status that is not known: ''"),
        ("PENDING", "the reply has a status that is not known: 'PENDING'"),
        (
            "api_operation_status_pending",
            "the reply has a status that is not known: 'api_operation_status_pending'",
        ),
        ("\n" + 999 * "x", "the reply has a status that is not known: '\\n" + 79 * "x" + "'"),
    ],
)
def test_a_status_we_do_not_know_counts_three_times(status: str | None, reason: str) -> None:
    """
    It must never pass as PENDING, and one odd reply may be an accident.
    """
    tracked = _tracked()

    assert _reply(tracked, status, sent_at=10) == Again(11.25)
    assert _reply(tracked, status, sent_at=20) == Again(22.25)
    assert _reply(tracked, status, sent_at=30) == Ended(Outcome.UNRECOGNIZED)
    assert tracked.status == status
    assert tracked.error is not None
    assert (tracked.error.reason, tracked.error.request_id) == (reason, "r-1")


def test_unknown_words_count_only_in_a_row() -> None:
    """
    Three odd replies in a week are not three in a row.
    """
    tracked = _tracked()
    for _ in range(2):
        _reply(tracked, None)
    _reply(tracked, ApiStatus.PENDING)

    assert _reply(tracked, None, sent_at=10) == Again(11.25)
    assert _reply(tracked, None, sent_at=20) == Again(22.25)
    assert _reply(tracked, None, sent_at=30) == Ended(Outcome.UNRECOGNIZED)


@pytest.mark.parametrize("between", [DOWN, EARLY])
def test_a_request_that_is_sick_in_two_ways_in_turn_still_ends(
    between: TransportError | NotFoundError,
) -> None:
    """
    Neither a failed poll nor a 404 is a status: an odd reply after it continues the row.
    """
    tracked = _tracked()
    replies = []
    for number in range(3):
        _error(tracked, between, sent_at=10.0 * number)
        replies.append(_reply(tracked, None, sent_at=10.0 * number + 5))

    assert replies[2] == Ended(Outcome.UNRECOGNIZED)


@pytest.mark.parametrize(
    ("failures", "whole"),
    [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 30), (7, 30), (65, 30), (2000, 30), (10**6, 30)],
)
@pytest.mark.parametrize(("draw", "part"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_the_backoff_doubles_half_fixed_half_random(
    failures: int, whole: float, draw: float, part: float
) -> None:
    """
    Failed requests must not come back in step, nor ever stay away for long.
    """
    assert backoff(failures, POLICY, draw) == whole * part


@given(
    st.integers(1, 10**9),
    st.floats(0, 1),
    st.floats(1e-6, 1e6),
    st.floats(1e-6, 1e300),
)
def test_the_backoff_stays_in_bounds(
    failures: int, draw: float, base: float, longest: float
) -> None:
    """
    Between half of the first wait and the maximum, whatever the settings, and never a nan.
    """
    base, longest = min(base, longest), max(base, longest)
    policy = PollPolicy(failure_base=base, failure_max=longest)

    wait = backoff(failures, policy, draw)

    assert base / 2 <= wait <= longest
    assert wait <= backoff(failures, policy, 1.0) <= backoff(failures + 1, policy, 1.0)


def test_failures_wait_ever_longer_and_a_reply_ends_that() -> None:
    """
    The backoff of failures is kept apart from the gap of what is pending.
    """
    tracked = _tracked()

    dues = [_error(tracked, DOWN, sent_at=0, took=0) for _ in range(7)]
    assert dues == [Again(due) for due in (1, 2, 4, 8, 16, 30, 30)]
    assert tracked.error is DOWN
    _reply(tracked, ApiStatus.PENDING)
    assert _error(tracked, DOWN, sent_at=100, took=0) == Again(101)


def test_the_backoff_runs_from_the_failure() -> None:
    """
    A time-out of 30 seconds was no rest for the server.
    """
    assert _error(_tracked(), DOWN, sent_at=10, took=30, draw=0.0) == Again(40.5)


def test_twenty_failures_while_others_are_answered_end_a_request() -> None:
    """
    It fails for itself: the rest of the project is well.
    """
    tracked = _tracked()

    for number in range(UNREACHABLE_AFTER - 1):
        verdict = _error(tracked, DOWN, sent_at=100.0 + number, answered_at=118.5)
        assert isinstance(verdict, Again)
    assert _error(tracked, DOWN, sent_at=119.0, answered_at=118.5) == Ended(Outcome.UNREACHABLE)
    assert UNREACHABLE_AFTER == 20


@pytest.mark.parametrize("answered_at", [-math.inf, 99.0, 100.0])
def test_failures_without_other_answers_never_end_a_request(answered_at: float) -> None:
    """
    Alone it cannot tell its own trouble from an outage: patience decides.
    """
    tracked = _tracked()

    for number in range(100):
        verdict = _error(tracked, DOWN, sent_at=100.0 + number, answered_at=answered_at)
        assert isinstance(verdict, Again)
    assert _error(tracked, DOWN, sent_at=999, answered_at=100.001) == Ended(Outcome.UNREACHABLE)


def test_after_forgiveness_the_count_starts_again() -> None:
    """
    What failed in an outage failed for no fault of its own.
    """
    tracked = _tracked()
    for number in range(25):
        _error(tracked, DOWN, sent_at=100.0 + number)

    tracked.forgive()

    assert tracked.faults is not None
    assert (tracked.faults.failures, tracked.error) == (0, None)
    assert _error(tracked, DOWN, sent_at=200, took=0, answered_at=199) == Again(201)


def test_forgiveness_is_for_failures_only() -> None:
    """
    A 404 is an answer: the outage has nothing to do with it.
    """
    tracked = _tracked()
    _error(tracked, EARLY, sent_at=5)

    tracked.forgive()

    assert tracked.faults is not None
    assert (tracked.faults.not_found_since, tracked.error) == (5, EARLY)


def test_404_ends_a_request_only_after_its_grace() -> None:
    """
    Right after submission the ID may not be known everywhere; 30 s later it never will.
    """
    tracked = _tracked()
    looks = []
    sent_at = 100.0
    while True:
        looks.append(sent_at - 100)
        verdict = _error(tracked, EARLY, sent_at=sent_at, took=0)
        if isinstance(verdict, Ended):
            break
        assert isinstance(verdict, Again)
        sent_at = verdict.due

    assert verdict == Ended(Outcome.NOT_FOUND)
    assert looks == pytest.approx([0, 1, 3, 7, 15, 30.01])
    assert tracked.error is EARLY


def test_a_404_sent_at_the_end_of_the_grace_is_still_within() -> None:
    """
    "Longer than the grace" is meant as written; the look after it comes at once.
    """
    tracked = _tracked()
    _error(tracked, EARLY, sent_at=100, took=0)

    assert _error(tracked, EARLY, sent_at=130.0, took=0.5) == Again(130.5)
    assert _error(tracked, EARLY, sent_at=130.5) == Ended(Outcome.NOT_FOUND)


def test_without_grace_a_second_404_is_final() -> None:
    """
    Zero grace still asks twice: a run needs two ends.
    """
    policy = PollPolicy(not_found_grace=0)
    tracked = _tracked()

    first = _error(tracked, EARLY, sent_at=100, took=0, policy=policy)
    assert isinstance(first, Again)
    assert first.due == pytest.approx(100.01)
    second = _error(tracked, EARLY, sent_at=100.01, took=0, policy=policy)
    assert second == Ended(Outcome.NOT_FOUND)


@pytest.mark.parametrize("interruption", [ApiStatus.PENDING, None])
def test_any_status_breaks_a_run_of_404(interruption: ApiStatus | None) -> None:
    """
    The server knew the ID meanwhile, so the grace begins anew.
    """
    tracked = _tracked()
    _error(tracked, EARLY, sent_at=100)
    _reply(tracked, interruption, sent_at=120)

    assert isinstance(_error(tracked, EARLY, sent_at=131), Again)
    assert tracked.faults is not None
    assert tracked.faults.not_found_since == 131


@pytest.mark.parametrize("status", [400, 403, 409, 410, 302])
def test_a_refusal_is_final_for_this_request(status: int) -> None:
    """
    The same question would get the same answer.
    """
    tracked = _tracked()
    error = RejectedError("no", http_status=status)

    assert _error(tracked, error) == Ended(Outcome.REJECTED)
    assert tracked.error is error


def test_a_stale_connection_is_no_failure() -> None:
    """
    Nothing was sent: the request is due at once, its history untouched.
    """
    tracked = _tracked()
    _error(tracked, DOWN)

    assert _error(tracked, StaleConnectionError("stale"), sent_at=50) == Again(50)
    assert tracked.faults is not None
    assert (tracked.faults.failures, tracked.error) == (1, DOWN)


def test_stale_connections_for_ever_are_failures() -> None:
    """
    There are only so many idle connections; a source that always says so must not be asked
    again at once for ever.
    """
    tracked = _tracked()
    stale = StaleConnectionError("stale")

    assert [_error(tracked, stale, sent_at=50) for _ in range(3)] == 3 * [Again(50)]
    assert _error(tracked, stale, sent_at=50, took=0) == Again(51)
    assert _error(tracked, stale, sent_at=51, took=0) == Again(53)
    assert tracked.error is stale


def test_failures_for_all_our_patience_end_a_request_while_others_are_answered() -> None:
    """
    Polls that hang are few: twenty of them would take a quarter of an hour.
    """
    tracked = _tracked()
    for sent_at in (100, 200, 699):
        verdict = _error(tracked, DOWN, sent_at=sent_at, answered_at=150)
        assert isinstance(verdict, Again)

    assert _error(tracked, DOWN, sent_at=700, answered_at=150) == Ended(Outcome.UNREACHABLE)


def test_probes_in_an_outage_prove_nothing_by_their_number() -> None:
    """
    They come every second; the request began to fail before, and may be well all the same.
    """
    tracked = _tracked()
    for number in range(500):
        verdict = _error(tracked, DOWN, sent_at=100.0 + number, answered_at=101, outage=True)
        assert isinstance(verdict, Again)

    ended = _error(tracked, DOWN, sent_at=700, answered_at=101, outage=True)
    assert ended == Ended(Outcome.UNREACHABLE)


@pytest.mark.parametrize(
    ("retry_after", "wait"), [(None, 1), (0.0, 1), (0.5, 1), (7.5, 7.5), (1e9, 120)]
)
def test_retry_after_is_the_least_wait(retry_after: float | None, wait: float) -> None:
    """
    A server that says when to come back means it; within bounds.
    """
    error = TransportError("busy", http_status=503, retry_after=retry_after)

    assert _error(_tracked(), error, sent_at=10, took=0) == Again(10 + wait)


def test_a_tracked_request_shows_its_state() -> None:
    """
    It appears in logs and in failing tests.
    """
    tracked = _tracked()
    tracked.polls = 3
    assert repr(tracked) == "<Tracked r-1: 3 polls, well>"
    _error(tracked, EARLY)

    assert repr(tracked) == "<Tracked r-1: 3 polls, failing>"
    assert not hasattr(tracked, "__dict__")
