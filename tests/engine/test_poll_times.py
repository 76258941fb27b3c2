"""When polls are sent: exact times on the virtual clock, with a limiter that is out of the way."""

from __future__ import annotations

import asyncio
import math
import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from onehouse_tracker import Outcome, PollPolicy, Request, Results, Tracker
from onehouse_tracker.errors import (
    NotFoundError,
    StaleConnectionError,
    ThrottledError,
    TransportError,
)
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.models import StatusReply
from onehouse_tracker.testing import After, ScriptedSource, hang
from onehouse_tracker.testing.scripted import Step
from tests.support import FAILED, INVALID, PARTIAL, PENDING, SUCCESS, now, run

NO_IDLE_LOOKS = PollPolicy(idle_share=0)
"""Where the gaps alone decide, the times are round."""


def wide_limiter() -> LocalLimiter:
    """A limiter that never matters here: ten thousand slots a second."""
    return LocalLimiter(10_000, catch_up=0)


def follow(
    source: ScriptedSource,
    *ids: str | Request,
    policy: PollPolicy | None = None,
    timeout: float | None = None,
) -> Results:
    """Wait for *ids* and return their results; the source keeps the times."""

    async def scenario() -> Results:
        settings = policy or NO_IDLE_LOOKS
        async with Tracker(source, limiter=wide_limiter(), policy=settings, seed=1) as tracker:
            return await tracker.wait_all(ids or list(source._script), timeout=timeout)

    return run(scenario())


def test_pending_request_is_asked_about_ever_less_often() -> None:
    """
    The gap is clamp(0.3 * age ** (1/3), 0.4, 10) seconds and runs from the sending.
    """
    source = ScriptedSource({"r": [PENDING] * 6 + [SUCCESS]}, latency=0.08)

    result = follow(source)["r"]

    gaps, at = [], 0.0
    for _ in range(7):
        gaps.append(round(at, 6))
        at += min(10.0, max(0.4, 0.3 * at ** (1 / 3)))
    assert source.times("r") == pytest.approx(gaps, abs=2e-6)
    assert result.outcome is Outcome.SUCCEEDED
    assert result.polls == 7


def test_gap_follows_the_policy() -> None:
    """
    The settings are what they say: with a gap of one second, a poll a second.
    """
    source = ScriptedSource({"r": [PENDING, PENDING, PENDING, SUCCESS]})

    follow(source, policy=PollPolicy(gap_min=1, gap_max=4, idle_share=0))

    assert source.calls == [(0, "r"), (1, "r"), (2, "r"), (3, "r")]


def test_age_counts_from_submission() -> None:
    """
    A request submitted eight minutes ago is old: its gap is that of its age.
    """
    source = ScriptedSource({"r": [PENDING, SUCCESS]})
    submitted_at = datetime.now(UTC) - timedelta(seconds=512)

    follow(source, Request("r", submitted_at=submitted_at))

    assert source.times("r") == pytest.approx([0, 2.4], abs=1e-3)


def test_submission_in_the_future_counts_as_now() -> None:
    """
    Clocks of two machines differ; an age is never negative.
    """
    source = ScriptedSource({"r": [PENDING, SUCCESS]})

    follow(source, Request("r", submitted_at=datetime.now(UTC) + timedelta(hours=1)))

    assert source.times("r") == [0, 0.4]


@pytest.mark.parametrize(
    ("word", "outcome", "ok"),
    [
        (SUCCESS, Outcome.SUCCEEDED, True),
        (PARTIAL, Outcome.PARTIALLY_SUCCEEDED, True),
        (FAILED, Outcome.FAILED, False),
        (INVALID, Outcome.INVALID, False),
    ],
)
def test_final_status_ends_the_asking(word: str, outcome: Outcome, *, ok: bool) -> None:
    """
    Each final word of the server becomes its outcome after one poll.
    """
    source = ScriptedSource({"r": [word]})

    result = follow(source)["r"]

    assert (result.outcome, result.ok, result.status) == (outcome, ok, str(word))
    assert source.calls == [(0, "r")]


def test_failed_polls_back_off_with_jitter_and_pending_does_not() -> None:
    """
    Failures wait 1 s x 2**n, half of it random; the gap of PENDING is untouched by them.
    """
    broken = TransportError("reset")
    source = ScriptedSource({"r": [PENDING, broken, broken, broken, PENDING, SUCCESS]})

    follow(source)

    times = source.times("r")
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[0] == pytest.approx(0.4)
    for number, gap in enumerate(gaps[1:4]):
        assert 0.5 * 2**number <= gap <= 2**number
    assert gaps[4] == pytest.approx(max(0.4, 0.3 * times[4] ** (1 / 3)), abs=1e-5)


