"""
100 requests of 60 seconds on 4 worker slots of Airflow: our operators beside the vendor's.

Each contestant has a simulated project of its own that lets in 10 requests in any second, and
runs its operators in Airflow 2.11, on threads that stand for worker slots.  What Airflow itself
needs to start a task, which is the same for all but twice for a task that defers, is not part of
the figures.

tracker       all 100 tasks on 4 slots: measured
vendor        8 tasks on 4 slots that begin a second apart: measured; 100 tasks are 25 rounds of 4:
              derived from these
vendor_many   100 tasks on 100 slots, so that all can run at once: measured; it shows how many
              requests are lost when the polls of tasks that know nothing of each other meet the
              limit

They run at the same time, which takes two to three minutes.

With --jobs, 50 jobs are run to the end of their runs, which take 60 seconds each:

one_task      one operator of ours, that defers: measured
sensors       the vendor's operator and sensor for each of 8 jobs, on 4 slots: measured; 50 jobs
              are derived from these

With --mapped, 200 mapped tasks with statements of 1 to 20 seconds run without retries in a running
Airflow with a scheduler, 4 slots and a triggerer: in 2.11 as it is, and in 3 with a shortest
deferral of 0, 4 and 8 seconds.  That takes about ten minutes for each of the four.

    python benchmarks/airflow.py                      a table
    python benchmarks/airflow.py --jobs               the same two for runs of jobs
    python benchmarks/airflow.py --mapped             how many of the mapped tasks fail
    python benchmarks/airflow.py --mapped --only 'airflow3 8'    one of the four
    python benchmarks/airflow.py --json               one JSON object
    python benchmarks/airflow.py --page PAGE          write the table into a page, too

It needs `make install-airflow2 install-vendor-airflow`, --mapped `make install-airflow3`, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.pages import write_into  # noqa: E402
from onehouse_tracker.testing import (  # noqa: E402
    Kind,
    RunKind,
    SimulatedJobs,
    SimulatedProject,
    SimulatorServer,
    make_enforcer,
)

CLIENTS = Path(__file__).resolve().parent / "clients"
OURS = ROOT / ".venv-airflow2" / "bin"
THEIRS = ROOT / ".venv-vendor-airflow" / "bin"

LIMIT = 10.0  # requests per second
TASKS = 100
SLOTS = 4
DURATION = 60.0  # seconds that each request takes
FEW = 8  # tasks that the vendor's operators are measured with: two rounds
JOBS = 50
RUN = 60.0  # seconds that each run takes
MAPPED = 200  # tasks of --mapped
MAPPED_IN = ("airflow2 default", "airflow3 0", "airflow3 4", "airflow3 8")
PATIENCE = 420.0  # seconds after which a contestant is stopped


def _connection(url: str, limiter: str) -> dict[str, Any]:
    extra = {
        "project_uid": "p",
        "user_id": "u",
        "api_key": "k",
        "api_secret": "s",
        "link_uid": "l",
        "region": "us-west-2",
        "account_uid": "a",
        "limiter": limiter,
    }
    return {"conn_type": "generic", "host": url, "extra": json.dumps(extra)}


async def _call(
    command: Sequence[str | Path], environment: dict[str, str], patience: float = PATIENCE
) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(patience):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise SystemExit(f"{command[1]} failed:\n{err.decode()[-2000:]}")
    return out.decode()


async def measure(
    name: str, home: Path, tasks: int, slots: int, *, jobs: bool = False
) -> dict[str, Any]:
    """Run one contestant against a project of its own, and return its figures."""
    ours = name in {"tracker", "one_task"}
    quick = [Kind(label=label, duration=1.0) for label in ("RUN JOB", "SHOW", "DESCRIBE")]
    project = SimulatedProject(
        enforcer=make_enforcer("sliding", LIMIT),
        kinds=quick if jobs else [Kind(label="RUN JOB", duration=DURATION)],
        jobs=SimulatedJobs(kinds=[RunKind(queued=1.0, duration=RUN)]),
    )
    home = home / name
    home.mkdir()
    async with SimulatorServer(project, record=False) as server:
        connection = _connection(server.url, f"host:{home / 'budget'}")
        environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT) if ours else "",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_ONEHOUSE_DEFAULT": json.dumps(connection),
        }
        if ours:
            # Where tasks write down what they submit.
            await _call([OURS / "airflow", "db", "migrate"], environment)
            script = "airflow_jobs.py" if jobs else "airflow_tracker.py"
            program: list[str | Path] = [OURS / "python", CLIENTS / script]
        else:
            program = [THEIRS / "python", CLIENTS / "airflow_vendor.py"]
        command = [*program, str(tasks), str(slots), json.dumps(connection)]
        command += ["jobs"] if jobs else []
        command += [] if ours or slots > SLOTS else ["apart"]
        out = await _call(command, environment)
    line = next(line for line in out.splitlines() if line.startswith("RESULT "))
    told = json.loads(line.removeprefix("RESULT "))
    failures = [task["failure"] for task in told["tasks"] if task["failure"]]
    return {
        "tasks": tasks,
        "slots": slots,
        "wall_s": round(told["wall_s"], 1),
        "slot_s": round(sum(task["slot_s"] for task in told["tasks"]), 1),
        "lost": len(failures),
        "refused": project.refused,
        "requests": project.arrived,
        "first_failure": failures[0] if failures else None,
        "derived": False,
    }


def derive(measured: dict[str, Any], tasks: int = TASKS) -> dict[str, Any]:
    """What the vendor's operators need for all tasks, of what they needed for a few."""
    rounds = -(-tasks // SLOTS) / (measured["tasks"] / measured["slots"])
    return {
        **measured,
        "tasks": tasks,
        "wall_s": round(measured["wall_s"] * rounds, 1),
        "slot_s": round(measured["slot_s"] * tasks / measured["tasks"], 1),
        # Whether a burst is refused depends on chance: what a few lost says little of many.
        "lost": None,
        "refused": None,
        "requests": round(measured["requests"] * tasks / measured["tasks"]),
        "derived": True,
    }


async def main() -> dict[str, Any]:
    """Measure all contestants at the same time."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        tracker, vendor, many = await asyncio.gather(
            measure("tracker", home, TASKS, SLOTS),
            measure("vendor", home, FEW, SLOTS),
            measure("vendor_many", home, TASKS, TASKS),
        )
    return {
        "tracker": tracker,
        "vendor_measured": vendor,
        "vendor": derive(vendor),
        "vendor_many": many,
    }


async def main_jobs() -> dict[str, Any]:
    """Measure how jobs are run to their end."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        ours, theirs = await asyncio.gather(
            measure("one_task", home, JOBS, SLOTS, jobs=True),
            measure("sensors", home, FEW, SLOTS, jobs=True),
        )
    return {"one_task": ours, "sensors_measured": theirs, "sensors": derive(theirs, JOBS)}


