"""
What is printed about runs: as data for programs, as a row of a table for people, as advice.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Final

from onehouse_tracker.cli._command_settings import CommandSettings
from onehouse_tracker.cli._formats import csv_lines
from onehouse_tracker.cli._output import Item, TableColumn, place_of
from onehouse_tracker.cli._terminal import clean
from onehouse_tracker.observers._progress import duration
from onehouse_tracker.run_results import JobRun, RunOutcome, RunResult
from onehouse_tracker.runs import JOB_RUNS

__all__ = ["RUN_COLUMNS", "RUN_TABLE", "how_to_follow", "run_item", "runs_of_journal"]

RUN_COLUMNS: Final = tuple(RunResult(outcome=RunOutcome.SUCCEEDED).to_dict())
"""The columns of a CSV file of results of runs."""

_LONGEST_STATEMENT = 40


def _what(result: RunResult) -> str:
    """The job; where there is none, how the statement begins."""
    if result.job is not None or result.statement is None:
        return clean(result.job or "")
    text = " ".join(clean(result.statement).split())
    return text if len(text) <= _LONGEST_STATEMENT else f"{text[: _LONGEST_STATEMENT - 3]}..."


def _reason(result: RunResult) -> str:
    """The reason, where it says more than the outcome does."""
    reason = clean(result.reason)
    words = {JOB_RUNS.word_prefix + result.outcome, f"API_OPERATION_STATUS_{result.outcome}"}
    parts = [] if reason in words else [reason]
    if result.cancellation is not None:
        said = clean(result.cancellation).removeprefix("API_OPERATION_STATUS_")
        parts.append(f"CANCEL was answered {said}")
    return "; ".join(filter(None, parts))


RUN_TABLE: Final = (
    TableColumn("RUN", lambda result: clean(result.run_id or "-")),
    TableColumn("JOB OR STATEMENT", _what),
    TableColumn("OUTCOME", lambda result: str(result.outcome)),
    TableColumn("LABEL", lambda result: clean(result.label or ""), spare=3),
    TableColumn("REQUEST", lambda result: clean(result.request_id or ""), spare=4),
    TableColumn("CHECKS", lambda result: str(result.checks), right=True, spare=2),
    TableColumn("WAITED", lambda result: duration(result.waited), right=True, spare=1),
    TableColumn("REASON", _reason),
)


def run_item(result: RunResult) -> Item:
    """How a run ended, to print."""
    row = {column.title: column.cell(result) for column in RUN_TABLE}
    return Item(result.to_dict(), row, place=place_of(result.outcome))


def how_to_follow(
    runs: Sequence[JobRun], settings: CommandSettings, *, journal: bool
) -> list[str]:
    """
    The command that cancels *runs*, and the one that follows them.

    With a *journal* the same command with --resume does that and more.
    """
    if not runs:
        return []
    follow = _command("runs", runs, settings.arguments(without={"journal"}))
    return [
        f"{len(runs)} still running",
        *([] if journal else [f"follow with: {follow}"]),
        f"cancel with: {_command('cancel', runs, _connecting(settings))}",
    ]


def runs_of_journal(settings: CommandSettings) -> str:
    """The command that continues with the runs of the journal of *settings*."""
    return shlex.join(["onehouse-tracker", "runs", *settings.arguments(without={"label"})])


def _connecting(settings: CommandSettings) -> list[str]:
    left_out = {"timeout", "label", "journal", "report", "page", "output", "only"}
    return settings.arguments(without=left_out)


def _command(name: str, runs: Sequence[JobRun], options: Iterable[str]) -> str:
    jobs = {run.job for run in runs}
    ids = [run.run_id for run in runs]
    command = ["onehouse-tracker", name, *options]
    if len(jobs) == 1:
        dashes = ["--"] if any(run_id.startswith("-") for run_id in ids) else []
        return shlex.join([*command, "--job", *jobs, *dashes, *ids])
    # As a table, because a name may have anything in it.
    rows = csv_lines(("job", "run_id"), ({"job": run.job, "run_id": run.run_id} for run in runs))
    printed = shlex.join(["printf", "%s\\n", *rows])
    return f"{printed} | {shlex.join([*command, '--from', '-'])}"
