"""
What early polls cost and bring: `PollPolicy.earliest_share` at its default, beside 0.

While the budget lies idle, requests are polled before their gap is over.  With
``earliest_share=0`` such polls come every 0.2 s if they can.  The default leaves those out that
can hardly find anything.  Both are the product itself, tracker, engine, schedule and limiter, on
a virtual clock, over the same round trips (median 80 ms), durations and seeds.

    python benchmarks/early_polls.py             tables
    python benchmarks/early_polls.py --check     exit with 1, name each missed figure
    python benchmarks/early_polls.py --json      one JSON object
    python benchmarks/early_polls.py --page P    the table into this page
    python benchmarks/early_polls.py -j 2        so many processes

Two parts: one to five requests that take minutes, where polls are to be saved; and 50 requests
that arrive over ten minutes, where next to nothing may be lost.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.delay import contestants  # noqa: E402
from benchmarks.delay.contestants import CONTESTANTS, Outcome, follow  # noqa: E402
from benchmarks.delay.workloads import SYNTHETIC, UNSEEN, Job, Workload, synthetic  # noqa: E402
from benchmarks.pages import tell  # noqa: E402
from onehouse_tracker import PollPolicy  # noqa: E402
from onehouse_tracker.testing import VirtualClockLoop  # noqa: E402

SECONDS = (60.0, 180.0, 600.0)
FEW = {
    f"{count} of {seconds:g} s": (count, seconds) for seconds in SECONDS for count in (1, 2, 3, 5)
}
SPREAD = 0.3
"""Of the durations of few requests: lognormal."""
MANY = 50
SEEDS_OF_FEW, SEEDS_OF_MANY = 20, 10

FEWER = 0.75
"""Polls of few requests, at most: the geometric mean of each duration."""
MEAN, WORST = 1.04, 1.15
"""Mean delay of 50 requests, at most: the geometric mean, and any single workload."""


class Task(NamedTuple):
    """One run."""

    name: str
    seed: int
    plain: bool


class Figures(NamedTuple):
    """What one run showed: polls of each request, and its delay in seconds, in the mean."""

    polls: float
    delay: float


def run(task: Task) -> tuple[Task, Figures]:
    """Do one run."""
    if task.name in FEW:
        count, seconds = FEW[task.name]
        random = Random(f"early polls {task.name} {task.seed}")
        draw = [seconds * math.exp(random.gauss(0.0, SPREAD)) for _ in range(count)]
        workload = Workload(task.name, tuple(Job(0.0, duration) for duration in draw), None)
    else:
        workload = synthetic(task.name, MANY, "staggered", task.seed)
    policy = PollPolicy(earliest_share=0.0) if task.plain else PollPolicy()
    with (
        mock.patch.dict(CONTESTANTS, {"early": contestants.ours(policy)}),
        asyncio.Runner(loop_factory=VirtualClockLoop) as runner,
    ):
        return task, _figures(workload, runner.run(follow("early", workload, task.seed)))


def _figures(workload: Workload, outcome: Outcome) -> Figures:
    delays = [outcome.detected[f"r{number}"] - job.end for number, job in enumerate(workload.jobs)]
    return Figures(outcome.polls / len(delays), statistics.fmean(delays))


def tasks() -> Iterator[Task]:
    """Say what is to be run, the longest first."""
    for names, seeds in (((*SYNTHETIC, *UNSEEN), SEEDS_OF_MANY), (FEW, SEEDS_OF_FEW)):
        for name in names:
            for seed in range(1, seeds + 1):
                for plain in (True, False):
                    yield Task(name, seed, plain)


def summary(done: Iterable[tuple[Task, Figures]]) -> dict[str, Any]:
    """Everything as one JSON object."""
    runs: dict[str, dict[bool, list[Figures]]] = defaultdict(lambda: defaultdict(list))
    for task, figures in done:
        runs[task.name][task.plain].append(figures)
    rows: dict[str, dict[str, float]] = {}
    for name, of in runs.items():
        polls, delay = (statistics.fmean(values) for values in zip(*of[False], strict=True))
        plain_polls, plain_delay = (
            statistics.fmean(values) for values in zip(*of[True], strict=True)
        )
        rows[name] = {
            "polls": round(polls, 1),
            "plain_polls": round(plain_polls, 1),
            "delay": round(delay, 3),
            "plain_delay": round(plain_delay, 3),
            "polls_share": round(polls / plain_polls, 3),
            "delay_share": round(delay / plain_delay, 3),
        }
    missed = []
    for seconds in SECONDS:
        share = statistics.geometric_mean(
            rows[name]["polls_share"] for name in FEW if FEW[name][1] == seconds
        )
        if share > FEWER:
            missed.append(f"few of {seconds:g} s: {share:.2f} of the polls, not {FEWER}")
    many = {name: row for name, row in rows.items() if name not in FEW}
    mean = statistics.geometric_mean(row["delay_share"] for row in many.values())
    polls = statistics.geometric_mean(row["polls_share"] for row in many.values())
    worst = max(many, key=lambda name: many[name]["delay_share"])
    if mean > MEAN:
        missed.append(f"{MANY} requests: the mean delay is {mean:.3f} of that without, not {MEAN}")
    if many[worst]["delay_share"] > WORST:
        missed.append(f"{MANY} of {worst}: {many[worst]['delay_share']:.2f}, not {WORST}")
    return {
        "few": {name: rows[name] for name in FEW},
        "many": many,
        "mean": {"polls_share": round(polls, 3), "delay_share": round(mean, 3)},
        "worst": worst,
        "missed": missed,
    }


def table(found: dict[str, Any]) -> str:
    """Write it as Markdown."""
    lines = [
        "| requests | polls of each (with 0) | mean delay, s (with 0) |",
        "|---|---|---|",
    ]
    for name, row in found["few"].items():
        lines.append(
            f"| {name} | {row['polls']:.0f} ({row['plain_polls']:.0f}) "
            f"| {row['delay']:.2f} ({row['plain_delay']:.2f}) |"
        )
    worst = found["many"][found["worst"]]
    for what, row in (
        (f"{MANY}, all workloads, share", found["mean"]),
        (f"{MANY}, {found['worst']}, the worst, share", worst),
    ):
        lines.append(f"| {what} | {row['polls_share']:.2f} | {row['delay_share']:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is missed")
    parser.add_argument("--page", type=Path, help="a page to write the table into")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("-j", "--workers", type=int, default=2, help="processes (default: 2)")
    options = parser.parse_args()
    with ProcessPoolExecutor(options.workers) as pool:
        found = summary(pool.map(run, tasks()))
    return tell(found, table(found), "early_polls.py", options)


if __name__ == "__main__":
    sys.exit(main())
