"""
Follows what requests start: runs of jobs, from the statement to their real end.
"""

from __future__ import annotations

from onehouse_tracker.run_results import JobRun, RunOutcome, RunResult, RunResults
from onehouse_tracker.runs._kinds import JOB_RUNS, KeyPath, Meaning, WorkKind

__all__ = [
    "JOB_RUNS",
    "JobRun",
    "KeyPath",
    "Meaning",
    "RunOutcome",
    "RunResult",
    "RunResults",
    "WorkKind",
]
