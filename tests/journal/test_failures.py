"""
A journal that fails: tracking stops, or goes on without it, as the user chose.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from onehouse_tracker import Result, Tracker
from onehouse_tracker.errors import (
    ConfigError,
    JournalCorruptError,
    JournalError,
    JournalLockedError,
    JournalWriteError,
)
from onehouse_tracker.events import Event, JournalFailed, JournalRecovered, ProjectFailed
from onehouse_tracker.journal import (
    Accepted,
    Acknowledged,
    Added,
    Entry,
    Intended,
    JournalReader,
    ResultEntry,
    SqliteJournal,
)
from onehouse_tracker.testing import ScriptedSource, hang
from tests.journal.files import Spied, inline, opened, recorded, state
from tests.support import PENDING, SUCCESS, run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal will be."""
    return tmp_path / "journal.db"


def failing(
    *kinds: type[Entry], times: int = 10**6, error: Exception | None = None
) -> Callable[[Sequence[Entry]], None]:
    """What makes a batch fail if it holds an entry of these kinds, so many times."""
    left = [times]

    def fail(entries: Sequence[Entry]) -> None:
        if left[0] and any(isinstance(entry, kinds) for entry in entries):
            left[0] -= 1
            raise error or JournalWriteError("journal j.db: the disk is full", path="j.db")

    return fail


# --- raise ------------------------------------------------------------------------------


async def test_an_executor_that_was_shut_down_is_a_failure_to_write(path: Path) -> None:
    """
    Whoever owns it may end it too early: then who waits is told, and the file is let go of.
    """
    executor = ThreadPoolExecutor(1)
    source = ScriptedSource({"a": [SUCCESS], "b": [SUCCESS]})
    tracker = Tracker(source, journal=SqliteJournal(path, executor=executor))

    await tracker.__aenter__()
    await tracker.wait_all(["a"])
    executor.shutdown()
    async with asyncio.timeout(5):
        with pytest.raises(JournalWriteError, match="executor was shut down") as caught:
            await tracker.wait_all(["b"])
        with pytest.raises(JournalWriteError, match="executor was shut down"):
            async for _ in tracker.resume():
                pass
        with pytest.raises(JournalWriteError, match="executor was shut down"):
            await tracker.__aexit__(None, None, None)  # "a" cannot be acknowledged

    assert caught.value.pending == ("b",)
    assert [call[1] for call in source.calls] == ["a"]
    opened(path).close()  # nobody holds its lock


@pytest.mark.parametrize("waiter", ["wait_all", "resume", "submit", "closing"])
async def test_whoever_waits_for_a_cancelled_job_is_told(path: Path, waiter: str) -> None:
    """
    An executor may be shut down with all that it has not begun: nobody else ever hears of it.
    """
    with ThreadPoolExecutor(1) as executor:
        source = ScriptedSource({"a": [SUCCESS]})
        tracker = Tracker(source, journal=SqliteJournal(path, executor=executor))
        await tracker.__aenter__()
        executor.submit(int).result()  # the opening has left its thread
        busy = threading.Event()
        executor.submit(busy.wait)

        async def wait() -> None:
            if waiter == "wait_all":
                await tracker.wait_all(["a"])
            elif waiter == "submit":
                await tracker.submit("RUN JOB x")
            elif waiter == "resume":
                await anext(tracker.resume())
            else:
                await tracker.__aexit__(None, None, None)

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0.01)
        executor.shutdown(wait=False, cancel_futures=True)
        busy.set()
        async with asyncio.timeout(5):
            if waiter == "closing":
                await waiting
            else:
                with pytest.raises(JournalWriteError, match="executor was shut down"):
                    await waiting
                await tracker.__aexit__(None, None, None)

    opened(path).close()  # nobody holds its lock


async def test_a_journal_whose_executor_is_gone_cannot_be_opened(path: Path) -> None:
    """
    Before the opening or in the middle of it: it is an error, and no cancellation.
    """
    with ThreadPoolExecutor(1) as executor:
        busy = threading.Event()
        executor.submit(busy.wait)
        for _ in ("cancelled", "refused"):
            tracker = Tracker(ScriptedSource({}), journal=SqliteJournal(path, executor=executor))
            opening = asyncio.create_task(tracker.__aenter__())
            await asyncio.sleep(0.01)
            executor.shutdown(wait=False, cancel_futures=True)
            busy.set()
            async with asyncio.timeout(5):
                with pytest.raises(JournalWriteError, match="executor was shut down"):
                    await opening
    opened(path).close()


