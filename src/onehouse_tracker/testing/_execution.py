"""
What becomes of a statement that the simulated service executes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import inf
from random import Random
from typing import Any
from uuid import UUID

from onehouse_tracker.testing import faults
from onehouse_tracker.testing._job_statements import JobAction, JobStatement, job_statement
from onehouse_tracker.testing.forced import Forced
from onehouse_tracker.testing.jobs import SimulatedJobs
from onehouse_tracker.testing.records import SimulatedRequest
from onehouse_tracker.testing.statements import KINDS, Kind, bare, kind_of, response_key

__all__ = ["Execution"]


class Execution:
    """
    Makes requests of statements, and lets them do what they are for.

    Args:
        kinds: How statements behave.

        speed: Divides every duration that is drawn.

        seed: Decides every draw.

        jobs: Where runs are started.
    """

    def __init__(
        self, kinds: Sequence[Kind], *, speed: float, seed: int, jobs: SimulatedJobs
    ) -> None:
        self._kinds = tuple(kinds)
        self._speed = speed
        self._rng = Random(f"{seed} work")
        self._jobs = jobs

    def request_of(
        self, statement: str, now: float, *, visible_after: float, forced: Forced | None
    ) -> SimulatedRequest:
        """Execute *statement* at *now*; *forced* is what shall become of it, if anything."""
        # What no kind of this project fits behaves as it usually does.
        kind = kind_of(statement, self._kinds) or kind_of(statement, KINDS) or KINDS[0]
        duration, drawn = kind.draw(self._rng)
        request = SimulatedRequest(
            request_id=str(UUID(int=self._rng.getrandbits(128), version=4)),
            # Whole microseconds, as on the virtual clock: who sleeps that long finds it done.
            duration=inf if forced and forced.never else round(duration / self._speed, 6),
            status=drawn if forced is None else forced.status,
            response={},
            label=kind.label or None,
            submitted_at=now,
            visible_after=visible_after,
            statement=statement,
            spoilt=None if forced is None else forced.on_polls,
        )
        if request.succeeds:
            self._succeed(request, kind, forced)
        elif kind.reason is not None:
            request.response = {"message": kind.reason}

        return request

    def _succeed(self, request: SimulatedRequest, kind: Kind, forced: Forced | None) -> None:
        """Give *request* what it answers, and do what it was for."""
        text = bare(request.statement or "")
        key = response_key(text)
        request.response = {key: {}}
        found = job_statement(text)
        if found is not None and found.action is JobAction.RUN:
            # SUCCESS of RUN JOB says that the run was started; the run itself continues.
            run_id = self._start(found, request, forced)
            if forced is None or not forced.unnamed:
                request.response = {key: {"jobRunId": run_id}}
        elif found is not None:
            if found.action is JobAction.CANCEL_RUN:
                self._jobs.cancel(found, request.finished_at)
            # What it shows is how things are when it ends, which is not known yet.
            request.look = partial(self._jobs.answer, found, request.finished_at)
            run = self._jobs.runs.get(found.run_id or "")
            if run is not None and request.finished_at >= run.unreachable_at:
                request.spoilt = faults.refuse(500)
        if kind.response is not None:
            request.response, request.look = kind.response, None

    def _start(self, found: JobStatement, request: SimulatedRequest, forced: Forced | None) -> str:
        job = found.job or ""
        kind = self._jobs.kind_of(job)
        if forced is not None and forced.run is not None:
            kind = replace(kind, **(_SURE | dict(forced.run)))
        return self._jobs.start(job, request.request_id, request.finished_at, kind).run_id


# No chance is left where an outcome is forced.
_SURE: dict[str, Any] = {
    "failed": 0.0,
    "canceled": 0.0,
    "other": {},
    "unlisted": 0.0,
    "vanished": 0.0,
    "unreachable": 0.0,
}
