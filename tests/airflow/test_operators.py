"""
What an operator does on a worker, and what it leaves behind for the next try.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.exceptions import TaskDeferred

from onehouse_tracker.integrations.airflow import _project_trigger, _record_store
from onehouse_tracker.integrations.airflow._airflow import (
    AirflowException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from onehouse_tracker.integrations.airflow._submissions import Submissions, TaskKey
from onehouse_tracker.integrations.airflow.operators import (
    OnehouseSqlOperator,
    OnehouseTrackOperator,
)
from onehouse_tracker.integrations.airflow.sensors import OnehouseRequestSensor
from onehouse_tracker.integrations.airflow.trigger import OnehouseTrackTrigger
from onehouse_tracker.models import ApiStatus
from onehouse_tracker.testing.threaded import RunningSimulator
from tests.airflow.simulation import REASON, Reasoning, Simulate, connection
from tests.docs.pages import ROOT

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Airflow's Variables, which outlive every try."""
    kept: dict[str, str] = {}

    def write(key: str, value: str, description: str) -> None:
        assert description.startswith("Onehouse: ")
        kept[key] = value

    monkeypatch.setattr(_record_store, "read_variable", kept.get)
    monkeypatch.setattr(_record_store, "write_variable", write)
    monkeypatch.setattr(_record_store, "delete_variable", lambda key: kept.pop(key, None))
    return kept


