"""
Runs of jobs: operators that start and cancel them, a sensor, and the trigger that waits for them.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.exceptions import TaskDeferred

from onehouse_tracker.errors import ConfigError
from onehouse_tracker.history import History
from onehouse_tracker.integrations.airflow import _project_trigger, _record_store, _run_tracking
from onehouse_tracker.integrations.airflow._airflow import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
)
from onehouse_tracker.integrations.airflow.jobs import (
    OnehouseCancelJobRunOperator,
    OnehouseJobRunSensor,
    OnehouseRunJobOperator,
)
from onehouse_tracker.integrations.airflow.operators import OnehouseSqlOperator
from onehouse_tracker.integrations.airflow.run_trigger import OnehouseRunsTrigger
from onehouse_tracker.onehouse.credentials import Credentials
from onehouse_tracker.testing import Kind, RunKind, SimulatedJobs
from onehouse_tracker.testing.threaded import RunningSimulator
from tests.airflow.simulation import Simulate, connection
from tests.airflow.triggerer import run_triggers

RUNS = (
    RunKind(job="bad*", queued=0.1, duration=0.3, failed=1.0),
    RunKind(job="slow*", queued=0.1, duration=3600.0),
    RunKind(job="*", queued=0.1, duration=0.3),
)

QUICK = [Kind(label=label, duration=0.05) for label in ("RUN JOB", "SHOW", "DESCRIBE", "CANCEL")]


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Airflow's Variables, which outlive every try."""
    kept: dict[str, str] = {}
    monkeypatch.setattr(_record_store, "read_variable", kept.get)
    monkeypatch.setattr(
        _record_store, "write_variable", lambda key, text, _: kept.update({key: text})
    )
    monkeypatch.setattr(_record_store, "delete_variable", lambda key: kept.pop(key, None))
    return kept


