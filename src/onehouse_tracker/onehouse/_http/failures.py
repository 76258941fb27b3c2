"""
What a call that brought no reply means, told without the secrets that aiohttp's errors quote.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import NamedTuple

import aiohttp

from onehouse_tracker.errors import (
    StaleConnectionError,
    SubmissionUnknownError,
    SubmissionUnsentError,
    TransportError,
)

__all__ = [
    "CONNECTION_LOST",
    "NOTHING_SENT",
    "ClosedError",
    "Failure",
    "Translate",
    "not_polled",
    "not_submitted",
    "words_of",
]

# What a kept-alive connection that the server has closed meanwhile looks like.
CONNECTION_LOST = (
    aiohttp.ClientOSError,
    aiohttp.ServerDisconnectedError,
    aiohttp.ClientConnectionResetError,
)


class ClosedError(Exception):
    """The client or its session was closed while a call waited for a name or a connection."""


# All of them are raised before the first byte of a request is written.
NOTHING_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
    ClosedError,
)

_QUOTED = re.compile(r"""[:'"\n]""")


class Failure(NamedTuple):
    """An exchange that brought no reply."""

    reason: str
    """Why, for people."""

    sent: bool
    """False only where it is certain that nothing was."""

    stale: bool
    """Whether the connection had served before, and the server had closed it meanwhile."""


Translate = Callable[[Failure], Exception]


def not_polled(request_id: str, failure: Failure) -> Exception:
    """What a poll raises."""
    kind = StaleConnectionError if failure.stale else TransportError
    return kind(failure.reason, request_id=request_id)


def not_submitted(failure: Failure) -> Exception:
    """What a submission raises."""
    return (SubmissionUnknownError if failure.sent else SubmissionUnsentError)(failure.reason)


def words_of(error: BaseException, timeout: aiohttp.ClientTimeout) -> str:
    """What *error* says, without whatever it quotes: headers, bodies, the password of a proxy."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"no connection within {timeout.connect:g} s"
    if isinstance(error, TimeoutError):
        return f"no reply within {timeout.total:g} s"
    return _words_of(error)


def _words_of(error: BaseException) -> str:
    fixed = {
        # Its own text may be all of the reply's headers.
        aiohttp.ServerDisconnectedError: "Server disconnected",
        aiohttp.ClientPayloadError: "the body is not whole",
    }
    for kind, words in fixed.items():
        if isinstance(error, kind):
            return words
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        problem = getattr(error.certificate_error, "verify_message", "") or "it does not fit"
        return f"the certificate of {_place(error.host, error.port)} is not trusted: {problem}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return _not_connected(error)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answered {error.status} {error.message}"
    if isinstance(error, aiohttp.ClientResponseError):
        # Up to the first quote or colon it is aiohttp's own.
        return f"the reply cannot be read: {_QUOTED.split(error.message, maxsplit=1)[0]}"

    return str(error) or type(error).__name__


def _not_connected(error: aiohttp.ClientConnectorError) -> str:
    place, reason = _place(error.host, error.port), error.os_error.strerror or "no reason given"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"cannot find the host {error.host}: {reason}"
    if isinstance(error, aiohttp.ClientSSLError):
        problem = getattr(error.os_error, "reason", None) or reason
        return f"cannot speak TLS with {place}: {str(problem).replace('_', ' ').lower()}"
    if error.os_error.errno:
        # The text of the error only names our call that failed.
        reason = os.strerror(error.os_error.errno)
    who = "the proxy " if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
    return f"cannot connect to {who}{place}: {reason}"


def _place(host: str, port: int | None) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
