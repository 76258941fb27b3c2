"""
A tracker with a history: what teaches, what is known the next night, and what is written when.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from onehouse_tracker import (
    OnehouseClient,
    PollPolicy,
    Request,
    StatusReply,
    StatusSource,
    Tracker,
)
from onehouse_tracker._engine.schedule.durations import MOST_LABELS, Durations
from onehouse_tracker._engine.schedule.laws import Laws
from onehouse_tracker._engine.schedule.ranking import Ranking
from onehouse_tracker._engine.tracked import Tracked
from onehouse_tracker._engine.waits import Wait
from onehouse_tracker.events import Event, RequestOverdue
from onehouse_tracker.history import History
from onehouse_tracker.history._records import Lesson, Record
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.testing import (
    InlineExecutor,
    RunningSimulator,
    ScriptedSource,
    SimulatedProject,
    SimulatedSource,
    SimulatorServer,
)
from tests.support import FAILED, PENDING, SUCCESS, now, run

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the history will be."""
    return tmp_path / "history.db"


def inline(path: Path) -> History:
    """A history for a tracker on a virtual clock."""
    return History(path, executor=InlineExecutor())


def _names(path: Path) -> dict[str, int]:
    return {item.name: item.runs for item in History(path).remembered()}


def _wall_clock() -> datetime:
    return NOON + timedelta(seconds=now())


@pytest.mark.parametrize(
    ("request_", "replies", "teaches"),
    [
        (Request("r", label="x", submitted_at=NOON), [PENDING, PENDING, SUCCESS], True),
        (Request("r", label="x", submitted_at=NOON - timedelta(60)), [PENDING, SUCCESS], True),
        (Request("r", label="x", submitted_at=NOON + timedelta(0, 0.5)), [PENDING, SUCCESS], True),
        (Request("r", label="x"), [PENDING, PENDING, SUCCESS], False),
        (Request("r", submitted_at=NOON), [PENDING, PENDING, SUCCESS], False),
        (Request("r", label="x", submitted_at=NOON), [SUCCESS], False),
        (Request("r", label="x", submitted_at=NOON), [PENDING, FAILED], False),
        (
            Request("r", label="x", submitted_at=NOON + timedelta(seconds=9)),
            [PENDING, SUCCESS],
            False,
        ),
    ],
    ids=[
        "known",
        "days ago",
        "another clock",
        "unknown start",
        "no name",
        "found ended",
        "failed",
        "the future",
    ],
)
def test_what_teaches(path: Path, request_: Request, replies: list[str], *, teaches: bool) -> None:
    """
    Only what succeeded, whose start is known, and whose end was not there at the first poll.
    """

    async def scenario() -> None:
        source = ScriptedSource({"r": replies})
        async with Tracker(source, history=inline(path), wall_clock=_wall_clock) as tracker:
            await tracker.wait_all([request_])

    run(scenario())
    assert _names(path) == ({"x": 1} if teaches else {})


def test_a_statement_is_remembered_without_its_literals(path: Path) -> None:
    """
    And under its label too, for IDs that come alone with it.
    """

    async def night(day: int) -> None:
        source = ScriptedSource({"r": [PENDING, SUCCESS]}, submissions=["r"])
        async with Tracker(source, history=inline(path)) as tracker:
            await (await tracker.submit(f"RUN JOB `nightly` PARAMETERS=('{day}')", label="night"))

    for day in range(3):
        run(night(day))
    found = {item.kind: item for item in History(path).remembered()}
    assert {kind: item.runs for kind, item in found.items()} == {"label": 3, "statement": 3}
    assert found["label"].name == "night"


class _OfProject(ScriptedSource):
    """A source of one's own that knows its project."""

    def __init__(self, project_key: str) -> None:
        super().__init__({"r": [PENDING, SUCCESS]})
        self.credentials = SimpleNamespace(project_key=project_key)


