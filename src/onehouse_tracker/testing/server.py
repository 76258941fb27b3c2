"""
A simulated project behind real HTTP on a local port.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import unquote

from aiohttp import web

from onehouse_tracker.onehouse._http.wire import HttpReply
from onehouse_tracker.testing.faults import (
    Fault,
    FaultKind,
    pending_body,
    refuse,
    unauthorized,
)
from onehouse_tracker.testing.records import Answer
from onehouse_tracker.testing.replies import http_reply, proper_body, refusal
from onehouse_tracker.testing.simulated_project import SimulatedProject

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

__all__ = ["ReceivedRequest", "SimulatorServer"]

_STATUS_PATH = "/v1/status/"
_RESOURCE_PATH = "/v1/resource/"
_REQUIRED = ("project-uid", "api-key", "api-secret", "uuid")
_ALSO_DOCUMENTED = ("account-uid", "link-uid", "region")
_CHUNK = b"x" * 65536


class ReceivedRequest(NamedTuple):
    """One HTTP request as it arrived."""

    at: float
    """When its head was read, in seconds on the loop's clock."""

    method: str
    """Its method."""

    path: str
    """Its path and query as sent, percent-encoding included."""

    headers: CIMultiDictProxy[str]
    """Its headers.  They are shown to tests and never logged."""

    body: str
    """The body of a POST, empty for everything else."""


