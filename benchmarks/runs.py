"""
How soon the end of job runs is known, on the virtual clock, against what others would do.

Run it with ``python benchmarks/runs.py``; ``--check`` fails where a figure of the table is
missed, and ``--page docs/explanations/how-job-runs-are-followed.md`` writes it there.

Runs end over ten minutes.  A check, SHOW RUNS IN JOB or DESCRIBE JOB_RUN, takes 1.5 s in the
median and says how things are at its end.  All contestants share the simulated project, which
enforces a sliding log of ten requests a second, the round trips, and our limiter.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import math
import statistics
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeAlias, TypeVar

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.pages import write_into  # noqa: E402
from onehouse_tracker import JobRun, Tracker  # noqa: E402
from onehouse_tracker.errors import ThrottledError  # noqa: E402
from onehouse_tracker.history import History  # noqa: E402
from onehouse_tracker.history._records import Lesson  # noqa: E402
from onehouse_tracker.limiters import LocalLimiter  # noqa: E402
from onehouse_tracker.models import ApiStatus  # noqa: E402
from onehouse_tracker.run_results import RunResult  # noqa: E402
from onehouse_tracker.runs import JOB_RUNS  # noqa: E402
from onehouse_tracker.testing import (  # noqa: E402
    Kind,
    SimulatedJobs,
    SimulatedProject,
    SimulatedSource,
    SlidingLog,
    VirtualClockLoop,
)
from onehouse_tracker.testing.faults import lognormal  # noqa: E402
from onehouse_tracker.testing.virtual_clock import InlineExecutor  # noqa: E402

T = TypeVar("T")

LIMIT = 10
SPAN = 600.0
SEEDS = 5
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
KNOWN_SIGMA = 0.3
OVER = tuple(f"{JOB_RUNS.word_prefix}{word}" for word in ("COMPLETED", "FAILED", "CANCELED"))


@dataclass(frozen=True, slots=True)
class World:
    """So many runs of so many jobs, and what is expected: shares of the best contestant."""

    name: str
    runs: int
    jobs: int
    mean: float
    worst: float
    known: bool = False
    """Whether the jobs have run before, and their runs take about as long each time."""


WORLDS = (
    World("50 runs of 50 jobs", 50, 50, 0.93, 1.1),
    World("500 runs of 500 jobs", 500, 500, 1.02, 1.1),
    World("500 runs of 500 jobs that are known", 500, 500, 0.6, 1.1, known=True),
    World("500 runs of 50 jobs", 500, 50, 0.88, 1.0),
    World("500 runs of 10 jobs", 500, 10, 1.05, 1.1),
    World("2,000 runs of 10 jobs", 2_000, 10, 1.05, 1.1),
    World("2,000 runs of 200 jobs", 2_000, 200, 0.97, 1.0),
)


class Planned(NamedTuple):
    """One run: its job, and when it ends."""

    job: str
    run_id: str
    ends: float


@dataclass(slots=True)
class Found:
    """What one contestant did.  Times are seconds."""

    delays: list[float] = field(default_factory=list)
    requests: int = 0
    checks: int = 0

    @property
    def mean(self) -> float:
        """The mean delay."""
        return statistics.fmean(self.delays)

    @property
    def worst(self) -> float:
        """The longest delay."""
        return max(self.delays)


def planned(world: World, seed: int) -> list[Planned]:
    """The runs of one world; they all are open at first."""
    draw = Random(f"{world.name} {seed}")
    medians = [SPAN * draw.uniform(0.05, 0.95) for _ in range(world.jobs)]
    found = []
    for number in range(world.runs):
        job = number % world.jobs
        ends = SPAN * draw.random()
        if world.known:
            ends = medians[job] * math.exp(draw.gauss(0.0, KNOWN_SIGMA))
        found.append(Planned(f"job_{job}", f"run-{number}", ends))
    return found


def earlier(world: World, seed: int) -> Iterator[Lesson]:
    """What ten earlier runs of each job took."""
    draw = Random(f"{world.name} {seed}")
    medians = [SPAN * draw.uniform(0.05, 0.95) for _ in range(world.jobs)]
    other = Random(f"{world.name} {seed} earlier")
    for _ in range(10):
        for job, median in enumerate(medians):
            took = median * math.exp(other.gauss(0.0, KNOWN_SIGMA))
            yield Lesson((f"j:job_{job}",), took, took)


# --- Contestants -------------------------------------------------------------------------------


class Wire:
    """The simulated source behind our limiter, for contestants that do everything by hand."""

    def __init__(self, project: SimulatedProject, source: SimulatedSource) -> None:
        self.project = project
        self._source = source
        self._limiter = LocalLimiter()
        self.checks = 0

    async def start(self) -> None:
        """Open the limiter."""
        await self._limiter.start()

    async def ask(self, statement: str, pause: float) -> dict[str, Any]:
        """Submit a statement and poll its request every *pause* seconds; its response."""
        self.checks += 1
        request_id = await self._answered(self._source.submit, statement)
        while True:
            await asyncio.sleep(pause)
            reply = await self._answered(self._source.fetch, request_id)
            if reply.status != ApiStatus.PENDING:
                return dict(reply.response or {})

    async def _answered(self, send: Callable[[str], Awaitable[T]], text: str) -> T:
        while True:
            await self._limiter.acquire()
            sent_at = now()
            try:
                return await send(text)
            except ThrottledError as error:
                self._limiter.throttled(sent_at, error.retry_after)


Follow: TypeAlias = Callable[[Wire, Sequence[Planned], Callable[[str], None]], Awaitable[None]]


async def describe_each(
    wire: Wire,
    runs: Sequence[Planned],
    over: Callable[[str], None],
    *,
    every: float,
    pause: float = 1.0,
) -> None:
    """One loop for each run: DESCRIBE it, and again *every* so many seconds."""

    async def follow(run: Planned) -> None:
        while True:
            asked = now()
            response = await wire.ask(JOB_RUNS.show_one(run.job, run.run_id), pause)
            word = response["describeJobRunApiResponse"]["sparkJobRun"].get("status")
            if word in OVER:
                over(run.run_id)
                return
            await asyncio.sleep(max(0.0, asked + every - now()))

    await asyncio.gather(*map(follow, runs))


async def show_in_a_loop(
    wire: Wire, runs: Sequence[Planned], over: Callable[[str], None], *, every: float
) -> None:
    """One loop for each job: SHOW its runs, and again *every* so many seconds."""
    by_job: dict[str, set[str]] = {}
    for run in runs:
        by_job.setdefault(run.job, set()).add(run.run_id)

    async def follow(job: str, left: set[str]) -> None:
        while left:
            asked = now()
            statement = JOB_RUNS.show_many(job) if JOB_RUNS.show_many is not None else ""
            response = await wire.ask(statement, 1.0)
            for row in response["showRunsApiResponse"]["jobRuns"]:
                run_id = row["jobRunId"]
                if run_id in left and row["sparkJobRun"].get("status") in OVER:
                    left.discard(run_id)
                    over(run_id)
            await asyncio.sleep(max(0.0, asked + every - now()))

    await asyncio.gather(*(follow(job, left) for job, left in by_job.items()))


def _sensor(wire: Wire, runs: Sequence[Planned], over: Callable[[str], None]) -> Awaitable[None]:
    """As the vendor's sensor: every 30 seconds, and the request is polled every 5."""
    return describe_each(wire, runs, over, every=30.0, pause=5.0)


