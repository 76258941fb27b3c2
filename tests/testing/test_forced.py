"""Outcomes that are forced by a pattern, as the tracker sees them."""

from __future__ import annotations

import pytest

from onehouse_tracker import PollPolicy, Tracker
from onehouse_tracker.errors import (
    SubmissionRejectedError,
    SubmissionUnknownError,
    SubmissionUnsentError,
)
from onehouse_tracker.models import Outcome
from onehouse_tracker.testing import (
    FORCED,
    Kind,
    RunKind,
    SimulatedJobs,
    SimulatedProject,
    SimulatedRun,
    SimulatedSource,
)
from onehouse_tracker.testing.plugin import VirtualTime

PREFIX = "SPARK_JOB_RUN_STATUS_"
REQUESTS = {
    "succeeded": Outcome.SUCCEEDED,
    "partially-succeeded": Outcome.PARTIALLY_SUCCEEDED,
    "failed": Outcome.FAILED,
    "invalid": Outcome.INVALID,
    "unrecognized": Outcome.UNRECOGNIZED,
    "no-status": Outcome.UNRECOGNIZED,
    "not-found": Outcome.NOT_FOUND,
    "rejected": Outcome.REJECTED,
    "unreachable": Outcome.UNREACHABLE,
    "timed-out": Outcome.TIMED_OUT,
    "submission-rejected": SubmissionRejectedError,
    "submission-unsent": SubmissionUnsentError,
    "submission-unknown": SubmissionUnknownError,
}
RUNS = {
    "run-succeeded": "COMPLETED",
    "run-failed": "FAILED",
    "run-canceled": "CANCELED",
    "run-invalid": "INVALID",
    "run-unrecognized": "UNHEARD_OF",
    "run-no-status": None,
    "run-not-run": "NOT_RUN",
    "run-timed-out": "RUNNING",
    "run-unlisted": "COMPLETED",
    "run-lost": "COMPLETED",
    "run-unreachable": "COMPLETED",
    "run-started": "COMPLETED",
}


def project_of(*, fails: float = 0.0) -> SimulatedProject:
    """A project with a clock, of which each chance is *fails*."""
    jobs = SimulatedJobs(kinds=[RunKind(failed=fails, queued=1, duration=10)])
    project = SimulatedProject(kinds=[Kind(label="", duration=2, failed=fails)], jobs=jobs)
    project.begin(lambda: 0.0)
    return project


def test_the_tables_of_these_tests_are_complete() -> None:
    """
    An outcome that no test forces is a promise only.
    """
    assert [*REQUESTS, *RUNS] == list(FORCED)


@pytest.mark.parametrize(("outcome", "seen"), REQUESTS.items())
def test_every_outcome_of_a_request_can_be_forced(
    virtual_time: VirtualTime, outcome: str, seen: Outcome | type[Exception]
) -> None:
    """
    A pipeline has to cope with each of them; beside it, all others succeed.
    """
    project = SimulatedProject(kinds=[Kind(label="", duration=2)])
    project.force("* bad*", outcome)

    async def scenario() -> None:
        policy = PollPolicy(not_found_grace=5)
        timeout = 60 if seen is Outcome.TIMED_OUT else 3600
        async with Tracker(SimulatedSource(project), policy=policy) as tracker:
            good = [await tracker.submit(f"RUN JOB good_{n}") for n in range(5)]
            if isinstance(seen, Outcome):
                handle = await tracker.submit("RUN  job bad_1")
                results = await tracker.wait_all([handle.request_id], timeout=timeout)
                assert results[handle.request_id].outcome is seen
            else:
                with pytest.raises(seen):
                    await tracker.submit("RUN JOB bad_1")
            assert (await tracker.wait_all([one.request_id for one in good])).ok

    virtual_time(scenario())
    executed = [one.statement for one in project.requests.values()]
    refused = outcome in {"submission-rejected", "submission-unsent"}
    assert executed.count("RUN JOB bad_1") + executed.count("RUN  job bad_1") == (not refused)


def forced_run(outcome: str) -> tuple[SimulatedProject, SimulatedRun, str]:
    """A run with *outcome* forced, where chance would have the opposite."""
    project = project_of(fails=0.0 if outcome == "run-failed" else 1.0)
    project.force("RUN JOB*", outcome)
    request_id = project.submit("RUN JOB nightly", 0).request_id
    (run,) = project.runs.values()
    return project, run, request_id


@pytest.mark.parametrize(("outcome", "word"), RUNS.items())
def test_every_outcome_of_a_run_can_be_forced(outcome: str, word: str | None) -> None:
    """
    The request succeeds, and the run does what was asked for.
    """
    project, run, request_id = forced_run(outcome)

    reply = project.poll(request_id, 2).reply
    assert reply is not None
    assert reply.status == "API_OPERATION_STATUS_SUCCESS"
    named = {} if outcome == "run-started" else {"jobRunId": run.run_id}
    assert reply.response == {"runJobApiResponse": named}
    assert run.word_at(1e6) == (word and f"{PREFIX}{word}")
    assert run.listed_at(1e6) is (outcome not in {"run-unlisted", "run-lost", "run-unreachable"})
    assert run.known_at(1e6) is (outcome != "run-lost")
    assert (run.unreachable_at < 1e6) is (outcome == "run-unreachable")


@pytest.mark.parametrize("outcome", ["run-lost", "run-unlisted", "run-unreachable"])
def test_a_run_that_disappears_does_so_before_its_end_is_seen(outcome: str) -> None:
    """
    Otherwise chance would decide whether the test tests anything.
    """
    _, run, _ = forced_run(outcome)

    gone_at = min(run.vanished_at, run.unlisted_at, run.unreachable_at)
    assert run.created_at < gone_at < run.ended_at


def test_an_outcome_of_runs_leaves_other_statements_alone() -> None:
    """
    The statements by which a run is followed name its job, too.
    """
    project = project_of()
    project.force("*bad*", "run-failed")
    project.force("*", "invalid")

    statuses = [
        project.requests[project.submit(text, 0).request_id].status
        for text in ("RUN JOB bad", "CREATE AND RUN JOB bad", "SHOW RUNS IN JOB bad", "RUN JOB a")
    ]

    assert [status and status.rpartition("STATUS_")[2] for status in statuses] == [
        "SUCCESS",
        "SUCCESS",
        "INVALID",
        "INVALID",
    ]
    assert {run.status for run in project.runs.values()} == {f"{PREFIX}FAILED"}


def test_a_misspelt_outcome_is_refused_with_those_that_there_are() -> None:
    """
    It would silently force nothing.
    """
    with pytest.raises(ValueError, match=r"no such outcome: 'run-fail'; there are .*run-failed"):
        SimulatedProject().force("*", "run-fail")
