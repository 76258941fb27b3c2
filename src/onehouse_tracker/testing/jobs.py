"""
The jobs of the simulated service: who runs, and what statements about runs answer.

Bookkeeping only, as `SimulatedProject`, which owns it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import inf
from random import Random
from typing import Any, TypeAlias
from uuid import UUID

from onehouse_tracker.models import ApiStatus
from onehouse_tracker.testing._job_statements import JobAction, JobStatement
from onehouse_tracker.testing.faults import Draw
from onehouse_tracker.testing.job_runs import RUN_KINDS, RunKind, SimulatedRun, status_word
from onehouse_tracker.testing.listings import ListedRun, Listing, history_of, listed

__all__ = ["Listings", "SimulatedJobs"]

Listings: TypeAlias = "Listing | Callable[[str, float], Listing]"

_Said: TypeAlias = "tuple[ApiStatus, Mapping[str, Any]]"

_history = lru_cache(maxsize=64)(history_of)


class SimulatedJobs:
    """
    The jobs of a project and their runs: `SimulatedProject.jobs`.

    Args:
        kinds: How runs behave; the first kind that fits the job decides.

        listing: What SHOW RUNS IN JOB answers: one for all, or a function of the job's name
            and the seconds since the project's first moment, so that it differs by job and
            changes while runs are open.

        cancel_takes: Seconds from the end of a CANCEL JOB_RUN until the run has stopped.

        cancel_of_ended: How a CANCEL JOB_RUN of a run that has ended answers.

    Attributes:
        runs: Every run, by ID.

        by_name: The runs of each job, in the order in which they were started.  A job is
            known from its first run on.

        kinds: As given; can be changed at any time, and so can the next three.

        listing: As given.

        cancel_takes: As given.

        cancel_of_ended: As given.
    """

    def __init__(
        self,
        *,
        kinds: Sequence[RunKind] = RUN_KINDS,
        listing: Listings | None = None,
        cancel_takes: Draw | float = 2.0,
        cancel_of_ended: ApiStatus = ApiStatus.FAILED,
    ) -> None:
        self.runs: dict[str, SimulatedRun] = {}
        self.by_name: dict[str, list[SimulatedRun]] = {}
        self.kinds = list(kinds)
        self.listing: Listings = Listing() if listing is None else listing
        self.cancel_takes = cancel_takes
        self.cancel_of_ended = cancel_of_ended
        self._speed = 1.0
        self._rng = Random()
        self._owned = False
        self._unplaced: list[SimulatedRun] = []
        self._epoch = 0.0

    def belong(self, seed: int, speed: float) -> None:
        """
        Belong to a project with this *seed* and *speed*, which calls this.

        Raises:
            ValueError: They belong to another project.
        """
        if self._owned:
            raise ValueError("these jobs belong to another project: make some for each")
        self._owned = True
        self._speed = speed
        # Apart from the draws of requests, which do not change with the number of runs.
        self._rng = Random(f"{seed} runs")

    def begin(self, now: float, epoch: float) -> None:
        """Place what was added before there was a clock; *epoch* is the first moment of all."""
        self._epoch = epoch
        for run in self._unplaced:
            run.shift(now)
        self._unplaced.clear()

    def kind_of(self, job: str) -> RunKind:
        """How the runs of *job* behave."""
        return next((kind for kind in self.kinds if kind.fits(job)), RunKind())

    def start(self, job: str, request_id: str, at: float, kind: RunKind) -> SimulatedRun:
        """Start a run of *job* at *at*, as *kind* has it."""
        plan = kind.draw(self._rng, self._speed)
        return self._keep(
            SimulatedRun(
                run_id=str(UUID(int=self._rng.getrandbits(128), version=4)),
                job=job,
                request_id=request_id,
                created_at=at,
                # Whole microseconds, as on the virtual clock.
                queued_at=round(at + plan.queued_after, 6),
                running_at=round(at + plan.running_after, 6)
                if plan.running_after <= plan.ended_after
                else inf,
                ended_at=round(at + plan.ended_after, 6),
                status=plan.status,
                unlisted_at=at + plan.unlisted_after,
                vanished_at=at + plan.vanished_after,
                unreachable_at=at + plan.unreachable_after,
            )
        )

    def add(
        self,
        job: str,
        run_id: str,
        duration: float,
        status: str | None,
        *,
        queued: float,
        not_run: float,
        at: float | None,
    ) -> SimulatedRun:
        """Add a run as it is asked for; *at* is `None` while there is no clock."""
        if run_id in self.runs:
            raise ValueError(f"there is a run {run_id!r} already")
        created_at = 0.0 if at is None else at
        run = SimulatedRun(
            run_id=run_id,
            job=job,
            request_id=None,
            created_at=created_at,
            queued_at=created_at + not_run,
            running_at=created_at + not_run + queued,
            ended_at=created_at + not_run + queued + duration,
            status=status_word(status),
        )
        if at is None:
            self._unplaced.append(run)
        return self._keep(run)

    def delete(self, job: str, now: float) -> None:
        """Forget *job* and its runs at *now*, as if it was deleted or renamed."""
        for run in self.by_name.pop(job, []):
            run.vanished_at = min(run.vanished_at, now)

    def cancel(self, statement: JobStatement, at: float) -> None:
        """Let a CANCEL JOB_RUN that ends at *at* take its course."""
        run = self._known(statement, at)
        if run is not None and not run.over_at(at):
            takes = self.cancel_takes
            seconds = takes if isinstance(takes, int | float) else takes(self._rng)
            run.cancel(round(at + seconds / self._speed, 6))

    def answer(self, statement: JobStatement, at: float) -> _Said:
        """What the request of *statement*, which ends at *at*, answers."""
        if statement.action is JobAction.SHOW_JOBS:
            names = [{"name": name} for name in self.by_name]
            return ApiStatus.SUCCESS, {"showJobsApiResponse": {"jobs": names}}
        if statement.action is JobAction.SHOW_RUNS:
            return self._show_runs(statement.job or "", at)
        run = self._known(statement, at)
        if run is None:
            return _failed(f"job run {statement.run_id} not found")
        if statement.action is JobAction.CANCEL_RUN:
            # Its own doing ends a run at the end of the request or later.
            if run.ended_at < at - 1e-9 and self.cancel_of_ended is not ApiStatus.SUCCESS:
                return self.cancel_of_ended, {"message": f"job run {run.run_id} has ended"}
            return ApiStatus.SUCCESS, {"cancelJobRunApiResponse": {}}
        word = run.word_at(at)
        found = {} if word is None else {"status": word}
        return ApiStatus.SUCCESS, {"describeJobRunApiResponse": {"sparkJobRun": found}}

    # --- private -----------------------------------------------------------------------

    def _keep(self, run: SimulatedRun) -> SimulatedRun:
        self.runs[run.run_id] = run
        self.by_name.setdefault(run.job, []).append(run)
        return run

    def _known(self, statement: JobStatement, at: float) -> SimulatedRun | None:
        run = self.runs.get(statement.run_id or "")
        if run is None or statement.job not in (None, run.job) or not run.known_at(at):
            return None
        return run

    def _show_runs(self, job: str, at: float) -> _Said:
        if job not in self.by_name:
            return _failed(f"job {job} not found")
        listing = self.listing
        if not isinstance(listing, Listing):
            listing = listing(job, at - self._epoch)
        moment = at - listing.lag
        runs = [run for run in self.by_name[job] if run.listed_at(moment)]
        runs.sort(key=lambda run: run.created_at)
        rows = _history(job, listing.history) if listing.history else []
        rows = [
            *rows,
            *(ListedRun(run.run_id, job, run.word_at(moment), run.created_at) for run in runs),
        ]
        return ApiStatus.SUCCESS, listed(listing, job, rows)


def _failed(message: str) -> _Said:
    return ApiStatus.FAILED, {"message": message}
