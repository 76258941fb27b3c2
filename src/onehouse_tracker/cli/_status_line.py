"""
The live display on stderr: what is done, what is pending, and how the budget is spent.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from onehouse_tracker.cli._terminal import Terminal
from onehouse_tracker.errors import TrackerClosedError
from onehouse_tracker.observers._progress import Counts, Pace, Panel, snapshot_of

if TYPE_CHECKING:
    from rich.live import Live

    from onehouse_tracker.tracker import TrackerStats

__all__ = ["live"]

_REFRESH = 0.25


class Progress(Protocol):
    """What is followed, and how much of it has ended."""

    @property
    def complete(self) -> bool:
        """Whether no more will come."""

    @property
    def total(self) -> int:
        """How many there are so far."""

    def outcomes(self) -> Counts:
        """How many of them ended how."""


@asynccontextmanager
async def live(
    terminal: Terminal,
    state: Progress,
    stats: Callable[[], TrackerStats],
    *,
    off: bool = False,
) -> AsyncIterator[None]:
    """
    Show progress while the block runs, if somebody looks at stderr; erase it at the end.

    Does nothing where stderr is no terminal, or quiet is wanted, and where it is *off*
    because log lines go there.  On a dumb terminal rich shows nothing.
    """
    if off or terminal.quiet or not terminal.err_is_terminal:
        yield
        return
    from rich.live import Live  # noqa: PLC0415 - only where somebody looks
    from rich.text import Text  # noqa: PLC0415

    console = terminal.console(sys.stderr)
    panel = Panel()
    display = Live(
        panel,
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with display:
        terminal.print_above(lambda text: console.print(Text(text), soft_wrap=True))
        task = asyncio.create_task(_refresh(display, panel, state, stats), name="progress")
        try:
            yield
        finally:
            terminal.print_above(None)
            task.cancel()
            await asyncio.wait([task])


async def _refresh(
    display: Live, panel: Panel, state: Progress, stats: Callable[[], TrackerStats]
) -> None:
    pace = Pace()
    clock = asyncio.get_running_loop().time
    while True:
        try:
            panel.snapshot = snapshot_of(
                stats(),
                pace,
                clock(),
                total=state.total,
                outcomes=state.outcomes(),
                complete=state.complete,
            )
        except TrackerClosedError:  # the block will learn it by itself
            return
        display.refresh()
        await asyncio.sleep(_REFRESH)
