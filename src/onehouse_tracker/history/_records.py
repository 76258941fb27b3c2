"""
What is remembered of the runs of one name: three numbers.

It is the natural logarithm of durations that is remembered, because runs differ by factors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

__all__ = [
    "JOBS",
    "MOST_NAMES",
    "MOST_RUNS",
    "SHORTEST",
    "Lesson",
    "Record",
    "common_variance",
    "shrunk",
    "taught",
]

JOBS = "j:"
"""What the names of jobs begin with; those of requests do not."""

MOST_RUNS = 10
"""Runs that count: later ones push earlier ones out, little by little."""

MOST_NAMES = 100_000
"""Names of one project that are remembered; in the file those that ran longest ago go first."""

SURPRISE = 2.5
"""A run whose logarithm is off by more than so many spreads counts as that many."""

NARROWEST, WIDEST = 0.03, 3.0
"""Bounds of the spread of one name."""

PRIOR_RUNS = 4.0
PRIOR_SPREAD = 0.5
"""The spread that all names have in common, before anything is known, and what that counts."""

SHRINK_RUNS = 5.0
"""Runs that the common spread counts for beside those of one name."""

SHORTEST = 0.01
_NO_TIME = 1e-6


class Record(NamedTuple):
    """The runs of one name."""

    runs: float
    """How many, at most `MOST_RUNS`."""

    mean: float
    variance: float


class Lesson(NamedTuple):
    """One run that succeeded: it lasted between *least* and *most* seconds."""

    names: tuple[str, ...]
    least: float
    most: float

    @property
    def seconds(self) -> float:
        """
        How long it took, as far as we know: every moment in between is as likely as any other.

        Of these it is the one whose logarithm is the mean of theirs: logarithms are remembered.
        """
        least, most = max(self.least, SHORTEST), max(self.most, SHORTEST)
        if most - least < _NO_TIME * most:
            return most
        weighted = most * math.log(most) - least * math.log(least)
        return math.exp(weighted / (most - least) - 1.0)


def taught(record: Record | None, seconds: float, common: float) -> Record:
    """What is remembered after one more run; *common* is the variance of names in general."""
    value = math.log(max(seconds, SHORTEST))
    if record is None:
        return Record(1.0, value, 0.0)
    runs = min(record.runs, MOST_RUNS - 1.0)
    most = SURPRISE * math.sqrt(shrunk(record, common) * (1.0 + 1.0 / runs))
    surprise = min(most, max(-most, value - record.mean))
    step = surprise / (runs + 1.0)
    variance = (runs * record.variance + surprise * (surprise - step)) / (runs + 1.0)
    return Record(runs + 1.0, record.mean + step, variance)


def shrunk(record: Record, common: float) -> float:
    """The variance of one name, drawn towards that of all names: few runs say little about it."""
    squares = record.runs * record.variance + SHRINK_RUNS * common
    variance = squares / (max(record.runs - 1.0, 0.0) + SHRINK_RUNS)
    return min(max(variance, NARROWEST**2), WIDEST**2)


def common_variance(records: Iterable[Record]) -> float:
    """The variance that names have in common, from those with more than one run."""
    squares, freedom = PRIOR_RUNS * PRIOR_SPREAD**2, PRIOR_RUNS
    for record in records:
        if record.runs > 1.0:
            squares += record.runs * record.variance
            freedom += record.runs - 1.0
    return squares / freedom
