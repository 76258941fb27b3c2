"""
When are statements known to have ended, counted from the call that submits them?

All statements are handed over at once.  Each slot of the budget goes to a statement or to a poll:
ours, which decides by what a poll is likely to find, beside the plain rule that gives statements
every second slot while polls are due.  Both are the product itself, tracker, engine, schedule and
limiter, on a virtual clock, over the same round trips (median 80 ms), durations and seeds.

    python benchmarks/submitting.py             tables
    python benchmarks/submitting.py --check     exit with 1, name each missed figure
    python benchmarks/submitting.py --quick     one seed, up to 150 statements
    python benchmarks/submitting.py --json      one JSON object
    python benchmarks/submitting.py --page P    the tables into this page
    python benchmarks/submitting.py -j 2        so many processes

Two parts: N statements alone, of eight workloads; and 300 requests that are tracked already when
more statements are handed over, where nobody may be left waiting.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.delay.contestants import LIMIT, round_trip  # noqa: E402
from benchmarks.delay.workloads import synthetic  # noqa: E402
from benchmarks.pages import tell  # noqa: E402
from onehouse_tracker import Tracker  # noqa: E402
from onehouse_tracker._engine.turns import Turns  # noqa: E402
from onehouse_tracker.limiters import LocalLimiter  # noqa: E402
from onehouse_tracker.testing import (  # noqa: E402
    SimulatedProject,
    SimulatedSource,
    SlidingLog,
    VirtualClockLoop,
)

AROUND = {"5 s": 5.0, "20 s": 20.0, "60 s": 60.0, "180 s": 180.0}
SPREAD = 0.3
"""Four workloads around one duration: lognormal."""
WORKLOADS = (*AROUND, "logn1", "bimodal", "pareto1.1", "mix4")
SEEDS = {20: 5, 150: 5, 500: 5, 2000: 1}
WORKLOADS_OF_MOST = 6
# What can be had: of most workloads the longest statement decides about the makespan.
MUST = {20: (0.97, 0.98), 150: (0.96, 0.95), 500: (0.95, 0.96), 2000: (0.99, 0.99)}
"""Mean (known - call) and makespan as shares of those of every second slot: geometric means."""
WORST = 1.02
"""The mean of any single workload."""

TRACKED = 300
MORE = (300, 3000, 10_000)
SECONDS = (60.0, 600.0)
OLD_AT_MOST = {300: 1.1, 3000: 1.6, 10_000: 1.6}
"""How late those are known that were tracked before, as a share of every second slot."""


class Task(NamedTuple):
    """One run."""

    part: str
    name: str
    size: int
    seed: int
    plain: bool


class Figures(NamedTuple):
    """Seconds: what one run showed."""

    known: float
    """From the call to the moment when its end is known, in the mean."""

    makespan: float
    delay: float
    """Of the requests that were tracked before: from the end to when it is known, in the mean."""


class _Project(SimulatedProject):
    """Runs statement number n for as long as it is told."""

    def __init__(self, durations: Sequence[float]) -> None:
        super().__init__(enforcer=SlidingLog(LIMIT), record=False)
        self._durations = durations

    def _execute(self, statement: str, now: float) -> str:
        request_id = f"s{statement}"
        self.add(request_id, self._durations[int(statement)], submitted_at=now)
        return request_id


def _every_second(self: Turns, now: float, granted: int, waiting: int) -> bool:  # noqa: ARG001
    return granted > 0 or not waiting


def run(task: Task) -> tuple[Task, Figures]:
    """Do one run."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        if not task.plain:
            return task, runner.run(_run(task))
        with mock.patch.object(Turns, "poll_goes_first", _every_second):
            return task, runner.run(_run(task))


def _alone(task: Task, random: Random) -> tuple[list[float], list[str | None]]:
    if task.name in AROUND:
        median = AROUND[task.name]
        durations = [median * math.exp(random.gauss(0.0, SPREAD)) for _ in range(task.size)]
        return durations, [None] * task.size
    jobs = synthetic(task.name, task.size, "batch", task.seed).jobs
    return [job.duration for job in jobs], [job.label for job in jobs]


async def _run(task: Task) -> Figures:
    random = Random(f"submitting {task.name} {task.size} {task.seed}")
    labels: list[str | None]
    if task.part == "alone":
        durations, labels = _alone(task, random)
        old: list[float] = []
    else:
        seconds = float(task.name)
        draw = [seconds * math.exp(random.gauss(0.0, 0.5)) for _ in range(TRACKED + task.size)]
        old, durations = draw[:TRACKED], draw[TRACKED:]
        labels = [None] * task.size
    project = _Project(durations)
    for number, duration in enumerate(old):
        project.add(f"o{number}", duration, submitted_at=0.0)
    source = SimulatedSource(project, round_trip=round_trip, seed=task.seed)
    loop = asyncio.get_running_loop()
    known: list[float] = []
    delays: list[float] = []

    async with Tracker(source, limiter=LocalLimiter(LIMIT), seed=task.seed) as tracker:

        async def one(number: int) -> None:
            handle = await tracker.submit(str(number), label=labels[number])
            assert (await handle).ok
            known.append(loop.time())

        async def before() -> None:
            ids = [f"o{number}" for number in range(len(old))]
            async for result in tracker.as_completed(ids):
                late = loop.time() - project.finished_at(result.request_id)
                delays.append(late)

        async with asyncio.TaskGroup() as group:
            if old:
                group.create_task(before())
                await asyncio.sleep(1.0)
            called_at = loop.time()
            for number in range(task.size):
                group.create_task(one(number))
    return Figures(
        statistics.fmean(known) - called_at,
        max(known) - called_at,
        statistics.fmean(delays) if delays else 0.0,
    )


