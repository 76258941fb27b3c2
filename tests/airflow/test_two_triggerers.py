"""
Two triggerers share one database and one budget, and one of them is killed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from onehouse_tracker.integrations.airflow._airflow import AIRFLOW_3
from onehouse_tracker.testing.threaded import RunningSimulator
from tests.airflow.command import Airflow, kill_tree
from tests.airflow.simulation import LIMIT, connection
from tests.limiters.redis_server import SERVER, RedisServer

pytestmark = pytest.mark.running

PROGRAM = Path(__file__).with_name("deferred.py")
COUNT = 300


def _outcomes(airflow: Airflow) -> dict[str, list[str]]:
    assert airflow.run(PROGRAM, "outcomes") == 0, airflow.log
    line = next(line for line in airflow.log.splitlines() if line.startswith("OUTCOMES "))
    told: dict[str, list[str]] = json.loads(line.removeprefix("OUTCOMES "))
    return told


def _pending(airflow: Airflow) -> int:
    [(count,)] = airflow.query(
        "select count(*) from task_instance where dag_id = 'many' and state = 'deferred'"
    )
    return int(count)


def _wait(airflow: Airflow, pending: int, seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while _pending(airflow) > pending:
        assert time.monotonic() < give_up, f"{_pending(airflow)} tasks are still deferred"
        time.sleep(0.5)


@pytest.fixture
def limiter(tmp_path: Path) -> Iterator[str]:
    """
    What both share: a Redis with Airflow 3, a file with 2.11 or where there is no Redis.
    """
    if not AIRFLOW_3 or SERVER is None:
        yield f"host:{tmp_path / 'budget'}"
        return
    server = RedisServer(tmp_path)
    server.start()
    try:
        yield f"{server.url}/0"
        assert server.calls() > 0
    finally:
        server.kill()


def test_one_of_two_triggerers_is_killed(
    airflow: Airflow, simulator: RunningSimulator, limiter: str, tmp_path: Path
) -> None:
    """
    The other one continues with its triggers: every outcome arrives, of requests and of runs,
    nothing is submitted but checks of runs, and both together stay within the limit.
    """
    # A quarter less than the server lets in: starting and killing triggerers stalls a machine of
    # two cores for more than a tenth of a second, and what was sent meanwhile arrives at once.
    airflow.connect(
        connection(simulator.url, tmp_path=tmp_path, limiter=limiter, limit=0.75 * LIMIT)
    )
    airflow.settings(
        AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD="8",
        AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC="2",
        AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC="2",
    )
    for command in (["dags", "reserialize"], ["dags", "trigger", "many"]):
        assert airflow.run(*command) == 0, airflow.log
    assert airflow.run(PROGRAM, "defer") == 0, airflow.log
    assert _pending(airflow) == COUNT
    for number in range(COUNT):
        # A first half that ends while both live, and a second one that ends afterwards.
        seconds = 2 if number % 3 == 0 else 45
        if number % 10 == 9:
            simulator.project.add_run("nightly", f"run-{number}", seconds)
        else:
            simulator.project.add(f"request-{number}", seconds)
    triggerer = ("triggerer", "--skip-serve-logs", "--capacity", "200")

    with airflow.running(*triggerer) as first, airflow.running(*triggerer) as second:
        # A hundred have ended, so both have taken their part of the rest.
        _wait(airflow, pending=200, seconds=150)
        assert first.poll() is None
        assert second.poll() is None
        shares = airflow.query("select count(*) from trigger group by triggerer_id")
        assert len(shares) == 2
        killed = simulator.project.arrivals[-1].at
        kill_tree(first.pid)
        _wait(airflow, pending=0, seconds=200)

    told = _outcomes(airflow)
    assert len(told) == COUNT
    for number in range(COUNT):
        state, event = told[f"task-{number}"]
        assert state == "scheduled"
        assert f"{'run' if number % 10 == 9 else 'request'}-{number}" in event
        assert "SUCCEEDED" in event
    checks = {one.statement for one in simulator.project.requests.values() if one.statement}
    assert checks
    assert all(one.startswith(("SHOW RUNS", "DESCRIBE JOB_RUN", "SHOW JOBS")) for one in checks)
    # Both list the runs together: not each of them alone, again and again.
    assert sum(one.kind == "submit" for one in simulator.project.arrivals) < 100
    refused = [one.at - killed for one in simulator.project.arrivals if one.verdict == "refused"]
    assert refused == []
    assert simulator.project.peak_in_any_second() <= LIMIT
