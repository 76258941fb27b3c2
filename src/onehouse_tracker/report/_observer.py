"""
Keeps, of all that happens, what a page about it needs: bounded in memory, and cheap.
"""

from __future__ import annotations

import secrets
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, final

from onehouse_tracker import events
from onehouse_tracker._util.times import utc_now
from onehouse_tracker.errors import ConfigError
from onehouse_tracker.models import Outcome
from onehouse_tracker.report._budget_use import BudgetUse
from onehouse_tracker.report._view import (
    OPEN,
    PENDING,
    VOCABULARY,
    Row,
    View,
    head,
    outage,
    rounded,
)
from onehouse_tracker.results import TimeLeft

__all__ = ["ReportObserver"]

_FOLDED_LABELS: Final = 200
_GONE: Final = 5_000
_OUTAGES: Final = 200
_LATE: Final = 120.0
"""Seconds by which a poll may be counted later than it was sent: it counts when it ends."""


@final
class ReportObserver:
    """
    Observes one tracker: ``Tracker.from_env(observers=[recording])``.

    An event costs a few dictionary operations, whatever was recorded before.  Of a tracker
    that runs forever, it keeps the requests that are followed and the last that ended, those
    that ended badly longest; the others are counted.  It keeps request IDs, labels, the
    reasons that the server gave and the runs that are followed, but no statement and no response.

    Args:
        limit: Requests per second that the tracker may send, for the chart of the budget;
            `None` draws no line.

        keep: How many requests are kept at most, those that are followed aside.

        wall_clock: Tells the date.

    Raises:
        ConfigError: *keep* or *limit* is not more than 0.
    """

    def __init__(
        self,
        *,
        limit: float | None = None,
        keep: int = 20_000,
        wall_clock: Callable[[], datetime] | None = None,
    ) -> None:
        if keep <= 0 or (limit is not None and not limit > 0):
            raise ConfigError("a recording keeps more than 0 requests, and a limit is above 0")
        self.limit = limit
        self.version = 0
        """Grows with each event that changes something."""
        self._keep = keep
        self._wall_clock = wall_clock or utc_now
        # Tells this recording from that of an earlier run on the same port.
        self._token = secrets.token_hex(6)
        self._start: float | None = None
        self._started_at: datetime | None = None
        self._last = 0.0
        self._joined = 0
        self._rows: dict[str, Row] = {}
        # Ordered sets.  By version, so that changes are found from the end ...
        self._changed: dict[str, Row] = {}
        # ... and what may be folded, the oldest first.
        self._ended_well: dict[str, None] = {}
        self._ended_badly: dict[str, None] = {}
        self._folded: Counter[tuple[str | None, str]] = Counter()
        self._folded_labels: set[str | None] = set()
        self._gone: deque[tuple[int, int]] = deque(maxlen=_GONE)
        self._forgot_gone = 0
        self._budget = BudgetUse()
        self._outages: deque[dict[str, Any]] = deque(maxlen=_OUTAGES)
        self._failure: str | None = None
        self._left: Callable[[Row, float], TimeLeft | None] | None = None
        self._runs: dict[str, Row] = {}
        """Those of runs that are followed, by name."""
        self._handlers: dict[type[events.Event], Callable[[Any], None]] = {
            events.RequestJoined: self._join,
            events.PollFinished: self._poll,
            events.RequestOverdue: self._overdue,
            events.RequestEnded: self._end,
            events.RequestDropped: self._drop,
            events.RunFollowed: self._run_followed,
            events.RunOverdue: self._run_overdue,
            events.CheckEnded: self._check,
            events.RunEnded: self._run_ended,
            events.RunDropped: self._run_dropped,
            events.StatementSubmitted: self._submit,
            events.BudgetRefused: self._refuse,
            events.OutageBegan: self._outage_began,
            events.OutageEnded: self._outage_ended,
            events.ProjectFailed: self._fail,
        }

    def __repr__(self) -> str:
        return f"<ReportObserver of {self._joined} requests>"

    def __call__(self, event: events.Event) -> None:
        """Take note of *event*."""
        handle = self._handlers.get(type(event))
        if handle is None:
            return
        if self._start is None:
            self._start = event.at
            self._started_at = self._wall_clock()
        self._last = max(self._last, event.at - self._start)
        self.version += 1
        handle(event)

    def foresee_by(self, left: Callable[[Row, float], TimeLeft | None]) -> None:
        """*left* tells how long that of a row will still take, at a time on the tracker's loop."""
        self._left = left

    def foresee(self, rows: Sequence[Row], now: float) -> None:
        """Let *rows* know at the loop time *now* when they will probably have ended."""
        if self._left is None:
            return
        for row in rows:
            row.foresee(self._left(row, now), self._at(now))

    @property
    def mark(self) -> str:
        """What the ``head.version`` of every view begins with, as long as nothing changes."""
        return f"{self._token}-{self.version}-"

    def view(
        self,
        *,
        since: str = "",
        now: float | None = None,
        delays: Mapping[str, float] | None = None,
    ) -> View:
        """
        What is known, as plain data.

        Args:
            since: The ``head.version`` of an earlier view: only what changed since then.  Where
                that is not known any more, everything.

            now: Time on the tracker's loop; `None` is that of the last event.

            delays: True delays in seconds by request ID, where somebody knows them.
        """
        view, rows = self.outline(since=since, now=now)
        if self._start is not None:
            self.foresee(rows, self._start + view["head"]["now"])
        for row in rows:
            row.delay = None if delays is None else delays.get(row.request_id, row.delay)
        view["rows"] = [row.packed() for row in rows]
        return view

    def outline(self, *, since: str = "", now: float | None = None) -> tuple[View, list[Row]]:
        """
        What `view` returns, but for the rows, and these: packing thousands takes its time.

        A row that changes before it is packed changes again in the next view.
        """
        seconds = self._last
        if now is not None and self._start is not None:
            seconds = max(seconds, now - self._start)
        version = self._known(since)
        rows = list(self._rows.values()) if version is None else []
        view: View = {
            "head": head(
                source="run",
                started_at=self._started_at,
                now=seconds,
                version=f"{self.mark}{int(seconds)}",
                limit=self.limit,
                polls=self._budget.counts["polls"],
                submissions=self._budget.counts["submissions"],
                refusals=self._budget.counts["refusals"],
                paused=self._budget.paused,
                failure=self._failure,
                folded=self._folded,
            ),
            "outages": [dict(each) for each in self._outages],
            "statements": [],
        }
        if version is None:
            view |= VOCABULARY
            view["budget"] = self._budget.by_time.packed()
        else:
            changed, seen_until = version
            for row in reversed(self._changed.values()):
                if row.version <= changed:
                    break
                rows.append(row)
            view["budget"] = self._budget.by_time.packed(seen_until - _LATE)
            view["since"] = since
            view["gone"] = list(self._gone_after(changed))
        return view, rows

    def _gone_after(self, version: int) -> Iterator[int]:
        for at, number in reversed(self._gone):
            if at <= version:
                return
            yield number

    def _known(self, since: str) -> tuple[int, int] | None:
        """The version and the second of an earlier view of this recording."""
        token, _, rest = since.partition("-")
        version, _, second = rest.partition("-")
        # A page sends it back to us, and so can anybody else.
        if token != self._token or not (_is_count(version) and _is_count(second)):
            return None
        if not self._forgot_gone <= int(version) <= self.version:
            return None
        return int(version), int(second)

    def _at(self, at: float) -> float:
        return max(0.0, at - (self._start or 0.0))

    # --- Requests ----------------------------------------------------------------------

    def _touch(self, row: Row) -> None:
        row.version = self.version
        self._changed.pop(row.request_id, None)
        self._changed[row.request_id] = row

    def _join(self, event: events.RequestJoined) -> None:
        row = self._rows.get(event.request_id)
        if row is None:
            row = self._add(event.request_id, event.label, self._at(event.at))
        elif row.state != PENDING:
            # Followed again, after a deadline for example: the same request continues.
            self._open_again(row)
        self._touch(row)

    def _add(self, request_id: str, label: str | None, joined: float) -> Row:
        self._joined += 1
        row = Row(number=self._joined, request_id=request_id, label=label, joined=joined)
        self._rows[request_id] = row
        return row

    def _open_again(self, row: Row) -> None:
        self._ended_well.pop(row.request_id, None)
        self._ended_badly.pop(row.request_id, None)
        row.begin_again()

    def _poll(self, event: events.PollFinished) -> None:
        sent = self._at(event.at - event.took)
        self._budget.add("polls", sent)
        if event.error is None:
            self._failure = None  # whatever failed the project is over
        row = self._rows.get(event.request_id)
        if row is None or row.state != PENDING:
            return
        row.polls = row.earlier_polls + event.attempt
        if row.first is None:
            row.first = sent
        row.reason = None if event.reason is None else (event.reason or event.error)
        self._touch(row)

    def _overdue(self, event: events.RequestOverdue) -> None:
        self._mark_overdue(event.request_id, event.usual)

    def _mark_overdue(self, name: str, usual: float) -> None:
        row = self._rows.get(name)
        if row is not None:
            row.usual = usual
            self._touch(row)

    def _end(self, event: events.RequestEnded) -> None:
        if (row := self._rows.get(event.request_id)) is None:
            return
        row.conclude(event)
        row.ended = self._at(event.at)
        self._over(row)

    def _drop(self, event: events.RequestDropped) -> None:
        if (row := self._rows.get(event.request_id)) is None:
            return
        row.reason = event.reason
        self._leave(row, event)

    def _leave(self, row: Row, event: events.RequestDropped | events.RunDropped) -> None:
        row.state = str(Outcome.TIMED_OUT) if event.timed_out else OPEN
        self._close(row, self._at(event.at))

    def _close(self, row: Row, at: float) -> None:
        row.ended = at
        row.waited = None if row.joined is None else at - row.joined
        self._over(row)

    def _over(self, row: Row) -> None:
        self._touch(row)
        self._runs.pop(row.request_id, None)
        kept = self._ended_well if row.ok else self._ended_badly
        kept[row.request_id] = None
        if len(self._ended_well) + len(self._ended_badly) > self._keep:
            self._fold()

    def _fold(self) -> None:
        """Count the oldest of those that ended, and forget it: a success if there is one."""
        kept = self._ended_well or self._ended_badly
        request_id = next(iter(kept))
        del kept[request_id]
        row = self._rows.pop(request_id)
        self._changed.pop(request_id, None)
        label = row.label
        if label not in self._folded_labels:
            if len(self._folded_labels) < _FOLDED_LABELS:
                self._folded_labels.add(label)
            else:
                label = "other labels"
        self._folded[label, row.state] += 1
        if len(self._gone) == _GONE:
            self._forgot_gone = self._gone[0][0]
        self._gone.append((self.version, row.number))

    # --- Runs: the row of a request becomes that of the run it started ------------------------

    def _run_followed(self, event: events.RunFollowed) -> None:
        row = self._row_of_run(event)
        self._runs[row.request_id] = row
        self._touch(row)

    def _run_overdue(self, event: events.RunOverdue) -> None:
        self._mark_overdue(event.request_id or event.run_id, event.usual)

    def _run_ended(self, event: events.RunEnded) -> None:
        row = self._row_of_run(event)
        row.conclude_run(event)
        row.ended = self._at(event.at)
        self._over(row)

    def _run_dropped(self, event: events.RunDropped) -> None:
        row = self._rows.get(event.request_id or event.run_id)
        if row is not None and row.state == PENDING:
            self._leave(row, event)

    def _row_of_run(self, event: events.RunFollowed | events.RunEnded) -> Row:
        name = event.request_id or event.run_id or f"(not sent: {self._joined + 1})"
        row = self._rows.get(name) or self._add(name, event.label, self._at(event.at))
        if row.state != PENDING:
            self._open_again(row)
        row.job, row.run_id = event.job, event.run_id
        return row

    def _check(self, event: events.CheckEnded) -> None:
        # A statement and its polls, out of the same budget; only their end is known.
        at = self._at(event.at)
        for kind, number in (("submissions", 1), ("polls", event.polls)):
            self._budget.add(kind, at, number)
        for row in self._runs.values():
            if row.job == event.job and event.run_id in {None, row.run_id}:
                self._touch(row)  # it may take longer than was thought

    # --- The project -------------------------------------------------------------------

    def _submit(self, event: events.StatementSubmitted) -> None:
        self._budget.add("submissions", self._at(event.at))

    def _refuse(self, event: events.BudgetRefused) -> None:
        at = self._at(event.at)
        self._budget.add("refusals", at)
        self._budget.pause(at, event.paused_for)

    def _outage_began(self, event: events.OutageBegan) -> None:
        self._outages.append(outage(self._at(event.at), None, event.reason))

    def _outage_ended(self, event: events.OutageEnded) -> None:
        self._end_outage(event.at)

    def _fail(self, event: events.ProjectFailed) -> None:
        self._failure = event.message
        self._end_outage(event.at)
        for row in list(self._rows.values()):
            if row.state == PENDING:
                row.state = OPEN
                self._close(row, self._at(event.at))

    def _end_outage(self, at: float) -> None:
        if self._outages and self._outages[-1]["ended"] is None:
            self._outages[-1]["ended"] = rounded(self._at(at))


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16  # noqa: PLR2004 - a plain number
