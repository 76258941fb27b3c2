"""How long runs will still take, by what earlier runs of their jobs took, and what is overdue."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from onehouse_tracker import (
    InvalidRequestError,
    JobRun,
    RunOutcome,
    SqliteJournal,
    TimeLeft,
    Tracker,
    TrackerClosedError,
    events,
)
from onehouse_tracker.cli._run_state import LeftRuns, RunState
from onehouse_tracker.history import History, Remembered
from onehouse_tracker.journal import JournalReader
from onehouse_tracker.report import ReportObserver
from onehouse_tracker.report._view import named_rows
from onehouse_tracker.runs import RunHandle
from onehouse_tracker.testing import InlineExecutor, Kind, RunKind, SimulatedJobs, SimulatedProject
from onehouse_tracker.testing.faults import lognormal
from tests.runs.following import KINDS, follow, project_of
from tests.support import now

T = TypeVar("T")

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SHORT, LONG = "RUN JOB short", "RUN JOB long"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the history will be."""
    return tmp_path / "history.db"


def project(**durations: float) -> SimulatedProject:
    """A night on which the jobs of these names take so many seconds, and others a minute."""
    kinds = [RunKind(job=job, queued=0, duration=took) for job, took in durations.items()]
    return project_of(kinds=(*kinds, RunKind(queued=0, duration=60)))


def night(
    path: Path,
    scenario: Callable[[Tracker], Awaitable[T]],
    of: SimulatedProject | None = None,
    **settings: Any,
) -> T:
    """Run *scenario* with a tracker that has the history; its night begins at noon."""
    return follow(
        project(short=60, long=200) if of is None else of,
        scenario,
        history=History(path, executor=InlineExecutor()),
        wall_clock=lambda: NOON + timedelta(seconds=now()),
        **settings,
    )


def teach(path: Path, *statements: str, nights: int = 8) -> None:
    """Let some nights pass on which these statements were executed."""

    async def executed(tracker: Tracker) -> None:
        assert (await tracker.runs.execute_all(statements)).ok

    for _ in range(nights):
        night(path, executed)


def jobs(path: Path) -> dict[str, Remembered]:
    """What is remembered of each job."""
    return {each.name: each for each in History(path).remembered() if each.kind == "job"}


async def started(tracker: Tracker, *statements: str) -> list[RunHandle]:
    """The handles of what these statements started."""
    handles = [await tracker.runs.submit(statement) for statement in statements]
    while any(handle.run_id is None for handle in handles):  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0.5)
    return handles


def test_time_left_of_each_run_and_of_all(path: Path) -> None:
    """
    Once there is a night to learn from; the last of all decides how long they take together.
    """

    async def asked(tracker: Tracker) -> list[TimeLeft | None]:
        handles = await started(tracker, SHORT, LONG)
        await asyncio.sleep(20)
        long = JobRun("long", handles[1].run_id or "")
        asked_for: list[JobRun | RunHandle] = [*handles, long]
        found = [tracker.runs.time_left(each) for each in asked_for]
        found.append(tracker.stats().left)
        assert tracker.stats().left is found[-1]  # computed once
        assert tracker.runs.time_left(JobRun("long", "another")) is None
        for handle in handles:
            await handle
        assert tracker.runs.time_left(handles[0]) is tracker.stats().left is None
        return found

    assert night(path, asked) == [None] * 4
    teach(path, SHORT, LONG)
    short, long, by_name, both = night(path, asked)
    assert short is not None
    assert long is not None
    assert both is not None
    assert by_name == long
    assert short.median == pytest.approx(40, abs=8)
    assert long.median == pytest.approx(180, abs=15)
    assert short.low < short.median < short.high < long.low
    assert both.median == pytest.approx(long.median, rel=0.05)


def test_without_a_history_nothing_is_said() -> None:
    """
    What tonight's checks show is for the order of checks only.
    """

    async def asked(tracker: Tracker) -> None:
        (handle,) = await started(tracker, SHORT)
        await asyncio.sleep(20)
        assert tracker.runs.time_left(handle) is tracker.stats().left is None
        await handle

    follow(project(), asked)


def test_only_a_run_can_be_asked_for(path: Path) -> None:
    """
    As everywhere else: what is none is refused, and so is everything once it is closed.
    """

    async def asked(tracker: Tracker) -> Tracker:
        with pytest.raises(InvalidRequestError, match="not str"):
            tracker.runs.time_left("run-1")  # type: ignore[arg-type]
        return tracker

    with pytest.raises(TrackerClosedError):
        night(path, asked).runs.time_left(JobRun("a", "b"))


