"""
What there is to say about the progress of a wait: numbers, their pace, and a panel of rich.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from onehouse_tracker.models import Outcome
from onehouse_tracker.run_results import RunOutcome

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from onehouse_tracker.stats import TrackerStats

__all__ = [
    "Counts",
    "Pace",
    "Panel",
    "Snapshot",
    "duration",
    "in_order",
    "snapshot_of",
    "status_parts",
]

Counts: TypeAlias = Mapping[Outcome, int] | Mapping[RunOutcome, int]
"""How many requests, or runs, ended how."""

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
    likely: tuple[float, float] | None = None
    """Eight times in ten it takes so long, by what earlier runs took."""
    overdue: int = 0
    outcomes: Counts = field(default_factory=dict)
    """How many of those that are done ended how."""
    degraded: bool = False
    """Whether a shared budget was lost: only our static share of it is spent."""

    @property
    def pending(self) -> int:
        """Requests without a result."""
        return self.total - self.done


def status_parts(snapshot: Snapshot, width: int) -> list[tuple[str, str]]:
    """
    What to show in *width* columns, as texts and their styles.

    Where there is too little room the least important parts are left out, never cut; first of
    all, how those that are done ended.
    """
    parts = _parts(snapshot, detailed=True)
    if _length(parts) > width:
        parts = _parts(snapshot, detailed=False)
    while len(parts) > 1 and _length(parts) > width:
        parts.remove(max(parts, key=lambda part: part[0]))

    return [(text, style) for _, text, style in parts]


def _length(parts: list[tuple[int, str, str]]) -> int:
    return len(_SEPARATOR.join(part[1] for part in parts))


def _parts(snapshot: Snapshot, *, detailed: bool) -> list[tuple[int, str, str]]:
    partly, wrong = _by_outcome(snapshot.outcomes) if detailed else ("", "")
    parts = [
        # Each with its importance, 0 being the highest, and its style.
        (0, f"{snapshot.pending} pending", ""),
        (1, f"{snapshot.done - snapshot.not_ok} ok{partly}", "green"),
        (0, f"{snapshot.not_ok} not ok{wrong}", "red" if snapshot.not_ok else ""),
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
        parts.append((3, f"about {_rough(snapshot.left)} left{_range(snapshot.likely)}", ""))
    if snapshot.overdue:
        parts.append((1, f"{snapshot.overdue} overdue", "yellow"))
    return parts


def _range(likely: tuple[float, float] | None) -> str:
    return "" if likely is None else f" ({_rough(likely[0])} to {_rough(likely[1])})"


def in_order(outcomes: Counts) -> Iterator[tuple[Outcome | RunOutcome, int]]:
    """Each outcome and how many there are, the best outcome first."""
    for word in RunOutcome:  # it has the words of requests too
        for outcome, count in outcomes.items():
            if outcome == word:
                yield outcome, count


def _by_outcome(outcomes: Counts) -> tuple[str, str]:
    counted = list(in_order(outcomes))
    partial = sum(count for outcome, count in counted if outcome == Outcome.PARTIALLY_SUCCEEDED)
    wrong = ", ".join(
        f"{count} {outcome.replace('_', ' ').lower()}"
        for outcome, count in counted
        if not outcome.ok and count
    )
    return f" ({partial} partially)" if partial else "", f" ({wrong})" if wrong else ""


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
        """Seconds until *pending* requests end at the rate so far; `None`: too early."""
        if not self._ended or self._ended[-1][1] - self._ended[0][1] < _ENDS_NEEDED:
            return None
        return pending / _slope(self._ended)


def _slope(log: deque[tuple[float, int]]) -> float:
    if len(log) < 2 or log[-1][0] <= log[0][0]:  # noqa: PLR2004
        return 0.0
    return (log[-1][1] - log[0][1]) / (log[-1][0] - log[0][0])


class Panel:
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


def snapshot_of(
    stats: TrackerStats,
    pace: Pace,
    now: float,
    *,
    total: int,
    outcomes: Counts,
    complete: bool = True,
) -> Snapshot:
    """
    What to show at *now*; *pace* takes note of it.

    Args:
        stats: What the tracker is doing.

        pace: What was seen before.

        now: Seconds, on any clock that is always the same.

        total: Requests to follow, as far as they are known.

        outcomes: How many of them ended how; the others have no result yet.

        complete: Whether no more requests will come.
    """
    done = sum(outcomes.values())
    pace.note(now, stats.limiter.granted, done)
    known = stats.left if complete else None
    return Snapshot(
        total=total,
        complete=complete,
        done=done,
        not_ok=sum(count for outcome, count in outcomes.items() if not outcome.ok),
        outcomes=dict(outcomes),
        sent_rate=pace.sent_rate,
        budget=stats.limiter.rate,
        refusals=stats.refusals,
        round_time=stats.round_time,
        paused_for=stats.limiter.paused_for,
        outage=stats.outage,
        degraded=stats.limiter.degraded,
        left=known.median if known else pace.left(total - done) if complete else None,
        likely=(known.low, known.high) if known else None,
        overdue=stats.overdue,
    )


def duration(seconds: float) -> str:
    """Seconds, for people: ``4.2 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 59.95:  # noqa: PLR2004 - what would be written as 60.0 s
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"
