"""
What the server's replies mean: bytes and headers in, values and errors out.

No I/O and no clock: the wall-clock time is an argument.  Whatever the bytes are, nothing but
the errors of this package leaves this module.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypedDict
from urllib.parse import quote, unquote, urlsplit

from onehouse_tracker._checks import check_request_id, check_statement
from onehouse_tracker.errors import (
    InvalidRequestError,
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
from onehouse_tracker.onehouse._http.json_body import read_json
from onehouse_tracker.onehouse._http.masking import MASK, Masking

__all__ = [
    "SUBMISSION_PATH",
    "HttpReply",
    "is_success",
    "read_status",
    "read_submission",
    "retry_after",
    "status_path",
    "submission_body",
]

SUBMISSION_PATH = "/v1/resource/"

_BOM = b"\xef\xbb\xbf"
_MAX_WORD = 200
_YEAR = 365 * 86400.0
# What the gateway makes of each gRPC status; for a refusal that arrives as HTTP 200.
# CANCELLED (1) and UNKNOWN (2) may pass, so they count as the server's fault.
_HTTP_OF_GRPC = {3: 400, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400, 16: 401}
_LAST_GRPC_STATUS = 16
# 407 is said by a proxy, which knows nothing about the request; 499 is CANCELLED.
_TRANSIENT_4XX = frozenset({407, 408, 425, 499})
# 408 and 499 end a call that had arrived; 303 follows a call that was carried out.
_UNKNOWN_FATE = frozenset({303, 408, 499})


@dataclass(slots=True, kw_only=True)
class HttpReply:
    """One reply as it came, its body read within bounds."""

    status: int
    """HTTP status."""

    phrase: str = ""
    """The words after it."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Its headers; the mapping ignores case, or is all lower case."""

    body: bytes | bytearray = field(default=b"", repr=False)
    """Its body, decompressed; whatever could be read of it."""

    problem: str = ""
    """Why the body is not whole; empty where it is."""

    masking: Masking = field(default_factory=Masking, repr=False)
    """Replaces our secrets in all that is read of it, should the server repeat them."""

    pause: Callable[[], object] | None = field(default=None, repr=False)
    """Called every millisecond while a large body is parsed, in a worker thread; `None` parses it
    in one go."""

    def __post_init__(self) -> None:
        # Here, because answers are kept and shown, and nothing reads a body but from here.
        self.body = self.masking.body(self.body)


def _word(value: object) -> str | None:
    # Longer, or with control codes in it, it is no word, and would spoil logs and terminals.
    if not isinstance(value, str) or len(value) > _MAX_WORD or not value.isprintable():
        return None
    return value


class _Numbers(TypedDict):
    http_status: int
    grpc_status: int | None


def is_success(status: int) -> bool:
    """Whether an HTTP status says that the call was carried out."""
    return 200 <= status < 300  # noqa: PLR2004 - asked of each reply, and an enum takes its time


def status_path(request_id: str) -> str:
    """The path of a poll of *request_id*, encoded; no ID can lead anywhere else."""
    encoded = quote(check_request_id(request_id), safe="")
    if not encoded.strip("."):
        # "." and ".." are steps in a path, and quote() takes dots for harmless.
        encoded = encoded.replace(".", "%2E")

    return f"/v1/status/{encoded}"


def submission_body(statement: str) -> dict[str, str]:
    """
    What to send for one statement: without the semicolons and spaces at its end.

    Raises:
        InvalidRequestError: It is not a str, nothing is left of it, or it cannot be SQL.
    """
    return {"statement": check_statement(statement).strip().rstrip(";" + string.whitespace)}