def test_projects_are_kept_apart_by_what_their_sources_say(path: Path) -> None:
    """
    Sources that say nothing share one part, which is that of no project.
    """

    async def night(source: ScriptedSource) -> bool:
        async with Tracker(source, history=inline(path), wall_clock=_wall_clock) as tracker:
            handle = tracker.track(Request("r", label="x", submitted_at=_wall_clock()))
            await asyncio.sleep(0.01)
            is_known = tracker.time_left(handle) is not None
            await handle
            return is_known

    def nameless() -> ScriptedSource:
        return ScriptedSource({"r": [PENDING, SUCCESS]})

    first = [run(night(each)) for each in (_OfProject("a"), _OfProject("b"), nameless())]
    second = [run(night(each)) for each in (_OfProject("a"), nameless())]
    assert (first, second) == ([False] * 3, [True] * 2)
    found = {(known.project, known.runs) for known in History(path).remembered()}
    assert found == {("a", 2), ("b", 1), ("", 2)}

    assert History(path).forget(project="") == 1
    assert {known.project for known in History(path).remembered()} == {"a", "b"}


def test_the_next_night_is_known_sooner(path: Path) -> None:
    """
    Sixty jobs, each of which takes about as long as the night before, within two polls a second.
    """
    medians = [20 * 10 ** (number / 59) for number in range(60)]

    async def night(number: int, history: History | None) -> float:
        luck = random.Random(number)
        project = SimulatedProject(record=False)
        for place, median in enumerate(medians):
            project.add(f"r{place}", median * math.exp(luck.gauss(0, 0.05)), submitted_at=0.0)
        order = list(range(60))
        luck.shuffle(order)
        requests = [Request(f"r{p}", label=f"job {p}", submitted_at=NOON) for p in order]
        late = []
        async with Tracker(
            SimulatedSource(project),
            limiter=LocalLimiter(2),
            history=history,
            wall_clock=_wall_clock,
            seed=1,
        ) as tracker:
            async for result in tracker.as_completed(requests):
                late.append(now() - project.finished_at(result.request_id))  # noqa: PERF401
        return statistics.fmean(late)

    first = run(night(1, inline(path)))
    run(night(2, inline(path)))
    with_history = run(night(3, inline(path)))
    without = run(night(3, None))

    assert first == pytest.approx(without, rel=0.2)
    assert with_history < 0.7 * without


def test_what_runs_for_unusually_long_is_told_once(path: Path) -> None:
    """
    A job of a minute that hangs tonight, among others that do not.
    """

    async def night(history: History, hangs: bool) -> list[RequestOverdue]:  # noqa: FBT001
        told: list[RequestOverdue] = []

        def observe(event: Event) -> None:
            if isinstance(event, RequestOverdue):
                told.append(event)

        project = SimulatedProject(record=False)
        luck = random.Random(1)
        for number in range(10):
            project.add(f"r{number}", 60 * math.exp(luck.gauss(0, 0.1)), submitted_at=0.0)
        project.add("stuck", 900.0 if hangs else 60.0, submitted_at=0.0)
        requests = [
            Request(name, label=f"job {name}", submitted_at=NOON) for name in project.requests
        ]
        requests.append(Request("r0", label="job r0", submitted_at=NOON))
        async with Tracker(
            SimulatedSource(project), history=history, wall_clock=_wall_clock, observers=[observe]
        ) as tracker:
            waiter = asyncio.create_task(tracker.wait_all(requests))
            await asyncio.sleep(600)
            assert tracker.stats().overdue == (1 if hangs else 0)
            await waiter
            assert tracker.stats().overdue == 0
        return told

    for _ in range(5):
        assert run(night(inline(path), hangs=False)) == []
    (event,) = run(night(inline(path), hangs=True))
    assert (event.request_id, event.label) == ("stuck", "job stuck")
    assert event.usual == pytest.approx(60, rel=0.1)
    assert 75 < event.age < 150


def test_one_that_hangs_alone_is_told(path: Path) -> None:
    """
    Its own polls are no reason to distrust what earlier runs took; it takes a little longer,
    because all may be slower tonight.
    """

    async def night(took: float) -> list[RequestOverdue]:
        told: list[RequestOverdue] = []

        def observe(event: Event) -> None:
            if isinstance(event, RequestOverdue):
                told.append(event)

        project = SimulatedProject(record=False)
        project.add("r", took, submitted_at=0.0)
        async with Tracker(
            SimulatedSource(project),
            history=inline(path),
            wall_clock=_wall_clock,
            observers=[observe],
        ) as tracker:
            await tracker.wait_all([Request("r", label="job", submitted_at=NOON)])
        return told

    for number in range(8):
        assert run(night(58.0 + number)) == []
    (event,) = run(night(900.0))
    assert 120 < event.age < 220


