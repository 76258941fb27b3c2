"""
One run of a job at the simulated service: when it does what, and what it says at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import inf
from random import Random
from typing import NamedTuple

from onehouse_tracker.testing.faults import Draw, lognormal

__all__ = ["RUN_KINDS", "Plan", "RunKind", "SimulatedRun", "status_word"]

PREFIX = "SPARK_JOB_RUN_STATUS_"
NOT_RUN = f"{PREFIX}NOT_RUN"
QUEUED = f"{PREFIX}QUEUED"
RUNNING = f"{PREFIX}RUNNING"
COMPLETED = f"{PREFIX}COMPLETED"
FAILED = f"{PREFIX}FAILED"
CANCELED = f"{PREFIX}CANCELED"

_DURATION = lognormal(180.0, 0.8)
_QUEUED = lognormal(4.0, 0.5)

# Times are sums of decimals: what happens now has happened.
_EPSILON = 1e-9


def status_word(word: str | None) -> str | None:
    """The server's word for *word*: ``FAILED`` may be written without its prefix."""
    if word is None or word.startswith(PREFIX):
        return word
    return f"{PREFIX}{word}"


class Plan(NamedTuple):
    """What was drawn for one run; times in seconds from its beginning."""

    queued_after: float
    running_after: float
    ended_after: float
    status: str | None
    unlisted_after: float = inf
    vanished_after: float = inf
    unreachable_after: float = inf


@dataclass(frozen=True, slots=True, kw_only=True)
class RunKind:
    """
    How the runs of some jobs behave.

    Words may be given without ``SPARK_JOB_RUN_STATUS_``.

    Raises:
        ValueError: The chances to end in one way or another add up to more than 1.
    """

    job: str = "*"
    """Which jobs: a name in which ``*`` and ``?`` stand for anything, as in file names.  The
    first kind that fits decides."""

    duration: Draw | float = _DURATION
    """Seconds that a run is RUNNING; `math.inf` never ends."""

    queued: Draw | float = _QUEUED
    """Seconds that it is QUEUED before."""

    not_run: Draw | float = 0.0
    """Seconds that it is NOT_RUN before that; `math.inf` never becomes anything else."""

    failed: float = 0.0
    """Chance that it ends with FAILED."""

    canceled: float = 0.0
    """Chance that somebody else cancels it, at some time before it would have ended."""

    other: Mapping[str | None, float] = field(default_factory=dict)
    """Chances of other last words, e.g. ``{"INVALID": 0.1, "PAUSED": 0.1, None: 0.1}``; `None`
    is a run without any status."""

    unlisted: float = 0.0
    """Chance that listings no longer show it, from some time in its life on."""

    vanished: float = 0.0
    """Chance that neither listings nor DESCRIBE know it, from some time in its life on."""

    unreachable: float = 0.0
    """Chance that listings no longer show it, and that polls of a DESCRIBE of it are answered
    500, from some time in its life on."""

    def __post_init__(self) -> None:
        if self.failed + self.canceled + sum(self.other.values()) > 1 + _EPSILON:
            raise ValueError(f"the chances of the runs of {self.job!r} add up to more than 1")

    def fits(self, job: str) -> bool:
        """Whether it is about the runs of *job*."""
        return fnmatchcase(job, self.job)

    def draw(self, rng: Random, speed: float = 1.0) -> Plan:
        """Draw one run; *speed* divides every time."""
        queued_after = _seconds(self.not_run, rng) / speed
        running_after = queued_after + _seconds(self.queued, rng) / speed
        ended_after = running_after + _seconds(self.duration, rng) / speed
        # Drawn always, so that another chance does not change the runs that follow.
        chance, moment = rng.random(), rng.random()
        unlisted, vanished, unreachable, late = (rng.random() for _ in range(4))
        status = self._last_word(chance)
        middle = running_after if ended_after == inf else ended_after * late
        plan = Plan(
            queued_after,
            running_after,
            ended_after,
            status,
            unlisted_after=middle if unlisted < self.unlisted else inf,
            vanished_after=middle if vanished < self.vanished else inf,
            unreachable_after=middle if unreachable < self.unreachable else inf,
        )
        if status == CANCELED and ended_after < inf:
            plan = plan._replace(ended_after=ended_after * moment)
        return plan

    def _last_word(self, chance: float) -> str | None:
        ends = ((FAILED, self.failed), (CANCELED, self.canceled), *self.other.items())
        for word, share in ends:
            if chance < share:
                return status_word(word)
            chance -= share
        return COMPLETED


