"""
Views of what is stored: a journal, or the results of a wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from onehouse_tracker.journal import JournalReader, JournalRequest
from onehouse_tracker.models import Result
from onehouse_tracker.report._view import (
    PENDING,
    VOCABULARY,
    Row,
    View,
    head,
    visible,
)
from onehouse_tracker.results import Results

__all__ = ["journal_view", "results_view"]


def journal_view(reader: JournalReader) -> View:
    """
    What a journal tells.

    It knows each request, and neither the use of the budget nor outages.

    Raises:
        JournalError: There is no such file, or it cannot be read.
    """
    items = list(reader.requests())
    refused = [item for item in reader.statements() if item.state != "accepted"]
    moments = [item.added_at for item in items] + [item.intended_at for item in refused]
    start = min(moments, default=None)
    rows = [_journalled(number, item, start) for number, item in enumerate(items, 1)]
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


def _joined(result: Result) -> datetime | None:
    if result.detected_at is None:
        return result.first_polled_at
    return result.detected_at - timedelta(seconds=result.waited)


def _since(moment: datetime | None, start: datetime | None) -> float | None:
    # Wall clocks jump: nothing is before the start.
    if moment is None or start is None:
        return None
    return max(0.0, (moment - start).total_seconds())
