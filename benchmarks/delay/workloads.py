"""
Workloads for the detection-delay benchmark: when requests are submitted, and when they end.

Nine synthetic ones, six more that nothing was tuned on, and any CSV file with the columns
arrival_s, duration_s, kind.  A workload
depends on its name, its size, its arrival pattern and a seed, on nothing else: all contestants
of one cell get the same.
"""

from __future__ import annotations

import csv
import heapq
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal, TypeAlias

__all__ = [
    "SYNTHETIC",
    "UNSEEN",
    "Arrivals",
    "Job",
    "Law",
    "Trace",
    "Workload",
    "load_traces",
    "synthetic",
]

Arrivals: TypeAlias = Literal["staggered", "batch"]
Law: TypeAlias = Callable[[str | None, float], float]
"""The chance that a job of this label is done at this age, in seconds."""

LONGEST = 7200.0  # seconds; longer jobs are dropped
FEW = 500  # requests that arrive within ten minutes; more take half an hour
SPAN_OF_FEW = 600.0
SPAN_OF_MANY = 1800.0
LAW_DRAWS = 20_000


@dataclass(frozen=True, slots=True)
class Job:
    """One request: submitted at *start*, ended *duration* seconds later."""

    start: float
    duration: float
    label: str | None = None

    @property
    def end(self) -> float:
        """When the server finishes it."""
        return self.start + self.duration


@dataclass(frozen=True, slots=True)
class Workload:
    """Jobs in the order of their submission, and the law that made them if it is known."""

    name: str
    jobs: tuple[Job, ...]
    law: Law | None


def span(size: int) -> float:
    """Seconds over which staggered arrivals are spread."""
    return SPAN_OF_FEW if size <= FEW else SPAN_OF_MANY


# --- synthetic ---------------------------------------------------------------------------

Draw: TypeAlias = Callable[[Random], tuple[float, str | None]]


def _logn(median: float, sigma: float) -> Callable[[Random], float]:
    return lambda random: median * math.exp(random.gauss(0.0, sigma))


def _log_uniform(random: Random, low: float, high: float) -> float:
    return low * math.exp(random.uniform(0.0, math.log(high / low)))


def _bimodal(random: Random) -> float:
    if random.random() < 0.5:
        return random.uniform(1, 3)
    return _log_uniform(random, 120, 1800)


def _mix4(random: Random) -> tuple[float, str | None]:
    which = random.random()
    if which < 0.4:
        return random.uniform(1, 3), "ddl"
    if which < 0.7:
        return _logn(8, 0.8)(random), "query"
    if which < 0.9:
        return _logn(90, 0.4)(random), "ingest"
    return random.gauss(600, 60), "export"


def _unlabelled(draw: Callable[[Random], float]) -> Draw:
    return lambda random: (draw(random), None)


_INDEPENDENT: dict[str, Draw] = {
    "logn1": _unlabelled(_logn(20, 1)),
    "logn1.8": _unlabelled(_logn(20, 1.8)),
    "bimodal": _unlabelled(_bimodal),
    "pareto1.1": _unlabelled(lambda random: 2 * random.paretovariate(1.1)),
    "cluster60": _unlabelled(lambda random: random.gauss(60, 1)),
    "mix4": _mix4,
}
_QUEUES = {"fifo4": 4, "fifo16": 16}

SYNTHETIC = (*_INDEPENDENT, *_QUEUES, "drift")


def _labels12(random: Random) -> tuple[float, str]:
    which = random.randrange(12)
    return _logn(2 * 300 ** (which / 11), 0.5)(random), f"kind {which}"


_UNSEEN_INDEPENDENT: dict[str, Draw] = {
    "uniform": _unlabelled(lambda random: random.uniform(5, 120)),
    "gamma4": _unlabelled(lambda random: random.gammavariate(4, 15)),
    "weibull0.6": _unlabelled(lambda random: random.weibullvariate(30, 0.6)),
    "labels12": _labels12,
}

UNSEEN = (*_UNSEEN_INDEPENDENT, "lifo8", "siblings")
"""Laws that played no part when the schedule was made."""


def synthetic(name: str, size: int, arrivals: Arrivals, seed: int) -> Workload:
    """
    Build one of the `SYNTHETIC` or `UNSEEN` workloads.

    The queues run so many jobs at a time, in the order of submission; ``lifo8`` begins the
    newest first.  ``drift`` changes half-way from jobs of seconds to jobs of minutes.  Of
    ``siblings``, 25 that are submitted one after the other end within a few seconds.
    """
    random = Random(f"{name} {size} {arrivals} {seed}")
    starts = _starts(random, size, arrivals)
    law: Law | None = None
    if draw := _INDEPENDENT.get(name) or _UNSEEN_INDEPENDENT.get(name):
        jobs = [Job(start, *_bounded(random, draw)) for start in starts]
        law = _law_of(draw)
    elif name in _QUEUES:
        jobs = _queue(random, starts, _QUEUES[name])
    elif name == "lifo8":
        jobs = _stack(random, starts, 8)
    elif name == "siblings":
        jobs = _siblings(random, starts, 25)
    elif name == "drift":
        jobs = [
            Job(start, random.uniform(1, 3) if 2 * place < size else random.uniform(300, 900))
            for place, start in enumerate(starts)
        ]
    else:
        raise ValueError(f"there is no workload {name!r}")
    return Workload(name, tuple(jobs), law)


