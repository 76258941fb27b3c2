"""
How long requests will still take: what is said, when nothing is said, and that ranges hold.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from onehouse_tracker import Request, TimeLeft, Tracker, events
from onehouse_tracker._engine.schedule.laws import Laws
from onehouse_tracker._engine.schedule.time_left import Running, left_of, left_of_all
from onehouse_tracker.history import History
from onehouse_tracker.history._records import Lesson, Record
from onehouse_tracker.report import ReportObserver
from onehouse_tracker.report._view import named_rows
from onehouse_tracker.testing import InlineExecutor, SimulatedProject, SimulatedSource
from tests.support import now, run

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the history will be."""
    return tmp_path / "history.db"


def learning(
    project: SimulatedProject, path: Path, observers: Sequence[events.Observer] = ()
) -> Tracker:
    """A tracker with the history, whose night begins at noon."""
    return Tracker(
        SimulatedSource(project),
        history=History(path, executor=InlineExecutor()),
        wall_clock=lambda: NOON + timedelta(seconds=now()),
        observers=observers,
    )


def _laws(**medians: float) -> Laws:
    """Each name ran ten times, give or take a tenth, as many others did."""
    others = {f"other {place}": 60.0 for place in range(50)}
    known = {**others, **medians}
    return Laws({name: Record(10.0, math.log(at), 0.01) for name, at in known.items()})


def _running(laws: Laws, name: str, age: float, seen: float | None = None) -> Running:
    return Running(laws, laws.law(name), age if seen is None else seen, age)


def _contradict(laws: Laws) -> None:
    """Let two end much too late."""
    for place in range(2):
        laws.teach((f"other {place}",), 600.0, 610.0)


def test_one_that_just_began_takes_what_it_usually_takes() -> None:
    """
    Give or take what it differs by from run to run.
    """
    laws = _laws(a=100.0)
    left = left_of(_running(laws, "a", 0.0))
    assert left is not None
    assert left.median == pytest.approx(100, rel=0.01)
    assert 80 < left.low < 90
    assert 110 < left.high < 125
    assert left.to_dict()["median"] == round(left.median, 1)


def test_time_passes() -> None:
    """
    What has been running for a while takes less; what runs late may take long; what was not
    looked at for a while may have ended.
    """
    laws = _laws(a=100.0)
    early, late, unseen = (
        left_of(_running(laws, "a", age, seen))
        for age, seen in ((50.0, None), (150.0, None), (150.0, 50.0))
    )
    assert early is not None
    assert late is not None
    assert unseen is not None
    assert early.median == pytest.approx(50, rel=0.05)
    assert late.high > 50  # an outlier, and nobody knows of which size
    assert (unseen.low, unseen.median) == (0.0, 0.0)


@pytest.mark.parametrize("count", [10, 400])
def test_the_last_of_many(count: int) -> None:
    """
    As drawn: the last of many ends later than each of them is expected to.
    """
    laws = _laws(**{f"job {place}": 100.0 + place / 10 for place in range(count)})
    pending = [_running(laws, f"job {place}", 30.0) for place in range(count)]
    left = left_of_all(pending)
    assert left is not None
    luck = random.Random(1)
    law = laws.law("job 0")
    assert law is not None

    def last() -> float:
        worst = 0.0
        for place in range(count):
            # One in a hundred has nothing to do with earlier ones.
            while True:
                spread = 0.8 if luck.random() < 0.01 else law.spread
                duration = (100.0 + place / 10) * math.exp(luck.gauss(0.0, spread))
                if duration > 30.0:
                    break
            worst = max(worst, duration)
        return worst - 30.0

    drawn = sorted(last() for _ in range(300))
    assert sum(left.low <= one <= left.high for one in drawn) / 300 == pytest.approx(0.8, abs=0.12)
    assert left.median == pytest.approx(drawn[150], rel=0.25)


@pytest.mark.parametrize("seed", range(10))
def test_the_last_of_many_is_no_sooner_than_any_of_them(seed: int) -> None:
    """
    Of more than are looked at one by one, of all ages: some of them are late.
    """
    luck = random.Random(seed)
    laws = _laws(**{f"job {place}": luck.choice([20.0, 60.0, 600.0]) for place in range(300)})
    pending = [_running(laws, f"job {p}", 60.0 * luck.expovariate(1.0)) for p in range(297)]
    pending += [_running(laws, f"job {p}", luck.uniform(30, 3000)) for p in range(297, 300)]
    left, each = left_of_all(pending), [left_of(one) for one in pending]
    assert left is not None
    for one in each:
        assert one is not None
        assert one.median <= left.median * 1.01
        assert one.high <= left.high * 1.01


