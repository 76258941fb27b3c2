"""
One run: a tracker follows healthy and sick requests until all healthy ones are done.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal, NamedTuple, TypeAlias

from benchmarks.sick.ways import REFUSED, PairedSource, SickSource, now
from onehouse_tracker import Tracker, events
from onehouse_tracker.errors import ProjectError
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.models import Outcome
from onehouse_tracker.testing import SimulatedProject, SlidingLog, VirtualClockLoop

__all__ = [
    "LIMIT",
    "Arrivals",
    "Cell",
    "Job",
    "Seen",
    "Where",
    "follow",
    "follow_cell",
    "jobs_of",
    "run_cell",
]

Arrivals: TypeAlias = Literal["staggered", "batch"]
Where: TypeAlias = Literal["random", "first", "last"]

LIMIT = 10  # requests per second of the project
MEAN_DURATION = 120.0  # seconds, exponential
LONGEST = 300.0  # seconds; what would take longer is drawn anew: few stragglers cost much time
SPAN = 200.0  # seconds over which staggered requests arrive
FOREVER = 1e9  # seconds
BEYOND = 300.0  # seconds after the end of the last healthy request in which a run goes on
QUIET = 60.0  # seconds after the last first refusal when the margin is looked at


class Cell(NamedTuple):
    """One run of the grid.  Without a way the sick requests are pending for ever."""

    way: str | None
    size: int
    percent: int
    arrivals: Arrivals
    seed: int
    where: Where
    after: int
    """Proper replies before a request falls sick."""

    calm: bool = False
    """Whether the round trips are nearly equal."""

    @property
    def reference(self) -> Cell:
        """The run that it is paired with."""
        return self._replace(way=None, after=0)


class Job(NamedTuple):
    """One request."""

    request_id: str
    start: float
    """When it is submitted, in seconds on the clock of the loop."""

    end: float
    """When the server finishes it."""


@dataclass(slots=True, kw_only=True)
class Seen:
    """What one run showed.  Times are seconds."""

    delays: list[float] = field(default_factory=list)
    """From the end of each healthy request to its result; until the run was stopped where
    there is none."""

    lost: int = 0
    """Healthy requests without a result."""

    harmed: dict[str, int] = field(default_factory=dict)
    """Healthy requests that did not succeed, by outcome."""

    sick: dict[str, int] = field(default_factory=dict)
    """Outcomes of sick requests."""

    outages: int = 0
    """How often an outage was declared."""

    error: str = ""
    """The error that failed everybody."""

    margin: float | None = None
    """That of the pace, a minute after the last sick request was refused for the first time."""


def run_cell(cell: Cell) -> Seen:
    """Do one run of the grid, on a virtual clock."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(follow_cell(cell))


async def follow_cell(cell: Cell) -> Seen:
    """Do one run of the grid, on the running (virtual) loop."""
    jobs = jobs_of(cell.size, cell.arrivals, cell.seed, since=now())
    sick = _sick(jobs, cell)
    project = SimulatedProject(enforcer=SlidingLog(LIMIT), seed=cell.seed, record=False)
    for job in jobs:
        duration = FOREVER if job.request_id in sick else job.end - job.start
        project.add(job.request_id, duration, submitted_at=job.start)
    limiter = LocalLimiter(LIMIT)
    seen = Seen()

    def look() -> None:
        seen.margin = limiter.stats().margin

    source = SickSource(
        project,
        cell.seed,
        sick=sorted(sick),
        way=cell.way,
        after=cell.after,
        calm=cell.calm,
        on_first_refusal=(lambda: _later(look)) if cell.way in REFUSED else _nothing,
    )
    await follow(jobs, source, limiter, seen, sick=sick, seed=cell.seed)
    return seen


def _nothing() -> None:
    """Other ways teach the pace nothing."""


def _later(look: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(QUIET, look)


def jobs_of(size: int, arrivals: Arrivals, seed: int, *, since: float = 0.0) -> list[Job]:
    """Draw the requests, in the order of their arrival; the first may come at *since*."""
    random = Random(f"{size} {arrivals} {seed} jobs")
    staggered = arrivals == "staggered"
    starts = sorted(since + (random.uniform(0.0, SPAN) if staggered else 0.0) for _ in range(size))
    return [
        Job(f"r{number}", start, start + _duration(random)) for number, start in enumerate(starts)
    ]


def _duration(random: Random) -> float:
    while True:
        duration = random.expovariate(1 / MEAN_DURATION)
        if duration <= LONGEST:
            return duration


def _sick(jobs: Sequence[Job], cell: Cell) -> frozenset[str]:
    count = max(1, round(len(jobs) * cell.percent / 100))
    if cell.where == "first":
        chosen = list(jobs[:count])
    elif cell.where == "last":
        chosen = list(jobs[-count:])
    else:
        chosen = Random(f"{cell.size} {cell.percent} {cell.seed} sick").sample(jobs, count)
    return frozenset(job.request_id for job in chosen)


async def follow(
    jobs: Sequence[Job],
    source: PairedSource,
    limiter: LocalLimiter,
    seen: Seen,
    *,
    sick: frozenset[str] = frozenset(),
    seed: int = 0,
    beyond: float = BEYOND,
    observer: events.Observer | None = None,
) -> None:
    """
    Track all *jobs* until each healthy one has an outcome, and note in *seen* what happened.

    The run is stopped *beyond* seconds after the last healthy request ended.
    """
    source.project.begin(asyncio.get_running_loop().time)
    ends = {job.request_id: job.end for job in jobs if job.request_id not in sick}
    stop_at = now() + max(ends.values()) + beyond
    detected: dict[str, float] = {}
    outcomes: Counter[str] = Counter()

    def note(event: events.Event) -> None:
        if isinstance(event, events.OutageBegan):
            seen.outages += 1

    observers = [note] if observer is None else [note, observer]
    async with Tracker(source, limiter=limiter, seed=seed, observers=observers) as tracker:
        try:
            async with (
                asyncio.timeout_at(stop_at),
                tracker.as_completed(_arrive(jobs)) as completions,
            ):
                async for result in completions:
                    if result.request_id in sick:
                        outcomes[result.outcome] += 1
                        continue
                    detected[result.request_id] = now()
                    if result.outcome is not Outcome.SUCCEEDED:
                        seen.harmed[result.outcome] = seen.harmed.get(result.outcome, 0) + 1
                    if len(detected) == len(ends):
                        break
        except TimeoutError:
            pass
        except ProjectError as error:
            seen.error = type(error).__name__
    seen.sick = dict(outcomes)
    seen.lost = len(ends) - len(detected)
    # At least that late, also where the run failed before it was stopped.
    seen.delays = [detected.get(name, stop_at) - end for name, end in ends.items()]


async def _arrive(jobs: Sequence[Job]) -> AsyncIterator[str]:
    for job in jobs:
        if job.start > now():
            await asyncio.sleep(job.start - now())
        yield job.request_id
