"""
A server of some cases of one wave: delays each request, asks the enforcer, writes it down.

It reads what to serve as JSON from the first line of stdin and prints its port; the next says
when the requests of some cases end; it serves until a third line, and prints its record.  Times
are those of the clock that this machine's processes share.

It speaks just enough HTTP for our client, so that it is quick: what it adds to the jitter it was
told to add would count against those it judges.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from random import Random
from typing import Any

from benchmarks.rate.lateness import Lateness
from onehouse_tracker.testing.enforcers import Enforcer, make_enforcer

_MEMBER = re.compile(rb"\r\nx-onehouse-uuid: ([^\r]*)\r\n", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


def _reply(status: bytes, body: bytes, headers: bytes = b"") -> bytes:
    length = str(len(body)).encode()
    head = b"HTTP/1.1 " + status + b"\r\nContent-Type: application/json\r\n" + headers
    return head + b"Content-Length: " + length + b"\r\n\r\n" + body


_PENDING = _reply(b"200 OK", b'{"apiStatus":"API_OPERATION_STATUS_PENDING"}')
_SUCCESS = _reply(b"200 OK", b'{"apiStatus":"API_OPERATION_STATUS_SUCCESS"}')
_REFUSED = _reply(b"429 Too Many Requests", b"", b"grpc-message: too many requests\r\n")


class Case:
    """One limiter, with the jitter of the network before it."""

    def __init__(self, name: str, settings: dict[str, Any]) -> None:
        self._jitter = float(settings["jitter"])
        self._random = Random(name)
        self._loop = asyncio.get_running_loop()
        self._enforcer: Enforcer | None = None
        self._upstream: _Upstream | None = None
        if "upstream" in settings:
            self._upstream = _Upstream(settings["upstream"])
        else:
            self._enforcer = make_enforcer(settings["enforcer"], 10.0)
        self._last = 0.0
        self._asking: set[asyncio.Task[None]] = set()
        self.finish_at = float("inf")
        self.record: list[tuple[float, bool, str]] = []

    def serve(self, member: str, transport: asyncio.Transport) -> None:
        """Serve one request of *member*, when its delay is over."""
        at = self._loop.time() + self._random.uniform(0.0, self._jitter)
        if self._jitter:
            self._loop.call_at(at, self._arrive, at, member, transport)
        else:
            self._arrive(at, member, transport)

    def _arrive(self, at: float, member: str, transport: asyncio.Transport) -> None:
        if self._upstream is not None:
            task = self._loop.create_task(self._ask(self._upstream, member, transport))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
            return
        assert self._enforcer is not None
        # By the time that was drawn: that our own timers are late is no jitter of a network.
        self._last = at = max(at, self._last)
        self._answer(at, member, transport, admitted=self._enforcer.admit(at))

    async def _ask(self, upstream: _Upstream, member: str, transport: asyncio.Transport) -> None:
        status = await upstream.ask()
        assert status in {200, 429}, status
        self._answer(self._loop.time(), member, transport, admitted=status == 200)

    def _answer(
        self, at: float, member: str, transport: asyncio.Transport, *, admitted: bool
    ) -> None:
        self.record.append((at, admitted, member))
        if not transport.is_closing():
            final = at >= self.finish_at
            transport.write((_SUCCESS if final else _PENDING) if admitted else _REFUSED)


class _Upstream:
    """A limiter that we did not write, behind connections that are kept."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self) -> int:
        """Send one request and return the status of the reply."""
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(b"GET / HTTP/1.1\r\nHost: limiter\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        assert length is not None, head
        await reader.readexactly(int(length[1]))
        if b"connection: close" in head.lower():
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(head[9:12])


class _Connection(asyncio.Protocol):
    """One connection of a client, which sends one request at a time."""

    def __init__(self, cases: dict[str, Case]) -> None:
        self._cases = cases
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"\r\n\r\n"):
            return
        head, self._received = self._received, b""
        member = _MEMBER.search(head)
        assert member is not None
        assert self._transport is not None
        name = head.split(b"/", 2)[1].decode()
        self._cases[name].serve(member[1].decode(), self._transport)


async def main() -> None:
    """Serve one wave."""
    wave = json.loads(await asyncio.to_thread(sys.stdin.readline))
    cases = {name: Case(name, settings) for name, settings in wave.items()}
    lateness = Lateness()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(cases), "127.0.0.1", 0, backlog=1024)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    ends = json.loads(await asyncio.to_thread(sys.stdin.readline))
    for name in ends.keys() & cases.keys():
        cases[name].finish_at = ends[name]
    watch = asyncio.ensure_future(lateness.watch())
    await asyncio.to_thread(sys.stdin.readline)
    watch.cancel()
    records = {name: case.record for name, case in cases.items()}
    told = {"late_p99": lateness.at(0.99), "stalls": lateness.stalls, "records": records}
    print(json.dumps(told), flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