def test_unknown_status_is_not_pending() -> None:
    """
    A missing status may be an INVALID that proto3 JSON left out: after three of them in a
    row, spaced like failures, the request is UNRECOGNIZED.
    """
    source = ScriptedSource({"r": ["SOMETHING_NEW", "", "SOMETHING_ELSE", SUCCESS]})

    result = follow(source)["r"]

    times = source.times("r")
    assert len(times) == 3
    assert 0.5 <= times[1] <= 1.0
    assert 1.0 <= times[2] - times[1] <= 2.0
    assert result.outcome is Outcome.UNRECOGNIZED
    assert result.error is not None
    assert "SOMETHING_ELSE" in result.reason


def test_unknown_status_between_known_ones_ends_nothing() -> None:
    """
    Three in a row are needed: a PENDING in between starts the count again.
    """
    source = ScriptedSource({"r": ["?", "?", PENDING, "?", "?", SUCCESS]})

    assert follow(source)["r"].outcome is Outcome.SUCCEEDED


def test_404_has_a_grace_and_then_is_final() -> None:
    """
    Right after submission a 404 may be early; after 30 s of nothing else it is the answer.
    """
    source = ScriptedSource({"r": [NotFoundError]})

    result = follow(source)["r"]

    assert result.outcome is Outcome.NOT_FOUND
    last = source.times("r")[-1]
    assert 30.0 < last < 30.1


def test_failed_polls_do_not_break_the_run_of_404() -> None:
    """
    A failure is no reply: an unknown ID on a shaky network must not be asked about for ever.
    """
    shaky: list[Step] = [NotFoundError, TransportError("reset")] * 50
    source = ScriptedSource({"r": shaky})

    assert follow(source, timeout=300)["r"].outcome is Outcome.NOT_FOUND


def test_404_that_goes_away_is_forgotten() -> None:
    """
    An early 404 costs nothing.
    """
    source = ScriptedSource({"r": [NotFoundError, NotFoundError, PENDING, SUCCESS]})

    result = follow(source)["r"]

    assert result.outcome is Outcome.SUCCEEDED
    assert result.error is None


def test_stale_connection_is_no_failure() -> None:
    """
    Nothing was sent, so the request is due again at once and backs off from nothing.
    """
    source = ScriptedSource({"r": [StaleConnectionError, StaleConnectionError, SUCCESS]})

    follow(source)

    assert source.times("r") == pytest.approx([0, 0.0001, 0.0002], abs=1e-4)


def test_refused_poll_pauses_everyone_and_harms_nobody() -> None:
    """
    On a 429 the project pauses as long as the server says, and the ID comes back unharmed.
    """
    source = ScriptedSource(
        {
            "a": [PENDING, ThrottledError(retry_after=3.0), SUCCESS],
            "b": [PENDING, PENDING, SUCCESS],
        }
    )

    results = follow(source)

    assert results.ok
    assert not [at for at, _ in source.calls if 0.5 < at < 3.4]


def test_hanging_poll_delays_nobody_else() -> None:
    """
    One poll may hang until its time-out: the others go on, and it is asked again.
    """
    source = ScriptedSource({"a": [PENDING, hang, SUCCESS], "b": [PENDING, PENDING, SUCCESS]})

    async def scenario() -> None:
        policy = PollPolicy(poll_timeout=5, idle_share=0)
        async with Tracker(source, limiter=wide_limiter(), policy=policy) as tracker:
            b = tracker.track("b")
            a = tracker.track("a")
            assert (await b).ok
            assert now() < 1.0
            assert (await a).ok

    run(scenario())
    first, hung, last = source.times("a")
    assert hung == pytest.approx(first + 0.4, abs=0.01)
    assert 5.4 < last < 6.5


def test_no_request_is_asked_twice_at_once() -> None:
    """
    A poll that is still out when the gap is over is not repeated.
    """
    source = ScriptedSource({"r": [After(3.0, PENDING), SUCCESS]})

    follow(source)

    assert source.times("r") == [0, 3.0]
    assert source.overlaps == []


def test_source_that_cancels_itself_is_asked_again() -> None:
    """
    A CancelledError that nobody ordered must not lose the request.
    """
    source = ScriptedSource({"r": [asyncio.CancelledError, SUCCESS]})

    assert follow(source)["r"].ok