def _history_of(path: Path, seconds: float, names: Sequence[str]) -> None:
    """Ten nights on which jobs of these names took about so many seconds."""
    luck = random.Random(1)
    for _ in range(10):
        taken = {name: seconds * math.exp(luck.gauss(0, 0.1)) for name in names}
        lessons = [Lesson((f"l:{name}",), took, took) for name, took in taken.items()]
        History(path).add("", lessons, 0.01)


def test_what_began_nobody_knows_when_says_nothing_about_the_others(path: Path) -> None:
    """
    A hundred IDs that are waited for when they have nearly ended, beside some that begin now.
    """
    _history_of(path, 600.0, [f"job {number}" for number in range(50)])
    told: list[Event] = []
    project = SimulatedProject(record=False)
    luck = random.Random(1)
    for number in range(100):
        project.add(f"old {number}", luck.uniform(10, 300), submitted_at=0.0)
    for number in range(5):
        project.add(f"new {number}", 600.0, submitted_at=0.0)

    async def scenario() -> None:
        old = [Request(f"old {number}", label=f"job {number % 50}") for number in range(100)]
        new = [Request(f"new {n}", label=f"job {n}", submitted_at=NOON) for n in range(5)]
        async with Tracker(
            SimulatedSource(project),
            history=inline(path),
            wall_clock=_wall_clock,
            observers=[told.append],
        ) as tracker:
            waiter = asyncio.create_task(tracker.wait_all([*old, *new]))
            for _ in range(11):
                await asyncio.sleep(50)
                left = tracker.time_left("new 0")
                assert left is not None
                assert left.low < 600 - now() < left.high
            await waiter

    run(scenario())
    assert not [event for event in told if isinstance(event, RequestOverdue)]


def test_what_ended_in_an_outage_is_not_learned(path: Path) -> None:
    """
    Nobody knows when it did: between three seconds and an hour.
    """

    class Away(StatusSource):
        async def fetch(self, request_id: str) -> StatusReply:
            if 3.0 < now() < 3600.0:
                raise ConnectionError
            return StatusReply(SUCCESS if now() >= 1800.0 else PENDING)

    async def scenario() -> None:
        policy = PollPolicy(patience=1e5)
        async with Tracker(
            Away(), history=inline(path), wall_clock=_wall_clock, policy=policy
        ) as tracker:
            request = Request("r", label="x", submitted_at=NOON)
            assert (await tracker.wait_all([request]))["r"].ok

    run(scenario())
    assert _names(path) == {}


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_tracker_that_lives_on_follows_a_lasting_change(path: Path, factor: float) -> None:
    """
    As one does that is started anew each night: the change must not count twice.
    """
    medians = [60 * 1.05**number for number in range(30)]
    for number, median in enumerate(medians):
        _history_of(path, median, [f"job {number}"])
    project = SimulatedProject(record=False)
    luck = random.Random(3)

    async def night(tracker: Tracker, number: int) -> int:
        requests = []
        for place, median in enumerate(medians):
            name = f"{number}.{place}"
            seconds = median * factor * math.exp(luck.gauss(0, 0.1))
            project.add(name, seconds, submitted_at=now())
            requests.append(Request(name, label=f"job {place}", submitted_at=_wall_clock()))
        handles = [tracker.track(request) for request in requests]
        await asyncio.sleep(30 * factor)
        said = sum(tracker.time_left(handle) is not None for handle in handles)
        for handle in handles:
            await handle
        return said

    async def scenario() -> list[int]:
        async with Tracker(
            SimulatedSource(project),
            limiter=LocalLimiter(2),
            history=inline(path),
            wall_clock=_wall_clock,
        ) as tracker:
            return [await night(tracker, number) for number in range(9)]

    assert run(scenario()) == [30] * 9


def test_requests_one_after_another_are_one_night(path: Path) -> None:
    """
    Nothing is tracked between two of them, and yet they have in common that all are slower.
    """
    names = [f"job {number}" for number in range(60)]
    _history_of(path, 60.0, names)
    luck = random.Random(1)

    async def scenario() -> list[bool]:
        project = SimulatedProject(record=False)
        held = []
        async with Tracker(
            SimulatedSource(project), history=inline(path), wall_clock=_wall_clock
        ) as tracker:
            for name in names:
                took = 120.0 * math.exp(luck.gauss(0, 0.1))
                project.add(name, took, submitted_at=(born := now()))
                handle = tracker.track(Request(name, label=name, submitted_at=_wall_clock()))
                await asyncio.sleep(30)
                left = tracker.time_left(handle)
                assert left is not None
                held.append(left.low < born + took - now() < left.high)
                await handle
        return held

    held = run(scenario())
    assert sum(held[20:]) / 40 > 0.65


