"""
What became of each statement that was to be sent.

Frozen and free of I/O, as the values in `models` are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Generic, TypeVar, overload

from onehouse_tracker.errors import RequestFailedError, TrackerError
from onehouse_tracker.models import Result
from onehouse_tracker.results import Results

__all__ = ["StatementResult", "StatementResults", "StatementState", "attach", "statements_of"]

H = TypeVar("H")

_FEW = 10
"""Request IDs that a message names."""


class StatementState(StrEnum):
    """What became of one statement."""

    ACCEPTED = "ACCEPTED"
    """The server took it, and it has a request ID."""

    REFUSED = "REFUSED"
    """The server refused it: nothing runs."""

    UNKNOWN = "UNKNOWN"
    """It may or may not run.  It is never sent again on its own: look in the console first."""

    UNSENT = "UNSENT"
    """It never left this machine: it is safe to send it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementResult(Generic[H]):
    """What became of one statement."""

    number: int
    """Its place among the statements, from 1."""

    state: StatementState
    """Whether it was accepted."""

    label: str | None = None
    """Its label."""

    request_id: str | None = None
    """The request that it became; `None` if it was not accepted."""

    result: Result | None = None
    """How its request ended.  `None` where nobody waited for that, or it is not known."""

    handle: H | None = field(default=None, repr=False, compare=False)
    """Of `submit_all`: await it for the result."""

    error: TrackerError | None = None
    """Why it was not accepted; or what went wrong after it was accepted."""

    @property
    def ok(self) -> bool:
        """Whether it was accepted and, where its end was waited for, succeeded."""
        if self.state is not StatementState.ACCEPTED or self.error is not None:
            return False
        return self.result is None or self.result.ok


class StatementResults(Sequence[StatementResult[H]]):
    """
    What became of every statement, in the order given.

    Args:
        items: One for each statement.

        results: Of `execute_all`: the results of the requests that were waited for.
    """

    __slots__ = ("_items", "results")

    results: Results
    """The results of the requests whose end was waited for, by request ID; acknowledge them with
    its ``ack()``.  Its ``callback_errors`` are what ``on_result`` raised."""

    def __init__(
        self, items: Iterable[StatementResult[H]] = (), *, results: Results | None = None
    ) -> None:
        self._items = tuple(items)
        self.results = Results() if results is None else results

    def __reduce__(self) -> tuple[Any, ...]:
        # A handle belongs to one tracker: a copy elsewhere is only data.
        items = tuple(replace(item, handle=None) for item in self._items)
        return _rebuilt, (items, self.results)

    @overload
    def __getitem__(self, index: int) -> StatementResult[H]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[StatementResult[H]]: ...
    def __getitem__(self, index: int | slice) -> StatementResult[H] | Sequence[StatementResult[H]]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[StatementResult[H]]:
        return iter(self._items)

    def __repr__(self) -> str:
        return f"<StatementResults: {self}>"

    def __str__(self) -> str:
        counts = Counter(item.state for item in self._items)
        parts = [f"{counts[state]} {word}" for state, word in _WORDS.items() if counts[state]]
        ids = [item.request_id for item in self._items if item.request_id is not None]
        named = ", ".join(ids[:_FEW]) + (", ..." if len(ids) > _FEW else "")
        return (", ".join(parts) or "no statements") + (f" (requests {named})" if ids else "")

    @property
    def ok(self) -> bool:
        """Whether every statement was accepted and, where that was waited for, succeeded."""
        return all(item.ok for item in self._items)

    @property
    def handles(self) -> tuple[H, ...]:
        """Of `submit_all`: the handles of what was accepted, for `Tracker.wait_all`."""
        return tuple(item.handle for item in self._items if item.handle is not None)

    def raise_for_failures(self) -> None:
        """
        Do nothing if every statement is ok, else raise what went wrong.

        Raises:
            ExceptionGroup: One `SubmissionError` or `RequestFailedError` for each that is not.
                A note names the statement by its number.
        """
        errors: list[TrackerError] = []
        for item in self._items:
            if item.ok:
                continue
            error = item.error
            if error is None and item.result is not None:
                error = RequestFailedError(item.result)
            if error is not None:
                error.add_note(f"statement {item.number}")
                errors.append(error)
        if errors:
            raise ExceptionGroup(
                f"{len(errors)} of {len(self)} statements did not succeed", errors
            )


_WORDS = {
    StatementState.ACCEPTED: "accepted",
    StatementState.REFUSED: "refused",
    StatementState.UNKNOWN: "that may or may not run",
    StatementState.UNSENT: "not sent",
}


def statements_of(error: BaseException) -> StatementResults[Any] | None:
    """
    What became of every statement, from the error that ended `submit_all` or `execute_all`.

    Args:
        error: What was raised: a `ProjectError`, `asyncio.CancelledError`, the `TimeoutError`
            of ``asyncio.timeout``, `KeyboardInterrupt`.

    Returns:
        The statements; `None` if the error did not come from these methods.
    """
    seen: BaseException | None = error
    while seen is not None:
        found = getattr(seen, "statements", None)
        if isinstance(found, StatementResults):
            return found
        seen = seen.__cause__ or seen.__context__
    return None


def attach(error: BaseException, statements: StatementResults[Any]) -> None:
    """Let `statements_of` find *statements* in *error*, and its traceback name them."""
    if "statements" not in error.__dict__:
        error.add_note(f"statements: {statements}")
    error.__dict__["statements"] = statements


def _rebuilt(items: Iterable[StatementResult[H]], results: Results) -> StatementResults[H]:
    return StatementResults(items, results=results)
