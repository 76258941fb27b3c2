"""
100 requests of 60 seconds on 4 worker slots of Airflow: our operators beside the vendor's.

Each contestant has a simulated project of its own that lets in 10 requests in any second, and
runs its operators in Airflow 2.11, on threads that stand for worker slots.  What Airflow itself
needs to start a task, which is the same for all but twice for a task that defers, is not part of
the figures.

tracker       all 100 tasks on 4 slots: measured
vendor        8 tasks on 4 slots: measured; 100 tasks are 25 rounds of 4: derived from these
vendor_many   100 tasks on 100 slots, so that all can run at once: measured; it shows how many
              requests are lost when the polls of tasks that know nothing of each other meet the
              limit

They run at the same time, which takes two to three minutes.

    python benchmarks/airflow.py            a table
    python benchmarks/airflow.py --json     one JSON object

It needs `make install-airflow2 install-vendor-airflow`.
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

from onehouse_tracker.testing import Kind, SimulatedProject, SimulatorServer, make_enforcer

ROOT = Path(__file__).resolve().parents[1]
CLIENTS = Path(__file__).resolve().parent / "clients"
OURS = ROOT / ".venv-airflow2" / "bin"
THEIRS = ROOT / ".venv-vendor-airflow" / "bin"

LIMIT = 10.0  # requests per second
TASKS = 100
SLOTS = 4
DURATION = 60.0  # seconds that each request takes
FEW = 8  # tasks that the vendor's operators are measured with: two rounds
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


async def _call(command: Sequence[str | Path], environment: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise SystemExit(f"{command[1]} failed:\n{err.decode()[-2000:]}")
    return out.decode()


async def measure(name: str, home: Path, tasks: int, slots: int) -> dict[str, Any]:
    """Run one contestant against a project of its own, and return its figures."""
    ours = name == "tracker"
    project = SimulatedProject(
        enforcer=make_enforcer("sliding", LIMIT),
        kinds=[Kind(label="RUN JOB", duration=DURATION)],
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
            program: list[str | Path] = [OURS / "python", CLIENTS / "airflow_tracker.py"]
        else:
            program = [THEIRS / "python", CLIENTS / "airflow_vendor.py"]
        command = [*program, str(tasks), str(slots), json.dumps(connection)]
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


def derive(measured: dict[str, Any]) -> dict[str, Any]:
    """What the vendor's operators need for all tasks, of what they needed for a few."""
    rounds = -(-TASKS // SLOTS) / (measured["tasks"] / measured["slots"])
    return {
        **measured,
        "tasks": TASKS,
        "wall_s": round(measured["wall_s"] * rounds, 1),
        "slot_s": round(measured["slot_s"] * TASKS / measured["tasks"], 1),
        # Whether a burst is refused depends on chance: what a few lost says little of many.
        "lost": None,
        "refused": None,
        "requests": round(measured["requests"] * TASKS / measured["tasks"]),
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


def _told(number: int | None) -> str:
    return "-" if number is None else str(number)


def table(figures: dict[str, Any]) -> str:
    """The figures for people."""
    lines = [f"{'':18}{'tasks':>7}{'slots':>7}{'wall s':>9}{'slot s':>9}{'lost':>6}{'refused':>9}"]
    for name, of in figures.items():
        lines.append(
            f"{name:18}{of['tasks']:>7}{of['slots']:>7}{of['wall_s']:>9}{of['slot_s']:>9}"
            f"{_told(of['lost']):>6}{_told(of['refused']):>9}"
            f"{'   derived' if of['derived'] else ''}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Our operators for Airflow beside the vendor's.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    for place in (OURS, THEIRS):
        if not (place / "python").exists():
            sys.exit(
                f"{place.parent.name} is missing: make install-airflow2 install-vendor-airflow"
            )
    result = asyncio.run(main())
    print(json.dumps(result, indent=2) if arguments.json else table(result))
