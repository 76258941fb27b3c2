"""
What is on disk before what: seen from outside, by a reader of the file, at each moment.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from onehouse_tracker import PollPolicy, Request, Result, Tracker
from onehouse_tracker.errors import (
    NotFoundError,
    OutageError,
    RejectedError,
    TrackerClosedError,
)
from onehouse_tracker.events import Event, RequestEnded
from onehouse_tracker.journal import Entry, JournalReader, ResultEntry, SqliteJournal
from onehouse_tracker.models import Outcome, StatusReply
from onehouse_tracker.testing import ScriptedSource, Step, hang
from tests.journal.files import NOON, Spied, inline, opened, recorded, state
from tests.support import FAILED, PENDING, SUCCESS, now, run


class Witness(ScriptedSource):
    """Looks at the file whenever it is asked something."""

    def __init__(self, path: Path, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type] # passed through
        self.path = path
        self.states: list[str | None] = []

    async def fetch(self, request_id: str) -> StatusReply:
        """Note what the file says about it, then reply."""
        self.states.append(state(self.path).get(request_id))
        return await super().fetch(request_id)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal will be."""
    return tmp_path / "journal.db"


@pytest.mark.parametrize("seed", [None, *range(20)])
def test_request_is_on_disk_before_its_first_poll(path: Path, seed: int | None) -> None:
    """
    A crash right after the first poll must find the ID, whatever order the loop runs in.
    """
    source = Witness(path, {"a": [PENDING, SUCCESS], "b": [SUCCESS]})

    async def scenario() -> None:
        async with Tracker(source, journal=inline(path)) as tracker:
            handle = tracker.track("a")
            await tracker.wait_all(["b"])
            await handle

    run(scenario(), seed=seed)
    assert source.states == ["pending"] * 3


@pytest.mark.parametrize("seed", [None, *range(20)])
def test_result_is_on_disk_before_anyone_is_told(path: Path, seed: int | None) -> None:
    """
    Waiters of every kind, callbacks and observers: whoever knows it can rely on it.
    """
    seen: list[tuple[str, str | None]] = []

    def look(who: str) -> None:
        seen.append((who, state(path).get("a")))

    def observe(event: Event) -> None:
        if isinstance(event, RequestEnded):
            look("observer")

    async def saved(_result: Result) -> None:
        look("callback")

    async def iterate(tracker: Tracker) -> None:
        async for _ in tracker.as_completed(["a"]):
            look("iterator")

    async def hold(tracker: Tracker) -> None:
        await tracker.track("a")
        look("handle")

    async def gather(tracker: Tracker) -> None:
        await tracker.wait_all(["a"])
        look("wait_all")

    async def scenario() -> None:
        source = ScriptedSource({"a": [PENDING, PENDING, FAILED]})
        async with Tracker(source, journal=inline(path), observers=[observe]) as tracker:
            await asyncio.gather(
                iterate(tracker),
                hold(tracker),
                gather(tracker),
                tracker.wait_all(["a"], on_result=saved),
            )

    run(scenario(), seed=seed)
    assert sorted(who for who, _ in seen) == [
        "callback",
        "handle",
        "iterator",
        "observer",
        "wait_all",
    ]
    assert {on_disk for _, on_disk in seen} <= {"recorded", "acknowledged"}


def test_known_outcome_is_answered_without_a_poll(path: Path) -> None:
    """
    What is final does not change: an earlier run's answer costs nothing.
    """
    source = ScriptedSource({"a": [FAILED], "b": [SUCCESS]})

    async def scenario(ids: list[str], expected: list[str]) -> None:
        async with Tracker(source, journal=inline(path)) as tracker:
            results = await tracker.wait_all(ids, default_label="mine")
            assert [result.outcome for result in results.values()] == expected
            assert {result.label for result in results.values()} == {"mine"}
            assert tracker.stats().pending == 0

    run(scenario(["a"], ["FAILED"]))
    run(scenario(["a", "b"], ["FAILED", "SUCCEEDED"]))
    assert [asked for _, asked in source.calls] == ["a", "b"]


@pytest.mark.parametrize("threads", [0, 1])
def test_known_outcome_comes_before_the_deadline(path: Path, threads: int) -> None:
    """
    What the journal holds was known before anybody asked: it cannot come too late.
    """
    with closing(opened(path)) as journal:
        journal.write([recorded("a", Outcome.FAILED)])

    async def scenario() -> None:
        journal = inline(path) if not threads else SqliteJournal(path)
        source = ScriptedSource({"b": [PENDING]})
        async with Tracker(source, journal=journal) as tracker:
            for timeout in (0, 0.0001):
                results = await tracker.wait_all(["a", "b"], timeout=timeout)
                assert [result.outcome for result in results.values()] == ["FAILED", "TIMED_OUT"]
            iterated = [
                result.outcome async for result in tracker.as_completed(["a", "b"], timeout=0)
            ]
            assert sorted(iterated) == ["FAILED", "TIMED_OUT"]
            assert tracker.stats().pending == 0

    run(scenario())


