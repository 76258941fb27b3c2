"""
What a page shows, as plain data: the one form in which recordings, journals and results meet.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from onehouse_tracker._text import printable
from onehouse_tracker.models import Outcome

__all__ = [
    "OPEN",
    "PENDING",
    "Row",
    "View",
    "head",
    "iso",
    "rounded",
    "told",
    "totals",
    "visible",
]

View = dict[str, Any]
"""
JSON-able data.  Times are seconds since ``head.started_at``.

* ``head``: what concerns the whole, see `head`;
* ``rows``: one list for each request, see `Row.packed`;
* ``budget``: requests by time, see `Series.packed`; `None` where nobody counted them;
* ``outages``: lists of beginning, end (`None` while it lasts) and reason;
* ``statements``: lists of label, state, reason and time of those that were not accepted.

What has only changes since an earlier view has ``since``, and in ``gone`` the numbers of rows
that are not shown any more.
"""

PENDING: Final = "PENDING"
"""The state of a request that is followed."""

OPEN: Final = "OPEN"
"""The state of a request that is not followed any more, and has no outcome."""


@dataclass(slots=True, kw_only=True)
class Row:
    """One request.  Times are seconds since the view's start, `None` where not known."""

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
    """An `Outcome`, `PENDING` or `OPEN`."""

    reason: str | None = None
    polls: int = 0
    waited: float | None = None
    delay_bound: float | None = None
    delay: float | None = None
    """The true delay, where somebody knows when the server finished it."""

    version: int = 0
    """When it changed last, in the count of its recording."""

    earlier_polls: int = 0
    """Polls of earlier times that it was followed."""

    @property
    def ok(self) -> bool:
        """Whether it did what it should, wholly or in part."""
        return self.state in _OK

    def packed(self) -> list[Any]:
        """The fields that a page shows, in an order that the page knows."""
        return [
            self.number,
            printable(self.request_id),
            visible(self.label),
            rounded(self.joined),
            rounded(self.first),
            rounded(self.ended),
            self.state,
            visible(self.reason),
            self.polls,
            rounded(self.waited),
            rounded(self.delay_bound),
            rounded(self.delay),
        ]


_OK = frozenset(str(outcome) for outcome in Outcome if outcome.ok)


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

        version: Of a recording, see `Recording.view`.

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
        "started_at": iso(started_at),
        "now": rounded(now),
        "version": version,
        "limit": rounded(limit),
        "polls": polls,
        "submissions": submissions,
        "refusals": refusals,
        "paused": rounded(paused),
        "failure": failure,
        "folded": [
            [visible(label), state, count] for (label, state), count in (folded or {}).items()
        ],
    }


def totals(view: View) -> Counter[str]:
    """How many requests of *view* are in which state."""
    counts = Counter(str(row[6]) for row in view["rows"])
    for _, state, count in view["head"]["folded"]:
        counts[state] += count
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


def iso(moment: datetime | None) -> str | None:
    """A point in time, in UTC."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")
