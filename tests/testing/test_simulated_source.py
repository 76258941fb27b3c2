"""The project as a source without sockets."""

from __future__ import annotations

import asyncio

import pytest

from onehouse_tracker.errors import (
    SubmissionRejectedError,
    ThrottledError,
    TransportError,
)
from onehouse_tracker.models import StatusReply
from onehouse_tracker.testing import (
    FaultRule,
    SimulatedProject,
    SimulatedSource,
    SlidingLog,
    faults,
    lognormal,
)
from onehouse_tracker.testing.plugin import VirtualTime
from tests.testing.fault_cases import CASES, OK, Case

PENDING = "API_OPERATION_STATUS_PENDING"
SUCCESS = "API_OPERATION_STATUS_SUCCESS"


def test_the_server_is_asked_half_a_round_trip_after_sending(virtual_time: VirtualTime) -> None:
    """
    What ends while the reply travels is not known yet: delays must count that.
    """
    project = SimulatedProject()
    project.add("a", 1.0)
    source = SimulatedSource(project, round_trip=0.2)

    async def scenario() -> list[tuple[float, str | None]]:
        seen = []
        for start in (0.0, 0.89, 2.0):
            loop = asyncio.get_running_loop()
            await asyncio.sleep(start - loop.time())
            reply = await source.fetch("a")
            seen.append((loop.time(), reply.status))
        return seen

    assert virtual_time(scenario()) == [(0.2, PENDING), (1.09, PENDING), (2.2, SUCCESS)]
    assert project.times("a") == [0.1, 0.99, 2.1]


def test_without_a_round_trip_no_time_passes(virtual_time: VirtualTime) -> None:
    """
    The engine alone can be measured with it.
    """
    project = SimulatedProject()
    project.add("a", 0.0)

    async def scenario() -> tuple[str | None, float]:
        reply = await SimulatedSource(project, round_trip=0).fetch("a")
        return reply.status, asyncio.get_running_loop().time()

    assert virtual_time(scenario()) == (SUCCESS, 0)


def test_requests_may_overtake_each_other_on_their_way(virtual_time: VirtualTime) -> None:
    """
    The server judges by arrival, so a drawn round trip must be able to bunch requests.
    """
    project = SimulatedProject(enforcer=SlidingLog(1))
    project.add("slow", 0.0)
    project.add("fast", 0.0)
    trips = iter([0.8, 0.2])
    source = SimulatedSource(project, round_trip=lambda _: next(trips))

    async def scenario() -> list[StatusReply | BaseException]:
        polls = [source.fetch("slow"), source.fetch("fast")]
        return await asyncio.gather(*polls, return_exceptions=True)

    slow, fast = virtual_time(scenario())

    assert isinstance(slow, ThrottledError)
    assert isinstance(fast, StatusReply)
    assert [(arrival.at, arrival.request_id) for arrival in project.arrivals] == [
        (0.1, "fast"),
        (0.4, "slow"),
    ]


def test_round_trips_come_from_their_own_seed(virtual_time: VirtualTime) -> None:
    """
    Contestants share them, whatever faults the project draws.
    """

    async def ends(seed: int, rate: float) -> list[float]:
        project = SimulatedProject(rules=[FaultRule(fault=faults.not_found(), rate=rate)])
        project.add("a", 0.0)
        source = SimulatedSource(project, round_trip=lognormal(0.08, 0.4), seed=seed)
        times = []
        for _ in range(20):
            await asyncio.gather(source.fetch("a"), return_exceptions=True)
            times.append(asyncio.get_running_loop().time())
        return times

    assert virtual_time(ends(1, 0)) == virtual_time(ends(1, 0.5))
    assert virtual_time(ends(1, 0)) != virtual_time(ends(2, 0))


def test_a_cancelled_poll_counts_at_the_server(virtual_time: VirtualTime) -> None:
    """
    What was sent was sent: giving up must not give the budget back.
    """
    project = SimulatedProject()
    project.add("a", 0.0)
    source = SimulatedSource(project, round_trip=1)

    async def scenario() -> None:
        for patience in (0.1, 0.7):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(source.fetch("a"), patience)
        await asyncio.sleep(1)

    virtual_time(scenario())

    assert [(arrival.at, arrival.verdict) for arrival in project.arrivals] == [
        (0.5, "final"),
        (0.6, "final"),
    ]


