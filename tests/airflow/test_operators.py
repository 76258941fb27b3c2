"""
What an operator does on a worker, and what it leaves behind for the next try.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from onehouse_tracker.integrations.airflow import operators
from onehouse_tracker.integrations.airflow._airflow import AirflowException
from onehouse_tracker.integrations.airflow.operators import OnehouseSqlOperator
from onehouse_tracker.testing.threaded import RunningSimulator
from tests.airflow.simulation import REASON, Reasoning, Simulate, connection


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Airflow's Variables, which outlive every try."""
    kept: dict[str, str] = {}

    def write(key: str, value: str, description: str) -> None:
        assert description.startswith("Onehouse: ")
        kept[key] = value

    monkeypatch.setattr(operators, "read_variable", kept.get)
    monkeypatch.setattr(operators, "write_variable", write)
    return kept


@pytest.fixture
def project(
    simulate: Simulate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Reasoning]:
    """A project that the connection leads to."""
    with simulate() as simulator:
        described = connection(simulator.url, tmp_path=tmp_path)
        monkeypatch.setenv("AIRFLOW_CONN_ONEHOUSE_DEFAULT", json.dumps(described))
        assert isinstance(simulator.project, Reasoning)
        yield simulator.project


def _context(max_tries: int = 0) -> dict[str, Any]:
    ti = SimpleNamespace(
        dag_id="d", task_id="t", run_id="r", map_index=-1, max_tries=max_tries, try_number=1
    )
    return {"ti": ti}


@pytest.mark.parametrize("wait", [True, False])
def test_a_task_that_fails_at_the_very_end_and_is_cleared_submits_nothing(
    variables: dict[str, str], project: Reasoning, *, wait: bool
) -> None:
    """
    Its statements succeeded, and then its XCom was refused, or its worker was lost: a user who
    clears it wants the task to end, not its statements to run twice.
    """
    operator = OnehouseSqlOperator(
        task_id="t", statements=["SHOW JOBS", "RUN JOB a"], wait=wait, deferrable=False
    )

    first = operator.execute(_context(max_tries=0))
    again = operator.execute(_context(max_tries=1))

    assert project.submitted() == 2
    if wait:
        first, again = ([item["request_id"] for item in one] for one in (first, again))
    assert first == again
    assert len(variables) == 1


def test_the_record_goes_after_all_else_has_been_told() -> None:
    """
    On Airflow 2.11 a callback may commit: what comes after ours could lose the state, and the
    record would be gone already.
    """

    def given(context: Any) -> None:
        """A callback of the user's."""

    def callbacks(**arguments: Any) -> Any:
        operator = OnehouseSqlOperator(task_id="t", statement="SHOW JOBS", **arguments)
        return operator.on_success_callback

    [ours] = callbacks()
    assert callbacks(on_success_callback=given) == [given, ours]
    assert callbacks(on_success_callback=[given, given]) == [given, given, ours]


def test_a_statement_that_failed_is_told_though_its_template_renders_another_text(
    variables: dict[str, str], project: Reasoning
) -> None:
    """
    Airflow renders templates again on resumption: with now() in one, another text stands there.
    """
    [request_id] = OnehouseSqlOperator(
        task_id="t", statements=["DELETE TABLE orders -- 10:00"], wait=False
    ).execute(_context())
    resumed = OnehouseSqlOperator(task_id="t", statements=["DELETE TABLE orders -- 10:05"])

    with pytest.raises(AirflowException, match=REASON):
        resumed.execute_complete(
            _context(),
            {"results": [{"request_id": request_id, "outcome": "FAILED", "reason": REASON}]},
        )

    # It does not run any more: the next try submits what stands there then.
    resumed.wait = False
    assert resumed.execute(_context()) != [request_id]
    assert project.submitted() == 2


def test_a_response_that_cannot_be_had_fails_no_task(
    simulator: RunningSimulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    All of its statements succeeded; that a response found no room and is lost now is told.
    """
    described = connection(simulator.url, tmp_path=tmp_path, api_key="wrong")
    monkeypatch.setenv("AIRFLOW_CONN_ONEHOUSE_DEFAULT", json.dumps(described))
    item = {"request_id": "a", "outcome": "SUCCEEDED", "response_left_out": True}
    operator = OnehouseSqlOperator(task_id="t", statement="SHOW JOBS")

    assert operator._with_responses([item]) == [item]
