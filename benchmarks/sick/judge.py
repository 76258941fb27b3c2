"""
What is asked for, and whether a run of the grid gives it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.sick.runs import Seen
from benchmarks.sick.ways import REFUSED

__all__ = ["Limits", "TaskResult", "judge", "limits_of", "p99"]

FEW = 50
"""Requests among which even two equal policies differ: they have wider limits."""

RARE = 2
"""Per cent up to which being refused for the rate is a way of being sick like any other."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Mean and p99 of the delays, at most, as shares of the reference."""

    mean: float
    p99: float

    def times(self, slack: float) -> Limits:
        """Widen both."""
        return Limits(self.mean * slack, self.p99 * slack)


FIFTH = Limits(1.15, 1.3)
FIFTH_OF_FEW = Limits(1.25, 1.5)
HALF = Limits(1.5, 2.5)
REFUSED_AT_MOST = {5: Limits(1.3, 1.4), 20: Limits(1.8, 3.0)}
"""Without Retry-After, up to so many per cent.  What is beyond, or has Retry-After and is not
rare, is only shown: who is refused that often can hardly tell requests from project."""


def limits_of(way: str, size: int, percent: int) -> Limits | None:
    """What is asked for in a cell; `None` where it is only shown."""
    usual = FIFTH_OF_FEW if size <= FEW else FIFTH
    if way in REFUSED and percent > RARE:
        if way != REFUSED[0]:
            return None
        for most, limits in REFUSED_AT_MOST.items():
            if percent <= most:
                return Limits(max(limits.mean, usual.mean), max(limits.p99, usual.p99))
        return None
    return usual if percent <= 20 else HALF


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """What the runs of one cell showed together."""

    mean: float
    """Seconds."""

    p99: float
    mean_of_reference: float
    p99_of_reference: float
    lost: int
    harmed: dict[str, int]
    outages: int
    errors: tuple[str, ...]
    limits: Limits | None

    @property
    def mean_ratio(self) -> float:
        """As a share of the reference."""
        return self.mean / self.mean_of_reference

    @property
    def p99_ratio(self) -> float:
        """As a share of the reference."""
        return self.p99 / self.p99_of_reference

    def missed(self) -> list[str]:
        """Name each figure that is not good enough."""
        limits = self.limits
        if limits is None:
            return []
        found = [
            f"{name} is {ratio:.2f} times that of the reference, not at most {most:.2f}"
            for name, ratio, most in (
                ("mean", self.mean_ratio, limits.mean),
                ("p99", self.p99_ratio, limits.p99),
            )
            if not ratio <= most
        ]
        if self.lost:
            found.append(f"{self.lost} healthy requests without a result")
        found += [f"{count} healthy requests {name}" for name, count in self.harmed.items()]
        found += [f"all failed with {error}" for error in self.errors]
        return found


def judge(runs: Sequence[Seen], references: Sequence[Seen], limits: Limits | None) -> TaskResult:
    """Pool the healthy requests of the runs of one cell, and those of their references."""
    delays = [delay for run in runs for delay in run.delays]
    usual = [delay for run in references for delay in run.delays]
    harmed: dict[str, int] = {}
    for run in runs:
        for name, count in run.harmed.items():
            harmed[name] = harmed.get(name, 0) + count
    return TaskResult(
        mean=statistics.fmean(delays),
        p99=p99(delays),
        mean_of_reference=statistics.fmean(usual),
        p99_of_reference=p99(usual),
        lost=sum(run.lost for run in runs),
        harmed=harmed,
        outages=sum(run.outages for run in runs),
        errors=tuple(sorted({run.error for run in runs if run.error})),
        limits=limits,
    )


def p99(delays: Iterable[float]) -> float:
    """Return the delay that 99 of 100 do not exceed."""
    ordered = sorted(delays)
    return ordered[max(0, math.ceil(0.99 * len(ordered)) - 1)]