class SimulatorServer:
    """
    Serve a `SimulatedProject` at ``http://host:port``, from ``async with`` on.

    It can be stopped and started again on the same port, as often as you like.

    Args:
        project: What to serve; a fresh one without limit if not given.

        host: Where to listen.

        port: Where to listen; 0 chooses a free port once and keeps it.

        strict: Whether all seven documented headers are required; otherwise the four without
            which no shipped client works.

        expected_headers: Values that headers must have, e.g. ``{"x-onehouse-api-key": "k"}``;
            anything else is answered 401.

        expected_token: The only bearer token that is accepted; `None` accepts any.

        record: Whether `seen` is kept.

    Attributes:
        project: The model.

        seen: Every HTTP request, in order of arrival.

    Raises:
        OSError: The port cannot be had.
    """

    def __init__(
        self,
        project: SimulatedProject | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        strict: bool = False,
        expected_headers: Mapping[str, str] | None = None,
        expected_token: str | None = None,
        record: bool = True,
    ) -> None:
        self.project = SimulatedProject() if project is None else project
        self.seen: list[ReceivedRequest] = []
        self._host = host
        self._port = port
        self._required = [
            f"x-onehouse-{name}" for name in _REQUIRED + (_ALSO_DOCUMENTED if strict else ())
        ]
        self._expected = dict(expected_headers or {})
        self._token = expected_token
        self._record = record
        self._runner: web.ServerRunner | None = None
        self._clock = time.monotonic

    def __repr__(self) -> str:
        state = "serving" if self._runner else "stopped"
        return f"<SimulatorServer {self._host}:{self._port}, {state}: {self.project!r}>"

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end.  The port is known once it has started."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    base_url = url

    @property
    def port(self) -> int:
        """The port; 0 before the first start with a free one."""
        return self._port

    def environment(self) -> dict[str, str]:
        """Environment variables with which any client that reads them talks to this server."""
        expected = {name.lower(): value for name, value in self._expected.items()}

        def value(header: str, otherwise: str) -> str:
            return expected.get(f"x-onehouse-{header}", otherwise)

        return {
            "ONEHOUSE_BASE_URL": self.url,
            "ONEHOUSE_ACCOUNT_UID": value("account-uid", "simulated-account"),
            "ONEHOUSE_PROJECT_UID": value("project-uid", "simulated-project"),
            "ONEHOUSE_API_KEY": value("api-key", "simulated-key"),
            "ONEHOUSE_API_SECRET": value("api-secret", "simulated-secret"),
            "ONEHOUSE_LINK_UID": value("link-uid", "simulated-link"),
            "ONEHOUSE_REGION": value("region", "us-west-2"),
            "ONEHOUSE_USER_UID": value("uuid", "simulated-user"),
        }

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """
        Listen, on the port of last time if there was one.  Does nothing while it serves.

        Raises:
            OSError: The port cannot be had.
        """
        if self._runner is not None:
            return
        loop = asyncio.get_running_loop()
        self._clock = loop.time
        self.project.begin(loop.time)
        runner = web.ServerRunner(
            # Our own log would drown the application's; access is recorded in `seen`.
            # A poll that hangs ends with its connection, whichever side closes that.
            web.Server(self._handle, access_log=None, handler_cancellation=True),
            # Not 0, which aiohttp takes for no limit.
            shutdown_timeout=0.1,
        )
        await runner.setup()
        try:
            # Explicit, because a server that was killed leaves its port in TIME_WAIT.
            site = web.TCPSite(runner, self._host, self._port, reuse_address=True)
            await site.start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self._port = runner.addresses[0][1]

    async def stop(self) -> None:
        """
        Stop listening and cut every connection, as if the process was killed.

        Does nothing while it is stopped.  Can be started again.
        """
        runner, self._runner = self._runner, None
        if runner is None:
            return
        for connection in runner.server.connections if runner.server else ():
            if connection.transport is not None:
                connection.transport.abort()
        await runner.cleanup()

    # --- answering ---------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        now = self._clock()
        path = request.raw_path
        body = await request.text() if request.method == "POST" else ""
        if self._record:
            self.seen.append(ReceivedRequest(now, request.method, path, request.headers, body))
        if path.startswith(_STATUS_PATH) and len(path) > len(_STATUS_PATH):
            request_id = unquote(path.partition("?")[0][len(_STATUS_PATH) :])
            trouble = self._refuse_head(request, "GET")
            if trouble is not None:
                self.project.turn_away("status", request_id, now, _verdict(trouble))
                return _send(refusal(trouble, 0.0))
            return await self._answer(request, self.project.poll(request_id, now))
        if path == _RESOURCE_PATH:
            trouble = self._refuse_head(request, "POST")
            statement = _statement(body)
            if trouble is None and statement is None:
                trouble = refuse(400, 'the body is not {"statement": "..."}')
            if trouble is not None or statement is None:
                trouble = trouble or refuse(400)
                self.project.turn_away("submit", "", now, _verdict(trouble))
                return _send(refusal(trouble, 0.0))
            return await self._answer(request, self.project.submit(statement, now))
        self.project.turn_away("other", "", now, "malformed")

        return _send(refusal(refuse(404, "no such path"), 0.0))

    def _refuse_head(self, request: web.BaseRequest, method: str) -> Fault | None:
        if request.method != method:
            return refuse(405, f"use {method}")
        bearer = request.headers.get("Authorization")
        reason = self._bad_keys(request) if bearer is None else self._bad_token(request, bearer)
        return unauthorized(message=reason) if reason else None

    def _bad_keys(self, request: web.BaseRequest) -> str:
        headers = request.headers
        missing = [name for name in self._required if not headers.get(name)]
        if missing:
            return f"missing headers: {', '.join(missing)}"
        if any(headers.get(name) != value for name, value in self._expected.items()):
            return "invalid api key or secret"
        return ""

    def _bad_token(self, request: web.BaseRequest, bearer: str) -> str:
        if any(f"x-onehouse-{name}" in request.headers for name in ("api-key", "api-secret")):
            return "use either a bearer token or an api key, not both"
        scheme, _, token = bearer.partition(" ")
        if scheme.lower() != "bearer" or not token or self._token not in (None, token):
            return "invalid bearer token"
        return ""

    async def _answer(self, request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        fault = answer.fault
        kind = None if fault is None else fault.kind
        if fault is None or kind not in _SPOILS_THE_CONNECTION:
            if fault is not None and kind is FaultKind.DELAY:
                await asyncio.sleep(self.project.delay_of(fault))
            return _send(http_reply(answer, time.time()))
        if kind is FaultKind.HUGE:
            return await _send_huge(request, fault.size)
        if kind is FaultKind.HANG:
            await asyncio.get_running_loop().create_future()
        if kind is FaultKind.CUT:
            await _send_half(request, proper_body(answer))
        _reset(request)

        return web.Response()


_SPOILS_THE_CONNECTION = frozenset(
    {FaultKind.HANG, FaultKind.RESET, FaultKind.CUT, FaultKind.HUGE}
)


def _send(reply: HttpReply) -> web.Response:
    return web.Response(status=reply.status, headers=reply.headers, body=reply.body)


async def _send_huge(request: web.BaseRequest, size: int) -> web.StreamResponse:
    head, tail = pending_body(size)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = size
    await response.prepare(request)
    left = size - len(head) - len(tail)
    # A client that has had enough closes the connection, as it should.
    with suppress(ConnectionError):
        await response.write(head)
        while left:
            piece = _CHUNK[:left]
            await response.write(piece)
            left -= len(piece)
        await response.write(tail)
    return response


async def _send_half(request: web.BaseRequest, content: bytes) -> None:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(content)
    await response.prepare(request)
    await response.write(content[: len(content) // 2])
    # The half must be on the wire before the connection goes.
    await asyncio.sleep(0.01)


def _reset(request: web.BaseRequest) -> None:
    transport = request.transport
    if transport is None:  # pragma: no cover - the client was faster
        return
    # No lingering: the peer gets RST, not a polite end.
    sock: socket.socket = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _statement(body: str) -> str | None:
    try:
        content = json.loads(body)
    except ValueError:
        return None
    statement = content.get("statement") if isinstance(content, dict) else None
    return statement if isinstance(statement, str) else None


def _verdict(fault: Fault) -> str:
    return "unauthorized" if fault.status == 401 else "malformed"
