"""
What aiohttp must not do by itself: send a request twice, and take any reply for the next one's.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader
from aiohttp.tracing import Trace
from yarl import URL

from onehouse_tracker._util.cancelling import is_cancelled
from onehouse_tracker.onehouse._http.body import too_large
from onehouse_tracker.onehouse._http.failures import CONNECTION_LOST

__all__ = [
    "Connector",
    "Guard",
    "Kept",
    "Use",
    "connections_of",
    "kept_by",
    "look_up_again",
    "open_session",
    "read_body",
]

_FIRST_FINAL_STATUS = 200  # below, the reply is still to come
_HANDSHAKES = 16
"""How many connections are opened ahead of their use at once: when the trackers of 200 projects
start together, the server and our own loop get no burst of 200."""


@dataclass(slots=True, eq=False)
class Use:
    """
    What one request, and all that follow in its task, may know and must know of its connection.

    Args:
        made_after: On `time.monotonic`: an older connection does not serve it.
    """

    made_after: float = -math.inf
    reused: bool | None = None
    """Whether the connection had served before; `None` where its connector does not tell."""
    connected: bool | None = None
    """Whether there is a connection: without one, nothing was sent; `None` as above."""

    def begin(self) -> None:
        """The requests of this task are those that are meant, until the next call."""
        _use.set(self)


_use: ContextVar[Use | None] = ContextVar("use of a connection", default=None)


class Connector(aiohttp.TCPConnector):
    """
    A connector of aiohttp that drops a connection as soon as it speaks out of turn.

    A reply names no request: what arrives on a connection that nobody uses would be taken for
    the reply to the next poll on it, and until then would fill the memory.

    Args:
        limit: Connections at once; 0 is no limit.

        **settings: Other keywords of `aiohttp.TCPConnector`.
    """

    def __init__(self, *, limit: int, **settings: Any) -> None:
        super().__init__(limit=limit, **settings)
        self.is_direct = False
        """Whether the session around it is our own: no proxy, no headers of its own."""
        self.clients = 0
        """How many share it."""
        self._handshakes = asyncio.Semaphore(_HANDSHAKES)
        self._opening = 0
        self._standing: set[_Protocol] = set()
        # There is no public way to choose the protocol; tests/onehouse/test_hostile.py notices if
        # this one is gone.
        loop = asyncio.get_running_loop()
        self._factory = partial(_Protocol, loop, self._standing)  # type: ignore[assignment] # a subclass

    async def warm_up(self, url: URL, connections: int, timeout: aiohttp.ClientTimeout) -> None:
        """
        Open up to *connections* to *url*, until so many stand, and two more for each further
        client that shares them; they are kept for the requests to come, and nothing is sent.

        It never fails.  Cancelling keeps none that is not ready yet.
        """
        enough = connections + 2 * (self.clients - 1)
        if self.limit:  # aiohttp counts against it only what is in use
            enough = min(enough, self.limit)
        for _ in range(connections):
            if len(self._standing) + self._opening >= enough:
                return
            connection = await self._connect(url, timeout, _Fresh())
            if connection is None:
                return  # the server is away: the polls will tell
            connection.release()

    async def hold(self, url: URL, timeout: aiohttp.ClientTimeout) -> Callable[[], None]:
        """
        Have one connection to *url* that nobody uses until the function returned is called.

        It never fails.  Cancelling holds none.
        """
        connection = await self._connect(url, timeout, [])
        return _nothing if connection is None else connection.release

    async def _connect(
        self, url: URL, timeout: aiohttp.ClientTimeout, kind: list[Trace]
    ) -> Connection | None:
        request = aiohttp.ClientRequest("GET", url, loop=asyncio.get_running_loop())
        self._opening += 1
        try:
            async with self._handshakes:
                return await self.connect(request, kind, timeout)
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            return None  # closing the connector cancels its look-ups, not those who wait for them
        except Exception:  # noqa: BLE001 - a name that is none, no thread to look it up, ...
            return None
        finally:
            self._opening -= 1

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """Get a connection, as aiohttp does, and take note for the call that it has one."""
        use = _use.get() or Use()
        use.connected = False
        connection = await super().connect(req, traces, timeout)
        use.connected = True
        return connection

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        # Nor is there one to ask for a new connection while others are idle;
        # tests/onehouse/test_warm_connections.py notices if this one is gone.
        if isinstance(traces, _Fresh):
            return None
        use = _use.get() or Use()
        too_old: list[Connection] = []
        try:
            while (connection := await super()._get(key, traces)) is not None:
                protocol = connection.protocol
                if isinstance(protocol, _Protocol) and protocol.made_at > use.made_after:
                    break
                too_old.append(connection)
        finally:
            for each in too_old:
                # Others who share them may be well served by them.
                each.release() if self.clients > 1 and not self.limit else each.close()
        use.reused = connection is not None
        return connection


class _Fresh(list[Trace]):
    """No traces, for a connection that is to be a new one."""


class Kept:
    """What a client knows of connections that are not ours: none of them is opened ahead."""

    def __init__(self) -> None:
        self.clients = 0
        """As of a `Connector`."""

    async def warm_up(self, url: URL, connections: int, timeout: aiohttp.ClientTimeout) -> None:
        """Do nothing."""

    async def hold(self, url: URL, timeout: aiohttp.ClientTimeout) -> Callable[[], None]:  # noqa: ARG002
        """Hold nothing."""
        return _nothing


def kept_by(session: aiohttp.ClientSession) -> Connector | Kept:
    """Find whatever counts the connections of *session*; its clients share it."""
    connector = session.connector
    return connector if isinstance(connector, Connector) and connector.is_direct else Kept()


def connections_of(session: aiohttp.ClientSession) -> int | None:
    """Connections that *session* makes at once, at most; `None` for any number."""
    connector = session.connector
    limits = (connector.limit, connector.limit_per_host) if connector is not None else ()
    return min((limit for limit in limits if limit), default=None)


def look_up_again(session: aiohttp.ClientSession) -> None:
    """Forget the addresses that *session* found for names."""
    if isinstance(session.connector, aiohttp.TCPConnector):
        session.connector.clear_dns_cache()


def open_session(max_connections: int) -> aiohttp.ClientSession:
    """
    Open a session that adds nothing of its own to a request; several clients may share it.

    Args:
        max_connections: Connections at once; 0 is no limit.
    """
    connector = Connector(limit=max_connections)
    connector.is_direct = True
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    )


async def read_body(response: aiohttp.ClientResponse, limit: int) -> tuple[bytes | bytearray, str]:
    """Read a body of at most *limit* bytes, and return it with the problem that it has, if any."""
    content = response.content
    body: bytes | bytearray = await content.readany()
    while len(body) <= limit:
        if content.at_eof():  # most come in one piece
            return body, ""
        # Pieces that are joined at the end would be in memory twice.
        if isinstance(body, bytes):
            body = bytearray(body)
        body += await content.readany()

    return b"", too_large(limit)


def _nothing() -> None:
    """Give back what was never held."""


class _Protocol(ResponseHandler):
    def __init__(self, loop: asyncio.AbstractEventLoop, standing: set[_Protocol]) -> None:
        super().__init__(loop)
        self._expecting = False
        self._all_standing = standing
        self.made_at = time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._all_standing.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._all_standing.discard(self)
        super().connection_lost(exc)

    def set_response_params(self, **params: Any) -> None:
        """A request is about to be sent."""
        self._expecting = True
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        # Without data it only continues with what it has.
        if self._expecting or not data:
            super().data_received(data)
        else:
            self._drop()

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        # The end of a body and the next reply may come in one piece.
        if not self._expecting:
            self._drop()
            return
        super().feed_data(data, size)
        message, payload = data
        if message.code >= _FIRST_FINAL_STATUS:
            payload.on_eof(self._answered)

    def _answered(self) -> None:
        self._expecting = False

    def _drop(self) -> None:
        self.force_close()
        if self.transport is not None:
            self.transport.abort()


@dataclass(slots=True)
class Guard:
    """
    A client middleware for one request: nothing but that request, and only once.

    aiohttp sends an idempotent request again when its connection is lost before the reply; it
    then asks its middlewares a second time.  That request would escape the budget.

    Args:
        ours: Names of our headers, in lower case; `None` where no others can be there.
    """

    ours: frozenset[str] | None
    refused: bool = False
    lost: BaseException | None = None

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if self.lost is not None:
            self.refused = True
            raise _ResendRefusedError
        if self.ours is not None:
            self._remove_foreign(request, self.ours)
        try:
            return await handler(request)
        except CONNECTION_LOST as error:
            self.lost = error
            raise

    @staticmethod
    def _remove_foreign(request: aiohttp.ClientRequest, ours: frozenset[str]) -> None:
        # Defaults of a session that is not ours: with two ways to authenticate the server
        # refuses a call, and another project's UID would be plainly wrong.
        for name in list(request.headers):
            lower = name.lower()
            foreign = lower.startswith("x-onehouse-") or lower in {"authorization", "cookie"}
            if foreign and lower not in ours:
                del request.headers[name]


class _ResendRefusedError(Exception):
    """The second attempt of aiohttp at one request; nothing was sent."""
