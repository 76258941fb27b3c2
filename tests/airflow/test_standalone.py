"""
A whole Airflow as its users run it: the connection is stored in its database, DAGs are triggered
by hand, and nothing is retried.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from onehouse_tracker.integrations.airflow._airflow import AIRFLOW_3, RENDERS_IN_TRIGGERER
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

pytestmark = pytest.mark.running

COUNT = 40 if AIRFLOW_3 else 20
"""Mapped tasks, each with one statement."""

CLEAN = "CLEAN TABLE orders"
"""A statement that takes an hour."""

ONLY_3_3 = pytest.mark.skipif(not RENDERS_IN_TRIGGERER, reason="3.3 alone can do it")

PAGE = {
    str(block.title): block.text
    for block in blocks_of(ROOT / "docs/how-to/airflow.md")
    # The page says of this one that it needs 3.3.
    if block.title and (RENDERS_IN_TRIGGERER or block.title != "without_worker.py")
}
"""The DAGs of the documentation, by the names of their files."""

OURS = ("mapped", "from_trigger", "limited", "soft")


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
        if RENDERS_IN_TRIGGERER:
            dags.add("from_template")
        with running(airflow) as triggerer:
            for dag in sorted({*dags, "killed"}):
                trigger(airflow, dag)
            found = wait_for_states(airflow, dags, seconds=600)
            if not RENDERS_IN_TRIGGERER:
                yield Ended(airflow, simulator, found, [])
                return
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
            trigger(airflow, "killed_here")
            _wait_for_lines(airflow, "1 of 1 run pending", 1, "killed_here")
            mark_failed(airflow, "killed_here", "here")
            _wait_for_lines(airflow, "the server was asked to cancel run", 1, "killed_here")
        yield Ended(airflow, simulator, found, restarted)


def _wait_for_lines(airflow: Airflow, text: str, count: int, dag_id: str = "killed") -> None:
    """Wait until the tasks that a user ends have logged *text* so many times."""
    give_up = time.monotonic() + 60
    while airflow.task_log(dag_id).count(text) < count:
        assert time.monotonic() < give_up, airflow.task_log(dag_id)
        time.sleep(0.5)


def _cancellations(simulator: RunningSimulator) -> list[str]:
    found = [one.statement or "" for one in simulator.project.requests.values()]
    return [statement for statement in found if statement.startswith("CANCEL JOB_RUN")]


def test_mapped_tasks_without_retries(ended: Ended) -> None:
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
    if not RENDERS_IN_TRIGGERER:
        more["RUN JOB orders"] -= 1
    more |= {f"RUN JOB table_{number}": 2 for number in range(3)}
    ran = {text: count for text, count in statements.items() if "RUN JOB" in text}
    assert {text: count for text, count in ran.items() if count > 1} == more
    assert sum(text.startswith("RUN JOB table_") for text in ran) == COUNT
    assert project.refused == 0
    # What was pending when its task failed or was ended; clearing the task continues to track it.
    kept = {("killed", "canceled"), ("killed", "kept"), ("limited", "clean")}
    if RENDERS_IN_TRIGGERER:
        kept.add(("killed_here", "here"))
    assert _kept(ended.airflow) == kept


def _kept(airflow: Airflow) -> set[tuple[str, str]]:
    """The tasks whose records are kept."""
    variables = airflow.query("select description from variable")
    if RENDERS_IN_TRIGGERER:
        assert variables == []
        return {
            (dag, task)
            for dag, task in airflow.query("select dag_id, task_id from task_state_store")
        }
    found = [re.search(r"DAG (\w+), task (\w+),", text) for (text,) in variables]
    return {(one[1], one[2]) for one in found if one is not None}


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

    with_template = [("results", "success")] * 2 if RENDERS_IN_TRIGGERER else []
    assert sorted((task, state) for task, state, _, _ in rows) == [
        ("bad", "failed"),
        ("good", "success"),
        *with_template,
    ]
    assert {(host, pid) for _, _, host, pid in rows} == {("", None)}


def test_a_task_that_is_deferred_keeps_its_execution_timeout(ended: Ended) -> None:
    """
    It fails when its time is over, and not when its statement is.
    """
    assert ended.states["limited"] == {"failed": 1}
    [request] = [
        one for one in ended.simulator.project.requests.values() if one.statement == CLEAN
    ]
    polls = [
        one.at
        for one in ended.simulator.project.arrivals
        if one.kind == "status" and one.request_id == request.request_id
    ]
    # The task itself ends as soon as a worker has time for it.
    assert polls
    assert polls[-1] - polls[0] < 30
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


@ONLY_3_3
def test_only_a_user_who_ends_a_task_cancels_its_run(ended: Ended) -> None:
    """
    While it is deferred and while it waits on its worker, and only where that was asked for; a
    triggerer that is stopped and started cancels nothing.
    """
    assert ended.restarted == []
    runs = {run.job: run.run_id for run in ended.simulator.project.runs.values()}
    canceled = _cancellations(ended.simulator)
    assert len(canceled) == 2
    for statement, job in zip(canceled, ("endless_canceled", "endless_here"), strict=True):
        assert runs[job] in statement
    for dag_id, job in (("killed", "endless_canceled"), ("killed_here", "endless_here")):
        log = ended.airflow.task_log(dag_id)
        assert f"cancel_on_kill is set; canceling: {runs[job]} of job {job}" in log
