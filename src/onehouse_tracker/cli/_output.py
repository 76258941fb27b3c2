"""
What is printed about requests: as data for programs, as a row of a table for people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from onehouse_tracker.cli._options import Only
from onehouse_tracker.cli._terminal import clean
from onehouse_tracker.models import Outcome, Request, Result
from onehouse_tracker.observers._progress import Counts, duration, in_order
from onehouse_tracker.run_results import RunOutcome

__all__ = [
    "PENDING",
    "RESULT_COLUMNS",
    "TABLE_COLUMNS",
    "Item",
    "Row",
    "TableColumn",
    "only_started",
    "open_item",
    "place_of",
    "request_data",
    "request_row",
    "result_item",
    "result_row",
    "summary",
]

PENDING: Final = "PENDING"
"""What a table says of a request without an outcome."""

Row = Mapping[str, str]
"""One line of a table: its cells by the title of the column; a cell that is absent is empty."""

RESULT_COLUMNS: Final = tuple(Result(request_id="", outcome=Outcome.SUCCEEDED).to_dict())
"""The columns of a CSV file of results."""


class Item(NamedTuple):
    """One thing to print."""

    data: Mapping[str, Any]
    """For programs."""

    row: Row | None = None
    """For the table that people get at the end."""

    line: str | None = None
    """For people, at once, in place of a row."""

    in_csv: bool = True
    """Whether it has the columns of the CSV file."""

    place: Only | None = Only.UNFINISHED
    """Where it stands; `None` where only those see it who see everything."""


class TableColumn(NamedTuple):
    """One column of a table for people: of requests, or of runs."""

    title: str
    cell: Callable[[Any], str]
    right: bool = False
    """Whether it is aligned to the right on a terminal."""

    spare: int = 0
    """Narrow terminals do without it: those with the highest number first, with 0 never."""


def place_of(outcome: Outcome | RunOutcome) -> Only:
    """Where a request or a run stands that ended so; what is pending has no outcome."""
    if not outcome.finished:
        return Only.UNFINISHED
    return Only.SUCCEEDED if outcome.ok else Only.FAILED


def only_started(results: Iterable[Result]) -> str | None:
    """What has to be said where requests succeeded that only started runs, for people."""
    count = sum(result.started_run is not None for result in results)
    if not count:
        return None
    return (
        f"{count} of them only started a run, which may still run: follow it with"
        " 'onehouse-tracker runs --job NAME RUN_ID'"
    )


def _reason(result: Result) -> str:
    """The reason, where it says more than the outcome does."""
    if result.error is None and result.reason == result.status:
        word = result.reason.removeprefix("API_OPERATION_STATUS_")
        return "" if word == result.outcome else clean(word)
    return clean(result.reason)


TABLE_COLUMNS: Final = (
    TableColumn("REQUEST", lambda result: clean(result.request_id)),
    TableColumn("OUTCOME", lambda result: str(result.outcome)),
    TableColumn("LABEL", lambda result: clean(result.label or ""), spare=1),
    TableColumn("POLLS", lambda result: str(result.polls), right=True, spare=3),
    TableColumn("WAITED", lambda result: duration(result.waited), right=True, spare=2),
    TableColumn("REASON", _reason),
)


def result_row(result: Result) -> Row:
    """What the table shows of one result."""
    return {column.title: column.cell(result) for column in TABLE_COLUMNS}


def request_row(request: Request) -> Row:
    """What the table shows of a request that is pending."""
    return {
        "REQUEST": clean(request.request_id),
        "OUTCOME": PENDING,
        "LABEL": clean(request.label or ""),
    }


def request_data(request: Request) -> dict[str, Any]:
    """What is known of a request before it is polled, as `wait --from` reads it."""
    data: dict[str, Any] = {"request_id": request.request_id}
    if request.label is not None:
        data["label"] = request.label
    if request.submitted_at is not None:
        data["submitted_at"] = request.submitted_at.isoformat()
    return data


def result_item(result: Result) -> Item:
    """A result, to print."""
    return Item(result.to_dict(), result_row(result), place=place_of(result.outcome))


def open_item(request: Request) -> Item:
    """A request without a result, to print: data without an outcome, and no row."""
    return Item({"label": None, **request_data(request), "outcome": None, "ok": None})


def summary(outcomes: Counts, still_open: int = 0) -> str:
    """How many ended how, in one line."""
    parts = [
        f"{count} {outcome.replace('_', ' ').lower()}"
        for outcome, count in in_order(outcomes)
        if count
    ]
    if still_open:
        parts.append(f"{still_open} still open")
    return ", ".join(parts) or "nothing to track"
