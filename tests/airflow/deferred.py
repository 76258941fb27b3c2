"""
Put the tasks of the DAG `many` into the state in which a worker leaves them, or print their end.

A tenth of them wait for a run of a job, and the others for a request.

A program of its own, in a home of Airflow's: ``python deferred.py defer`` or ``outcomes``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from airflow.models import TaskInstance
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session
from sqlalchemy import select

from onehouse_tracker.integrations.airflow.run_trigger import OnehouseRunsTrigger
from onehouse_tracker.integrations.airflow.trigger import OnehouseTrackTrigger


def _instances(session: Any) -> list[Any]:
    return list(session.scalars(select(TaskInstance).where(TaskInstance.dag_id == "many")))


def defer() -> None:
    """Defer every task, as if it had run on a worker."""
    with create_session() as session:
        for ti in _instances(session):
            number = ti.task_id.removeprefix("task-")
            made = (
                OnehouseRunsTrigger({"nightly": [f"run-{number}"]})
                if int(number) % 10 == 9
                else OnehouseTrackTrigger([f"request-{number}"])
            )
            classpath, kwargs = made.serialize()
            trigger = Trigger(classpath=classpath, kwargs=kwargs)
            session.add(trigger)
            session.flush()
            ti.trigger_id = trigger.id
            ti.state = "deferred"
            ti.next_method = "execute_complete"
            ti.next_kwargs = {}


def outcomes() -> None:
    """Print, by task, what its trigger told the database."""
    told = {}
    with create_session() as session:
        for ti in _instances(session):
            event = json.dumps(ti.next_kwargs, default=str)
            told[ti.task_id] = [str(ti.state), event]
    print("OUTCOMES", json.dumps(told))


if __name__ == "__main__":
    {"defer": defer, "outcomes": outcomes}[sys.argv[1]]()