def _starts(random: Random, size: int, arrivals: Arrivals) -> list[float]:
    if arrivals == "batch":
        return [0.0] * size
    return sorted(random.uniform(0, span(size)) for _ in range(size))


def _bounded(random: Random, draw: Draw) -> tuple[float, str | None]:
    while True:
        duration, label = draw(random)
        if 0 < duration <= LONGEST:
            return duration, label


def _queue(random: Random, starts: Sequence[float], servers: int) -> list[Job]:
    service = _logn(5, 0.8)
    free_at = [0.0] * servers
    jobs = []
    for start in starts:
        end = max(start, heapq.heappop(free_at)) + service(random)
        heapq.heappush(free_at, end)
        jobs.append(Job(start, end - start))
    return jobs


def _stack(random: Random, starts: Sequence[float], servers: int) -> list[Job]:
    service = _logn(5, 0.8)
    free_at = [0.0] * servers
    waiting: list[int] = []
    ends = [0.0] * len(starts)
    for place, start in enumerate([*starts, math.inf]):
        while waiting and free_at[0] < start:
            newest = waiting.pop()
            began = max(starts[newest], heapq.heappop(free_at))
            ends[newest] = began + service(random)
            heapq.heappush(free_at, ends[newest])
        waiting.append(place)
    return [Job(start, end - start) for start, end in zip(starts, ends, strict=True)]


def _siblings(random: Random, starts: Sequence[float], size: int) -> list[Job]:
    jobs: list[Job] = []
    for first in range(0, len(starts), size):
        family = starts[first : first + size]
        end = family[-1] + random.expovariate(1 / 120)
        jobs += [Job(start, end + random.uniform(0.1, 3) - start) for start in family]
    return jobs


def _law_of(draw: Draw) -> Law:
    random = Random("law")
    return _EmpiricalLaw(_bounded(random, draw) for _ in range(LAW_DRAWS))


# --- from files --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trace:
    """What one CSV file holds: jobs in its order; their arrivals, if it has them."""

    name: str
    rows: tuple[tuple[float | None, float, str | None], ...]

    def workload(self, size: int, arrivals: Arrivals, seed: int) -> Workload:
        """
        Take *size* jobs.

        Staggered: so many rows in a row, their arrivals squeezed into the span, uniform where
        there are none.  Batch: drawn with replacement.
        """
        random = Random(f"{self.name} {size} {arrivals} {seed}")
        if arrivals == "batch":
            rows = random.choices(self.rows, k=size)
        else:
            first = random.randrange(max(1, len(self.rows) - size + 1))
            rows = [self.rows[(first + place) % len(self.rows)] for place in range(size)]
        known = [row[0] for row in rows]
        if arrivals == "staggered" and len(self.rows) >= size and None not in known:
            times = [time for time in known if time is not None]
            stretch = span(size) / max(1.0, times[-1] - times[0])
            starts = sorted((time - times[0]) * stretch for time in times)
        else:
            starts = _starts(random, size, arrivals)
        jobs = tuple(
            Job(start, _spread(random, duration), label)
            for start, (_, duration, label) in zip(starts, rows, strict=True)
        )
        return Workload(self.name, jobs, _EmpiricalLaw((row[1], row[2]) for row in self.rows))


def _spread(random: Random, duration: float) -> float:
    # Whole seconds would favor whoever looks at whole seconds.
    if duration != int(duration):
        return duration
    return max(0.05, duration + random.uniform(-0.5, 0.5))


def load_traces(folder: Path) -> list[Trace]:
    """Read every CSV file in *folder*; jobs longer than two hours are dropped."""
    traces = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = [
                (
                    float(row["arrival_s"]) if row["arrival_s"] else None,
                    float(row["duration_s"]),
                    row["kind"] or None,
                )
                for row in csv.DictReader(file)
            ]
        kept = tuple(row for row in rows if 0 <= row[1] <= LONGEST)
        if kept:
            traces.append(Trace(path.stem, kept))
    if not traces:
        raise FileNotFoundError(f"no CSV file with jobs in {folder}")
    return traces


class _EmpiricalLaw:
    """The share of the observed durations of a label that are over at an age."""

    def __init__(self, observed: Iterable[tuple[float, str | None]]) -> None:
        durations: dict[str | None, list[float]] = {}
        for duration, label in observed:
            durations.setdefault(label, []).append(duration)
        self._sorted = {label: sorted(values) for label, values in durations.items()}

    def __call__(self, label: str | None, age: float) -> float:
        values = self._sorted[label]
        return bisect_right(values, age) / len(values)
