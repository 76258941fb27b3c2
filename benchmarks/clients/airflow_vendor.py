"""
Run tasks of the vendor's Airflow provider on so many worker slots; print one JSON object.

Runs in the vendor's environment, so it knows nothing of ours: ``airflow_vendor.py TASKS SLOTS
CONNECTION [jobs] [apart]``.  A slot is a thread that runs one task's operator after the other, as
a worker does.  With ``jobs``, a sensor follows each operator, and waits for the end of the run.
With ``apart``, the slots begin a second apart, as Airflow starts tasks: in step, even a few of
them would meet the limit.
"""

import itertools
import json
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from airflow.models.baseoperator import ExecutorSafeguard
from airflow_providers_onehouse.operators.jobs import OnehouseRunJobOperator
from airflow_providers_onehouse.sensors.jobs import OnehouseJobRunSensor

threads = itertools.count()


def prepare() -> None:
    """Make a thread one that may run operators: Airflow does so with the main thread only."""
    ExecutorSafeguard._sentinel.callers = {}  # noqa: SLF001 - there is no other way
    if "apart" in sys.argv:
        time.sleep(next(threads))


def run(number: int) -> dict[str, Any]:
    """Run one task from its start to its end; it fills its slot as long as that takes."""
    began = time.monotonic()
    try:
        job = f"job_{number}"
        run_id = OnehouseRunJobOperator(task_id=f"task-{number}", job_name=job).execute({})
        if "jobs" in sys.argv:
            OnehouseJobRunSensor(
                task_id=f"sensor-{number}", job_name=job, job_run_id=run_id
            ).execute({})
    except Exception as error:  # noqa: BLE001 - what a task raises fails it
        failure: str | None = f"{type(error).__name__}: {error}"[:200]
    else:
        failure = None
    return {"slot_s": time.monotonic() - began, "failure": failure}


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    tasks, slots = int(sys.argv[1]), int(sys.argv[2])
    started = time.monotonic()
    with ThreadPoolExecutor(slots, initializer=prepare) as pool:
        ran = list(pool.map(run, range(tasks)))
    print("\nRESULT", json.dumps({"wall_s": time.monotonic() - started, "tasks": ran}))