@pytest.fixture(autouse=True)
def last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline that has passed leaves time for one check, and not for ten seconds of them."""
    monkeypatch.setattr(_project_trigger, "_LAST_LOOK", 1.0)


@pytest.fixture
def simulator(
    simulate: Simulate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningSimulator]:
    """A project that the connection leads to, whose runs end soon."""
    with simulate(jobs=SimulatedJobs(kinds=RUNS), kinds=QUICK) as simulator:
        described = connection(simulator.url, tmp_path=tmp_path)
        monkeypatch.setenv("AIRFLOW_CONN_ONEHOUSE_DEFAULT", json.dumps(described))
        yield simulator


class Task:
    """One task instance: what it pushes, and what its tries see."""

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}
        self.ti = SimpleNamespace(
            dag_id="d", task_id="t", run_id="r", map_index=-1, max_tries=0, try_number=1,
            start_date=datetime.now(UTC),
            xcom_push=lambda key, value: self.pushed.update({key: value}),
        )  # fmt: skip

    def run(self, operator: Any) -> Any:
        """One try, with its deferrals, from the beginning to the end."""
        context = {"ti": self.ti}
        step = partial(operator.execute, context)
        while True:
            try:
                return step()
            except TaskDeferred as deferred:
                event = _fire(deferred.trigger)
                # What Airflow's database makes of it.
                kwargs = json.loads(json.dumps({**(deferred.kwargs or {}), "event": event}))
                step = partial(operator.resume_execution, deferred.method_name, kwargs, context)


def _fire(trigger: Any) -> Any:
    async def run() -> Any:
        return [event async for event in trigger.run()]

    [event] = asyncio.run(run())
    return event.payload


def _started(simulator: RunningSimulator) -> Counter[str]:
    return Counter(run.job for run in simulator.project.runs.values())


@pytest.mark.parametrize("deferrable", [True, False])
def test_jobs_are_run_to_their_end(
    variables: dict[str, str], simulator: RunningSimulator, *, deferrable: bool
) -> None:
    """
    SUCCESS of the statement is not the end of the job; the IDs are known before that.
    """
    task = Task()
    operator = OnehouseRunJobOperator(task_id="t", jobs=["a", "b c"], deferrable=deferrable)

    results = task.run(operator)

    assert [(one["job"], one["outcome"]) for one in results] == [
        ("a", "SUCCEEDED"),
        ("b c", "SUCCEEDED"),
    ]
    assert all(one["status"] == "SPARK_JOB_RUN_STATUS_COMPLETED" for one in results)
    assert task.pushed["runs"] == [
        {name: one[name] for name in ("job", "run_id", "request_id")} for one in results
    ]
    assert _started(simulator) == {"a": 1, "b c": 1}


def test_a_run_that_fails_fails_the_task_and_only_it_is_started_again(
    variables: dict[str, str], simulator: RunningSimulator
) -> None:
    """
    With the job, the ID of the run and the server's word; what succeeded is not run twice.
    """
    task = Task()
    operator = OnehouseSqlOperator(
        task_id="t",
        statements=["RUN JOB a", "SHOW JOBS", "RUN JOB bad"],
        until="end",
        deferrable=True,
    )

    with pytest.raises(
        AirflowException,
        match=r"run \S+ of job bad \(statement 3 of 3, RUN JOB\) ended FAILED: SPARK_JOB_RUN_ST",
    ):
        task.run(operator)
    task.ti.try_number = 2
    with pytest.raises(AirflowException, match="ended FAILED"):
        task.run(operator)

    assert _started(simulator) == {"a": 1, "bad": 2}
    statements = Counter(request.statement for request in simulator.project.requests.values())
    assert statements["SHOW JOBS"] == 1


def test_a_retry_tracks_the_same_runs(
    variables: dict[str, str], simulator: RunningSimulator
) -> None:
    """
    Its worker was lost while it waited, and the request may be forgotten by then.
    """
    task = Task()
    operator = OnehouseRunJobOperator(task_id="t", jobs=["slow"], follow_timeout=3.0)
    with pytest.raises(
        AirflowException, match=r"of job slow \(RUN JOB\) was still pending"
    ) as caught:
        task.run(operator)
    assert "follow_timeout of 3 s; it continues on the server" in str(caught.value)
    [run] = simulator.project.runs.values()
    simulator.project.requests.clear()

    with pytest.raises(AirflowException, match=f"run {run.run_id} of job slow"):
        task.run(operator)

    assert _started(simulator) == {"slow": 1}


def test_requests_that_take_long_defer_twice(
    variables: dict[str, str],
    simulate: Simulate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A worker is not held by a statement that is slow; the runs are pushed in between.
    """
    monkeypatch.setattr(_run_tracking, "_START", 0.1)
    with simulate(jobs=SimulatedJobs(kinds=RUNS)) as simulator:
        described = connection(simulator.url, tmp_path=tmp_path)
        monkeypatch.setenv("AIRFLOW_CONN_ONEHOUSE_DEFAULT", json.dumps(described))
        task = Task()
        operator = OnehouseRunJobOperator(task_id="t", job_name="a", deferrable=True)
        with pytest.raises(TaskDeferred) as first:
            operator.execute({"ti": task.ti})
        assert first.value.method_name == "execute_started"
        assert "runs" not in task.pushed
        result = task.run(operator)

    assert result["outcome"] == "SUCCEEDED"
    assert result["run_id"] == task.pushed["runs"][0]["run_id"]
    assert _started(simulator) == {"a": 1}


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_run_teaches_how_long_it_took(
    variables: dict[str, str],
    simulator: RunningSimulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    deferrable: bool,
) -> None:
    """
    Its start is that of its statement, which the trigger carries; what a sensor watches began
    nobody knows when.
    """
    monkeypatch.setattr(Credentials, "is_on_loopback", False)
    path = tmp_path / "history.db"
    described = connection(simulator.url, tmp_path=tmp_path, history=str(path))
    monkeypatch.setenv("AIRFLOW_CONN_ONEHOUSE_DEFAULT", json.dumps(described))
    # Longer than a trigger takes to begin: what its first check finds ended teaches nothing.
    simulator.project.jobs.kinds = [RunKind(queued=0.1, duration=5.0)]
    task = Task()
    operator = OnehouseRunJobOperator(task_id="t", job_name="a", deferrable=deferrable)
    assert task.run(operator)["outcome"] == "SUCCEEDED"

    watched = simulator.project.add_run("b", "r", duration=5.0)
    sensor = OnehouseJobRunSensor(task_id="s", job="b", run_id="r", deferrable=deferrable)
    [found] = task.run(sensor)
    assert (found["run_id"], found["outcome"]) == (watched.run_id, "SUCCEEDED")

    known = {each.name: each for each in History(path).remembered() if each.kind == "job"}
    assert [(name, each.runs) for name, each in known.items()] == [("a", 1)]
    assert 3 < known["a"].median < 30