def test_a_poll_that_hangs_never_comes_back(virtual_time: VirtualTime) -> None:
    """
    Only a time-out of the caller ends it.
    """
    project = SimulatedProject()
    project.add("a", 0.0)
    project.script("a", [faults.hang()])

    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(SimulatedSource(project).fetch("a"), 86400)

    virtual_time(scenario())

    assert project.arrivals[0].verdict == "fault:hang"


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_fault_ends_a_poll_as_it_would_at_the_real_client(
    virtual_time: VirtualTime, case: Case
) -> None:
    """
    The engine is tested with this source; its errors must be those of the wire.
    """
    project = SimulatedProject()
    project.add("a", 0.0, response={"done": True})
    project.script("a", [case.fault])
    source = SimulatedSource(project)

    if isinstance(case.poll, StatusReply):
        assert virtual_time(source.fetch("a")) == case.poll
        return
    with pytest.raises(case.poll) as caught:
        virtual_time(source.fetch("a"))
    assert type(caught.value) is case.poll
    assert caught.value.request_id == "a"
    if case.fault.message and case.fault.form != "empty":
        assert caught.value.reason == case.fault.message
        assert caught.value.grpc_status == case.fault.grpc_status
        assert caught.value.http_status == case.fault.status


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_fault_ends_a_submission_as_it_would_at_the_real_client(
    virtual_time: VirtualTime, case: Case
) -> None:
    """
    Whether a statement may be submitted again hangs on the kind of the error.
    """
    project = SimulatedProject()
    project.script_next([case.fault])
    source = SimulatedSource(project)

    if case.submission is None:
        assert virtual_time(source.submit("RUN JOB a")) in project.requests
        return
    with pytest.raises(case.submission) as caught:
        virtual_time(source.submit("RUN JOB a"))
    assert type(caught.value) is case.submission


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.throttled(), None),
        (faults.throttled(0), 0.0),
        (faults.throttled(1.5), 1.5),
        # At 10.25 s the date says 12 s: whole seconds, rounded up.
        (faults.throttled(1.5, as_date=True), 1.75),
    ],
)
def test_retry_after_arrives_in_every_form(
    virtual_time: VirtualTime, fault: faults.Fault, expected: float | None
) -> None:
    """
    Absent, zero, seconds and a date are four different things.
    """
    project = SimulatedProject()
    project.script("a", [fault])

    async def scenario() -> float | None:
        with pytest.raises(ThrottledError) as caught:
            await SimulatedSource(project, round_trip=0).fetch("a")
        return caught.value.retry_after

    assert virtual_time(scenario(), start=10.25) == expected


def test_a_delay_holds_up_the_reply_and_not_the_sample(virtual_time: VirtualTime) -> None:
    """
    A late reply tells what was true when the server was asked.
    """
    project = SimulatedProject()
    project.add("a", 1.0)
    project.script("a", [faults.delay(5)])

    async def scenario() -> tuple[str | None, float]:
        reply = await SimulatedSource(project, round_trip=0.2).fetch("a")
        return reply.status, asyncio.get_running_loop().time()

    assert virtual_time(scenario()) == (PENDING, 5.2)


def test_a_submission_brings_the_id_that_is_polled_then(virtual_time: VirtualTime) -> None:
    """
    From submission to outcome without a socket.
    """
    project = SimulatedProject()
    source = SimulatedSource(project, round_trip=0)

    async def scenario() -> StatusReply:
        request_id = await source.submit("SHOW CLUSTERS")
        await asyncio.sleep(project.requests[request_id].duration)
        return await source.fetch(request_id)

    assert virtual_time(scenario()) == StatusReply(SUCCESS, {"showClustersApiResponse": {}})


def test_a_parse_error_is_refused_with_its_reason(virtual_time: VirtualTime) -> None:
    """
    Users must read what to mend.
    """
    with pytest.raises(SubmissionRejectedError, match="HTTP 400: syntax error at position 0"):
        virtual_time(SimulatedSource(SimulatedProject()).submit("SYNTAX ERROR"))


def test_it_may_move_to_another_loop(virtual_time: VirtualTime) -> None:
    """
    A run that was cut off and the run that resumes it use the same service.
    """
    project = SimulatedProject()
    project.add("a", 5.0, response={"done": True})
    source = SimulatedSource(project, round_trip=0)

    assert virtual_time(source.fetch("a")).status == PENDING

    async def resumed() -> list[StatusReply]:
        first = await source.fetch("a")
        project.add("b", 1.0)
        return [first, await source.fetch("b")]

    virtual_time(source.fetch("a"), start=4)
    assert virtual_time(resumed(), start=5) == [OK, StatusReply(PENDING)]
    assert repr(source) == f"<SimulatedSource of {project!r}>"


def test_a_reset_says_so(virtual_time: VirtualTime) -> None:
    """
    The reason stands in the results of users.
    """
    project = SimulatedProject()
    project.script("a", [faults.reset()])

    with pytest.raises(TransportError, match="request a: connection closed before the reply"):
        virtual_time(SimulatedSource(project).fetch("a"))