def test_nothing_is_said_where_nothing_is_known() -> None:
    """
    Of no name, of one that was never seen, or if earlier runs say nothing about such an age.
    """
    laws = _laws(a=100.0, b=10.0)
    known, unseen = _running(laws, "a", 0.0), _running(laws, "new", 0.0)
    nameless = Running(laws, laws.law(), 0.0, 0.0)
    assert left_of(unseen) is left_of(nameless) is None
    assert left_of(_running(laws, "a", 1e9)) is None
    assert left_of_all([]) is left_of_all([unseen]) is None
    assert left_of_all([known, nameless]) is None
    mixed, alone = left_of_all([known, unseen]), left_of_all([known])
    assert mixed is not None
    assert alone is not None
    assert mixed.high > alone.high
    _contradict(laws)
    assert left_of(known) is left_of_all([known]) is None


def test_all_may_be_of_several_laws() -> None:
    """
    Requests and runs are learned apart: each counts by its own, and only while that is trusted.
    """
    requests, runs = _laws(a=100.0), _laws(b=300.0)
    short, long = _running(requests, "a", 0.0), _running(runs, "b", 0.0)
    both, alone = left_of_all([short, long]), left_of(long)
    assert both is not None
    assert alone is not None
    assert both.median == pytest.approx(alone.median, rel=0.02)
    _contradict(runs)
    assert left_of_all([short, long]) is None
    assert left_of_all([short]) is not None


def test_a_tracker_says_it_of_each_and_of_all(path: Path) -> None:
    """
    Once there is a night to learn from; never of what began nobody knows when.
    """

    async def night(number: int) -> list[TimeLeft | None]:
        luck = random.Random(number)
        project = SimulatedProject(record=False)
        for name, median in (("short", 60.0), ("long", 200.0)):
            project.add(name, median * math.exp(luck.gauss(0, 0.05)), submitted_at=0.0)
        project.add("ghost", 30.0, submitted_at=0.0)
        async with learning(project, path) as tracker:
            jobs = [Request(name, label=name, submitted_at=NOON) for name in ("short", "long")]
            handles = [tracker.track(job) for job in jobs]
            ghost = tracker.track("ghost", label="ghost")
            await asyncio.sleep(20)
            assert tracker.stats().left is None  # of the ghost nobody knows when it began
            assert tracker.time_left("ghost") is None
            assert tracker.time_left("somebody else") is None
            await ghost
            await asyncio.sleep(1)
            found = [*map(tracker.time_left, handles), tracker.stats().left]
            assert tracker.stats().left is found[-1]  # computed once
            for handle in handles:
                await handle
            assert tracker.stats().left is None
        return found

    assert run(night(0)) == [None, None, None]
    for number in range(1, 6):
        run(night(number))
    short, long, both = run(night(6))
    assert short is not None
    assert long is not None
    assert both is not None
    assert short.median == pytest.approx(30, abs=12)
    assert long.median == pytest.approx(170, abs=30)
    assert long.median - 5 < both.median < long.high
    assert short.low < short.median < short.high


@pytest.mark.parametrize("count", [1, 5, 30])
def test_it_is_said_all_along_where_all_take_alike(path: Path, count: int) -> None:
    """
    That nothing has ended yet is no contradiction where nothing was expected to.
    """
    for _ in range(10):
        lessons = [Lesson((f"l:job {place}",), 600.0, 600.0) for place in range(count)]
        History(path).add("", lessons, 0.01)

    async def night() -> None:
        luck = random.Random(1)
        project = SimulatedProject(record=False)
        for place in range(count):
            seconds = 600 * math.exp(luck.gauss(0, 0.1))
            project.add(f"r{place}", seconds, submitted_at=0.0)
        async with learning(project, path) as tracker:
            requests = [
                Request(f"r{p}", label=f"job {p}", submitted_at=NOON) for p in range(count)
            ]
            handles = [tracker.track(request) for request in requests]
            while not all(handle.done() for handle in handles):
                await asyncio.sleep(30)
                said = [tracker.time_left(handle) for handle in handles if not handle.done()]
                assert None not in said

    run(night())


