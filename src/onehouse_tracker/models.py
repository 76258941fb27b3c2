"""
The values that travel through the package: requests, replies, results.

Frozen, made by us, and free of I/O.  What comes over the wire is checked in `_http.wire`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from onehouse_tracker._checks import check_label, check_request_id, check_submitted_at
from onehouse_tracker._util.own_response import OwnResponse
from onehouse_tracker._util.text import one_line
from onehouse_tracker._util.times import iso
from onehouse_tracker.errors import StatusError

__all__ = [
    "ApiStatus",
    "HasRequestId",
    "Outcome",
    "Request",
    "RequestLike",
    "Result",
    "StatusReply",
]


class ApiStatus(StrEnum):
    """The server's words for where a request stands [vendor documentation, Status API]."""

    PENDING = "API_OPERATION_STATUS_PENDING"
    SUCCESS = "API_OPERATION_STATUS_SUCCESS"
    SUCCESS_PARTIAL = "API_OPERATION_STATUS_SUCCESS_PARTIAL"
    FAILED = "API_OPERATION_STATUS_FAILED"
    INVALID = "API_OPERATION_STATUS_INVALID"

    @property
    def outcome(self) -> Outcome | None:
        """What it means for the request; `None` while the server is still at it."""
        return OUTCOME_OF.get(self)


class Outcome(StrEnum):
    """Our words for how tracking one request ended."""

    SUCCEEDED = "SUCCEEDED"
    """The server says SUCCESS."""

    PARTIALLY_SUCCEEDED = "PARTIALLY_SUCCEEDED"
    """The server says SUCCESS_PARTIAL: some sub-operations did not succeed."""

    FAILED = "FAILED"
    """The server says that it failed."""

    INVALID = "INVALID"
    """The server says that the statement makes no sense."""

    UNRECOGNIZED = "UNRECOGNIZED"
    """Three replies in a row had no status, or one we do not know."""

    NOT_FOUND = "NOT_FOUND"
    """The server did not know the ID for longer than ``not_found_grace``."""

    REJECTED = "REJECTED"
    """The server refuses to answer for this ID (400, 403, 409, another 4xx)."""

    UNREACHABLE = "UNREACHABLE"
    """Twenty failures in a row, while other IDs were answered."""

    TIMED_OUT = "TIMED_OUT"
    """Our deadline passed; the request continues at the server."""

    @property
    def ok(self) -> bool:
        """Whether the request did what it should, wholly or in part."""
        return self in _OK

    @property
    def finished(self) -> bool:
        """Whether asking again is pointless: everything but `TIMED_OUT` and `UNREACHABLE`."""
        return self not in _UNFINISHED

    @property
    def final(self) -> bool:
        """
        Whether it is the server's own word, which does not change.

        Everything else is our conclusion: another wait for the request asks again, also where
        a journal holds it.
        """
        return self in _FINAL


OUTCOME_OF: Final[Mapping[str, Outcome]] = {
    ApiStatus.SUCCESS: Outcome.SUCCEEDED,
    ApiStatus.SUCCESS_PARTIAL: Outcome.PARTIALLY_SUCCEEDED,
    ApiStatus.FAILED: Outcome.FAILED,
    ApiStatus.INVALID: Outcome.INVALID,
}
"""What each of the server's words means, but for PENDING: the one table of words."""

_OK = frozenset({Outcome.SUCCEEDED, Outcome.PARTIALLY_SUCCEEDED})
_FINAL = frozenset(OUTCOME_OF.values())
_UNFINISHED = frozenset({Outcome.TIMED_OUT, Outcome.UNREACHABLE})


@runtime_checkable
class HasRequestId(Protocol):
    """What can be given in place of a request ID: a `Handle`, a `Request`, a `Result`."""

    @property
    def request_id(self) -> str:
        """The request."""

    @property
    def label(self) -> str | None:
        """Its label, if it has one."""


RequestLike: TypeAlias = str | HasRequestId
"""A request ID, or anything that has one and a label."""


@dataclass(frozen=True, slots=True, init=False)
class Request:
    """
    One request to track, with what you know about it.

    Args:
        request_id: Its ID, or a `Handle` or a `Result`, of which the ID and the label are used.

        label: Your name for this kind of statement.

        submitted_at: When it was submitted, time-zone aware.

    Raises:
        InvalidRequestError: The ID is not 1 to 256 visible characters without spaces around
            them, the label is no text, or ``submitted_at`` is no point in time with a time zone.
    """

    request_id: str
    """Opaque string from the SQL Command API."""

    label: str | None = None
    """Your name for a kind of statement, e.g. ``"RUN JOB"``.  Requests with one label should
    take about equally long; the schedule learns from it."""

    submitted_at: datetime | None = None
    """When it was submitted, time-zone aware.  `None` counts its age from the moment it is
    added.  A time in the future counts as now."""

    def __init__(
        self,
        request_id: RequestLike,
        *,
        label: str | None = None,
        submitted_at: datetime | None = None,
    ) -> None:
        if not isinstance(request_id, str) and isinstance(request_id, HasRequestId):
            label = request_id.label if label is None else label
            request_id = request_id.request_id
        request_id = check_request_id(request_id)
        check_label(label, f"request {request_id}: ")
        if submitted_at is not None:
            check_submitted_at(submitted_at, f"request {request_id}: ")
        object.__setattr__(self, "request_id", request_id)
        object.__setattr__(self, "label", label)
        object.__setattr__(self, "submitted_at", submitted_at)


