"""
Run mapped tasks in a running Airflow, without retries; print one JSON object.

Runs in an environment with Airflow 2.11 or 3: ``airflow_mapped.py TASKS SECONDS DIRECTORY``: how
many tasks, the shortest deferral in seconds or ``default``, and an empty directory.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from airflow import __version__ as version

from onehouse_tracker.testing import Kind
from tests.airflow.command import Airflow, new_home
from tests.airflow.parts import running, trigger, wait_for_states
from tests.airflow.simulation import connection, simulated

DAG = """
from datetime import datetime

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG

from onehouse_tracker.integrations.airflow.operators import OnehouseSqlOperator

with DAG("mapped", start_date=datetime(2026, 1, 1), schedule=None):
    OnehouseSqlOperator.partial(task_id="run", retries=0, deferrable=True).expand(
        statement=[f"RUN JOB table_{{number}}" for number in range({count})]
    )
"""


def _one_to_twenty(rng: Random) -> float:
    return rng.uniform(1, 20)


def main(tasks: int, seconds: float | None, path: Path) -> dict[str, Any]:
    """
    Trigger the DAG, and count how its tasks ended.

    Args:
        tasks: How many.

        seconds: The shortest deferral; `None` for the default.

        path: An empty directory.
    """
    dags = path / "dags"
    dags.mkdir()
    (dags / "mapped.py").write_text(DAG.format(count=tasks), encoding="utf-8")
    home = new_home(path / "empty")
    with simulated(kinds=[Kind(label="RUN JOB", duration=_one_to_twenty)]) as simulator:
        airflow = Airflow(
            path / "home",
            copy_of=home,
            AIRFLOW__CORE__DAGS_FOLDER=str(dags),
            AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG=str(tasks),
        )
        described = connection(simulator.url, tmp_path=path, min_deferral=seconds)
        airflow.store(described)
        with running(airflow):
            started = time.monotonic()
            trigger(airflow, "mapped")
            states = wait_for_states(airflow, {"mapped"}, seconds=2100)["mapped"]
            wall = time.monotonic() - started
        submitted = Counter(
            one.statement for one in simulator.project.requests.values() if one.statement
        )
    return {
        "airflow": version,
        "min_deferral_s": seconds,
        "tasks": tasks,
        "failed": states["failed"],
        "succeeded": states["success"],
        "submitted": len(submitted),
        "twice": sum(count > 1 for count in submitted.values()),
        "wall_s": round(wall, 1),
    }


if __name__ == "__main__":
    shortest = None if sys.argv[2] == "default" else float(sys.argv[2])
    print("RESULT", json.dumps(main(int(sys.argv[1]), shortest, Path(sys.argv[3]))))
