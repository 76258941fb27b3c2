"""
Tasks that run before `create_task` returns: nothing may count on a task that has not begun.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from onehouse_tracker import (
    ConfigError,
    Handle,
    PollPolicy,
    Request,
    Result,
    SqliteJournal,
    Tracker,
    TrackerClosedError,
    TrackerPool,
    events,
    sync,
)
from onehouse_tracker.integrations.airflow._shared_resources import Shared
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.models import StatusReply
from onehouse_tracker.testing import InlineExecutor, ScriptedSource
from tests.loops import eager_tasks, needs_eager_tasks
from tests.support import FAILED, PENDING, SUCCESS, run

T = TypeVar("T")

pytestmark = needs_eager_tasks


async def with_eager_tasks(scenario: Coroutine[Any, Any, T]) -> T:
    """Run the rest of *scenario*'s loop with eager tasks."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(eager_tasks)
    return await loop.create_task(scenario)


def source(latency: float) -> ScriptedSource:
    """One that ends at once, one that ends later, one that fails, and two statements."""
    return ScriptedSource(
        {
            "a": [SUCCESS],
            "b": [PENDING, PENDING, FAILED],
            "c": ["HTTP 503", SUCCESS],
            "s1": [PENDING, SUCCESS],
            "s2": [SUCCESS],
        },
        latency=latency,
        submissions=["s1", "s2"],
    )


IDS = ["a", "b", "c"]


async def ids() -> AsyncIterator[str]:
    """Never waits for the next one."""
    for request_id in IDS:
        yield request_id


async def wait_all(tracker: Tracker) -> list[Result]:
    """The plain way."""
    return list((await tracker.wait_all(IDS)).values())


async def wait_for_a_stream(tracker: Tracker) -> list[Result]:
    """The task that feeds it may be over before anybody waits."""
    return list((await tracker.wait_all(ids())).values())


async def wait_a_moment(tracker: Tracker) -> list[Result]:
    """A deadline that comes before the second poll."""
    results = await tracker.wait_all(ids(), timeout=0.05)
    await asyncio.sleep(0.001)
    return list(results.values())


async def call_back(tracker: Tracker) -> list[Result]:
    """Callbacks that wait, and callbacks that do not."""
    told: list[Result] = []

    async def at_once(result: Result) -> None:
        told.append(result)

    async def later(result: Result) -> None:
        await asyncio.sleep(0.05)
        told.append(result)

    await asyncio.gather(
        *(tracker.wait_all(IDS, on_result=each) for each in (at_once, later, told.append))
    )
    assert len(told) == 9
    return sorted(told, key=lambda result: result.request_id)


async def iterate(tracker: Tracker) -> list[Result]:
    """As they end, each step in a task of its own."""
    completions = tracker.as_completed(ids())
    told: list[Result] = []

    async def step() -> None:
        told.append(await anext(completions))

    for _ in IDS:
        await asyncio.create_task(step())
    with pytest.raises(StopAsyncIteration):
        await anext(completions)
    return told


async def hold_handles(tracker: Tracker) -> list[Result]:
    """Of what was tracked, and of what was submitted."""
    tracked = [tracker.track(each) for each in IDS]
    submitted = [await tracker.submit("SHOW TABLES"), await tracker.submit("SHOW TABLES")]
    return [await handle for handle in (*submitted, *tracked)]


async def resume(tracker: Tracker) -> list[Result]:
    """What the journal holds."""
    for each in IDS:
        tracker.track(each)
    await asyncio.sleep(30)
    return [result async for result in tracker.resume()]


@pytest.mark.parametrize("latency", [0.0, 0.2])
@pytest.mark.parametrize("with_journal", [False, True])
@pytest.mark.parametrize(
    "use",
    [
        wait_all,
        wait_for_a_stream,
        wait_a_moment,
        call_back,
        iterate,
        hold_handles,
        resume,
    ],
)
def test_eager_tasks_change_nothing(
    use: Callable[[Tracker], Coroutine[Any, Any, list[Result]]],
    with_journal: bool,  # noqa: FBT001 - a parameter of the test
    latency: float,
    tmp_path: Path,
) -> None:
    """
    A source that answers without waiting has answered before the poll's task is known.
    """
    if use is resume and not with_journal:
        pytest.skip("there is nothing to resume from")

    async def scenario(path: Path) -> tuple[list[Any], list[tuple[float, str]]]:
        journal = SqliteJournal(path, executor=InlineExecutor()) if with_journal else None
        asked = source(latency)
        async with Tracker(asked, journal=journal, seed=7) as tracker:
            results = await use(tracker)
            assert tracker.stats().in_flight == 0
            assert tracker.stats().pending == 0
        told = [(each.request_id, each.outcome, each.polls) for each in results]
        return told, [(round(at, 3), request_id) for at, request_id in asked.calls]

    plain = run(scenario(tmp_path / "plain.db"))
    eager = run(with_eager_tasks(scenario(tmp_path / "eager.db")))

    assert plain == eager
    assert plain[0]


