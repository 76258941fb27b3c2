"""
How long the runs of one tracker will still take, for the engine's forecasts and for users.

Bookkeeping only: no clock, no I/O, no tasks; callers pass the time in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from onehouse_tracker._engine.schedule.time_left import Running, left_of

if TYPE_CHECKING:
    from onehouse_tracker._engine.forecasts import Forecasts
    from onehouse_tracker.results import TimeLeft
    from onehouse_tracker.runs._chances import Chances
    from onehouse_tracker.runs._followed import Followed
    from onehouse_tracker.runs._kinds import Kinds
    from onehouse_tracker.runs._plan import Plan
    from onehouse_tracker.runs._run import Run

__all__ = ["RunForecasts"]


class RunForecasts:
    """
    Forecasts of runs, as a part of those of their tracker.

    Args:
        running: The runs that are followed.

        starting: What is being sent, or has no run yet.

        plan: Where runs are found.

        kinds: What kinds of work there are.

        chances: What is known about how long runs take.

        requests: The forecasts of the tracker, which are about these runs too from now on.
    """

    def __init__(
        self,
        running: Mapping[Run, Followed],
        starting: Mapping[Followed, None],
        plan: Plan,
        kinds: Kinds,
        chances: Chances,
        requests: Forecasts,
    ) -> None:
        self._running = running
        self._starting = starting
        self._plan = plan
        self._kinds = kinds
        self._chances = chances
        self._requests = requests
        requests.runs = self

    def __len__(self) -> int:
        return len(self._running) + len(self._starting)

    @property
    def overdue(self) -> int:
        """How many runs have been running for unusually long."""
        return sum(run.overdue for run in self._running)

    def left(self, followed: Followed, now: float) -> TimeLeft | None:
        """How long it will still take at the loop time *now*, if that is known."""
        if followed.run is not None:
            is_open = followed.run in self._running
            return left_of(self._chances.running(followed.run, now)) if is_open else None
        if followed not in self._starting:
            return None
        if followed.kind is not None:
            return left_of(self._chances.starting(followed.job))
        return self._requests.left(followed.request_id or "", now)

    def left_of_run(self, job: str | None, run_id: str, now: float) -> TimeLeft | None:
        """The same of the run of this ID."""
        for kind in self._kinds:
            run = self._plan.find(kind.name, job or "", run_id)
            if run is not None:
                return left_of(self._chances.running(run, now))
        return None

    def pending(self, now: float) -> list[Running]:
        """What is followed or being started; one without a law if more is to be sent."""
        found = [self._chances.running(run, now) for run in self._running]
        found += [
            self._chances.starting(followed.job)
            for followed in self._starting
            # A statement that starts no run is followed as a request, once it is one.
            if followed.kind is not None or followed.request_id is None
        ]
        everything = (*self._running.values(), *self._starting)
        if any(wait.feeding for followed in everything for wait, _ in followed.waits):
            found.append(self._chances.starting(None))
        return found
