"""
Run tasks of our operators on so many worker slots and one triggerer; print one JSON object.

Runs in an environment with Airflow 2.11: ``airflow_tracker.py TASKS SLOTS``.  A slot is a thread
that runs one task's operator after the other until it defers, and once more when its trigger
has fired; the triggers run in Airflow's own TriggerRunner.
"""

import json
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

from airflow.exceptions import TaskDeferred
from airflow.models.baseoperator import ExecutorSafeguard

from onehouse_tracker.integrations.airflow.operators import OnehouseSqlOperator
from onehouse_tracker.integrations.airflow.trigger import OnehouseTrackTrigger
from tests.airflow.triggerer import run_triggers


def prepare() -> None:
    """Make a thread one that may run operators: Airflow does so with the main thread only."""
    ExecutorSafeguard._sentinel.callers = {}  # noqa: SLF001 - there is no other way


def context_of(number: int) -> dict[str, Any]:
    """What Airflow tells a task about itself."""
    return {
        "ti": SimpleNamespace(
            dag_id="dag", run_id="run", task_id=f"task-{number}", map_index=-1, max_tries=0
        )
    }


def operator_of(number: int) -> OnehouseSqlOperator:
    """The task."""
    return OnehouseSqlOperator(
        task_id=f"task-{number}", statement=f"RUN JOB job_{number}", deferrable=True
    )


def submit(number: int) -> tuple[float, dict[str, Any] | None, str | None]:
    """Run a task until it defers."""
    began = time.monotonic()
    try:
        operator_of(number).execute(context_of(number))
    except TaskDeferred as deferred:
        return time.monotonic() - began, deferred.trigger.serialize()[1], None
    except Exception as error:  # noqa: BLE001 - what a task raises fails it
        return time.monotonic() - began, None, f"{type(error).__name__}: {error}"[:200]
    raise AssertionError("it did not defer")


def resume(number: int, event: dict[str, Any]) -> tuple[float, str | None]:
    """Run a task to its end."""
    began = time.monotonic()
    try:
        operator_of(number).execute_complete(context_of(number), event)
    except Exception as error:  # noqa: BLE001 - what a task raises fails it
        return time.monotonic() - began, f"{type(error).__name__}: {error}"[:200]
    return time.monotonic() - began, None


def main(tasks: int, slots: int, connection: dict[str, Any]) -> dict[str, Any]:
    """Run all tasks: submit all, follow all, then end all."""
    started = time.monotonic()
    with ThreadPoolExecutor(slots, initializer=prepare) as pool:
        submitted = list(pool.map(submit, range(tasks)))
        deferred = {
            number: kwargs for number, (_, kwargs, _) in enumerate(submitted) if kwargs is not None
        }
        triggerer = run_triggers(
            [OnehouseTrackTrigger(**kwargs) for kwargs in deferred.values()],
            lambda: connection,
            seconds=300,
        )
        events = [triggerer.fired[place].payload for place in range(len(deferred))]
        resumed = dict(zip(deferred, pool.map(resume, deferred, events), strict=True))
    wall = time.monotonic() - started
    return {
        "wall_s": wall,
        "tasks": [
            {
                "slot_s": slot + resumed.get(number, (0.0, None))[0],
                "failure": failure or resumed.get(number, (0.0, None))[1],
            }
            for number, (slot, _, failure) in enumerate(submitted)
        ],
    }


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    result = main(int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))
    print("\nRESULT", json.dumps(result))