def test_source_that_raises_anything_is_asked_again() -> None:
    """
    A source of the user's own may raise what it likes; the request survives it.
    """
    source = ScriptedSource({"r": [OSError("gone"), KeyError("bug"), PENDING, SUCCESS]})

    assert follow(source)["r"].ok


def test_result_tells_how_late_we_can_be() -> None:
    """
    delay_bound runs from sending the last poll that said PENDING to the final reply.
    """
    source = ScriptedSource({"r": [PENDING, SUCCESS]}, latency=0.1)

    result = follow(source)["r"]

    assert result.delay_bound == pytest.approx(0.5)
    assert result.waited == pytest.approx(0.5)


def test_suspend_does_not_move_the_first_poll() -> None:
    """
    While a laptop sleeps the loop's clock stands still: counted back from the end, the first
    poll would seem hours later than it was.
    """
    began = datetime(2026, 1, 1, 12, tzinfo=UTC)
    slept = timedelta()

    def wall_clock() -> datetime:
        return began + timedelta(seconds=now()) + slept

    async def wake_up(_: str) -> StatusReply:
        nonlocal slept
        slept = timedelta(hours=5)
        return StatusReply(SUCCESS.value)

    async def scenario() -> None:
        source = ScriptedSource({"r": [OSError("gone"), PENDING, wake_up]}, latency=0.1)
        async with Tracker(source, wall_clock=wall_clock) as tracker:
            result = (await tracker.wait_all(["r"]))["r"]
        assert result.first_polled_at == began
        assert result.detected_at is not None
        assert result.detected_at - began > timedelta(hours=5)

    run(scenario())


def test_result_without_a_pending_poll_has_no_bound() -> None:
    """
    It may have ended long before we asked: nothing bounds the delay.
    """
    assert follow(ScriptedSource({"r": [SUCCESS]}))["r"].delay_bound is None


def test_slots_are_paced_from_the_first_request_on() -> None:
    """
    Through the real limiter: one poll in flight until the first good reply, then one slot
    each 102 ms, whichever request takes it.
    """
    source = ScriptedSource({f"r{n}": [SUCCESS] for n in range(5)}, latency=0.05)

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            await tracker.wait_all([f"r{n}" for n in range(5)])

    run(scenario())
    expected = [n / 9.8 for n in range(5)]
    assert [at for at, _ in source.calls] == pytest.approx(expected, abs=1e-5)


class NaiveLimiter(LocalLimiter):
    """A limiter that forgets to look at the pause again once it has waited."""

    async def acquire(self) -> None:
        """Hand out a slot every tenth of a second, whatever the server says."""
        await asyncio.sleep(0.1)


def test_slot_that_was_granted_before_a_pause_is_not_used() -> None:
    """
    The reply 429 may come between the grant and its use: the engine looks once more.
    """
    source = ScriptedSource(
        {
            "a": [PENDING, After(0.25, ThrottledError(retry_after=5.0)), SUCCESS],
            "b": [PENDING, PENDING, PENDING, SUCCESS],
        }
    )

    async def scenario() -> None:
        async with Tracker(source, limiter=NaiveLimiter()) as tracker:
            assert (await tracker.wait_all(["a", "b"])).ok

    run(scenario())
    refused_at = source.times("a")[1] + 0.25
    assert not [at for at, _ in source.calls if refused_at < at < refused_at + 4.9]
    assert [at for at, _ in source.calls if at > refused_at + 4.9]


def test_time_before_we_knew_a_request_is_no_waiting() -> None:
    """
    A thousand requests of an hour ago must not go first as a block: new ones wait too.
    """
    dawn = datetime(2026, 1, 1, tzinfo=UTC)
    old = [Request(f"o{n}", submitted_at=dawn - timedelta(hours=1)) for n in range(1500)]
    dice = random.Random(1)
    ends = {f"f{n}": dice.expovariate(1 / 60) for n in range(300)}

    class Source:
        async def fetch(self, request_id: str) -> StatusReply:
            await asyncio.sleep(0.08)
            ended = now() >= ends.get(request_id, math.inf)
            return StatusReply(SUCCESS if ended else PENDING)

    async def scenario() -> float:
        delays = []
        async with Tracker(
            Source(), wall_clock=lambda: dawn + timedelta(seconds=now()), seed=1
        ) as tracker:
            async for result in tracker.as_completed([*old, *ends]):
                delays.append(now() - ends[result.request_id])
                if len(delays) == len(ends):
                    break
        return sum(delays) / len(delays)

    assert run(scenario()) < 50