class Slow(Spied):
    """Takes its time for everything, and takes note of two threads that use it at once."""

    def __init__(self, path: Path, executor: ThreadPoolExecutor) -> None:
        super().__init__(path, None, executor)
        self.done: list[str] = []
        self._using = threading.Lock()

    def _slowly(self, what: str, work: Callable[[], Any]) -> Any:
        if not self._using.acquire(blocking=False):
            self.done.append(f"{what} AT ONCE WITH ANOTHER")
            return work()
        with self._using_is_held():
            time.sleep(0.02)
            self.done.append(what)
            return work()

    @contextmanager
    def _using_is_held(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._using.release()

    def open(self) -> int:
        """Open the real one."""
        return int(self._slowly("open", super().open))

    def write(self, entries: Sequence[Entry]) -> Mapping[str, Result]:
        """Write to the real one."""
        found: Mapping[str, Result] = self._slowly("write", partial(super().write, entries))
        return found

    def close(self) -> None:
        """Close the real one."""
        self._slowly("close", super().close)


@pytest.mark.parametrize("moment", ["opening", "writing"])
async def test_closing_comes_behind_what_runs(path: Path, moment: str) -> None:
    """
    An executor of several threads would close the file under the one that uses it.
    """
    with ThreadPoolExecutor(4) as executor:
        journal = Slow(path, executor)
        tracker = Tracker(ScriptedSource({"a": [hang]}), journal=journal)
        opening = asyncio.create_task(tracker.__aenter__())
        if moment == "opening":
            await asyncio.sleep(0.005)
            opening.cancel()
            await asyncio.wait([opening])
            expected = ["open", "close"]
        else:
            await opening
            tracker.track("a")
            await asyncio.sleep(0.005)
            closing = asyncio.create_task(tracker.__aexit__(KeyError, KeyError(), None))
            await asyncio.sleep(0.001)
            closing.cancel()
            await asyncio.wait([closing])
            expected = ["open", "write", "close"]
    # All threads have ended.
    assert journal.done == expected
    opened(path).close()


def test_request_that_cannot_be_written_down_is_not_asked_about(path: Path) -> None:
    """
    The promise cannot be kept, so the wait fails, and says for which requests.
    """
    source = ScriptedSource({"a": [SUCCESS], "b": [SUCCESS]})
    events: list[Event] = []

    async def scenario() -> None:
        journal = Spied(path, failing(Added))
        async with Tracker(source, journal=journal, observers=[events.append]) as tracker:
            with pytest.raises(JournalWriteError, match="disk is full") as caught:
                await tracker.wait_all(["a", "b"])
            assert caught.value.pending == ("a", "b")
            assert caught.value.path == "j.db"

    run(scenario())
    assert source.calls == []
    told = [event for event in events if isinstance(event, JournalFailed | ProjectFailed)]
    assert [event.error for event in told[:2]] == ["JournalWriteError"] * 2


def test_result_that_cannot_be_written_down_is_not_told(path: Path) -> None:
    """
    Everyone who waits gets an error of their own, with what is known and what is open.
    """
    source = ScriptedSource({"a": [SUCCESS], "b": [PENDING, SUCCESS], "c": [PENDING, SUCCESS]})

    def full_after_the_first(entries: Sequence[Entry]) -> None:
        for entry in entries:
            if isinstance(entry, ResultEntry) and entry.result.request_id != "a":
                raise JournalWriteError("journal j.db: the disk is full", path="j.db")

    async def scenario() -> None:
        async with Tracker(source, journal=Spied(path, full_after_the_first)) as tracker:
            handle = tracker.track("c")
            with pytest.raises(JournalWriteError) as caught:
                await tracker.wait_all(["a", "b"])
            assert caught.value.results is not None
            assert list(caught.value.results) == ["a"]
            assert caught.value.pending == ("b",)
            with pytest.raises(JournalWriteError) as other:
                await handle
            assert other.value is not caught.value

    run(scenario())
    assert state(path) == {"a": "recorded", "b": "pending", "c": "pending"}


def test_tracker_goes_on_when_there_is_room_again(path: Path) -> None:
    """
    One failure fails the waiters of that moment; the next wait works.
    """
    source = ScriptedSource({"a": [SUCCESS]})

    async def scenario() -> None:
        async with Tracker(source, journal=Spied(path, failing(ResultEntry, times=1))) as tracker:
            with pytest.raises(JournalWriteError):
                await tracker.wait_all(["a"])
            assert (await tracker.wait_all(["a"])).ok

    run(scenario())
    assert state(path) == {"a": "acknowledged"}
    assert len(source.calls) == 2


def test_acknowledgement_that_cannot_be_written_is_an_error(path: Path) -> None:
    """
    Whoever asks for the next result, or awaits an acknowledgment, must not be deceived.
    """
    source = ScriptedSource({"a": [SUCCESS], "b": [SUCCESS]})

    async def scenario() -> None:
        async with Tracker(source, journal=Spied(path, failing(Acknowledged, times=3))) as tracker:
            # One after the other: each failure fails the waiters of its moment.
            completions = tracker.as_completed(["a", "b"])
            assert (await anext(completions)).request_id == "a"
            with pytest.raises(JournalWriteError):
                await anext(completions)
            with pytest.raises(JournalWriteError):
                await (await tracker.wait_all(["a"])).ack_and_wait()
            with pytest.raises(JournalWriteError) as caught:
                await tracker.wait_all(["a"], on_result=lambda _: None)
            assert caught.value.results is not None
            assert list(caught.value.results) == ["a"]
            assert caught.value.pending == ()

    run(scenario())


def test_end_of_the_block_that_cannot_acknowledge_is_an_error(path: Path) -> None:
    """
    The results would come again: the user should hear of it now.
    """

    async def scenario() -> None:
        source = ScriptedSource({"a": [SUCCESS]})
        with pytest.raises(JournalWriteError):
            async with Tracker(source, journal=Spied(path, failing(Acknowledged))) as tracker:
                await tracker.wait_all(["a"])
        with pytest.raises(Exception, match="closed"):
            tracker.stats()

    run(scenario())
    assert state(path) == {"a": "recorded"}
    opened(path).close()  # the lock is gone


def test_journal_that_cannot_be_opened_stops_the_tracker(path: Path) -> None:
    """
    Before anything is asked; nothing is left open.
    """
    path.write_bytes(b"request-1\nrequest-2\n" * 100)

    async def scenario() -> None:
        with pytest.raises(JournalCorruptError):
            async with Tracker(ScriptedSource({}), journal=SqliteJournal(path)):
                pass

    asyncio.run(scenario())


def test_second_tracker_is_kept_out(path: Path) -> None:
    """
    Two trackers would deliver each other's results.
    """

    async def scenario() -> None:
        async with Tracker(ScriptedSource({}), journal=inline(path)):
            with pytest.raises(JournalLockedError):
                async with Tracker(ScriptedSource({}), journal=inline(path)):
                    pass

    run(scenario())


def test_journal_of_another_make_may_raise_anything(path: Path) -> None:
    """
    What is no JournalError is a fault in it; nobody may wait for ever because of that.
    """
    source = ScriptedSource({"a": [SUCCESS]})

    async def scenario() -> None:
        journal = Spied(path, failing(Added, error=ZeroDivisionError("hunter2")))
        async with Tracker(source, journal=journal) as tracker:
            with pytest.raises(JournalWriteError, match="failed with ZeroDivisionError") as caught:
                await tracker.wait_all(["a"])
            assert "hunter2" not in str(caught.value)

    run(scenario())


# --- warn -------------------------------------------------------------------------------


def test_tracking_goes_on_without_if_it_should(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Every result arrives; what the file lacks is said once in the log, and each time as an
    event.
    """
    source = ScriptedSource({request_id: [PENDING, SUCCESS] for request_id in "abc"})
    events: list[Event] = []

    async def scenario() -> None:
        journal = Spied(path, failing(Added, ResultEntry, Acknowledged))
        async with Tracker(
            source, journal=journal, on_journal_error="warn", observers=[events.append]
        ) as tracker:
            assert (await tracker.wait_all(["a"])).ok
            assert [result.ok async for result in tracker.as_completed(["b"])] == [True]
            results = await tracker.wait_all(["c"], on_result=lambda _: None)
            await results.ack_and_wait()

    with caplog.at_level(logging.WARNING, "onehouse_tracker"):
        run(scenario())
    failures = [event for event in events if isinstance(event, JournalFailed)]
    assert sum(event.lost for event in failures) >= 9
    assert caplog.text.count("the disk is full") == 1
    assert state(path) == {}


def test_journal_that_works_again_is_used_again(path: Path) -> None:
    """
    A result brings its request along, so that what was lost is little.
    """
    source = ScriptedSource({"a": [PENDING, SUCCESS]})
    events: list[Event] = []

    async def scenario() -> None:
        async with Tracker(
            source,
            journal=Spied(path, failing(Added)),
            on_journal_error="warn",
            observers=[events.append],
        ) as tracker:
            await tracker.wait_all(["a"])

    run(scenario())
    assert state(path) == {"a": "acknowledged"}
    assert [event.lost for event in events if isinstance(event, JournalRecovered)] == [1]


@pytest.mark.parametrize("kind", ["corrupt", "locked"])
def test_journal_that_cannot_be_opened_is_done_without(
    path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Nothing is kept then, and whoever wants to resume is told why that cannot be.
    """
    other = None
    if kind == "corrupt":
        path.write_bytes(b"no database" * 100)
    else:
        other = opened(path)
        other.write([recorded("old")])
    source = ScriptedSource({"a": [PENDING, SUCCESS]}, submissions=["a"])

    async def scenario() -> None:
        async with Tracker(source, journal=inline(path), on_journal_error="warn") as tracker:
            with pytest.raises(JournalError, match=r"journal\.db"):
                await anext(tracker.resume())
            handle = await tracker.submit("RUN JOB x")
            assert (await handle).ok
            await handle.ack_and_wait()
            assert (await tracker.wait_all(["a"])).ok

    with caplog.at_level(logging.WARNING, "onehouse_tracker"):
        run(scenario())
    assert "journal.db" in caplog.text
    if other is None:
        assert path.read_bytes() == b"no database" * 100
    else:
        assert state(path) == {"old": "recorded"}
        other.close()


def test_choice_is_checked() -> None:
    """
    A misspelt word must not mean the one or the other.
    """
    with pytest.raises(ConfigError, match='"raise" or "warn"'):
        Tracker(ScriptedSource({}), on_journal_error="ignore")  # type: ignore[arg-type] # wrong


# --- cancelling and closing -------------------------------------------------------------


def test_cancelled_start_leaves_nothing_locked(path: Path) -> None:
    """
    Ctrl-C while the file is opened: the next run must be able to open it.
    """

    async def start(journal: SqliteJournal) -> None:
        async with Tracker(ScriptedSource({}), journal=journal):
            await asyncio.sleep(60)

    async def scenario(journal: SqliteJournal) -> None:
        task = asyncio.create_task(start(journal))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with ThreadPoolExecutor(max_workers=1) as executor:
        asyncio.run(scenario(SqliteJournal(path, executor=executor)))
    # The thread has ended.
    assert path.exists()
    opened(path).close()


def test_second_cancellation_ends_the_waiting_and_not_the_writing(path: Path) -> None:
    """
    An impatient Ctrl-C must not cost what was known.
    """
    source = ScriptedSource({"a": [SUCCESS]})
    results: list[Result] = []

    async def scenario() -> None:
        tracker = Tracker(source, journal=SqliteJournal(path))
        await tracker.__aenter__()
        results.extend((await tracker.wait_all(["a"])).values())
        closing = asyncio.create_task(tracker.__aexit__(None, None, None))
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing

    asyncio.run(scenario())
    assert results[0].ok
    assert state(path)["a"] in {"recorded", "acknowledged"}


def test_impatient_end_writes_what_has_gathered(path: Path) -> None:
    """
    The second Ctrl-C meets a slow disk: what waits for it is written all the same, whoever
    waits for that is told, and the file is free when the thread is done.
    """

    async def scenario(executor: ThreadPoolExecutor) -> None:
        journal = Spied(path, lambda _: time.sleep(0.05), executor)
        tracker = Tracker(ScriptedSource({"a": [hang], "b": [hang]}), journal=journal)
        await tracker.__aenter__()
        tracker.track("a")
        await asyncio.sleep(0.01)
        # The disk is busy with the first: the second has to wait.
        tracker.track("b")
        late = asyncio.create_task(tracker.submit("RUN JOB x"))
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(tracker.__aexit__(KeyError, KeyError(), None))
        await asyncio.sleep(0.01)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        with pytest.raises(JournalWriteError, match="closed"):
            await asyncio.wait_for(late, 1)

    with ThreadPoolExecutor(max_workers=1) as executor:
        asyncio.run(scenario(executor))
    assert state(path) == {"a": "pending", "b": "pending"}
    opened(path).close()


# --- submissions ------------------------------------------------------------------------


def test_statement_that_cannot_be_written_down_is_not_sent(path: Path) -> None:
    """
    After a crash nobody would know of it.
    """
    source = ScriptedSource({"a": [SUCCESS]}, submissions=["a"])

    async def scenario() -> None:
        async with Tracker(source, journal=Spied(path, failing(Intended, times=1))) as tracker:
            with pytest.raises(JournalWriteError):
                await tracker.submit("RUN JOB x")
            assert source.submitted == []
            assert (await (await tracker.submit("RUN JOB x"))).ok

    run(scenario())
    assert [item.state for item in JournalReader(path).statements()] == ["accepted"]


def test_request_that_cannot_be_written_down_is_named(path: Path) -> None:
    """
    The statement runs: its ID must not be lost with the disk.
    """
    source = ScriptedSource({"id-1": [SUCCESS]}, submissions=["id-1"])

    async def scenario() -> None:
        async with Tracker(source, journal=Spied(path, failing(Accepted))) as tracker:
            with pytest.raises(JournalWriteError, match="accepted as request id-1") as caught:
                await tracker.submit("RUN JOB x")
            assert caught.value.pending == ("id-1",)

    run(scenario())
    (item,) = JournalReader(path).statements()
    assert item.fate_unknown