async def _in_turn(wire: Wire, runs: Sequence[Planned], over: Callable[[str], None]) -> None:
    """DESCRIBE one after the other, twenty at a time, and begin again."""
    waiting = deque(runs)

    async def work() -> None:
        while waiting:
            run = waiting.popleft()
            response = await wire.ask(JOB_RUNS.show_one(run.job, run.run_id), 1.0)
            if response["describeJobRunApiResponse"]["sparkJobRun"].get("status") in OVER:
                over(run.run_id)
            else:
                waiting.append(run)

    while waiting:
        await asyncio.gather(*(work() for _ in range(20)))


def _each_30(wire: Wire, runs: Sequence[Planned], over: Callable[[str], None]) -> Awaitable[None]:
    return describe_each(wire, runs, over, every=30.0)


def _show(wire: Wire, runs: Sequence[Planned], over: Callable[[str], None]) -> Awaitable[None]:
    return show_in_a_loop(wire, runs, over, every=0.0)


def _show_10(wire: Wire, runs: Sequence[Planned], over: Callable[[str], None]) -> Awaitable[None]:
    return show_in_a_loop(wire, runs, over, every=10.0)


CONTESTANTS: dict[str, Follow] = {
    "a sensor for each run": _sensor,
    "DESCRIBE each in turn": _in_turn,
    "DESCRIBE each every 30 s": _each_30,
    "SHOW in a loop": _show,
    "SHOW every 10 s": _show_10,
}
OURS = "onehouse-tracker"
UNLEARNED = "onehouse-tracker without a history"
MOST_OF_UNLEARNED = 0.65
"""The share of the mean delay that a history leaves where jobs are known."""


def now() -> float:
    """The time of the loop."""
    return asyncio.get_running_loop().time()


