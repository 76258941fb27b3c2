"""
Triggers in Airflow's own TriggerRunner: one tracker, one budget, every event.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
from airflow.exceptions import TaskDeferred

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG

from onehouse_tracker.errors import ConfigError
from onehouse_tracker.integrations.airflow import _project_trigger
from onehouse_tracker.integrations.airflow._airflow import (
    AIRFLOW_3,
    RENDERS_IN_TRIGGERER,
    RETRIES_FROM_TRIGGERER,
    AirflowFailException,
)
from onehouse_tracker.integrations.airflow._event_payload import EventPayload
from onehouse_tracker.integrations.airflow._starts import packed_starts
from onehouse_tracker.integrations.airflow.operators import (
    OnehouseSqlOperator,
    OnehouseTrackOperator,
)
from onehouse_tracker.integrations.airflow.trigger import OnehouseTrackTrigger
from onehouse_tracker.models import ApiStatus, Outcome, Request, Result
from onehouse_tracker.testing.threaded import RunningSimulator
from tests.airflow.simulation import EXTRA, LIMIT, Simulate, WatchedServer, connection
from tests.airflow.triggerer import Triggerer, run_triggers

MODULE = _project_trigger.__name__


def _results(triggerer: Triggerer, trigger_id: int) -> dict[str, str]:
    payload = triggerer.fired[trigger_id].payload
    return {item["request_id"]: item["outcome"] for item in payload["results"]}


def _assert_within_budget(simulator: RunningSimulator) -> None:
    assert simulator.project.refused == 0
    assert simulator.project.peak_in_any_second() <= LIMIT


def test_300_triggers_share_one_tracker(simulate: Simulate, tmp_path: Path) -> None:
    """
    A mapped task makes a trigger of each of its instances: they are one user to the server.
    """
    ids = [f"request-{i}" for i in range(300)]
    with simulate() as simulator:
        for i, request_id in enumerate(ids):
            status = ApiStatus.FAILED if i % 10 == 0 else ApiStatus.SUCCESS
            simulator.project.add(request_id, i % 5, status)
        triggerer = run_triggers(
            [OnehouseTrackTrigger([request_id]) for request_id in ids],
            lambda: connection(simulator.url, tmp_path=tmp_path),
        )

    assert triggerer.failed == {}
    assert {i: _results(triggerer, i) for i in range(300)} == {
        i: {request_id: "FAILED" if i % 10 == 0 else "SUCCEEDED"}
        for i, request_id in enumerate(ids)
    }
    _assert_within_budget(simulator)
    assert triggerer.connections_read == 1


def test_two_connections_are_enough(simulate: Simulate, tmp_path: Path) -> None:
    """
    At the pace of a real project; a machine that is busy may need a third when it hurries.
    """
    with simulate(limit=10) as simulator:
        for i in range(20):
            simulator.project.add(f"request-{i}", i % 2)
        run_triggers(
            [OnehouseTrackTrigger([f"request-{i}"]) for i in range(20)],
            lambda: connection(simulator.url, tmp_path=tmp_path, limit=10),
        )

    assert isinstance(simulator.server, WatchedServer)
    assert simulator.project.arrived >= 20
    assert len(simulator.server.peers) <= 2


def test_one_trigger_follows_1000_requests(simulate: Simulate, tmp_path: Path) -> None:
    """
    One task with a thousand statements is one trigger, and one event that can be stored.
    """
    ids = [f"00000000-0000-4000-8000-{i:012}" for i in range(1000)]
    with simulate(limit=300) as simulator:
        for i, request_id in enumerate(ids):
            simulator.project.add(
                request_id, i % 3, response={"runJobApiResponse": {"jobRunId": i}}
            )
        trigger = OnehouseTrackTrigger(ids, labels=["RUN JOB"] * 1000)
        triggerer = run_triggers(
            [trigger],
            lambda: connection(simulator.url, tmp_path=tmp_path, limit=200),
            seconds=90,
        )

    payload = triggerer.fired[0].payload
    assert [item["request_id"] for item in payload["results"]] == ids
    assert Counter(item["outcome"] for item in payload["results"]) == {"SUCCEEDED": 1000}
    assert payload["results"][7]["response"] == {"runJobApiResponse": {"jobRunId": 7}}
    assert len(json.dumps(payload)) < 400_000
    assert simulator.project.refused == 0
    assert triggerer.connections_read == 1


@pytest.mark.parametrize(
    "labels",
    [
        None,
        ["RUN JOB"] * 1000,
        ["DESCRIBE JOB_RUN", "RUN JOB"] * 500,
        [f"SELECT COLUMN_{number % 100}" for number in range(1000)],
        [f"SELECT COLUMN_{number}" for number in range(1000)],
    ],
    ids=["none", "one kind", "two kinds", "100 kinds", "1,000 kinds"],
)
@pytest.mark.parametrize("rate", [10.0, 7.4, 0.5])
def test_its_arguments_fit_into_a_row(labels: list[str] | None, rate: float) -> None:
    """
    On MySQL a trigger's arguments, encrypted, must fit into 64 KB.
    """
    from airflow.models.trigger import Trigger

    ids = [f"00000000-0000-4000-8000-{i:012}" for i in range(1000)]
    moment = "2031-01-01T00:00:00.123456+00:00"
    first = datetime.fromisoformat(moment)
    starts = [first + timedelta(seconds=number / rate) for number in range(1000)]
    trigger = OnehouseTrackTrigger(
        ids,
        conn_id="c" * 250,
        labels=labels,
        submitted_at=packed_starts(starts),
        deadline=moment,
    )
    classpath, kwargs = trigger.serialize()
    stored = Trigger(classpath=classpath, kwargs=kwargs).encrypted_kwargs

    assert stored.startswith("gAAAA"), "it is encrypted"
    assert len(stored) < 2**16


def test_more_statements_than_fit_are_not_submitted() -> None:
    """
    The deferral would fail when all of them run.
    """
    operator = OnehouseSqlOperator(task_id="t", statements=["RUN JOB a"] * 1001, deferrable=True)

    with pytest.raises(AirflowFailException, match="nothing was submitted"):
        operator.execute({})


def test_a_trigger_that_is_cancelled_disturbs_no_other(simulate: Simulate, tmp_path: Path) -> None:
    """
    A user who clears one task of a hundred must not lose the others; and what nobody waits for
    any more costs no budget.
    """
    with simulate() as simulator:
        for name in ("first", "second", "third"):
            simulator.project.add(name, 3600 if name == "first" else 4)
        triggerer = run_triggers(
            [OnehouseTrackTrigger([name]) for name in ("first", "second", "third")],
            lambda: connection(simulator.url, tmp_path=tmp_path),
            cancel={0: 1.5},
        )
        last_poll = simulator.project.times("first")[-1]
        end = max(simulator.project.finished_at(name) for name in ("second", "third"))

    assert {i: _results(triggerer, i) for i in triggerer.fired} == {
        1: {"second": "SUCCEEDED"},
        2: {"third": "SUCCEEDED"},
    }
    assert last_poll < end - 1
    assert triggerer.connections_read == 1


def test_wrong_credentials_cost_few_requests_and_end_all(
    simulate: Simulate, tmp_path: Path
) -> None:
    """
    The connection is read once more, since somebody may have changed it; then everybody knows.
    """
    with simulate() as simulator:
        triggerer = run_triggers(
            [OnehouseTrackTrigger([f"request-{i}"]) for i in range(20)],
            lambda: connection(simulator.url, tmp_path=tmp_path, api_key="wrong"),
        )

    payloads = [event.payload for event in triggerer.fired.values()]
    assert len(payloads) == 20
    assert all("credentials" in payload["error"] for payload in payloads)
    assert triggerer.fired[0].payload["pending"] == ["request-0"]
    assert len(simulator.server.seen) <= 6
    assert triggerer.connections_read <= 6


def test_credentials_that_are_changed_meanwhile_are_found(
    simulate: Simulate, tmp_path: Path
) -> None:
    """
    Keys are rotated, and a task that defers may wait for hours.
    """
    with simulate() as simulator:
        ids = [f"request-{i}" for i in range(20)]
        for request_id in ids:
            simulator.project.add(request_id, 2)
        keys = iter(["old", EXTRA["api_key"]])
        triggerer = run_triggers(
            [OnehouseTrackTrigger([request_id]) for request_id in ids],
            lambda: connection(simulator.url, tmp_path=tmp_path, api_key=next(keys)),
        )

    assert [_results(triggerer, i) for i in range(20)] == [{key: "SUCCEEDED"} for key in ids]
    assert triggerer.connections_read == 2


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"request_ids": ["a"], "conn_id": "onehouse_default"}, "lacks project_uid"),
        ({"request_ids": [""]}, "cannot be empty"),
        ({"request_ids": "None"}, "pushed nothing"),
        ({"request_ids": "[1, 2]"}, "a request ID is a str"),
        ({"request_ids": [{"outcome": "SUCCEEDED"}]}, "pushed nothing"),
        ({"request_ids": ["a"], "labels": ["x", "y"]}, "as many labels"),
        ({"request_ids": ["a"], "deadline": "tomorrow"}, "ISO 8601"),
        ({"request_ids": ["a"], "submitted_at": "2031-01-01T00:00:00"}, "time zone"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_tracked_is_an_event_that_says_so(
    arguments: dict[str, Any], error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A trigger that raises fails its task with "Trigger failure", which tells a user nothing.
    """
    monkeypatch.setattr(f"{MODULE}._MIN_DEFERRAL", 0.0)
    triggerer = run_triggers(
        [OnehouseTrackTrigger(**arguments)],
        lambda: {"conn_type": "onehouse", "host": "http://127.0.0.1:1", "extra": "{}"},
    )

    assert error in triggerer.fired[0].payload["error"]
    assert triggerer.fired[0].payload["hopeless"]
    assert all(key in arguments["request_ids"] for key in triggerer.fired[0].payload["pending"])
    assert triggerer.failed == {}


