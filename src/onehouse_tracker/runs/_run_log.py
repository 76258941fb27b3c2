"""
Tells observers what happens to runs.
"""

from __future__ import annotations

import asyncio

from onehouse_tracker import events
from onehouse_tracker.run_results import RunResult
from onehouse_tracker.runs._followed import Followed
from onehouse_tracker.runs._run import Run

__all__ = ["RunLog"]


class RunLog:
    """The events of one tracker's runs; without an observer none is made."""

    def __init__(self, emit: events.Emitter, loop: asyncio.AbstractEventLoop) -> None:
        self._emit = emit
        self._loop = loop

    def followed(self, followed: Followed, run: Run) -> None:
        """A run is checked from now on."""
        if self._emit:
            self._emit(
                events.RunFollowed(
                    at=self._loop.time(),
                    job=run.job,
                    run_id=run.run_id,
                    request_id=followed.request_id,
                    label=followed.label,
                )
            )

    def dropped(self, followed: Followed, run: Run, *, timed_out: bool = False) -> None:
        """A run is not checked any more, and nobody knows how it will end."""
        if self._emit:
            self._emit(
                events.RunDropped(
                    at=self._loop.time(),
                    job=run.job,
                    run_id=run.run_id,
                    request_id=followed.request_id,
                    label=followed.label,
                    timed_out=timed_out,
                )
            )

    def overdue(self, followed: Followed, run: Run, usual: float) -> None:
        """A run has been running for unusually long; it usually takes *usual* seconds."""
        if self._emit:
            now = self._loop.time()
            self._emit(
                events.RunOverdue(
                    at=now,
                    job=run.job,
                    run_id=run.run_id,
                    request_id=followed.request_id,
                    label=followed.label,
                    age=now - run.born,
                    usual=usual,
                )
            )

    def ended(self, result: RunResult) -> None:
        """A run has its outcome."""
        if self._emit:
            self._emit(
                events.RunEnded(
                    at=self._loop.time(),
                    job=result.job,
                    run_id=result.run_id,
                    request_id=result.request_id,
                    label=result.label,
                    outcome=result.outcome,
                    reason=result.reason or None,
                    checks=result.checks,
                    waited=result.waited,
                    delay_bound=result.delay_bound,
                )
            )
