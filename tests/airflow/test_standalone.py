"""
A whole Airflow 3: a scheduler, workers, a server and a triggerer, with a hundred mapped tasks
and two that need no worker.

These are the parts that ``airflow standalone`` starts, started one by one: it has no way to
keep its log servers from listening on every address.
"""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from onehouse_tracker.integrations.airflow._airflow import AIRFLOW_3
from onehouse_tracker.models import ApiStatus
from onehouse_tracker.testing import Kind
from onehouse_tracker.testing.threaded import RunningSimulator
from tests.airflow.command import Airflow
from tests.airflow.simulation import Reasoning, Simulate

pytestmark = [
    pytest.mark.running,
    pytest.mark.skipif(not AIRFLOW_3, reason="on SQLite, 2.11 runs one task after the other"),
]

COUNT = 100


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _wait_for(port: int, seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < give_up, "the server does not listen"
            time.sleep(0.2)
        else:
            return


def _states(airflow: Airflow) -> Counter[str]:
    rows = airflow.query("select state from task_instance where dag_id = 'mapped'")
    return Counter(str(state) for (state,) in rows)


def _without_worker(airflow: Airflow) -> dict[str, tuple[str, str | None, int | None]]:
    """State, host and process of the tasks that a trigger alone carries out."""
    rows = airflow.query(
        "select task_id, state, hostname, pid from task_instance where dag_id = 'from_trigger'"
    )
    return {task: (state, host, pid) for task, state, host, pid in rows}


@pytest.fixture
def simulator(simulate: Simulate) -> Iterator[RunningSimulator]:
    """A server whose statements take longer than Airflow needs to defer a task."""
    with simulate(kinds=[Kind(label="RUN JOB", duration=10.0)]) as simulator:
        yield simulator


def test_a_hundred_mapped_tasks(airflow: Airflow, simulator: RunningSimulator) -> None:
    """
    All succeed, each statement runs once, and no worker is held meanwhile.

    Airflow itself may fail a task whose deferral was short, and retries it: the retry must find
    what was submitted.
    """
    port = _free_port()
    airflow.settings(
        AIRFLOW__API__PORT=str(port),
        AIRFLOW__API__HOST="127.0.0.1",
        AIRFLOW__API__BASE_URL=f"http://127.0.0.1:{port}",
        AIRFLOW__CORE__EXECUTION_API_SERVER_URL=f"http://127.0.0.1:{port}/execution/",
        AIRFLOW__CORE__EXECUTOR="LocalExecutor",
        AIRFLOW__CORE__PARALLELISM="4",
        AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG="200",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="True",
        AIRFLOW__CORE__INTERNAL_API_SECRET_KEY="a" * 32,
        AIRFLOW__API__SECRET_KEY="b" * 32,
        AIRFLOW__API_AUTH__JWT_SECRET="c" * 64,
        AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK="False",
        AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE="False",
    )
    simulator.project.add("good", 10)
    simulator.project.add("bad", 10, ApiStatus.FAILED)
    commands = [["dags", "reserialize"]]
    for dag in ("mapped", "from_trigger"):
        commands += [["dags", "unpause", dag, "--yes"], ["dags", "trigger", dag]]
    for command in commands:
        assert airflow.run(*command) == 0, airflow.log

    with ExitStack() as stack:
        server = ["api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        stack.enter_context(airflow.running(*server))
        # A worker that cannot reach it fails its task.
        _wait_for(port, seconds=120)
        for part in (
            ["dag-processor"],
            ["scheduler", "--skip-serve-logs"],
            ["triggerer", "--skip-serve-logs"],
        ):
            stack.enter_context(airflow.running(*part))
        give_up = time.monotonic() + 540
        while _states(airflow)["success"] < COUNT:
            states = _states(airflow)
            assert time.monotonic() < give_up, states
            assert not states["failed"], states
            time.sleep(1)
        # Neither ever had a host or a process.
        ended = {"good": ("success", "", None), "bad": ("failed", "", None)}
        while _without_worker(airflow) != ended:
            assert time.monotonic() < give_up, _without_worker(airflow)
            time.sleep(1)

    project = simulator.project
    assert isinstance(project, Reasoning)
    tries = Counter(
        int(number)
        for (number,) in airflow.query(
            "select try_number from task_instance where dag_id = 'mapped'"
        )
    )
    # Airflow's own failures; they are reported, and must cost no statement.
    print("TRIES", json.dumps(tries))
    assert project.submitted() == COUNT
    assert project.refused == 0
    assert airflow.records() == []
