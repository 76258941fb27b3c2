"""Submissions and the user's own slots: within the budget, sent once, never in the way."""

from __future__ import annotations

import asyncio
from itertools import groupby

import pytest

from onehouse_tracker import Handle, Tracker
from onehouse_tracker.errors import (
    AuthenticationError,
    ConfigError,
    InvalidRequestError,
    SubmissionRejectedError,
    SubmissionUnknownError,
    ThrottledError,
    TrackerClosedError,
    TransportError,
    UnauthorizedError,
)
from onehouse_tracker.events import Event, ProjectFailed
from onehouse_tracker.models import StatusReply
from onehouse_tracker.policy import PollPolicy
from onehouse_tracker.testing import After, ScriptedSource, hang
from tests.support import PENDING, SUCCESS, now, run


def test_submitted_statement_is_followed() -> None:
    """
    The handle knows the request ID; the first poll comes one gap after the submission.
    """
    source = ScriptedSource({"id-1": [PENDING, SUCCESS]}, submissions=["id-1"], latency=0.1)

    async def scenario() -> None:
        async with Tracker(source, policy=PollPolicy(idle_share=0)) as tracker:
            handle = await tracker.submit("RUN JOB nightly", label="RUN JOB")
            assert handle.request_id == "id-1"
            assert (await handle).label == "RUN JOB"

    run(scenario())
    assert source.submitted == [(0, "RUN JOB nightly")]
    assert source.times("id-1") == pytest.approx([0.5, 0.9], abs=1e-4)


def test_submission_refused_for_its_rate_is_sent_again_after_the_pause() -> None:
    """
    After a 429 nothing runs, so another attempt cannot duplicate anything.
    """
    source = ScriptedSource(
        {"id-1": [SUCCESS]}, submissions=[ThrottledError(retry_after=5.0), "id-1"]
    )

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            assert (await (await tracker.submit("SHOW TABLES"))).ok
            assert tracker.stats().refusals == 1

    run(scenario())
    assert [at for at, _ in source.submitted] == pytest.approx([0, 5.0], abs=1e-4)


def test_ambiguous_submission_is_never_sent_again() -> None:
    """
    A time-out after sending may have started something: the caller decides.
    """
    source = ScriptedSource(
        {}, submissions=[SubmissionUnknownError("reset"), SubmissionRejectedError("syntax")]
    )

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            with pytest.raises(SubmissionUnknownError, match="not sent again"):
                await tracker.submit("CREATE CLUSTER x")
            with pytest.raises(SubmissionRejectedError, match="syntax"):
                await tracker.submit("CREATE CLUSTR x")

    run(scenario())
    assert len(source.submitted) == 2


def test_submission_that_hangs_is_of_unknown_fate() -> None:
    """
    The engine's time-out ends it, and says what is not known.
    """

    class Hanging:
        async def fetch(self, request_id: str) -> StatusReply:
            raise TransportError(request_id=request_id)

        async def submit(self, _statement: str) -> str:
            await asyncio.sleep(1000)
            return "never"

    async def scenario() -> None:
        async with Tracker(Hanging(), policy=PollPolicy(poll_timeout=5)) as tracker:
            with pytest.raises(SubmissionUnknownError, match="no reply within 5 s"):
                await tracker.submit("RUN JOB x")
            assert now() == 5
            assert tracker.stats().in_flight == 0

    run(scenario())


@pytest.mark.parametrize("statement", ["", "  \n", " ;; \n", None, 7, "A\udce9", "A\0", "\ufeffA"])
def test_no_statement_is_refused_at_once(statement: object) -> None:
    """
    Nothing is sent of what is not a statement.
    """
    source = ScriptedSource({})

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            with pytest.raises(InvalidRequestError):
                await tracker.submit(statement)  # type: ignore[arg-type] # that is the point

    run(scenario())
    assert source.submitted == []


@pytest.mark.parametrize("label", [5, "\ud800"])
def test_a_wrong_label_is_refused_before_anything_is_sent(label: object) -> None:
    """
    Afterwards the statement would run, and its ID be lost.
    """
    source = ScriptedSource({"id-1": [SUCCESS]}, submissions=["id-1"])

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            with pytest.raises(InvalidRequestError, match="label"):
                await tracker.submit("RUN JOB x", label=label)  # type: ignore[arg-type] # that is the point

    run(scenario())
    assert source.submitted == []


def test_source_that_cannot_submit_says_so() -> None:
    """
    A `StatusSource` needs one method only; submitting needs another.
    """

    class OnlyStatus:
        async def fetch(self, request_id: str) -> StatusReply:
            raise TransportError(request_id=request_id)

    async def scenario() -> None:
        async with Tracker(OnlyStatus()) as tracker:
            with pytest.raises(ConfigError, match="OnlyStatus cannot submit"):
                await tracker.submit("SHOW TABLES")

    run(scenario())


