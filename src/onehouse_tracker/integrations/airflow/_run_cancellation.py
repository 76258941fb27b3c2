"""
Having the server cancel runs whose task was ended: each statement is sent once, without waiting
until the run has stopped, since Airflow leaves little time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from logging import Logger
from typing import Final

from onehouse_tracker.errors import TrackerError
from onehouse_tracker.integrations.airflow._connection import Project
from onehouse_tracker.runs import JOB_RUNS, JobRun
from onehouse_tracker.tracker import Tracker

__all__ = ["cancel_from_signal_handler", "cancel_runs", "cancel_statement"]

_TIME: Final = 20.0
"""Seconds for all of it, at a task that is killed."""


async def cancel_runs(tracker: Tracker, runs: Iterable[JobRun], log: Logger) -> None:
    """
    Send a statement for each of *runs* that cancels it, and log which were accepted.

    Cancelling stops the sending; those that were not sent are logged.
    """
    waiting = list(runs)
    try:
        while waiting:
            await _cancel(tracker, waiting[0], log)
            del waiting[0]
    finally:
        if waiting:
            log.error(
                "not certainly canceled, and perhaps still running: %s",
                ", ".join(f"{one.run_id} of job {one.job}" for one in waiting),
            )


async def _cancel(tracker: Tracker, run: JobRun, log: Logger) -> None:
    try:
        handle = await tracker.submit(cancel_statement(run), label="CANCEL JOB_RUN")
    except TrackerError as error:
        log.error("run %s of job %s was not canceled: %s", run.run_id, run.job, error)  # noqa: TRY400 - no traceback
        return
    log.warning(
        "the server was asked to cancel run %s of job %s, as request %s",
        run.run_id,
        run.job,
        handle.request_id,
    )
    handle.cancel()


def cancel_statement(run: JobRun) -> str:
    """The statement that cancels *run*."""
    assert JOB_RUNS.cancel is not None  # noqa: S101 - for mypy: runs of jobs can be canceled
    return JOB_RUNS.cancel(run.job, run.run_id)


def cancel_from_signal_handler(project: Project, runs: Iterable[JobRun], log: Logger) -> None:
    """
    Cancel *runs* from a thread whose event loop, if it has one, was interrupted.

    It takes 20 seconds at most.
    """

    async def cancel() -> None:
        async with asyncio.timeout(_TIME), project.tracker() as tracker:
            await cancel_runs(tracker, runs, log)

    def run() -> None:
        try:
            asyncio.run(cancel())
        except (TrackerError, TimeoutError) as error:
            log.error("runs were not canceled: %s", str(error) or "there was no time")  # noqa: TRY400 - no traceback

    thread = threading.Thread(target=run, name="onehouse-tracker cancel runs")
    thread.start()
    thread.join(_TIME)
