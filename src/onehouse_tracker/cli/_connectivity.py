"""
Whether the server can be reached from here, and lets us in: checks of `doctor`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from onehouse_tracker.errors import (
    NotFoundError,
    RejectedError,
    StatusError,
    ThrottledError,
    UnauthorizedError,
)
from onehouse_tracker.onehouse._http.failures import not_connected, not_found
from onehouse_tracker.onehouse.client import OnehouseClient
from onehouse_tracker.onehouse.credentials import Credentials

__all__ = ["Finding", "State", "network", "request"]


class State(StrEnum):
    """What a check came to."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check came to, for people; nothing in it is secret."""

    check: str
    state: State
    found: str
    advice: str | None = None


_NOBODY = "00000000-0000-0000-0000-000000000000"
"""A request ID that no request has."""

_GRPC_NOT_FOUND = 5
_FIRST_REFUSAL = 400
_PATIENCE = 10.0


async def network(url: str) -> list[Finding]:
    """Check the name, and then the connection, of the server at *url*; nothing is sent."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_PATIENCE):
            addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError) as error:
        return [
            Finding(
                check="name",
                state=State.ERROR,
                found=not_found(host, _named(error)),
                advice="check the base URL, and whether this machine has a network and DNS",
            ),
            Finding(check="connection", state=State.SKIPPED, found="there is no address"),
        ]
    known = list(dict.fromkeys(str(address[4][0]) for address in addresses))
    return [
        Finding(
            check="name",
            state=State.OK,
            found=f"{host} is {', '.join(known) if known != [host] else 'an address'}",
        ),
        await _connection(host, port, tls=parts.scheme == "https"),
    ]


async def _connection(host: str, port: int, *, tls: bool) -> Finding:
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(_PATIENCE):
            _, writer = await asyncio.open_connection(
                host, port, ssl=ssl.create_default_context() if tls else None
            )
    except ssl.SSLCertVerificationError as error:
        return Finding(
            check="connection",
            state=State.ERROR,
            found=not_connected(host, port, error),
            advice="check the base URL; behind a proxy of your company that reads TLS, put its"
            " certificate into SSL_CERT_FILE",
        )
    except ssl.SSLError as error:
        return Finding(
            check="connection",
            state=State.ERROR,
            found=not_connected(host, port, error),
            advice="check the base URL: something else listens there",
        )
    except (OSError, TimeoutError) as error:
        return Finding(
            check="connection",
            state=State.ERROR,
            found=not_connected(host, port, _named(error)),
            advice="check the base URL, and whether a firewall lets this machine through",
        )
    took = loop.time() - began
    version = writer.get_extra_info("ssl_object").version() if tls else "without TLS"
    writer.close()
    return Finding(
        check="connection",
        state=State.OK,
        found=f"{host}:{port} in {took * 1000:.0f} ms, {version}",
    )


def _named(error: Exception) -> Exception:
    """The same error, with words where it is our own time that ran out."""
    own = isinstance(error, TimeoutError) and not error.errno
    return TimeoutError(f"no answer within {_PATIENCE:g} s") if own else error


async def request(credentials: Credentials) -> Finding:
    """Ask for the status of an ID that nobody has: only who is let in learns that."""
    try:
        async with OnehouseClient(credentials) as client:
            await client.fetch(_NOBODY)
    except UnauthorizedError as error:
        return Finding(
            check="request",
            state=State.ERROR,
            found=f"the server refuses the credentials: {_said(error)}",
            advice="compare each field with the Onehouse console: the key may have been rotated,"
            " the link revoked, or the region be another one",
        )
    except ThrottledError:
        return Finding(
            check="request",
            state=State.WARNING,
            found="the project's budget is used up at the moment, so nothing else was learnt",
            advice="try again when less is going on; others that poll this project (--share,"
            " --limiter) draw on the same 10 requests a second",
        )
    except RejectedError as error:
        return _refused(error)
    except StatusError as error:
        return Finding(
            check="request",
            state=State.ERROR,
            found=_said(error),
            advice="if the checks above are well, the server has a problem: try again later",
        )
    return Finding(check="request", state=State.OK, found="the server answers")


def _refused(error: RejectedError) -> Finding:
    if isinstance(error, NotFoundError) and error.grpc_status == _GRPC_NOT_FOUND:
        return Finding(check="request", state=State.OK, found="the credentials are accepted")
    if isinstance(error, NotFoundError):
        return Finding(
            check="request",
            state=State.WARNING,
            found=f"{_said(error)}: not the words of Onehouse",
            advice="check the base URL: this may be another server",
        )
    if error.http_status is not None and error.http_status < _FIRST_REFUSAL:
        return Finding(
            check="request",
            state=State.ERROR,
            found=_said(error),
            advice="check the base URL: redirects are not followed",
        )
    return Finding(check="request", state=State.OK, found=f"the server answers: {_said(error)}")


def _said(error: StatusError) -> str:
    status = "" if error.http_status is None else f"HTTP {error.http_status}: "
    return f"{status}{error.reason or 'no reason given'}"
