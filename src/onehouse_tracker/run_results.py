"""
Values about work that continues after its request has ended, such as the runs of jobs.

Frozen and free of I/O, as those in `models` are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, overload

from onehouse_tracker._checks import check_job_name, check_label, check_moment, check_run_id
from onehouse_tracker._util.own_response import copied
from onehouse_tracker.errors import RunFailedError
from onehouse_tracker.models import Result
from onehouse_tracker.models import own_copy as own_copy_of_request

__all__ = ["JobRun", "RunOutcome", "RunResult", "RunResults"]


class RunOutcome(StrEnum):
    """
    Our words for how following one run ended.

    A statement that starts no run has the outcome of its request, by the same word; four words
    exist only for these: PARTIALLY_SUCCEEDED, INVALID, NOT_FOUND and REJECTED.
    """

    SUCCEEDED = "SUCCEEDED"
    """The server says that the run is completed."""

    PARTIALLY_SUCCEEDED = "PARTIALLY_SUCCEEDED"
    """The statement starts no run, and some of its sub-operations did not succeed."""

    FAILED = "FAILED"
    """The server says that the run failed."""

    CANCELED = "CANCELED"
    """The server says that the run was canceled, by anyone."""

    NOT_STARTED = "NOT_STARTED"
    """Nothing runs, for certain: the server refused or failed the statement, or it was never
    sent; see `RunResult.reason`."""

    START_UNKNOWN = "START_UNKNOWN"
    """The statement was sent, and we do not know whether a run was started.  It is never sent
    again on its own."""

    STARTED = "STARTED"
    """The statement was accepted, but no run ID came back: the run cannot be followed."""

    INVALID = "INVALID"
    """The statement starts no run, and the server says that it makes no sense."""

    UNRECOGNIZED = "UNRECOGNIZED"
    """Three checks in a row brought no status word, or one that we do not know; or the run was
    NOT_RUN for too long."""

    NOT_FOUND = "NOT_FOUND"
    """The statement starts no run, and the server did not know its request."""

    REJECTED = "REJECTED"
    """The statement starts no run, and the server refuses to answer for its request."""

    LOST = "LOST"
    """The server no longer knows the run, while it answers about others: perhaps the job was
    renamed or deleted."""

    UNREACHABLE = "UNREACHABLE"
    """No check brought anything about this run for ``PollPolicy.patience`` seconds."""

    TIMED_OUT = "TIMED_OUT"
    """Our deadline passed; the run continues."""

    @property
    def ok(self) -> bool:
        """Whether the run did what it should."""
        return self in _OK

    @property
    def finished(self) -> bool:
        """Whether following the run again is pointless."""
        return self not in _UNFINISHED

    @property
    def final(self) -> bool:
        """Whether it is certain and cannot change: only this is final in a journal."""
        return self in _FINAL


_OK = frozenset({RunOutcome.SUCCEEDED, RunOutcome.PARTIALLY_SUCCEEDED})
_FINAL = _OK | {
    RunOutcome.FAILED,
    RunOutcome.CANCELED,
    RunOutcome.NOT_STARTED,
    RunOutcome.INVALID,
}
_UNFINISHED = frozenset(
    {
        RunOutcome.STARTED,
        RunOutcome.START_UNKNOWN,
        RunOutcome.UNREACHABLE,
        RunOutcome.TIMED_OUT,
    }
)


@dataclass(frozen=True, slots=True)
class JobRun:
    """
    One run of a job, started here or elsewhere.

    Raises:
        InvalidRequestError: The name of the job or the run ID cannot be quoted in a statement,
            or the label is no text.
    """

    job: str
    """The name of the job; the server wants it beside the run ID."""

    run_id: str
    """Opaque string: ``jobRunId`` of the response to ``RUN JOB``."""

    label: str | None = field(default=None, kw_only=True)
    """Your name for it, for results and reports."""

    started_at: datetime | None = field(default=None, kw_only=True)
    """When it was started, time-zone aware.  `None` counts its age from the moment it is added:
    then it is checked more often at first, and nothing is learned from how long it took."""

    kind: str = field(default="job run", kw_only=True)
    """The name of the `WorkKind` that says how such a run is followed."""

    def __post_init__(self) -> None:
        check_job_name(self.job)
        check_run_id(self.run_id)
        check_label(self.label, f"run {self.run_id}: ")
        if self.started_at is not None:
            check_moment(self.started_at, f"run {self.run_id}: started_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How following one run ended."""

    outcome: RunOutcome
    """How it ended, in our words."""

    request: Result | None = None
    """How the request ended that started the run; `None` where there is none, or where it has
    not ended."""

    request_id: str | None = None
    """The request that started the run, as far as we know."""

    job: str | None = None
    """The name of the job; `None` for a statement that starts no run."""

    run_id: str | None = None
    """The run; `None` where it is not known."""

    label: str | None = None
    """The label it was given."""

    statement: str | None = field(default=None, repr=False)
    """The statement that was submitted here; it may hold secrets."""

    status: str | None = None
    """The server's last word about the run, verbatim; of its request, where no run is known."""

    row: Mapping[str, Any] | Sequence[Any] | None = field(default=None, repr=False, hash=False)
    """The part of the server's answer in which this word was found, verbatim.  It may hold
    secrets."""

    error: str = ""
    """What is wrong, in one line for people; empty where nothing is."""

    allow_unfollowed: bool = False
    """Whether `RunOutcome.STARTED` is ok for you."""

    queued_at: datetime | None = None
    """Wall-clock time (UTC) at which it was first seen QUEUED."""

    running_at: datetime | None = None
    """Wall-clock time (UTC) at which it was first seen RUNNING."""

    detected_at: datetime | None = None
    """Wall-clock time (UTC) at which its outcome was known; `None` for `TIMED_OUT`."""

    waited: float = 0.0
    """Seconds from the moment it was added to the moment its outcome was known."""

    delay_bound: float | None = None
    """Seconds from the sending of the last check that saw it not ended to the moment its end was
    known: we cannot be later than that.  `None` where there is no such check."""

    checks: int = 0
    """Checks of this run, alone or together with others of its job."""

    cancellation: str | None = None
    """What the server said about canceling it; `None` where nobody tried here."""

    @property
    def ok(self) -> bool:
        """Whether the run did what it should."""
        unfollowed = self.allow_unfollowed and self.outcome is RunOutcome.STARTED
        return unfollowed or self.outcome.ok

    @property
    def reason(self) -> str:
        """Why it is not ok, for people, in one short line; empty where it is ok."""
        if self.ok:
            return ""
        if self.error:
            return self.error
        if self.request is not None and not self.request.ok and self.request.reason:
            return self.request.reason
        return self.status or ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, a data frame or a log; times in ISO 8601, durations in seconds."""
        return {
            "statement": self.statement,
            "request_id": self.request_id,
            "job": self.job,
            "run_id": self.run_id,
            "label": self.label,
            "outcome": str(self.outcome),
            "ok": self.ok,
            "status": self.status,
            "reason": self.reason or None,
            "checks": self.checks,
            "queued_at": _iso(self.queued_at),
            "running_at": _iso(self.running_at),
            "detected_at": _iso(self.detected_at),
            "waited_s": round(self.waited, 6),
            "delay_bound_s": None if self.delay_bound is None else round(self.delay_bound, 6),
            "cancellation": self.cancellation,
        }


def own_copy(result: RunResult) -> RunResult:
    """A result that shares nothing mutable with *result*."""
    request = None if result.request is None else own_copy_of_request(result.request)
    return replace(result, request=request, row=copied(result.row))


class RunResults(Sequence[RunResult]):
    """
    One `RunResult` per run or statement, in the order given.

    Args:
        results: The results.

        callback_errors: What ``on_result`` raised, by the position of its result.

        acknowledge: Writes down that these have arrived, see `ack`; what it returns, if
            anything, is awaited by `ack_and_wait`.
    """

    __slots__ = ("_acknowledge", "_results", "callback_errors")

    callback_errors: Mapping[int, Exception]
    """What ``on_result`` raised, by the position of its result."""

    def __init__(
        self,
        results: Iterable[RunResult] = (),
        *,
        callback_errors: Mapping[int, Exception] | None = None,
        acknowledge: Callable[[], Awaitable[None] | None] | None = None,
    ) -> None:
        self._results = tuple(results)
        self.callback_errors = dict(callback_errors or {})
        self._acknowledge = acknowledge

    def __getstate__(self) -> dict[str, Any]:
        # What acknowledges belongs to one tracker: a copy elsewhere is only data.
        return {"_results": self._results, "callback_errors": self.callback_errors}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._results = state["_results"]
        self.callback_errors = state["callback_errors"]
        self._acknowledge = None

    @overload
    def __getitem__(self, index: int) -> RunResult: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[RunResult, ...]: ...

    def __getitem__(self, index: int | slice) -> RunResult | tuple[RunResult, ...]:
        return self._results[index]

    def __iter__(self) -> Iterator[RunResult]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def __repr__(self) -> str:
        return (
            f"<RunResults: {len(self.succeeded)} succeeded, {len(self.failed)} failed,"
            f" {len(self.unfinished)} unfinished>"
        )

    @property
    def succeeded(self) -> tuple[RunResult, ...]:
        """What is ok."""
        return tuple(result for result in self._results if result.ok)

    @property
    def failed(self) -> tuple[RunResult, ...]:
        """What ended otherwise; following it again would not change that."""
        return tuple(
            result for result in self._results if result.outcome.finished and not result.ok
        )

    @property
    def unfinished(self) -> tuple[RunResult, ...]:
        """What may still run; `STARTED` only where you did not allow it."""
        return tuple(
            result for result in self._results if not result.outcome.finished and not result.ok
        )

    @property
    def ok(self) -> bool:
        """Whether every run did what it should."""
        return all(result.ok for result in self._results)

    def raise_for_failures(self) -> None:
        """
        Do nothing if every run is ok, else raise what went wrong.

        Raises:
            ExceptionGroup: One `RunFailedError` per run that is not ok, those that are
                unfinished included.
        """
        errors = [RunFailedError(result) for result in self._results if not result.ok]
        if errors:
            raise ExceptionGroup(f"{len(errors)} of {len(self)} runs did not succeed", errors)

    def ack(self) -> None:
        """
        Tell the journal that these results have arrived where you wanted them.

        Until then ``runs.resume()`` delivers them again after a crash.  This returns at once; it
        is written soon afterwards, and at the latest when the tracker closes.  `ack_and_wait`
        waits for that.  In ``sync`` this one waits.  Without a journal it does nothing, and
        neither does it in a copy or in what was pickled.

        Raises:
            TrackerClosedError: The tracker was closed before, by an exception.
        """
        if self._acknowledge is not None:
            self._acknowledge()

    async def ack_and_wait(self) -> None:
        """
        Do what `ack` does, and wait until it is on disk.  Cancelling ends the waiting only.

        Raises:
            TrackerClosedError: The tracker was closed before, by an exception.

            JournalError: It could not be written.
        """
        written = None if self._acknowledge is None else self._acknowledge()
        if written is not None:
            await written

    def to_dicts(self) -> list[dict[str, Any]]:
        """Plain data, one dict per run: what ``pandas.DataFrame(...)`` takes."""
        return [result.to_dict() for result in self._results]


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