@pytest.fixture(autouse=True)
def last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline that has passed leaves time for one poll, and not for ten seconds of them."""
    monkeypatch.setattr(_project_trigger, "_LAST_LOOK", 0.5)


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
    operator = OnehouseSqlOperator(task_id="t", statements=["SHOW JOBS", "RUN JOB a"], wait=wait)

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


def test_a_partial_success_is_a_warning(
    variables: dict[str, str], project: Reasoning, capfd: pytest.CaptureFixture[str]
) -> None:
    """
    The task succeeds, and the log must not say that everything did.
    """
    OnehouseSqlOperator(task_id="t", statements=["ALTER CLUSTER a", "SHOW JOBS"]).execute(
        _context()
    )

    out, err = capfd.readouterr()
    [line] = [line for line in (out + err).splitlines() if "only partly" in line]
    assert "1 of 2 requests succeeded, and 1 only partly: " in line
    assert "warning" in line.lower()
    assert "requests succeeded" not in (out + err).replace(line, "")


def test_a_failure_names_the_number_of_its_statement(
    variables: dict[str, str], project: Reasoning
) -> None:
    """
    Nobody knows one of 60 statements by its request ID.
    """
    statements = [*(f"SHOW {number}" for number in range(36)), "DELETE TABLE a", "SHOW JOBS"]
    operator = OnehouseSqlOperator(task_id="t", statements=statements)

    with pytest.raises(AirflowException, match=r"\(statement 37 of 38, DELETE( TABLE)?\) ended"):
        operator.execute(_context())


def test_a_record_of_statements_that_all_failed_is_deleted(
    variables: dict[str, str], project: Reasoning
) -> None:
    """
    A task that failed for good would leave an empty one for ever.
    """
    operator = OnehouseSqlOperator(task_id="t", statement="DELETE TABLE orders")

    with pytest.raises(AirflowException, match=REASON):
        operator.execute(_context())

    assert variables == {}


def test_the_limit_on_a_worker_is_named(variables: dict[str, str], project: Reasoning) -> None:
    """
    With the seconds, and with what becomes of the statement.
    """
    operator = OnehouseSqlOperator(task_id="t", statement="RUN JOB a", follow_timeout=0.3)

    with pytest.raises(
        AirflowException,
        match=r"pending at the end of follow_timeout of 0\.3 s; it continues on the server",
    ):
        operator.execute(_context())


@pytest.mark.parametrize("make", [OnehouseSqlOperator, OnehouseRequestSensor])
@pytest.mark.parametrize("configured", ["True", "False", None])
def test_whether_it_defers_is_decided_as_everywhere_else(
    monkeypatch: pytest.MonkeyPatch, make: Any, configured: str | None
) -> None:
    """
    By the argument, and without it by ``[operators] default_deferrable``.
    """
    arguments = {"request_ids": ["a"]} if make is OnehouseRequestSensor else {"statement": "SHOW"}
    if configured is None:
        monkeypatch.delenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", raising=False)
    else:
        monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", configured)

    assert make(task_id="a", **arguments).deferrable is (configured == "True")
    assert make(task_id="b", deferrable=True, **arguments).deferrable
    assert not make(task_id="c", deferrable=False, **arguments).deferrable


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("soft_fail", [True, False])
def test_a_sensor_that_may_fail_softly_skips_whether_it_defers_or_not(
    project: Reasoning, *, deferrable: bool, soft_fail: bool
) -> None:
    """
    Whoever turns `deferrable` off must not change how a DAG ends.
    """
    project.add("bad", 0, ApiStatus.FAILED)
    sensor = OnehouseRequestSensor(
        task_id="s", request_ids=["bad"], deferrable=deferrable, soft_fail=soft_fail
    )

    def execute() -> Any:
        return _end(sensor, _deferred(sensor)) if deferrable else sensor.execute(_context())

    with pytest.raises(AirflowSkipException if soft_fail else AirflowException) as caught:
        execute()

    assert isinstance(caught.value, AirflowSkipException) is soft_fail
    # Where it was deferred, Airflow wraps what we raise once more.
    assert "request bad ended FAILED" in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize("soft_fail", [True, False])
def test_a_sensor_whose_time_is_over_ends_as_airflows_do(
    project: Reasoning, *, soft_fail: bool
) -> None:
    """
    Without a retry: its timeout bounds all tries together.
    """
    project.add("slow", 3600)
    sensor = OnehouseRequestSensor(
        task_id="s", request_ids=["slow"], deferrable=True, timeout=0.2, soft_fail=soft_fail
    )

    expected = AirflowSkipException if soft_fail else AirflowSensorTimeout
    with pytest.raises(expected) as caught:
        _end(sensor, _deferred(sensor))

    told = f"{caught.value} {caught.value.__cause__}"
    assert "slow was still pending at the end of timeout of 0.2 s" in told


def test_a_trigger_knows_when_each_request_was_submitted(
    variables: dict[str, str], project: Reasoning, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    To the second; of what something else submitted it does not know it.
    """
    at = iter(["2031-01-01T00:00:00+00:00", "2031-01-01T00:01:40+00:00"])
    intend = Submissions.intend

    def intend_at(record: Submissions, index: int) -> None:
        intend(record, index)
        record._entries[index]["at"] = next(at)

    monkeypatch.setattr(Submissions, "intend", intend_at)
    statements = ["RUN JOB a", "RUN JOB b"]
    operator = OnehouseSqlOperator(task_id="t", statements=statements, deferrable=True)
    starts = []
    for deferred in (
        _deferred(operator),
        _deferred(OnehouseTrackOperator(task_id="u", request_ids=["a", "b"], deferrable=True)),
    ):
        trigger = OnehouseTrackTrigger(**json.loads(json.dumps(deferred.trigger.serialize()[1])))
        trigger._prepare()
        starts.append([one.submitted_at for one in trigger._requests])
    first = datetime(2031, 1, 1, tzinfo=UTC)
    assert starts == [[first, first + timedelta(seconds=100)], [None, None]]


def test_a_deferred_task_keeps_its_execution_timeout(project: Reasoning) -> None:
    """
    Airflow 3 forgets it while a task is deferred; it counts from the beginning of the try.
    """
    project.add("slow", 3600)
    operator = OnehouseTrackOperator(
        task_id="t",
        request_ids=["slow"],
        deferrable=True,
        follow_timeout=3600,
        execution_timeout=timedelta(seconds=100),
    )
    context = _context()
    context["ti"].start_date = datetime.now(UTC) - timedelta(seconds=99.8)

    deferred = _deferred(operator, context)

    assert timedelta(seconds=59) < deferred.timeout < timedelta(seconds=61)
    with pytest.raises(
        AirflowException, match=r"slow was still pending at the end of execution_timeout of 100 s"
    ):
        _end(operator, deferred)


