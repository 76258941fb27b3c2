"""
A whole Airflow: a scheduler, workers and a triggerer, and on 3 a server and a processor of DAGs.

These are the parts that ``airflow standalone`` starts, started one by one: it has no way to
keep its log servers from listening on every address.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.request import Request, urlopen

from onehouse_tracker.integrations.airflow._airflow import AIRFLOW_3
from tests.airflow.command import Airflow

__all__ = [
    "TRIGGERER",
    "free_port",
    "mark_failed",
    "running",
    "states",
    "trigger",
    "wait_for_states",
]

TRIGGERER = ("triggerer", "--skip-serve-logs")

SLOTS = 4
"""How many tasks workers run at the same time."""

_OVER = {"success", "failed", "upstream_failed", "skipped"}


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def running(airflow: Airflow) -> Iterator[subprocess.Popen[bytes]]:
    """Run all parts of *airflow* while the block runs, which gets the triggerer."""
    airflow.settings(
        AIRFLOW__CORE__EXECUTOR="LocalExecutor",
        AIRFLOW__CORE__PARALLELISM=str(SLOTS),
        AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION="False",
        AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG="200",
        AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK="False",
        AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE="False",
    )
    with ExitStack() as stack:
        if AIRFLOW_3:
            _start_server(airflow, stack)
        else:
            # Its workers write into the database themselves, so it refuses SQLite with more than
            # one of them, but for its own tests; each of them waits until the others have written.
            airflow.settings(
                _AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK="1",
                AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=(
                    f"sqlite:///{airflow.home / 'airflow.db'}?timeout=60"
                ),
            )
            assert airflow.run("dags", "reserialize") == 0, airflow.log
        stack.enter_context(airflow.running("scheduler", "--skip-serve-logs"))
        yield stack.enter_context(airflow.running(*TRIGGERER))


def _start_server(airflow: Airflow, stack: ExitStack) -> None:
    port = free_port()
    airflow.settings(
        AIRFLOW__API__PORT=str(port),
        AIRFLOW__API__HOST="127.0.0.1",
        AIRFLOW__API__BASE_URL=f"http://127.0.0.1:{port}",
        AIRFLOW__CORE__EXECUTION_API_SERVER_URL=f"http://127.0.0.1:{port}/execution/",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="True",
        AIRFLOW__CORE__INTERNAL_API_SECRET_KEY="a" * 32,
        AIRFLOW__API__SECRET_KEY="b" * 32,
        AIRFLOW__API_AUTH__JWT_SECRET="c" * 64,
    )
    assert airflow.run("dags", "reserialize") == 0, airflow.log
    server = ["api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stack.enter_context(airflow.running(*server))
    # A worker that cannot reach it fails its task.
    _wait_for_port(port, seconds=180)
    stack.enter_context(airflow.running("dag-processor"))


def trigger(airflow: Airflow, dag_id: str) -> None:
    """Start a run of a DAG, as a user does by hand."""
    assert airflow.run("dags", "trigger", dag_id) == 0, airflow.log


def mark_failed(airflow: Airflow, dag_id: str, task_id: str) -> None:
    """Mark a task of the only run of a DAG as failed, as a user does in the browser."""
    [(run_id,)] = airflow.query("select run_id from dag_run where dag_id = ?", dag_id)
    server = airflow.environment()["AIRFLOW__API__BASE_URL"]
    with urlopen(f"{server}/auth/token", timeout=30) as reply:  # noqa: S310 - of this machine
        token = json.load(reply)["access_token"]
    request = Request(  # noqa: S310 - the same
        f"{server}/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}",
        data=json.dumps({"new_state": "failed"}).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        method="PATCH",
    )
    urlopen(request, timeout=30).close()  # noqa: S310 - the same


def states(airflow: Airflow, dag_id: str) -> dict[str, str]:
    """The state of each task instance of a DAG, by its name and map index."""
    rows = airflow.query(
        "select task_id, map_index, state from task_instance where dag_id = ?", dag_id
    )
    return {f"{task}[{index}]" if index >= 0 else task: str(state) for task, index, state in rows}


def wait_for_states(
    airflow: Airflow, dag_ids: set[str], seconds: float
) -> dict[str, Counter[str]]:
    """Wait until the runs of some DAGs have ended, and count the states of their tasks."""
    give_up = time.monotonic() + seconds
    marks = ", ".join("?" * len(dag_ids))
    while True:
        rows = airflow.query(
            f"select dag_id, state from dag_run where dag_id in ({marks})",  # noqa: S608 - marks
            *dag_ids,
        )
        counted = {dag_id: Counter(states(airflow, dag_id).values()) for dag_id in dag_ids}
        if {dag_id for dag_id, state in rows if state in _OVER} == dag_ids:
            return counted
        assert time.monotonic() < give_up, (rows, counted)
        time.sleep(1)


def _wait_for_port(port: int, seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < give_up, "the server does not listen"
            time.sleep(0.2)
        else:
            return
