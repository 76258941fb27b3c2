"""
The results of one wait, in the order in which they were asked for: of a project, or of many.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

from onehouse_tracker._util.text import printable
from onehouse_tracker.errors import (
    NotFoundError,
    RejectedError,
    RequestFailedError,
    StatusError,
    UnauthorizedError,
)
from onehouse_tracker.models import OUTCOME_OF, ApiStatus, Outcome, Result

__all__ = ["PoolResults", "RequestStatus", "Results", "TimeLeft"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLeft:
    """
    How long something will still take, by what earlier runs took.  Seconds.

    It is about the end on the server, which may have come since the last poll.
    """

    median: float
    """As likely it takes longer as not."""

    low: float
    """One time in ten it takes less."""

    high: float
    """One time in ten it takes longer."""

    def to_dict(self) -> dict[str, float]:
        """The three numbers by name, to the tenth of a second."""
        numbers = {"median": self.median, "low": self.low, "high": self.high}
        return {name: round(value, 1) for name, value in numbers.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestStatus:
    """What one poll said about one request; see ``Tracker.status``."""

    request_id: str
    """The request."""

    label: str | None = None
    """Its label."""

    status: str | None = None
    """The server's word, verbatim; `None` where the reply had none, or there was none."""

    response: Mapping[str, Any] | None = field(default=None, repr=False, hash=False)
    """``apiResponse`` verbatim.  It may hold secrets, so it is not in the `repr`."""

    error: StatusError | None = None
    """Why there is no status."""

    polls: int = 1
    """HTTP requests that were sent: more than one after a 429."""

    took: float = 0.0
    """Seconds from the first of them to the reply."""

    left: TimeLeft | None = None
    """How long it will still take; `None` where it has ended, or where nothing is known: without
    a history, of a name that was never seen, or where nobody said when it was submitted."""

    overdue: bool = False
    """Whether it has been running for longer than 99 % of earlier runs of the same."""

    @property
    def pending(self) -> bool:
        """Whether the server is still at it."""
        return self.status == ApiStatus.PENDING

    @property
    def outcome(self) -> Outcome | None:
        """What it means; `None` while it is pending, `UNREACHABLE` where there was no reply."""
        if self.pending:
            return None
        if isinstance(self.error, NotFoundError):
            return Outcome.NOT_FOUND
        if isinstance(self.error, RejectedError | UnauthorizedError):
            return Outcome.REJECTED
        if self.error is not None:
            return Outcome.UNREACHABLE
        return OUTCOME_OF.get(self.status or "", Outcome.UNRECOGNIZED)

    @property
    def ok(self) -> bool:
        """Whether it has ended, and succeeded, wholly or in part."""
        return self.outcome is not None and self.outcome.ok


class Results(Mapping[str, Result]):
    """
    One `Result` per request ID, in the order given.

    Args:
        results: The results; of several with one request ID the last one counts.

        callback_errors: What ``on_result`` raised, by request ID.

        acknowledge: Writes down that these request IDs have arrived, see `ack`; what it returns,
            if anything, is awaited by `ack_and_wait`.
    """

    __slots__ = ("_acknowledge", "_by_id", "callback_errors")

    callback_errors: Mapping[str, Exception]
    """What ``on_result`` raised, by request ID.  Everybody else got their results all the same."""

    def __init__(
        self,
        results: Iterable[Result] = (),
        *,
        callback_errors: Mapping[str, Exception] | None = None,
        acknowledge: Callable[[Iterable[str]], Awaitable[None] | None] | None = None,
    ) -> None:
        self._by_id = {result.request_id: result for result in results}
        self.callback_errors = dict(callback_errors or {})
        self._acknowledge = acknowledge

    def __getstate__(self) -> dict[str, Any]:
        # What acknowledges belongs to one tracker: a copy elsewhere is only data.
        return {"_by_id": self._by_id, "callback_errors": self.callback_errors}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._by_id = state["_by_id"]
        self.callback_errors = state["callback_errors"]
        self._acknowledge = None

    def __getitem__(self, request_id: str) -> Result:
        return self._by_id[request_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)

    def __repr__(self) -> str:
        return (
            f"<Results: {len(self.succeeded)} succeeded, {len(self.failed)} failed,"
            f" {len(self.unfinished)} unfinished>"
        )

    def _repr_html_(self) -> str:
        """
        What a notebook shows: how many ended how, and why those that are not ok are not.

        Everything is escaped, at most `_ROWS` requests are shown, and no response is.
        """
        totals = Counter(str(result.outcome) for result in self._by_id.values())
        cells = "".join(_row(outcome, f"{count:,}") for outcome, count in totals.most_common())
        html = f"<table><thead>{_row('outcome', 'requests', tag='th')}</thead>{cells}</table>"
        wrong = [result for result in self._by_id.values() if not result.ok]
        if wrong:
            head = _row("request ID", "label", "outcome", "reason", tag="th")
            rows = "".join(
                _row(result.request_id, result.label or "", result.outcome, _shorten(result))
                for result in wrong[:_ROWS]
            )
            html += f"<table><thead>{head}</thead>{rows}</table>"
        if len(wrong) > _ROWS:
            html += f"<p>... and {len(wrong) - _ROWS:,} more that are not ok</p>"
        return f"<div>{html}</div>"

    @property
    def succeeded(self) -> tuple[Result, ...]:
        """What succeeded, wholly or in part."""
        return tuple(result for result in self._by_id.values() if result.ok)

    @property
    def failed(self) -> tuple[Result, ...]:
        """What ended otherwise; asking again would not change it."""
        return tuple(
            result for result in self._by_id.values() if result.outcome.finished and not result.ok
        )

    @property
    def unfinished(self) -> tuple[Result, ...]:
        """What may still end well: `TIMED_OUT` and `UNREACHABLE`.  Wait again for these."""
        return tuple(result for result in self._by_id.values() if not result.outcome.finished)

    @property
    def ok(self) -> bool:
        """Whether every request succeeded, wholly or in part."""
        return all(result.ok for result in self._by_id.values())

    def raise_for_failures(self) -> None:
        """
        Do nothing if every request is ok, else raise what went wrong.

        Raises:
            ExceptionGroup: One `RequestFailedError` per request that is not ok, those that
                are unfinished included.
        """
        errors = [RequestFailedError(result) for result in self._by_id.values() if not result.ok]
        if errors:
            raise ExceptionGroup(f"{len(errors)} of {len(self)} requests did not succeed", errors)

    def ack(self) -> None:
        """
        Tell the journal that these results have arrived where you wanted them.

        Until then ``Tracker.resume()`` delivers them again after a crash.  This returns at
        once; it is written soon afterwards, and at the latest when the tracker closes.
        `ack_and_wait` waits for that.  In ``sync`` this one waits.  Without a journal it does
        nothing, and neither does it in a copy or in what was pickled.

        Raises:
            TrackerClosedError: The tracker was closed before, by an exception.
        """
        self._begin_ack()

    async def ack_and_wait(self) -> None:
        """
        Do what `ack` does, and wait until it is on disk.  Cancelling ends the waiting only.

        Raises:
            TrackerClosedError: The tracker was closed before, by an exception.

            JournalError: It could not be written.
        """
        if (written := self._begin_ack()) is not None:
            await written

    def _begin_ack(self) -> Awaitable[None] | None:
        if self._acknowledge is None:
            return None
        return self._acknowledge(
            [key for key, result in self._by_id.items() if result.outcome.finished]
        )

    def to_dicts(self) -> list[dict[str, Any]]:
        """Plain data, one dict per request: what ``pandas.DataFrame(...)`` takes."""
        return [result.to_dict() for result in self._by_id.values()]