def _project(runs: Sequence[Planned], seed: int) -> SimulatedProject:
    project = SimulatedProject(
        enforcer=SlidingLog(LIMIT),
        seed=seed,
        kinds=(Kind(label="", duration=lognormal(1.5, 0.5)),),
        jobs=SimulatedJobs(),
        record=False,
    )
    for run in runs:
        project.add_run(run.job, run.run_id, run.ends)
    return project


def contest(world: World, name: str, seed: int) -> Found:
    """Let one contestant follow one world to its end."""
    runs = planned(world, seed)
    project = _project(runs, seed)
    source = SimulatedSource(project, round_trip=lognormal(0.08, 0.4), seed=seed)
    found = Found()
    ends = {run.run_id: run.ends for run in runs}

    def over(run_id: str) -> None:
        found.delays.append(now() - ends[run_id])

    async def by_hand() -> None:
        wire = Wire(project, source)
        await wire.start()
        await CONTESTANTS[name](wire, runs, over)
        found.checks = wire.checks

    async def ours(history: History | None) -> None:
        clock = asyncio.get_running_loop().time
        tracker = Tracker(
            source,
            history=history,
            seed=seed,
            wall_clock=lambda: EPOCH + timedelta(seconds=clock()),
        )

        async def told(result: RunResult) -> None:
            over(result.run_id or "")

        async with tracker:
            # Without a history nobody knows when they were started, as in the other loops.
            begun = EPOCH if world.known else None
            wanted = [JobRun(run.job, run.run_id, started_at=begun) for run in runs]
            await tracker.runs.wait_all(wanted, on_result=told)
            found.checks = tracker.stats().checks

    with (
        TemporaryDirectory() as directory,
        asyncio.Runner(loop_factory=VirtualClockLoop) as runner,
    ):
        if name in CONTESTANTS:
            runner.run(by_hand())
        else:
            history = None
            if world.known and name == OURS:
                history = History(Path(directory) / "history.db", executor=InlineExecutor())
                history.add("", list(earlier(world, seed)), 0.1)
            runner.run(ours(history))
    found.requests = project.arrived
    assert len(found.delays) == world.runs
    return found


# --- Single figures ------------------------------------------------------------------------------


class Idle(NamedTuple):
    """What following one job costs in a tracker that has nothing else to do."""

    what: str
    mean: float
    requests_a_check: float
    checks: int
    most_checks: int


def idle(count_of_runs: int, seed: int) -> Idle:
    """One job with so many runs."""
    world = World(f"idle {count_of_runs}", count_of_runs, 1, 1.0, 1.0)
    found = contest(world, OURS, seed)
    last = max(run.ends for run in planned(world, seed)) + found.worst
    # The age of a run that others started counts from the moment at which it is followed.
    age, most = 0.0, 1
    while age < last:
        age += max(2.0, 0.3 * age ** (1 / 3))
        most += 1
    # Beside one question about a single run, which confirms what the listing says.
    return Idle(
        f"one job, {count_of_runs} run{'s' if count_of_runs > 1 else ''}",
        found.mean,
        found.requests / found.checks,
        found.checks,
        most + (2 if count_of_runs > 1 else 0),
    )


def starting(jobs: int = 300) -> float:
    """Seconds until so many jobs are started."""
    project = SimulatedProject(
        enforcer=SlidingLog(LIMIT),
        kinds=(
            Kind(label="RUN JOB", duration=lognormal(2.0, 0.3)),
            Kind(label="", duration=lognormal(1.5, 0.5)),
        ),
        seed=1,
    )
    source = SimulatedSource(project, round_trip=lognormal(0.08, 0.4))

    async def scenario() -> None:
        async with Tracker(source, seed=1) as tracker:
            wanted = [f"RUN JOB load_{number}" for number in range(jobs)]
            await tracker.runs.execute_all(wanted, timeout=60.0)

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(scenario())
    return max(
        request.submitted_at or math.inf
        for request in project.requests.values()
        if (request.statement or "").startswith("RUN JOB")
    )


# --- The table -----------------------------------------------------------------------------------


class Row(NamedTuple):
    """One world: the mean and worst delays of each contestant, means over the seeds."""

    world: World
    delays: dict[str, tuple[float, float]]
    requests_a_check: float
    unlearned: float | None = None
    """Our mean delay without the history, where the jobs are known."""

    @property
    def shares(self) -> tuple[float, float]:
        """Our mean and worst delay as shares of the best contestant's."""
        others = [value for name, value in self.delays.items() if name != OURS]
        best = min(others)
        mean, worst = self.delays[OURS]
        return mean / best[0], worst / best[1]

    @property
    def share_of_unlearned(self) -> float | None:
        """Our mean delay as a share of that without the history."""
        return None if self.unlearned is None else self.delays[OURS][0] / self.unlearned