@pytest.mark.parametrize(
    "request_ids",
    [
        "['a', 'b']",
        '["a", "b"]',
        [{"request_id": "a", "outcome": "SUCCEEDED"}, {"request_id": "b", "response": None}],
        [["a"], ["b"]],
    ],
    ids=str,
)
def test_it_takes_what_a_template_or_an_xcom_brings(
    simulate: Simulate, tmp_path: Path, request_ids: Any
) -> None:
    """
    A task that begins in the triggerer has no worker that could make a list of it first.
    """
    with simulate() as simulator:
        for request_id in ("a", "b"):
            simulator.project.add(request_id, 0)
        triggerer = run_triggers(
            [OnehouseTrackTrigger(request_ids)],
            lambda: connection(simulator.url, tmp_path=tmp_path),
        )

    assert triggerer.failed == {}
    assert _results(triggerer, 0) == {"a": "SUCCEEDED", "b": "SUCCEEDED"}


def test_it_fires_no_earlier_than_airflow_can_bear(simulate: Simulate, tmp_path: Path) -> None:
    """
    A scheduler that learns of the deferral after the resumption takes the task for dead.
    """
    with simulate() as simulator:
        simulator.project.add("a", 0)
        triggers = [OnehouseTrackTrigger(["a"], end_from_trigger=ends) for ends in (False, True)]
        triggerer = run_triggers(
            triggers, lambda: connection(simulator.url, tmp_path=tmp_path, min_deferral=2.5)
        )

    # What ends the task here meets no scheduler.
    assert triggerer.fired_at[0] >= 2.5
    assert triggerer.fired_at[1] < triggerer.fired_at[0]
    assert _results(triggerer, 0) == {"a": "SUCCEEDED"}


