"""
Runs for code that blocks: the same ends, the same errors, and nothing left behind.
"""

from __future__ import annotations

import gc
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from onehouse_tracker import JobRun, SqliteJournal, TrackerPool, sync
from onehouse_tracker.errors import InvalidRequestError, RunFailedError, TrackerClosedError
from onehouse_tracker.history import History
from onehouse_tracker.history._records import Lesson
from onehouse_tracker.onehouse.credentials import Credentials
from onehouse_tracker.run_results import RunOutcome, RunResult
from onehouse_tracker.sync import _shared_tracker
from onehouse_tracker.testing import (
    Kind,
    RunKind,
    RunningSimulator,
    SimulatedJobs,
    SimulatedProject,
    SimulatorServer,
)


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    """Requests take no time, runs half a second; those of a job called long never end."""
    project = SimulatedProject(
        kinds=[Kind(label="", duration=0)],
        jobs=SimulatedJobs(
            kinds=[RunKind(job="long", queued=0, duration=1e6), RunKind(queued=0, duration=0.5)],
            cancel_takes=0.1,
        ),
    )
    project.force("RUN JOB bad", "run-failed")
    project.add_run("old", "r1", 0)
    project.add_run("old", "r2", 0, "FAILED")
    with RunningSimulator(SimulatorServer(project)) as running:
        yield running


@pytest.fixture
def settings(simulator: RunningSimulator) -> Iterator[dict[str, Any]]:
    """What leads to the simulator; afterwards no shared tracker is left."""
    yield {"environ": simulator.environ, "limit": 30.0}
    for shared in tuple(_shared_tracker._trackers.values()):
        shared.tracker.close()
    _shared_tracker._trackers.clear()


def test_a_script_learns_how_runs_ended(settings: dict[str, Any], tmp_path: Path) -> None:
    """
    Handles, iterators, callbacks and cancellations, all from plain code.
    """
    seen: list[tuple[str | None, bool]] = []

    def save(result: RunResult) -> None:
        seen.append((result.job, threading.current_thread() is threading.main_thread()))

    journal = SqliteJournal(tmp_path / "runs.db")
    with sync.Tracker.from_env(**settings, journal=journal) as tracker:
        long = tracker.runs.submit("RUN JOB long", label="endless")
        old = tracker.runs.track(JobRun("old", "r1"))
        assert repr(long).startswith("<sync RunHandle ")
        assert repr(tracker.runs).startswith("<sync Runs: ")
        with pytest.raises(InvalidRequestError, match=r"would be followed: .*give runs\.values"):
            tracker.runs.wait_all({JobRun("old", "r1"): "nightly"})
        results = tracker.runs.execute_all(["RUN JOB good", "RUN JOB bad"], on_result=save)
        with pytest.raises(TimeoutError):
            long.result(timeout=0)
        with tracker.runs.as_completed([old, JobRun("old", "r2"), long]) as completed:
            assert repr(completed).startswith("<sync RunCompletions: ")
            first = {next(completed).run_id, next(completed).run_id}
            assert (long.job, long.label, long.done()) == ("long", "endless", False)
            stopped = long.cancel_run()
            rest = [result.run_id for result in completed]

    assert [result.outcome for result in results] == [RunOutcome.SUCCEEDED, RunOutcome.FAILED]
    assert sorted(seen) == [("bad", False), ("good", False)]
    with pytest.raises(ExceptionGroup) as raised:
        results.raise_for_failures()
    assert [type(error) for error in raised.value.exceptions] == [RunFailedError]
    assert first == {"r1", "r2"}
    assert old.done()
    assert stopped.outcome is RunOutcome.CANCELED
    assert rest == [long.run_id]