def read_status(reply: HttpReply, request_id: str, *, now: float) -> StatusReply:
    """
    Read one reply to a status request.

    Args:
        reply: The reply.

        request_id: The request that was polled, for the error.

        now: Wall-clock time in seconds since the epoch, for a Retry-After that is a date.

    Raises:
        StatusError: Its subclass says what the refusal means.
    """
    status = _effective_status(reply)
    if is_success(status):
        content, problem = _parse(reply)
        if content is None:
            raise TransportError(problem, request_id=request_id, http_status=reply.status)
        response = content.get("apiResponse")

        # A field of the wrong type counts as absent: the rest may still tell enough.
        return StatusReply(
            _word(content.get("apiStatus")), response if isinstance(response, dict) else None
        )
    _raise_common(reply, status, request_id, now)
    kind: type[StatusError] = RejectedError
    if status == HTTPStatus.NOT_FOUND:
        kind = NotFoundError
    elif _leads_nowhere(reply) or _is_transient(status):
        raise TransportError(
            _reason(reply),
            request_id=request_id,
            retry_after=_retry_after(reply, now),
            **_numbers(reply),
        )
    raise kind(_reason(reply), request_id=request_id, **_numbers(reply))


def read_submission(reply: HttpReply, *, now: float) -> str:
    """
    Read one reply to a submission: the request ID.

    Args:
        reply: The reply.

        now: Wall-clock time in seconds since the epoch, for a Retry-After that is a date.

    Raises:
        SubmissionRejectedError: Nothing runs.

        SubmissionUnknownError: The reply leaves open whether it runs.

        ThrottledError: 429: nothing runs.

        UnauthorizedError: 401, 403: nothing runs.
    """
    status = _effective_status(reply)
    if is_success(status):
        content, problem = _parse(reply)
        if content is None:
            raise SubmissionUnknownError(problem, http_status=reply.status)
        request_id = _request_id(content)
        if request_id is None:
            raise SubmissionUnknownError(
                "accepted, but the reply holds no usable request ID", http_status=reply.status
            )
        return request_id
    _raise_common(reply, status, "", now)
    kind: type[SubmissionError] = SubmissionRejectedError
    is_unknown = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _UNKNOWN_FATE
    if is_unknown or _leads_nowhere(reply):
        kind = SubmissionUnknownError
    raise kind(_reason(reply), **_numbers(reply))


def retry_after(value: str | None, *, now: float) -> float | None:
    """
    Seconds that a ``Retry-After`` header asks us to wait, from 0 to a year.

    Args:
        value: The header: seconds, or a date of HTTP.

        now: Wall-clock time in seconds since the epoch.

    Returns:
        `None` where there is no header or it makes no sense; 0.0 for what is over already.
    """
    value = (value or "").strip()
    if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?", value):
        wait = float(value)
    else:
        moment = _http_date(value)
        if moment is None:
            return None
        wait = moment - now

    return min(max(wait, 0.0), _YEAR)


def _is_transient(status: int) -> bool:
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRANSIENT_4XX


def _leads_nowhere(reply: HttpReply) -> bool:
    """Whether it is a redirect that does not say where to: a cache, a proxy, gone wrong."""
    return _is_redirect(reply) and not (reply.headers.get("location") or "").strip()


def _is_redirect(reply: HttpReply) -> bool:
    return HTTPStatus.MULTIPLE_CHOICES <= reply.status < HTTPStatus.BAD_REQUEST


def _effective_status(reply: HttpReply) -> int:
    """The HTTP status; of a refusal that came as HTTP 200, the one it should have come with."""
    status = reply.status
    if is_success(status):
        code = _grpc_number(reply.headers.get("grpc-status"))
        if code:
            return _HTTP_OF_GRPC.get(code, HTTPStatus.INTERNAL_SERVER_ERROR)
    # No status below 200 ends a call, and none above 599 exists: broken, so it may pass.
    elif not HTTPStatus.OK <= status < 600:  # noqa: PLR2004 - the end of the range
        return HTTPStatus.BAD_GATEWAY

    return status


def _raise_common(reply: HttpReply, status: int, request_id: str, now: float) -> None:
    """Raise what means the same for every call."""
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise UnauthorizedError(_reason(reply), request_id=request_id, **_numbers(reply))
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise ThrottledError(
            _reason(reply),
            request_id=request_id,
            retry_after=_retry_after(reply, now),
            **_numbers(reply),
        )


