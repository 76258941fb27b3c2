"""
Every fault once, with what a client must make of it: over HTTP, and without sockets.
"""

from __future__ import annotations

from dataclasses import dataclass

from onehouse_tracker.errors import (
    NotFoundError,
    RejectedError,
    StatusError,
    SubmissionError,
    SubmissionRejectedError,
    SubmissionUnknownError,
    ThrottledError,
    TransportError,
    UnauthorizedError,
)
from onehouse_tracker.models import StatusReply
from onehouse_tracker.testing import faults
from onehouse_tracker.testing.faults import Fault

OK = StatusReply("API_OPERATION_STATUS_SUCCESS", {"done": True})


@dataclass(frozen=True)
class Case:
    """One fault and what follows from it."""

    fault: Fault
    status: int | None
    """HTTP status on the wire; `None` where the connection breaks before it."""
    poll: type[StatusError] | StatusReply
    """What a poll brings."""
    submission: type[SubmissionError | StatusError] | None
    """What a submission raises; `None` where it brings a request ID."""


def refused(
    status: int,
    poll: type[StatusError],
    submission: type[SubmissionError | StatusError],
) -> Case:
    """A case of an HTTP status."""
    return Case(faults.refuse(status, "because"), status, poll, submission)


_UNKNOWN = SubmissionUnknownError

CASES = {
    "500": refused(500, TransportError, _UNKNOWN),
    "502": refused(502, TransportError, _UNKNOWN),
    "503": Case(faults.unavailable(), 503, TransportError, _UNKNOWN),
    "504": refused(504, TransportError, _UNKNOWN),
    "425": refused(425, TransportError, SubmissionRejectedError),
    "400": refused(400, RejectedError, SubmissionRejectedError),
    "409": refused(409, RejectedError, SubmissionRejectedError),
    "401": Case(faults.unauthorized(), 401, UnauthorizedError, UnauthorizedError),
    "403": Case(faults.unauthorized(403), 403, UnauthorizedError, UnauthorizedError),
    "404": Case(faults.not_found(), 404, NotFoundError, SubmissionRejectedError),
    "429": Case(faults.throttled(), 429, ThrottledError, ThrottledError),
    "429 after": Case(faults.throttled(2), 429, ThrottledError, ThrottledError),
    "429 now": Case(faults.throttled(0), 429, ThrottledError, ThrottledError),
    "429 date": Case(faults.throttled(3, as_date=True), 429, ThrottledError, ThrottledError),
    "message in the body": Case(
        faults.refuse(503, "because", form="body"), 503, TransportError, _UNKNOWN
    ),
    "no message": Case(faults.refuse(503, form="empty"), 503, TransportError, _UNKNOWN),
    "redirect": Case(
        faults.redirect("http://elsewhere.test/x", 307),
        307,
        RejectedError,
        SubmissionRejectedError,
    ),
    "delay": Case(faults.delay(0.05), 200, OK, None),
    "reset": Case(faults.reset(), None, TransportError, _UNKNOWN),
    "cut": Case(faults.cut(), 200, TransportError, _UNKNOWN),
    "truncated": Case(faults.truncated(), 200, TransportError, _UNKNOWN),
    "huge": Case(faults.huge(9 * 2**20), 200, TransportError, _UNKNOWN),
    "number": Case(faults.body('{"apiStatus": 7}'), 200, StatusReply(None), _UNKNOWN),
    "list": Case(faults.body('{"apiStatus": ["x"]}'), 200, StatusReply(None), _UNKNOWN),
    "unknown": Case(faults.body('{"apiStatus": "NEW"}'), 200, StatusReply("NEW"), _UNKNOWN),
    "{}": Case(faults.body("{}"), 200, StatusReply(None), _UNKNOWN),
    "html": Case(faults.body("<html>"), 200, TransportError, _UNKNOWN),
    "bytes": Case(faults.body(b"\xff\xfe"), 200, TransportError, _UNKNOWN),
    "empty": Case(faults.body(""), 200, TransportError, _UNKNOWN),
}
"""Every fault that answers or breaks; one that hangs is tested apart."""
