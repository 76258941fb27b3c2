"""The source that says what its script says."""

from __future__ import annotations

import asyncio

import pytest

from onehouse_tracker.errors import (
    NotFoundError,
    SubmissionUnknownError,
    ThrottledError,
    TransportError,
)
from onehouse_tracker.models import ApiStatus, StatusReply
from onehouse_tracker.testing import After, ScriptedSource, hang
from onehouse_tracker.testing.plugin import VirtualTime

R1, R2 = "r-1", "r-2"
PENDING, SUCCESS = ApiStatus.PENDING, ApiStatus.SUCCESS


def test_steps_are_replied_in_order_and_the_last_one_repeats(virtual_time: VirtualTime) -> None:
    """
    A finished request stays finished, so a script needs no end.
    """
    source = ScriptedSource({R1: [PENDING, StatusReply("NEW", {"a": 1}), SUCCESS]})

    async def scenario() -> list[StatusReply]:
        return [await source.fetch(R1) for _ in range(4)]

    replies = virtual_time(scenario())

    assert [reply.status for reply in replies] == [
        "API_OPERATION_STATUS_PENDING",
        "NEW",
        "API_OPERATION_STATUS_SUCCESS",
        "API_OPERATION_STATUS_SUCCESS",
    ]
    assert replies[1].response == {"a": 1}
    assert type(replies[0].status) is str


def test_calls_are_noted_when_they_are_sent_with_exact_times(virtual_time: VirtualTime) -> None:
    """
    Tests of the schedule compare these times with plain numbers.
    """
    source = ScriptedSource({R1: [PENDING, After(2, SUCCESS)], R2: [PENDING]}, latency=0.1)

    async def scenario() -> float:
        await source.fetch(R1)
        await source.fetch(R2)
        await source.fetch(R1)
        return asyncio.get_running_loop().time()

    assert virtual_time(scenario()) == 2.2
    assert source.calls == [(0, R1), (0.1, R2), (0.2, R1)]
    assert source.times(R1) == [0, 0.2]


def test_errors_are_raised_afresh_and_name_the_request(virtual_time: VirtualTime) -> None:
    """
    Waiters must not share an error object, and a traceback grows with every raise.
    """
    original = ThrottledError("slow down", retry_after=3.0)
    source = ScriptedSource({R1: [original], R2: [TransportError], "r-3": [OSError]})

    async def caught(request_id: str) -> Exception:
        try:
            await source.fetch(request_id)
        except Exception as error:  # noqa: BLE001 - which one it is, is the question
            return error
        raise AssertionError("nothing was raised")

    first, second = virtual_time(caught(R1)), virtual_time(caught(R1))

    assert isinstance(first, ThrottledError)
    assert first is not original
    assert first is not second
    assert (first.reason, first.retry_after, first.request_id) == ("slow down", 3.0, R1)
    assert original.request_id == ""
    named = ScriptedSource({R1: [TransportError("reset", request_id="another")]})
    with pytest.raises(TransportError, match="request another: reset"):
        virtual_time(named.fetch(R1))
    transport = virtual_time(caught(R2))
    assert isinstance(transport, TransportError)
    assert transport.request_id == R2
    assert type(virtual_time(caught("r-3"))) is OSError


def test_an_unknown_id_is_not_found(virtual_time: VirtualTime) -> None:
    """
    As at the server; a misspelt ID in a test shows up as what it is.
    """
    source = ScriptedSource({R1: [SUCCESS]})

    with pytest.raises(NotFoundError, match="request r-9: HTTP 404: not in the script"):
        virtual_time(source.fetch("r-9"))


def test_a_poll_that_hangs_can_be_cancelled_and_leaves_nothing(virtual_time: VirtualTime) -> None:
    """
    Time-outs are tested with it; what is in flight must be right afterwards.
    """
    source = ScriptedSource({R1: [hang, SUCCESS]})

    async def scenario() -> StatusReply:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(source.fetch(R1), 30)
        return await source.fetch(R1)

    assert virtual_time(scenario()).status == SUCCESS
    assert source.times(R1) == [0, 30]
    assert source.in_flight == {}


def test_polls_in_flight_and_overlaps_are_counted(virtual_time: VirtualTime) -> None:
    """
    Two polls of one ID at a time are a defect of the engine that no reply would show.
    """
    source = ScriptedSource({R1: [PENDING], R2: [PENDING]}, latency=1)

    async def scenario() -> None:
        await asyncio.gather(source.fetch(R1), source.fetch(R2), source.fetch(R1))

    virtual_time(scenario())

    assert source.max_in_flight == 3
    assert source.overlaps == [R1]
    assert source.in_flight == {}
    assert repr(source) == "<ScriptedSource: 2 requests, 3 calls>"


def test_a_step_may_be_a_coroutine_function(virtual_time: VirtualTime) -> None:
    """
    What a script cannot say, code can.
    """

    async def step(request_id: str) -> StatusReply:
        await asyncio.sleep(7)
        return StatusReply(f"for {request_id}")

    assert virtual_time(ScriptedSource({R1: [step]}).fetch(R1)).status == "for r-1"


def test_an_empty_script_is_refused() -> None:
    """
    There would be nothing to reply and nothing to repeat.
    """
    with pytest.raises(ValueError, match="'r-1' is empty"):
        ScriptedSource({R1: []})


def test_submissions_follow_their_script(virtual_time: VirtualTime) -> None:
    """
    The way from submission to outcome is tested with one double.
    """
    source = ScriptedSource({}, latency=0.5, submissions=[R1, SubmissionUnknownError("reset"), R2])

    async def scenario() -> list[str]:
        ids = [await source.submit("RUN JOB a")]
        with pytest.raises(SubmissionUnknownError, match="reset"):
            await source.submit("RUN JOB b")
        ids.append(await source.submit("RUN JOB c"))
        with pytest.raises(AssertionError, match="submission 4"):
            await source.submit("RUN JOB d")
        return ids

    assert virtual_time(scenario()) == [R1, R2]
    assert source.submitted == [
        (0, "RUN JOB a"),
        (0.5, "RUN JOB b"),
        (1, "RUN JOB c"),
        (1.5, "RUN JOB d"),
    ]


def test_submissions_without_latency_take_no_time(virtual_time: VirtualTime) -> None:
    """
    The default must not change exact times.
    """
    source = ScriptedSource({}, submissions=[R1])

    async def scenario() -> tuple[str, float]:
        return await source.submit("SHOW CLUSTERS"), asyncio.get_running_loop().time()

    assert virtual_time(scenario()) == (R1, 0)
