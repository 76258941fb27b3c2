"""
The blocking façade: one background thread, any number of callers, and nothing left behind.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import gc
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, closing, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pytest

from onehouse_tracker import sync
from onehouse_tracker.errors import (
    AuthenticationError,
    ConfigError,
    InvalidRequestError,
    JournalError,
    RequestFailedError,
    TrackerClosedError,
)
from onehouse_tracker.journal import JournalReader, SqliteJournal
from onehouse_tracker.models import ApiStatus, Outcome, Result, StatusReply
from onehouse_tracker.policy import PollPolicy
from onehouse_tracker.sync import _shared_tracker
from onehouse_tracker.sync._loop_thread import LoopThread
from onehouse_tracker.sync._one_call import Call
from onehouse_tracker.testing import RunningSimulator, SimulatorServer

LOOP_THREAD = "onehouse-tracker loop"
FOREVER = 3600.0


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    """
    A service with twenty requests that end soon, and one that does not end.
    """
    server = SimulatorServer(expected_headers={"x-onehouse-api-secret": "the-right-one"})
    with RunningSimulator(server) as running:
        for number in range(20):
            running.project.add(f"r-{number}", number * 0.02)
        running.project.add("bad", 0.02, status=ApiStatus.FAILED)
        running.project.add("endless", FOREVER)
        yield running


@pytest.fixture
def settings(simulator: RunningSimulator) -> Iterator[dict[str, Any]]:
    """
    What leads to the simulator, without the limit; afterwards no thread of ours is left.
    """
    policy = PollPolicy(gap_min=0.02)
    yield {"environ": simulator.environ, "limit": 500.0, "policy": policy}
    for shared in tuple(_shared_tracker._trackers.values()):
        shared.tracker.close()
    _shared_tracker._trackers.clear()
    assert not _loop_threads()


@pytest.fixture
def tracker(settings: dict[str, Any]) -> Iterator[sync.Tracker]:
    """
    A tracker in its block.
    """
    with sync.Tracker.from_env(**settings) as opened:
        yield opened


def _loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == LOOP_THREAD]


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 2
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.002)


# --- What callers get -------------------------------------------------------------------


def test_the_functions_share_one_tracker(settings: dict[str, Any]) -> None:
    """
    Calls in a row must not open a client, a limiter and a thread each.
    """
    first = sync.wait_all(["r-1", "bad"], **settings)
    second = sync.wait_all(["r-2"], default_label="SHOW", **settings)
    handle = sync.submit("SHOW CLUSTERS", label="SHOW", **settings)

    assert [result.outcome for result in first.values()] == [Outcome.SUCCEEDED, Outcome.FAILED]
    assert second["r-2"].label == "SHOW"
    assert handle.label == "SHOW"
    assert len(_loop_threads()) == 1
    with pytest.raises(ExceptionGroup) as raised:
        first.raise_for_failures()
    assert [type(error) for error in raised.value.exceptions] == [RequestFailedError]


def test_results_come_as_they_are_known(tracker: sync.Tracker) -> None:
    """
    A plain loop over results is what scripts are made of; leaving it stops the polling.
    """
    with tracker.as_completed(["endless", "r-9", "r-1"]) as results:
        order = [next(results).request_id, next(results).request_id]

        assert tracker.stats().pending == 1
    assert order == ["r-1", "r-9"]
    assert tracker.stats().pending == 0
    with pytest.raises(StopIteration):
        next(results)


def test_an_interruption_loses_no_result(
    tracker: sync.Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Ctrl-C may come when a result has been taken and not yet handed out: a loop that goes on
    gets it then.
    """
    results = tracker.as_completed(["r-1", "r-2", "r-3"])
    seen = [next(results).request_id]
    wait = Call.wait

    def interrupted(call: Call[Any]) -> None:
        wait(call)
        monkeypatch.setattr(Call, "wait", wait)
        raise KeyboardInterrupt

    monkeypatch.setattr(Call, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(results)

    seen += [result.request_id for result in results]

    assert sorted(seen) == ["r-1", "r-2", "r-3"]


@pytest.mark.parametrize("line", range(14))
def test_an_interruption_acknowledges_only_what_was_handed_out(
    settings: dict[str, Any], tmp_path: Path, line: int
) -> None:
    """
    Ctrl-C may come before any line of the step; what was not handed out comes again.
    """
    path = tmp_path / "journal.db"
    code = sync.Completions.__next__.__code__
    seen: list[str] = []
    lines = itertools.count()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code is not code:
            return None
        if event == "line" and next(lines) == line:
            raise KeyboardInterrupt
        return trace

    with (
        suppress(LookupError),
        sync.Tracker.from_env(journal=SqliteJournal(path), **settings) as tracker,
    ):
        results = tracker.as_completed(["r-1", "r-2", "r-3"])
        seen.append(next(results).request_id)
        before = sys.gettrace()  # that of a debugger, or of a measurement of coverage
        sys.settrace(trace)
        try:
            seen.append(next(results).request_id)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        handed_out = list(seen)
        seen += [result.request_id for result in results]
        raise LookupError  # so that only what was asked beyond is acknowledged
    assert sorted(seen) == ["r-1", "r-2", "r-3"]

    states = {item.request.request_id: item.state for item in JournalReader(path).requests()}
    assert {states[request_id] for request_id in handed_out} == {"acknowledged"}


def test_what_was_not_handed_out_is_not_acknowledged(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Interrupted for good, between taking and handing out: the next run gets it.
    """
    path = tmp_path / "journal.db"
    wait = Call.wait

    def interrupted(call: Call[Any]) -> None:
        wait(call)
        raise KeyboardInterrupt

    with (
        suppress(KeyboardInterrupt),
        sync.Tracker.from_env(journal=SqliteJournal(path), **settings) as tracker,
    ):
        results = tracker.as_completed(["r-1", "r-2"])
        first = next(results).request_id
        _until(lambda: tracker.stats().pending == 0)
        monkeypatch.setattr(Call, "wait", interrupted)
        next(results)
    monkeypatch.undo()

    with sync.Tracker.from_env(journal=SqliteJournal(path), **settings) as tracker:
        assert [result.request_id for result in tracker.resume()] == ["r-2"]
    assert first == "r-1"


def test_a_bare_break_stops_the_polling(tracker: sync.Tracker) -> None:
    """
    Few people write the `with`, and their requests must not be polled for ever.
    """
    for result in (completed := tracker.as_completed(["endless", "r-1"])):
        assert repr(completed).startswith("<sync Completions: ")
        assert result.request_id == "r-1"
        break
    del completed
    gc.collect()

    _until(lambda: tracker.stats().pending == 0)


def test_a_handle_is_waited_for_with_a_limit(tracker: sync.Tracker) -> None:
    """
    Each look may be bounded; the handle goes on all the same.
    """
    handle = tracker.track("endless", label="RUN JOB")

    with pytest.raises(TimeoutError):
        handle.result(timeout=0.01)
    assert not handle.done()
    assert "endless: pending" in repr(handle)
    assert handle.cancel()
    assert handle.cancelled()
    with pytest.raises(concurrent.futures.CancelledError, match="endless"):
        handle.result()
    with pytest.raises(concurrent.futures.CancelledError):
        handle.exception()

    other = tracker.track("r-3")
    assert other.result(timeout=2).ok
    assert other.done()
    assert not other.cancel()
    tracker.close()
    assert other.result().ok  # what was known stays known


def test_bad_input_is_refused_before_anything_starts(settings: dict[str, Any]) -> None:
    """
    A string is an iterable of letters, and a session belongs to another loop.
    """
    tracker = sync.Tracker.from_env(**settings)

    with pytest.raises(InvalidRequestError):
        tracker.wait_all("r-1")
    with pytest.raises(InvalidRequestError):
        tracker.as_completed(["ok", ""])
    with pytest.raises(ConfigError, match="session"):
        sync.wait_all(["r-1"], http_session=object(), **settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="missing"):
        sync.wait_all(["r-1"], environ={})

    assert not _loop_threads()


def test_a_mended_credential_is_used_at_once(settings: dict[str, Any]) -> None:
    """
    In a notebook the next cell must not get the tracker that was refused, nor a warning.
    """
    broken = {**settings["environ"], "ONEHOUSE_API_SECRET": "wrong"}
    asked = settings | {"environ": broken}

    with pytest.raises(AuthenticationError) as raised:
        sync.wait_all(["r-1", "r-2"], **asked)

    assert set(raised.value.pending) == {"r-1", "r-2"}
    assert sync.wait_all(["r-1", "r-2"], **settings).ok
    assert len(_loop_threads()) == 1


def test_a_failed_engine_is_replaced(settings: dict[str, Any]) -> None:
    """
    The shared tracker must not stay broken for the rest of the process.
    """
    sync.wait_all(["r-1"], **settings)
    (shared,) = _shared_tracker._trackers.values()
    shared.tracker.close()

    assert sync.wait_all(["r-1"], **settings).ok


def test_any_source_can_be_asked(settings: dict[str, Any]) -> None:
    """
    A source that must be opened is opened where it is used: on the private loop.
    """
    seen: list[str] = []

    class Source:
        async def __aenter__(self) -> Self:
            seen.append(threading.current_thread().name)
            return self

        async def __aexit__(self, *_: object) -> None:
            seen.append("left")

        async def fetch(self, request_id: str) -> StatusReply:
            return StatusReply(ApiStatus.SUCCESS)

    with sync.Tracker(Source()) as tracker:
        assert tracker.wait_all(["x"]).ok

    assert seen == [LOOP_THREAD, "left"]


# --- Callbacks ----------------------------------------------------------------------------


def test_callbacks_are_plain_and_run_elsewhere(tracker: sync.Tracker) -> None:
    """
    A slow callback must not block the loop, and may use the tracker itself.
    """
    seen: list[tuple[str, bool]] = []

    def save(result: Result) -> None:
        seen.append((result.request_id, threading.current_thread() in _loop_threads()))
        assert tracker.wait_all(["r-5"]).ok
        if result.request_id == "r-2":
            raise ValueError

    results = tracker.wait_all(["r-1", "r-2"], on_result=save)

    assert sorted(seen) == [("r-1", False), ("r-2", False)]
    assert isinstance(results.callback_errors["r-2"], ValueError)


def test_a_callback_cannot_wait_for_itself(tracker: sync.Tracker) -> None:
    """
    What would hang for ever says so instead.
    """

    def close(_: Result) -> None:
        tracker.close()

    async def block(_: Result) -> None:
        tracker.stats()

    for callback in (close, block):
        errors = tracker.wait_all(["r-1"], on_result=callback).callback_errors
        assert isinstance(errors["r-1"], RuntimeError), callback


def test_a_callback_may_wait_with_a_callback(tracker: sync.Tracker) -> None:
    """
    The inner one is called in a thread of its own, or the outer one would wait for ever.
    """
    seen: list[str] = []

    def innermost(result: Result) -> None:
        seen.append(f"innermost {result.request_id}")

    def inner(result: Result) -> None:
        assert tracker.wait_all(["r-3"], on_result=innermost).ok
        seen.append(f"inner {result.request_id}")

    def outer(result: Result) -> None:
        assert tracker.wait_all(["r-2"], on_result=inner).ok
        seen.append(f"outer {result.request_id}")

    results = tracker.wait_all(["r-1"], on_result=outer)

    assert results.callback_errors == {}
    assert seen == ["innermost r-3", "inner r-2", "outer r-1"]


@pytest.mark.parametrize("ending", [SystemExit(3), KeyboardInterrupt()])
def test_a_callback_may_end_the_program(tracker: sync.Tracker, ending: BaseException) -> None:
    """
    It ends the call that it belongs to, where the program can end; no other thread notices.
    """

    def leave(_: Result) -> None:
        raise ending

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(tracker.wait_all, ["r-15"])
        with pytest.raises(type(ending)) as caught:
            tracker.wait_all(["r-1", "endless"], on_result=leave)
        assert caught.value is ending
        assert other.result(5).ok
    assert tracker.wait_all(["r-2"]).ok
    assert tracker.stats().pending == 0


def test_an_exception_that_breaks_the_loop_is_told_to_all(settings: dict[str, Any]) -> None:
    """
    Some go right through an event loop: nobody may hang because the loop stopped.
    """

    def broken() -> None:
        raise SystemExit(7)

    with ThreadPoolExecutor(2) as pool, sync.Tracker.from_env(**settings) as tracker:
        waiting = [pool.submit(tracker.wait_all, ["endless"]) for _ in range(2)]
        _until(lambda: tracker.stats().pending == 1)
        loop = tracker._calls.thread._loop
        assert loop is not None
        loop.call_soon_threadsafe(broken)
        for one in waiting:
            with pytest.raises(TrackerClosedError, match="SystemExit ended") as caught:
                one.result(5)
            assert isinstance(caught.value.__cause__, SystemExit)
            assert caught.value.pending in {("endless",), ()}
        with pytest.raises(TrackerClosedError, match="SystemExit ended"):
            tracker.stats()
        assert tracker.closed
    assert sync.wait_all(["r-1"], **settings).ok  # the module opens a new one


def test_a_plain_callback_sees_the_context_of_its_caller(tracker: sync.Tracker) -> None:
    """
    The trace that it belongs to, and what is in each line of the log.
    """
    where: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="nowhere")
    seen: list[str] = []
    where.set("here")

    tracker.wait_all(["r-1"], on_result=lambda _: seen.append(where.get()))

    assert seen == ["here"]


def test_context_variables_of_the_caller_are_seen(settings: dict[str, Any]) -> None:
    """
    The span of the caller becomes the parent of ours.
    """
    where: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="nowhere")
    seen: list[str] = []

    class Source:
        async def fetch(self, request_id: str) -> StatusReply:
            return StatusReply(ApiStatus.SUCCESS)

        async def submit(self, statement: str) -> str:
            seen.append(where.get())
            return "s-1"

    with sync.Tracker(Source()) as tracker:
        where.set("here")
        tracker.submit("SHOW CLUSTERS")

    assert seen == ["here"]


# --- Threads and loops ----------------------------------------------------------------------


def test_many_threads_wait_at_once(settings: dict[str, Any]) -> None:
    """
    The first calls come at the same time, and still there is one tracker.
    """
    threads = 16
    together = threading.Barrier(threads)

    def work(number: int) -> bool:
        together.wait()
        return sync.wait_all([f"r-{number}", f"r-{number + 1}"], **settings).ok

    with ThreadPoolExecutor(threads) as pool:
        assert all(pool.map(work, range(threads)))

    assert len(_loop_threads()) == 1


def test_it_works_inside_a_running_loop(tracker: sync.Tracker) -> None:
    """
    In Jupyter a loop runs already, and ``asyncio.run`` would refuse.
    """

    async def cell() -> bool:
        return tracker.wait_all(["r-1"]).ok

    assert asyncio.run(cell())


def test_closing_releases_those_who_wait(settings: dict[str, Any]) -> None:
    """
    A thread that waits for something endless must learn that nobody polls any more.
    """
    tracker = sync.Tracker.from_env(**settings)
    with ThreadPoolExecutor(3) as pool:
        waiting: list[Future[Any]] = [
            pool.submit(tracker.wait_all, ["endless", "r-1"]),
            pool.submit(next, tracker.as_completed(["endless"])),
            pool.submit(tracker.track("endless").result),
        ]
        _until(lambda: tracker.stats().ended == 1)
        tracker.close()
        errors = [future.exception(timeout=1) for future in waiting]

    assert [type(error) for error in errors] == [TrackerClosedError] * 3
    assert isinstance(errors[0], TrackerClosedError)
    assert errors[0].pending == ("endless",)
    assert errors[0].results is not None
    assert errors[0].results["r-1"].ok
    assert tracker.closed
    tracker.close()
    with pytest.raises(TrackerClosedError):
        tracker.wait_all(["r-1"])
    with pytest.raises(TrackerClosedError), tracker:
        pass


def test_calls_race_with_closing(settings: dict[str, Any]) -> None:
    """
    Whoever calls while another closes gets an answer or an error, and never hangs.
    """
    for _ in range(5):
        tracker = sync.Tracker.from_env(**settings)

        def work(tracker: sync.Tracker = tracker) -> str:
            try:
                while True:
                    tracker.stats()
            except TrackerClosedError:
                return "closed"

        with ThreadPoolExecutor(4) as pool:
            working = [pool.submit(work) for _ in range(4)]
            tracker.stats()
            tracker.close()

            assert [future.result(timeout=1) for future in working] == ["closed"] * 4


def test_a_call_that_comes_while_the_loop_closes_is_answered() -> None:
    """
    The last moment: the call is in the loop's queue, and the loop has nothing left to do.
    """

    class Slow(AbstractAsyncContextManager[None]):
        leaving = threading.Event()

        async def __aexit__(self, *_: object) -> None:
            self.leaving.set()
            time.sleep(0.1)  # noqa: ASYNC251 - the loop is busy, and calls gather

    async def late() -> None:
        await asyncio.sleep(FOREVER)

    slow = Slow()
    thread = LoopThread(slow, name=LOOP_THREAD)
    thread.open()
    with ThreadPoolExecutor(1) as pool:
        thread.close_soon()
        slow.leaving.wait()
        calling = pool.submit(thread.call, late)

        with pytest.raises(TrackerClosedError):
            calling.result(timeout=1)
    thread.close()
    assert not _loop_threads()


def test_a_tracker_that_nobody_holds_closes(settings: dict[str, Any]) -> None:
    """
    A forgotten tracker must not poll for ever; a handle to it keeps it open.
    """
    handle = sync.Tracker.from_env(**settings).track("r-1")
    gc.collect()

    assert handle.result(timeout=1).ok
    del handle
    gc.collect()
    _until(lambda: not _loop_threads())


# --- The journal ------------------------------------------------------------------------------


def test_results_are_acknowledged_from_any_thread(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    """
    The journal lives on the private loop; `ack`, and the next step of a loop, reach it there.
    """
    journal = tmp_path / "journal.db"

    def opened() -> sync.Tracker:
        return sync.Tracker.from_env(journal=SqliteJournal(journal), **settings)

    with suppress(KeyError), opened() as tracker:
        tracker.wait_all(["r-1"]).ack()
        assert _acknowledged(journal) == {"r-1"}  # on disk, when `ack` returns
        tracker.track("r-2").result()
        handle = tracker.track("r-3")
        handle.result()
        handle.ack()
        assert _acknowledged(journal) == {"r-1", "r-3"}
        taken = [result.request_id for result in tracker.as_completed(["r-4", "r-5"])]
        next(tracker.as_completed(["r-6"]))
        raise KeyError
    with opened() as tracker:
        again = {result.request_id for result in tracker.resume()}

    assert taken == ["r-4", "r-5"]
    assert again == {"r-2", "r-6"}
    with opened() as tracker:
        assert list(tracker.resume()) == []


def _acknowledged(journal: Path) -> set[str]:
    """What another process reads in the journal."""
    with closing(sqlite3.connect(journal)) as connection:
        found = connection.execute(
            "SELECT request_id FROM requests WHERE acknowledged_at IS NOT NULL"
        )
        return {row[0] for row in found}


def test_what_cannot_be_opened_leaves_no_thread(settings: dict[str, Any], tmp_path: Path) -> None:
    """
    The error of opening reaches the caller, and the thread is gone.
    """
    tracker = sync.Tracker.from_env(journal=SqliteJournal(tmp_path), **settings)

    with pytest.raises(JournalError), tracker:
        pass

    assert not _loop_threads()
    assert tracker.closed


# --- Ctrl-C, fork, and the end of the interpreter ----------------------------------------------


def _start(program: str, simulator: RunningSimulator) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        env={**os.environ, **simulator.environ, "HOME": "/nonexistent"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out, err


INTERRUPTED = """
    import threading
    from onehouse_tracker import sync
    tracker = sync.Tracker.from_env(limit=500.0)
    tracker.wait_all(["r-1"])
    handle = tracker.track("endless")
    print("ready", flush=True)
    try:
        {wait}
    except KeyboardInterrupt:
        print("interrupted")
    handle.cancel()
    print(tracker.stats().pending, tracker.wait_all(["r-2"]).ok)
    tracker.close()
    print([thread.name for thread in threading.enumerate()])
"""


@pytest.mark.parametrize(
    "wait",
    [
        "tracker.wait_all(['endless', 'endless-too'])",
        "next(tracker.as_completed(['endless']))",
        "handle.result()",
    ],
)
def test_ctrl_c_stops_the_wait_and_nothing_else(wait: str, simulator: RunningSimulator) -> None:
    """
    The wait is cancelled on the private loop before Ctrl-C goes on: the tracker is as good as
    new, and no thread, task or socket is left.
    """
    simulator.project.add("endless-too", FOREVER)
    process = _start(INTERRUPTED.format(wait=wait), simulator)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    _until(lambda: sum(arrival.request_id == "endless" for arrival in _arrivals(simulator)) > 1)
    process.send_signal(signal.SIGINT)

    code, out, err = _finish(process)

    assert (out, err, code) == ("interrupted\n0 True\n['MainThread']\n", "", 0)


def _arrivals(simulator: RunningSimulator) -> list[Any]:
    return list(simulator.project.arrivals)


def test_the_second_ctrl_c_does_not_wait(simulator: RunningSimulator) -> None:
    """
    Something that resists its cancellation must not hold the user.
    """
    program = """
        import asyncio, os, signal, threading
        from onehouse_tracker.sync._loop_thread import LoopThread
        from contextlib import AsyncExitStack
        class Stubborn:
            async def work(self):
                print("ready", flush=True)
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    print("cancelled", flush=True)
                    await asyncio.sleep(60)
        thread = LoopThread(AsyncExitStack(), name="loop")
        try:
            thread.call(Stubborn().work)
        except KeyboardInterrupt:
            print("out", flush=True)
        thread.close()
    """
    process = _start(program, simulator)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "cancelled\n"
    process.send_signal(signal.SIGINT)

    assert _finish(process) == (0, "out\n", "")


FORKED = """
    import os, sys, threading
    from onehouse_tracker import PollPolicy, TrackerClosedError, sync
    quick = {"limit": 500.0, "policy": PollPolicy(gap_min=0.02)}
    shared = sync.submit("SHOW CLUSTERS", **quick)
    unopened = sync.Tracker.from_env(project_uid="unopened", **quick)
    tracker = sync.Tracker.from_env(project_uid="another", **quick)
    handle = tracker.track("endless")
    done = tracker.track("r-1"); done.result()
    results = tracker.as_completed(["endless"])
    waiting = threading.Thread(target=lambda: print("parent", tracker.wait_all(["r-9"]).ok))
    waiting.start()
    child = os.fork()
    if child == 0:
        calls = (handle.result, done.result, handle.cancel, shared.result, tracker.stats,
            tracker.__enter__, results.__next__, lambda: tracker.wait_all(["r-1"]))
        for call in calls:
            try:
                call()
            except TrackerClosedError as error:
                assert "forked" in str(error)
            else:
                print("not refused:", call)
        tracker.close()
        results.close()
        del results
        print("child", sync.wait_all(["r-3"], **quick).ok, flush=True)
        print("unopened", unopened.wait_all(["r-3"]).ok, flush=True)
        sys.exit(7)
    waiting.join()
    print("child's code", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    print("parent", tracker.wait_all(["r-4"]).ok, shared.done())
    tracker.close()
"""


def test_a_forked_child_begins_anew(simulator: RunningSimulator) -> None:
    """
    The child has the objects of its parent but not the thread: it must not hang, must not
    touch the sockets that both share, and must not say a word when it ends.
    """
    code, out, err = _finish(_start(FORKED, simulator))

    assert err == ""
    assert sorted(out.splitlines()) == sorted(
        ["child True", "unopened True", "child's code 7", "parent True", "parent True False"]
    )
    assert code == 0


ENDINGS = {
    "shared": ("print(sync.wait_all(['r-1'], limit=500.0).ok)", "True\n"),
    "not closed": ("t = sync.Tracker.from_env(); t.track('endless')", ""),
    "handle": ("handle = sync.submit('SHOW CLUSTERS'); raise SystemExit(0)", ""),
    "callback": ("sync.wait_all(['r-1'], on_result=lambda r: print(r.request_id))", "r-1\n"),
    "daemon": (
        """
        threading.Thread(target=sync.wait_all, args=[['endless']], daemon=True).start()
        sync.wait_all(['r-1'])
        """,
        "",
    ),
    "thread": (
        """
        def late():
            print(sync.wait_all(['r-1', 'r-9'], limit=20.0).ok)
        threading.Thread(target=late).start()
        sync.wait_all(['r-1'], limit=20.0)
        """,
        "True\n",
    ),
    "orderly": (
        """
        class Source:
            async def __aenter__(self): return self
            async def __aexit__(self, *_): print("left")
            async def fetch(self, request_id): raise NotImplementedError
        tracker = sync.Tracker(Source())
        tracker.stats()
        """,
        "left\n",
    ),
    "exit in block": (
        """
        with sync.Tracker.from_env() as t:
            t.wait_all(['r-1'])
            raise SystemExit(0)
        """,
        "",
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_interpreter_ends_without_a_word(ending: str, simulator: RunningSimulator) -> None:
    """
    Nothing hangs, nothing warns of what was not closed, and threads that are waited for get
    their results first.
    """
    program, expected = ENDINGS[ending]
    imports = "import threading\nfrom onehouse_tracker import sync\n"
    process = _start(imports + textwrap.dedent(program), simulator)

    assert _finish(process) == (0, expected, "")
