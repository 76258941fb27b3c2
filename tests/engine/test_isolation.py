"""
What is wrong with one request costs that request: rule by rule.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from itertools import pairwise

import pytest

from onehouse_tracker import Outcome, PollPolicy, Results, StatusReply, Tracker
from onehouse_tracker._engine.schedule.schedule import Schedule
from onehouse_tracker._engine.tracked import Tracked
from onehouse_tracker._engine.waits import Wait
from onehouse_tracker.errors import (
    NotFoundError,
    OutageError,
    StatusError,
    ThrottledError,
    TransportError,
)
from onehouse_tracker.events import Event, OutageBegan, OutageEnded
from onehouse_tracker.testing.virtual_clock import (
    _TICKS_PER_MICROSECOND,
    _TICKS_PER_SECOND,
    VirtualClockLoop,
)
from tests.support import PENDING, SUCCESS, now, run

DOWN = TransportError("down", http_status=503)


class Server:
    """Answers as a function of time and ID says: a word, an error, or seconds of silence."""

    def __init__(self, answer: Callable[[float, str], str | StatusError | float]) -> None:
        self.answer = answer
        self.calls: list[tuple[float, str]] = []

    async def fetch(self, request_id: str) -> StatusReply:
        """Answer after 80 ms."""
        at = now()
        self.calls.append((at, request_id))
        await asyncio.sleep(0.08)
        answer = self.answer(at, request_id)
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            answer = PENDING
        if isinstance(answer, StatusError):
            raise answer
        return StatusReply(answer)

    def between(self, start: float, end: float) -> list[str]:
        """The requests that were asked about in [start, end)."""
        return [request_id for at, request_id in self.calls if start <= at < end]


def ids(kind: str, count: int) -> list[str]:
    """Some IDs of one kind."""
    return [f"{kind}{number}" for number in range(count)]


def is_sick(request_id: str) -> bool:
    """Whether the name says so."""
    return request_id.startswith("sick")


def test_a_failed_poll_counts_as_a_poll_that_was_sent() -> None:
    """
    After its backoff a sick request must not go before healthy ones that waited longer.
    """
    schedule = Schedule(PollPolicy(), 10.0)
    sick, well = (Tracked(name, label=None, born=0, now=0, wait=Wait()) for name in ("s", "w"))
    for tracked in (sick, well):
        schedule.add(tracked, 0)
        schedule.take(tracked)
    well.looked = well.asked = 98.0
    schedule.add(well, 99.0)
    sick.asked = 99.0
    schedule.again(sick, 100.0)

    assert schedule.pop(110.0) is well
    assert schedule.pop(110.0) is sick


@pytest.mark.parametrize("healthy_until", [0.0, 5.0])
def test_sick_requests_side_by_side_are_no_outage(healthy_until: float) -> None:
    """
    Forty in a row fail; requests that were answered last are asked, and stand for the server.
    """

    def answer(at: float, request_id: str) -> str | StatusError:
        if is_sick(request_id):
            return PENDING if at < healthy_until else DOWN
        return PENDING if at < 60 else SUCCESS

    server = Server(answer)
    seen: list[Event] = []

    async def scenario() -> Results:
        async with Tracker(server, observers=[seen.append], seed=1) as tracker:
            return await tracker.wait_all(
                ["well", *ids("sick", 40), *ids("fine", 60)], timeout=100
            )

    results = run(scenario())
    assert len(results.succeeded) == 61
    assert not [event for event in seen if isinstance(event, OutageBegan) and event.at < 60]


@pytest.mark.parametrize(
    ("count", "way"), [(1, DOWN), (2, DOWN), (5, DOWN), (200, DOWN), (5, 1e6), (200, 1e6)]
)
def test_a_server_that_goes_away_is_noticed(count: int, way: StatusError | float) -> None:
    """
    Within a second of the tenth failure; then it gets one probe a second, and the first good
    reply brings back full speed.
    """
    server = Server(lambda at, _: way if 30 <= at < 230 else PENDING if at < 240 else SUCCESS)
    seen: list[Event] = []

    async def scenario() -> Results:
        async with Tracker(server, observers=[seen.append], seed=1) as tracker:
            return await tracker.wait_all(ids("r", count))

    assert run(scenario()).ok
    began, ended = (event for event in seen if isinstance(event, OutageBegan | OutageEnded))
    failures = [
        event.at for event in seen if getattr(event, "error", None) and event.at <= began.at
    ]
    assert began.at - failures[9] < 1.0
    probes = server.between(began.at, 230)
    assert len(probes) <= 1.1 * (230 - began.at) + 1
    assert ended.at < 230 + 31
    after = server.between(ended.at, ended.at + 1.1)
    # The one whose reply ended it may have its gap.
    assert way != DOWN or len(after) >= max(1, min(count - 1, 9))


def test_probes_go_to_the_request_answered_last_and_to_one_at_random() -> None:
    """
    In turn: the first may be the only healthy one; the others were never asked.
    """
    server = Server(lambda at, name: PENDING if name == "r0" and at < 1 else DOWN)

    async def scenario() -> None:
        async with Tracker(server, seed=1) as tracker:
            await tracker.wait_all(ids("r", 500), timeout=60)

    run(scenario())
    probes = server.between(20, 60)
    assert probes.count("r0") in {19, 20, 21}
    others = [name for name in probes if name != "r0"]
    assert len(set(others)) >= 18  # hardly ever the same twice
    assert sorted(others) != others  # and not in the order of the list


def test_what_began_to_fail_before_an_outage_is_not_forgiven() -> None:
    """
    Its backoff goes on; what failed with the server goes at once.
    """

    def answer(at: float, request_id: str) -> str | StatusError:
        if is_sick(request_id) or 60 <= at < 120:
            return DOWN
        return PENDING

    server = Server(answer)
    seen: list[Event] = []

    async def scenario() -> None:
        async with Tracker(server, observers=[seen.append], seed=1) as tracker:
            await tracker.wait_all([*ids("sick", 3), *ids("r", 20)], timeout=220)

    run(scenario())
    (ended,) = (event.at for event in seen if isinstance(event, OutageEnded))
    assert {name for name in server.between(ended, ended + 4) if not is_sick(name)} == set(
        ids("r", 20)
    )
    for name in ids("sick", 3):
        times = [at for at, asked in server.calls if asked == name and at > ended]
        assert min(later - earlier for earlier, later in pairwise(times)) > 15


def test_requests_that_hang_at_the_head_of_a_list_hold_up_nobody() -> None:
    """
    Before the first good reply one poll is on the wire; it must not be theirs for ever.
    """
    server = Server(lambda _, name: 1e6 if is_sick(name) else SUCCESS)

    async def scenario() -> None:
        async with Tracker(server, seed=1) as tracker:
            results = await tracker.wait_all([*ids("sick", 25), *ids("r", 475)], timeout=70)
            assert len(results.succeeded) == 475

    run(scenario())


@pytest.mark.parametrize(
    ("sickness", "outcome"),
    [
        (DOWN, Outcome.UNREACHABLE),
        (1e6, Outcome.UNREACHABLE),
        (TransportError("reset"), Outcome.UNREACHABLE),
        (ThrottledError(), Outcome.UNREACHABLE),
        (NotFoundError("no", http_status=404), Outcome.NOT_FOUND),
    ],
)
def test_when_only_sick_requests_are_left_each_ends_by_itself(
    sickness: StatusError | float, outcome: Outcome
) -> None:
    """
    The server is well: nobody gets an `OutageError`, and it takes twelve minutes at most.
    """
    server = Server(
        lambda at, name: sickness if is_sick(name) else (PENDING if at < 20 else SUCCESS)
    )

    async def scenario() -> Results:
        async with Tracker(server, seed=1) as tracker:
            return await tracker.wait_all([*ids("r", 40), *ids("sick", 10)], timeout=720)

    results = run(scenario())
    assert {results[name].outcome for name in ids("sick", 10)} == {outcome}
    assert len(results.succeeded) == 40


def test_a_server_that_goes_away_with_sick_requests_left_fails_the_others_only() -> None:
    """
    What failed for itself before is unreachable; the rest gets `OutageError`, with that result.
    """
    server = Server(lambda at, name: DOWN if is_sick(name) or at > 30 else PENDING)

    async def scenario() -> None:
        async with Tracker(server, seed=1) as tracker:
            with pytest.raises(OutageError, match=r"the last failure: .*down") as caught:
                await tracker.wait_all([*ids("sick", 2), *ids("r", 20)])
            assert set(caught.value.pending) == set(ids("r", 20))
            assert caught.value.results is not None
            assert set(caught.value.results) == set(ids("sick", 2))

    run(scenario())


def test_an_outage_of_500_seconds_fails_nobody() -> None:
    """
    Probes come faster than any backoff, and prove nothing by their number.
    """
    server = Server(lambda at, _: DOWN if 30 <= at < 530 else PENDING if at < 540 else SUCCESS)

    async def scenario() -> Results:
        async with Tracker(server, seed=1) as tracker:
            return await tracker.wait_all(ids("r", 5))

    assert run(scenario()).ok


def _jump(seconds: float) -> None:
    """Let the clock jump, as that of a stopped process does."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualClockLoop)
    loop._ticks += round(seconds * 1e6) * _TICKS_PER_MICROSECOND
    loop._now = loop._ticks / _TICKS_PER_SECOND