def test_what_is_learned_is_written_while_it_goes_on(path: Path) -> None:
    """
    A process that is killed after hours has taught the next one nearly everything.
    """

    async def ids() -> AsyncIterator[Request]:
        for number in range(20):
            yield Request(f"r{number}", label=f"job {number}", submitted_at=_wall_clock())
            if number == 15:
                assert 10 <= len(_names(path)) <= number
            await asyncio.sleep(10)

    async def scenario() -> None:
        source = ScriptedSource({f"r{number}": [PENDING, SUCCESS] for number in range(20)})
        async with Tracker(source, history=inline(path), wall_clock=_wall_clock) as tracker:
            await tracker.wait_all(ids())

    run(scenario())
    assert len(_names(path)) == 20


def test_a_history_that_cannot_be_used_costs_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The tracker works as without one.
    """
    (tmp_path / "file").write_text("")

    async def scenario() -> None:
        source = ScriptedSource({"r": [PENDING, SUCCESS]})
        history = History(tmp_path / "file" / "history.db", executor=InlineExecutor())
        async with Tracker(source, history=history, wall_clock=_wall_clock) as tracker:
            request = Request("r", label="x", submitted_at=NOON)
            assert (await tracker.wait_all([request]))["r"].ok

    run(scenario())
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1


def test_a_simulator_teaches_nothing(path: Path) -> None:
    """
    What it takes on this machine says nothing about the real service: no file is made.
    """
    with RunningSimulator(SimulatorServer(project := SimulatedProject())) as simulator:
        project.add("r", 0.1)

        async def scenario() -> None:
            client = OnehouseClient.from_env(environ=simulator.environ)
            policy = PollPolicy(gap_min=0.02)
            async with client, Tracker(client, policy=policy, history=History(path)) as tracker:
                request = Request("r", label="x", submitted_at=datetime.now(UTC))
                assert (await tracker.wait_all([request]))["r"].ok

        asyncio.run(scenario())
    assert not path.exists()


def test_labels_with_a_history_do_not_count_against_the_limit() -> None:
    """
    A thousand jobs that are known are no labels per request; a thousand unknown ones are.
    """
    durations = Durations()
    known = {id(durations.label(f"known {number}", known=True)) for number in range(1000)}
    unknown = {id(durations.label(f"unknown {number}")) for number in range(1000)}

    assert len(known) == 1000
    assert len(unknown) == MOST_LABELS + 1


def test_labels_without_a_history_count_though_there_is_one() -> None:
    """
    The law over all names makes none of them known: labels per request share one account.
    """
    laws = Laws({"l:known": Record(10.0, 4.0, 0.01)})
    for label, is_known in (("known", True), ("new", False)):
        ranking = Ranking(laws)
        durations = ranking._durations
        law = laws.law(f"l:{label}")
        for number in range(MOST_LABELS + 50):
            name = f"{label} {number}"
            tracked = Tracked(name, label=name, born=0.0, now=0.0, wait=Wait())
            tracked.law = law
            tracked.ticket = number + 1
            ranking.join(tracked)
            ranking.learn(tracked, 1.0, ended=False)
            ranking.due.add(tracked, 1.0)
        assert len(durations._labels) == MOST_LABELS + (50 if is_known else 0)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_kill_leaves_a_readable_file(path: Path) -> None:
    """
    At any moment of writing: what was committed is there, and the next process goes on.
    """
    program = (
        "import itertools, sys; from onehouse_tracker.history import History;"
        "from onehouse_tracker.history._records import Lesson; history = History(sys.argv[1]);"
        "print(flush=True);"
        "[history.add('p', [Lesson((f'l:{n % 50}',), 60.0, 60.0)] * 20, 0.04)"
        " for n in itertools.count()]"
    )
    luck = random.Random(1)
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(luck.uniform(0.01, 0.1))
            process.send_signal(signal.SIGKILL)
        assert all(runs <= 10 for runs in _names(path).values())
    assert _names(path)
    assert not path.with_name("history.db.broken").exists()