@dataclass(frozen=True, slots=True)
class StatusReply:
    """
    What one poll brought: the server's word, and its answer if there is one.

    Raises:
        TypeError: The status is neither a str nor `None`, or the response neither a mapping nor
            `None`.
    """

    status: str | None
    """The server's word, verbatim; `None` where the reply had none."""

    response: Mapping[str, Any] | None = field(default=None, repr=False, hash=False)
    """``apiResponse`` verbatim.  It may hold secrets, so it is not in the `repr`."""

    def __post_init__(self) -> None:
        # Here, where a source of your own makes it: the engine compares and cuts the word.
        if self.status is not None and not isinstance(self.status, str):
            raise TypeError(f"a status is a str or None, not {type(self.status).__name__}")
        if self.response is not None and not isinstance(self.response, Mapping):
            raise TypeError(
                f"a response is a mapping or None, not {type(self.response).__name__}:"
                " put it into one"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How tracking one request ended."""

    request_id: str
    """Opaque string from the SQL Command API."""

    outcome: Outcome
    """How it ended, in our words."""

    label: str | None = None
    """The label this waiter gave it, or else the one that came with it first."""

    status: str | None = None
    """The server's last word, verbatim; `None` where it never said one."""

    response: Mapping[str, Any] | None = field(default=None, repr=False, hash=False)
    """``apiResponse`` verbatim.  It may hold secrets, so it is not in the `repr`."""

    error: StatusError | None = None
    """The last error, where that is why it ended, or why nothing was known at the deadline."""

    polls: int = 0
    """HTTP requests sent about it."""

    first_polled_at: datetime | None = None
    """Wall-clock time (UTC) of its first poll."""

    detected_at: datetime | None = None
    """Wall-clock time (UTC) at which its outcome was known."""

    waited: float = 0.0
    """Seconds from the moment it was added to the moment its outcome was known."""

    delay_bound: float | None = None
    """Seconds from sending the last poll that said PENDING to the final reply: we cannot be
    later than that.  `None` where no poll said PENDING, or nothing is final."""

    @property
    def ok(self) -> bool:
        """Whether the request did what it should, wholly or in part."""
        return self.outcome.ok

    @property
    def partial(self) -> bool:
        """Whether some sub-operations did not succeed."""
        return self.outcome is Outcome.PARTIALLY_SUCCEEDED

    @property
    def started_run(self) -> str | None:
        """The ID of the run that it started: SUCCEEDED says no more than that."""
        return run_id_in(_response.peek(self)) if self.ok else None

    @property
    def reason(self) -> str:
        """
        Why it is not ok, for people, in one short line; empty where it is ok or nobody said.

        Of a request that started a run: that it did no more than that.
        """
        if self.ok:
            return f"started run {one_line(run_id)}" if (run_id := self.started_run) else ""
        if self.error is not None:
            status = self.error.http_status
            return self.error.reason or ("" if status is None else f"HTTP {status}")
        return _reason_in(_response.peek(self)) or (self.status or "")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, a data frame or a log; times in ISO 8601, durations in seconds."""
        return {
            "request_id": self.request_id,
            "label": self.label,
            "outcome": str(self.outcome),
            "ok": self.ok,
            "status": self.status,
            "reason": self.reason or None,
            "response": self.response,
            "polls": self.polls,
            "first_polled_at": iso(self.first_polled_at),
            "detected_at": iso(self.detected_at),
            "waited_s": round(self.waited, 6),
            "delay_bound_s": None if self.delay_bound is None else round(self.delay_bound, 6),
        }


# A field like any other for those who make results, and read, compare or pickle them.
_response = OwnResponse(Result.__dict__["response"])
setattr(Result, "response", _response)  # noqa: B010 - type checkers still see the field


def response_of(result: Result) -> Mapping[str, Any] | None:
    """The response of *result*, only to be looked at: it may be that of others too."""
    return _response.peek(result)


def own_copy(result: Result) -> Result:
    """A result that shares nothing mutable with *result*."""
    return replace(result, response=_response.shared(result), error=copy.copy(result.error))


def relabelled(result: Result, label: str | None) -> Result:
    """*result* under another label, to take its place: nobody may keep both."""
    return replace(result, label=label, response=_response.moved(result))


RUN_ID_AT: Final = (
    ("runJobApiResponse", "jobRunId"),
    ("createAndRunJobApiResponse", "jobRunId"),
)
"""Where the ID of a started run is [vendor's client]; the second is inferred from the first."""


def run_id_in(response: Mapping[str, Any] | None) -> str | None:
    """The ID of the run that a request with this response has started, if it started one."""
    try:
        return next(filter(None, (text_at(response, path) for path in RUN_ID_AT)), None)
    except Exception:  # noqa: BLE001 - a source of the user's own may answer with any mapping
        return None


def text_at(response: Mapping[str, Any] | None, path: Sequence[str]) -> str | None:
    """The text at *path*, from the top of the response; `None` if there is none."""
    value: Any = response
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value if isinstance(value, str) else None


def _reason_in(response: Mapping[str, Any] | None) -> str:
    # The key is not documented; these are the words that gRPC services commonly use.
    if response is None:
        return ""
    for key in ("errorMessage", "message", "error", "reason"):
        try:
            value = response.get(key)
        except Exception:  # noqa: BLE001 - a source of the user's own may answer with any mapping
            return ""
        if isinstance(value, str) and value:
            return one_line(value)
    return ""
