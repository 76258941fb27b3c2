"""Outages, refused credentials and patience: what concerns every request at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from onehouse_tracker import Outcome, PollPolicy, Results, StatusReply, Tracker
from onehouse_tracker.errors import (
    AuthenticationError,
    OutageError,
    StatusError,
    SubmissionRejectedError,
    ThrottledError,
    TransportError,
    UnauthorizedError,
)
from onehouse_tracker.events import Event, OutageBegan, OutageEnded
from onehouse_tracker.testing import ScriptedSource
from tests.support import PENDING, SUCCESS, now, run


class World:
    """A source whose replies a function of time and ID decides; it remembers every call."""

    def __init__(
        self, answer: Callable[[float, str], str | StatusError], latency: float = 0.0
    ) -> None:
        self.answer = answer
        self.latency = latency
        self.calls: list[tuple[float, str]] = []

    async def fetch(self, request_id: str) -> StatusReply:
        """Answer as the function says, for the moment of asking."""
        at = now()
        self.calls.append((at, request_id))
        await asyncio.sleep(self.latency)
        answer = self.answer(at, request_id)
        if isinstance(answer, StatusError):
            raise answer
        return StatusReply(str(answer))

    def between(self, start: float, end: float) -> list[float]:
        """The times of the calls in [start, end)."""
        return [at for at, _ in self.calls if start <= at < end]


def down(start: float, end: float, done: float) -> Callable[[float, str], str | StatusError]:
    """A server that is down in [start, end) and has finished everything at *done*."""

    def answer(at: float, _request_id: str) -> str | StatusError:
        if start <= at < end:
            return TransportError("connection refused")
        return SUCCESS if at >= done else PENDING

    return answer


IDS = [f"r{number}" for number in range(500)]


def test_outage_of_nine_minutes_loses_nothing() -> None:
    """
    A batch of 500 survives it: one probe a second, then full speed at once.
    """
    world = World(down(30, 570, done=560), latency=0.02)
    seen: list[Event] = []

    async def scenario() -> Results:
        async with Tracker(world, observers=[seen.append]) as tracker:
            return await tracker.wait_all(IDS)

    results = run(scenario())

    assert results.ok
    assert len(results) == 500
    for second in range(36, 569):
        assert len(world.between(second, second + 1)) <= 1
    assert len(world.between(100, 200)) >= 99  # and the probes do go on
    probed = {request_id for at, request_id in world.calls if 36 <= at < 536}
    assert len(probed) > 150  # every second one goes to an ID at random
    back = min(at for at, _ in world.calls if at >= 570)
    assert back < 571.1
    assert len(world.between(back + 0.1, back + 1.1)) >= 9
    assert [type(event) for event in seen if isinstance(event, OutageBegan | OutageEnded)] == [
        OutageBegan,
        OutageEnded,
    ]


def test_patience_ends_with_everything_that_is_known() -> None:
    """
    After 600 s without a good reply everyone gets OutageError; the next wait goes on.
    """

    def answer(at: float, request_id: str) -> str | StatusError:
        if at < 10:
            return SUCCESS if request_id in {"r0", "r1"} else PENDING
        return TransportError("down") if at < 700 else SUCCESS

    world = World(answer)

    async def scenario() -> None:
        async with Tracker(world) as tracker:
            with pytest.raises(OutageError) as caught:
                await tracker.wait_all(IDS[:20])
            assert caught.value.results is not None
            assert set(caught.value.results) == {"r0", "r1"}
            assert len(caught.value.pending) == 18
            assert "18 requests still open" in str(caught.value)
            assert now() == pytest.approx(610, abs=1)
            await asyncio.sleep(100)
            assert (await tracker.wait_all(caught.value.pending)).ok

    run(scenario())


def test_patience_does_not_count_pauses() -> None:
    """
    A pause that the server ordered is not silence.
    """

    def answer(at: float, _request_id: str) -> str | StatusError:
        if at < 5:
            return TransportError("down")
        if at < 20:
            return ThrottledError(retry_after=100)
        return TransportError("down")

    async def scenario() -> None:
        async with Tracker(World(answer), policy=PollPolicy(patience=50)) as tracker:
            with pytest.raises(OutageError):
                await tracker.wait_all(["a", "b"])
            assert now() == pytest.approx(150, abs=1)

    run(scenario())


def test_patience_counts_pauses_that_nobody_ordered() -> None:
    """
    A server that answers 429 for ever, and never says until when, gives no good reply.
    """
    world = World(lambda _at, _id: ThrottledError())

    async def scenario() -> None:
        async with Tracker(world, policy=PollPolicy(patience=60)) as tracker:
            with pytest.raises(OutageError):
                await tracker.wait_all(["a", "b"])
            assert now() == pytest.approx(60, abs=12)

    run(scenario())


def test_patience_does_not_count_idle_time() -> None:
    """
    While nobody waits nothing is asked, and silence means nothing.
    """

    async def scenario() -> None:
        world = World(lambda _at, _id: TransportError("down"))
        async with Tracker(world, policy=PollPolicy(patience=60)) as tracker:
            results = await tracker.wait_all(["a"], timeout=30)
            assert results["a"].outcome is Outcome.TIMED_OUT
            await asyncio.sleep(1000)
            with pytest.raises(OutageError):
                await tracker.wait_all(["a"])
            assert now() == pytest.approx(1060, abs=2)

    run(scenario())


def test_single_request_alone_is_never_unreachable() -> None:
    """
    Alone, nothing tells its failure from an outage: patience decides.
    """

    async def scenario() -> None:
        async with Tracker(World(lambda _at, _id: TransportError("down"))) as tracker:
            with pytest.raises(OutageError) as caught:
                await tracker.wait_all(["a"])
            assert caught.value.pending == ("a",)
            assert now() == pytest.approx(600, abs=1)

    run(scenario())


def test_request_that_alone_fails_is_unreachable() -> None:
    """
    Twenty failures in a row while another ID is answered: it is this one's fault.
    """

    def answer(_at: float, request_id: str) -> str | StatusError:
        return TransportError("HTTP 500") if request_id == "bad" else PENDING

    world = World(answer)

    async def scenario() -> None:
        async with Tracker(world) as tracker:
            good = tracker.track("good")
            result = (await tracker.wait_all(["bad"]))["bad"]
            assert result.outcome is Outcome.UNREACHABLE
            assert result.polls == 20
            assert not good.done()

    run(scenario())


def test_wrong_key_costs_one_request() -> None:
    """
    Until the first good reply one poll is out: a thousand IDs do not knock a thousand times.
    """
    world = World(lambda _at, _id: UnauthorizedError("bad key", http_status=401), latency=0.5)

    async def scenario() -> None:
        async with Tracker(world) as tracker:
            with pytest.raises(AuthenticationError) as caught:
                await tracker.wait_all([f"r{number}" for number in range(1000)])
            assert len(caught.value.pending) == 1000
            assert "bad key" in str(caught.value)

    run(scenario())
    assert len(world.calls) == 1


def test_every_waiter_gets_an_error_of_its_own() -> None:
    """
    Two waiters must not share one exception object: its traceback would grow.
    """
    world = World(lambda _at, _id: UnauthorizedError("bad key", http_status=401), latency=0.5)

    async def scenario() -> None:
        async with Tracker(world) as tracker:
            errors = await asyncio.gather(
                tracker.wait_all(["a", "b"]),
                tracker.wait_all(["b"]),
                tracker.track("a"),
                tracker.submit("SHOW TABLES"),
                return_exceptions=True,
            )
            assert all(type(error) is AuthenticationError for error in errors)
            assert len({id(error) for error in errors}) == 4
            assert [getattr(error, "pending", None) for error in errors[:3]] == [
                ("a", "b"),
                ("b",),
                ("a",),
            ]

    source = ScriptedSource({})
    world.submit = source.submit  # type: ignore[attr-defined] # makes it a source of both kinds
    run(scenario())
    assert source.submitted == []


def test_tracker_goes_on_after_refused_credentials() -> None:
    """
    A rotated key may come back: the next wait starts with a single probe.
    """

    def answer(at: float, _request_id: str) -> str | StatusError:
        return UnauthorizedError("rotated", http_status=401) if at < 5 else SUCCESS

    world = World(answer, latency=0.5)

    async def scenario() -> None:
        async with Tracker(world) as tracker:
            with pytest.raises(AuthenticationError):
                await tracker.wait_all(["a", "b", "c"])
            await asyncio.sleep(10)
            assert (await tracker.wait_all(["a", "b", "c"])).ok

    run(scenario())
    assert len(world.between(0, 5)) == 1
    assert len(world.between(10, 11)) == 1 + len(world.between(10.6, 11))


def test_one_refused_id_is_rejected_alone() -> None:
    """
    A 403 for one ID after good replies: another ID is asked, answers, and stands for all.
    """

    def answer(at: float, request_id: str) -> str | StatusError:
        if request_id == "foreign" and at > 3:
            return UnauthorizedError("not yours", http_status=403)
        return SUCCESS if at > 20 else PENDING

    async def scenario() -> Results:
        async with Tracker(World(answer)) as tracker:
            return await tracker.wait_all(["a", "foreign", "b"])

    results = run(scenario())

    assert results["foreign"].outcome is Outcome.REJECTED
    assert results["foreign"].reason == "not yours"
    assert results["a"].ok
    assert results["b"].ok


def test_a_witness_that_fails_gives_way_to_another() -> None:
    """
    One refused ID and one that always fails must not stop the healthy ones.
    """

    def answer(at: float, request_id: str) -> str | StatusError:
        if at > 3 and request_id == "foreign":
            return UnauthorizedError("not yours", http_status=403)
        if at > 3 and request_id == "failing":
            return TransportError("HTTP 500")
        return SUCCESS if at > 60 else PENDING

    async def scenario() -> Results:
        async with Tracker(World(answer)) as tracker:
            return await tracker.wait_all(["failing", "foreign", "a", "b"])

    results = run(scenario())

    assert results["foreign"].outcome is Outcome.REJECTED
    assert results["failing"].outcome is Outcome.UNREACHABLE
    assert results["a"].ok
    assert results["b"].ok


def test_witnesses_that_all_fail_take_turns() -> None:
    """
    Which of them will answer first nobody knows, so none is asked alone.
    """

    def answer(at: float, request_id: str) -> str | StatusError:
        if at > 3 and request_id == "foreign":
            return UnauthorizedError("not yours", http_status=403)
        return TransportError("HTTP 500") if at > 3 else PENDING

    world = World(answer)

    async def scenario() -> None:
        async with Tracker(world) as tracker:
            await tracker.wait_all(["a", "b", "c", "foreign"], timeout=150)

    run(scenario())
    asked = [request_id for at, request_id in world.calls if 20 <= at < 150]
    assert min(asked.count(name) for name in "abc") >= 3


def test_revoked_key_fails_everyone_after_three_refusals() -> None:
    """
    A key that expires is never the fault of a request; a second goes by, so that a refusal of
    a moment harms nobody.
    """

    def answer(at: float, _request_id: str) -> str | StatusError:
        return PENDING if at < 20 else UnauthorizedError("revoked", http_status=401)

    world = World(answer)

    async def scenario() -> None:
        async with Tracker(world) as tracker:
            with pytest.raises(AuthenticationError) as caught:
                await tracker.wait_all(["a", "b", "c"])
            assert not caught.value.results
            assert set(caught.value.pending) == {"a", "b", "c"}

    run(scenario())
    refused = world.between(20, 100)
    assert len(refused) == 3
    assert 1 <= refused[-1] - refused[0] < 1.5


def test_several_foreign_ids_do_not_condemn_the_project() -> None:
    """
    Two refused IDs do not confirm each other: an ID that was answered before decides.
    """

    def answer(at: float, request_id: str) -> str | StatusError:
        if request_id.startswith("foreign"):
            return UnauthorizedError("not yours", http_status=403)
        return SUCCESS if at > 20 else PENDING

    async def scenario() -> Results:
        async with Tracker(World(answer, latency=0.3)) as tracker:
            return await tracker.wait_all(["a", "foreign1", "foreign2", "foreign3", "b"])

    results = run(scenario())

    assert [results[key].outcome for key in ("foreign1", "foreign2", "foreign3")] == [
        Outcome.REJECTED
    ] * 3
    assert results["a"].ok
    assert results["b"].ok


def test_only_request_is_asked_once_more_before_it_condemns_the_project() -> None:
    """
    With no other ID to ask, the same one confirms: a passing 401 harms nobody.
    """

    def answer(at: float, _request_id: str) -> str | StatusError:
        if at < 3:
            return PENDING
        return UnauthorizedError("blip", http_status=401) if at < 3.4 else SUCCESS

    async def scenario() -> Results:
        async with Tracker(World(answer)) as tracker:
            return await tracker.wait_all(["a"])

    assert run(scenario()).ok


def test_submission_refused_after_good_replies_concerns_only_itself() -> None:
    """
    A statement one may not run says nothing about the polls of others.
    """

    async def scenario() -> None:
        source = ScriptedSource(
            {"a": [PENDING, PENDING, PENDING, SUCCESS]},
            submissions=[UnauthorizedError("no permission to run this", http_status=403)],
        )
        async with Tracker(source) as tracker:
            handle = tracker.track("a")
            await asyncio.sleep(1)
            with pytest.raises(SubmissionRejectedError, match="no permission"):
                await tracker.submit("DROP TABLE x")
            assert (await handle).ok

    run(scenario())
