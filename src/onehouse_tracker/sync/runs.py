"""
Runs of jobs for code that blocks: functions on the tracker that `sync.wait_all` uses too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from onehouse_tracker.onehouse._credential_sources.hidden import hide_settings
from onehouse_tracker.run_results import JobRun, RunResult, RunResults
from onehouse_tracker.settings import TrackerSettings
from onehouse_tracker.sync._run_handles import RunCompletions, RunHandle
from onehouse_tracker.sync._runs import OnRunResult, Runs
from onehouse_tracker.sync._shared_tracker import _lease

__all__ = [
    "OnRunResult",
    "RunCompletions",
    "RunHandle",
    "Runs",
    "cancel_run",
    "execute_all",
    "submit",
    "wait_all",
]


def execute_all(
    statements: Iterable[str],
    *,
    timeout: float | None = None,
    label: str | None = None,
    on_result: OnRunResult | None = None,
    max_running: int | None = None,
    stop_on_failure: bool = False,
    cancel_runs: bool = False,
    allow_unfollowed: bool = False,
    **settings: Unpack[TrackerSettings],
) -> RunResults:
    """
    Submit statements in order, and follow what they start to its real end.

    Args:
        statements: SQL statements.

        timeout: As in `Runs.execute_all`, and so are the next six.

        label: Your name for all of them.

        on_result: Called with each result as it is known.

        max_running: Statements and runs that may be open at once.

        stop_on_failure: Whether nothing further is sent once a result is not ok.

        cancel_runs: Whether what runs is canceled then.

        allow_unfollowed: Whether `RunOutcome.STARTED` counts as ok.

        **settings: Keywords of ``onehouse_tracker.Tracker.from_env``.

    Returns:
        What `Runs.execute_all` returns.

    Raises:
        ConfigError: Credentials are missing, or a setting makes no sense.

        TrackerError: As `Runs.execute_all` does.
    """
    settings = hide_settings(settings)
    with _lease(settings) as tracker:
        return tracker.runs.execute_all(
            statements,
            timeout=timeout,
            label=label,
            on_result=on_result,
            max_running=max_running,
            stop_on_failure=stop_on_failure,
            cancel_runs=cancel_runs,
            allow_unfollowed=allow_unfollowed,
        )


def submit(
    statement: str, *, label: str | None = None, **settings: Unpack[TrackerSettings]
) -> RunHandle:
    """
    Submit one statement, and follow the run that it starts.

    Args:
        statement: One SQL statement, e.g. ``RUN JOB nightly``.

        label: Your name for it.

        **settings: Keywords of ``onehouse_tracker.Tracker.from_env``.

    Returns:
        A handle: ``handle.result()`` waits for the end of the run.

    Raises:
        ConfigError: Credentials are missing, or a setting makes no sense.

        TrackerError: As `Runs.submit` does.
    """
    settings = hide_settings(settings)
    with _lease(settings) as tracker:
        return tracker.runs.submit(statement, label=label)


def wait_all(
    runs: Iterable[JobRun | RunHandle],
    *,
    timeout: float | None = None,
    on_result: OnRunResult | None = None,
    **settings: Unpack[TrackerSettings],
) -> RunResults:
    """
    Wait until every run has its outcome.

    Args:
        runs: What to wait for: runs, or handles.

        timeout: Seconds; `None` waits without limit.

        on_result: Called with each result as it is known.

        **settings: Keywords of ``onehouse_tracker.Tracker.from_env``.

    Returns:
        What `Runs.wait_all` returns.

    Raises:
        ConfigError: Credentials are missing, or a setting makes no sense.

        TrackerError: As `Runs.wait_all` does.
    """
    settings = hide_settings(settings)
    with _lease(settings) as tracker:
        return tracker.runs.wait_all(runs, timeout=timeout, on_result=on_result)


def cancel_run(run: JobRun, **settings: Unpack[TrackerSettings]) -> RunResult:
    """
    Have the server cancel a run, and wait until it has stopped.

    Args:
        run: Which one.

        **settings: Keywords of ``onehouse_tracker.Tracker.from_env``.

    Raises:
        ConfigError: Credentials are missing, or a setting makes no sense.

        TrackerError: As `Runs.cancel_run` does.
    """
    settings = hide_settings(settings)
    with _lease(settings) as tracker:
        return tracker.runs.cancel_run(run)