def test_how_long_a_run_will_still_take(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Of a handle, and of a run by its ID; of a job that was never seen nothing is known.
    """
    monkeypatch.setattr(Credentials, "is_on_loopback", False)
    project = Credentials.from_env(environ=settings["environ"]).project_key
    history = History(tmp_path / "history.db")
    for _ in range(5):
        history.add(project, [Lesson(("j:long",), 600.0, 600.0)], 0.01)
    with sync.Tracker.from_env(**settings, history=history) as tracker:
        handle = tracker.runs.submit("RUN JOB long")
        left = tracker.runs.time_left(handle)
        assert left is not None
        assert left.median == pytest.approx(600, abs=30)
        assert tracker.stats().left is not None
        assert tracker.runs.time_left(JobRun("old", "r1")) is None
        with pytest.raises(InvalidRequestError, match="not str"):
            tracker.runs.time_left("r1")  # type: ignore[arg-type]


def test_a_handle_is_used_like_a_future_of_threads(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    """
    As the handle of a request is: errors, callbacks, cancellation, and what is known at the end.
    """
    called: queue.SimpleQueue[sync.runs.RunHandle] = queue.SimpleQueue()
    journal = SqliteJournal(tmp_path / "runs.db")
    with sync.Tracker.from_env(**settings, journal=journal) as tracker:
        failed = tracker.runs.track(JobRun("old", "r2"))
        failed.add_done_callback(called.put)
        assert failed.exception(timeout=10) is None
        assert called.get(timeout=1) is failed
        failed.ack()
        tracker.runs.wait_all([failed]).ack()
        left = tracker.runs.track(JobRun("long", "r3"))
        with pytest.raises(TimeoutError):
            left.exception(timeout=0)
        assert left.cancel()
        assert left.cancelled()
        with pytest.raises(CancelledError, match="run r3"):
            left.result()
        open_still = tracker.runs.track(JobRun("long", "r4"))

    assert failed.result().outcome is RunOutcome.FAILED
    assert isinstance(open_still.exception(), TrackerClosedError)


def test_threads_share_an_iterator_and_dropping_it_ends_the_checks(
    settings: dict[str, Any],
) -> None:
    """
    Each result goes to one thread; what nobody waits for costs no requests.
    """
    with sync.Tracker.from_env(**settings) as tracker:
        runs = [JobRun("old", "r1"), JobRun("old", "r2"), JobRun("long", "r5")]
        completed = tracker.runs.as_completed(runs)
        with ThreadPoolExecutor() as threads:
            ended = {threads.submit(next, completed).result(10).run_id for _ in range(2)}
        assert ended == {"r1", "r2"}
        assert tracker.runs.followed == 1
        del completed
        gc.collect()
        deadline = time.monotonic() + 1
        while tracker.runs.followed and time.monotonic() < deadline:
            time.sleep(0.01)
        assert tracker.runs.followed == 0


def test_the_functions_share_the_tracker_of_requests(settings: dict[str, Any]) -> None:
    """
    Two trackers of one project would spend its rate limit twice.
    """
    sync.wait_all([], **settings)
    handle = sync.runs.submit("RUN JOB long", **settings)
    results = sync.runs.wait_all([JobRun("old", "r1"), JobRun("old", "r2")], **settings)

    assert handle.request_id is not None
    assert [result.outcome for result in results] == [RunOutcome.SUCCEEDED, RunOutcome.FAILED]
    assert len(_shared_tracker._trackers) == 1
    with pytest.raises(InvalidRequestError):
        sync.runs.execute_all(["RUN JOB ''"], **settings)


def test_other_settings_close_no_tracker_that_still_follows_a_run(
    settings: dict[str, Any],
) -> None:
    """
    The request of the run has long ended; only its handle is left.
    """
    handle = sync.runs.submit("RUN JOB long", **settings)
    while handle.run_id is None:
        time.sleep(0.01)
    (first,) = _shared_tracker._trackers.values()
    with pytest.warns(UserWarning, match="two local limiters"):
        sync.wait_all([], **(settings | {"limit": 3.0}))

    assert not first.tracker.closed
    assert not handle.done()
    handle.cancel()
    sync.wait_all([], **(settings | {"limit": 4.0}))
    assert first.tracker.closed


async def test_each_tracker_of_a_pool_follows_runs(simulator: RunningSimulator) -> None:
    """
    A project of a pool has what a tracker alone has.
    """
    async with TrackerPool() as pool:
        pool.add("p", Credentials.from_env(environ=simulator.environ))
        tracker = await pool.tracker("p")
        results = await tracker.runs.wait_all([JobRun("old", "r1")])

    assert results.ok