def test_by_default_that_depends_on_the_version() -> None:
    """
    Airflow 2.11 has no such fault; what the connection says counts for both.
    """
    assert OnehouseTrackTrigger(["a"])._min_deferral == (8.0 if AIRFLOW_3 else 0.0)


def test_what_is_pending_at_the_deadline_continues(
    simulate: Simulate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """
    A deadline that passed while no triggerer ran still allows a last poll.

    The log of the trigger names the limit: where that is ``execution_timeout``, Airflow 2.11 fails
    the task before it has its say.
    """
    monkeypatch.setattr(f"{MODULE}._LAST_LOOK", 1.5)
    with simulate() as simulator:
        simulator.project.add("done", 0)
        simulator.project.add("slow", 3600)
        passed = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        triggerer = run_triggers(
            [
                OnehouseTrackTrigger(
                    ["done", "slow"],
                    deadline=passed,
                    submitted_at=passed,
                    limit="execution_timeout of 10 s",
                )
            ],
            lambda: connection(simulator.url, tmp_path=tmp_path),
        )

    assert _results(triggerer, 0) == {"done": "SUCCEEDED", "slow": "TIMED_OUT"}
    out, err = capfd.readouterr()
    said = "request slow was still pending at the end of execution_timeout of 10 s; it continues"
    assert said in out + err


def test_what_the_log_says(
    simulate: Simulate, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """
    It says what is pending and who failed; a response, which may hold a secret, it does not show.
    """
    with simulate() as simulator:
        simulator.project.add("good", 0.5, response={"token": "marked-secret"})
        simulator.project.add(
            "bad", 0.5, ApiStatus.FAILED, response={"errorMessage": "no such table"}
        )
        triggerer = run_triggers(
            [OnehouseTrackTrigger(["good", "bad"])],
            lambda: connection(simulator.url, tmp_path=tmp_path),
        )

    out, err = capfd.readouterr()
    log = out + err
    assert _results(triggerer, 0) == {"good": "SUCCEEDED", "bad": "FAILED"}
    assert "2 of 2 requests pending: good, bad" in log
    assert "request bad ended FAILED: no such table" in log
    assert "1 SUCCEEDED, 1 FAILED" in log
    assert "marked-secret" not in log
    assert EXTRA["api_secret"] not in log


@pytest.mark.parametrize("status", [ApiStatus.SUCCESS, ApiStatus.FAILED])
def test_it_can_end_its_task_itself(simulate: Simulate, tmp_path: Path, status: str) -> None:
    """
    Without a worker, where nothing is to be done there; who retries depends on the version.
    """
    with simulate() as simulator:
        simulator.project.add("a", 0, status)
        triggerer = run_triggers(
            [OnehouseTrackTrigger(["a"], end_from_trigger=True)],
            lambda: connection(simulator.url, tmp_path=tmp_path),
        )

    event = triggerer.fired[0]
    state = getattr(event, "task_instance_state", None)
    if status == ApiStatus.SUCCESS:
        assert state == "success"
        assert event.xcoms["return_value"][0]["outcome"] == "SUCCEEDED"
    elif AIRFLOW_3 and not RETRIES_FROM_TRIGGERER:
        # The trigger cannot see how many retries are left: a worker fails the task.
        assert state is None
        assert event.payload["results"][0]["outcome"] == "FAILED"
    else:
        assert state == "failed"
        assert event.xcoms["return_value"][0]["outcome"] == "FAILED"


@pytest.mark.skipif(not AIRFLOW_3, reason="2.11 tells a trigger how many tries there are")
@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.INVALID])
def test_a_task_without_a_worker_keeps_its_retries(retries: int, outcome: Outcome) -> None:
    """
    Airflow 3 makes a task instance for the triggerer whose max_tries is 0, whatever is left.
    Before 3.3.2, an event that fails the task there would take its retries away; since then it is
    retried, and only a worker can fail without a retry what is hopeless.
    """
    from airflow.executors.workloads.task import TaskInstanceDTO
    from airflow.jobs.triggerer_job_runner import TriggerRunner
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import DagSerialization

    now = datetime.now(UTC)
    with DAG("d", start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None) as dag:
        operator = OnehouseTrackOperator(
            task_id="t",
            request_ids=["a"],
            start_from_trigger=True,
            end_from_trigger=True,
            retries=retries,
        )
    told = TaskInstanceDTO(
        id=uuid.uuid4(), dag_version_id=uuid.uuid4(), task_id="t", dag_id="d", run_id="r",
        try_number=1, map_index=-1, pool_slots=1, queue="default", priority_weight=1,
    )  # fmt: skip
    run: dict[str, Any] = {
        "dag_id": "d", "run_id": "r", "logical_date": None, "data_interval_start": None,
        "data_interval_end": None, "run_after": now, "start_date": now, "end_date": None,
        "clear_number": 0, "run_type": "manual", "state": "running", "conf": {},
        "consumed_asset_events": [], "partition_key": None, "partition_date": None,
    }  # fmt: skip
    trigger = OnehouseTrackTrigger(**operator.start_trigger_args.trigger_kwargs)
    trigger.task_instance = TriggerRunner.create_runtime_ti(
        told, DagSerialization.to_dict(dag), run
    )

    event = trigger._event(EventPayload.of([Result(request_id="a", outcome=outcome)]))

    ends_here = not retries or (RETRIES_FROM_TRIGGERER and outcome is Outcome.FAILED)
    assert getattr(event, "task_instance_state", None) == ("failed" if ends_here else None)