def _seconds(duration: Draw | float, rng: Random) -> float:
    return duration if isinstance(duration, int | float) else duration(rng)


RUN_KINDS: tuple[RunKind, ...] = (RunKind(failed=0.05, canceled=0.01),)
"""How runs behave if a `SimulatedProject` is not told otherwise; nobody documents it."""


@dataclass(slots=True, kw_only=True)
class SimulatedRun:
    """
    One run of a job: the truth about it.

    Times are seconds on the project's clock, and may lie in the future: what will happen was
    drawn when the run was started.  They can be changed while it runs.
    """

    run_id: str
    """Its ID."""

    job: str
    """The name of its job."""

    request_id: str | None
    """The request that started it; `None` if it was added by a test."""

    created_at: float
    """When it came into being, which is when that request ended."""

    queued_at: float
    """When it is QUEUED; before that it is NOT_RUN."""

    running_at: float
    """When it is RUNNING; infinite if it never is."""

    ended_at: float
    """When it says its last word; infinite if it never ends."""

    status: str | None
    """Its last word; `None` says none."""

    unlisted_at: float = inf
    """From when on listings do not show it."""

    vanished_at: float = inf
    """From when on the server does not know it."""

    unreachable_at: float = inf
    """From when on polls of a DESCRIBE or CANCEL of it are answered 500, and listings do not
    show it."""

    reports: list[tuple[float, float, str | None]] = field(default_factory=list)
    """What it says instead of the truth: from when, until when, which word."""

    def word_at(self, now: float) -> str | None:
        """What it says at *now*; `None` is no word."""
        for start, end, word in reversed(self.reports):
            if start - _EPSILON <= now < end - _EPSILON:
                return word
        if now >= self.ended_at - _EPSILON:
            return self.status
        if now >= self.running_at - _EPSILON:
            return RUNNING
        return QUEUED if now >= self.queued_at - _EPSILON else NOT_RUN

    def known_at(self, now: float) -> bool:
        """Whether DESCRIBE finds it at *now*."""
        return self.created_at - _EPSILON <= now < self.vanished_at - _EPSILON

    def listed_at(self, now: float) -> bool:
        """Whether listings show it at *now*."""
        gone_at = min(self.unlisted_at, self.unreachable_at)
        return self.known_at(now) and now < gone_at - _EPSILON

    def over_at(self, now: float) -> bool:
        """Whether it has ended at *now*."""
        return now >= self.ended_at - _EPSILON

    def end(self, at: float, status: str | None = COMPLETED) -> None:
        """End it at *at* with *status*, whatever was planned; the prefix may be left out."""
        self.ended_at = at
        self.status = status_word(status)
        if self.running_at > at:
            self.running_at = inf

    def cancel(self, at: float) -> bool:
        """Cancel it at *at*; `False` if it has ended before, and nothing changes."""
        if self.ended_at < at:
            return False
        self.end(at, CANCELED)
        return True

    def report(self, word: str | None, start: float, end: float = inf) -> None:
        """Let it say *word* from *start* to *end*, whatever the truth is; `None` is no word."""
        self.reports.append((start, end, status_word(word)))

    def shift(self, seconds: float) -> None:
        """Move all its times."""
        self.created_at += seconds
        self.queued_at += seconds
        self.running_at += seconds
        self.ended_at += seconds
        self.unlisted_at += seconds
        self.vanished_at += seconds
        self.unreachable_at += seconds
        self.reports = [
            (start + seconds, end + seconds, word) for start, end, word in self.reports
        ]