@pytest.mark.parametrize("eager", [False, True])
def test_a_poll_of_what_its_source_let_go_of_is_cancelled(eager: bool) -> None:  # noqa: FBT001
    """
    It has no task yet that could be cancelled when its source, asked, cancels the handle.
    """
    handles: list[Handle] = []
    cancelled: list[float] = []

    class LettingGo:
        async def fetch(self, request_id: str, /) -> StatusReply:
            if request_id == "other":
                return StatusReply(SUCCESS)
            assert handles[0].cancel()
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                cancelled.append(asyncio.get_running_loop().time())
                raise
            return StatusReply(SUCCESS)

    async def scenario() -> None:
        async with Tracker(LettingGo(), policy=PollPolicy(poll_timeout=30)) as tracker:
            handles.append(tracker.track("this"))
            await asyncio.sleep(1)
            assert cancelled == [pytest.approx(0, abs=0.01)]
            assert tracker.stats().in_flight == 0
            assert (await tracker.track("other")).outcome.ok

    run(with_eager_tasks(scenario()) if eager else scenario())


class FailingLimiter(LocalLimiter):
    """Cannot be opened the first time; later breaks once."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures
        self.broken = False

    async def start(self) -> None:
        """Fail, or open."""
        self.failures -= 1
        if self.failures >= 0:
            raise ConfigError("the limiter is stuck")
        await super().start()

    async def acquire(self) -> None:
        """Fail, or wait for a slot."""
        if self.broken:
            raise OSError("no space left")
        await super().acquire()


def test_an_opening_that_fails_is_tried_again() -> None:
    """
    It has failed before the pool knows that it opens.
    """
    limiter = FailingLimiter(failures=2)

    async def scenario() -> None:
        async with TrackerPool() as pool:
            pool.add("p", source(0), limiter=limiter)
            with pytest.raises(ConfigError, match="stuck"):
                await pool.tracker("p")
            assert "p" in (await pool.wait_all({"p": ["a"]})).errors
            assert (await pool.wait_all({"p": ["a"]})).ok
            limiter.broken = True
            during = await pool.wait_all({"p": ["b"]})
            assert isinstance(during.errors["p"], TrackerClosedError)
            limiter.broken = False
            assert (await pool.wait_all({"p": ["c"]})).ok

    run(with_eager_tasks(scenario()))


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("what", ["open", "remove"])
def test_who_is_told_of_a_closing_neither_opens_nor_overtakes_it(what: str, eager: bool) -> None:  # noqa: FBT001
    """
    An observer is told, and starts tasks, in the middle of the first step of the closing.
    """
    late: list[asyncio.Task[Any]] = []

    class SlowLimiter(LocalLimiter):
        async def aclose(self) -> None:
            await asyncio.sleep(5)
            await super().aclose()

    async def scenario() -> None:
        async with TrackerPool() as pool:

            async def act() -> float:
                await (pool.tracker("p") if what == "open" else pool.remove("p"))
                return asyncio.get_running_loop().time()

            def told(event: events.Event) -> None:
                if isinstance(event, events.RequestDropped) and not late:
                    late.append(asyncio.create_task(act()))

            endless = ScriptedSource({"a": [PENDING]})
            pool.add("p", endless, observers=[told], limiter=SlowLimiter())
            (await pool.tracker("p")).track("a")
            await asyncio.sleep(1)
            await pool.remove("p")
            await asyncio.wait(late)
            if what == "open":
                assert isinstance(late[0].exception(), TrackerClosedError)
            else:
                assert late[0].result() >= 6
            pool.add("p", source(0))
            assert (await pool.wait_all({"p": ["a"]})).ok

    run(with_eager_tasks(scenario()) if eager else scenario())


def test_the_blocking_tracker_gets_its_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A call may be over before its caller's thread waits for it; errors reach that thread.
    """
    make = asyncio.new_event_loop

    def eager() -> asyncio.AbstractEventLoop:
        loop = make()
        loop.set_task_factory(eager_tasks)
        return loop

    def leave(_result: Result) -> None:
        raise SystemExit(3)

    monkeypatch.setattr(asyncio, "new_event_loop", eager)
    told: list[Result] = []
    asked = ScriptedSource({each: [SUCCESS] for each in (*IDS, "s")}, submissions=["s"])
    before = threading.active_count()
    with sync.Tracker(asked) as tracker:
        assert tracker.wait_all(IDS, on_result=told.append).ok
        assert [each.request_id for each in tracker.as_completed(IDS)] == IDS
        assert tracker.submit("SHOW TABLES").result().outcome.ok
        assert tracker.track(Request("a")).result(timeout=5).outcome.ok
        with pytest.raises(SystemExit):
            tracker.wait_all(["a"], on_result=leave)
        with pytest.raises(ConfigError):
            tracker.wait_all(["a"], timeout=-1)
        assert tracker.stats().pending == 0
    with pytest.raises(TrackerClosedError):
        tracker.wait_all(["a"])
    assert [each.request_id for each in told] == IDS
    assert threading.active_count() == before


def test_what_tasks_share_is_opened_for_its_first_user() -> None:
    """
    It opens without waiting, while nobody seems to use it yet.
    """
    opened: list[str] = []

    class Resource:
        async def __aenter__(self) -> str:
            opened.append("one")
            if len(opened) == 1:
                raise OSError("not now")
            return "it"

        async def __aexit__(self, *_: object) -> None:
            opened.append("closed")

    async def scenario() -> None:
        shared = Shared[str, str](lambda _: Resource())
        with pytest.raises(OSError, match="not now"):
            async with shared.use("k"):
                raise AssertionError
        async with shared.use("k") as first, shared.use("k") as second:
            await asyncio.sleep(1)
            assert first == second == "it"
            assert opened == ["one", "one"]
        await asyncio.sleep(1)
        assert opened[-1] == "closed"

    run(with_eager_tasks(scenario()))
