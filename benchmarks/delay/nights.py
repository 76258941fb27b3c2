"""
The same jobs night after night: what the history of earlier nights is worth, and what it may cost.

500 named jobs; the medians of their durations are lognormal (median 180 s, sigma 1.2), and so is
what differs from night to night (sigma 0.1, 0.3 or 0.6).  Two runs in a hundred take three times
as long or fail at once.  Five nights are learned from what the tracker itself observed, three are
measured.  The other cases are those in which earlier nights say little or the wrong thing.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import shutil
import statistics
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks.delay.contestants import LIMIT, round_trip
from onehouse_tracker import Request, Tracker
from onehouse_tracker.history import History
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.models import ApiStatus
from onehouse_tracker.testing import (
    SimulatedProject,
    SimulatedSource,
    SlidingLog,
    VirtualClockLoop,
)
from onehouse_tracker.testing.virtual_clock import InlineExecutor

__all__ = [
    "CASES",
    "LEARNED",
    "WORLDS",
    "Case",
    "Job",
    "NightTask",
    "Watch",
    "follow",
    "night",
    "report",
    "run",
    "table",
    "tasks",
]

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
JOBS = 500
MEDIAN, BETWEEN = 180.0, 1.2
LONGEST = 1200.0
"""Medians above it are drawn again: single jobs of hours would make it four times as long."""
SPAN = 600.0
LEARNED, MEASURED = 5, 3
WORLDS = (1, 2, 3, 5)
ODD = 0.02
NEW = 0.3
SERVERS = 16
SERVICE, SERVICE_BETWEEN = 8.0, 0.8


@dataclass(frozen=True, kw_only=True)
class Case:
    """One kind of nights, and what is expected: shares of the same run without the history."""

    mean: float
    p99: float = math.inf
    sigma: float = 0.3
    staggered: bool = False
    slower: float = 1.0
    """How much longer everything takes on the nights that are measured."""

    new: float = 0.0
    """Share of jobs with names that were never seen, on the nights that are measured."""

    exchanged: bool = False
    """Whether names go to other jobs on the nights that are measured."""

    queue: bool = False
    """Whether the server runs `SERVERS` at a time, in a new order each night."""

    cold: bool = False
    """Whether nothing is learned first."""


CASES: dict[str, Case] = {
    "sigma 0.1, batch": Case(sigma=0.1, mean=0.40, p99=0.88),
    "sigma 0.1, staggered": Case(sigma=0.1, staggered=True, mean=0.38, p99=0.83),
    "sigma 0.3, batch": Case(sigma=0.3, mean=0.56, p99=1.03),
    "sigma 0.3, staggered": Case(sigma=0.3, staggered=True, mean=0.58, p99=1.08),
    "sigma 0.6, batch": Case(sigma=0.6, mean=0.70, p99=1.08),
    "sigma 0.6, staggered": Case(sigma=0.6, staggered=True, mean=0.72, p99=1.18),
    "all twice as slow tonight": Case(slower=2.0, sigma=0.1, mean=0.60),
    "30 % new names": Case(new=NEW, mean=0.70),
    "names exchanged": Case(exchanged=True, mean=1.06, p99=1.2),
    "a queue in a new order": Case(queue=True, sigma=0.1, mean=1.06, p99=1.2),
    "cold start": Case(cold=True, mean=1.06, p99=1.2),
}


class NightTask(NamedTuple):
    """All nights of one case in one world, with the history or without."""

    case: str
    world: int
    history: bool


class Job(NamedTuple):
    """One job of one night."""

    name: str
    start: float
    duration: float
    ok: bool


def night(case: Case, world: int, number: int) -> list[Job]:
    """The jobs of one night, in the order of their submission."""
    whole = Random(f"nights {case.queue} {world}")
    middle, between = (SERVICE, SERVICE_BETWEEN) if case.queue else (MEDIAN, BETWEEN)
    medians: list[float] = []
    while len(medians) < JOBS:
        median = middle * math.exp(whole.gauss(0.0, between))
        if median <= LONGEST:
            medians.append(median)
    random = Random(f"night {case.sigma} {case.staggered} {case.queue} {world} {number}")
    measured = number > LEARNED or case.cold
    names = [f"job {place}" for place in range(JOBS)]
    if measured and case.exchanged:
        random.shuffle(names)
    if measured and case.new:
        for place in random.sample(range(JOBS), int(case.new * JOBS)):
            names[place] = f"new job {number} {place}"
    jobs = []
    for name, median in zip(names, medians, strict=True):
        duration = median * math.exp(random.gauss(0.0, case.sigma))
        duration *= case.slower if measured else 1.0
        luck, ok = random.random(), True
        if luck < ODD / 2:
            duration *= 3.0
        elif luck < ODD:
            duration, ok = random.uniform(0.5, 2.0), False
        start = random.uniform(0.0, SPAN) if case.staggered else 0.0
        jobs.append(Job(name, start, duration, ok))
    random.shuffle(jobs)
    if case.queue:
        jobs = list(_queued(jobs))
    return sorted(jobs, key=lambda job: job.start)


def _queued(jobs: list[Job]) -> Iterator[Job]:
    free_at = [0.0] * SERVERS
    for job in jobs:
        end = heapq.heappop(free_at) + job.duration
        heapq.heappush(free_at, end)
        yield job._replace(duration=end)


Watch = Callable[[Tracker, Mapping[str, object]], Coroutine[Any, Any, None]]
"""Runs beside a tracker until all has ended; it is given the IDs that are followed, too."""


async def follow(
    jobs: list[Job], history: History | None, seed: int, watch: Watch | None = None
) -> list[float]:
    """Track the jobs of one night; return how late each end was known."""
    project = SimulatedProject(enforcer=SlidingLog(LIMIT), record=False)
    for number, job in enumerate(jobs):
        status = ApiStatus.SUCCESS if job.ok else ApiStatus.FAILED
        project.add(f"r{number}", job.duration, status, submitted_at=job.start)
    source = SimulatedSource(project, round_trip=round_trip, seed=seed)
    loop = asyncio.get_running_loop()
    delays: list[float] = []
    pending: dict[str, None] = {}

    def wall_clock() -> datetime:
        return _EPOCH + timedelta(seconds=loop.time())

    async def requests() -> AsyncIterator[Request]:
        for number, job in enumerate(jobs):
            if job.start > loop.time():
                await asyncio.sleep(job.start - loop.time())
            pending[f"r{number}"] = None
            yield Request(f"r{number}", label=job.name, submitted_at=wall_clock())

    async with Tracker(
        source, limiter=LocalLimiter(LIMIT), seed=seed, history=history, wall_clock=wall_clock
    ) as tracker:
        watching = None if watch is None else asyncio.create_task(watch(tracker, pending))
        async for result in tracker.as_completed(requests()):
            del pending[result.request_id]
            late = loop.time() - project.finished_at(result.request_id)
            delays.append(late)
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])
    return delays


def run(task: NightTask) -> tuple[NightTask, list[float]]:
    """Go through all nights; return the delays of those that are measured, all together."""
    case = CASES[task.case]
    delays: list[float] = []
    changes = case.slower != 1.0 or case.new or case.exchanged
    with TemporaryDirectory() as directory:
        path, kept = Path(directory) / "history.db", Path(directory) / "kept.db"
        for number in range(1, LEARNED + MEASURED + 1):
            measured = number > LEARNED
            if not measured and (case.cold or not task.history):
                continue
            if case.cold:
                path.unlink(missing_ok=True)
            # What happens once is not learned: each such night comes after five usual ones.
            if changes and task.history and number == LEARNED + 1:
                shutil.copy(path, kept)
            if changes and task.history and measured:
                shutil.copy(kept, path)
            history = History(path, executor=InlineExecutor()) if task.history else None
            with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
                found = runner.run(follow(night(case, task.world, number), history, number))
            if measured:
                delays += found
    return task, delays


def tasks(worlds: Sequence[int], only: Sequence[str]) -> list[NightTask]:
    """Say what is to be run."""
    return [
        NightTask(name, world, history)
        for world in worlds
        for name in CASES
        if not only or name in only
        for history in (True, False)
    ]


def report(done: Mapping[NightTask, Sequence[float]]) -> dict[str, Any]:
    """Mean and p99 of all worlds together, with the history and as a share of without."""
    rows: dict[str, Any] = {}
    missed = []
    for name, case in CASES.items():
        of = {
            history: sorted(
                delay
                for task, delays in done.items()
                if (task.case, task.history) == (name, history)
                for delay in delays
            )
            for history in (True, False)
        }
        if not of[True]:
            continue
        mean, plain_mean = (statistics.fmean(of[history]) for history in (True, False))
        p99, plain_p99 = (of[history][int(0.99 * len(of[history]))] for history in (True, False))
        rows[name] = {
            "mean": round(mean, 2),
            "p99": round(p99, 1),
            "without_mean": round(plain_mean, 2),
            "without_p99": round(plain_p99, 1),
            "mean_share": round(mean / plain_mean, 3),
            "p99_share": round(p99 / plain_p99, 3),
        }
        for what, share, limit in (
            ("mean", mean / plain_mean, case.mean),
            ("p99", p99 / plain_p99, case.p99),
        ):
            if round(share, 2) > limit:
                missed.append(f"{name}: the {what} is {share:.2f} of without, not {limit:.2f}")
    return {"nights": rows, "missed": missed}


def table(summary: Mapping[str, Any]) -> str:
    """Write it as Markdown."""
    lines = [
        "| mean / p99 delay, s | without | with history | share | at most |",
        "|---|---|---|---|---|",
    ]
    for name, row in summary["nights"].items():
        case = CASES[name]
        most = f"{case.mean:.2f}" + ("" if math.isinf(case.p99) else f" / {case.p99:.2f}")
        lines.append(
            f"| {name} | {row['without_mean']:.3g} / {row['without_p99']:.3g}"
            f" | {row['mean']:.3g} / {row['p99']:.3g}"
            f" | {row['mean_share']:.2f} / {row['p99_share']:.2f} | {most} |"
        )
    return "\n".join(lines) + "\n"
