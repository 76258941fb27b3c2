"""
From requests to runs, and from the ends of runs to results: what is read, stored and said.
"""

import json
from typing import Any

import pytest

from onehouse_tracker.errors import InvalidRequestError
from onehouse_tracker.integrations.airflow._job_runs import (
    RunsPayload,
    by_job,
    jobs_of,
    merged,
    runs_in,
    started,
    too_large,
)
from onehouse_tracker.integrations.airflow._task_result import TaskResult, ended_wrong
from onehouse_tracker.runs import JobRun, RunOutcome, RunResult

ITEMS: list[dict[str, Any]] = [
    {
        "request_id": "q1",
        "outcome": "SUCCEEDED",
        "label": "RUN JOB",
        "response": {"runJobApiResponse": {"jobRunId": "r1"}},
    },
    {"request_id": "q2", "outcome": "SUCCEEDED", "response": {"rows": []}},
    {"request_id": "q3", "outcome": "FAILED", "reason": "no such job"},
    {"request_id": "q4", "outcome": "SUCCEEDED", "response": {}},
]
JOBS = {"q1": "orders", "q3": "missing", "q4": "nameless"}


def test_what_a_request_has_started() -> None:
    """
    A statement that runs no job keeps its own end; one without a run ID cannot be tracked.
    """
    items = started(ITEMS, JOBS)

    assert [item.get("run_id") for item in items] == ["r1", None, None, None]
    assert [item.get("job") for item in items] == ["orders", None, "missing", "nameless"]
    assert [item["outcome"] for item in items] == ["SUCCEEDED", "SUCCEEDED", "FAILED", "STARTED"]
    assert items[1]["response"] == {"rows": []}
    assert by_job(items) == {"orders": ["r1"]}
    # What was given is not changed, and an ID that is known already needs no response.
    assert "job" not in ITEMS[0]
    assert started(items, JOBS) == items


def test_results_have_the_ends_of_runs() -> None:
    """
    In the order of the statements, and with the number of each that did not succeed.
    """
    failed = RunResult(outcome=RunOutcome.FAILED, job="orders", run_id="r1", status="S_FAILED")

    payload = merged(started(ITEMS, JOBS), RunsPayload.of([failed]))

    assert [(one["outcome"], one.get("number")) for one in payload["results"]] == [
        ("FAILED", 1),
        ("SUCCEEDED", None),
        ("FAILED", 3),
        ("STARTED", 4),
    ]
    assert TaskResult.of(payload, on_partial="succeed", noun="statement").message.splitlines() == [
        "3 of 4 statements did not succeed:",
        "  run r1 of job orders (statement 1 of 4, RUN JOB) ended FAILED: S_FAILED",
        "  request q3 (statement 3 of 4) ended FAILED: no such job",
        (
            "  request q4 (statement 4 of 4) ended STARTED: it was started, but no run ID came"
            " back, so it cannot be tracked"
        ),
    ]


def test_runs_that_are_pending_are_named() -> None:
    """
    They continue: their IDs are what people need then.
    """
    items = started(ITEMS[:1], JOBS)
    stopped = RunsPayload.of([], error="nothing answered", pending=["r1"])

    payload = merged(items, stopped)

    assert payload["results"] == []
    assert TaskResult.of(payload, on_partial="succeed").message == (
        "tracking stopped with 1 run pending (r1): nothing answered"
    )


@pytest.mark.parametrize("outcome", list(RunOutcome))
def test_only_a_run_that_is_certainly_over_is_started_again(outcome: RunOutcome) -> None:
    """
    A job that runs twice at the same time may spoil its table.
    """
    again = ended_wrong({"outcome": str(outcome)}, "succeed")

    assert again == (outcome in {RunOutcome.FAILED, RunOutcome.CANCELED, RunOutcome.INVALID})


def test_its_event_stays_small_and_names_the_limit() -> None:
    """
    Airflow stores it with the task instance.
    """
    late = RunResult(
        outcome=RunOutcome.TIMED_OUT, job="j", run_id="r", status="RUNNING", error="x" * 9000
    )

    payload = RunsPayload.of([late] * 1000, limit="follow_timeout of 60 s")

    assert payload["limit"] == "follow_timeout of 60 s"
    assert len(json.dumps(payload)) < 700_000
    fine = RunResult(outcome=RunOutcome.SUCCEEDED, job="j", run_id="r")
    assert RunsPayload.of([fine], limit="follow_timeout of 60 s") == {
        "runs": [{"run_id": "r", "job": "j", "outcome": "SUCCEEDED"}]
    }


@pytest.mark.parametrize(
    ("value", "job", "runs"),
    [
        ("r1", "a", [JobRun("a", "r1")]),
        (["r1", "r2", "r1"], "a", [JobRun("a", "r1"), JobRun("a", "r2")]),
        ({"job": "b", "run_id": "r1"}, None, [JobRun("b", "r1")]),
        ({"job": "b", "run_id": "r1"}, "a", [JobRun("b", "r1")]),
        (
            [{"job": "b", "run_id": "r1"}, {"run_id": "r2"}],
            "a",
            [JobRun("b", "r1"), JobRun("a", "r2")],
        ),
        ([], None, []),
    ],
)
def test_runs_are_found_in_what_a_task_pushed(
    value: Any, job: str | None, runs: list[JobRun]
) -> None:
    """
    A sensor takes the output of an operator as it is.
    """
    assert runs_in(value, job) == runs


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("r1", "name of its job"),
        ("None", "name of its job"),
        ([{"job": "a", "run_id": None}], "no run was started"),
        (7, "a run ID is a string"),
    ],
)
def test_what_holds_no_run_is_refused(value: Any, message: str) -> None:
    """
    With what is missing.
    """
    with pytest.raises(InvalidRequestError, match=message):
        runs_in(value)
    with pytest.raises(InvalidRequestError, match="pushed nothing"):
        runs_in("None", "a")


def test_jobs_are_read_from_statements() -> None:
    """
    Before anything is submitted: a run whose job has no name could not be tracked.
    """
    assert jobs_of(["RUN JOB a", "SHOW JOBS", "run job `b c`"]) == ["a", None, "b c"]
    with pytest.raises(InvalidRequestError, match="statement 2: the job's name cannot be read"):
        jobs_of(["RUN JOB a", "RUN JOB ;"])


def test_what_a_trigger_can_store() -> None:
    """
    A thousand runs of some jobs fit into a row of MySQL, those of a thousand jobs do not.
    """
    assert not too_large(["orders"] * 900)
    assert too_large([f"a rather long name of a job {number}" for number in range(1000)])