async def test_who_left_after_the_deadline_gets_nothing_more(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The journal has not answered yet, and somebody else waits for the same request.
    """
    monkeypatch.setattr("onehouse_tracker._engine.open_tracker.teardown.JOURNAL_GRACE", 0.02)
    writes = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        journal = Spied(path, lambda _: writes.wait(), executor)
        async with Tracker(ScriptedSource({"a": [SUCCESS]}), journal=journal) as tracker:
            handle = tracker.track("a")
            completions = tracker.as_completed(["a"], timeout=0)
            await asyncio.sleep(0.005)
            await completions.aclose()
            await asyncio.sleep(0.05)
            writes.set()
            assert [result async for result in completions] == []
            assert (await handle).ok


async def test_a_deadline_waits_for_the_journal_a_moment_only(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The disk hangs: then a time-out is a time-out, whatever the journal may hold.
    """
    monkeypatch.setattr("onehouse_tracker._engine.open_tracker.teardown.JOURNAL_GRACE", 0.05)
    writes = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        journal = Spied(path, lambda _: writes.wait(), executor)
        async with Tracker(ScriptedSource({}), journal=journal) as tracker:
            async with asyncio.timeout(2):
                results = await tracker.wait_all(["a"], timeout=0.01)
            assert results["a"].outcome is Outcome.TIMED_OUT
            writes.set()


def test_what_is_not_final_is_asked_about_again(path: Path) -> None:
    """
    A deadline of ours, or a network that failed, says nothing about the request.
    """
    source = ScriptedSource({"a": [PENDING, PENDING, PENDING, SUCCESS], "b": [SUCCESS]})

    async def scenario() -> None:
        async with Tracker(source, journal=inline(path)) as tracker:
            first = await tracker.wait_all(["a", "b"], timeout=0.5)
            assert first["a"].outcome is Outcome.TIMED_OUT
            assert state(path)["a"] == "pending"
            assert (await tracker.wait_all(["a"])).ok

    run(scenario())
    assert state(path) == {"a": "acknowledged", "b": "acknowledged"}


@pytest.mark.parametrize("way", ["wait_all", "track", "resume"])
@pytest.mark.parametrize(
    ("step", "outcome"),
    [
        (NotFoundError("no such request", http_status=404), Outcome.NOT_FOUND),
        (RejectedError("bad request", http_status=400), Outcome.REJECTED),
        ("NO_SUCH_WORD", Outcome.UNRECOGNIZED),
    ],
    ids=["404", "400", "word"],
)
def test_what_we_concluded_is_asked_anew(
    path: Path, step: Step, outcome: Outcome, way: str
) -> None:
    """
    Settings are corrected, the server is updated: the same ID with the same journal is asked
    about again, by the next run and by the next wait of the same run.
    """

    async def first() -> None:
        source = ScriptedSource({"a": [step] * 30})
        with suppress(LookupError):
            async with Tracker(source, journal=inline(path)) as tracker:
                handle = tracker.track("a")
                assert (await handle).outcome is outcome
                polls = len(source.calls)
                assert (await tracker.wait_all(["a"]))["a"].outcome is outcome
                assert len(source.calls) > polls
                raise LookupError  # so that nothing is acknowledged

    async def second() -> None:
        source = ScriptedSource({"a": [SUCCESS]})
        async with Tracker(source, journal=inline(path)) as tracker:
            if way == "resume":
                results = [result async for result in tracker.resume()]
            elif way == "track":
                results = [await tracker.track("a")]
            else:
                results = list((await tracker.wait_all(["a"])).values())
            assert [result.outcome for result in results] == [Outcome.SUCCEEDED]

    run(first())
    assert state(path) == {"a": "recorded"}
    run(second())
    assert state(path) == {"a": "acknowledged"}


def test_what_was_told_before_is_not_the_answer_that_came_since(path: Path) -> None:
    """
    The end of the block acknowledges what was handed out, not what came of asking anew.
    """
    source = ScriptedSource({"a": [RejectedError("no", http_status=400), SUCCESS]})

    async def scenario() -> None:
        async with Tracker(source, journal=inline(path)) as tracker:
            await tracker.wait_all(["a"])
            unread = tracker.track("a")
            await asyncio.sleep(5)
            assert unread.done()

    run(scenario())
    assert state(path) == {"a": "recorded"}


def test_waiter_that_joins_while_the_result_is_written_gets_it(path: Path) -> None:
    """
    Between the reply and the disk a request is still followed, and asked about no more.
    """
    source = ScriptedSource({"a": [SUCCESS]})
    late: list[asyncio.Task[Result]] = []

    async def scenario() -> None:
        def join(entries: Sequence[Entry]) -> None:
            if any(isinstance(entry, ResultEntry) for entry in entries):
                late.append(asyncio.ensure_future(wait()))

        async def wait() -> Result:
            return await tracker.track("a")

        async with Tracker(source, journal=Spied(path, join)) as tracker:
            assert (await tracker.wait_all(["a"])).ok
            assert (await late[0]).ok

    run(scenario())
    assert len(source.calls) == 1


def test_waiter_that_leaves_while_the_result_is_written_loses_nothing(path: Path) -> None:
    """
    It is recorded all the same; whoever asks next is answered from the file.
    """
    source = ScriptedSource({"a": [SUCCESS]})

    async def scenario() -> None:
        def leave(entries: Sequence[Entry]) -> None:
            if any(isinstance(entry, ResultEntry) for entry in entries):
                asyncio.get_running_loop().call_soon(handle.cancel)

        async with Tracker(source, journal=Spied(path, leave)) as tracker:
            handle = tracker.track("a")
            with pytest.raises(asyncio.CancelledError):
                await handle
            assert (await tracker.wait_all(["a"])).ok

    run(scenario())
    assert len(source.calls) == 1


def test_cost_of_the_disk_is_shared(path: Path) -> None:
    """
    A thousand requests that are added in one turn of the loop wait for the disk once.
    """
    journal = Spied(path)
    ids = [f"id-{number}" for number in range(1000)]

    async def scenario() -> None:
        source = ScriptedSource({request_id: [PENDING] for request_id in ids})
        async with Tracker(source, journal=journal) as tracker:
            await tracker.wait_all(ids, timeout=0.5)

    run(scenario())
    assert len(journal.batches) == 1
    assert len(journal.batches[0]) == 1000
    assert len(state(path)) == 1000


def test_writer_thread_does_the_work_and_ends(path: Path) -> None:
    """
    On a real loop a thread of our own writes, and none is left.
    """

    async def scenario() -> None:
        source = Witness(path, {"a": [SUCCESS]})
        async with Tracker(source, journal=SqliteJournal(path)) as tracker:
            assert [t for t in threading.enumerate() if "onehouse-tracker journal" in t.name]
            assert (await tracker.wait_all(["a"])).ok
        assert source.states == ["pending"]

    asyncio.run(scenario())
    assert not [t for t in threading.enumerate() if "onehouse-tracker journal" in t.name]
    assert state(path) == {"a": "acknowledged"}


def test_writer_in_a_thread_on_the_virtual_clock_takes_no_time(path: Path) -> None:
    """
    Any executor will do: the clock stands still while it works.
    """

    async def scenario() -> None:
        with ThreadPoolExecutor(max_workers=1) as executor:
            journal = SqliteJournal(path, executor=executor)
            source = ScriptedSource({"a": [SUCCESS]})
            async with Tracker(source, journal=journal) as tracker:
                await tracker.wait_all(["a"])
                assert now() == 0

    run(scenario())


def test_requests_that_nobody_waits_for_any_more_stay_in_the_journal(path: Path) -> None:
    """
    Leaving is no answer: what was followed once is gone on with, or known, later.
    """

    async def scenario() -> None:
        source = ScriptedSource({"a": [PENDING], "b": [PENDING]})
        async with Tracker(source, journal=inline(path)) as tracker:
            handle = tracker.track(Request("a", label="RUN JOB", submitted_at=NOON))
            handle.cancel()
            async with tracker.as_completed(["b"]):
                pass
            await asyncio.sleep(5)

    run(scenario())
    assert state(path) == {"a": "pending", "b": "pending"}
    first = next(JournalReader(path).requests())
    assert first.request == Request("a", label="RUN JOB", submitted_at=NOON)


def test_project_that_fails_leaves_its_requests_pending(path: Path) -> None:
    """
    What an outage interrupted is gone on with when it is over.
    """

    async def scenario() -> None:
        source = ScriptedSource({"a": [SUCCESS], "b": [hang]})
        policy = PollPolicy(patience=3, poll_timeout=1)
        async with Tracker(source, policy=policy, journal=inline(path)) as tracker:
            with pytest.raises(OutageError) as caught:
                await tracker.wait_all(["a", "b"])
            assert caught.value.pending == ("b",)
            assert caught.value.results is not None
            await caught.value.results.ack_and_wait()

    run(scenario())
    assert state(path) == {"a": "acknowledged", "b": "pending"}


@pytest.mark.parametrize("seed", range(10))
def test_closing_writes_what_is_known(path: Path, seed: int) -> None:
    """
    A result that arrives in the last moment is on disk even if nobody could be told.
    """

    async def scenario() -> None:
        def close(entries: Sequence[Entry]) -> None:
            if any(isinstance(entry, ResultEntry) for entry in entries):
                asyncio.get_running_loop().call_soon(leaving.set)

        leaving = asyncio.Event()
        source = ScriptedSource({"a": [SUCCESS]})
        async with Tracker(source, journal=Spied(path, close)) as tracker:
            handle = tracker.track("a")
            await leaving.wait()
        with pytest.raises(TrackerClosedError):
            await handle

    run(scenario(), seed=seed)
    assert state(path) == {"a": "recorded"}
