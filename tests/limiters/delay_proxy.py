"""
A stretch of wire on loopback: everything arrives, in order, but later.
"""

from __future__ import annotations

import asyncio
from typing import Self

__all__ = ["DelayProxy"]


class DelayProxy:
    """
    Passes connections on to a port of this machine.

    Args:
        port: Where to.

    Attributes:
        delay: Seconds that each direction takes: half a round trip.

        connections: How many were made.
    """

    def __init__(self, port: int, delay: float = 0.0) -> None:
        self._to = port
        self.delay = delay
        self.connections = 0
        self._open: set[asyncio.Transport] = set()

    @property
    def url(self) -> str:
        """Where a Redis seems to be."""
        return f"redis://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _End(self, None), "127.0.0.1", 0
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.sleep(0.01)

    def cut(self) -> None:
        """Lose all connections without a word."""
        for transport in tuple(self._open):
            transport.abort()

    async def lead_on(self, near: _End) -> None:
        """Connect the other end."""
        await asyncio.get_running_loop().create_connection(
            lambda: _End(self, near), "127.0.0.1", self._to
        )


class _End(asyncio.Protocol):
    """One end of a connection, which writes later to the other."""

    def __init__(self, proxy: DelayProxy, other: _End | None) -> None:
        self._proxy = proxy
        self._other = other
        self._early: list[bytes] = []
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._proxy._open.add(transport)
        if self._other is None:
            self._proxy.connections += 1
            self._leading = asyncio.ensure_future(self._proxy.lead_on(self))
        else:
            self._other.join(self)

    def join(self, other: _End) -> None:
        """The other end is there."""
        self._other = other
        for data in self._early:
            other.write_later(data)

    def data_received(self, data: bytes) -> None:
        if self._other is None:
            self._early.append(data)
        else:
            self._other.write_later(data)

    def write_later(self, data: bytes) -> None:
        """Write once the data has come all the way."""
        asyncio.get_running_loop().call_later(self._proxy.delay, self._write, data)

    def _write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.transport is not None:
            self._proxy._open.discard(self.transport)
        if self._other is not None and self._other.transport is not None:
            self._other.transport.close()
