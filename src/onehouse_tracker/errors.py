"""
Every error this package raises.

    TrackerError
    ├── ConfigError              also ValueError; a setting is wrong or missing; before any I/O
    ├── InvalidRequestError      also ValueError; a request ID or statement that cannot be used
    ├── StatusError              one status could not be read
    │   ├── TransportError       no usable reply              asked again, with backoff
    │   │   └── StaleConnectionError  nothing was sent        asked again at once
    │   ├── ThrottledError       429                          asked again when the pause is over
    │   ├── UnauthorizedError    401, 403                     ends in AuthenticationError
    │   └── RejectedError        400, 409, other 4xx, 3xx     final, for this request only
    │       └── NotFoundError    404                          asked again for a short grace
    ├── SubmissionError          one statement was not accepted
    │   ├── SubmissionRejectedError   the server refused it: nothing runs
    │   ├── SubmissionUnsentError     it never left: safe to submit again
    │   └── SubmissionUnknownError    it may or may not run: never sent twice
    ├── RequestFailedError       how one request ended, in the group of raise_for_failures()
    ├── RunFailedError           how one run ended, in the same way
    └── ProjectError             nothing more can be learnt; carries results and pending
        ├── AuthenticationError  the server refuses our credentials
        ├── OutageError          no good reply for patience seconds
        ├── SourceError          the status source cannot be used as it is
        ├── TrackerClosedError   used outside async with, or the engine failed
        └── JournalError         the journal cannot be used; names the file and what to do
            ├── JournalLockedError   another process, or another tracker, writes to it
            ├── JournalVersionError  a newer version of this package wrote it
            ├── JournalCorruptError  it is damaged, or no journal at all
            └── JournalWriteError    it cannot be opened or written: disk full, read-only

All of them can be copied and pickled, with their attributes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onehouse_tracker._util.text import printable

if TYPE_CHECKING:
    from onehouse_tracker.models import Outcome, Result
    from onehouse_tracker.results import Results
    from onehouse_tracker.run_results import RunResult

__all__ = [
    "AuthenticationError",
    "ConfigError",
    "InvalidRequestError",
    "JournalCorruptError",
    "JournalError",
    "JournalLockedError",
    "JournalVersionError",
    "JournalWriteError",
    "NotFoundError",
    "OutageError",
    "ProjectError",
    "RejectedError",
    "RequestFailedError",
    "RunFailedError",
    "SourceError",
    "StaleConnectionError",
    "StatusError",
    "SubmissionError",
    "SubmissionRejectedError",
    "SubmissionUnknownError",
    "SubmissionUnsentError",
    "ThrottledError",
    "TrackerClosedError",
    "TrackerError",
    "TransportError",
    "UnauthorizedError",
]

# How pickling works here: `BaseException.__reduce__` calls the class with `args` and
# then restores `__dict__`.  So each signature takes `args` positionally and has a
# default for everything else.


class TrackerError(Exception):
    """The root of the tree: catch it to catch everything this package raises on purpose."""


class ConfigError(TrackerError, ValueError):
    """A setting is missing or makes no sense.  Raised before anything is sent."""


class InvalidRequestError(TrackerError, ValueError):
    """A request ID or a statement cannot be used as given.  Raised before anything is sent."""


class StatusError(TrackerError):
    """
    One status could not be read.

    Attributes:
        reason: What the server or the network said, for people.

        request_id: The request that was polled; empty where none is concerned.

        http_status: The HTTP status, `None` where no reply arrived.

        grpc_status: The number in ``grpc-status`` or in the body's ``code``, if any.
    """

    def __init__(
        self,
        reason: str = "",
        *,
        request_id: str = "",
        http_status: int | None = None,
        grpc_status: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.request_id = request_id
        self.http_status = http_status
        self.grpc_status = grpc_status

    def __str__(self) -> str:
        parts = [self.reason or "no reason given"]
        if self.http_status is not None:
            parts.insert(0, f"HTTP {self.http_status}")
        if self.request_id:
            parts.insert(0, f"request {self.request_id}")
        return ": ".join(parts)


class TransportError(StatusError):
    """
    No usable reply: network error, timeout, 5xx, 408, 425, unreadable or oversized body.

    Attributes:
        retry_after: Seconds the server asks us to wait; `None` where it does not say.
    """

    def __init__(
        self,
        reason: str = "",
        *,
        request_id: str = "",
        http_status: int | None = None,
        grpc_status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            reason, request_id=request_id, http_status=http_status, grpc_status=grpc_status
        )
        self.retry_after = retry_after


class StaleConnectionError(TransportError):
    """A kept-alive connection was dead before our request was sent; ask again at once."""


class ThrottledError(StatusError):
    """
    The project is over its limit (429).

    Attributes:
        retry_after: Seconds the server asks us to wait; `None` where it does not say.
            ``Retry-After: 0`` is 0.0, not `None`.
    """

    def __init__(
        self,
        reason: str = "",
        *,
        request_id: str = "",
        http_status: int | None = 429,
        grpc_status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            reason, request_id=request_id, http_status=http_status, grpc_status=grpc_status
        )
        self.retry_after = retry_after


class UnauthorizedError(StatusError):
    """The server refused our credentials for this one call (401, 403)."""


class RejectedError(StatusError):
    """The server will not answer for this request ID (400, 409, another 4xx, a redirect)."""


class NotFoundError(RejectedError):
    """The server does not know this request ID (404); right after submission it may be early."""


class SubmissionError(TrackerError):
    """
    One statement was not accepted.

    Attributes:
        reason: What the server or the network said, for people.

        http_status: The HTTP status, `None` where no reply arrived.

        grpc_status: The number in ``grpc-status`` or in the body's ``code``, if any.

    The statement itself is not part of the error: it may hold secrets.
    """

    def __init__(
        self,
        reason: str = "",
        *,
        http_status: int | None = None,
        grpc_status: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.http_status = http_status
        self.grpc_status = grpc_status

    def __str__(self) -> str:
        reason = self.reason or "no reason given"
        return reason if self.http_status is None else f"HTTP {self.http_status}: {reason}"


class SubmissionRejectedError(SubmissionError):
    """The server refused the statement: nothing runs.  The reason says what to correct."""


class SubmissionUnsentError(SubmissionError):
    """The statement never left this machine: it is safe to submit it again."""


class SubmissionUnknownError(SubmissionError):
    """
    The statement may or may not run: it was sent, and no clear answer came back.

    It is never sent again on its own, because that may duplicate a resource.  Look in
    the Onehouse console before you submit it again.
    """

    def __str__(self) -> str:
        return f"fate unknown, not sent again: {super().__str__()}"


class RequestFailedError(TrackerError):
    """
    How one request ended, raised in the group of `Results.raise_for_failures`.

    Attributes:
        result: The whole result; its ``response`` is not part of the text.
    """

    def __init__(self, result: Result) -> None:
        super().__init__(result)
        self.result = result

    @property
    def request_id(self) -> str:
        """The request that ended so."""
        return self.result.request_id

    @property
    def outcome(self) -> Outcome:
        """How it ended."""
        return self.result.outcome

    def __str__(self) -> str:
        result = self.result
        label = f" ({printable(result.label)})" if result.label else ""
        reason = f": {result.reason}" if result.reason else ""
        return f"request {result.request_id}{label} ended {result.outcome}{reason}"


class RunFailedError(TrackerError):
    """How one run ended, in the group of `RunResults.raise_for_failures`; see ``result``."""

    def __init__(self, result: RunResult) -> None:
        super().__init__(result)
        self.result = result

    def __str__(self) -> str:
        result = self.result
        run = f"run {result.run_id}" if result.run_id else f"request {result.request_id or '-'}"
        job = f" of job {printable(result.job)}" if result.job else ""
        reason = f": {result.reason}" if result.reason else ""
        return f"{run}{job} ended {result.outcome}{reason}"


class ProjectError(TrackerError):
    """
    Nothing more can be learnt about any request of the project.

    Every waiter gets an error object of its own.

    Attributes:
        message: What happened and what to do about it.

        results: What was known already, of the IDs this waiter asked for; `None` where
            nobody was waiting for a set of IDs.

        pending: The IDs this waiter asked for that have no outcome yet.
    """

    def __init__(
        self,
        message: str = "",
        *,
        results: Results | None = None,
        pending: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.results = results
        self.pending = pending

    def __str__(self) -> str:
        if not self.pending:
            return self.message
        count = len(self.pending)
        return f"{self.message} ({count} request{'s' if count > 1 else ''} still open)"


class AuthenticationError(ProjectError):
    """The server refuses our credentials (401, 403); every request would fail the same way."""


class OutageError(ProjectError):
    """Nothing answered for ``PollPolicy.patience`` seconds; the requests go on at the server."""


class SourceError(ProjectError):
    """
    The status source cannot be used as it is: it is not open, or its own code is broken.

    Raised for a client that was not entered, and for a source of your own that raised an error
    such as `NameError` or `TypeError` before anything was ever answered.  The message names the
    error and its place, and ``__cause__`` is the error itself.
    """


class TrackerClosedError(ProjectError):
    """The tracker is not open: used outside ``async with``, closed, or its engine failed."""


class JournalError(ProjectError):
    """
    The journal cannot be used, so nothing can be promised about a crash.

    Raised when the journal is opened, and at every waiter at once when writing fails, unless
    the tracker was told ``on_journal_error="warn"``.  The requests go on at the server.

    Attributes:
        path: The file; empty where there is none.
    """

    def __init__(
        self,
        message: str = "",
        *,
        path: str = "",
        results: Results | None = None,
        pending: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, results=results, pending=pending)
        self.path = path


class JournalLockedError(JournalError):
    """Another process, or another tracker in this one, writes to the file."""


class JournalVersionError(JournalError):
    """Another version of this package, mostly a newer one, wrote the file; it was not touched."""


class JournalCorruptError(JournalError):
    """The file is damaged, or is no journal at all; it was not repaired and not overwritten."""


class JournalWriteError(JournalError):
    """The file cannot be opened or written: the disk is full, the file is read-only, ..."""
