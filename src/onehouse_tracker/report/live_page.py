"""
The live page: a report that keeps itself up to date, served on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self, cast, final

from aiohttp import hdrs, web

from onehouse_tracker._util.text import reason_of
from onehouse_tracker.errors import ConfigError, TrackerClosedError
from onehouse_tracker.report import ReportObserver, View, check_renderer, render
from onehouse_tracker.report._connections import PageConnections, most_connections
from onehouse_tracker.report._render import live_policy, page_json
from onehouse_tracker.report._view import Row
from onehouse_tracker.stats import TrackerStats

__all__ = ["LivePage"]

_log = logging.getLogger(__name__)

_NOWHERE: Final = logging.Logger("nowhere")  # noqa: LOG001 - in no hierarchy: no handler hears it
"""aiohttp tells each malformed request with a traceback, which anybody could have us write."""
_NOWHERE.disabled = True

_EVERY: Final = 0.25
"""Seconds between two messages to a browser, at least."""

_HEARTBEAT: Final = 5.0
"""Seconds between two messages while nothing changes."""

_SLOW: Final = 10.0
"""Seconds that a browser may take for one message."""

_FULL_FOR: Final = 1.0
"""Seconds for which a whole view is good enough to begin with: changes follow."""

_CHUNK: Final = 200
"""Rows that are packed at once; the polling has its turn in between."""

_MOST: Final = 50
"""Browsers at once."""

_IDLE: Final = 15.0
"""Seconds without a whole request after which a connection is closed."""

_AT_ONCE: Final = 16
"""Connections that are accepted in one turn of the loop, before any of them can be dropped."""

_WAITING: Final = 128
"""Connections that the system keeps until we accept them."""

_AT_HOME: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})


@final
class LivePage:
    """
    One page for a tracker; `Tracker.serve_page` makes it.

    It is read-only: it answers GET and HEAD, and only where the browser asked for this machine
    by name.  A browser that reads slowly gets fewer messages, each with all that changed; one
    that does not read at all is dropped.  Nothing waits for it.  Connections are few: an eighth
    of the descriptors of this process, 100 at most; the oldest idle one gives way.

    Use it with ``async with``, or leave it to the tracker, which closes it at its own end.
    """

    def __init__(
        self, recording: ReportObserver, stats: Callable[[], TrackerStats], *, title: str
    ) -> None:
        self._recording = recording
        self._stats = stats
        self._title = title
        self._html = ""
        self._port = 0
        self._runner: web.AppRunner | None = None
        self._over = asyncio.Event()
        self._listening: asyncio.Server | None = None
        self._most = most_connections()
        self._connections: PageConnections | None = None
        self._whole: tuple[float, str, bytes] | None = None
        self._building = asyncio.Lock()
        self._tick = 0
        # Made once for all browsers that are equally far.
        self._changes: dict[str, tuple[str, bytes]] = {}

    def __repr__(self) -> str:
        return "<LivePage: closed>" if self._runner is None else f"<LivePage {self.url}>"

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._port}/"

    async def start(self, port: int) -> None:
        """
        Serve it.

        Raises:
            ConfigError: The port is taken, or may not be used; or Jinja2 is missing.
        """
        check_renderer()
        empty = ReportObserver(limit=self._recording.limit).view()
        self._html = await asyncio.to_thread(render, empty, title=self._title, live=True)
        app = web.Application(middlewares=[_tell_own_faults])
        app.on_response_prepare.append(_add_headers)
        app.router.add_get("/", self._page)
        app.router.add_get("/events", self._events)
        runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=_EVERY,
            keepalive_timeout=_IDLE,
            lingering_time=0.0,
            logger=_NOWHERE,
        )
        await runner.setup()
        self._connections = PageConnections(cast("web.Server", runner.server), self._most)
        try:
            listening = socket.create_server(("127.0.0.1", port))
            self._listening = await asyncio.get_running_loop().create_server(
                self._connections, sock=listening, backlog=_AT_ONCE
            )
            listening.listen(_WAITING)  # asyncio has one number for both
        except (OSError, OverflowError) as error:
            await runner.cleanup()
            raise ConfigError(
                f"cannot serve the page on 127.0.0.1:{port}: {reason_of(error)}; choose another"
                " port, or 0 for one that is free"
            ) from error
        self._runner = runner
        self._port = self._listening.sockets[0].getsockname()[1]

    async def aclose(self) -> None:
        """
        Tell every browser how it ended, and stop.

        It takes half a second at most, whatever browsers do.  Closing twice does no harm.
        Cancelling it may leave connections to browsers to the end of the event loop.
        """
        runner, self._runner = self._runner, None
        if runner is None:
            return
        self._over.set()
        if self._listening is not None:
            self._listening.close()
        try:
            await runner.cleanup()
        finally:
            if self._connections is not None:
                # A reader that was slow until now: its socket must not outlive us.
                self._connections.drop_unread()
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # --- Requests ----------------------------------------------------------------------

    async def _page(self, request: web.Request) -> web.StreamResponse:
        _check(request)
        response = web.Response(text=self._html, content_type="text/html")
        response.headers["Content-Security-Policy"] = live_policy()
        return response

    async def _events(self, request: web.Request) -> web.StreamResponse:
        _check(request)
        connections, transport = self._connections, request.transport
        if connections is None or transport is None:  # gone already
            raise web.HTTPServiceUnavailable
        most = min(_MOST, self._most // 2)
        if connections.streams >= most:
            raise web.HTTPServiceUnavailable(text=f"{most} pages are open already\n")
        with connections.streaming(transport):
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            if request.method == hdrs.METH_HEAD:
                return response
            try:
                since = request.headers.get("Last-Event-ID") or request.query.get("since", "")
                with suppress(ConnectionError):  # gone: that is how a browser leaves
                    await self._follow(response, since)
            except TimeoutError:
                transport.abort()  # it does not read
        return response

    async def _follow(self, response: web.StreamResponse, since: str) -> None:
        """Send what is known, then what changes, until it is over."""
        loop = asyncio.get_running_loop()
        told_at = -_HEARTBEAT
        while True:
            over = self._over.is_set()
            changed = not since.startswith(self._recording.mark)
            if changed or over or loop.time() - told_at >= _HEARTBEAT:
                since, message = await self._message(since)
                told_at = loop.time()
                async with asyncio.timeout(_SLOW):
                    await response.write(message)
            if over:
                await response.write(b"event: over\ndata: {}\n\n")
                return
            # All at the same time: so they share what is made for them.
            with suppress(TimeoutError):
                async with asyncio.timeout(_EVERY - loop.time() % _EVERY):
                    await self._over.wait()

    # --- Messages ----------------------------------------------------------------------

    async def _message(self, since: str) -> tuple[str, bytes]:
        """The next version after *since*, and the event that leads there."""
        now = asyncio.get_running_loop().time()
        tick = int(now / _EVERY)
        if tick != self._tick:
            self._tick = tick
            self._changes.clear()
        known = None if self._over.is_set() else self._changes.get(since)
        if known is not None:
            return known
        view, rows = self._recording.outline(since=since, now=now)
        if "since" not in view:
            return await self._everything(now)
        made = await self._event(view, rows)
        self._changes[since] = made
        return made

    async def _everything(self, now: float) -> tuple[str, bytes]:
        """A whole view, made once for all who come in the same second."""
        async with self._building:
            if self._whole is None or now - self._whole[0] > _FULL_FOR or self._over.is_set():
                self._whole = (now, *await self._event(*self._recording.outline(now=now)))
            return self._whole[1:]

    async def _event(self, view: View, rows: list[Row]) -> tuple[str, bytes]:
        """A server-sent event; the rows are packed a few at a time."""
        version: str = view["head"]["version"]
        view["live"] = self._now()
        parts = [f"id: {version}\nevent: view\ndata: {page_json(view)[:-1]}", ',"rows":[']
        for first in range(0, len(rows), _CHUNK):
            if first:
                parts.append(",")
                await asyncio.sleep(0)
            chunk = rows[first : first + _CHUNK]
            self._recording.foresee(chunk, asyncio.get_running_loop().time())
            parts.append(page_json([row.packed() for row in chunk])[1:-1])
        parts.append("]}\n\n")

        return version, "".join(parts).encode()

    def _now(self) -> dict[str, Any] | None:
        try:
            stats = self._stats()
        except TrackerClosedError:
            return None
        return {
            "in_flight": stats.in_flight,
            "rate": round(stats.limiter.rate, 2),
            "round_time": round(stats.round_time, 1),
            "paused_for": round(stats.limiter.paused_for, 1),
            "degraded": stats.limiter.degraded,
            "left": None if stats.left is None else stats.left.to_dict(),
        }


@web.middleware
async def _tell_own_faults(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except (web.HTTPException, ConnectionError):
        raise
    except Exception:
        _log.exception("the live page failed")
        raise


def _check(request: web.Request) -> None:
    """
    Let in only who asked for this machine by its name.

    A name that somebody else made to point here would let their page read ours, and an event
    stream of a foreign page would take a place.
    """
    host = request.host.lower()
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name not in _AT_HOME:
        raise web.HTTPForbidden(text="this page is for 127.0.0.1 and localhost only\n")
    if request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"} and (
        request.path != "/"
    ):
        raise web.HTTPForbidden(text="this page does not serve other pages\n")


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


_HEADERS: Final = {
    "Server": "onehouse-tracker",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
