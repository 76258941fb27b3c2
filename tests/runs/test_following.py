"""Runs are followed from their statement to their real end, and every end that is told is true."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from onehouse_tracker import (
    InvalidRequestError,
    JobRun,
    JournalReader,
    Outcome,
    PollPolicy,
    RunOutcome,
    SqliteJournal,
    SubmissionRejectedError,
    Tracker,
    TrackerClosedError,
)
from onehouse_tracker.errors import ConfigError
from onehouse_tracker.run_results import RunResult, RunResults
from onehouse_tracker.runs import RunHandle
from onehouse_tracker.testing import InlineExecutor, Kind, Listing, RunKind, SimulatedSource
from onehouse_tracker.testing.listings import SHAPES, ShapeName
from tests.runs.following import STEADY, checks_sent, follow, project_of, statements
from tests.support import now, run

PREFIX = "SPARK_JOB_RUN_STATUS_"


def test_run_is_followed_from_its_statement_to_its_end() -> None:
    """
    SUCCESS of the request says that it was started, 64 seconds before it is over.
    """
    project = project_of()

    async def scenario(tracker: Tracker) -> tuple[RunHandle, RunResult, float]:
        handle = await tracker.runs.submit("RUN JOB `nightly load`", label="nightly")
        assert handle.run_id is None
        assert handle.job == "nightly load"
        return handle, await handle, now()

    handle, result, ended = follow(project, scenario)
    (truth,) = project.runs.values()
    assert result.outcome is RunOutcome.SUCCEEDED
    assert (result.job, result.run_id, result.label) == ("nightly load", truth.run_id, "nightly")
    assert handle.run_id == truth.run_id
    assert result.status == f"{PREFIX}COMPLETED"
    assert result.request is not None
    assert result.request.outcome is Outcome.SUCCEEDED
    assert result.row == {"status": f"{PREFIX}COMPLETED"}
    assert truth.ended_at < ended < truth.ended_at + 4
    assert result.delay_bound is not None
    assert ended - truth.ended_at < result.delay_bound < 6
    assert result.queued_at is not None
    assert result.running_at is not None
    assert result.queued_at < result.running_at
    assert result.waited == pytest.approx(ended, abs=0.2)
    assert result.checks == len(checks_sent(project, "DESCRIBE"))
    assert not checks_sent(project, "SHOW")


@pytest.mark.parametrize("shape", SHAPES)
def test_many_runs_of_a_job_are_listed_together(shape: ShapeName) -> None:
    """
    One answer serves all of them: 30 runs cost about as much as one.
    """
    kinds = (RunKind(job="good", queued=4, duration=60), RunKind(queued=4, duration=60, failed=1))
    project = project_of(kinds=kinds, listing=Listing(shape=shape, history=50))

    async def scenario(tracker: Tracker) -> RunResults:
        return await tracker.runs.execute_all(["RUN JOB good"] * 15 + ["RUN JOB bad"] * 15)

    results = follow(project, scenario)
    assert [result.outcome for result in results] == (
        [RunOutcome.SUCCEEDED] * 15 + [RunOutcome.FAILED] * 15
    )
    assert len({result.run_id for result in results}) == 30
    # One question about a run for each job: is what its listing says true?
    assert len(checks_sent(project, "SHOW RUNS")) < 80
    assert len(checks_sent(project, "DESCRIBE")) < 10
    assert all(result.row is not None for result in results)


def test_runs_that_others_started_are_followed() -> None:
    """
    All it takes is the name of the job and the run ID.
    """
    project = project_of()
    for number in range(5):
        project.add_run("hourly", f"run-{number}", 20.0 + 10 * number)
    project.add_run("daily", "run-d", 30.0, "FAILED")
    runs = [JobRun("hourly", f"run-{number}", label="h") for number in range(5)]

    async def scenario(tracker: Tracker) -> tuple[RunResults, list[str]]:
        results = await tracker.runs.wait_all([*runs, JobRun("daily", "run-d"), runs[0]])
        again = [result.run_id or "" async for result in tracker.runs.as_completed(runs[:2])]
        return results, again

    results, again = follow(project, scenario)
    assert [result.run_id for result in results] == [
        *(f"run-{number}" for number in range(5)),
        "run-d",
        "run-0",
    ]
    assert [result.ok for result in results] == [True] * 5 + [False, True]
    assert results[0].label == "h"
    assert results[5].outcome is RunOutcome.FAILED
    assert results[0].request is None
    assert set(again) == {"run-0", "run-1"}


def test_results_come_in_the_order_in_which_runs_end() -> None:
    """
    Whoever works on what is done does not wait for what is not.
    """
    project = project_of()
    for number, seconds in enumerate((50, 20, 80)):
        project.add_run(f"job-{number}", f"run-{number}", float(seconds))

    async def scenario(tracker: Tracker) -> list[str | None]:
        handle = tracker.runs.track(JobRun("job-2", "run-2"))
        runs: list[JobRun | RunHandle] = [JobRun("job-0", "run-0"), JobRun("job-1", "run-1")]
        runs.append(handle)
        return [result.run_id async for result in tracker.runs.as_completed(runs)]

    assert follow(project, scenario) == ["run-1", "run-0", "run-2"]


@pytest.mark.parametrize(
    ("statement", "outcome", "reason"),
    [
        ("SHOW TABLES", RunOutcome.SUCCEEDED, ""),
        ("CREATE CLUSTER x", RunOutcome.FAILED, "no such size"),
        ("RUN JOB a SYNTAX ERROR", RunOutcome.NOT_STARTED, "syntax error"),
        ("CREATE AND RUN JOB x TYPE='JAR'", RunOutcome.SUCCEEDED, ""),
    ],
)
def test_every_statement_has_an_outcome(statement: str, outcome: RunOutcome, reason: str) -> None:
    """
    One that starts no run has that of its request; one that is refused started nothing.
    """

    async def scenario(tracker: Tracker) -> RunResults:
        return await tracker.runs.execute_all([statement])

    (result,) = follow(project_of(), scenario)
    assert result.outcome is outcome
    assert reason in result.reason
    assert result.statement == statement


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        (Kind(label="RUN JOB", duration=2, failed=1, reason="no cluster"), RunOutcome.NOT_STARTED),
        (Kind(label="RUN JOB", duration=2, invalid=1), RunOutcome.NOT_STARTED),
        (Kind(label="RUN JOB", duration=2, response={"other": {}}), RunOutcome.STARTED),
    ],
)
def test_end_of_the_request_tells_whether_anything_runs(kind: Kind, outcome: RunOutcome) -> None:
    """
    FAILED started nothing, for certain; SUCCESS without a run ID started what nobody can follow.
    """

    async def scenario(tracker: Tracker) -> tuple[RunResults, RunResults]:
        return (
            await tracker.runs.execute_all(["RUN JOB x"]),
            await tracker.runs.execute_all(["RUN JOB x"], allow_unfollowed=True),
        )

    (result,), (allowed,) = follow(project_of(kind), scenario)
    assert result.outcome is allowed.outcome is outcome
    assert not result.ok
    assert allowed.ok is (outcome is RunOutcome.STARTED)
    assert result.request_id is not None


def test_deadline_says_what_is_still_possible() -> None:
    """
    What runs continues, what was sent may run, and what was not sent never will.
    """
    project = project_of(Kind(label="RUN JOB", duration=30))
    project.add_run("old", "r", 1000.0)

    async def scenario(tracker: Tracker) -> tuple[RunResults, RunResults]:
        running = await tracker.runs.wait_all([JobRun("old", "r")], timeout=5)
        begun = await tracker.runs.execute_all(["RUN JOB x"] * 30, timeout=2, max_running=5)
        await asyncio.sleep(100)
        return running, begun

    running, begun = follow(project, scenario)
    assert [result.outcome for result in running] == [RunOutcome.TIMED_OUT]
    assert running[0].status == f"{PREFIX}RUNNING"
    assert [result.outcome for result in begun] == (
        [RunOutcome.START_UNKNOWN] * 5 + [RunOutcome.NOT_STARTED] * 25
    )
    assert len(checks_sent(project, "RUN JOB")) == 5
    assert len(project.runs) == 6
    # Nobody waits any more, so nobody asks.
    assert max(checks_sent(project)) < 10


def test_only_so_many_runs_are_open_at_once() -> None:
    """
    The next one is sent when one ends; all of them are started in the end, in order.
    """
    project = project_of()

    async def scenario(tracker: Tracker) -> RunResults:
        wanted = [f"RUN JOB `job {number}`" for number in range(9)]
        return await tracker.runs.execute_all(wanted, max_running=3)

    results = follow(project, scenario)
    assert results.ok
    runs = sorted(project.runs.values(), key=lambda one: one.created_at)
    assert [one.job for one in runs] == [f"job {number}" for number in range(9)]
    for number, one in enumerate(runs):
        open_then = [other for other in runs[:number] if other.ended_at > one.created_at]
        assert len(open_then) < 3


@pytest.mark.parametrize("cancel_runs", [False, True])
def test_failure_stops_what_was_not_sent(*, cancel_runs: bool) -> None:
    """
    A batch that cannot succeed any more starts nothing further; what runs is followed on.
    """
    kinds = (RunKind(job="bad", queued=0, duration=10, failed=1), *STEADY)
    project = project_of(kinds=kinds, cancel_takes=1)

    async def scenario(tracker: Tracker) -> RunResults:
        wanted = ["RUN JOB good", "RUN JOB bad", *(f"RUN JOB j{n}" for n in range(5))]
        return await tracker.runs.execute_all(
            wanted, max_running=3, stop_on_failure=True, cancel_runs=cancel_runs
        )

    results = follow(project, scenario)
    last = RunOutcome.CANCELED if cancel_runs else RunOutcome.SUCCEEDED
    assert [result.outcome for result in results] == [
        last,
        RunOutcome.FAILED,
        last,
        *[RunOutcome.NOT_STARTED] * 4,
    ]
    assert "another one was FAILED" in results[-1].reason
    assert len(project.runs) == 3
    assert (results[0].cancellation is not None) is cancel_runs


def test_run_is_canceled_and_followed_until_it_has_stopped() -> None:
    """
    The answer to CANCEL does not say that it stopped: a check does.
    """
    project = project_of(cancel_takes=5)

    async def scenario(tracker: Tracker) -> tuple[RunResult, RunResult]:
        handle = await tracker.runs.submit("RUN JOB x")
        await asyncio.sleep(20)
        canceled = await handle.cancel_run()
        return canceled, await tracker.runs.cancel_run(JobRun("x", handle.run_id or ""))

    canceled, again = follow(project, scenario)
    assert canceled.outcome is again.outcome is RunOutcome.CANCELED
    assert canceled.cancellation == "API_OPERATION_STATUS_SUCCESS"
    assert again.cancellation is not None
    assert "has ended" in again.cancellation


def test_handle_can_be_awaited_left_and_looked_at() -> None:
    """
    As the handle of a request.
    """
    project = project_of()
    project.add_run("job", "r", 30.0)

    async def scenario(tracker: Tracker) -> None:
        first, second = (tracker.runs.track(JobRun("job", "r")) for _ in range(2))
        with pytest.raises(asyncio.InvalidStateError):
            first.result()
        assert first.cancel()
        assert not first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert not second.done()
        waiting = asyncio.create_task(_await(second))
        await asyncio.sleep(1)
        waiting.cancel()
        assert (await second).ok
        assert second.done()
        assert second.result().run_id == "r"
        assert second.status == f"{PREFIX}COMPLETED"
        assert "SUCCEEDED" in repr(second)

    follow(project, scenario)


def test_handle_is_used_like_a_future() -> None:
    """
    Callbacks get the handle itself, however it got done; there is no error if there is a result.
    """

    async def scenario(tracker: Tracker) -> list[str]:
        said: list[str] = []
        handle = await tracker.runs.submit("RUN JOB x")
        left = await tracker.runs.submit("RUN JOB x")
        handle.add_done_callback(lambda done: said.append(f"{done is handle} {done.exception()}"))
        left.add_done_callback(lambda done: said.append(f"left {done.cancelled()}"))
        with pytest.raises(asyncio.InvalidStateError):
            handle.exception()
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            left.exception()
        await handle
        handle.add_done_callback(lambda done: said.append(str(done.result().outcome)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return said

    said = follow(project_of(), scenario)
    assert said == ["left True", "True None", "SUCCEEDED"]


def test_handle_has_the_error_of_a_tracker_that_was_closed() -> None:
    """
    As an object of its own, each time.
    """

    async def scenario(tracker: Tracker) -> RunHandle:
        return tracker.runs.track(JobRun("x", "run-1"))

    handle = follow(project_of(), scenario)
    assert isinstance(handle.exception(), TrackerClosedError)
    assert handle.exception() is not handle.exception()


async def _await(handle: RunHandle) -> RunResult:
    return await handle


def test_nothing_is_sent_of_a_call_that_makes_no_sense() -> None:
    """
    The mistake is in the first line of a stack trace, and nothing runs.
    """
    project = project_of()

    async def scenario(tracker: Tracker) -> None:
        runs = tracker.runs
        for wrong in ("RUN JOB", "RUN JOB `a;b`", ""):
            with pytest.raises(InvalidRequestError):
                await runs.execute_all(["RUN JOB good", wrong])
            with pytest.raises(InvalidRequestError):
                await runs.submit(wrong)
        with pytest.raises(InvalidRequestError, match="submit"):
            await runs.execute_all("RUN JOB x")
        with pytest.raises(InvalidRequestError, match="JobRun"):
            await runs.wait_all(["run-id"])  # type: ignore[list-item]
        with pytest.raises(InvalidRequestError, match="list"):
            await runs.wait_all(JobRun("a", "b"))  # type: ignore[arg-type]
        with pytest.raises(InvalidRequestError, match="no kind of work"):
            runs.track(JobRun("a", "b", kind="flight"))
        with pytest.raises(ConfigError):
            await runs.execute_all(["RUN JOB x"], max_running=0)
        with pytest.raises(ConfigError):
            await runs.wait_all([], timeout=-1)
        with pytest.raises(ConfigError):
            runs.not_run_grace = -1
        assert list(await runs.wait_all([])) == []
        assert list(await runs.execute_all([])) == []

    follow(project, scenario)
    assert not project.requests


def test_refused_statement_is_raised_where_it_was_submitted() -> None:
    """
    As by ``tracker.submit``.
    """

    async def scenario(tracker: Tracker) -> None:
        with pytest.raises(SubmissionRejectedError, match="syntax"):
            await tracker.runs.submit("RUN JOB x SYNTAX ERROR")

    follow(project_of(), scenario)


@pytest.mark.parametrize("is_async", [False, True])
def test_each_result_is_called_back_once(*, is_async: bool) -> None:
    """
    What a callback raises disturbs nobody, and is kept.
    """
    project = project_of()
    told: list[str] = []

    def plain(result: RunResult) -> None:
        told.append(result.job or "")
        if result.job == "b":
            raise ValueError("no")

    async def asynchronous(result: RunResult) -> None:
        await asyncio.sleep(0)
        plain(result)

    async def scenario(tracker: Tracker) -> RunResults:
        on_result: Any = asynchronous if is_async else plain
        return await tracker.runs.execute_all(["RUN JOB a", "RUN JOB b"], on_result=on_result)

    results = follow(project, scenario)
    assert sorted(told) == ["a", "b"]
    assert results.ok
    assert {key: str(error) for key, error in results.callback_errors.items()} == {1: "no"}


def test_closing_tells_everyone_who_waits() -> None:
    """
    Nobody hangs, whatever state its run is in.
    """
    project = project_of(Kind(label="RUN JOB", duration=5))

    async def closed() -> None:
        async with Tracker(SimulatedSource(project)) as tracker:
            runs = tracker.runs
            calls = [runs.execute_all([f"RUN JOB {n}"] * 3) for n in range(2)]
            waiting = [asyncio.create_task(call) for call in calls]
            await asyncio.sleep(20)
            waiting.append(asyncio.create_task(runs.execute_all(["RUN JOB x"] * 40)))
            await asyncio.sleep(1)
        for task in waiting:
            with pytest.raises(TrackerClosedError):
                await task

    run(closed())


def test_long_run_costs_no_more_than_its_age_asks_for() -> None:
    """
    The gap grows with the age of the run: half an hour costs some 670 checks.
    """
    project = project_of()
    project.add_run("long", "r", 1_800.0)

    async def scenario(tracker: Tracker) -> int:
        await tracker.runs.wait_all([JobRun("long", "r")])
        stats = tracker.stats()
        assert stats.checks + stats.check_polls <= 3 * stats.checks
        assert (stats.pending, stats.polls) == (0, 0)
        return stats.checks

    assert 550 < follow(project, scenario) <= 670


def test_checks_leave_no_trace_among_requests(tmp_path: Any) -> None:
    """
    No event and no line of the journal names a check.
    """
    project = project_of()
    told: list[Any] = []
    path = tmp_path / "journal.db"

    async def scenario(tracker: Tracker) -> RunResult:
        return await (await tracker.runs.submit("RUN JOB x"))

    result = follow(
        project,
        scenario,
        observers=[told.append],
        journal=SqliteJournal(path, executor=InlineExecutor()),
    )
    named = {event.request_id for event in told if getattr(event, "request_id", "")}
    assert named == {result.request_id}
    assert list(JournalReader(path).results()) == [result.request_id]


def test_policy_of_the_tracker_holds_for_checks_too() -> None:
    """
    Whoever asks less often about requests asks less often about runs.
    """
    project = project_of()
    project.add_run("job", "r", 300.0)

    async def scenario(tracker: Tracker) -> int:
        await tracker.runs.wait_all([JobRun("job", "r")])
        return tracker.stats().checks

    assert follow(project, scenario, policy=PollPolicy(gap_min=30, gap_max=30)) <= 12
    assert len(statements(project)) <= 12


def test_statements_that_wait_are_started_before_runs_are_looked_after() -> None:
    """
    Runs last minutes: what starts the next one is worth more than a look at those that run.
    """
    project = project_of()

    async def scenario(tracker: Tracker) -> RunResults:
        return await tracker.runs.execute_all([f"RUN JOB j{n}" for n in range(100)], timeout=20)

    follow(project, scenario)
    started = checks_sent(project, "RUN JOB")
    assert len(started) == 100
    assert started[-1] < 11.5
