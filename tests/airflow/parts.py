"""
A whole Airflow 3: a scheduler, workers, a server, a processor of DAGs and a triggerer.

These are the parts that ``airflow standalone`` starts, started one by one: it has no way to
keep its log servers from listening on every address.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.airflow.command import Airflow

__all__ = ["free_port", "running", "states", "trigger", "wait_for_states"]

SLOTS = 4
"""How many tasks workers run at the same time."""

_OVER = {"success", "failed", "upstream_failed", "skipped"}


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def running(airflow: Airflow) -> Iterator[None]:
    """Run all parts of *airflow* while the block runs."""
    port = free_port()
    airflow.settings(
        AIRFLOW__API__PORT=str(port),
        AIRFLOW__API__HOST="127.0.0.1",
        AIRFLOW__API__BASE_URL=f"http://127.0.0.1:{port}",
        AIRFLOW__CORE__EXECUTION_API_SERVER_URL=f"http://127.0.0.1:{port}/execution/",
        AIRFLOW__CORE__EXECUTOR="LocalExecutor",
        AIRFLOW__CORE__PARALLELISM=str(SLOTS),
        AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION="False",
        AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG="200",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="True",
        AIRFLOW__CORE__INTERNAL_API_SECRET_KEY="a" * 32,
        AIRFLOW__API__SECRET_KEY="b" * 32,
        AIRFLOW__API_AUTH__JWT_SECRET="c" * 64,
        AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK="False",
        AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE="False",
    )
    assert airflow.run("dags", "reserialize") == 0, airflow.log
    with ExitStack() as stack:
        server = ["api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        stack.enter_context(airflow.running(*server))
        # A worker that cannot reach it fails its task.
        _wait_for_port(port, seconds=180)
        for part in (
            ["dag-processor"],
            ["scheduler", "--skip-serve-logs"],
            ["triggerer", "--skip-serve-logs"],
        ):
            stack.enter_context(airflow.running(*part))
        yield


def trigger(airflow: Airflow, dag_id: str) -> None:
    """Start a run of a DAG, as a user does by hand."""
    assert airflow.run("dags", "trigger", dag_id) == 0, airflow.log


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
