"""
What the hostile tests share: a server that sends whatever bytes it is told, and marked secrets.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Self

from onehouse_tracker import Credentials, PollPolicy, Tracker
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.onehouse.client import OnehouseClient

__all__ = [
    "GOOD",
    "MARK",
    "OWN",
    "PENDING",
    "Act",
    "HostileServer",
    "credentials",
    "flood",
    "http",
    "say",
    "tracker_for",
]

MARK = "m4rk3d"
"""Part of every secret of the tests, and of nothing else."""

OWN = {
    "account_uid": f"account-{MARK}",
    "project_uid": f"project-{MARK}",
    "api_key": f"key-{MARK}-0123456789",
    "api_secret": f"secret-{MARK}-0123456789",
    "link_uid": f"link-{MARK}",
    "user_uid": f"user-{MARK}",
    "region": "us-west-2",
}
"""Credentials, each with the mark in it."""

GOOD = b'{"apiStatus": "API_OPERATION_STATUS_SUCCESS", "apiResponse": {"n": 1}}'
PENDING = b'{"apiStatus": "API_OPERATION_STATUS_PENDING"}'

Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]
"""What the server does about one request; its connection is closed afterwards."""


def http(body: bytes = GOOD, status: str = "200 OK", *headers: str) -> bytes:
    """A whole HTTP reply."""
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", "")
    return "\r\n".join(lines).encode() + body


def say(*pieces: bytes, pause: float = 0.0, hold: bool = False) -> Act:
    """Send *pieces*, *pause* seconds apart; then hang up, or *hold* the connection in silence."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        if hold:
            await reader.read()

    return act


def flood(piece: bytes, first: bytes = b"", *, after: float = 0.0) -> Act:
    """Send *first*, and *after* seconds *piece* again and again until the client hangs up."""

    async def act(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await asyncio.sleep(after)
        while True:
            writer.write(piece)
            await writer.drain()

    return act


class HostileServer:
    """
    Does with each request what the next of *acts* says.

    Bytes are sent, and the connection is kept; an `Act` ends with the end of its connection.
    Beyond the last one every request is answered with success.

    Attributes:
        requests: The head and the body of each request, as it arrived.

        connections: How many were opened.
    """

    def __init__(self, *acts: bytes | Act, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._acts = list(acts)
        self._tls = tls
        self._arrival = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def arrived(self, count: int) -> None:
        """Wait until *count* requests have been read."""
        while len(self.requests) < count:
            self._arrival.clear()
            await self._arrival.wait()

    @property
    def url(self) -> str:
        """The base URL."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        """What was asked for, as it was on the wire."""
        return [request.split(b" ", 2)[1].decode() for request in self.requests]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, ssl=self._tls, limit=2**20
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: one that asyncio starts complains when it is cancelled.
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lengths = [
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                ]
                self.requests.append(head + await reader.readexactly(sum(lengths)))
                self._arrival.set()
                act = self._acts.pop(0) if self._acts else http()
                if not isinstance(act, bytes):
                    await act(reader, writer)
                    return
                writer.write(act)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            return
        finally:
            writer.transport.abort()


def credentials(url: str, **changes: str | None) -> Credentials:
    """Credentials with the mark in each of them."""
    settings: dict[str, Any] = {**OWN, "base_url": url, **changes}
    return Credentials(**settings)


def tracker_for(client: OnehouseClient, **changes: Any) -> Tracker:
    """A tracker of *client* with a lifted limit and short waits, so that tests are quick."""
    policy = {
        "gap_min": 0.02,
        "gap_max": 0.02,
        "idle_share": 0.0,
        "failure_base": 0.02,
        "failure_max": 0.02,
        "patience": 5.0,
        "not_found_grace": 0.05,
    }
    settings = {
        name: changes.pop(name)
        for name in list(changes)
        if name in PollPolicy.__dataclass_fields__
    }
    return Tracker(
        client,
        limiter=LocalLimiter(400, catch_up=0),
        policy=PollPolicy(**{**policy, **settings}),
        **changes,
    )
