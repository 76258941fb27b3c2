"""
One poll for each request, and none of them tracked.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from onehouse_tracker import (
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    OutageError,
    Outcome,
    Request,
    StaleConnectionError,
    StatusReply,
    ThrottledError,
    Tracker,
    TrackerClosedError,
    TransportError,
    UnauthorizedError,
)
from onehouse_tracker.testing import After, ScriptedSource, hang
from tests.support import FAILED, PENDING, SUCCESS, now, run


def test_what_the_server_says_now() -> None:
    """
    Each word and each failure; one poll each, in the order given, and nothing is tracked.
    """
    source = ScriptedSource(
        {
            "done": [StatusReply(SUCCESS, {"rows": 1})],
            "failed": [FAILED],
            "open": [PENDING],
            "odd": ["NEW_WORD"],
            "unknown": [NotFoundError("no such", http_status=404)],
            "forbidden": [UnauthorizedError("not yours", http_status=403)],
            "down": [TransportError("503", http_status=503)],
        },
        latency=0.08,
    )

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            found = await tracker.status([Request("done", label="SHOW"), *source._script, "open"])
            assert list(found) == list(source._script)
            assert {name: each.outcome for name, each in found.items()} == {
                "done": Outcome.SUCCEEDED,
                "failed": Outcome.FAILED,
                "open": None,
                "odd": Outcome.UNRECOGNIZED,
                "unknown": Outcome.NOT_FOUND,
                "forbidden": Outcome.REJECTED,
                "down": Outcome.UNREACHABLE,
            }
            assert [name for name, each in found.items() if each.pending] == ["open"]
            assert [name for name, each in found.items() if each.ok] == ["done"]
            assert found["done"].label == "SHOW"
            assert found["done"].response == {"rows": 1}
            assert found["down"].error is not None
            assert {each.polls for each in found.values()} == {1}
            assert tracker.stats().pending == 0
            assert await tracker.status([]) == {}

    run(scenario())
    assert len(source.calls) == 7


def test_refusals_for_the_rate_are_sent_again_and_pause_the_project() -> None:
    """
    As the polls of tracked requests do; five times at most.
    """
    refused = ThrottledError(retry_after=1.0)
    source = ScriptedSource(
        {"a": [refused, StaleConnectionError("stale"), PENDING], "b": [refused], "c": [PENDING]}
    )

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            found = await tracker.status(["c", "a", "b"])
            assert found["a"].pending
            assert found["a"].polls == 3
            assert found["b"].outcome is Outcome.UNREACHABLE
            assert found["b"].polls == 6
            assert isinstance(found["b"].error, ThrottledError)

    run(scenario())
    assert len(source.times("b")) == 6
    assert source.times("a")[1] >= 1.0


@pytest.mark.parametrize(
    ("step", "error", "polls"),
    [
        (UnauthorizedError("no key", http_status=401), AuthenticationError, 1),
        (TransportError("down"), OutageError, 3),
    ],
)
def test_where_nothing_was_ever_answered_few_polls_find_it_out(
    step: Any, error: type[Exception], polls: int
) -> None:
    """
    A thousand IDs and a wrong key: one poll.
    """
    source = ScriptedSource({f"r{n}": [step] for n in range(1000)})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            with pytest.raises(error):
                await tracker.status([f"r{n}" for n in range(1000)])

    run(scenario())
    assert len(source.calls) == polls


def test_it_keeps_to_the_rate_limit_and_waits_for_no_reply() -> None:
    """
    Replies that take two seconds delay no other poll, once there was one.
    """
    source = ScriptedSource({f"r{n}": [After(2.0, PENDING)] for n in range(50)})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            assert len(await tracker.status([f"r{n}" for n in range(50)])) == 50
            assert 2 + 49 / 9.8 <= now() <= 2 + 49 / 9.8 + 2.5

    run(scenario())


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_nothing_is_left_when_it_ends_early(how: str) -> None:
    """
    At any of a hundred moments.
    """

    async def scenario(after: float) -> None:
        source = ScriptedSource({"a": [PENDING], "b": [hang], "c": [hang]}, latency=0.05)
        async with Tracker(source) as tracker:
            task = asyncio.create_task(tracker.status(["a", "b", "c"]))
            await asyncio.sleep(after)
            if how == "cancel":
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert not source.in_flight
        if how == "close":
            assert not source.in_flight
            with pytest.raises(TrackerClosedError):
                await task

    for number in range(0, 100, 5):
        run(scenario(number / 250))


def test_mistakes_cost_no_poll() -> None:
    """
    Everything is checked first.
    """
    source = ScriptedSource({"a": [PENDING]})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            for wrong in ("a", ["a", ""], {"name": "a"}):
                with pytest.raises(InvalidRequestError):
                    await tracker.status(wrong)
        with pytest.raises(TrackerClosedError):
            await tracker.status(["a"])

    run(scenario())
    assert not source.calls
