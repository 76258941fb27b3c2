"""
What a server may do instead of answering properly, and when.

Values only: `SimulatedProject` decides when a fault happens, `SimulatedSource` and
`SimulatorServer` act it out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf, log
from random import Random
from typing import Literal, TypeAlias

from onehouse_tracker.models import ApiStatus

__all__ = [
    "Draw",
    "Fault",
    "FaultKind",
    "FaultRule",
    "body",
    "cut",
    "delay",
    "hang",
    "huge",
    "lognormal",
    "not_found",
    "outage",
    "redirect",
    "refuse",
    "reset",
    "throttled",
    "truncated",
    "unauthorized",
    "unavailable",
]

Draw: TypeAlias = Callable[[Random], float]
"""Draws seconds with the generator it is given."""

_GRPC_STATUS = {
    400: 3,
    401: 16,
    403: 7,
    404: 5,
    409: 10,
    429: 8,
    500: 13,
    501: 12,
    503: 14,
    504: 4,
}
_UNKNOWN = 2


class FaultKind(StrEnum):
    """The ways in which a server misbehaves."""

    REFUSE = "refuse"
    """Answers with an HTTP status other than 200; a statement is not executed."""

    DELAY = "delay"
    """Answers properly, late."""

    HANG = "hang"
    """Takes the request and never answers."""

    RESET = "reset"
    """Closes the connection before the answer."""

    CUT = "cut"
    """Closes the connection in the middle of the answer."""

    TRUNCATED = "truncated"
    """Answers 200 with the first half of the proper body, as if that were all."""

    BODY = "body"
    """Answers 200 with another body."""

    HUGE = "huge"
    """Answers 200 with a body that is far too long."""

    REDIRECT = "redirect"
    """Sends the client elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way of misbehaving; the functions of this module make them."""

    kind: FaultKind
    """What happens."""

    status: int = 200
    """HTTP status of the answer."""

    message: str = ""
    """The reason, as the server words it."""

    form: Literal["headers", "body", "empty"] = "headers"
    """Where the reason stands: in ``grpc-status`` and ``grpc-message`` beside an empty body,
    in a JSON body, or nowhere."""

    retry_after: float | None = None
    """Seconds for ``Retry-After``; `None` leaves the header out."""

    retry_after_date: bool = False
    """Whether ``Retry-After`` is sent as a date, which has whole seconds."""

    seconds: Draw | float = 0.0
    """How late the answer is."""

    content: bytes = field(default=b"", repr=False)
    """The body in place of the proper one."""

    size: int = 0
    """Length of a huge body in bytes."""

    location: str = ""
    """Where a redirect points."""

    @property
    def grpc_status(self) -> int:
        """The gRPC code that goes with the HTTP status."""
        return _GRPC_STATUS.get(self.status, _UNKNOWN)


def refuse(
    status: int, message: str = "", *, form: Literal["headers", "body", "empty"] = "headers"
) -> Fault:
    """Answer with the HTTP *status* and *message*."""
    return Fault(kind=FaultKind.REFUSE, status=status, message=message, form=form)


def unavailable(status: int = 503, message: str = "upstream connect error") -> Fault:
    """Answer 500, 502, 503 or 504."""
    return refuse(status, message)


def throttled(retry_after: float | None = None, *, as_date: bool = False) -> Fault:
    """Answer 429, with ``Retry-After`` in seconds or as a date, or without it."""
    return Fault(
        kind=FaultKind.REFUSE,
        status=429,
        message="rate limit of the project exceeded",
        retry_after=retry_after,
        retry_after_date=as_date,
    )


def unauthorized(status: int = 401, message: str = "invalid api key or secret") -> Fault:
    """Answer 401 or 403."""
    return refuse(status, message)


def not_found() -> Fault:
    """Answer 404, as for an ID that the server does not know."""
    return refuse(404, "request not found")


def delay(seconds: Draw | float) -> Fault:
    """Answer properly, *seconds* late."""
    return Fault(kind=FaultKind.DELAY, seconds=seconds)


def hang() -> Fault:
    """Take the request and never answer."""
    return Fault(kind=FaultKind.HANG)


def reset() -> Fault:
    """Close the connection before the answer."""
    return Fault(kind=FaultKind.RESET)


def cut() -> Fault:
    """Close the connection in the middle of the answer."""
    return Fault(kind=FaultKind.CUT)


def truncated() -> Fault:
    """Answer with the first half of the JSON."""
    return Fault(kind=FaultKind.TRUNCATED)


def body(content: bytes | str) -> Fault:
    """
    Answer 200 with *content*.

    ``{}`` is what an INVALID may look like; ``{"apiStatus": 7}`` has the wrong type,
    ``{"apiStatus": "API_OPERATION_STATUS_NEW"}`` a word nobody knows.
    """
    if isinstance(content, str):
        content = content.encode()
    return Fault(kind=FaultKind.BODY, content=content)


def huge(size: int = 64 * 2**20) -> Fault:
    """Answer 200 with *size* bytes of valid JSON that says PENDING."""
    return Fault(kind=FaultKind.HUGE, size=size)


def redirect(location: str, status: int = 302) -> Fault:
    """Send the client to *location*."""
    return Fault(kind=FaultKind.REDIRECT, status=status, location=location)


def lognormal(median: float, sigma: float) -> Draw:
    """Draw from a lognormal law: half of the draws are less than *median* seconds."""
    mu = log(median)

    def draw(rng: Random) -> float:
        return rng.lognormvariate(mu, sigma)

    return draw


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """When a fault happens by chance."""

    fault: Fault
    """What happens."""

    rate: float = 1.0
    """The chance that it hits a request, 0 to 1."""

    start: float = -inf
    """From when it may happen: seconds since the project's first moment."""

    end: float = inf
    """Until when, exclusive."""

    on: Literal["status", "submit", "any"] = "status"
    """What it hits: polls, submissions, or both."""

    request_ids: Collection[str] | None = None
    """The only IDs whose polls it hits; `None` hits all.  A set is fast."""


def outage(start: float, end: float, fault: Fault | None = None) -> FaultRule:
    """
    Fail everything from *start* to *end*, in seconds since the project's first moment.

    Args:
        start: When it begins.

        end: When it is over.

        fault: How it fails, a 503 if not given.
    """
    return FaultRule(fault=fault or unavailable(), start=start, end=end, on="any")


def pending_body(size: int) -> tuple[bytes, bytes]:
    """The beginning and the end of a PENDING reply; *size* bytes with the filling between."""
    head = f'{{"apiStatus": "{ApiStatus.PENDING}", "apiResponse": {{"filling": "'.encode()
    tail = b'"}}'
    if size < len(head) + len(tail):
        raise ValueError(f"a huge body has at least {len(head) + len(tail)} bytes, not {size}")
    return head, tail
