"""
Run jobs to their end with one task of ours; print one JSON object.

Runs in an environment with Airflow 2.11: ``airflow_jobs.py JOBS SLOTS CONNECTION``.  The one task
fills one slot from each of its beginnings to the deferral, or the end, that follows.
"""

import json
import logging
import sys
import time
from functools import partial
from types import SimpleNamespace
from typing import Any

from airflow.exceptions import TaskDeferred
from airflow.models.baseoperator import ExecutorSafeguard

from onehouse_tracker.integrations.airflow.jobs import OnehouseRunJobOperator
from tests.airflow.triggerer import run_triggers


def main(jobs: int, connection: dict[str, Any]) -> dict[str, Any]:
    """Run the task, with its deferrals, to its end."""
    ExecutorSafeguard._sentinel.callers = {}  # noqa: SLF001 - there is no other way
    ti = SimpleNamespace(
        dag_id="dag", run_id="run", task_id="task", map_index=-1, max_tries=0, try_number=1,
        xcom_push=lambda **_: None,
    )  # fmt: skip
    context = {"ti": ti}
    operator = OnehouseRunJobOperator(
        task_id="task", jobs=[f"job_{number}" for number in range(jobs)], deferrable=True
    )
    started = time.monotonic()
    slot_s = 0.0
    failure = None
    step = partial(operator.execute, context)
    while True:
        began = time.monotonic()
        try:
            step()
        except TaskDeferred as deferred:
            slot_s += time.monotonic() - began
            triggerer = run_triggers([deferred.trigger], lambda: connection, seconds=300)
            kwargs = {**(deferred.kwargs or {}), "event": triggerer.fired[0].payload}
            step = partial(getattr(operator, deferred.method_name), context, **kwargs)
            continue
        except Exception as error:  # noqa: BLE001 - what a task raises fails it
            failure = f"{type(error).__name__}: {error}"[:200]
        slot_s += time.monotonic() - began
        break
    return {
        "wall_s": time.monotonic() - started,
        "tasks": [{"slot_s": slot_s, "failure": failure}],
    }


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    result = main(int(sys.argv[1]), json.loads(sys.argv[3]))
    print("\nRESULT", json.dumps(result))
