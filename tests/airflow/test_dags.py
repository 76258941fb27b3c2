"""
Whole DAGs, with Airflow's own ``dags test``: tasks that submit, defer, end and are tried again.
"""

from __future__ import annotations

import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from onehouse_tracker.integrations.airflow._airflow import AIRFLOW_3
from onehouse_tracker.testing import Fault, FaultKind
from onehouse_tracker.testing.threaded import RunningSimulator
from tests.airflow.command import Airflow, kill_tree
from tests.airflow.simulation import REASON, Reasoning

pytestmark = pytest.mark.running

ONE_RUN: tuple[str | Path, ...] = ("dags", "test", "once", "2026-02-03")
"""One run of a DAG, the same one whenever it is started again."""

HAS_TASK_STATE = find_spec("airflow.models.task_state_store") is not None
"""Airflow 3.3 has a store for the state of tasks, and earlier ones Variables alone."""

if AIRFLOW_3:
    ONE_RUN = (Path(__file__).with_name("one_run.py"),)


def _project(simulator: RunningSimulator) -> Reasoning:
    assert isinstance(simulator.project, Reasoning)
    return simulator.project


def test_a_dag_that_succeeds(airflow: Airflow, simulator: RunningSimulator) -> None:
    """
    Every operator and the sensor, deferring and not, one after the other.
    """
    assert airflow.run("dags", "test", "succeeding") == 0, airflow.log

    followed = airflow.results("follow")
    assert [item["request_id"] for item in followed] == airflow.results("submit")
    assert Counter(item["outcome"] for item in followed) == {
        "SUCCEEDED": 2,
        "PARTIALLY_SUCCEEDED": 1,
    }
    assert followed[1]["response"]["runJobApiResponse"]["jobRunId"]
    assert airflow.results("sense") == followed
    assert airflow.results("once_more")["outcome"] == "SUCCEEDED"
    assert airflow.results("on_the_worker")["outcome"] == "SUCCEEDED"
    assert len(airflow.results("poke")) == 3
    assert _project(simulator).submitted() == 5
    assert _project(simulator).refused == 0
    # What is over needs no record any more.
    assert airflow.records() == []


def test_a_dag_that_waits_for_runs(airflow: Airflow, simulator: RunningSimulator) -> None:
    """
    ``dags test`` resumes a task with the event alone: what it deferred with must not be lost.
    """
    assert airflow.run("dags", "test", "running") == 0, airflow.log

    runs = _project(simulator).runs.values()
    assert Counter(run.job for run in runs) == {"a": 2, "b": 2, "c": 1, "d": 1}
    for name in ("here", "deferred"):
        assert [item["outcome"] for item in airflow.results(name)] == ["SUCCEEDED"] * 2
    assert airflow.records() == []


def test_a_statement_that_fails_fails_its_task(airflow: Airflow) -> None:
    """
    With the server's reason, in the log and in the error.
    """
    assert airflow.run("dags", "test", "failing") != 0

    assert f"ended FAILED: {REASON}" in airflow.log
    assert "1 of 2 statements did not succeed" in airflow.log


def test_a_statement_that_is_refused_is_not_tried_again(
    airflow: Airflow, simulator: RunningSimulator
) -> None:
    """
    A syntax error stays one, and the server says where it is.
    """
    assert airflow.run("dags", "test", "refused") != 0

    assert "a statement was not submitted: HTTP 400" in airflow.log
    assert "syntax" in airflow.log
    assert [one.kind for one in simulator.project.arrivals] == ["submit"]


def test_a_partial_success_fails_where_the_user_wants_it(airflow: Airflow) -> None:
    """
    It is one by default; who needs all of it says so.
    """
    assert airflow.run("dags", "test", "partial") != 0

    assert "ended PARTIALLY_SUCCEEDED" in airflow.log


def test_a_retry_submits_only_what_failed(airflow: Airflow, simulator: RunningSimulator) -> None:
    """
    Airflow forgets what a task pushed when a retry begins; the record does not.
    """
    assert airflow.run("dags", "test", "retried") != 0

    assert "an earlier try submitted 2 of 3 statements" in airflow.log
    labels = Counter(request.label for request in simulator.project.requests.values())
    assert labels == {"RUN JOB": 2, "DELETE": 2}


@pytest.mark.parametrize("after", [0, 1], ids=["the first statement", "the second statement"])
def test_a_worker_that_dies_while_it_submits(
    airflow: Airflow, simulator: RunningSimulator, after: int
) -> None:
    """
    Killed with a statement on the wire: nobody knows whether it runs, so nobody sends it again.
    """
    project = _project(simulator)
    project.rules = []
    project.script_next([*[None] * after, Fault(kind=FaultKind.HANG)])
    with airflow.running(*ONE_RUN) as process:
        give_up = time.monotonic() + 120
        while sum(one.kind == "submit" for one in project.arrivals) <= after:
            assert time.monotonic() < give_up
            assert process.poll() is None, "it ended too early"
            time.sleep(0.01)
        kill_tree(process.pid)
    sent = project.submitted()

    assert airflow.run(*ONE_RUN) != 0

    assert f"statement {after + 1} of 3 (RUN JOB) may or may not run" in airflow.log
    assert "Look in the Onehouse console" in airflow.log
    [record] = airflow.records()
    kind = "task state" if HAS_TASK_STATE else "Airflow Variable"
    assert f"edit the {kind} {record}" in airflow.log
    assert project.submitted() == sent


def test_a_worker_that_dies_while_it_waits(airflow: Airflow, simulator: RunningSimulator) -> None:
    """
    The next try finds the IDs, follows them, and submits nothing.
    """
    project = _project(simulator)
    with airflow.running(*ONE_RUN) as process:
        give_up = time.monotonic() + 120
        while not any(one.kind == "status" for one in project.arrivals):
            assert time.monotonic() < give_up
            assert process.poll() is None, "it ended too early"
            time.sleep(0.01)
        kill_tree(process.pid)

    assert airflow.run(*ONE_RUN) == 0, airflow.log

    assert "an earlier try submitted 3 of 3 statements" in airflow.log
    assert project.submitted() == 3
    assert [item["outcome"] for item in airflow.results("run")] == ["SUCCEEDED"] * 3
    assert airflow.records() == []


def test_airflow_knows_the_provider(airflow: Airflow) -> None:
    """
    It is listed, and its connection type is offered.
    """
    assert airflow.run("providers", "get", "onehouse-tracker") == 0
    assert "onehouse-tracker" in airflow.log

    assert airflow.run("providers", "hooks") == 0
    assert "onehouse_tracker.integrations.airflow" in airflow.log.replace("\n", "")
