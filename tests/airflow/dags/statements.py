"""
DAGs that the tests run with Airflow's own command.
"""

from __future__ import annotations

from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG

from onehouse_tracker.integrations.airflow._airflow import AIRFLOW_3, RENDERS_IN_TRIGGERER
from onehouse_tracker.integrations.airflow.jobs import OnehouseRunJobOperator
from onehouse_tracker.integrations.airflow.operators import (
    OnehouseSqlOperator,
    OnehouseTrackOperator,
)
from onehouse_tracker.integrations.airflow.sensors import OnehouseRequestSensor

START = datetime(2026, 1, 1)  # noqa: DTZ001 - Airflow adds the zone

with DAG("succeeding", start_date=START, schedule=None, catchup=False):
    submit = OnehouseSqlOperator(
        task_id="submit",
        statements=["SHOW CLUSTERS", "RUN JOB nightly_{{ ds_nodash }}", "ALTER CLUSTER a"],
        wait=False,
    )
    follow = OnehouseTrackOperator(
        task_id="follow",
        request_ids="{{ ti.xcom_pull(task_ids='submit') }}",
        report_url="https://reports.example/{{ dag.dag_id }}",
        deferrable=True,
    )
    sense = OnehouseRequestSensor(task_id="sense", request_ids=follow.output, deferrable=True)
    once_more = OnehouseSqlOperator(
        task_id="once_more", statement="RUN JOB nightly", deferrable=True
    )
    on_the_worker = OnehouseSqlOperator(
        task_id="on_the_worker", statement="SHOW JOBS", deferrable=False
    )
    poke = OnehouseRequestSensor(
        task_id="poke", request_ids=submit.output, deferrable=False, poke_interval=1
    )
    submit >> follow >> sense >> once_more >> on_the_worker >> poke

with DAG("running", start_date=START, schedule=None, catchup=False):
    for name, deferrable in (("here", False), ("deferred", True)):
        OnehouseRunJobOperator(task_id=name, jobs=["a", "b"], deferrable=deferrable)
    OnehouseSqlOperator.partial(task_id="each", until="end", deferrable=True).expand(
        statement=["RUN JOB c", "RUN JOB d"]
    )

with DAG("failing", start_date=START, schedule=None, catchup=False):
    OnehouseSqlOperator(task_id="delete", statements=["SHOW JOBS", "DELETE TABLE orders"])

with DAG("refused", start_date=START, schedule=None, catchup=False):
    OnehouseSqlOperator(task_id="wrong", statement="SHOW SYNTAX ERROR")

with DAG("partial", start_date=START, schedule=None, catchup=False):
    OnehouseSqlOperator(task_id="alter", statement="ALTER CLUSTER a", on_partial="fail")

with DAG("retried", start_date=START, schedule=None, catchup=False):
    OnehouseSqlOperator(
        task_id="delete",
        statements=["RUN JOB a", "DELETE TABLE orders", "RUN JOB b"],
        deferrable=True,
        retries=1,
        retry_delay=timedelta(seconds=1),
    )

with DAG("once", start_date=START, schedule=None, catchup=False) as once:
    OnehouseSqlOperator(
        task_id="run", statements=["RUN JOB a", "RUN JOB b", "RUN JOB c"], deferrable=True
    )

with DAG("many", start_date=START, schedule=None, catchup=False):
    for number in range(300):
        OnehouseTrackOperator(task_id=f"task-{number}", request_ids=[f"request-{number}"])

with DAG("from_trigger", start_date=START, schedule=None, catchup=False):
    for name in ("good", "bad"):
        OnehouseTrackOperator(
            task_id=name, request_ids=[name], start_from_trigger=True, end_from_trigger=True
        )

with DAG("mapped", start_date=START, schedule=None, catchup=False):
    OnehouseSqlOperator.partial(task_id="run", retries=0, deferrable=True).expand(
        statement=[f"RUN JOB table_{number}" for number in range(40 if AIRFLOW_3 else 20)]
    )

if RENDERS_IN_TRIGGERER:
    with DAG("from_template", start_date=START, schedule=None, catchup=False):
        submit = OnehouseSqlOperator(task_id="submit", statements=["RUN JOB a"], wait=False)
        results = OnehouseTrackOperator(
            task_id="results",
            request_ids="{{ ti.xcom_pull(task_ids='submit') }}",
            start_from_trigger=True,
            end_from_trigger=True,
        )
        submit >> results

with DAG("limited", start_date=START, schedule=None, catchup=False):
    OnehouseSqlOperator(
        task_id="clean",
        statement="CLEAN TABLE orders",
        deferrable=True,
        execution_timeout=timedelta(seconds=10),
    )

with DAG("soft", start_date=START, schedule=None, catchup=False):
    submit = OnehouseSqlOperator(task_id="submit", statement="DELETE TABLE orders", wait=False)
    for name, deferrable in (("deferred", True), ("poked", False)):
        OnehouseRequestSensor(
            task_id=name,
            request_ids=submit.output,
            deferrable=deferrable,
            poke_interval=1,
            soft_fail=True,
        )

with DAG("killed", start_date=START, schedule=None, catchup=False):
    for name, cancel in (("canceled", True), ("kept", False)):
        OnehouseRunJobOperator(
            task_id=name, job_name=f"endless_{name}", deferrable=True, cancel_on_kill=cancel
        )

with DAG("killed_here", start_date=START, schedule=None, catchup=False):
    OnehouseRunJobOperator(
        task_id="here", job_name="endless_here", deferrable=False, cancel_on_kill=True
    )
