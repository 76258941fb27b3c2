"""
The HTTP client: the only module that sends requests to Onehouse.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Self, Unpack, final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from onehouse_tracker import __version__
from onehouse_tracker._checks import check_request_id
from onehouse_tracker._util.give_way import LARGE, apart, give_way
from onehouse_tracker._util.numbers import is_count, is_number
from onehouse_tracker.errors import ConfigError, TrackerClosedError
from onehouse_tracker.models import StatusReply
from onehouse_tracker.onehouse._credential_sources.hidden import hide_environment, hide_settings
from onehouse_tracker.onehouse._http import urls, wire
from onehouse_tracker.onehouse._http.body import decode_body
from onehouse_tracker.onehouse._http.connections import (
    Connector,
    Guard,
    Kept,
    Use,
    connections_of,
    kept_by,
    look_up_again,
    open_session,
    read_body,
)
from onehouse_tracker.onehouse._http.failures import (
    CONNECTION_LOST,
    NOTHING_SENT,
    Failure,
    Translate,
    not_polled,
    not_submitted,
    words_of,
)
from onehouse_tracker.onehouse._http.masking import Masking
from onehouse_tracker.onehouse._http.under_way import UnderWay
from onehouse_tracker.onehouse.credentials import Credentials
from onehouse_tracker.onehouse.settings import ClientSettings, CredentialSettings, refuse_unknown

__all__ = ["Connector", "OnehouseClient"]

_MAX_BODY = 8 * 1024 * 1024
_MAX_ERROR_BODY = 64 * 1024  # enough for a reason; the rest of a refusal is not read
# A parse error may quote a long statement in grpc-message: aiohttp's 8 KiB would make an
# unreadable reply of it, and of a clear refusal a submission of unknown fate.
_MAX_HEADER = 64 * 1024
# Bodies are small, and nobody can blow up what is not compressed.
_HEADERS = {"User-Agent": f"onehouse-tracker/{__version__}", "Accept-Encoding": "identity"}
_MAX_CONNECTIONS = 320  # for 10 requests a second, each hanging for 30 s, and 20 more


@final
class OnehouseClient:
    """
    Ask the Onehouse API about requests, and submit statements, one HTTP request per call.

    It is a `StatusSource` and a `SubmissionSource`.  Use it as ``async with OnehouseClient(...)``,
    or give it to a `Tracker`, which opens it; any number of calls may run at once.  Nothing is
    ever sent twice, redirects are not followed, proxies of the environment are not used.

    Args:
        credentials: Who we are.  They are sent with each request, and shown nowhere.

        http_session: Send through this session, which stays yours to close.  Its connector and
            its proxy serve our requests; its middlewares, its cookies, and default headers
            that would speak for somebody else do not touch them.  Make its connector with
            `Connector`: others may take a reply that comes twice for the next one's.

        connect_timeout: Seconds until a connection has to be ready, the wait for a free one
            included.

        request_timeout: Seconds one call may take from start to end.

        max_body: Bytes of one reply's body, decompressed; a larger one is a `TransportError`.

        max_connections: Connections at once, 320 by default; not for a session of yours.

        ready_connections: Connections that `warm_up` makes sure of, if it is not told.

    Raises:
        ConfigError: A number is not more than 0.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        http_session: aiohttp.ClientSession | None = None,
        connect_timeout: float = 10.0,
        request_timeout: float = 30.0,
        max_body: int = _MAX_BODY,
        max_connections: int | None = None,
        ready_connections: int = 4,
    ) -> None:
        seconds = {"connect_timeout": connect_timeout, "request_timeout": request_timeout}
        counts = {"max_body": max_body, "ready_connections": ready_connections}
        counts["max_connections"] = 1 if max_connections is None else max_connections
        for name, value in (seconds | counts).items():
            if not (is_count(value) if name in counts else is_number(value) and value > 0):
                what = "a whole number from 1" if name in counts else "more than 0 seconds"
                raise ConfigError(f"OnehouseClient: {name} is {what}, not {value!r}")
        self._credentials = credentials
        self._foreign = http_session
        self._request_timeout = request_timeout
        self._max_body = max_body
        self._max_connections = max_connections or _MAX_CONNECTIONS
        self._may_have_more = max_connections is None
        self._ready_connections = ready_connections
        self._timeout = aiohttp.ClientTimeout(total=request_timeout, connect=connect_timeout)
        self._masking = Masking(credentials.secret_values())
        # As aiohttp keeps them: it would convert others for each request.
        self._get_headers = CIMultiDict(credentials.headers() | _HEADERS)
        self._post_headers = self._get_headers.copy()
        self._post_headers["Content-Type"] = "application/json"
        self._ours = frozenset(name.lower() for name in self._post_headers)
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._users = 0
        self._kept: Connector | Kept = Kept()
        self._idle = 0  # as far as can be told from outside, in a session that is not ours
        self._forgot_at = -math.inf
        self._under_way = UnderWay()

    @classmethod
    def from_env(
        cls,
        *,
        profile: str | None = None,
        environ: Mapping[str, str] | None = None,
        credentials_file: str | os.PathLike[str] | None = None,
        http_session: aiohttp.ClientSession | None = None,
        connect_timeout: float = 10.0,
        request_timeout: float = 30.0,
        max_body: int = _MAX_BODY,
        max_connections: int | None = None,
        **overrides: Unpack[CredentialSettings],
    ) -> Self:
        """
        Make a client with credentials from keywords, the environment, or the profile file.

        The arguments are those of `Credentials.from_env` and of the class.

        Raises:
            ConfigError: Credentials are missing (all are named at once) or cannot be used.
        """
        environ, overrides = hide_environment(environ), hide_settings(overrides)
        refuse_unknown(overrides, ClientSettings)
        return cls(
            Credentials.from_env(
                profile=profile, environ=environ, credentials_file=credentials_file, **overrides
            ),
            http_session=http_session,
            connect_timeout=connect_timeout,
            request_timeout=request_timeout,
            max_body=max_body,
            max_connections=max_connections,
        )

    @property
    def credentials(self) -> Credentials:
        """Who we are to the server."""
        return self._credentials

    @property
    def request_timeout(self) -> float:
        """Seconds one call may take from start to end."""
        return self._request_timeout

    @property
    def max_connections(self) -> int | None:
        """Connections at once, at most; `None` for any number."""
        return self._max_connections if self._foreign is None else connections_of(self._foreign)

    @property
    def is_open(self) -> bool:
        """Whether it is inside ``async with``, of yours or of a tracker."""
        return self._session is not None

    def __repr__(self) -> str:
        state = "closed" if self._session is None else "open"
        return f"<OnehouseClient: {self._credentials.base_url}, {state}>"

    async def __aenter__(self) -> Self:
        """
        Open the session, on the running loop; connections are opened when they are needed.

        It may be entered again while it is open: the last exit closes it.

        Raises:
            TrackerClosedError: The session that was given is closed, or another loop uses us.
        """
        if self._session is None:
            self._loop = asyncio.get_running_loop()
            self._users = 0
            self._session = self._foreign or open_session(self._max_connections)
            self._kept = kept_by(self._session)
            self._kept.clients += 1
        self._open_session()
        self._users += 1
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close the session if this is the last exit; a session that was given stays open."""
        self._users -= 1
        if self._users <= 0:
            await self.aclose()

    async def aclose(self) -> None:
        """
        Close the session at once, unless it was given; calls without a connection yet fail.

        Closing twice does no harm, and ``async with`` opens it again.
        """
        session, self._session = self._session, None
        if session is not None:
            self._kept.clients -= 1
            self._under_way.end()
            if session is not self._foreign:
                await session.close()

    async def fetch(self, request_id: str) -> StatusReply:
        """
        Poll a request once.  Cancelling drops the call and its connection.

        Raises:
            InvalidRequestError: It cannot be a request ID; nothing was sent.

            StatusError: No status; the subclass says what to make of it, see `errors`.

            TrackerClosedError: Used outside ``async with``.
        """
        url = urls.of_status(self._credentials.base_url, check_request_id(request_id))
        reply = await self._exchange("GET", url, failed=partial(not_polled, request_id))
        return await apart(len(reply.body), wire.read_status, reply, request_id, now=time.time())

    async def submit(self, statement: str) -> str:
        """
        Submit one statement and return its request ID.  It is sent once, whatever happens.

        Cancelling leaves open whether the statement runs: it may have arrived.

        Args:
            statement: One SQL statement; spaces around it and semicolons after it are removed.

        Raises:
            InvalidRequestError: There is no statement, or it has characters that cannot be SQL;
                nothing was sent.

            SubmissionError: Refused, never sent, or of unknown fate.

            ThrottledError: Refused for its rate only: nothing runs.

            UnauthorizedError: The server refused our credentials: nothing runs.

            TrackerClosedError: Used outside ``async with``.
        """
        body = json.dumps(wire.submission_body(statement)).encode()
        url = urls.of_submission(self._credentials.base_url)
        reply = await self._exchange("POST", url, body, failed=not_submitted)
        return await apart(len(reply.body), wire.read_submission, reply, now=time.time())

    async def warm_up(self, connections: int | None = None) -> None:
        """
        Make sure that so many connections stand and are free; nothing is sent.

        A poll that must first shake hands reaches the server late, close to the next one: where
        every millisecond between two requests counts, the server would refuse one.  It never
        fails, the polls will tell; with a session that was given it does nothing.  Cancelling
        it does no harm.

        Raises:
            TrackerClosedError: Used outside ``async with``.
        """
        self._open_session()
        ready = connections or self._ready_connections
        await self._kept.warm_up(urls.base(self._credentials.base_url), ready, self._timeout)

    def allow(self, connections: int) -> None:
        """Allow so many connections, unless `max_connections` was given; before it is opened."""
        if self._may_have_more:
            self._max_connections = max(_MAX_CONNECTIONS, connections)

    def forget_connections(self) -> None:
        """
        Use new connections from now on, and look the name up again: the server may have moved.

        In a session that was given this needs a `Connector`.
        """
        self._forgot_at = time.monotonic()
        if self._session is not None:
            look_up_again(self._session)

    async def hold(self) -> Callable[[], None]:
        """
        Keep one connection that stands for the next request, until the function returned is
        called: where many share a session, somebody else would take it.  Else as `warm_up`.
        """
        self._open_session()
        Use(self._forgot_at).begin()
        return await self._kept.hold(urls.base(self._credentials.base_url), self._timeout)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise TrackerClosedError("the client is not open: use it inside `async with`")
        if self._loop is not asyncio.get_running_loop():
            raise TrackerClosedError("the client was opened on another event loop")
        if self._session.closed:
            raise TrackerClosedError("the session of the client was closed")
        return self._session

    async def _exchange(
        self, method: str, url: URL, body: bytes | None = None, *, failed: Translate
    ) -> wire.HttpReply:
        """Send one request and read its reply; without one, raise what *failed* makes of it."""
        session = self._open_session()
        # Our own session adds nothing.
        guard = Guard(None if isinstance(self._kept, Connector) else self._ours)
        use = Use(self._forgot_at)
        # Where the connector does not tell: a reply that was read whole leaves a connection
        # behind, and a request takes one away if there is any.
        had_idle = self._idle > 0
        self._idle -= had_idle
        try:
            with self._under_way.call(use):
                async with session.request(
                    method,
                    url,
                    data=body,
                    # In no variable: tools that show those of each frame would show the secrets.
                    headers=self._get_headers if body is None else self._post_headers,
                    timeout=self._timeout,
                    allow_redirects=False,
                    raise_for_status=False,
                    auto_decompress=False,  # it has no bound; see `decode_body`
                    max_line_size=_MAX_HEADER,
                    max_field_size=_MAX_HEADER,
                    middlewares=(guard,),
                ) as response:
                    reply = await self._read(response)
        except Exception as error:  # noqa: BLE001 - here every error becomes one of our own
            sent = not isinstance(error, NOTHING_SENT) and use.connected is not False
            lost = guard.refused or isinstance(error, CONNECTION_LOST)
            reason = self._masking.line(words_of(guard.lost or error, self._timeout))
            # Only a connection that had served can be stale: a new one that is lost is a failure,
            # or a server that hangs up on everybody would be asked again and again, with no pause.
            reused = had_idle if use.reused is None else use.reused
            failure = Failure(reason, sent=sent, stale=reused and sent and lost)
        else:
            if not reply.problem:
                self._idle += 1
            return reply

        # Not raised above: it would carry aiohttp's error along, and with it our headers.
        raise failed(failure)

    async def _read(self, response: aiohttp.ClientResponse) -> wire.HttpReply:
        is_good = wire.is_success(response.status)
        limit = self._max_body if is_good else min(self._max_body, _MAX_ERROR_BODY)
        data: bytes | bytearray
        try:
            data, problem = await read_body(response, limit)
        except (aiohttp.ClientError, OSError) as error:
            # The status is known: a refusal stays one, even if the rest of it was lost.
            data, problem = b"", words_of(error, self._timeout)
        if problem:
            response.close()
        return await apart(len(data), self._reply, response, data, problem, limit)

    def _reply(
        self, response: aiohttp.ClientResponse, data: bytes | bytearray, problem: str, limit: int
    ) -> wire.HttpReply:
        """What was read, decompressed and masked."""
        if not problem:
            encoding = response.headers.get("Content-Encoding", "")
            data, problem = decode_body(data, encoding, max_body=limit)
        return wire.HttpReply(
            status=response.status,
            phrase=response.reason or "",
            headers=response.headers,
            body=data,
            problem=self._masking.line(problem) if problem else "",
            masking=self._masking,
            pause=give_way if len(data) > LARGE else None,
        )
