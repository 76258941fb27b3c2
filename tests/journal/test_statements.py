"""
Submissions: the intent on disk before the statement is sent, its request before anyone knows.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from onehouse_tracker import PollPolicy, Tracker
from onehouse_tracker._engine.write_ahead import WriteAhead
from onehouse_tracker._engine.writer import Writer
from onehouse_tracker.errors import (
    AuthenticationError,
    ConfigError,
    InvalidRequestError,
    SubmissionRejectedError,
    SubmissionUnknownError,
    SubmissionUnsentError,
    ThrottledError,
    TrackerClosedError,
    TrackerError,
    UnauthorizedError,
)
from onehouse_tracker.events import Event, SubmissionsInterrupted
from onehouse_tracker.journal import Intended, JournalReader, JournalStatement
from onehouse_tracker.models import StatusReply
from onehouse_tracker.testing import ScriptedSource
from tests.journal.files import NOON, inline, opened, state
from tests.support import SUCCESS, now, run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal will be."""
    return tmp_path / "journal.db"


def statements(path: Path) -> list[JournalStatement]:
    """What the file says about statements."""
    return list(JournalReader(path).statements())


def test_intent_is_on_disk_before_the_statement_is_sent(path: Path) -> None:
    """
    And the request ID before `submit` returns: at no moment is a running statement unknown.
    """
    seen: list[list[str]] = []

    class Looking(ScriptedSource):
        async def submit(self, statement: str) -> str:
            seen.append([item.state for item in statements(path)])
            return await super().submit(statement)

    async def scenario() -> None:
        source = Looking({"id-1": [SUCCESS]}, submissions=["id-1"])
        async with Tracker(source, journal=inline(path)) as tracker:
            handle = await tracker.submit("RUN JOB nightly", label="RUN JOB")
            assert state(path) == {"id-1": "pending"}
            assert (await handle).ok

    run(scenario())
    assert seen == [["sending"]]
    (item,) = statements(path)
    assert (item.state, item.request_id, item.label) == ("accepted", "id-1", "RUN JOB")
    (request,) = JournalReader(path).requests()
    assert request.request.label == "RUN JOB"
    assert request.request.submitted_at is not None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SubmissionRejectedError("syntax", http_status=400), ("refused", "syntax")),
        (SubmissionUnsentError("no route"), ("unsent", "no route")),
        (SubmissionUnknownError("reset"), ("unknown", "reset")),
        (
            UnauthorizedError("who", http_status=401),
            ("refused", "the server refused the credentials"),
        ),
        (InvalidRequestError("only spaces"), ("unsent", "never sent: InvalidRequestError")),
        (ZeroDivisionError("odd"), ("unknown", "no answer was seen: ZeroDivisionError")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_end_is_written_down(
    path: Path, error: Exception, expected: tuple[str, str]
) -> None:
    """
    Whoever reads the journal must know which statements are safe to submit again.
    """

    async def scenario() -> None:
        async with Tracker(
            ScriptedSource({}, submissions=[error]), journal=inline(path)
        ) as tracker:
            with pytest.raises((TrackerError, ZeroDivisionError)):
                await tracker.submit("RUN JOB x")

    run(scenario())
    (item,) = statements(path)
    assert (item.state, item.reason) == expected


def test_an_answer_without_a_usable_id_leaves_the_fate_unknown(path: Path) -> None:
    """
    It was accepted: to call its input invalid would have it submitted again.
    """

    async def scenario() -> None:
        async with Tracker(
            ScriptedSource({}, submissions=["\n"]), journal=inline(path)
        ) as tracker:
            with pytest.raises(SubmissionUnknownError, match="no usable request ID"):
                await tracker.submit("RUN JOB x")

    run(scenario())
    (item,) = statements(path)
    assert item.state == "unknown"


def test_statement_that_is_refused_for_its_rate_is_one_statement(path: Path) -> None:
    """
    Nothing ran, so another attempt is the same submission.
    """
    source = ScriptedSource(
        {"id-1": [SUCCESS]}, submissions=[ThrottledError(retry_after=1.0), "id-1"]
    )

    async def scenario() -> None:
        async with Tracker(source, journal=inline(path)) as tracker:
            assert (await (await tracker.submit("RUN JOB x"))).ok

    run(scenario())
    assert [item.state for item in statements(path)] == ["accepted"]
    assert len(source.submitted) == 2


def test_one_that_was_not_on_the_wire_is_of_unknown_fate(path: Path) -> None:
    """
    Twenty statements wait for their slots when the process is killed: of those that were never
    sent, only the next one, which is written down ahead, looks as if it had been.
    """
    seen: list[int] = []

    class Slow(ScriptedSource):
        async def submit(self, statement: str) -> str:
            seen.append(sum(item.fate_unknown for item in statements(path)))
            return await super().submit(statement)

    new = [f"id-{number}" for number in range(20)]

    async def scenario() -> None:
        source = Slow({name: [SUCCESS] for name in new}, submissions=new)
        async with Tracker(source, journal=inline(path)) as tracker:
            handles = await asyncio.gather(*(tracker.submit(f"SHOW {name}") for name in new))
            await asyncio.gather(*handles)

    run(scenario())
    assert max(seen) == 1
    assert len(statements(path)) == 20


@pytest.mark.parametrize(("seconds", "ahead"), [(0.04, 1), (0.09, 4), (0.2, WriteAhead.MOST)])
def test_slow_disk_does_not_decide_how_fast_statements_are_sent(
    path: Path, seconds: float, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Several are written down ahead where one would come too late for its slot.
    """
    seen: list[int] = []
    done = Writer._job_done
    new = [f"id-{number}" for number in range(60)]

    def sending(path: Path, seconds: float) -> float:
        sent: list[float] = []

        def later(writer: Writer, *args: Any) -> None:
            asyncio.get_running_loop().call_later(seconds, done, writer, *args)

        class Timed(ScriptedSource):
            async def submit(self, statement: str) -> str:
                sent.append(now())
                seen.append(sum(item.state == "sending" for item in statements(path)))
                return await super().submit(statement)

        async def scenario() -> None:
            source = Timed({name: [SUCCESS] for name in new}, submissions=new)
            async with Tracker(source, journal=inline(path)) as tracker:
                await asyncio.gather(*(tracker.execute(f"SHOW {name}") for name in new))

        monkeypatch.setattr(Writer, "_job_done", later)
        run(scenario())
        return sent[-1] - sent[9]

    at_best = sending(path.with_name("at-once.db"), 0.0)
    assert max(seen) == 1
    assert sending(path, seconds) <= at_best + 0.1
    assert max(seen) == ahead


def test_cancelled_in_the_queue_nothing_was_sent(path: Path) -> None:
    """
    It is safe to submit it again, and the file says so.
    """
    source = ScriptedSource({"id-1": [SUCCESS]}, submissions=["id-1"], latency=1.0)

    async def scenario() -> None:
        async with Tracker(source, journal=inline(path)) as tracker:
            # Until the first good reply one request is out at a time: the second waits.
            first = asyncio.create_task(tracker.submit("RUN JOB first"))
            second = asyncio.create_task(tracker.submit("RUN JOB second"))
            await asyncio.sleep(0.3)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            await first

    run(scenario())
    assert [item.state for item in statements(path)] == ["accepted", "unsent"]
    assert len(source.submitted) == 1


def test_cancelled_on_the_wire_nobody_knows(path: Path) -> None:
    """
    The server may have taken it.
    """

    async def scenario() -> None:
        source = ScriptedSource({}, submissions=["id-1"], latency=1.0)
        async with Tracker(source, journal=inline(path)) as tracker:
            task = asyncio.create_task(tracker.submit("RUN JOB x"))
            await asyncio.sleep(0.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(scenario())
    assert [item.state for item in statements(path)] == ["unknown"]


def test_wrong_credentials_cost_one_request(path: Path) -> None:
    """
    Those that wait for their turn with the journal are turned away like all the others.
    """
    source = ScriptedSource({}, submissions=[UnauthorizedError("who", http_status=401)] * 50)

    async def scenario() -> None:
        async with Tracker(source, journal=inline(path)) as tracker:
            ends = await asyncio.gather(
                *(tracker.submit(f"RUN JOB {number}") for number in range(50)),
                return_exceptions=True,
            )
            assert {type(end) for end in ends} == {AuthenticationError}
            assert len({id(end) for end in ends}) == 50

    run(scenario())
    assert len(source.submitted) == 1
    assert not [item for item in statements(path) if item.fate_unknown]


def test_hanging_submission_is_of_unknown_fate(path: Path) -> None:
    """
    The time-out ends the waiting, and the file says what is not known.
    """

    async def scenario() -> None:
        source = ScriptedSource({}, submissions=["id-1"], latency=1000.0)
        policy = PollPolicy(poll_timeout=5)
        async with Tracker(source, policy=policy, journal=inline(path)) as tracker:
            with pytest.raises(SubmissionUnknownError):
                await tracker.submit("RUN JOB x")
            assert now() == 5

    run(scenario())
    assert [item.state for item in statements(path)] == ["unknown"]


def test_closing_while_a_statement_is_accepted_tells_its_id_and_keeps_the_intent(
    path: Path,
) -> None:
    """
    The answer comes too late for the file: the error has the ID, the file the open question.
    """

    async def scenario() -> None:
        source = ScriptedSource({"id-1": [SUCCESS]}, submissions=["id-1"], latency=1.0)
        async with Tracker(source, journal=inline(path)) as tracker:
            task = asyncio.create_task(tracker.submit("RUN JOB x"))
            await asyncio.sleep(0.5)
        with pytest.raises(TrackerClosedError, match="id-1") as caught:
            await task
        assert caught.value.pending == ("id-1",)

    run(scenario())
    (item,) = statements(path)
    assert item.fate_unknown


def test_source_that_cannot_submit_leaves_no_intent(path: Path) -> None:
    """
    A mistake in the program is no statement of any fate.
    """

    class OnlyStatus:
        async def fetch(self, _request_id: str) -> StatusReply:
            return StatusReply(SUCCESS)

    async def scenario() -> None:
        async with Tracker(OnlyStatus(), journal=inline(path)) as tracker:
            with pytest.raises(ConfigError, match="cannot submit"):
                await tracker.submit("SHOW TABLES")

    run(scenario())
    assert statements(path) == []


def test_next_run_says_once_what_is_unaccounted_for(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It is never sent again; somebody has to look.
    """
    journal = opened(path)
    journal.write([Intended(key, "RUN JOB x", None, NOON) for key in ("1", "2")])
    journal.close()
    events: list[Event] = []
    source = ScriptedSource({})

    async def scenario() -> None:
        async with Tracker(source, journal=inline(path), observers=[events.append]) as tracker:
            assert [result async for result in tracker.resume()] == []

    with caplog.at_level(logging.WARNING, "onehouse_tracker"):
        run(scenario())
        run(scenario())
    assert [event.count for event in events if isinstance(event, SubmissionsInterrupted)] == [2]
    assert caplog.text.count("2 statements") == 1
    assert source.submitted == []
    assert [item.state for item in statements(path)] == ["unknown", "unknown"]