async def main_mapped(wanted: Sequence[str]) -> dict[str, Any]:
    """Count how many mapped tasks fail, for versions and shortest deferrals."""
    found = {}
    for name in wanted:
        version, seconds = name.split()
        with tempfile.TemporaryDirectory() as directory:
            command: list[str | Path] = [
                ROOT / f".venv-{version}" / "bin" / "python",
                CLIENTS / "airflow_mapped.py",
                str(MAPPED),
                seconds,
                directory,
            ]
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "AIRFLOW_HOME": directory}
            out = await _call(command, environment, patience=2400.0)
        line = next(line for line in out.splitlines() if line.startswith("RESULT "))
        found[name] = json.loads(line.removeprefix("RESULT "))
    return found


def _told(number: float | None) -> str:
    return "" if number is None else f"{number:,}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table(figures: dict[str, Any], names: dict[str, str], what: str) -> str:
    """Write the figures of contestants as Markdown, of tasks or of jobs."""
    heads = (
        "",
        what,
        "slots",
        "wall time",
        "worker-slot seconds",
        "requests used",
        "lost",
    )
    lines = [_row(heads), _row(["---"] * len(heads))]
    for key, of in figures.items():
        cells = [f"{names[key]}, derived" if of["derived"] else names[key]]
        cells += [_told(of["tasks"]), _told(of["slots"]), f"{of['wall_s']:,.0f} s"]
        cells += [f"{of['slot_s']:,.0f}", _told(of["requests"]), _told(of["lost"])]
        lines.append(_row(cells))
    return "\n".join(lines) + "\n"


def mapped_table(figures: dict[str, Any]) -> str:
    """Write the figures of mapped tasks as Markdown."""
    heads = ("Airflow", "shortest deferral", "tasks", "failed", "submitted twice", "wall time")
    lines = [_row(heads), _row(["---"] * len(heads))]
    for of in figures.values():
        seconds = of["min_deferral_s"]
        lines.append(
            _row(
                [
                    of["airflow"],
                    "none" if seconds is None else f"{seconds:g} s",
                    *(_told(of[name]) for name in ("tasks", "failed", "twice")),
                    f"{of['wall_s']:,.0f} s",
                ]
            )
        )
    return "\n".join(lines) + "\n"


NAMES = {
    "tracker": "here",
    "vendor_measured": "the vendor's operators",
    "vendor": "the vendor's operators",
    "vendor_many": "the vendor's operators, all at once",
}
NAMES_OF_JOBS = {
    "one_task": "here, in one task",
    "sensors_measured": "the vendor's operator and sensor",
    "sensors": "the vendor's operator and sensor",
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Our operators for Airflow beside the vendor's.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--jobs", action="store_true", help="run jobs to the end of their runs")
    what.add_argument("--mapped", action="store_true", help="run mapped tasks without retries")
    parser.add_argument(
        "--only", action="append", choices=MAPPED_IN, help="of --mapped, only this one"
    )
    parser.add_argument("--page", type=Path, help="a page to write the table into")
    arguments = parser.parse_args()
    for needed in ("airflow2", "airflow3" if arguments.mapped else "vendor-airflow"):
        if not (ROOT / f".venv-{needed}" / "bin" / "python").exists():
            sys.exit(f".venv-{needed} is missing: make install-{needed}")
    if arguments.mapped:
        result = asyncio.run(main_mapped(arguments.only or MAPPED_IN))
        mark, text = "airflow.py --mapped", mapped_table(result)
    elif arguments.jobs:
        result = asyncio.run(main_jobs())
        mark, text = "airflow.py --jobs", table(result, NAMES_OF_JOBS, "jobs")
    else:
        result = asyncio.run(main())
        mark, text = "airflow.py", table(result, NAMES, "tasks")
    if arguments.page:
        write_into(arguments.page, mark, text)
    print(json.dumps(result, indent=2) if arguments.json else text)
