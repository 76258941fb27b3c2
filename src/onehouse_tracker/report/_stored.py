"""
Views of what is stored: a journal, or the results of a wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from onehouse_tracker.journal import JournalReader, JournalRequest, JournalRun
from onehouse_tracker.models import Result
from onehouse_tracker.report._view import (
    PENDING,
    VOCABULARY,
    Row,
    View,
    head,
    told,
    visible,
)
from onehouse_tracker.results import Results
from onehouse_tracker.run_results import RunResult, RunResults

__all__ = ["journal_view", "results_view", "run_results_view"]


def journal_view(reader: JournalReader) -> View:
    """
    What a journal tells.

    It knows each request and each run, and neither the use of the budget nor outages.  The row
    of a request that started a run is that of the run.

    Raises:
        JournalError: There is no such file, or it cannot be read.
    """
    items = list(reader.requests())
    refused = [item for item in reader.statements() if item.state != "accepted"]
    runs = list(reader.runs())
    moments = [item.added_at for item in items] + [run.added_at for run in runs]
    moments += [item.intended_at for item in refused]
    start = min(moments, default=None)
    rows = [_journalled(number, item, start) for number, item in enumerate(items, 1)]
    _add_runs(rows, runs, start)
    view = _view("journal", start, rows)
    view["statements"] = [
        # Its text is not shown: it may hold secrets.
        {
            "label": visible(item.label or item.kind),
            "state": "UNKNOWN" if item.fate_unknown else item.state.upper(),
            "reason": visible(item.reason),
            "at": _since(item.intended_at, start),
        }
        for item in refused
    ]
    return view


def results_view(results: Results) -> View:
    """What results tell: when each was added is counted back from when it was known."""
    values = list(results.values())
    moments = [moment for result in values if (moment := _joined(result)) is not None]
    start = min(moments, default=None)
    rows = [
        _row(number, result, _joined(result), start) for number, result in enumerate(values, 1)
    ]
    return _view("results", start, rows)


def run_results_view(results: RunResults) -> View:
    """What results of runs tell, and the requests that started them."""
    moments = [moment for result in results if (moment := _joined(result)) is not None]
    start = min(moments, default=None)
    rows = []
    for number, result in enumerate(results, 1):
        request = result.request
        row = Row(
            number=number,
            request_id=result.request_id or result.run_id or f"(not sent: {number})",
            label=result.label,
            joined=_since(_joined(result), start),
            first=None if request is None else _since(request.first_polled_at, start),
            ended=_since(result.detected_at, start),
            job=result.job,
            run_id=result.run_id,
            polls=0 if request is None else request.polls,
        )
        row.conclude_run(result)
        rows.append(row)
    return _view("results", start, rows)


def _view(source: str, start: datetime | None, rows: Sequence[Row]) -> View:
    last = max((moment for row in rows for moment in (row.joined, row.ended) if moment), default=0)
    return {
        **VOCABULARY,
        "head": head(
            source=source, started_at=start, now=last, polls=sum(row.polls for row in rows)
        ),
        "rows": [row.packed() for row in rows],
        "budget": None,
        "outages": [],
        "statements": [],
    }


def _journalled(number: int, item: JournalRequest, start: datetime | None) -> Row:
    if item.result is not None:
        return _row(number, item.result, item.added_at, start)
    return Row(
        number=number,
        request_id=item.request.request_id,
        label=item.request.label,
        joined=_since(item.added_at, start),
        state=PENDING,
    )


def _row(number: int, result: Result, joined: datetime | None, start: datetime | None) -> Row:
    row = Row(
        number=number,
        request_id=result.request_id,
        label=result.label,
        joined=_since(joined, start),
        first=_since(result.first_polled_at, start),
        ended=_since(result.detected_at, start),
    )
    row.conclude(result)
    return row


def _add_runs(rows: list[Row], runs: Iterable[JournalRun], start: datetime | None) -> None:
    """Let the row of a request be that of its run, and add rows for all other runs."""
    by_request = {row.request_id: row for row in rows}
    for run in runs:
        row = None if run.request_id is None else by_request.get(run.request_id)
        if row is None:
            row = Row(
                number=len(rows) + 1,
                request_id=run.request_id or run.run_id or f"(not sent: {len(rows) + 1})",
                label=run.label,
                joined=_since(run.added_at, start),
            )
            rows.append(row)
        row.job, row.run_id = run.job, run.run_id
        if run.outcome is not None:
            row.state, row.reason = str(run.outcome), told(run.reason, run.outcome)
            row.ended = _since(run.recorded_at, start)
        elif run.run_id is not None:
            row.begin_again()  # its request has ended, and it has not


def _joined(result: Result | RunResult) -> datetime | None:
    if result.detected_at is None:
        return result.first_polled_at if isinstance(result, Result) else None
    return result.detected_at - timedelta(seconds=result.waited)


def _since(moment: datetime | None, start: datetime | None) -> float | None:
    # Wall clocks jump: nothing is before the start.
    if moment is None or start is None:
        return None
    return max(0.0, (moment - start).total_seconds())
