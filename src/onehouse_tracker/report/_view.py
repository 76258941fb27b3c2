"""
What a page shows, as plain data: the one form in which recordings, journals and results meet.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from onehouse_tracker._util.text import printable
from onehouse_tracker._util.times import iso
from onehouse_tracker.events import RequestEnded, RunEnded
from onehouse_tracker.models import Outcome, Result
from onehouse_tracker.results import TimeLeft
from onehouse_tracker.run_results import RunOutcome, RunResult

__all__ = [
    "COLUMNS",
    "OPEN",
    "PENDING",
    "STATES",
    "VOCABULARY",
    "Column",
    "Row",
    "View",
    "head",
    "named_rows",
    "outage",
    "rounded",
    "told",
    "totals",
    "visible",
]

View = dict[str, Any]
"""
JSON-able data.  Times are seconds since ``head.started_at``.

* ``columns`` and ``states``: what the page knows about rows and states, see `VOCABULARY`;
* ``head``: what concerns the whole, see `head`;
* ``rows``: one list for each request, its values in the order of ``columns``;
* ``budget``: requests by time, see `Series.packed`; `None` where nobody counted them;
* ``outages``: see `outage`;
* ``statements``: ``label``, ``state``, ``reason`` and ``at`` of those that were not accepted.

What has only changes since an earlier view has ``since``, and in ``gone`` the numbers of rows
that are not shown any more.  It has no ``columns`` and no ``states``: they never change.
"""

PENDING: Final = "PENDING"
"""The state of a request that is followed."""

OPEN: Final = "OPEN"
"""The state of a request that is not followed any more, and has no outcome."""


@dataclass(slots=True, kw_only=True)
class Row:
    """
    One request, or the run that it started, or a run that others started.

    Times are seconds since the view's start, `None` where not known.
    """

    number: int
    """Its place in the order in which requests came; it stays the same."""

    request_id: str
    label: str | None = None
    joined: float | None = None
    first: float | None = None
    """When its first poll was sent."""

    ended: float | None = None
    """When its outcome was known, or following it ended."""

    state: str = PENDING
    """An `Outcome`, a `RunOutcome`, `PENDING` or `OPEN`."""

    reason: str | None = None
    job: str | None = None
    run_id: str | None = None
    """The run whose end this row tells; `None` where it is that of the request."""

    polls: int = 0
    checks: int | None = None
    """How often the run was looked at."""

    waited: float | None = None
    delay_bound: float | None = None
    delay: float | None = None
    """The true delay, where somebody knows when the server finished it."""

    expected: float | None = None
    """When it will have ended, by what earlier runs took: as likely later as earlier."""

    expected_low: float | None = None
    """One time in ten it ends before that."""

    expected_high: float | None = None
    """One time in ten it ends after that."""

    usual: float | None = None
    """How many seconds it usually takes, where it has been running for unusually long."""

    version: int = 0
    """When it changed last, in the count of its recording."""

    earlier_polls: int = 0
    """Polls of earlier times that it was followed."""

    @property
    def ok(self) -> bool:
        """Whether it did what it should, wholly or in part."""
        return STATES[self.state] == "ok"

    def conclude(self, known: Result | RequestEnded) -> None:
        """Take over what is known of a request whose outcome is known."""
        self.state = str(known.outcome)
        self.reason = told(known.reason or None, self.state)
        self.polls = self.earlier_polls + known.polls
        for name in _OF_RESULTS:
            setattr(self, name, getattr(known, name))

    def conclude_run(self, known: RunResult | RunEnded) -> None:
        """Take over what is known of a run whose outcome is known."""
        self.state = str(known.outcome)
        self.reason = told(known.reason or None, self.state)
        self.checks = known.checks
        for name in _OF_RESULTS:
            setattr(self, name, getattr(known, name))

    def begin_again(self) -> None:
        """Forget how it ended: it is tracked again."""
        self.state, self.ended, self.reason, self.usual = PENDING, None, None, None
        for name in _OF_RESULTS:
            setattr(self, name, None)
        self.earlier_polls = self.polls

    def foresee(self, left: TimeLeft | None, at: float) -> None:
        """Take over how long it will still take from *at* on; `None` if that is not known."""
        if left is None or self.state != PENDING:
            self.expected = self.expected_low = self.expected_high = None
        else:
            self.expected = at + left.median
            self.expected_low, self.expected_high = at + left.low, at + left.high

    def packed(self) -> list[Any]:
        """The values that a page shows, in the order of `COLUMNS`."""
        return [encode(getattr(self, name)) for name, encode in _ENCODERS]


class Column(NamedTuple):
    """One value of every row of a page."""

    name: str
    """The attribute of `Row`, and the name of the value in the page."""

    kind: Literal["text", "count", "seconds", "state"]
    title: str | None = None
    """What the table of requests calls it; `None` does not show it there."""

    detail: bool = False
    """Whether the table leaves it out on a narrow screen, and where no request has a value."""

    of_result: bool = False
    """Whether `Result`, `RequestEnded` and `RunEnded` have it under the same name."""


COLUMNS: Final = (
    Column("number", "count"),
    Column("request_id", "text", "Request"),
    Column("label", "text", "Label"),
    Column("joined", "seconds"),
    Column("first", "seconds"),
    Column("ended", "seconds"),
    Column("state", "state", "Outcome"),
    Column("job", "text", "Job", detail=True),
    Column("run_id", "text", "Run", detail=True),
    Column("reason", "text", "Reason"),
    Column("polls", "count", "Polls", detail=True),
    Column("checks", "count", "Checks", detail=True),
    Column("waited", "seconds", "Waited", of_result=True),
    Column("expected", "seconds", "Time left", detail=True),
    Column("expected_low", "seconds"),
    Column("expected_high", "seconds"),
    Column("usual", "seconds", "Usually takes", detail=True),
    Column("delay_bound", "seconds", "Late by at most", detail=True, of_result=True),
    Column("delay", "seconds", "Late by", detail=True),
)
"""All that a page knows about one request: a new value needs no change elsewhere."""

_OF_RESULTS: Final = tuple(column.name for column in COLUMNS if column.of_result)

STATES: Final = {
    **{str(each): "ok" if each.ok else "not ok" for each in (*Outcome, *RunOutcome)},
    OPEN: "open",
    PENDING: "pending",
}
"""What a row can be, in the order in which a page shows it, and which kind of state that is."""

VOCABULARY: Final[View] = {
    "columns": [
        {"name": name, "kind": kind, "title": title, "detail": detail}
        for name, kind, title, detail, _ in COLUMNS
    ],
    "states": [{"name": name, "kind": kind} for name, kind in STATES.items()],
}
"""The part of a view that tells a page what rows and states mean."""


def head(  # noqa: PLR0913 - one for each fact
    *,
    source: str,
    started_at: datetime | None,
    now: float,
    version: str = "",
    limit: float | None = None,
    polls: int | None = None,
    submissions: int | None = None,
    refusals: int | None = None,
    paused: float | None = None,
    failure: str | None = None,
    folded: Counter[tuple[str | None, str]] | None = None,
) -> dict[str, Any]:
    """
    What concerns the whole.

    Args:
        source: ``run``, ``journal`` or ``results``: what the page can know.

        started_at: What times are counted from.

        now: Seconds since then: up to when something is known.

        version: Of a recording, see `ReportObserver.view`.

        limit: Requests per second that may be sent, if somebody said so.

        polls: Polls that brought a reply or an error.

        submissions: Statements that were accepted.

        refusals: Requests that were refused for their rate (429).

        paused: Seconds for which nothing could be sent because of them.

        failure: Why everything ended, where it did.

        folded: How many requests are not among the rows, by label and state.
    """
    return {
        "source": source,
        "started_at": iso(started_at, "milliseconds"),
        "now": rounded(now),
        "version": version,
        "limit": rounded(limit),
        "polls": polls,
        "submissions": submissions,
        "refusals": refusals,
        "paused": rounded(paused),
        "failure": failure,
        "folded": [
            {"label": visible(label), "state": state, "count": count}
            for (label, state), count in (folded or {}).items()
        ],
    }


def outage(began: float, ended: float | None, reason: str) -> dict[str, Any]:
    """A time in which the server did not answer; *ended* is `None` while it lasts."""
    return {"began": rounded(began), "ended": rounded(ended), "reason": reason}


def named_rows(view: View) -> list[dict[str, Any]]:
    """The rows of *view*, each value under the name of its column."""
    names = [column.name for column in COLUMNS]
    return [dict(zip(names, row, strict=True)) for row in view["rows"]]


def totals(view: View) -> Counter[str]:
    """How many requests of *view* are in which state."""
    counts = Counter(row["state"] for row in named_rows(view))
    for folded in view["head"]["folded"]:
        counts[folded["state"]] += folded["count"]
    return counts


def visible(text: str | None) -> str | None:
    """What others wrote, without what turns the text around it or cannot be seen."""
    return None if text is None else printable(text)


def told(reason: str | None, state: str) -> str | None:
    """The reason, where it says more than the outcome does."""
    return None if reason is None or reason.endswith(f"_STATUS_{state}") else reason


def rounded(value: float | None) -> float | None:
    """To the millisecond, which is finer than anything that can be seen; `None` if no number."""
    return None if value is None or not math.isfinite(value) else round(value, 3)


def _as_it_is(value: Any) -> Any:
    return value


_ENCODE: Final[dict[str, Callable[[Any], Any]]] = {
    "text": visible,
    "count": _as_it_is,
    "seconds": rounded,
    "state": _as_it_is,
}
_ENCODERS: Final = tuple((column.name, _ENCODE[column.kind]) for column in COLUMNS)
