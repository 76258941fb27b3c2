"""
A whole Airflow 3 as its users run it: the connection is stored in its database, DAGs are
triggered by hand, and nothing is retried.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from onehouse_tracker.integrations.airflow._airflow import AIRFLOW_3
from onehouse_tracker.models import ApiStatus
from onehouse_tracker.testing import Kind, RunKind, SimulatedJobs
from onehouse_tracker.testing.threaded import RunningSimulator
from tests.airflow.command import DAGS, Airflow
from tests.airflow.parts import (
    TRIGGERER,
    mark_failed,
    running,
    states,
    trigger,
    wait_for_states,
)
from tests.airflow.simulation import KINDS, Simulate, connection
from tests.docs.pages import ROOT, blocks_of

pytestmark = [
    pytest.mark.running,
    pytest.mark.skipif(not AIRFLOW_3, reason="on SQLite, 2.11 runs one task after the other"),
]

COUNT = 100
"""Mapped tasks, each with one statement."""

PAGE = {
    str(block.title): block.text
    for block in blocks_of(ROOT / "docs/how-to/airflow.md")
    if block.title
}
"""The DAGs of the documentation, by the names of their files."""

OURS = ("mapped", "from_trigger", "from_template", "limited", "soft")


def _one_to_twenty(rng: Random) -> float:
    return rng.uniform(1, 20)


@dataclass
class Ended:
    """What became of all DAGs."""

    airflow: Airflow
    simulator: RunningSimulator
    states: dict[str, Counter[str]]
    restarted: list[str]
    """The statements that canceled runs until the triggerer had been restarted."""


@pytest.fixture(scope="module")
def ended(
    empty_home: Path, tmp_path_factory: pytest.TempPathFactory, simulate: Simulate
) -> Iterator[Ended]:
    """All DAGs, of the documentation and of these tests, after they have run together."""
    tmp_path = tmp_path_factory.mktemp("standalone")
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "ours.py").write_text(
        (DAGS / "statements.py").read_text(encoding="utf-8"), encoding="utf-8"
    )
    for name, text in PAGE.items():
        (folder / name).write_text(text, encoding="utf-8")
    kinds = [Kind(label="RUN JOB", duration=_one_to_twenty), Kind(label="CLEAN", duration=3600)]
    kinds += [kind for kind in KINDS if kind.label != "RUN JOB"]
    runs = [RunKind(job="endless_*", duration=3600.0), RunKind(queued=1.0, duration=5.0)]
    jobs = SimulatedJobs(kinds=runs)
    with simulate(kinds=kinds, jobs=jobs) as simulator:
        airflow = Airflow(
            tmp_path / "home", copy_of=empty_home, AIRFLOW__CORE__DAGS_FOLDER=str(folder)
        )
        described = connection(simulator.url, tmp_path=tmp_path)
        # What a user has who never heard of it.
        extra = json.loads(described["extra"])
        del extra["min_deferral"]
        airflow.store({**described, "extra": json.dumps(extra)})
        simulator.project.add("good", 10)
        simulator.project.add("bad", 10, ApiStatus.FAILED)
        dags = {*OURS, *(name.removesuffix(".py") for name in PAGE)}
        with running(airflow) as triggerer:
            for dag in sorted({*dags, "killed"}):
                trigger(airflow, dag)
            found = wait_for_states(airflow, dags, seconds=600)
            # Nothing but the two tasks that will be ended by a user is deferred now.
            assert states(airflow, "killed") == {"canceled": "deferred", "kept": "deferred"}
            triggerer.terminate()
            triggerer.wait(60)
            reports = airflow.task_log("killed").count("1 of 1 run pending")
            with airflow.running(*TRIGGERER):
                _wait_for_lines(airflow, "1 of 1 run pending", reports + 2)
                restarted = _cancellations(simulator)
                for task in ("canceled", "kept"):
                    mark_failed(airflow, "killed", task)
                _wait_for_lines(airflow, "the server was asked to cancel run", 1)
                _wait_for_lines(airflow, "these runs continue", 1)
        yield Ended(airflow, simulator, found, restarted)


def _wait_for_lines(airflow: Airflow, text: str, count: int) -> None:
    """Wait until the tasks that a user ends have logged *text* so many times."""
    give_up = time.monotonic() + 60
    while airflow.task_log("killed").count(text) < count:
        assert time.monotonic() < give_up, airflow.task_log("killed")
        time.sleep(0.5)


def _cancellations(simulator: RunningSimulator) -> list[str]:
    found = [one.statement or "" for one in simulator.project.requests.values()]
    return [statement for statement in found if statement.startswith("CANCEL JOB_RUN")]


def test_a_hundred_mapped_tasks_without_retries(ended: Ended) -> None:
    """
    All succeed, however short their statements are: no deferral ends before the scheduler has
    learned of it.
    """
    assert ended.states["mapped"] == {"success": COUNT}
    tries = ended.airflow.query(
        "select distinct try_number from task_instance where dag_id = 'mapped'"
    )
    assert tries == [(1,)]


@pytest.mark.parametrize("name", PAGE)
def test_a_dag_of_the_documentation(ended: Ended, name: str) -> None:
    """
    Triggered by hand, it has no logical date; and it is what people copy.
    """
    found = ended.states[name.removesuffix(".py")]

    assert set(found) == {"success"}, states(ended.airflow, name.removesuffix(".py"))


def test_each_statement_was_submitted_once(ended: Ended) -> None:
    """
    Within the rate limit, and no record is left of what is over.
    """
    project = ended.simulator.project
    statements = Counter(one.statement for one in project.requests.values() if one.statement)
    # Those that several DAGs of the documentation run.
    more = {"RUN JOB orders": 3, "RUN JOB `orders`": 2, "RUN JOB `customers`": 2}
    more |= {f"RUN JOB table_{number}": 2 for number in range(3)}
    ran = {text: count for text, count in statements.items() if "RUN JOB" in text}
    assert {text: count for text, count in ran.items() if count > 1} == more
    assert sum(text.startswith("RUN JOB table_") for text in ran) == COUNT
    assert project.refused == 0
    assert ended.airflow.query("select key from variable") == []
    kept = ended.airflow.query("select dag_id, task_id, key from task_state_store")
    # What was pending when its task failed or was ended; clearing the task continues to track it.
    assert sorted(kept) == [
        ("killed", "canceled", "onehouse_tracker_0"),
        ("killed", "kept", "onehouse_tracker_0"),
        ("limited", "clean", "onehouse_tracker_0"),
    ]


def test_runs_are_known_before_they_have_ended(ended: Ended) -> None:
    """
    As an XCom of the task, for links and for tasks that run meanwhile.
    """
    rows = ended.airflow.query(
        "select value from xcom where dag_id = 'job_runs' and key = 'runs'"
        " and task_id = 'to_the_end'"
    )
    runs = ended.airflow.decoded(rows[0][0])
    assert [run["job"] for run in runs] == ["orders", "customers"]
    assert {run["run_id"] for run in runs} <= set(ended.simulator.project.runs)


def test_tasks_that_need_no_worker(ended: Ended) -> None:
    """
    Neither has ever had a host or a process; one fails because its request does.
    """
    rows = ended.airflow.query(
        "select task_id, state, hostname, pid from task_instance where"
        " dag_id = 'from_trigger' or (dag_id in ('from_template', 'without_worker')"
        " and task_id = 'results')"
    )

    assert sorted((task, state) for task, state, _, _ in rows) == [
        ("bad", "failed"),
        ("good", "success"),
        ("results", "success"),
        ("results", "success"),
    ]
    assert {(host, pid) for _, _, host, pid in rows} == {("", None)}


def test_a_task_that_is_deferred_keeps_its_execution_timeout(ended: Ended) -> None:
    """
    It fails when its time is over, and not when its statement is.
    """
    assert ended.states["limited"] == {"failed": 1}
    [(seconds,)] = ended.airflow.query(
        "select duration from task_instance where dag_id = 'limited'"
    )
    assert 10 <= seconds < 60
    log = ended.airflow.task_log("limited")
    assert "was still pending at the end of execution_timeout of 10 s" in log
    assert "it continues on the server" in log


def test_a_sensor_that_may_fail_softly_is_skipped(ended: Ended) -> None:
    """
    Whether it defers or not; it used to depend on that.
    """
    assert states(ended.airflow, "soft") == {
        "submit": "success",
        "deferred": "skipped",
        "poked": "skipped",
    }


def test_only_a_user_who_ends_a_deferred_task_cancels_its_run(ended: Ended) -> None:
    """
    And only where that was asked for; a triggerer that is stopped and started cancels nothing.
    """
    assert ended.restarted == []
    [statement] = _cancellations(ended.simulator)
    [run] = [run for run in ended.simulator.project.runs.values() if run.job == "endless_canceled"]
    assert run.run_id in statement
    log = ended.airflow.task_log("killed")
    assert f"cancel_on_kill is set; canceling: {run.run_id} of job endless_canceled" in log
