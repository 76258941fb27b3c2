"""
The output formats: one writer for each, and one place that chooses it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from typing import Protocol, assert_never

from onehouse_tracker.cli._formats import csv_lines, to_json
from onehouse_tracker.cli._options import Only, Output
from onehouse_tracker.cli._output import (
    PENDING,
    RESULT_COLUMNS,
    TABLE_COLUMNS,
    Item,
    Row,
    TableColumn,
)
from onehouse_tracker.cli._terminal import Terminal
from onehouse_tracker.models import Outcome

__all__ = ["Writer", "writer_of"]

_STYLES = {
    **{str(outcome): "green" for outcome in Outcome if outcome.ok},
    str(Outcome.PARTIALLY_SUCCEEDED): "yellow",
    str(Outcome.TIMED_OUT): "yellow",
    PENDING: "cyan",
}
_REASON_AT_LEAST = 20
"""Characters of a reason per line, where it is folded."""


class Writer(Protocol):
    """Prints what a command found, in one format."""

    at_once: bool
    """Whether each thing is printed as soon as it is known."""

    async def line(self, item: Item) -> bool:
        """Take *item*, and say whether it is printed by now."""

    async def finish(self) -> None:
        """Print what was taken and not yet printed."""


def writer_of(
    terminal: Terminal,
    output: Output,
    columns: Sequence[str] = RESULT_COLUMNS,
    table: Sequence[TableColumn] = TABLE_COLUMNS,
    only: Collection[Only] | None = None,
) -> Writer:
    """
    The writer of a format.

    Args:
        terminal: Where it prints.

        output: The format.

        columns: Those of a CSV file.

        table: Those of a table for people; the first one has the IDs.

        only: Where a thing has to stand to be printed; wherever, if not given.
    """
    if only:
        return _Some(writer_of(terminal, output, columns, table), frozenset(only))
    match output:
        case Output.TEXT:
            return _Text(terminal, table)
        case Output.JSONL:
            return _JsonLines(terminal)
        case Output.JSON:
            return _AtTheEnd(terminal, _json_array)
        case Output.CSV:
            return _AtTheEnd(
                terminal,
                lambda items: "\n".join(
                    csv_lines(columns, (item.data for item in items if item.in_csv))
                ),
            )
    assert_never(output)


class _Some:
    """Leaves out what nobody wants to see."""

    def __init__(self, writer: Writer, only: Collection[Only]) -> None:
        self._writer = writer
        self._only = only
        self.at_once = writer.at_once

    async def line(self, item: Item) -> bool:
        return item.place not in self._only or await self._writer.line(item)

    async def finish(self) -> None:
        await self._writer.finish()


class _JsonLines:
    """One JSON object on each line."""

    at_once = True

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    async def line(self, item: Item) -> bool:
        await self._terminal.emit(to_json(item.data))
        return True

    async def finish(self) -> None:
        pass


class _AtTheEnd:
    """All in one text: a JSON array, or a CSV file with its header."""

    at_once = False

    def __init__(self, terminal: Terminal, render: Callable[[Sequence[Item]], str]) -> None:
        self._terminal = terminal
        self._render = render
        self._items: list[Item] = []

    async def line(self, item: Item) -> bool:
        self._items.append(item)
        return False

    async def finish(self) -> None:
        await self._terminal.emit(self._render(self._items))


def _json_array(items: Sequence[Item]) -> str:
    body = ",\n".join(f"  {to_json(item.data)}" for item in items)
    return f"[\n{body}\n]" if body else "[]"


class _Text:
    """For people: lines at once, or a table at the end, with rich on a terminal."""

    at_once = False

    def __init__(self, terminal: Terminal, columns: Sequence[TableColumn]) -> None:
        self._terminal = terminal
        self._columns = columns
        self._rows: list[Row] = []

    async def line(self, item: Item) -> bool:
        if item.line is not None:
            await self._terminal.emit(item.line)
        elif item.row is not None:
            self._rows.append(item.row)
        return item.line is not None

    async def finish(self) -> None:
        if not self._rows:
            return
        shown = [c for c in self._columns if any(row.get(c.title) for row in self._rows)]
        if self._terminal.out_is_terminal:
            self._print_table(shown)
            return
        titles = {column.title: column.title for column in shown}
        widths = [_width(self._rows, column) for column in shown]
        for row in (titles, *self._rows):
            cells = (row.get(c.title, "").ljust(n) for c, n in zip(shown, widths, strict=True))
            await self._terminal.emit("  ".join(cells).rstrip())

    def _print_table(self, shown: list[TableColumn]) -> None:
        from rich.table import Table  # noqa: PLC0415 - only where somebody looks
        from rich.text import Text  # noqa: PLC0415

        console = self._terminal.console(sys.stdout)
        for spare in sorted((c for c in shown if c.spare), key=lambda c: -c.spare):
            if self._needed(shown) > console.width:
                shown.remove(spare)
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for column in shown:
            table.add_column(
                column.title,
                justify="right" if column.right else "left",
                # IDs are copied from here, so they stay whole as long as there is room.
                no_wrap=column.title != "REASON"
                and (column is not self._columns[0] or self._needed(shown) <= console.width),
                overflow="fold",
            )
        for row in self._rows:
            style = _STYLES.get(row["OUTCOME"], "red")
            cells = ((column.title, row.get(column.title, "")) for column in shown)
            table.add_row(*(Text(cell, style if at == "OUTCOME" else "") for at, cell in cells))
        with self._terminal.writing():
            console.print(table)

    def _needed(self, shown: Sequence[TableColumn]) -> int:
        """The width of a table, where a reason is folded as far as it is readable."""
        widths = (
            min(_width(self._rows, column), _REASON_AT_LEAST)
            if column.title == "REASON"
            else _width(self._rows, column)
            for column in shown
        )
        return sum(widths) + 2 * len(shown)


def _width(rows: Sequence[Row], column: TableColumn) -> int:
    return max(len(column.title), *(len(row.get(column.title, "")) for row in rows))
