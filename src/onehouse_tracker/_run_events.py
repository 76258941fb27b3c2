"""
What happened to runs and their checks, as events: a part of `events`.
"""

from __future__ import annotations

from dataclasses import dataclass

from onehouse_tracker._event import Event
from onehouse_tracker.run_results import RunOutcome

__all__ = ["CheckEnded", "RunDropped", "RunEnded", "RunFollowed", "RunOverdue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFollowed(Event):
    """A run is checked from now on."""

    job: str
    run_id: str
    request_id: str | None
    label: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOverdue(Event):
    """
    A run has been running for longer than 99 % of earlier runs of its job.

    Emitted once for each run, and only by trackers with a history that has proved right.
    """

    job: str
    run_id: str
    request_id: str | None
    label: str | None
    age: float
    """Seconds since it was started, as far as we were told."""

    usual: float
    """Seconds that it usually takes: half of all runs take longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(Event):
    """A run, or a statement given to ``tracker.runs``, has its outcome."""

    job: str | None
    run_id: str | None
    request_id: str | None
    label: str | None
    outcome: RunOutcome
    reason: str | None
    checks: int
    waited: float
    delay_bound: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDropped(Event):
    """A run that has not ended is not checked any more: nobody waits for it."""

    job: str
    run_id: str
    request_id: str | None
    label: str | None
    timed_out: bool
    """Whether the last who waited did so until a deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckEnded(Event):
    """A check of runs was answered, or not; no other event is about it."""

    job: str | None
    run_id: str | None
    """The run, where it was for one alone."""

    runs: int
    """How many runs it was for; more than one are listed together."""
    polls: int
    took: float
    outcome: str
