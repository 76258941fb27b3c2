"""
Which statements are about jobs and their runs, and which job and run they name.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

__all__ = ["JobAction", "JobStatement", "job_statement"]


class JobAction(StrEnum):
    """What a statement wants of a job."""

    RUN = "RUN"
    """RUN JOB, CREATE AND RUN JOB: start a run."""

    DESCRIBE_RUN = "DESCRIBE_RUN"
    """DESCRIBE JOB_RUN: show one run."""

    SHOW_RUNS = "SHOW_RUNS"
    """SHOW RUNS IN JOB: list the runs of a job."""

    CANCEL_RUN = "CANCEL_RUN"
    """CANCEL JOB_RUN: stop one run."""

    SHOW_JOBS = "SHOW_JOBS"
    """SHOW JOBS: list the jobs."""


class JobStatement(NamedTuple):
    """What a statement says about jobs and runs."""

    action: JobAction
    """What it wants."""

    job: str | None
    """The job that it names."""

    run_id: str | None
    """The run that it names."""


# Quoted as the vendor's clients quote it, or bare.
_NAME = r"""(?:`([^`]*)`|'((?:[^']|'')*)'|"([^"]*)"|([^\s`'";,()=]+))"""
_RUN = rf"JOB_RUN\s+{_NAME}(?:\s+JOB_NAME\s*=\s*{_NAME})?\s*"
_FORMS = tuple(
    (action, re.compile(pattern, re.IGNORECASE))
    for action, pattern in (
        (JobAction.RUN, rf"(?:CREATE\s+AND\s+)?RUN\s+JOB\s+{_NAME}"),
        (JobAction.DESCRIBE_RUN, rf"DESCRIBE\s+{_RUN}"),
        (JobAction.CANCEL_RUN, rf"CANCEL\s+{_RUN}"),
        (JobAction.SHOW_RUNS, rf"SHOW\s+RUNS\s+IN\s+JOB\s+{_NAME}"),
        (JobAction.SHOW_JOBS, r"SHOW\s+JOBS\b"),
    )
)
_QUOTES = 4
"""How many ways there are to quote a name, each with a group of its own."""


def job_statement(bare: str) -> JobStatement | None:
    """Read *bare*, a statement without the comments before it; `None` if it is about no job."""
    for action, form in _FORMS:
        found = form.match(bare)
        if found is None:
            continue
        groups = found.groups()
        first, second = _name(groups[:_QUOTES]), _name(groups[_QUOTES:])
        if action in (JobAction.DESCRIBE_RUN, JobAction.CANCEL_RUN):
            return JobStatement(action, job=second, run_id=first)
        return JobStatement(action, job=first, run_id=None)
    return None


def _name(groups: tuple[str | None, ...]) -> str | None:
    name = next((group for group in groups if group is not None), None)
    return None if name is None else name.replace("''", "'")
