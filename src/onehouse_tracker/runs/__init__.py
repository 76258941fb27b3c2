"""
Follows what requests start: runs of jobs, from the statement to their real end.
"""

from __future__ import annotations

from onehouse_tracker.run_results import JobRun, RunOutcome, RunResult, RunResults
from onehouse_tracker.runs._callbacks import OnRunResult
from onehouse_tracker.runs._handles import RunCompletions, RunHandle
from onehouse_tracker.runs._kinds import JOB_RUNS, KeyPath, Meaning, WorkKind
from onehouse_tracker.runs._tracker_runs import Runs

__all__ = [
    "JOB_RUNS",
    "JobRun",
    "KeyPath",
    "Meaning",
    "OnRunResult",
    "RunCompletions",
    "RunHandle",
    "RunOutcome",
    "RunResult",
    "RunResults",
    "Runs",
    "WorkKind",
]