def _retry_after(reply: HttpReply, now: float) -> float | None:
    # By the server's own clock where it tells the time: ours may be wrong.
    server_now = _http_date(reply.headers.get("date") or "")
    value = reply.headers.get("retry-after")
    return retry_after(value, now=now if server_now is None else server_now)


def _parse(reply: HttpReply) -> tuple[dict[str, Any] | None, str]:
    if reply.problem:
        return None, reply.problem
    # RFC 8259, 8.1: nobody should write a byte order mark, and a reader may ignore it.
    body = reply.body
    if body.startswith(_BOM):
        body = body.removeprefix(_BOM)  # where there is none, a bytearray would be copied
    try:
        content = read_json(body, reply.pause)
    except ValueError:
        # Not the parser's words: they may quote the body, which may hold secrets.
        return None, "the body is not JSON" if body.strip() else "the body is empty"
    if not isinstance(content, dict):
        return None, "the body is JSON, but not an object"

    return content, ""


def _request_id(content: Mapping[str, Any]) -> str | None:
    try:
        request_id = check_request_id(content.get("requestId"))
    except InvalidRequestError:
        return None

    return None if MASK in request_id else request_id


def _error_body(reply: HttpReply) -> tuple[int | None, str]:
    """The code and the message in the body of a refusal."""
    content, _ = _parse(reply)
    code, message = (content or {}).get("code"), (content or {}).get("message")
    is_number = isinstance(code, int) and not isinstance(code, bool)

    return code if is_number else None, message if isinstance(message, str) else ""


def _grpc_number(value: str | None) -> int | None:
    if value is None:
        return None
    value = value.strip()
    # No number has more than two digits; without the bound a long one would take a while.
    if not re.fullmatch(r"[0-9]{1,2}", value):
        return None

    return int(value) if int(value) <= _LAST_GRPC_STATUS else None


def _numbers(reply: HttpReply) -> _Numbers:
    code = _grpc_number(reply.headers.get("grpc-status"))
    if code is None:
        code, _ = _error_body(reply)
        # Some gateways repeat the HTTP status there.
        code = code if code in range(_LAST_GRPC_STATUS + 1) else None

    return {"http_status": reply.status, "grpc_status": code}


def _reason(reply: HttpReply) -> str:
    """Say why the call was refused, in the server's words where it has any."""
    if _leads_nowhere(reply):
        return f"HTTP {reply.status} {_phrase(reply.status)}".strip() + ", which answers nothing"
    if _is_redirect(reply):
        return reply.masking.line(_where_to(reply))
    candidates = (
        unquote(reply.headers.get("grpc-message") or "", errors="replace"),
        _error_body(reply)[1],
        _plain_text(reply),
        reply.phrase,
        _phrase(reply.status),
    )
    for candidate in candidates:
        reason = reply.masking.line(candidate)
        if reason:
            return reason

    return "no reason given"


def _plain_text(reply: HttpReply) -> str:
    # Proxies explain themselves in plain text.  Pages in HTML are not worth reading.
    if (reply.headers.get("content-type") or "").lower().startswith("text/plain"):
        return reply.body.decode("utf-8", errors="replace")

    return ""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _where_to(reply: HttpReply) -> str:
    # Only scheme and host: the rest of a redirect may hold tokens.
    try:
        # Masked before it is read as well: a host is made lower case.
        target = urlsplit(reply.masking.text(reply.headers.get("location") or ""))
        origin = f"{target.scheme}://{target.hostname}" if target.hostname else "another path"
    except ValueError:
        origin = "an unreadable place"

    return f"a redirect to {origin}, not followed: is the base URL right?"


def _http_date(value: str) -> float | None:
    try:
        moment = parsedate_to_datetime(value)
        # A date without a zone is UTC: HTTP knows no other.
        return moment.timestamp() if moment.tzinfo else moment.replace(tzinfo=UTC).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