def test_runs_of_jobs_say_nothing_about_requests(path: Path) -> None:
    """
    They take hours, and a statement that was never seen takes what statements take.
    """
    names = [*(f"l:seen {place}" for place in range(20)), *(f"j:job {p}" for p in range(20))]
    lessons = [
        Lesson((name,), *([2.0, 2.0] if name[0] == "l" else [7200.0] * 2)) for name in names
    ]
    History(path).add("", lessons, 0.04)

    async def night() -> TimeLeft | None:
        project = SimulatedProject(record=False)
        requests = []
        for name in ("seen 1", "new"):
            project.add(name, 2.0, submitted_at=0.0)
            requests.append(Request(name, label=name, submitted_at=NOON))
        async with learning(project, path) as tracker:
            handles = [tracker.track(request) for request in requests]
            await asyncio.sleep(0.1)
            left = tracker.stats().left
            for handle in handles:
                await handle
        return left

    left = run(night())
    assert left is not None
    assert left.high < 60


def test_status_says_it_too(path: Path) -> None:
    """
    Of what is pending, has a label, and was submitted at a known time.
    """
    names = {"usual": 30.0, "late": 900.0, "unknown start": None}

    async def teach() -> None:
        project = SimulatedProject(record=False)
        project.add("r", 60.0, submitted_at=0.0)
        async with learning(project, path) as tracker:
            await tracker.wait_all([Request("r", label="job", submitted_at=NOON)])

    async def ask() -> None:
        project = SimulatedProject(record=False)
        requests = []
        for name, age in names.items():
            project.add(name, 9000.0, submitted_at=0.0)
            at = None if age is None else NOON - timedelta(seconds=age)
            requests.append(Request(name, label="job", submitted_at=at))
        async with Tracker(
            SimulatedSource(project),
            history=History(path, executor=InlineExecutor()),
            wall_clock=lambda: NOON,
        ) as tracker:
            found = await tracker.status(requests)
        usual, late, unknown = (found[name] for name in names)
        assert usual.left is not None
        assert usual.left.median == pytest.approx(35, abs=20)
        assert (usual.overdue, late.overdue, unknown.overdue) == (False, True, False)
        assert unknown.left is None
        assert json.dumps(usual.left.to_dict())

    for _ in range(8):
        run(teach())
    run(ask())


def test_a_recording_knows_what_will_end_when_and_what_hangs(path: Path) -> None:
    """
    A page counts down by itself; what hangs keeps its mark to the end.
    """

    async def night(*, hangs: bool) -> list[dict[str, Any]]:
        project = SimulatedProject(record=False)
        names = [*(f"quick {place}" for place in range(10)), "stuck"]
        for place, name in enumerate(names):
            seconds = 900.0 if hangs and name == "stuck" else 55.0 + place
            project.add(name, seconds, submitted_at=0.0)
        recording = ReportObserver()
        async with learning(project, path, observers=[recording]) as tracker:
            jobs = [Request(name, label=name, submitted_at=NOON) for name in names]
            waiter = asyncio.create_task(tracker.wait_all(jobs))
            await asyncio.sleep(20)
            early = named_rows(recording.view(now=now()))
            await asyncio.sleep(580)
            late = named_rows(recording.view(now=now()))
            await waiter
        return [*early, *late, *named_rows(recording.view())]

    first = run(night(hangs=False))
    assert {row[name] for row in first for name in ("expected", "usual")} == {None}
    for _ in range(7):
        run(night(hangs=False))
    rows = run(night(hangs=True))
    quick, early, ended, late, over = rows[0], rows[10], rows[11], rows[21], rows[32]
    assert quick["expected"] == pytest.approx(55, abs=5)
    assert quick["expected_low"] < early["expected"] < quick["expected_high"]
    assert early["usual"] is None
    assert ended["expected"] is ended["expected_low"] is ended["expected_high"] is None
    assert late["usual"] == pytest.approx(65, abs=10)
    assert late["expected"] > 600
    assert (over["state"], over["usual"], over["expected"]) == ("SUCCEEDED", late["usual"], None)


def test_an_observer_that_comes_late_knows_it_too(path: Path) -> None:
    """
    A live page is often opened in the middle of a run.
    """

    async def night() -> Any:
        project = SimulatedProject(record=False)
        project.add("r", 60.0, submitted_at=0.0)
        async with learning(project, path) as tracker:
            handle = tracker.track(Request("r", label="r", submitted_at=NOON))
            await asyncio.sleep(20)
            recording = ReportObserver()
            tracker._session.opened().watch(recording)  # as `serve_page` does
            (row,) = named_rows(recording.view(now=now()))
            await handle
        return row["expected"]

    assert run(night()) is None
    assert run(night()) == pytest.approx(60, abs=10)  # counted from its beginning