def test_a_task_that_an_earlier_version_deferred_goes_its_way(
    variables: dict[str, str],
    simulate: Simulate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Nobody knows when its run began, so that teaches nothing.
    """
    monkeypatch.setattr(_run_tracking, "_START", 0.1)
    context = {"ti": Task().ti}
    with simulate(jobs=SimulatedJobs(kinds=RUNS)) as simulator:
        described = connection(simulator.url, tmp_path=tmp_path)
        monkeypatch.setenv("AIRFLOW_CONN_ONEHOUSE_DEFAULT", json.dumps(described))
        operator = OnehouseRunJobOperator(task_id="t", jobs=["slow", "a"], deferrable=True)
        with pytest.raises(TaskDeferred) as first:
            operator.execute(context)
        event = _fire(first.value.trigger)
    kwargs = json.loads(json.dumps(first.value.kwargs))

    def starts() -> list[datetime | None]:
        with pytest.raises(TaskDeferred) as second:
            operator.resume_execution("execute_started", {**kwargs, "event": event}, context)
        trigger = OnehouseRunsTrigger(
            **json.loads(json.dumps(second.value.trigger.serialize()[1]))
        )
        trigger._prepare()
        return [one.started_at for one in trigger._runs]

    known = [start for start in starts() if start is not None]
    assert len(known) == 2
    assert all(abs((datetime.now(UTC) - start).total_seconds()) < 60 for start in known)
    del kwargs["starts"]
    assert starts() == [None, None]
    old = OnehouseRunsTrigger({"a": ["r"]}, conn_id="c", deadline=None, limit=None)
    old._prepare()
    assert [one.started_at for one in old._runs] == [None]


def test_the_vendors_arguments_work_for_operator_and_sensor(
    variables: dict[str, str], simulator: RunningSimulator
) -> None:
    """
    ``job_name`` and ``job_run_id``; the sensor also takes the output of the operator as it is.
    """
    task = Task()
    started = task.run(OnehouseRunJobOperator(task_id="t", job_name="a", wait=False))
    assert started["outcome"] == "SUCCEEDED"

    by_names = OnehouseJobRunSensor(
        task_id="s", job_name="a", job_run_id=started["run_id"], deferrable=True
    )
    by_output = OnehouseJobRunSensor(task_id="o", run_id=json.dumps([started]), poke_interval=0.5)

    for sensor in (by_names, by_output):
        [found] = task.run(sensor)
        assert (found["job"], found["run_id"]) == ("a", started["run_id"])
        assert found["outcome"] == "SUCCEEDED"


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_sensor_of_a_run_that_failed(
    variables: dict[str, str], simulator: RunningSimulator, *, deferrable: bool
) -> None:
    """
    It fails, or is skipped with soft_fail, as the sensor for requests.
    """
    task = Task()
    started = task.run(OnehouseRunJobOperator(task_id="t", job_name="bad", wait=False))
    arguments = {"run_id": started, "deferrable": deferrable, "poke_interval": 0.5}

    with pytest.raises(AirflowException, match="of job bad ended FAILED"):
        task.run(OnehouseJobRunSensor(task_id="s", **arguments))
    with pytest.raises(AirflowSkipException):
        task.run(OnehouseJobRunSensor(task_id="u", soft_fail=True, **arguments))


def test_a_run_is_canceled(variables: dict[str, str], simulator: RunningSimulator) -> None:
    """
    The task succeeds when it has stopped.
    """
    task = Task()
    started = task.run(OnehouseRunJobOperator(task_id="t", job_name="slow", wait=False))

    [found] = task.run(OnehouseCancelJobRunOperator(task_id="c", run_id=started))

    assert (found["outcome"], found["run_id"]) == ("CANCELED", started["run_id"])


def test_one_tracker_lists_the_runs_of_all_triggers(
    variables: dict[str, str], simulator: RunningSimulator, tmp_path: Path
) -> None:
    """
    Twenty tasks with one run each are one user to the server: their job is listed for all.
    """
    task = Task()
    starter = OnehouseRunJobOperator(task_id="t", jobs=["a"] * 20, wait=False)
    runs = [one["run_id"] for one in task.run(starter)]
    before = simulator.project.arrived

    triggerer = run_triggers(
        [OnehouseRunsTrigger({"a": [run]}) for run in runs],
        lambda: connection(simulator.url, tmp_path=tmp_path),
    )

    ends = [triggerer.fired[number].payload["runs"] for number in range(20)]
    assert [[(one["run_id"], one["outcome"]) for one in end] for end in ends] == [
        [(run, "SUCCEEDED")] for run in runs
    ]
    # One check is a statement and its polls; each run alone would need twenty of them.
    statements = [one for one in simulator.project.arrivals[before:] if one.kind == "submit"]
    assert len(statements) < 20


@pytest.mark.parametrize("cancel", [True, False])
def test_a_user_who_ends_a_deferred_task(
    variables: dict[str, str],
    simulator: RunningSimulator,
    capfd: pytest.CaptureFixture[str],
    *,
    cancel: bool,
) -> None:
    """
    The run is canceled only if that was asked for, and the log says what became of it.
    """
    task = Task()
    starter = OnehouseRunJobOperator(task_id="t", job_name="slow", wait=False)
    run = task.run(starter)["run_id"]
    trigger = OnehouseRunsTrigger({"slow": [run]}, cancel_on_kill=cancel)

    async def kill() -> None:
        waiting = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(0.5)
        # A triggerer that ends cancels the trigger, and calls nothing.
        waiting.cancel()
        await asyncio.wait([waiting])
        assert not _canceling(simulator)
        await trigger.on_kill()

    asyncio.run(kill())

    out, err = capfd.readouterr()
    said = out + err
    assert len(_canceling(simulator)) == (1 if cancel else 0)
    assert f"{run} of job slow" in said
    assert ("cancel_on_kill is set; canceling" in said) is cancel
    assert ("these runs continue, since cancel_on_kill is not set" in said) is not cancel


@pytest.mark.parametrize("cancel", [True, False])
def test_a_task_that_is_killed_on_its_worker(
    variables: dict[str, str],
    simulator: RunningSimulator,
    monkeypatch: pytest.MonkeyPatch,
    *,
    cancel: bool,
) -> None:
    """
    Airflow calls `on_kill` while the task waits; a time limit that has passed is no kill.
    """
    operator = OnehouseRunJobOperator(
        task_id="t", job_name="slow", deferrable=False, cancel_on_kill=cancel, follow_timeout=2.0
    )
    waited = _run_tracking.wait_for_runs

    def wait_for_runs(*args: Any, **kwargs: Any) -> Any:
        payload = waited(*args, **kwargs)
        if cancel:
            operator.on_kill()
        return payload

    monkeypatch.setattr(_run_tracking, "wait_for_runs", wait_for_runs)
    with pytest.raises(AirflowException, match="follow_timeout of 2 s"):
        Task().run(operator)
    count = len(_canceling(simulator))
    operator.on_kill()

    assert count == (1 if cancel else 0)
    assert len(_canceling(simulator)) == count


def _canceling(simulator: RunningSimulator) -> list[str]:
    statements = [request.statement or "" for request in simulator.project.requests.values()]
    return [one for one in statements if one.startswith("CANCEL JOB_RUN")]


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (OnehouseRunJobOperator, {}),
        (OnehouseRunJobOperator, {"jobs": ["a"], "job_name": "a"}),
        (OnehouseSqlOperator, {"statement": "RUN JOB a", "until": "start"}),
        (OnehouseSqlOperator, {"statement": "RUN JOB a", "until": "end", "wait": False}),
        (OnehouseSqlOperator, {"statement": "RUN JOB a", "cancel_on_kill": True}),
        (OnehouseJobRunSensor, {"job": "a"}),
        (OnehouseJobRunSensor, {"run_id": "r", "job_run_id": "r"}),
        (OnehouseCancelJobRunOperator, {"run_id": "r", "job": "a", "job_name": "a"}),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_dag(make: Any, arguments: dict[str, Any]) -> None:
    """
    When the DAG is read, and not when it runs.
    """
    with pytest.raises(ConfigError):
        make(task_id="t", **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"jobs": ["a`b"]}, "nothing was submitted"),
        ({"jobs": "orders"}, "use the argument job_name"),
        ({"statements": ["RUN JOB ;"]}, "nothing was submitted"),
        ({"jobs": [f"job {n} {'x' * 40}" for n in range(900)], "deferrable": True}, "too many"),
    ],
)
def test_what_could_not_be_tracked_is_not_started(
    variables: dict[str, str],
    simulator: RunningSimulator,
    arguments: dict[str, Any],
    message: str,
) -> None:
    """
    The task fails before anything runs, and without a retry.
    """
    with pytest.raises(AirflowFailException, match=message):
        Task().run(OnehouseRunJobOperator(task_id="t", **arguments))

    assert simulator.project.arrived == 0


def test_a_run_keeps_the_execution_timeout_of_its_task(
    variables: dict[str, str], simulator: RunningSimulator
) -> None:
    """
    It counts from the start of the try, over both deferrals.
    """
    task = Task()
    task.ti.start_date = datetime.now(UTC) - timedelta(seconds=99)
    operator = OnehouseRunJobOperator(
        task_id="t",
        job_name="slow",
        deferrable=True,
        execution_timeout=timedelta(seconds=100),
    )

    with pytest.raises(AirflowException, match="execution_timeout of 100 s"):
        task.run(operator)
