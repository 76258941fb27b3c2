"""
After a crash: first what was known, then what was pending, each until it is acknowledged.
"""

from __future__ import annotations

import asyncio
import gc
import pickle
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from onehouse_tracker import Completions, PollPolicy, Request, Result, Results, Tracker
from onehouse_tracker._engine.journal_queue import JournalQueue
from onehouse_tracker.errors import (
    AuthenticationError,
    ConfigError,
    JournalCorruptError,
    JournalWriteError,
    TrackerClosedError,
    UnauthorizedError,
)
from onehouse_tracker.journal import Added, Journalled, ResultEntry, SqliteJournal
from onehouse_tracker.models import Outcome, StatusReply
from onehouse_tracker.testing import ScriptedSource
from tests.journal.files import NOON, Spied, added, inline, opened, recorded, state
from tests.support import FAILED, PENDING, SUCCESS, now, run

_connect = sqlite3.connect


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal will be."""
    return tmp_path / "journal.db"


class CrashError(Exception):
    """Ends the block of a tracker as a bug of the user's would."""


def crash(path: Path, work: Callable[[Tracker], Coroutine[Any, Any, object]]) -> None:
    """Let *work* happen with three requests that end at once, and end it by an exception."""

    async def scenario() -> None:
        source = ScriptedSource({"a": [SUCCESS], "b": [FAILED], "c": [SUCCESS]})
        with suppress(CrashError):
            async with Tracker(source, journal=inline(path)) as tracker:
                await work(tracker)
                raise CrashError

    run(scenario())


def resumed(path: Path, source: ScriptedSource | None = None, **options: Any) -> list[Result]:
    """What `resume` delivers, to its end."""

    async def scenario() -> list[Result]:
        async with Tracker(
            source or ScriptedSource({}), journal=inline(path), **options
        ) as tracker:
            return [result async for result in tracker.resume()]

    return run(scenario())


def ids(results: list[Result]) -> list[str]:
    """Their request IDs."""
    return [result.request_id for result in results]


# --- acknowledgment, by every way of delivery ------------------------------------------


def test_wait_all_is_acknowledged_when_the_block_ends_well(path: Path) -> None:
    """
    The usual script: wait, use the results, done.
    """

    async def scenario() -> None:
        source = ScriptedSource({"a": [SUCCESS], "b": [FAILED]})
        async with Tracker(source, journal=inline(path)) as tracker:
            results = await tracker.wait_all(["a", "b"])
            assert state(path) == {"a": "recorded", "b": "recorded"}
        await results.ack_and_wait()  # late, and right all the same

    run(scenario())
    assert state(path) == {"a": "acknowledged", "b": "acknowledged"}
    assert resumed(path) == []


def test_wait_all_is_delivered_again_after_an_exception(path: Path) -> None:
    """
    Whoever dies between the result and its use gets it again, without a poll.
    """
    crash(path, lambda tracker: tracker.wait_all(["a", "b"]))

    again = resumed(path)

    assert ids(again) == ["a", "b"]
    assert [result.outcome for result in again] == [Outcome.SUCCEEDED, Outcome.FAILED]
    assert resumed(path) == []


def test_results_can_be_acknowledged_at_any_moment(path: Path) -> None:
    """
    Once they are where they belong, a crash must not deliver them again.
    """

    async def work(tracker: Tracker) -> None:
        results = await tracker.wait_all(["a", "b"])
        await results.ack_and_wait()
        assert state(path) == {"a": "acknowledged", "b": "acknowledged"}
        await tracker.wait_all(["c"])

    crash(path, work)
    assert ids(resumed(path)) == ["c"]


def test_acknowledgement_counts_without_being_awaited(path: Path) -> None:
    """
    A forgotten await costs the certainty, not the acknowledgment.
    """

    async def work(tracker: Tracker) -> None:
        results = await tracker.wait_all(["a", "b"])
        results.ack()

    crash(path, work)
    assert resumed(path) == []


