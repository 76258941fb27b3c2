"""
Run the DAG `once` on Airflow 3, the same run whenever this is started again.

``airflow dags test`` deletes a run of the same date there, and with it what its tasks have
stored: that is no retry.  So the run that exists is used again here, as a scheduler would.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

from airflow.models import dagrun as of_runs
from airflow.utils.state import DagRunState
from sqlalchemy import select

from tests.airflow.dags import statements

DATE = datetime(2026, 2, 3, tzinfo=UTC)

_make = of_runs.get_or_create_dagrun


def _keep(*, dag: Any, session: Any, **kwargs: Any) -> Any:
    run = session.scalar(select(of_runs.DagRun).where(of_runs.DagRun.dag_id == dag.dag_id))
    if run is None:
        return _make(dag=dag, session=session, **kwargs)
    run.dag = dag
    run.state = DagRunState.RUNNING
    for ti in run.get_task_instances(session=session):
        ti.state = None
    session.commit()
    return run


if __name__ == "__main__":
    of_runs.get_or_create_dagrun = _keep
    run = statements.once.test(run_after=DATE, logical_date=DATE)
    sys.exit(str(run.state) != "success")