def measure(world: World, seeds: Sequence[int]) -> Row:
    """Run all contestants in one world."""
    delays, cost = {}, 0.0
    for name in (*CONTESTANTS, OURS):
        found = [contest(world, name, seed) for seed in seeds]
        delays[name] = (
            statistics.fmean(one.mean for one in found),
            statistics.fmean(one.worst for one in found),
        )
        cost = sum(one.requests for one in found) / sum(one.checks for one in found)
        say(f"{world.name}: {name}: {delays[name][0]:.2f} / {delays[name][1]:.1f} s")
    unlearned = None
    if world.known:
        found = [contest(world, UNLEARNED, seed) for seed in seeds]
        unlearned = statistics.fmean(one.mean for one in found)
        say(f"{world.name}: {UNLEARNED}: {unlearned:.2f} s")
    return Row(world, delays, cost, unlearned)


def table(rows: Sequence[Row]) -> str:
    """The table for people."""
    names = [*CONTESTANTS, OURS]
    lines = [
        f"| mean / worst delay, s | {' | '.join(names)} | share | requests a check |",
        f"|---|{'---|' * (len(names) + 2)}",
    ]
    for row in rows:
        cells = [f"{row.delays[name][0]:.1f} / {row.delays[name][1]:.0f}" for name in names]
        mean, worst = row.shares
        lines.append(
            f"| {row.world.name} | {' | '.join(cells)} | {mean:.2f} / {worst:.2f}"
            f" | {row.requests_a_check:.2f} |"
        )
    return "\n".join(lines)


def told(rows: Sequence[Row], idles: Sequence[Idle], started: float | None) -> Iterator[str]:
    """The other figures, one paragraph each."""
    for row in rows:
        if row.unlearned is not None and row.share_of_unlearned is not None:
            yield (
                f"\n{row.world.name}, without the history: {row.unlearned:.1f} s;"
                f" the history leaves {row.share_of_unlearned:.2f} of it."
            )
    for one in idles:
        yield (
            f"\n{one.what}, nothing else to do: {one.mean:.2f} s late in the mean,"
            f" {one.checks} checks, {one.requests_a_check:.2f} requests each."
        )
    if started is not None:
        yield f"\n300 jobs are started in {started:.1f} s."


def missed(rows: Sequence[Row], idles: Sequence[Idle], started: float | None) -> list[str]:
    """The figures that are not reached."""
    found = []
    for row in rows:
        for what, share, most in zip(
            ("mean", "worst"), row.shares, (row.world.mean, row.world.worst), strict=True
        ):
            if share > most:
                found.append(f"{row.world.name}: the {what} is {share:.2f}, not {most}")
    found += [
        f"{row.world.name}: the mean is {left:.2f} of that without a history"
        for row in rows
        if (left := row.share_of_unlearned) is not None and left > MOST_OF_UNLEARNED
    ]
    found += [
        f"idle: {one}"
        for one in idles
        if one.requests_a_check > 3 or one.mean > 2.2 or one.checks > one.most_checks
    ]
    if started is not None and started > 36:
        found.append(f"300 jobs took {started:.1f} s to start, not 36")
    return found


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Run the benchmark as the command line asks; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is missed")
    parser.add_argument("--quick", action="store_true", help="one seed, and no 2,000 runs")
    parser.add_argument("--only", type=int, action="append", metavar="N", help="only this world")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--ours", action="store_true", help="no other contestant")
    parser.add_argument("--page", type=Path, help="a page that gets the table between its marks")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    began = time.monotonic()
    if options.ours:
        CONTESTANTS.clear()
    seeds = range(1 if options.quick else options.seeds)
    worlds = [WORLDS[number] for number in options.only or range(len(WORLDS))]
    if options.quick:
        worlds = [world for world in worlds if world.runs <= 500]
    rows = [measure(world, seeds) for world in worlds]
    if options.ours:
        return 0
    idles = [] if options.only else [idle(1, 1), idle(500, 1)]
    started = None if options.only else starting()
    text = "\n".join([table(rows), *told(rows, idles, started)])
    if options.json:
        print(json.dumps([{"world": row.world.name, **row.delays} for row in rows]))
    else:
        print(text)
    if options.page is not None:
        write_into(options.page, "runs.py", text)
    found = missed(rows, idles, started)
    for one_missed in found if options.check else ():
        say(f"missed: {one_missed}")
    say(f"{len(found)} figures missed; {time.monotonic() - began:.0f} s")
    return 1 if options.check and found else 0


if __name__ == "__main__":
    sys.exit(main())
