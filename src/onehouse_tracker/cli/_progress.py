"""
The live display on stderr: what is done, what is pending, and how the budget is spent.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onehouse_tracker.cli._ledger import Ledger
from onehouse_tracker.cli._output import duration
from onehouse_tracker.cli._terminal import Terminal
from onehouse_tracker.errors import TrackerClosedError

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

    from onehouse_tracker.tracker import TrackerStats

__all__ = ["Pace", "Snapshot", "live", "status_parts"]

_REFRESH = 0.25
_RATE_WINDOW = 5.0
_ENDS_WINDOW = 30.0
_ENDS_NEEDED = 5
_SEPARATOR = "  "


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the display shows at one moment.  Times are seconds, rates requests per second."""

    total: int
    complete: bool
    done: int
    not_ok: int
    sent_rate: float
    budget: float
    refusals: int
    round_time: float
    paused_for: float
    outage: bool
    left: float | None
    degraded: bool = False
    """Whether a shared budget was lost: only our static share of it is spent."""

    @property
    def pending(self) -> int:
        """Requests without a result."""
        return self.total - self.done


def status_parts(snapshot: Snapshot, width: int) -> list[tuple[str, str]]:
    """
    What to show in *width* columns, as texts and their styles.

    Where there is too little room the least important parts are left out, never cut.
    """
    parts = [
        # Each with its importance, 0 being the highest, and its style.
        (0, f"{snapshot.pending} pending", ""),
        (1, f"{snapshot.done - snapshot.not_ok} ok", "green"),
        (0, f"{snapshot.not_ok} not ok", "red" if snapshot.not_ok else ""),
        (2, f"{snapshot.sent_rate:.1f} of {snapshot.budget:.1f}/s", ""),
        (4, f"{snapshot.refusals} refused", "yellow" if snapshot.refusals else ""),
        (5, f"round {duration(snapshot.round_time)}", ""),
    ]
    if snapshot.degraded:
        parts.append((2, "budget not shared", "yellow"))
    if snapshot.outage:
        parts.append((1, "server does not answer", "red"))
    elif snapshot.paused_for >= 1:
        parts.append((1, f"paused {duration(snapshot.paused_for)}", "yellow"))
    elif snapshot.left is not None:
        parts.append((3, f"about {_rough(snapshot.left)} left", ""))
    while len(parts) > 1 and len(_SEPARATOR.join(part[1] for part in parts)) > width:
        parts.remove(max(parts, key=lambda part: part[0]))

    return [(text, style) for _, text, style in parts]


def _rough(seconds: float) -> str:
    # An estimate with a decimal would promise too much.
    return duration(seconds) if seconds >= 59.5 else f"{max(1, round(seconds))} s"  # noqa: PLR2004


class Pace:
    """How fast requests are sent and end, from what was seen lately."""

    def __init__(self) -> None:
        self._sent: deque[tuple[float, int]] = deque()
        self._ended: deque[tuple[float, int]] = deque()

    def note(self, now: float, sent: int, ended: int) -> None:
        """Take note of the totals at *now*, in seconds."""
        for log, value, window in (
            (self._sent, sent, _RATE_WINDOW),
            (self._ended, ended, _ENDS_WINDOW),
        ):
            log.append((now, value))
            while len(log) > 2 and now - log[1][0] >= window:  # noqa: PLR2004 - both ends
                log.popleft()

    @property
    def sent_rate(self) -> float:
        """Requests sent per second."""
        return _slope(self._sent)

    def left(self, pending: int) -> float | None:
        """Seconds until *pending* requests end if all goes on like this; `None`: too early."""
        if not self._ended or self._ended[-1][1] - self._ended[0][1] < _ENDS_NEEDED:
            return None
        return pending / _slope(self._ended)


def _slope(log: deque[tuple[float, int]]) -> float:
    if len(log) < 2 or log[-1][0] <= log[0][0]:  # noqa: PLR2004
        return 0.0
    return (log[-1][1] - log[0][1]) / (log[-1][0] - log[0][0])


class _Panel:
    """Two lines, laid out anew for the width of the terminal each time they are drawn."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.progress_bar import ProgressBar  # noqa: PLC0415 - only where somebody looks
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        now = self.snapshot
        if now is None:
            return
        # One column stays free: a full line makes some terminals scroll.
        width = options.max_width - 1
        count = f"{now.done}/{now.total}{'' if now.complete else '+'}"
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(
                total=max(now.total, 1),
                completed=now.done,
                width=max(1, min(60, width - len(count) - 1)),
            ),
            Text(count, no_wrap=True),
        )
        yield bar
        line = Text(no_wrap=True, overflow="crop")
        for text, style in status_parts(now, width):
            line.append(_SEPARATOR if line else "")
            line.append(text, style)
        yield line


@asynccontextmanager
async def live(
    terminal: Terminal,
    ledger: Ledger,
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
    panel = _Panel()
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
        task = asyncio.create_task(_refresh(display, panel, ledger, stats), name="progress")
        try:
            yield
        finally:
            terminal.print_above(None)
            task.cancel()
            await asyncio.wait([task])


async def _refresh(
    display: Live, panel: _Panel, ledger: Ledger, stats: Callable[[], TrackerStats]
) -> None:
    pace = Pace()
    clock = asyncio.get_running_loop().time
    while True:
        try:
            panel.snapshot = _snapshot(ledger, stats(), pace, clock())
        except TrackerClosedError:  # the block will learn it by itself
            return
        display.refresh()
        await asyncio.sleep(_REFRESH)


def _snapshot(ledger: Ledger, stats: TrackerStats, pace: Pace, now: float) -> Snapshot:
    pace.note(now, stats.gate.granted, ledger.done)
    return Snapshot(
        total=ledger.total,
        complete=ledger.complete,
        done=ledger.done,
        not_ok=ledger.not_ok,
        sent_rate=pace.sent_rate,
        budget=stats.gate.rate,
        refusals=stats.refusals,
        round_time=stats.round_time,
        paused_for=stats.gate.paused_for,
        outage=stats.outage,
        degraded=stats.gate.degraded,
        left=pace.left(ledger.total - ledger.done) if ledger.complete else None,
    )
