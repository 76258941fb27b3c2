"""
Progress of a blocking wait: in the output of a notebook's cell, or on a terminal.
"""

from __future__ import annotations

import contextvars
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

from onehouse_tracker.errors import ConfigError, TrackerClosedError
from onehouse_tracker.models import Outcome, Result
from onehouse_tracker.observers._progress import (
    Pace,
    Panel,
    Snapshot,
    duration,
    snapshot_of,
    status_parts,
)

if TYPE_CHECKING:
    from onehouse_tracker.stats import TrackerStats

__all__ = ["Tally", "shown"]

_REFRESH = 0.25
_WIDE = 10_000


class Tally:
    """How many results there are, counted on the polling path."""

    def __init__(self) -> None:
        self.outcomes: Counter[Outcome] = Counter()

    def note(self, result: Result) -> None:
        """One more request has its result."""
        self.outcomes[result.outcome] += 1


class _Display(Protocol):
    """Somewhere to look at."""

    def show(self, snapshot: Snapshot) -> None:
        """Show this in place of what was shown before."""

    def close(self) -> None:
        """What was shown last stays, or goes."""


@contextmanager
def shown(
    progress: bool | None,  # noqa: FBT001 - the name of the option, and private
    total: int,
    stats: Callable[[], TrackerStats],
) -> Iterator[Tally | None]:
    """
    Show the progress of a wait while the block runs.

    Args:
        progress: `None` shows it in a notebook, `True` on a terminal too.

        total: Requests to wait for.

        stats: What the tracker is doing; called from a thread.

    Returns:
        Where to count the results; `None` where nothing is shown.

    Raises:
        ConfigError: It is to be shown on a terminal, and rich is not installed.
    """
    display = _display(progress)
    if display is None or not total:
        yield None
        return
    tally, pace, ended = Tally(), Pace(), threading.Event()

    def snapshot() -> Snapshot:
        return snapshot_of(
            # A copy: it is counted in another thread.
            stats(),
            pace,
            time.monotonic(),
            total=total,
            outcomes=tally.outcomes.copy(),
        )

    def refresh() -> None:
        while not ended.wait(_REFRESH):
            try:
                display.show(snapshot())
            except TrackerClosedError:  # the wait will learn it by itself
                return

    # With the caller's context: in it a notebook's kernel knows whose output this is.
    thread = threading.Thread(
        target=contextvars.copy_context().run,
        args=(refresh,),
        name="onehouse-tracker progress",
        daemon=True,
    )
    display.show(snapshot())
    thread.start()
    try:
        yield tally
    finally:
        ended.set()
        thread.join()
        with suppress(TrackerClosedError):
            display.show(snapshot())
        display.close()


def _display(progress: bool | None) -> _Display | None:  # noqa: FBT001
    if progress is False:
        return None
    if _in_notebook():
        return _Cell()
    if progress is None or not sys.stderr.isatty():
        return None
    try:
        import rich  # noqa: F401, PLC0415 - an extra
    except ModuleNotFoundError:
        raise ConfigError(
            "progress on a terminal needs pip install 'onehouse-tracker[cli]'"
        ) from None

    return _Terminal()


def _in_notebook() -> bool:
    # A program in a notebook has imported it; others do not pay for the question.
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return False
    return getattr(ipython.get_ipython(), "kernel", None) is not None


class _Cell:
    """The output of a cell: one display, updated in place, that stays as it was at last."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._began = time.monotonic()
        self._last: Snapshot | None = None

    def show(self, snapshot: Snapshot) -> None:
        self._last = snapshot
        self._put(snapshot, status_parts(snapshot, _WIDE))

    def close(self) -> None:
        if self._last is not None:
            how_many = status_parts(self._last, _WIDE)[:3]  # how fast it was is over
            took = duration(time.monotonic() - self._began)
            self._put(self._last, [*how_many, (f"after {took}", "")])

    def _put(self, snapshot: Snapshot, parts: list[tuple[str, str]]) -> None:
        ipython: Any = sys.modules["IPython"]  # of which not everything has types

        text = "  ".join(words for words, _ in parts)
        count = f"{snapshot.done}/{snapshot.total}"
        bar = f'<progress value="{snapshot.done}" max="{snapshot.total}"></progress>'
        content = {
            "text/plain": f"{count}  {text}",
            "text/html": f"<div>{bar} <code>{count}</code> {_coloured(parts)}</div>",
        }
        if self._handle is None:
            self._handle = ipython.display.display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


def _coloured(parts: list[tuple[str, str]]) -> str:
    return " &nbsp; ".join(
        f'<span style="color:{color}">{escape(words)}</span>' if color else escape(words)
        for words, style in parts
        for color in (_COLOURS.get(style, ""),)
    )


_COLOURS = {"green": "#2a7d2e", "red": "#c62828", "yellow": "#9a6700"}
"""Readable on light and on dark ground."""


class _Terminal:
    """Two lines on stderr, erased at the end."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - an extra
        from rich.live import Live  # noqa: PLC0415

        self._panel = Panel()
        self._live = Live(
            self._panel,
            console=Console(stderr=True, highlight=False, markup=False, emoji=False),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def show(self, snapshot: Snapshot) -> None:
        self._panel.snapshot = snapshot
        self._live.refresh()

    def close(self) -> None:
        self._live.stop()
