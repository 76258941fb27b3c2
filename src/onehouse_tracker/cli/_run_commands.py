"""
The commands that start, follow and cancel runs: their options and their help.
"""

from __future__ import annotations

import typer

from onehouse_tracker.cli._command import run
from onehouse_tracker.cli._command_settings import CommandSettings
from onehouse_tracker.cli._options import AllowEmpty, SqlFrom, Statements
from onehouse_tracker.cli._run_options import CancelOnTimeout, Job, RunIds, RunInput, RunPlan

__all__ = ["cancel", "runs", "start_runs"]


def start_runs(
    context: typer.Context,
    statements: Statements = None,
    *,
    sources: SqlFrom = None,
    allow_empty: AllowEmpty = False,
    plan: RunPlan,
    settings: CommandSettings,
) -> None:
    """
    Submit SQL statements, in order, and follow the runs that they start to their real end.

    A statement that starts no run has the outcome of its request. Each statement is sent
    once, and again only after a 429. Ctrl-C leaves runs running, and prints how to follow or
    cancel them.
    """
    if not statements and not sources:
        context.fail("give statements, or --from FILE")
    if plan.resume and settings.journal is None:
        context.fail("--resume needs the --journal FILE of the first time")
    _check_timeout(context, settings, cancel_on_timeout=plan.cancel_on_timeout)
    from onehouse_tracker.cli import _follow_runs  # noqa: PLC0415 - loads the tracker

    run(
        lambda terminal: _follow_runs.run(
            terminal,
            settings,
            statements or [],
            sources or [],
            plan=plan,
            allow_empty=allow_empty,
        ),
        quiet=settings.quiet,
    )


def runs(
    context: typer.Context,
    run_ids: RunIds = None,
    *,
    job: Job = None,
    given: RunInput,
    cancel_on_timeout: CancelOnTimeout = False,
    settings: CommandSettings,
) -> None:
    """
    Wait until every run has ended, also those that others started, and print how.

    With --journal and no runs it continues with those that the journal holds, after a crash or an
    interruption of 'run' or 'runs'; nothing is sent.
    """
    if not run_ids and not given.sources and settings.journal is None:
        context.fail("give run IDs, or --from FILE, or the --journal FILE of an earlier run")
    _check_timeout(context, settings, cancel_on_timeout=cancel_on_timeout)
    from onehouse_tracker.cli import _follow_runs  # noqa: PLC0415 - loads the tracker

    run(
        lambda terminal: _follow_runs.runs(
            terminal, settings, run_ids or [], given, job, cancel_on_timeout=cancel_on_timeout
        ),
        quiet=settings.quiet,
    )


def _check_timeout(
    context: typer.Context, settings: CommandSettings, *, cancel_on_timeout: bool
) -> None:
    if cancel_on_timeout and settings.timeout is None:
        context.fail("--cancel-on-timeout needs --timeout TIME")


def cancel(
    context: typer.Context,
    run_ids: RunIds = None,
    *,
    job: Job = None,
    given: RunInput,
    settings: CommandSettings,
) -> None:
    """
    Cancel runs, wait until they have stopped, and print how each ended.

    The exit code is 0 if every run has stopped, even if it ended before it could be canceled.
    """
    if not run_ids and not given.sources:
        context.fail("give run IDs, or --from FILE")
    from onehouse_tracker.cli import _follow_runs  # noqa: PLC0415 - loads the tracker

    run(
        lambda terminal: _follow_runs.cancel(terminal, settings, run_ids or [], given, job),
        quiet=settings.quiet,
    )