def test_what_is_being_started_takes_as_long_as_its_job(path: Path) -> None:
    """
    From the moment that it is submitted, and without the request that starts it.
    """
    teach(path, SHORT, "CREATE TABLE x")

    async def asked(tracker: Tracker) -> None:
        handle = await tracker.runs.submit(SHORT, label="mine")
        other = await tracker.runs.submit("CREATE TABLE x")
        for left in (tracker.runs.time_left(handle), tracker.stats().left):
            assert left is not None
            assert left.median == pytest.approx(60, abs=5)
        await asyncio.sleep(0.5)  # until it is a request
        statement = tracker.runs.time_left(other)
        assert statement is not None  # it starts no run, and counts by itself
        assert statement.median == pytest.approx(20, abs=4)
        await other
        assert tracker.runs.time_left(other) is None
        handle.cancel()
        assert tracker.runs.time_left(handle) is None
        (dropped,) = await started(tracker, SHORT)
        dropped.cancel()
        assert tracker.runs.time_left(dropped) is None

    night(path, asked)


def test_nothing_is_said_of_all_while_more_is_to_be_sent(path: Path) -> None:
    """
    One at a time takes longer than the one that runs.
    """
    teach(path, SHORT)

    async def asked(tracker: Tracker) -> list[TimeLeft | None]:
        found = []

        async def look() -> None:
            while True:
                await asyncio.sleep(10)
                found.append(tracker.stats().left)

        looking = asyncio.create_task(look())
        await tracker.runs.execute_all([SHORT, SHORT], max_running=1)
        looking.cancel()
        return found

    found = night(path, asked)
    assert found[:5] == [None] * 5
    assert all(found[7:11])