def tasks(*, quick: bool) -> Iterator[Task]:
    """Say what is to be run, the longest first."""
    for size in () if quick else sorted(MORE, reverse=True):
        for seconds in SECONDS:
            for plain in (True, False):
                yield Task("beside", f"{seconds:g}", size, 1, plain)
    for size in sorted(SEEDS, reverse=True):
        if quick and size > 150:
            continue
        for name in WORKLOADS[:WORKLOADS_OF_MOST] if size == max(SEEDS) else WORKLOADS:
            for seed in range(1, 2 if quick else SEEDS[size] + 1):
                for plain in (True, False):
                    yield Task("alone", name, size, seed, plain)


Shares = dict[tuple[str, int, str], Figures]


def shares(done: dict[Task, Figures]) -> Shares:
    """What ours is of every second slot: by part, size and workload, means over the seeds."""
    runs: dict[tuple[str, int, str], dict[bool, list[Figures]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for task, figures in done.items():
        runs[task.part, task.size, task.name][task.plain].append(figures)
    return {
        cell: Figures(*(
            sum(ours) / sum(plain) if sum(plain) else 1.0
            for ours, plain in zip(zip(*of[False], strict=True), zip(*of[True], strict=True),
                                   strict=True)
        ))
        for cell, of in runs.items()
    }  # fmt: skip


def summary(found: Shares) -> dict[str, Any]:
    """Everything as one JSON object."""
    alone: dict[str, Any] = {}
    beside: dict[str, Any] = {}
    missed = []
    for size, limits in MUST.items():
        cells = {name: of for (part, n, name), of in found.items() if (part, n) == ("alone", size)}
        if not cells:
            continue
        mean = statistics.geometric_mean([of.known for of in cells.values()])
        makespan = statistics.geometric_mean([of.makespan for of in cells.values()])
        for what, share, limit in zip(("mean", "makespan"), (mean, makespan), limits, strict=True):
            if round(share, 2) > limit:
                missed.append(f"{size} statements: the {what} is {share:.3f}, not {limit:.2f}")
        for name, of in cells.items():
            if round(of.known, 2) > WORST:
                missed.append(f"{size} statements, {name}: the mean is {of.known:.3f}")
        alone[str(size)] = {
            "mean": round(mean, 3),
            "makespan": round(makespan, 3),
            "by_workload": {
                name: [round(of.known, 3), round(of.makespan, 3)] for name, of in cells.items()
            },
        }
    for (part, size, name), of in found.items():
        if part == "alone":
            continue
        where = f"{size} of {name} s"
        beside[where] = {what: round(share, 3) for what, share in of._asdict().items()}
        if of.delay > OLD_AT_MOST[size]:
            missed.append(f"{where}: those tracked before wait {of.delay:.2f} times as long")
    return {"alone": alone, "beside": beside, "missed": missed}


def table(found: dict[str, Any]) -> str:
    """Write both parts as Markdown."""
    alone = found["alone"]
    lines = [
        "| mean / makespan | " + " | ".join(f"N = {size}" for size in alone) + " |",
        "|---" * (len(alone) + 1) + "|",
    ]
    for name in WORKLOADS:
        rows = [of["by_workload"].get(name) for of in alone.values()]
        texts = [f"{row[0]:.2f} / {row[1]:.2f}" if row else "" for row in rows]
        lines.append(f"| {name} | " + " | ".join(texts) + " |")
    texts = [f"{of['mean']:.2f} / {of['makespan']:.2f}" for of in alone.values()]
    lines.append("| **geometric mean** | " + " | ".join(texts) + " |")
    if found["beside"]:
        head = f"| {TRACKED} tracked before, submitted then | their delay | new: mean | makespan |"
        lines += ["", head, "|---|---|---|---|"]
        lines += [
            f"| {name} | {row['delay']:.2f} | {row['known']:.2f} | {row['makespan']:.2f} |"
            for name, row in found["beside"].items()
        ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is missed")
    parser.add_argument("--quick", action="store_true", help="one seed, up to 150 statements")
    parser.add_argument("--page", type=Path, help="a page to write the tables into")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("-j", "--workers", type=int, default=2, help="processes (default: 2)")
    options = parser.parse_args()
    started = time.monotonic()
    with ProcessPoolExecutor(options.workers) as pool:
        done = dict(pool.map(run, tasks(quick=options.quick)))
    found = summary(shares(done)) | {"took_s": round(time.monotonic() - started, 1)}
    return tell(found, table(found), "submitting.py", options)


if __name__ == "__main__":
    sys.exit(main())