@pytest.mark.parametrize("stop", [700.0, 3600.0])
def test_a_process_that_was_stopped_asks_again_before_it_gives_up(stop: float) -> None:
    """
    Its own silence is not the server's.
    """
    server = Server(lambda at, _: DOWN if at < 0.5 else SUCCESS)

    async def scenario() -> Results:
        async with Tracker(server, seed=1) as tracker:
            waiting = asyncio.ensure_future(tracker.wait_all(["a", "b"]))
            await asyncio.sleep(0.3)
            _jump(stop)
            return await waiting

    assert run(scenario()).ok


def test_retry_after_on_a_503_holds_back_its_request_and_the_probes() -> None:
    """
    The server says when it will be back.
    """
    busy = TransportError("busy", http_status=503, retry_after=20.0)
    server = Server(lambda at, _: busy if 10 <= at < 100 else PENDING if at < 130 else SUCCESS)

    async def scenario() -> Results:
        async with Tracker(server, seed=1) as tracker:
            return await tracker.wait_all(ids("r", 30))

    assert run(scenario()).ok
    times = [at for at, _ in server.calls if 15 <= at < 100]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps, default=math.inf) >= 20 - 1e-6


def test_one_poll_that_hung_for_long_is_no_proof_against_its_request() -> None:
    """
    It failed once while another request was answered; then the server went silent for all.
    """

    class Hanging:
        async def fetch(self, request_id: str) -> StatusReply:
            if request_id == "slow" or now() > 19.0:
                await asyncio.sleep(20.0)
                raise DOWN
            await asyncio.sleep(0.08)
            return StatusReply(PENDING)

    async def scenario() -> OutageError:
        policy = PollPolicy(patience=20.0)
        async with Tracker(Hanging(), policy=policy, seed=1) as tracker:
            with pytest.raises(OutageError) as caught:
                await tracker.wait_all(["slow", "well"], timeout=200)
            return caught.value

    error = run(scenario())
    assert sorted(error.pending) == ["slow", "well"]
    assert not error.results
