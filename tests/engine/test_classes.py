"""Requests that serve users and are not theirs: a share for them, and no word of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path

import pytest

from onehouse_tracker import PollPolicy, SqliteJournal, Tracker
from onehouse_tracker._engine.classes import RequestClass
from onehouse_tracker._engine.engine import Engine
from onehouse_tracker._engine.tracked import Joining
from onehouse_tracker._engine.waits import Wait
from onehouse_tracker.errors import AuthenticationError, UnauthorizedError
from onehouse_tracker.events import Event
from onehouse_tracker.journal import JournalReader
from onehouse_tracker.models import Result
from onehouse_tracker.testing import InlineExecutor, ScriptedSource
from tests.support import PENDING, SUCCESS, now, run

QUIET = RequestClass("quiet", PollPolicy(gap_min=0.5, gap_coefficient=0.0, order="due"))
"""Polled twice a second, and heard of by nobody."""


class _Planner:
    """Wants to send a statement whenever it may, up to a number of them."""

    def __init__(self, engine: Engine, source: ScriptedSource, statements: int) -> None:
        self._engine = engine
        self._source = source
        self.left = statements
        self.ended: list[tuple[float, Result]] = []
        self.errors: list[BaseException] = []
        self.wake = engine.plan(self)

    def wanted_at(self, now: float) -> float:
        return now if self.left else float("inf")

    def value(self, now: float) -> float:
        return 1.0

    def take(self, now: float) -> Callable[[], Coroutine[None, None, None]] | None:
        if not self.left:
            return None
        self.left -= 1
        return partial(self._send, f"check {self.left}")

    async def _send(self, statement: str) -> None:
        request_id = await self._source.submit(statement)
        wait = Wait(deliver=lambda result: self.ended.append((now(), result)))
        self._engine.open(wait)
        self._engine.join(wait, Joining(request_id, first_look=0.5, of_class=QUIET))

    def failed(self, error: BaseException) -> None:
        self.errors.append(error)


def _engine(tracker: Tracker) -> Engine:
    engine = tracker._session.engine
    assert engine is not None
    return engine


def test_statement_of_a_planner_is_polled_by_the_rules_of_its_class() -> None:
    """
    Its first poll comes when the planner says, the others by the gaps of its class.
    """
    source = ScriptedSource({"c": [PENDING, PENDING, SUCCESS]}, submissions=["c"])

    async def scenario() -> list[tuple[float, Result]]:
        async with Tracker(source) as tracker:
            planner = _Planner(_engine(tracker), source, 1)
            planner.wake()
            await asyncio.sleep(5)
            return planner.ended

    ended = run(scenario())
    assert source.times("c") == pytest.approx([0.5, 1.0, 1.5], abs=0.01)
    assert [result.request_id for _, result in ended] == ["c"]


def test_nobody_hears_of_requests_that_are_not_of_users(tmp_path: Path) -> None:
    """
    No event, no number, no line of the journal: to users they do not exist.
    """
    source = ScriptedSource({"c": [PENDING, SUCCESS], "u": [PENDING, SUCCESS]}, submissions=["c"])
    told: list[Event] = []
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path, executor=InlineExecutor())

    async def scenario() -> None:
        async with Tracker(source, journal=journal, observers=[told.append]) as tracker:
            planner = _Planner(_engine(tracker), source, 1)
            planner.wake()
            await asyncio.sleep(0.1)
            assert tracker.stats().pending == 0
            await tracker.wait_all(["u"])
            await asyncio.sleep(5)
            stats = tracker.stats()
            assert (stats.pending, stats.ended, stats.polls) == (0, 1, 2)
            assert (stats.checks, stats.check_polls) == (1, 2)
            assert len(planner.ended) == 1

    run(scenario())
    assert {getattr(event, "request_id", "u") for event in told} == {"u"}
    assert list(JournalReader(path).results()) == ["u"]


@pytest.mark.parametrize("users", [0, 30])
def test_others_get_at_most_every_second_slot_while_users_wait(users: int) -> None:
    """
    Statements of the planner and their polls together; all slots, where no user waits.
    """
    ids = [f"u-{number}" for number in range(users)]
    script = {request_id: [PENDING] for request_id in ids} | {
        f"c-{n}": [SUCCESS] for n in range(99)
    }
    source = ScriptedSource(script, submissions=[f"c-{n}" for n in range(99)])

    async def scenario() -> None:
        async with Tracker(source) as tracker:
            planner = _Planner(_engine(tracker), source, 99)
            planner.wake()
            if ids:
                await tracker.wait_all(ids, timeout=10)
            else:
                await asyncio.sleep(10)

    run(scenario())
    sent = len(source.submitted) + sum(request_id[0] == "c" for _, request_id in source.calls)
    of_users = sum(request_id[0] == "u" for _, request_id in source.calls)
    if users:
        assert sent == pytest.approx(of_users, abs=4)
    assert sent + of_users == pytest.approx(100, abs=4)
    # What was sent is polled before the next is sent.
    assert len(source.calls) - of_users >= len(source.submitted) - 8


def test_submissions_go_on_beside_a_planner_that_always_wants_more() -> None:
    """
    Whoever submits waits no longer for it than for polls.
    """
    answers = [f"x-{n}" for n in range(200)]
    source = ScriptedSource({key: [SUCCESS] for key in answers}, submissions=answers)

    async def scenario() -> float:
        async with Tracker(source) as tracker:
            planner = _Planner(_engine(tracker), source, 99)
            planner.wake()
            await asyncio.gather(*(tracker.submit(f"RUN JOB {n}") for n in range(20)))
            return now()

    assert run(scenario()) < 5.0


def test_planner_is_told_that_the_project_failed_and_that_it_is_closed() -> None:
    """
    Its waiters are not the engine's: it must let them go.
    """
    source = ScriptedSource({"u": [UnauthorizedError(http_status=401)]})

    async def scenario() -> list[BaseException]:
        async with Tracker(source) as tracker:
            planner = _Planner(_engine(tracker), source, 0)
            with pytest.raises(AuthenticationError):
                await tracker.wait_all(["u"])
        return planner.errors

    assert [type(error).__name__ for error in run(scenario())] == [
        "AuthenticationError",
        "TrackerClosedError",
    ]