def test_an_operator_can_begin_in_the_triggerer() -> None:
    """
    What Airflow stores for that makes a trigger, with a deadline that Airflow keeps.
    """
    operator = OnehouseTrackOperator(
        task_id="t",
        request_ids=["a", "b"],
        on_partial="fail",
        follow_timeout=60,
        start_from_trigger=True,
        end_from_trigger=True,
    )

    arguments = operator.start_trigger_args
    trigger = OnehouseTrackTrigger(**arguments.trigger_kwargs)

    assert operator.start_from_trigger
    assert arguments.trigger_cls == trigger.serialize()[0]
    # Airflow ends it a minute after it should have ended itself.
    assert arguments.timeout == timedelta(seconds=120)
    assert (trigger.deadline, trigger.limit) == (60, "follow_timeout of 60 s")
    assert hasattr(operator, arguments.next_method)
    assert (trigger.request_ids, trigger.on_partial) == (["a", "b"], "fail")
    assert trigger.end_from_trigger


def test_what_continues_is_said_when_a_task_is_killed(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """
    Nobody can cancel a request by its ID: people must know what runs.
    """
    operator = OnehouseTrackOperator(task_id="t", request_ids=["a", "b"])
    operator._note_pending(["a", "b"])
    trigger = OnehouseTrackTrigger(["c"])

    with caplog.at_level("WARNING"):
        operator.on_kill()
        asyncio.run(trigger.on_kill())

    out, err = capfd.readouterr()
    log = caplog.text + out + err
    assert "2 requests continue on the server: a, b" in log
    assert "1 request continues on the server: c" in log


def test_a_response_that_found_no_room_is_asked_for_again(
    simulate: Simulate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The event stays small, and the task returns everything all the same.
    """
    big = {"rows": "x" * 600_000}
    with simulate() as simulator:
        simulator.project.add("a", 0, response=big)
        described = connection(simulator.url, tmp_path=tmp_path)
        monkeypatch.setenv("AIRFLOW_CONN_ONEHOUSE_DEFAULT", json.dumps(described))
        triggerer = run_triggers([OnehouseTrackTrigger(["a"])], lambda: described)
        payload = triggerer.fired[0].payload
        operator = OnehouseTrackOperator(task_id="t", request_ids=["a"])
        [item] = operator._conclude({}, payload)

    assert payload["results"][0]["response_left_out"]
    assert item["response"] == big
    assert "response_left_out" not in item


@pytest.mark.parametrize(
    "arguments",
    [{}, {"statement": "SHOW", "statements": ["SHOW"]}, {"statement": "SHOW", "on_partial": "x"}],
    ids=["nothing", "both", "a third word"],
)
def test_what_makes_no_sense_is_refused_with_the_dag(arguments: dict[str, Any]) -> None:
    """
    When the DAG is read, and not when it runs.
    """
    with pytest.raises(ConfigError):
        OnehouseSqlOperator(task_id="t", **arguments)


def test_a_retry_looks_before_it_defers(
    simulate: Simulate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What ended meanwhile needs no deferral, which Airflow might take for a failure once more.
    """
    with simulate() as simulator:
        simulator.project.add("a", 0)
        described = connection(simulator.url, tmp_path=tmp_path)
        monkeypatch.setenv("AIRFLOW_CONN_ONEHOUSE_DEFAULT", json.dumps(described))
        operator = OnehouseTrackOperator(task_id="t", request_ids=["a"], deferrable=True)
        first, second = (SimpleNamespace(try_number=number) for number in (1, 2))

        with pytest.raises(TaskDeferred):
            operator._track({"ti": first}, [Request("a")])
        [item] = operator._track({"ti": second}, [Request("a")])

    assert item["outcome"] == "SUCCEEDED"


def test_the_output_of_another_task_is_a_template_in_the_triggerer() -> None:
    """
    A triggerer cannot resolve a reference, and cannot receive what a plain `xcom_pull` asks for.
    """
    with DAG("d", start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None):
        submit = OnehouseSqlOperator(task_id="s", statements=["SHOW JOBS"], wait=False)
        mapped = OnehouseSqlOperator.partial(task_id="m", wait=False).expand(statement=["SHOW"])
        if not RENDERS_IN_TRIGGERER:
            for ids in (submit.output, "{{ ti.xcom_pull(task_ids='s') }}"):
                with pytest.raises(ConfigError, match=r"need 3\.3"):
                    OnehouseTrackOperator(
                        task_id=f"x{id(ids)}", request_ids=ids, start_from_trigger=True
                    )
            return
        for ids, message in (
            (mapped.output, "m is mapped"),
            (submit.output.map(str), "as it is"),
            ([submit.output, "a"], "as it is"),
        ):
            with pytest.raises(ConfigError, match=message):
                OnehouseTrackOperator(
                    task_id=f"x{id(ids)}", request_ids=ids, start_from_trigger=True
                )
        track = OnehouseTrackOperator(
            task_id="t", request_ids=submit.output, start_from_trigger=True
        )

    assert track.start_trigger_args.trigger_kwargs["request_ids"] == (
        "{{ ti.xcom_pull(task_ids='s', key='return_value', map_indexes=-1) }}"
    )
    assert track.upstream_task_ids == {"s"}


@pytest.mark.skipif(not RENDERS_IN_TRIGGERER, reason="3.3 fills in templates there")
def test_a_template_asks_for_one_xcom() -> None:
    """
    For those of all map indexes a triggerer would wait for ever: it cannot receive them.
    """
    asked: list[dict[str, Any]] = []

    def xcom_pull(**kwargs: Any) -> list[str]:
        asked.append(kwargs)
        return ["a", "b"]

    trigger = OnehouseTrackTrigger("{{ ti.xcom_pull(task_ids='s') }} ", conn_id="{{ dag_id }}")
    trigger.template_fields = ("request_ids", "conn_id")
    trigger.render_template_fields(
        {"ti": SimpleNamespace(xcom_pull=xcom_pull), "dag_id": "d"},
        jinja2.Environment(autoescape=False),  # noqa: S701 - as Airflow
    )

    assert asked == [{"task_ids": "s", "map_indexes": -1}]
    assert trigger.conn_id == "d"
    trigger._prepare()
    assert trigger.request_ids == ["a", "b"]