def test_what_was_acknowledged_is_not_kept_in_memory(path: Path) -> None:
    """
    A service that acknowledges can run for years.
    """

    async def work(tracker: Tracker) -> None:
        journal_queue = tracker._session.journal_queue
        assert journal_queue is not None
        results = await tracker.wait_all(["a"])
        assert list(journal_queue._delivered) == ["a"]
        await results.ack_and_wait()
        handle = tracker.track("b")
        await handle
        await handle.ack_and_wait()
        await tracker.wait_all(["c"], on_result=str)
        assert journal_queue._delivered == {}

    crash(path, work)


@pytest.mark.parametrize("ends", ["well", "badly"])
@pytest.mark.parametrize("disk", ["fine", "full"])
def test_what_nobody_acknowledges_is_not_kept_in_memory(
    path: Path, ends: str, disk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A service that never acknowledges can run for years, and closing counts for all it got.
    """
    ids_of_many = [f"r{number}" for number in range(50)]
    monkeypatch.setattr(JournalQueue, "MOST_DELIVERED", 8)
    if disk == "full":
        monkeypatch.setattr(sqlite3, "connect", _no_room)
    acknowledged = ["r3", "r40"]

    async def scenario() -> None:
        source = ScriptedSource({request_id: [SUCCESS] for request_id in ids_of_many})
        with suppress(CrashError):
            async with Tracker(source, journal=inline(path)) as tracker:
                journal_queue = tracker._session.journal_queue
                assert journal_queue is not None
                for request_id in ids_of_many:
                    handle = tracker.track(request_id)
                    await handle
                    assert len(journal_queue._delivered) <= 8
                    if request_id in acknowledged:
                        await handle.ack_and_wait()
                if ends == "badly":
                    raise CrashError

    run(scenario())
    monkeypatch.undo()

    left = [] if ends == "well" else [i for i in ids_of_many if i not in acknowledged]
    script = {request_id: [SUCCESS] for request_id in ids_of_many}

    async def again() -> list[str]:
        async with Tracker(ScriptedSource(script), journal=inline(path)) as tracker:
            return [result.request_id async for result in tracker.resume()]

    assert sorted(run(again())) == sorted(left)


def _no_room(database: str, *arguments: Any, **settings: Any) -> sqlite3.Connection:
    if database == "":
        raise sqlite3.OperationalError("database or disk is full")
    connection: sqlite3.Connection = _connect(database, *arguments, **settings)
    return connection


def test_copies_of_results_are_only_data(path: Path) -> None:
    """
    What was pickled, for another process, cannot acknowledge, and says nothing wrong.
    """

    async def work(tracker: Tracker) -> None:
        results = await tracker.wait_all(["a"])
        copy: Results = pickle.loads(pickle.dumps(results))  # noqa: S301 - our own
        assert copy == results
        await copy.ack_and_wait()

    crash(path, work)
    assert ids(resumed(path)) == ["a"]


def test_too_late_to_acknowledge_says_so(path: Path) -> None:
    """
    Nothing may pretend that a result will not come again when it will.
    """
    kept: list[Results] = []

    async def work(tracker: Tracker) -> None:
        kept.append(await tracker.wait_all(["a"]))

    crash(path, work)
    with pytest.raises(TrackerClosedError, match="delivers them again"):
        run(awaited(kept[0]))
    assert ids(resumed(path)) == ["a"]


async def awaited(results: Results) -> None:
    """Acknowledge *results*, whatever loop runs."""
    await results.ack_and_wait()


def test_handles_are_acknowledged_one_by_one(path: Path) -> None:
    """
    The one that was read and acknowledged does not come again; the others do.
    """

    async def work(tracker: Tracker) -> None:
        first, second, third = (tracker.track(request_id) for request_id in "abc")
        await first
        await first.ack_and_wait()
        await second
        with pytest.raises(asyncio.InvalidStateError):
            await tracker.track("d").ack_and_wait()
        await third

    crash(path, work)
    assert ids(resumed(path, ScriptedSource({"d": [SUCCESS]}))) == ["b", "c", "d"]


def test_handle_that_nobody_looked_at_is_not_acknowledged(path: Path) -> None:
    """
    The end of the block acknowledges what was handed out, and nothing else.
    """

    async def scenario() -> None:
        source = ScriptedSource({"a": [SUCCESS], "b": [SUCCESS]})
        async with Tracker(source, journal=inline(path)) as tracker:
            read, unread = tracker.track("a"), tracker.track("b")
            await asyncio.sleep(1)
            assert read.result().ok
            assert unread.done()
            assert "SUCCEEDED" in repr(unread)

    run(scenario())
    assert state(path) == {"a": "acknowledged", "b": "recorded"}


def test_iterator_acknowledges_when_the_next_is_asked_for(path: Path) -> None:
    """
    A loop that reaches the next turn is done with the last; it is on disk by then.
    """

    async def work(tracker: Tracker) -> None:
        states = [state(path) async for _ in tracker.as_completed(["a", "b", "c"])]
        assert [list(seen.values()).count("acknowledged") for seen in states] == [0, 1, 2]

    crash(path, work)
    assert resumed(path) == []


def test_iterator_that_is_left_delivers_its_last_again(path: Path) -> None:
    """
    A break, or an exception in the body of the loop, says nothing about the last result.
    """

    async def work(tracker: Tracker) -> None:
        async for result in tracker.as_completed(["a", "b"]):
            if result.request_id == "b":
                break

    crash(path, work)
    assert ids(resumed(path)) == ["b"]


def test_task_that_asks_for_more_says_nothing_about_anothers_result(path: Path) -> None:
    """
    Several workers share an iterator; one of them may die with its result.
    """

    async def work(tracker: Tracker) -> None:
        completions = tracker.as_completed(["a", "b", "c"])

        async def slow_worker() -> str:
            taken = await anext(completions)
            await asyncio.sleep(100)
            return taken.request_id

        slow = asyncio.create_task(slow_worker())
        await asyncio.sleep(1)
        assert len([result async for result in completions]) == 2
        slow.cancel()
        await asyncio.wait([slow])

    crash(path, work)
    assert ids(resumed(path)) == ["a"]


async def by_wait_for(completions: Completions) -> Result:
    """In a task of its own before Python 3.12, and in this one since."""
    return await asyncio.wait_for(anext(completions), 60)


async def by_task(completions: Completions) -> Result:
    """In a task of its own."""
    return await asyncio.create_task(anext(completions))


async def by_task_of_a_helper(completions: Completions) -> Result:
    """In a task of its own that does more."""

    async def step() -> Result:
        return await anext(completions)

    return await asyncio.wait_for(asyncio.create_task(step()), 60)


async def by_future(completions: Completions) -> Result:
    """In a task of its own around something that is no coroutine."""
    result = await asyncio.ensure_future(anext(completions, None))
    assert result is not None
    return result


async def by_shield(completions: Completions) -> Result:
    """In a task of its own that nobody else cancels."""
    return await asyncio.shield(anext(completions))


@pytest.mark.parametrize("step", [by_wait_for, by_task, by_task_of_a_helper, by_future, by_shield])
def test_a_step_in_a_task_of_its_own_acknowledges_the_one_before(
    path: Path, step: Callable[[Completions], Coroutine[Any, Any, Result]]
) -> None:
    """
    Who asks for more is done with the last, whichever way it asks and on any Python.
    """

    async def work(tracker: Tracker) -> None:
        completions = tracker.as_completed(["a", "b", "c"])
        seen = []
        for known in range(3):
            seen.append((await step(completions)).request_id)
            assert list(state(path).values()).count("acknowledged") == known
        assert seen == ["a", "b", "c"]

    crash(path, work)
    assert ids(resumed(path)) == ["c"]


def test_workers_that_take_by_steps_acknowledge_nothing_of_each_other(path: Path) -> None:
    """
    Whose a step was nobody can tell, once two have asked at the same time.
    """

    async def work(tracker: Tracker) -> None:
        completions = tracker.as_completed(["a", "b", "c"])

        async def worker(patience: float) -> None:
            for _ in range(9):
                await by_task(completions)
                await asyncio.sleep(patience)

        workers = [asyncio.create_task(worker(patience)) for patience in (100, 1)]
        await asyncio.sleep(5)
        for one in workers:
            one.cancel()
        await asyncio.wait(workers)

    crash(path, work)
    assert ids(resumed(path)) == ["a", "b", "c"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_worker_that_failed_was_not_done(path: Path, *, fails: bool) -> None:
    """
    The next worker takes what comes next, and says nothing about what the last one had.
    """

    async def work(tracker: Tracker) -> None:
        completions = tracker.as_completed(["a", "b"])

        async def worker() -> None:
            await anext(completions)
            if fails:
                raise LookupError

        first = asyncio.create_task(worker())
        await asyncio.wait([first])
        await asyncio.create_task(worker_of(completions))
        assert isinstance(first.exception(), LookupError) is fails

    async def worker_of(completions: Completions) -> None:
        await anext(completions)

    crash(path, work)
    assert ids(resumed(path)) == (["a", "b"] if fails else ["b"])


def test_cancelled_step_of_an_iterator_loses_nothing(path: Path) -> None:
    """
    The acknowledgment that it waited for holds, and the next result is still there.
    """

    async def work(tracker: Tracker) -> None:
        completions = tracker.as_completed(["a", "b", "c"])
        seen = [(await anext(completions)).request_id]
        await asyncio.sleep(1)

        async def step() -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await anext(completions)

        await step()
        seen += [result.request_id async for result in completions]
        assert seen == ["a", "b", "c"]

    crash(path, work)
    assert resumed(path) == []


def test_callback_acknowledges_when_it_returns(path: Path) -> None:
    """
    One that raised has not kept the result; resume brings it again, also after a good end.
    """
    states: list[dict[str, str]] = []

    async def save(result: Result) -> None:
        states.append(state(path))
        if result.request_id == "b":
            raise LookupError

    async def scenario() -> None:
        source = ScriptedSource({"a": [SUCCESS], "b": [FAILED], "c": [SUCCESS]})
        async with Tracker(source, journal=inline(path)) as tracker:
            results = await tracker.wait_all(["a", "b", "c"], on_result=save)
            assert list(results.callback_errors) == ["b"]

    run(scenario())
    assert [list(seen.values()).count("acknowledged") for seen in states] == [0, 1, 1]
    assert ids(resumed(path)) == ["b"]


def test_first_acknowledgement_counts(path: Path) -> None:
    """
    Several waiters of one request: it has arrived when it has arrived at one of them.
    """

    async def work(tracker: Tracker) -> None:
        both = await asyncio.gather(tracker.wait_all(["a"]), tracker.wait_all(["a"]))
        await both[0].ack_and_wait()

    crash(path, work)
    assert resumed(path) == []


def test_without_a_journal_acknowledging_does_nothing() -> None:
    """
    Code that acknowledges runs with and without a journal.
    """

    async def scenario() -> None:
        async with Tracker(ScriptedSource({"a": [SUCCESS]})) as tracker:
            await (await tracker.wait_all(["a"])).ack_and_wait()
            handle = tracker.track("a")
            await handle
            await handle.ack_and_wait()
            with pytest.raises(ConfigError, match="give the tracker a journal"):
                tracker.resume()

    run(scenario())


# --- resuming ---------------------------------------------------------------------------


def test_known_results_come_first_then_what_was_pending(path: Path) -> None:
    """
    The morning after: what is known at once, and the rest as it ends.
    """
    journal = opened(path)
    journal.write([added("p1", "slow"), recorded("r1"), added("p2"), recorded("r2")])
    journal.close()
    source = ScriptedSource({"p1": [PENDING, SUCCESS], "p2": [FAILED]})

    results = resumed(path, source)

    assert ids(results)[:2] == ["r1", "r2"]
    assert sorted(ids(results)[2:]) == ["p1", "p2"]
    assert {result.request_id: result.label for result in results}["p1"] == "slow"
    assert "r1" not in {asked for _, asked in source.calls}
    assert set(state(path).values()) == {"acknowledged"}


def test_ages_survive(path: Path) -> None:
    """
    A request of yesterday is asked about as seldom as an old one, not like a new one.
    """
    journal = opened(path)
    journal.write([Added(Request("told", submitted_at=NOON - timedelta(hours=3)), NOON)])
    journal.write([added("untold")])
    journal.close()
    source = ScriptedSource({"told": [PENDING], "untold": [PENDING]})
    policy = PollPolicy(order="due", idle_share=0)

    async def scenario() -> None:
        def clock() -> datetime:
            return NOON + timedelta(hours=1)

        async with Tracker(
            source, policy=policy, journal=inline(path), wall_clock=clock, seed=1
        ) as tracker:
            results = [result async for result in tracker.resume(timeout=60)]
            assert {result.outcome for result in results} == {Outcome.TIMED_OUT}

    run(scenario())
    for request_id, hours in (("told", 4), ("untold", 1)):
        first, second = source.times(request_id)[:2]
        assert second - first == pytest.approx(policy.gap(3600 * hours + first), abs=0.2)
    assert state(path) == {"told": "pending", "untold": "pending"}


def test_resumed_requests_do_not_all_start_at_once(path: Path) -> None:
    """
    Each gets its first look at a random moment of its gap, as if polling had never stopped.
    """
    journal = opened(path)
    pending = [f"id-{number}" for number in range(40)]
    journal.write([added(request_id) for request_id in pending])
    journal.close()

    def first_looks(seed: int) -> list[str]:
        source = ScriptedSource({request_id: [PENDING] for request_id in pending})

        async def scenario() -> None:
            def clock() -> datetime:
                return NOON + timedelta(hours=12)

            async with Tracker(
                source,
                policy=PollPolicy(order="due", idle_share=0),
                journal=inline(path),
                wall_clock=clock,
                seed=seed,
            ) as tracker:
                async for _ in tracker.resume(timeout=15):
                    pass

        run(scenario())
        first = {request_id: source.times(request_id)[0] for request_id in pending}
        # Twelve hours old: the gap is ten seconds, and the first looks fill it.
        assert sum(at < 5 for at in first.values()) == pytest.approx(20, abs=9)
        return sorted(first, key=first.__getitem__)

    assert first_looks(1) == first_looks(1) != first_looks(2)


def test_resuming_reads_piece_by_piece_and_misses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Neither at the seams of the pieces nor between known and pending.
    """
    monkeypatch.setattr("onehouse_tracker._engine.journal_queue.JournalQueue.CHUNK", 7)
    journal = opened(path)
    known = [f"r-{number}" for number in range(14)]
    pending = [f"p-{number}" for number in range(21)]
    journal.write([recorded(request_id) for request_id in known])
    journal.write([added(request_id) for request_id in pending])
    journal.close()

    results = resumed(path, ScriptedSource({request_id: [SUCCESS] for request_id in pending}))

    assert ids(results)[:14] == known
    assert sorted(ids(results)[14:]) == sorted(pending)


class Slow(Spied):
    """A journal whose reading takes as long as a test says."""

    def __init__(self, path: Path, delay: Callable[[], object]) -> None:
        super().__init__(path, executor=ThreadPoolExecutor(1))
        self._delay = delay

    def unacknowledged(self, after: int, limit: int) -> Sequence[Journalled]:
        """Ask the real one."""
        self._delay()
        return super().unacknowledged(after, limit)


def thirty_known_and_twenty_pending(path: Path) -> tuple[list[str], list[str]]:
    """Make a journal, to be read seven at a time."""
    known = [f"r-{number}" for number in range(30)]
    pending = [f"p-{number}" for number in range(20)]
    with closing(opened(path)) as journal:
        journal.write([recorded(request_id) for request_id in known])
        journal.write([added(request_id) for request_id in pending])
    return known, pending


@pytest.mark.parametrize("timeout", [0, 0.015])
@pytest.mark.parametrize("clock", ["virtual", "real"])
def test_a_deadline_while_it_reads_ends_the_waiting_and_not_the_reading(
    path: Path, monkeypatch: pytest.MonkeyPatch, timeout: float, clock: str
) -> None:
    """
    What earlier runs recorded comes in any case, and whatever is pending says so.
    """
    monkeypatch.setattr("onehouse_tracker._engine.journal_queue.JournalQueue.CHUNK", 7)
    known, pending = thirty_known_and_twenty_pending(path)
    source = ScriptedSource({request_id: [PENDING] for request_id in pending})

    async def scenario() -> list[Result]:
        journal = inline(path) if clock == "virtual" else Slow(path, lambda: time.sleep(0.005))
        async with Tracker(source, journal=journal) as tracker:
            results = [result async for result in tracker.resume(timeout=timeout)]
            assert tracker.stats().pending == 0
            return results

    results = run(scenario()) if clock == "virtual" else asyncio.run(scenario())

    assert ids(results) == known + pending
    outcomes = [result.outcome for result in results]
    assert outcomes == [Outcome.SUCCEEDED] * 30 + [Outcome.TIMED_OUT] * 20
    assert set(state(path).values()) == {"acknowledged", "pending"}


async def test_after_the_deadline_a_journal_that_does_not_answer_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The disk hangs: nobody waits longer than a moment beyond what they wanted to wait.
    """
    monkeypatch.setattr("onehouse_tracker._engine.open_tracker.resumption.JOURNAL_GRACE", 0.05)
    thirty_known_and_twenty_pending(path)
    answers = threading.Event()
    async with Tracker(ScriptedSource({}), journal=Slow(path, answers.wait)) as tracker:
        completions = tracker.resume(timeout=0.01)
        async with asyncio.timeout(2):
            with pytest.raises(JournalWriteError, match="did not answer"):
                await anext(completions)
        answers.set()


@pytest.mark.parametrize("seed", range(30))
def test_request_that_ends_while_it_is_resumed_comes_once(path: Path, seed: int) -> None:
    """
    Another wait may get the answer between the reading and the delivering.
    """
    journal = opened(path)
    pending = [f"p-{number}" for number in range(20)]
    journal.write([added(request_id) for request_id in pending])
    journal.close()
    source = ScriptedSource({request_id: [SUCCESS] for request_id in pending})

    async def scenario() -> None:
        async with Tracker(source, journal=inline(path)) as tracker:
            others = asyncio.create_task(tracker.wait_all(pending))
            await asyncio.sleep(seed * 0.07)
            mine = [result.request_id async for result in tracker.resume()]
            await others
            assert len(mine) == len(set(mine))

    run(scenario(), seed=seed)
    assert sorted(asked for _, asked in source.calls) == sorted(pending)
    assert set(state(path).values()) == {"acknowledged"}


def test_what_is_added_after_the_call_is_not_resumed(path: Path) -> None:
    """
    It has its own waiter already; whoever resumes asked for what was there.
    """
    journal = opened(path)
    journal.write([added("old")])
    journal.close()
    source = ScriptedSource({"old": [SUCCESS], "before": [SUCCESS], "after": [SUCCESS]})

    async def scenario() -> None:
        async with Tracker(source, journal=inline(path)) as tracker:
            before = tracker.track("before")
            completions = tracker.resume()
            after = tracker.track("after")  # in the same turn of the loop
            assert set(ids([result async for result in completions])) == {"old", "before"}
            assert (await before).ok
            assert (await after).ok

    run(scenario())


def test_request_that_ends_between_two_readings_is_not_missed(path: Path) -> None:
    """
    Neither known yet when the results are read, nor pending any more when the rest is.
    """
    journal = opened(path)
    journal.write([added("a")])
    journal.close()

    async def scenario() -> None:
        class Interrupting(Spied):
            def unacknowledged(self, after: int, limit: int) -> Sequence[Journalled]:
                found = super().unacknowledged(after, limit)
                answer.set()
                return found

        async def reply(_request_id: str) -> StatusReply:
            await answer.wait()
            return StatusReply(SUCCESS)

        answer = asyncio.Event()
        source = ScriptedSource({"a": [reply]})
        async with Tracker(source, journal=Interrupting(path)) as tracker:
            other = tracker.track("a")
            await asyncio.sleep(1)
            assert ids([result async for result in tracker.resume()]) == ["a"]
            assert (await other).ok

    run(scenario())


def test_several_crashes_deliver_everything(path: Path) -> None:
    """
    A crash in the middle of resuming is like any other.
    """
    journal = opened(path)
    journal.write([recorded("a"), recorded("b"), recorded("c")])
    journal.close()

    async def take(tracker: Tracker, count: int) -> None:
        completions = tracker.resume()
        for _ in range(count):
            await anext(completions)

    crash(path, lambda tracker: take(tracker, 1))
    crash(path, lambda tracker: take(tracker, 2))

    assert ids(resumed(path)) == ["b", "c"]


def test_resuming_an_empty_journal_ends_at_once(path: Path) -> None:
    """
    The first run of a job has nothing to resume.
    """

    async def scenario() -> None:
        async with Tracker(ScriptedSource({}), journal=inline(path)) as tracker:
            async with tracker.resume() as completions:
                assert [result async for result in completions] == []
            assert now() == 0

    run(scenario())


def test_iterator_that_is_left_stops_the_reading_and_the_polling(path: Path) -> None:
    """
    A bare break releases what was taken in, and the rest stays where it is.
    """
    journal = opened(path)
    journal.write([recorded("a"), *(added(f"p-{number}") for number in range(5000))])
    journal.close()
    source = ScriptedSource({f"p-{number}": [PENDING] for number in range(5000)})

    async def scenario() -> None:
        async with Tracker(source, journal=inline(path)) as tracker:
            completions = tracker.resume()
            assert (await anext(completions)).request_id == "a"
            gone = weakref.ref(completions)
            del completions
            gc.collect()
            assert gone() is None
            await asyncio.sleep(1)
            assert tracker.stats().pending == 0

    run(scenario())
    assert list(state(path).values()).count("pending") == 5000


def test_project_that_fails_while_resuming_can_be_resumed(path: Path) -> None:
    """
    Wrong credentials cost one request, and nothing in the journal.
    """
    journal = opened(path)
    journal.write([recorded("r"), *(added(f"p-{number}") for number in range(50))])
    journal.close()
    refusal = UnauthorizedError("who", http_status=401)
    source = ScriptedSource({f"p-{number}": [refusal, SUCCESS] for number in range(50)})

    async def scenario() -> None:
        async with Tracker(source, journal=inline(path)) as tracker:
            completions = tracker.resume()
            assert (await anext(completions)).request_id == "r"
            with pytest.raises(AuthenticationError) as caught:
                await anext(completions)
            assert len(caught.value.pending) == 50
            assert len(source.calls) == 1

    run(scenario())
    source = ScriptedSource({f"p-{number}": [SUCCESS] for number in range(50)})
    assert len(resumed(path, source)) == 50


def test_file_that_cannot_be_read_fails_the_resuming_and_nothing_else(path: Path) -> None:
    """
    Nothing is silently left out of what resume delivers.
    """
    journal = opened(path)
    journal.write([recorded("a")])
    assert journal._connection is not None
    journal._connection.execute("UPDATE requests SET detected_at = 'noon'")
    journal.close()

    async def scenario() -> None:
        async with Tracker(
            ScriptedSource({"b": [SUCCESS]}), journal=inline(path), on_journal_error="warn"
        ) as tracker:
            with pytest.raises(JournalCorruptError):
                await anext(tracker.resume())
            assert (await tracker.wait_all(["b"])).ok

    run(scenario())


def test_results_of_an_earlier_run_are_read_without_a_server(path: Path) -> None:
    """
    A report, a notebook, a colleague: all that is needed is the file.
    """
    journal = opened(path)
    result = Result(request_id="a", outcome=Outcome.FAILED, label="RUN JOB", response={"x": 1})
    journal.write([ResultEntry(result, NOON), added("b")])

    results = SqliteJournal.read(path)  # while it is written to

    assert list(results) == ["a"]
    assert results["a"] == result
    journal.close()
    assert SqliteJournal.read(str(path)) == results