def test_nothing_is_said_of_all_before_a_statement_is_a_request(path: Path) -> None:
    """
    A statement that waits for its slot is followed already.
    """
    teach(path, SHORT)

    async def asked(tracker: Tracker) -> None:
        (handle,) = await started(tracker, SHORT)
        await asyncio.sleep(2)
        assert tracker.stats().left is not None
        sending = asyncio.create_task(tracker.runs.submit("SHOW X"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert tracker._session.opened().forecasts.left_of_all(now() + 9) is None
        await (await sending)
        await handle

    night(path, asked)


def test_nothing_is_said_of_all_while_runs_wait_for_their_slots(path: Path) -> None:
    """
    They begin when they are sent; so does the order to cancel one.
    """
    teach(path, SHORT)

    async def asked(tracker: Tracker) -> None:
        tasks = [asyncio.create_task(tracker.runs.submit(SHORT)) for _ in range(60)]
        await asyncio.sleep(2)
        assert tracker.stats().left is None
        handles = [await task for task in tasks]
        await asyncio.sleep(20)
        assert tracker.stats().left is not None
        run = JobRun(handles[0].job or "", handles[0].run_id or "")
        order = asyncio.create_task(tracker.runs.cancel_run(run))
        await asyncio.sleep(0)
        assert tracker.stats().left is None
        await order

    night(path, asked)


def test_one_wait_for_runs_and_requests(path: Path) -> None:
    """
    Together they take as long as the last of them, whichever that is.
    """
    slow = "SYNC TABLE x"

    def both(request: float) -> SimulatedProject:
        return project_of(
            Kind(label="SYNC", duration=request), kinds=[RunKind(queued=0, duration=60)]
        )

    async def executed(tracker: Tracker) -> None:
        handle = await tracker.submit(slow, label="sync")
        await tracker.runs.execute_all([SHORT])
        await handle

    async def asked(tracker: Tracker) -> TimeLeft | None:
        handle = await tracker.submit(slow, label="sync")
        (run,) = await started(tracker, SHORT)
        await asyncio.sleep(20)
        left = tracker.stats().left
        await run
        await handle
        return left

    for number, request, expected in ((0, 300.0, 275.0), (1, 20.5, 40.0)):
        of = path.with_name(f"{number}.db")
        for _ in range(8):
            night(of, executed, both(request))
        left = night(of, asked, both(request))
        assert left is not None
        assert left.median == pytest.approx(expected, abs=15)


def test_a_run_that_hangs_alone_is_told(path: Path) -> None:
    """
    With nothing else that ends it takes longer to be sure: all may be slower tonight.
    """
    teach(path, SHORT)
    told: list[events.Event] = []

    async def executed(tracker: Tracker) -> None:
        await tracker.runs.execute_all([SHORT])

    night(path, executed, project(short=900), observers=[told.append])
    (event,) = (each for each in told if isinstance(each, events.RunOverdue))
    assert 120 < event.age < 220


def test_a_run_that_takes_unusually_long_is_told_once(path: Path) -> None:
    """
    As an event, in the numbers, and as a mark on the page and in its report.
    """
    others = [f"RUN JOB `other {place}`" for place in range(4)]
    teach(path, SHORT, LONG, *others)
    told: list[events.Event] = []
    recording = ReportObserver()

    async def asked(tracker: Tracker) -> list[dict[str, Any]]:
        handles = await started(tracker, SHORT, LONG, *others)
        await asyncio.sleep(15)
        early = named_rows(recording.view(now=now()))
        await asyncio.sleep(165)
        late = named_rows(recording.view(now=now()))
        assert tracker.stats().overdue == 1
        left = tracker.runs.time_left(handles[0])
        assert left is not None
        assert left.high > left.median > 10
        for handle in handles:
            await handle
        assert tracker.stats().overdue == 0
        return [*early, *late, *named_rows(recording.view(now=now()))]

    rows = night(path, asked, project(short=900, long=200), observers=[told.append, recording])
    (event,) = (each for each in told if isinstance(each, events.RunOverdue))
    assert (event.job, event.label) == ("short", None)
    assert event.run_id
    assert event.request_id
    assert event.usual == pytest.approx(60, rel=0.1)
    assert 65 < event.age < 130
    early, waiting, late, over = rows[0], rows[1], rows[6], rows[12]
    assert (early["job"], early["usual"]) == ("short", None)
    assert early["expected"] == pytest.approx(62, abs=6)  # from noon, with its statement
    assert early["expected_low"] < early["expected"] < early["expected_high"] < waiting["expected"]
    assert late["usual"] == pytest.approx(event.usual, abs=0.001)
    assert late["expected"] > 190
    assert (over["state"], over["usual"], over["expected"]) == ("SUCCEEDED", late["usual"], None)


def test_a_page_is_told_anew_after_each_check(path: Path) -> None:
    """
    Of the run that was checked, or of all of its job that were listed together.
    """
    teach(path, SHORT)
    recording = ReportObserver()
    seen: list[tuple[bool, int]] = []

    def observe(event: events.Event) -> None:
        if isinstance(event, events.CheckEnded):
            before = f"{recording._token}-{recording.version - 1}-0"
            view = recording.view(since=before)
            seen.append((event.run_id is None, len(view["rows"])))

    async def executed(tracker: Tracker) -> None:
        await tracker.runs.execute_all([SHORT, SHORT, SHORT, LONG], timeout=40)

    night(path, executed, project(short=900, long=900), observers=[recording, observe])
    listed = {rows for together, rows in seen if together}
    assert listed == {3}
    assert {rows for together, rows in seen if not together} == {1}


@pytest.mark.parametrize(
    ("ago", "waits", "teaches"),
    [(0.0, 0.0, True), (None, 0.0, False), (-9.0, 0.0, False), (0.0, 80.0, False)],
    ids=["known", "unknown start", "the future", "found ended"],
)
def test_what_a_run_teaches(path: Path, ago: float | None, waits: float, *, teaches: bool) -> None:
    """
    Only one whose start is known, and whose end was not there at the first check.
    """
    made = project()
    made.add_run("a", "r1", duration=60, created_at=0.0)
    at = None if ago is None else NOON - timedelta(seconds=ago)

    async def watched(tracker: Tracker) -> None:
        await asyncio.sleep(waits)
        await tracker.runs.wait_all([JobRun("a", "r1", started_at=at)])

    night(path, watched, made)
    assert ("a" in jobs(path)) is teaches


@pytest.mark.parametrize("ago", [None, 0.0], ids=["unknown start", "known"])
def test_a_resumed_run_teaches_only_if_its_start_is_known(path: Path, ago: float | None) -> None:
    """
    When it was added to a journal is not when it was started.
    """
    made = project()
    made.add_run("a", "r1", duration=60)
    at = None if ago is None else NOON - timedelta(seconds=ago)
    journal = path.with_name("journal.db")

    async def begun(tracker: Tracker) -> None:
        await tracker.runs.wait_all([JobRun("a", "r1", started_at=at)], timeout=10)

    async def resumed(tracker: Tracker) -> None:
        async with tracker.runs.resume() as completions:
            assert [each.outcome async for each in completions] == [RunOutcome.SUCCEEDED]

    night(path, begun, made, journal=SqliteJournal(journal, executor=InlineExecutor()))
    night(path, resumed, made, journal=SqliteJournal(journal, executor=InlineExecutor()))
    assert ("a" in jobs(path)) is (ago is not None)
    (row,) = JournalReader(journal).runs()
    assert (row.started_at is None) is (ago is None)


def test_a_run_whose_request_ended_after_a_crash_teaches_nothing(path: Path) -> None:
    """
    It may have been started long before anybody looked again.
    """
    made, journal = project(), path.with_name("journal.db")

    async def begun(tracker: Tracker) -> None:
        await tracker.runs.submit(SHORT)

    async def resumed(tracker: Tracker) -> None:
        async with tracker.runs.resume() as completions:
            assert [each.outcome async for each in completions] == [RunOutcome.SUCCEEDED]

    night(path, begun, made, journal=SqliteJournal(journal, executor=InlineExecutor()))
    night(path, resumed, made, journal=SqliteJournal(journal, executor=InlineExecutor()))
    assert jobs(path) == {}


def test_the_ranges_hold_in_a_simulated_world(path: Path) -> None:
    """
    Twenty jobs that differ from night to night, ten of them at a time; eight ranges in ten hold.
    """
    names = [f"job {place}" for place in range(20)]

    def world(number: int) -> SimulatedProject:
        kinds = [
            RunKind(job=name, queued=lognormal(3, 0.3), duration=lognormal(40 + 12 * place, 0.12))
            for place, name in enumerate(names)
        ]
        return SimulatedProject(kinds=KINDS, jobs=SimulatedJobs(kinds=kinds), seed=number)

    async def executed(tracker: Tracker) -> None:
        statements = [f"RUN JOB `{name}`" for name in names]
        assert (await tracker.runs.execute_all(statements)).ok

    for number in range(1, 7):
        night(path, executed, world(number))
    truth = world(7)
    held: list[bool] = []
    last: list[bool] = []

    async def asked(tracker: Tracker) -> None:
        handles = await started(tracker, *(f"RUN JOB `{name}`" for name in names))
        while tracker.runs.followed:
            await asyncio.sleep(15)
            ends = {each.run_id: each.ended_at for each in truth.runs.values()}
            for handle in handles:
                left = tracker.runs.time_left(handle)
                if left is not None:
                    held.append(left.low <= ends[handle.run_id or ""] - now() + 1 <= left.high + 2)
            if (left := tracker.stats().left) is not None:
                last.append(max(ends.values()) - now() <= left.high + 2)

    night(path, asked, truth)
    assert len(held) > 120
    assert len(last) > 15
    assert math.fsum(held) / len(held) == pytest.approx(0.8, abs=0.15)
    assert math.fsum(last) / len(last) > 0.7


def test_open_runs_of_a_command_say_how_long_they_take(path: Path) -> None:
    """
    Where the command is interrupted, in the data of each that was followed, also of a journal.
    """
    teach(path, SHORT)
    journal = path.with_name("journal.db")
    submitted = RunState(2)

    def data(state: RunState) -> Iterator[tuple[str | None, bool, bool]]:
        state.look_last()
        for each in state.open_data():
            assert (each["left"] is None) or each["left"]["high"] > 0
            yield each["job"], each["left"] is not None, each["overdue"]

    async def begun(tracker: Tracker) -> None:
        submitted.begin(tracker.runs, await started(tracker, SHORT, LONG))
        await asyncio.sleep(5)
        assert list(data(submitted)) == [("short", True, False), ("long", False, False)]
        await asyncio.sleep(240)
        assert list(data(submitted)) == [("short", True, True), ("long", False, False)]

    async def resumed(tracker: Tracker) -> RunState:
        state = LeftRuns(list(JournalReader(journal).runs()))
        assert {each for each, _, _ in data(state)} == {"short", "long"}  # not open yet
        state.begin(tracker.runs)
        async with tracker.runs.resume():
            await asyncio.sleep(5)
            assert list(data(state)) == [("short", True, False), ("long", False, False)]
        return state

    made = project(short=900, long=900)
    keeps = SqliteJournal(journal, executor=InlineExecutor())
    assert submitted.listens_to(events.RunOverdue)
    night(path, begun, made, journal=keeps, observers=[submitted])
    keeps = SqliteJournal(journal, executor=InlineExecutor())
    night(path, resumed, made, journal=keeps).look_last()  # closed: what is known stays


def test_statements_that_start_no_run_teach_too(path: Path) -> None:
    """
    They were submitted here, as those of ``tracker.submit`` are.
    """
    teach(path, "CREATE TABLE x", nights=2)
    assert {each.kind: each.runs for each in History(path).remembered()} == {"statement": 2}