class PoolResults(Mapping[str, Results]):
    """
    The `Results` of each project, by its name, in the order given.

    A project that failed as a whole is here too, with what was known before it failed.

    Args:
        results: The results of each project.

        errors: What failed a whole project, by its name.
    """

    __slots__ = ("_by_name", "errors")

    errors: Mapping[str, Exception]
    """What failed a whole project, by its name: an `AuthenticationError`, an `OutageError`.
    A `ProjectError` names in ``pending`` the requests that are still open."""

    def __init__(
        self, results: Mapping[str, Results], *, errors: Mapping[str, Exception] | None = None
    ) -> None:
        self._by_name = dict(results)
        self.errors = dict(errors or {})

    def __getstate__(self) -> dict[str, Any]:
        return {"_by_name": self._by_name, "errors": self.errors}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._by_name = state["_by_name"]
        self.errors = state["errors"]

    def __getitem__(self, name: str) -> Results:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __repr__(self) -> str:
        bad = sum(not results.ok for results in self._by_name.values())
        return (
            f"<PoolResults: {len(self)} projects, {bad} with requests that are not ok,"
            f" {len(self.errors)} that failed>"
        )

    @property
    def ok(self) -> bool:
        """Whether no project failed, and every request succeeded, wholly or in part."""
        return not self.errors and all(results.ok for results in self._by_name.values())

    def raise_for_failures(self) -> None:
        """
        Do nothing if all are ok, else raise what went wrong.

        Raises:
            ExceptionGroup: For each project the error that failed it, and the group that
                ``Results.raise_for_failures()`` raises.  A note names the project.
        """
        errors: list[Exception] = []
        for name, results in self._by_name.items():
            found: list[Exception] = []
            if name in self.errors:
                # A copy: notes would gather on one object that is raised again and again.
                found.append(copy.copy(self.errors[name]))
            try:
                results.raise_for_failures()
            except ExceptionGroup as group:
                found.append(group)
            for error in found:
                error.add_note(f"in project {name!r}")
            errors += found
        if errors:
            raise ExceptionGroup(f"not all went well in {len(self)} projects", errors)

    def ack(self) -> None:
        """
        Tell the journals that these results have arrived where you wanted them.

        As `Results.ack` does, this returns at once.

        Raises:
            TrackerClosedError: The pool was closed before, by an exception.
        """
        for results in self._by_name.values():
            results.ack()

    async def ack_and_wait(self) -> None:
        """
        Do what `ack` does, and wait until all of it is on disk.

        Raises:
            TrackerClosedError: The pool was closed before, by an exception.

            ExceptionGroup: Some of it could not be written.
        """
        begun = [results._begin_ack() for results in self._by_name.values()]  # noqa: SLF001
        errors: list[Exception] = []
        for written in begun:
            try:
                if written is not None:
                    await written
            except Exception as error:  # noqa: BLE001 - raised with the others
                errors.append(error)
        if errors:
            raise ExceptionGroup("not everything could be acknowledged", errors)


_ROWS = 50
_LONGEST_REASON = 300


def _row(*cells: str, tag: str = "td") -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(printable(cell))}</{tag}>' for cell in cells)}</tr>"


def _shorten(result: Result) -> str:
    reason = result.reason
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}..."
