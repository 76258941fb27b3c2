"""
Reads runs: arguments and files that name jobs and run IDs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onehouse_tracker.cli._codes import CommandError
from onehouse_tracker.cli._one_id import why_not_one_id
from onehouse_tracker.cli._options import Input
from onehouse_tracker.cli._request_file import RecordFile
from onehouse_tracker.cli._run_options import RunInput
from onehouse_tracker.cli._sources import each_once, name_of, nothing_in, read_bytes
from onehouse_tracker.errors import InvalidRequestError
from onehouse_tracker.run_results import JobRun

__all__ = ["runs_from"]


def runs_from(
    arguments: Sequence[str], given: RunInput, job: str | None, label: str | None
) -> list[JobRun]:
    """
    Read the runs that are named by *arguments* and by *given*, in this order, each once.

    Args:
        arguments: Run IDs of *job*.

        given: Files, read to their end.

        job: The job of what names none.

        label: The label of what has none.

    Raises:
        CommandError: Something is no run, or a file cannot be read or holds none.
    """
    runs = [_run(argument, job, label, "argument", exact=True) for argument in arguments]
    for source in each_once(given.sources or []):
        lines = read_bytes(source).split(b"\n")
        records = _RunFile(name_of(source), given, job, label)
        found = [run for line in lines for run in records.line(line)]
        found += records.end()
        if not found and not given.allow_empty:
            raise nothing_in(source, "runs")
        runs += found
    once: dict[tuple[str, str], JobRun] = {}
    for run in runs:
        once.setdefault((run.job, run.run_id), run)
    return list(once.values())


class _RunFile(RecordFile[JobRun]):
    """The runs of one file."""

    what = "run"
    header_advice = "Its columns are job, run_id and perhaps label, named in its first line"

    def __init__(self, name: str, given: RunInput, job: str | None, label: str | None) -> None:
        super().__init__(name, Input(field="run_id", submitted_field="", format=given.format))
        self._job = job
        self._label = label

    def listed(self, found: str, label: str, where: str) -> JobRun:
        """A run of a list, which names no job."""
        return _run(found, self._job, label or self._label, where, exact=False)

    def described(self, found: Any, data: Mapping[str, Any], where: str) -> JobRun:
        """A run of a table, or of JSON."""
        label = self._optional(data, "label", "label_field", where)
        job = data.get("job") or self._job
        return _run(found, job, label or self._label, where, exact=True)


def _run(found: Any, job: Any, label: str | None, where: str, *, exact: bool) -> JobRun:
    if isinstance(found, str) and (why := why_not_one_id(found, exact=exact)):
        raise CommandError(f"{where}: {found[:80]!r}: {why}")
    if job is None:
        raise CommandError(f"{where}: no job: give --job NAME, or a table with the column job")
    try:
        return JobRun(job, found, label=label)
    except InvalidRequestError as error:
        raise CommandError(f"{where}: {error}") from None