def test_statements_go_before_polls_that_are_unlikely_to_find_an_end() -> None:
    """
    While polls are due that would find nothing, statements get nine slots of ten.
    """
    polls = {f"p{number}": [PENDING] for number in range(30)}
    new = [f"n{number}" for number in range(20)]
    source = ScriptedSource(polls | {request_id: [SUCCESS] for request_id in new}, submissions=new)

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            waiter = asyncio.create_task(tracker.wait_all(list(polls), timeout=60))
            await asyncio.sleep(1)
            handles = await asyncio.gather(*(tracker.submit(f"SHOW {name}") for name in new))
            took = now() - 1
            assert took == pytest.approx(22 / 9.8, abs=0.3)
            await asyncio.gather(*handles)
            await waiter

    run(scenario())
    sent = sorted(
        [(at, "poll") for at, _ in source.calls] + [(at, "new") for at, _ in source.submitted]
    )
    kinds = [kind for at, kind in sent if 1 < at < 5]
    rows = [len(list(row)) for kind, row in groupby(kinds) if kind == "new"]
    assert max(rows) == 9


def test_slot_of_the_users_own_counts_against_the_budget() -> None:
    """
    Calls of other kinds draw on the same ten requests a second.
    """

    async def scenario() -> None:
        async with Tracker(ScriptedSource({})) as tracker:
            for _ in range(50):
                async with tracker.slot():
                    pass
            assert now() == pytest.approx(49 / 9.8, abs=0.01)
            assert tracker.stats().limiter.granted == 50

    run(scenario())


def test_cancelled_slot_and_submission_give_up_their_place() -> None:
    """
    Whoever leaves the queue costs nothing, and what was not granted was not sent.
    """
    source = ScriptedSource({"id": [SUCCESS]}, submissions=["id"])

    async def own_call(tracker: Tracker) -> None:
        async with tracker.slot():
            pass

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            await own_call(tracker)
            calls = [asyncio.create_task(own_call(tracker)) for _ in range(20)]
            calls += [asyncio.create_task(_submit(tracker)) for _ in range(20)]
            await asyncio.sleep(0.01)
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)
            assert (await (await tracker.submit("SHOW TABLES"))).ok
            assert now() < 1

    run(scenario())
    assert len(source.submitted) == 1


async def _submit(tracker: Tracker) -> None:
    await tracker.submit("SHOW TABLES")


def test_closing_while_a_statement_is_accepted_tells_its_id() -> None:
    """
    The server has it: the ID must not be lost with the tracker.
    """
    source = ScriptedSource({"id-1": [SUCCESS]}, submissions=["id-1"], latency=1.0)

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            task = asyncio.create_task(tracker.submit("RUN JOB x"))
            await asyncio.sleep(0.5)
        with pytest.raises(TrackerClosedError, match="id-1") as caught:
            await task
        assert caught.value.pending == ("id-1",)

    run(scenario())


def test_statement_refused_for_its_rate_while_the_tracker_closes_is_told() -> None:
    """
    There is no slot for another attempt any more: waiting for one would last for ever.
    """
    source = ScriptedSource({}, submissions=[ThrottledError(retry_after=5.0)], latency=1.0)

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            task = asyncio.create_task(tracker.submit("RUN JOB x"))
            await asyncio.sleep(0.5)
        with pytest.raises(TrackerClosedError):
            await task
        assert now() == pytest.approx(1.0)

    run(scenario())
    assert len(source.submitted) == 1


def test_submission_cancelled_in_the_turn_in_which_the_project_fails() -> None:
    """
    It had no slot to give back: with a count below zero, nothing would ever be asked again.
    """
    waiting: list[asyncio.Task[Handle]] = []

    def give_up(event: Event) -> None:
        if isinstance(event, ProjectFailed):
            waiting.pop().cancel()

    async def scenario() -> None:
        refused = After(1.0, UnauthorizedError("no", http_status=401))
        source = ScriptedSource({"a": [refused], "b": [hang], "c": [hang]})
        async with Tracker(source, observers=[give_up]) as tracker:
            handle = tracker.track("a")
            waiting.append(task := asyncio.create_task(tracker.submit("SHOW TABLES")))
            with pytest.raises(AuthenticationError):
                await handle
            with pytest.raises(asyncio.CancelledError):
                await task
            tracker.track("b")
            tracker.track("c")
            await asyncio.sleep(1)
            assert [request_id for _, request_id in source.calls] == ["a", "b"]

    run(scenario())
