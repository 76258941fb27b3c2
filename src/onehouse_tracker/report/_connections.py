"""
The connections to a live page: few enough to leave descriptors for the polls.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

if sys.platform != "win32":
    import resource

__all__ = ["PageConnections", "most_connections"]

_MOST: Final = 100
_FEWEST: Final = 8
_SHARE: Final = 8
"""An eighth of the descriptors that this process may have are the page's."""


def most_connections() -> int:
    """How many connections a page may have, in a process with so many descriptors as this one."""
    if sys.platform != "win32":  # where sockets are no descriptors
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if descriptors != resource.RLIM_INFINITY:
            return max(_FEWEST, min(_MOST, descriptors // _SHARE))
    return _MOST


class PageConnections:
    """
    Takes every connection in; where there are too many, the oldest that nothing streams to goes.

    Refusing new ones instead would leave the page to the first visitors, if they stay.

    Args:
        make: Makes the protocol that serves one connection.

        most: How many may be open at once.
    """

    def __init__(self, make: Callable[[], asyncio.Protocol], most: int) -> None:
        self._make = make
        self._most = most
        # Oldest first; whether something streams to it.
        self._open: dict[asyncio.BaseTransport, bool] = {}

    def __call__(self) -> asyncio.Protocol:
        """The protocol of a new connection, for ``loop.create_server``."""
        return _Counted(self._make(), self)

    def __iter__(self) -> Iterator[asyncio.Transport]:
        """Those that are open, oldest first."""
        return (each for each in tuple(self._open) if isinstance(each, asyncio.Transport))

    @property
    def streams(self) -> int:
        """How many are streamed to."""
        return sum(self._open.values())

    @contextmanager
    def streaming(self, transport: asyncio.BaseTransport) -> Iterator[None]:
        """Do not drop *transport* while the block streams to it."""
        if transport in self._open:
            self._open[transport] = True
        try:
            yield
        finally:
            if transport in self._open:
                self._open[transport] = False

    def take_in(self, transport: asyncio.BaseTransport) -> None:
        """It was made; drop what is too many."""
        self._open[transport] = False
        there = [each for each in self if not each.is_closing()]
        surplus = len(there) - self._most
        if surplus > 0:
            for each in [each for each in there if not self._open[each]][:surplus]:
                each.abort()

    def forget(self, transport: asyncio.BaseTransport) -> None:
        """It is closed."""
        self._open.pop(transport, None)

    def drop_unread(self) -> None:
        """Close those at once that have not read what was sent to them."""
        for each in self:
            if each.get_write_buffer_size():
                each.abort()


class _Counted(asyncio.Protocol):
    """Passes everything on, and tells when a connection begins and ends."""

    def __init__(self, inner: asyncio.Protocol, connections: PageConnections) -> None:
        self._inner = inner
        self._connections = connections
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._connections.take_in(transport)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._connections.forget(self._transport)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
