"""
What a call that brought no reply means, told without the secrets that aiohttp's errors quote.
"""

from __future__ import annotations

import os
import re
import ssl
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
    "not_connected",
    "not_found",
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
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorError):
        return _of_connector(error)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answered {error.status} {error.message}"
    if isinstance(error, aiohttp.ClientResponseError):
        # Up to the first quote or colon it is aiohttp's own.
        return f"the reply cannot be read: {_QUOTED.split(error.message, maxsplit=1)[0]}"

    return str(error) or type(error).__name__


def _of_connector(
    error: aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorError,
) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return not_connected(error.host, error.port, error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return not_found(error.host, error.os_error)
    who = "the proxy " if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
    return not_connected(error.host, error.port, error.os_error, who=who)


def not_found(host: str, error: Exception) -> str:
    """Why the address of *host* is not known."""
    return f"cannot find the host {host}: {_system_words(error)}"


def not_connected(host: str, port: int | None, error: Exception, *, who: str = "") -> str:
    """
    Why there is no connection, or none that can be trusted.

    Args:
        host: The host.

        port: Its port.

        error: What the system or the TLS library raised.

        who: What the host is, if it is not the server.
    """
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(error, ssl.CertificateError):
        problem = getattr(error, "verify_message", "") or "it does not fit"
        return f"the certificate of {place} is not trusted: {problem}"
    if isinstance(error, ssl.SSLError):
        problem = error.reason or error.strerror or "no reason given"
        return f"cannot speak TLS with {place}: {problem.replace('_', ' ').lower()}"
    return f"cannot connect to {who}{place}: {_system_words(error)}"


def _system_words(error: Exception) -> str:
    # The text of the error only names our call that failed.
    if isinstance(error, OSError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0)
    return getattr(error, "strerror", None) or str(error) or "no reason given"
