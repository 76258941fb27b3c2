"""
What aiohttp must not do by itself: send a request twice, take any reply for the next one's, and
tell in an error all that it knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_parser import RawResponseMessage
from aiohttp.streams import StreamReader
from yarl import URL

__all__ = ["CONNECTION_LOST", "Connector", "Guard", "words_of"]

# What a kept-alive connection that the server has closed meanwhile looks like.
CONNECTION_LOST = (
    aiohttp.ClientOSError,
    aiohttp.ServerDisconnectedError,
    aiohttp.ClientConnectionResetError,
)

_QUOTED = re.compile(r"""[:'"\n]""")
_FIRST_FINAL_STATUS = 200  # below, the reply is still to come


class Connector(aiohttp.TCPConnector):
    """
    A connector of aiohttp that drops a connection as soon as it speaks out of turn.

    A reply names no request: what arrives on a connection that nobody uses would be taken for
    the reply to the next poll on it, and until then would fill the memory.

    Args:
        limit: Connections at once.

        **settings: Other keywords of `aiohttp.TCPConnector`.
    """

    def __init__(self, *, limit: int, **settings: Any) -> None:
        super().__init__(limit=limit, **settings)
        # There is no public way to choose the protocol; tests/test_hostile.py notices if this
        # one is gone.
        self._factory = partial(_Protocol, loop=asyncio.get_running_loop())  # type: ignore[assignment] # a subclass

    async def warm_up(self, url: URL, connections: int, timeout: aiohttp.ClientTimeout) -> None:
        """
        Open *connections* to *url* and keep them for the requests to come; nothing is sent.

        Cancelling keeps none that is not ready yet.
        """
        request = aiohttp.ClientRequest("GET", url, loop=asyncio.get_running_loop())
        with contextlib.ExitStack() as opened:  # released together, or each would be the first
            for _ in range(connections):
                connection = await self.connect(request, [], timeout)
                opened.callback(connection.release)


class _Protocol(ResponseHandler):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._expecting = False

    def set_response_params(self, **params: Any) -> None:
        """A request is about to be sent."""
        self._expecting = True
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        # Without data it only goes on with what it has.
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


def words_of(error: BaseException) -> str:
    """What *error* says, without whatever it quotes: headers, bodies, the password of a proxy."""
    fixed = {
        # Its own text may be all of the reply's headers.
        aiohttp.ServerDisconnectedError: "Server disconnected",
        aiohttp.ClientPayloadError: "the body is not whole",
    }
    for kind, words in fixed.items():
        if isinstance(error, kind):
            return words
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answered {error.status} {error.message}"
    if isinstance(error, aiohttp.ClientResponseError):
        # Up to the first quote or colon it is aiohttp's own.
        return f"the reply cannot be read: {_QUOTED.split(error.message, maxsplit=1)[0]}"

    return str(error) or type(error).__name__
