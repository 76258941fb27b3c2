"""
How results look: JSON and CSV for programs, a table for people.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from onehouse_tracker.cli import _csv
from onehouse_tracker.cli._json import to_json
from onehouse_tracker.cli._options import Output
from onehouse_tracker.cli._terminal import Terminal, clean
from onehouse_tracker.models import Outcome, Request, Result
from onehouse_tracker.observers._progress import duration

__all__ = [
    "RESULT_COLUMNS",
    "Item",
    "Row",
    "json_line",
    "open_item",
    "print_all",
    "request_data",
    "result_item",
    "result_row",
    "summary",
]

_STYLES = {
    "SUCCEEDED": "green",
    "PARTIALLY_SUCCEEDED": "yellow",
    "PENDING": "cyan",
    "TIMED_OUT": "yellow",
}
_HEAD = ("REQUEST", "OUTCOME", "LABEL", "POLLS", "WAITED", "REASON")
_REASON = 5
_DISPENSABLE = (3, 4, 2)  # columns that a narrow terminal does without, this one first

Row = Sequence[str]
"""One line of a table: the columns of `_HEAD`, as text."""


def json_line(data: Mapping[str, Any]) -> str:
    """One JSON object on one line."""
    return to_json(data)


def request_data(request: Request) -> dict[str, Any]:
    """What is known of a request before it is asked about, as `wait --from` reads it."""
    data: dict[str, Any] = {"request_id": request.request_id}
    if request.label is not None:
        data["label"] = request.label
    if request.submitted_at is not None:
        data["submitted_at"] = request.submitted_at.isoformat()
    return data


def result_row(result: Result) -> Row:
    """What the table tells about one result."""
    return (
        clean(result.request_id),
        str(result.outcome),
        clean(result.label or ""),
        str(result.polls),
        duration(result.waited),
        _reason(result),
    )


def _reason(result: Result) -> str:
    """The reason, where it says more than the outcome does."""
    if result.error is None and result.reason == result.status:
        word = result.reason.removeprefix("API_OPERATION_STATUS_")
        return "" if word == result.outcome else clean(word)
    return clean(result.reason)


def summary(outcomes: Mapping[Outcome, int], still_open: int = 0) -> str:
    """How many ended how, in one line."""
    parts = [
        f"{outcomes[outcome]} {outcome.replace('_', ' ').lower()}"
        for outcome in Outcome
        if outcomes.get(outcome)
    ]
    if still_open:
        parts.append(f"{still_open} still open")
    return ", ".join(parts) or "nothing to follow"


class Item(NamedTuple):
    """One thing to print: as data for programs, and as a row for people where there is one."""

    data: Mapping[str, Any]
    row: Row | None = None


RESULT_COLUMNS = tuple(Result(request_id="", outcome=Outcome.SUCCEEDED).to_dict())
"""The columns of a CSV file of results."""


def result_item(result: Result) -> Item:
    """A result, for `print_all`."""
    return Item(result.to_dict(), result_row(result))


def open_item(request: Request) -> Item:
    """A request without a result, for `print_all`: data without an outcome, and no row."""
    return Item({"label": None, **request_data(request), "outcome": None, "ok": None})


async def print_all(
    terminal: Terminal,
    output: Output,
    items: Sequence[Item],
    columns: Sequence[str] = RESULT_COLUMNS,
) -> None:
    """Print at the end what was not printed line by line: a table, a JSON array, or CSV."""
    if output is Output.TEXT:
        await _print_rows(terminal, [item.row for item in items if item.row is not None])
    elif output is Output.JSON:
        body = ",\n".join(f"  {json_line(item.data)}" for item in items)
        await terminal.emit(f"[\n{body}\n]" if body else "[]")
    elif output is Output.CSV:
        await terminal.emit("\n".join(_csv.lines(columns, (item.data for item in items))))


async def _print_rows(terminal: Terminal, rows: Sequence[Row]) -> None:
    """Print a table: with rich on a terminal, plain and aligned elsewhere."""
    if not rows:
        return
    if not terminal.out_is_terminal:
        for line in _aligned([_HEAD, *rows]):
            await terminal.emit(line)
        return
    from rich.table import Table  # noqa: PLC0415 - only where somebody looks
    from rich.text import Text  # noqa: PLC0415

    console = terminal.console(sys.stdout)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    shown = _columns(rows, console.width)
    for index in shown:
        table.add_column(
            _HEAD[index],
            justify="right" if _HEAD[index] in ("POLLS", "WAITED") else "left",
            # IDs are copied from here, so they stay whole as long as there is room.
            no_wrap=index != _REASON and (index > 0 or _needed(rows, shown) <= console.width),
            overflow="fold",
        )
    for row in rows:
        style = _STYLES.get(row[1], "red")
        table.add_row(*(Text(row[index], style if index == 1 else "") for index in shown))
    with terminal.writing():
        console.print(table)


def _columns(rows: Sequence[Row], width: int) -> list[int]:
    """Which columns to show: none that is empty, and on a narrow terminal the best ones."""
    shown = [index for index in range(len(_HEAD)) if any(row[index] for row in rows)]
    for index in _DISPENSABLE:
        if _needed(rows, shown) > width:
            shown = [other for other in shown if other != index]
    return shown


def _needed(rows: Sequence[Row], shown: Sequence[int]) -> int:
    """The width of the columns *shown*, where a reason is folded as far as it is readable."""
    widths = {index: max(len(row[index]) for row in (_HEAD, *rows)) for index in shown}
    if _REASON in widths:
        widths[_REASON] = min(widths[_REASON], 20)

    return sum(widths.values()) + 2 * len(widths)


def _aligned(rows: Iterable[Row]) -> list[str]:
    table = [list(row) for row in rows]
    shown = [index for index in range(len(_HEAD)) if any(row[index] for row in table[1:])]
    widths = {index: max(len(row[index]) for row in table) for index in shown}
    return [
        "  ".join(row[index].ljust(widths[index]) for index in shown).rstrip() for row in table
    ]