def test_a_task_without_a_report_has_no_link() -> None:
    """
    Airflow shows a link also where it leads nowhere.
    """
    assert OnehouseSqlOperator(task_id="a", statement="SHOW JOBS").operator_extra_links == ()
    [link] = OnehouseSqlOperator(
        task_id="b", statement="SHOW JOBS", report_url="https://reports.example/b"
    ).operator_extra_links
    assert link.name == "Report"


def _deferred(operator: Any, context: dict[str, Any] | None = None) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(context or _context())
    return caught.value


def _end(operator: Any, deferred: TaskDeferred) -> Any:
    """Run the trigger, and the task with its event."""

    async def run() -> Any:
        return [event async for event in deferred.trigger.run()]

    [event] = asyncio.run(run())
    return operator.resume_execution(
        deferred.method_name, {"event": json.loads(json.dumps(event.payload))}, _context()
    )


def test_the_record_is_kept_where_the_version_has_a_place_for_it(
    variables: dict[str, str], project: Reasoning
) -> None:
    """
    Airflow 3.3 has a store for each task: what is in the list of Variables is the users' own.
    """
    pytest.importorskip("airflow.sdk.bases.resumablejobmixin", reason="3.3 has such a store")
    state = TaskState()
    operator = OnehouseSqlOperator(task_id="t", statements=["SHOW JOBS", "DELETE TABLE a"])

    with pytest.raises(AirflowException, match=REASON):
        operator.execute({**_context(), "task_state_store": state})

    assert variables == {}
    [(name, text)] = state.items()
    assert name == "onehouse_tracker_0"
    assert list(json.loads(text)["statements"]) == ["0"]
    # A retry tracks the one that succeeded, and submits the other one again.
    with pytest.raises(AirflowException, match=REASON):
        operator.execute({**_context(), "task_state_store": state})
    assert project.submitted() == 3


@pytest.mark.parametrize("count", [1, 120])
def test_the_names_of_records_fit(count: int) -> None:
    """
    A Variable's key has 250 characters, and three names of a task may have that many each.
    """
    keys = [TaskKey("d" * 250, "t" * 250, "r" * 250, index) for index in (7, 8)]
    names = {_record_store.store_of({}, key).name(block) for key in keys for block in range(count)}

    assert len(names) == 2 * count
    assert max(map(len, names)) <= 250


class TaskState(dict[str, str]):
    """The store of one task, as the context of Airflow 3.3 holds it."""

    def set(self, key: str, value: str, *, retention: timedelta) -> None:
        """Write one that never expires."""
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        assert retention is NEVER_EXPIRE
        self[key] = value

    def delete(self, key: str) -> None:
        """Delete one."""
        self.pop(key, None)


@pytest.mark.parametrize("logical_date", [None, datetime(2026, 1, 2, tzinfo=UTC)])
def test_the_template_of_the_documentation_needs_no_logical_date(
    logical_date: datetime | None,
) -> None:
    """
    A run that is triggered by hand has none in Airflow 3, and then no ``ds_nodash`` either.
    """
    page = (ROOT / "docs/how-to/airflow.md").read_text(encoding="utf-8")
    template = re.search(r'^DAY = "(.*)"$', page, re.MULTILINE)
    assert template is not None
    dag_run = SimpleNamespace(
        logical_date=logical_date, run_after=datetime(2026, 1, 2, tzinfo=UTC)
    )

    rendered = (
        DAG("d", schedule=None).get_template_env().from_string(template[1]).render(dag_run=dag_run)
    )

    assert rendered == "20260102"
