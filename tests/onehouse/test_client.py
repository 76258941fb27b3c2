"""
The client on real sockets of the loopback, against servers that behave and that do not.
"""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import socket
import ssl
import threading
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp
import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer
from aioresponses import aioresponses

import onehouse_tracker
from onehouse_tracker.errors import (
    ConfigError,
    InvalidRequestError,
    NotFoundError,
    RejectedError,
    StaleConnectionError,
    StatusError,
    SubmissionError,
    SubmissionRejectedError,
    SubmissionUnknownError,
    SubmissionUnsentError,
    ThrottledError,
    TrackerClosedError,
    TransportError,
    UnauthorizedError,
)
from onehouse_tracker.models import StatusReply
from onehouse_tracker.onehouse.client import OnehouseClient
from onehouse_tracker.onehouse.credentials import Credentials

KEY, SECRET = "key-0123456789", "sec-0123456789"
HEADERS = {
    "x-onehouse-account-uid": "acc",
    "x-onehouse-project-uid": "proj",
    "x-onehouse-api-key": KEY,
    "x-onehouse-api-secret": SECRET,
    "x-onehouse-link-uid": "link",
    "x-onehouse-region": "us-west-2",
    "x-onehouse-uuid": "user",
}
GOOD = b'{"apiStatus": "API_OPERATION_STATUS_SUCCESS", "apiResponse": {"n": 1}}'


def credentials(base_url: object, **changes: str) -> Credentials:
    """Complete credentials for a server at *base_url*."""
    keywords = {
        "account_uid": "acc",
        "project_uid": "proj",
        "api_key": KEY,
        "api_secret": SECRET,
        "link_uid": "link",
        "region": "us-west-2",
        "user_uid": "user",
    }
    return Credentials(**keywords | {"base_url": str(base_url)} | changes)


def http(body: bytes = GOOD, status: str = "200 OK", *headers: str) -> bytes:
    """A whole HTTP reply."""
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", "")
    return "\r\n".join(lines).encode() + body


class RawServer:
    """
    A server that sends what it is told, broken or not, and keeps what it got.

    Each request takes the next of *replies*; `None` closes the connection without a word, and
    so does running out of them.  A reply for which ``stay`` is false is followed by a close.
    """

    def __init__(self, *replies: bytes | None, stay: bool = True) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""
        self._replies = list(replies)
        self._stay = stay
        self._arrival = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def paths(self) -> list[str]:
        """What was asked for, as it was on the wire."""
        return [request.split(b" ", 2)[1].decode() for request in self.requests]

    async def arrived(self, count: int) -> None:
        """Wait until *count* requests have been read."""
        while len(self.requests) < count:
            self._arrival.clear()
            await self._arrival.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                ]
                self.requests.append(head + await reader.readexactly(sum(length)))
                self._arrival.set()
                reply = self._replies.pop(0) if self._replies else None
                if reply is None:
                    return
                writer.write(reply)
                await writer.drain()
                if not self._stay:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A well-behaved server that answers every request with *handler*; yields its URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# --- what is sent -------------------------------------------------------------------------


async def test_a_poll_is_one_get_with_all_seven_headers() -> None:
    """
    This is the call that the documentation describes; nothing of the environment is added.
    """
    seen: list[web.Request] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request)
        return web.Response(body=GOOD, headers={"Set-Cookie": "a=b"})

    async with serving(handler) as url, OnehouseClient(credentials(url)) as client:
        reply = await client.fetch("abc-123")
        await client.fetch("abc-123")

    assert reply == StatusReply("API_OPERATION_STATUS_SUCCESS", {"n": 1})
    assert [(request.method, request.raw_path) for request in seen] == [
        ("GET", "/v1/status/abc-123")
    ] * 2
    sent = {name.lower(): value for name, value in seen[1].headers.items()}
    assert {name: sent.pop(name) for name in HEADERS} == HEADERS
    assert sent == {
        "host": url.removeprefix("http://"),
        "accept": "*/*",
        "accept-encoding": "identity",
        "user-agent": f"onehouse-tracker/{onehouse_tracker.__version__}",
    }


async def test_a_submission_is_one_post_to_the_resource() -> None:
    """
    With the slash at the end, one statement without its semicolon, and every header.
    """
    seen: list[tuple[str, str, dict[str, str], Any]] = []

    async def handler(request: web.Request) -> web.Response:
        names = {name: request.headers.get(name, "") for name in HEADERS}
        seen.append((request.method, request.raw_path, names, await request.json()))
        return web.json_response({"requestId": "r1"})

    async with serving(handler) as url, OnehouseClient(credentials(url)) as client:
        assert await client.submit("SHOW 'é' ;\n") == "r1"

    assert seen == [("POST", "/v1/resource/", HEADERS, {"statement": "SHOW 'é'"})]


@pytest.mark.parametrize(
    ("request_id", "path"),
    [
        ("../../v1/resource/", "/v1/status/..%2F..%2Fv1%2Fresource%2F"),
        ("a?b", "/v1/status/a%3Fb"),
        ("a#b", "/v1/status/a%23b"),
        ("%2e%2e", "/v1/status/%252e%252e"),
        (".", "/v1/status/%2E"),
        ("..", "/v1/status/%2E%2E"),
        ("é", "/v1/status/%C3%A9"),
    ],
)
async def test_the_path_on_the_wire_stays_a_status_path(request_id: str, path: str) -> None:
    """
    URL libraries like to tidy paths up: what counts is what the server reads.
    """
    async with RawServer(http()) as server, OnehouseClient(credentials(server.url)) as client:
        await client.fetch(request_id)

    assert server.paths == [path]


async def test_what_cannot_be_sent_is_refused_before_anything_is() -> None:
    """
    A line break in an ID would be a second request of somebody's choice.
    """
    async with RawServer() as server, OnehouseClient(credentials(server.url)) as client:
        with pytest.raises(InvalidRequestError):
            await client.fetch("a\r\nX: y")
        with pytest.raises(InvalidRequestError):
            await client.submit(" ; ")

    assert server.connections == 0


async def test_a_base_url_may_have_a_path() -> None:
    """
    A company's gateway may put the service below one.
    """
    async with (
        RawServer(http()) as server,
        OnehouseClient(credentials(f"{server.url}/limiter/v1")) as client,
    ):
        await client.fetch("r1")

    assert server.paths == ["/limiter/v1/status/r1"]


async def test_a_bearer_token_is_never_sent_with_the_key_pair() -> None:
    """
    The server refuses a call that carries both.
    """
    async with RawServer(http()) as server:
        token = Credentials(
            account_uid="acc",
            project_uid="proj",
            link_uid="link",
            region="r",
            user_uid="u",
            bearer_token="tok-0123456789",
            base_url=server.url,
        )
        async with OnehouseClient(token) as client:
            await client.fetch("r1")

    assert b"Authorization: Bearer tok-0123456789\r\n" in server.requests[0]
    assert b"x-onehouse-api" not in server.requests[0]


# --- redirects ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    """
    Followed, it would take our headers to another origin; aiohttp drops only some of them.
    """
    async with RawServer(http(), http()) as elsewhere:
        location = f"Location: {elsewhere.url}/v1/status/r1"
        moved = http(b"", f"{status} Moved", location)
        async with (
            RawServer(moved, moved) as server,
            OnehouseClient(credentials(server.url)) as client,
        ):
            with pytest.raises(RejectedError, match="not followed"):
                await client.fetch("r1")
            with pytest.raises(SubmissionError, match="not followed"):
                await client.submit("SHOW")

    assert (elsewhere.connections, len(server.requests)) == (0, 2)


# --- refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RejectedError),
        (401, UnauthorizedError),
        (403, UnauthorizedError),
        (404, NotFoundError),
        (409, RejectedError),
        (425, TransportError),
        (503, TransportError),
    ],
)
async def test_a_refusal_becomes_the_error_it_means(
    canned: aioresponses, status: int, kind: type[StatusError]
) -> None:
    """
    The engine decides by the class alone; body and header both may hold the reason.
    """
    url = "https://api.onehouse.ai/v1/status/r1"
    canned.get(url, status=status, headers={"grpc-message": "not%20now", "grpc-status": "9"})
    canned.get(url, status=status, payload={"code": 9, "message": "not now"})

    async with OnehouseClient(credentials("https://api.onehouse.ai")) as client:
        for _ in range(2):
            with pytest.raises(StatusError) as caught:
                await client.fetch("r1")
            error = caught.value
            assert type(error) is kind
            assert (error.reason, error.request_id) == ("not now", "r1")
            assert (error.http_status, error.grpc_status) == (status, 9)


async def test_throttling_tells_how_long(canned: aioresponses) -> None:
    """
    The limiter needs the seconds; a date counts from now.
    """
    url = "https://api.onehouse.ai/v1/status/r1"
    canned.get(url, status=429, headers={"Retry-After": "7"})
    canned.get(url, status=429, headers={"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"})
    canned.get(url, status=429)
    waits = []

    async with OnehouseClient(credentials("https://api.onehouse.ai")) as client:
        for _ in range(3):
            with pytest.raises(ThrottledError) as caught:
                await client.fetch("r1")
            waits.append(caught.value.retry_after)

    assert waits == [7.0, 0.0, None]


async def test_a_refusal_counts_even_if_its_body_is_lost() -> None:
    """
    The status was read: wrong credentials must stop everything, truncated page or not.
    """
    cut = b"HTTP/1.1 401 No\r\nContent-Length: 99\r\ngrpc-message: key%20revoked\r\n\r\n{"
    async with (
        RawServer(cut, stay=False) as server,
        OnehouseClient(credentials(server.url)) as client,
    ):
        with pytest.raises(UnauthorizedError, match="key revoked"):
            await client.fetch("r1")


async def test_a_long_reason_is_no_broken_reply() -> None:
    """
    A parse error quotes the statement: beyond aiohttp's 8 KiB per header it would turn a clear
    refusal into a submission of unknown fate.
    """
    reply = http(b"", "400 Bad Request", "grpc-message: " + "x" * 20_000)
    async with RawServer(reply) as server, OnehouseClient(credentials(server.url)) as client:
        with pytest.raises(SubmissionRejectedError) as caught:
            await client.submit("SHOW")

    assert caught.value.reason == "x" * 497 + "..."


# --- bodies -------------------------------------------------------------------------------


@pytest.mark.parametrize("declared", [True, False])
async def test_an_oversized_body_is_refused(*, declared: bool) -> None:
    """
    Memory stays bounded, whether the server announces the size or just keeps sending.
    """
    sent = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        if declared:
            response.content_length = 100_000_000
        await response.prepare(request)
        while True:
            await response.write(b" " * 100_000)
            sent += 100_000

    async with serving(handler) as url, OnehouseClient(credentials(url), max_body=1000) as client:
        with pytest.raises(TransportError, match="larger than 1000 bytes"):
            await client.fetch("r1")

    assert sent < 50_000_000


async def test_a_compressed_bomb_does_not_go_off() -> None:
    """
    64 MiB of nothing are 64 KiB on the wire: what counts is what comes out.
    """
    bomb = gzip.compress(b" " * (64 * 1024 * 1024))
    replies = [
        http(bomb, "200 OK", "Content-Encoding: gzip"),
        http(gzip.compress(GOOD), "200 OK", "Content-Encoding: gzip"),
    ]
    async with RawServer(*replies) as server, OnehouseClient(credentials(server.url)) as client:
        with pytest.raises(TransportError, match="larger than 8388608 bytes"):
            await client.fetch("r1")
        assert (await client.fetch("r1")).response == {"n": 1}


async def test_a_large_response_is_parsed_in_another_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A piece at a time, so that the event loop has its turns; it says the same.
    """
    threads: set[threading.Thread] = set()
    monkeypatch.setattr(
        "onehouse_tracker.onehouse.client.give_way",
        lambda: threads.add(threading.current_thread()),
    )
    large = {
        "rows": [{"id": f"{number:036d}", "status": {"n": number}} for number in range(9_000)]
    }
    body = json.dumps({"apiStatus": "API_OPERATION_STATUS_SUCCESS", "apiResponse": large}).encode()
    no_json = b'{"apiResponse": "' + b"x" * 400_000
    replies = [http(body), http(no_json), http(body, "400 Bad Request"), http()]
    async with RawServer(*replies) as server, OnehouseClient(credentials(server.url)) as client:
        assert (await client.fetch("r1")).response == large
        assert threads
        assert threading.current_thread() not in threads
        with pytest.raises(TransportError, match="not JSON"):
            await client.fetch("r1")
        with pytest.raises(RejectedError, match="Bad Request"):
            await client.fetch("r1")
        threads.clear()
        assert (await client.fetch("r1")).response == {"n": 1}
        assert not threads


async def test_the_page_of_a_failing_proxy_is_not_read_to_its_end() -> None:
    """
    Its status is all we need.
    """
    reply = http(b"x" * 1_000_000, "502 Bad Gateway", "Content-Type: text/plain")
    async with RawServer(reply) as server, OnehouseClient(credentials(server.url)) as client:
        with pytest.raises(TransportError) as caught:
            await client.fetch("r1")

    assert (caught.value.http_status, caught.value.reason) == (502, "Bad Gateway")


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        http(b"[]"),
        http(b"\xff"),
        http(b""),
        http(b"x", "200 OK", "Content-Encoding: br"),
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
async def test_a_broken_reply_is_one_error_and_one_request(reply: bytes) -> None:
    """
    Whatever arrives, the poll failed, and neither aiohttp nor we ask again behind the budget;
    of a submission nobody knows what became.
    """
    async with (
        RawServer(reply, reply, stay=False) as server,
        OnehouseClient(credentials(server.url)) as client,
    ):
        with pytest.raises(TransportError) as caught:
            await client.fetch("r1")
    assert type(caught.value) is TransportError
    assert len(server.requests) == 1

    async with (
        RawServer(reply, reply, stay=False) as server,
        OnehouseClient(credentials(server.url)) as client,
    ):
        with pytest.raises(SubmissionUnknownError):
            await client.submit("SHOW")
    assert len(server.requests) == 1


# --- lost connections ---------------------------------------------------------------------


async def test_a_stale_connection_is_not_used_twice_for_one_poll() -> None:
    """
    By itself, aiohttp would send the poll again; that request would escape the budget.  It is
    refused, the server counts one request per fetch, and the ID is due at once.
    """
    async with (
        RawServer(http(), None, http()) as server,
        OnehouseClient(credentials(server.url)) as client,
    ):
        await client.fetch("r1")
        with pytest.raises(StaleConnectionError) as caught:
            await client.fetch("r2")
        assert len(server.requests) == 2
        await client.fetch("r3")

    assert caught.value.request_id == "r2"
    assert server.paths == ["/v1/status/r1", "/v1/status/r2", "/v1/status/r3"]
    assert server.connections == 2


async def test_a_new_connection_that_is_lost_is_a_failure() -> None:
    """
    A server that hangs up on everybody must be asked ever less often, not again at once; and
    even there one fetch is one request.
    """
    async with RawServer() as server, OnehouseClient(credentials(server.url)) as client:
        for count in (1, 2, 3):
            with pytest.raises(TransportError, match="Server disconnected") as caught:
                await client.fetch("r1")
            assert type(caught.value) is TransportError
            assert len(server.requests) == server.connections == count


async def test_a_submission_is_never_sent_twice() -> None:
    """
    On a new connection or a stale one: it may run, and a second one may duplicate a resource.
    """
    async with (
        RawServer(http(), None, None) as server,
        OnehouseClient(credentials(server.url)) as client,
    ):
        await client.fetch("r1")
        for _ in range(2):
            with pytest.raises(SubmissionUnknownError, match="fate unknown"):
                await client.submit("SHOW")

    assert [request.split(b" ")[0] for request in server.requests] == [b"GET", b"POST", b"POST"]
    assert server.connections == 2


async def test_nobody_listens() -> None:
    """
    The statement certainly did not leave: it is safe to submit it again.
    """
    url = f"http://127.0.0.1:{free_port()}"
    async with OnehouseClient(credentials(url)) as client:
        with pytest.raises(TransportError, match=r": Connection refused$") as caught:
            await client.fetch("r1")
        assert type(caught.value) is TransportError
        with pytest.raises(SubmissionUnsentError, match=r"cannot connect to 127.0.0.1:"):
            await client.submit("SHOW")


async def test_a_server_without_tls_gets_nothing() -> None:
    """
    The handshake fails before any header is sent.
    """
    received = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(65536))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, OnehouseClient(credentials(url)) as client:
        with pytest.raises(TransportError, match=r"cannot speak TLS with 127.0.0.1:"):
            await client.fetch("r1")
        with pytest.raises(SubmissionUnsentError, match=r"cannot speak TLS with 127.0.0.1:"):
            await client.submit("SHOW")

    assert len(received) == 2
    assert b"onehouse" not in b"".join(received)


async def test_a_name_that_nobody_knows() -> None:
    """
    The host is named: most often it is mistyped.
    """
    async with OnehouseClient(credentials("https://onehouse.invalid")) as client:
        with pytest.raises(TransportError, match=r"cannot find the host onehouse.invalid: "):
            await client.fetch("r1")


async def test_a_certificate_that_nobody_vouches_for() -> None:
    """
    What is wrong with it tells a proxy of the company from a mistyped address.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    reason = f"the certificate of localhost:{port} is not trusted: unable to get local issuer"
    async with server, OnehouseClient(credentials(f"https://localhost:{port}")) as client:
        with pytest.raises(TransportError, match=reason):
            await client.fetch("r1")


# --- time-outs and cancelling -------------------------------------------------------------


async def test_a_server_that_does_not_answer_in_time() -> None:
    """
    The whole call is bounded; a submission that was sent may run.
    """
    async with (
        RawServer(b"", b"") as server,
        OnehouseClient(credentials(server.url), request_timeout=0.2) as client,
    ):
        start = time.monotonic()
        with pytest.raises(TransportError, match=r"no reply within 0\.2 s"):
            await client.fetch("r1")
        with pytest.raises(SubmissionUnknownError, match=r"no reply within 0\.2 s"):
            await client.submit("SHOW")

    assert time.monotonic() - start < 1
    assert len(server.requests) == 2


async def test_a_connection_that_does_not_stand_in_time() -> None:
    """
    Waiting for a free connection counts as connecting: nothing was sent.
    """
    async with (
        RawServer(b"") as server,
        OnehouseClient(credentials(server.url), connect_timeout=0.1, max_connections=1) as client,
    ):
        hanging = asyncio.create_task(client.fetch("r1"))
        await server.arrived(1)
        with pytest.raises(TransportError, match=r"no connection within 0\.1 s"):
            await client.fetch("r2")
        with pytest.raises(SubmissionUnsentError, match=r"no connection within 0\.1 s"):
            await client.submit("SHOW")
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging

    assert server.paths == ["/v1/status/r1"]


async def test_cancelling_drops_the_connection() -> None:
    """
    A late reply must never be taken for the reply to the next question.
    """
    async with (
        RawServer(b"", http()) as server,
        OnehouseClient(credentials(server.url)) as client,
    ):
        poll = asyncio.create_task(client.fetch("r1"))
        await server.arrived(1)
        poll.cancel()
        with pytest.raises(asyncio.CancelledError):
            await poll
        await client.fetch("r2")

    assert server.connections == 2


async def test_any_number_of_polls_at_once() -> None:
    """
    A poll that hangs delays nobody else.
    """
    release = asyncio.Event()
    waiting = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal waiting
        waiting += 1
        if waiting == 100:
            release.set()
        await release.wait()
        return web.Response(body=GOOD)

    async with serving(handler) as url, OnehouseClient(credentials(url)) as client:
        polls = [asyncio.create_task(client.fetch(f"r{n}")) for n in range(100)]
        done, _ = await asyncio.wait(polls, timeout=1.5)

    assert len(done) == 100
    assert all(poll.exception() is None for poll in done)


# --- life cycle ---------------------------------------------------------------------------


async def test_outside_async_with_it_is_closed() -> None:
    """
    A clear error, before and after; and nothing happens in the constructor.
    """
    client = OnehouseClient(credentials("http://127.0.0.1:1"))
    assert repr(client) == "<OnehouseClient: http://127.0.0.1:1, closed>"
    with pytest.raises(TrackerClosedError, match="async with"):
        await client.fetch("r1")
    async with client:
        assert repr(client) == "<OnehouseClient: http://127.0.0.1:1, open>"
    await client.aclose()
    with pytest.raises(TrackerClosedError, match="async with"):
        await client.submit("SHOW")


async def test_it_can_be_entered_again() -> None:
    """
    Two trackers may share a client: the last one closes it; later it opens anew.
    """
    async with RawServer(http(), http(), http()) as server:
        client = OnehouseClient(credentials(server.url))
        async with client:
            async with client:
                await client.fetch("r1")
            await client.fetch("r1")
        async with client:
            await client.fetch("r1")

    assert (len(server.requests), server.connections) == (3, 2)


async def test_another_event_loop_is_refused() -> None:
    """
    A session belongs to one loop; on another it fails in ways that explain nothing.
    """
    async with OnehouseClient(credentials("http://127.0.0.1:1")) as client:

        def elsewhere() -> None:
            with pytest.raises(TrackerClosedError, match="another event loop"):
                asyncio.run(client.fetch("r1"))

        await asyncio.to_thread(elsewhere)


async def test_nothing_is_left_behind(recwarn: pytest.WarningsRecorder) -> None:
    """
    No task and no open socket after the block, even if a call was broken off in it.
    """
    before = asyncio.all_tasks()
    async with RawServer(http(), b"") as server:
        client = OnehouseClient(credentials(server.url))
        async with client:
            await client.fetch("r1")
            poll = asyncio.create_task(client.fetch("r2"))
            await server.arrived(2)
        with pytest.raises(TransportError):
            await poll
    gc.collect()

    assert asyncio.all_tasks() == before
    assert not recwarn.list


async def test_a_session_of_somebody_else_is_used_and_left_open() -> None:
    """
    Many projects share one session: what it adds for others must not reach our server, and
    our rules hold on it too.
    """
    seen: list[str] = []

    async def middleware(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        seen.append(str(request.url))
        return await handler(request)

    session = aiohttp.ClientSession(
        headers={"Authorization": "Bearer theirs", "x-onehouse-other": "1", "X-Trace": "t"},
        cookies={"theirs": "1"},
        cookie_jar=aiohttp.CookieJar(unsafe=True),
        middlewares=(middleware,),
        raise_for_status=True,
    )
    replies = [http(), None, http(b"", "404 Not Found"), http(b"", "302 Found", "Location: /x")]
    async with session, RawServer(*replies) as server:
        async with OnehouseClient(credentials(server.url), http_session=session) as client:
            await client.fetch("r1")
            with pytest.raises(StaleConnectionError):
                await client.fetch("r1")
            with pytest.raises(NotFoundError):
                await client.fetch("r1")
            with pytest.raises(RejectedError):
                await client.fetch("r1")
        assert not session.closed

    assert len(server.requests) == 4
    assert b"theirs" not in b"".join(server.requests)
    assert b"x-onehouse-other" not in server.requests[0]
    assert b"X-Trace: t" in server.requests[0]
    assert seen == []


async def test_a_session_that_its_owner_closed_is_refused() -> None:
    """
    It is a mistake in the program, and not a failure of the network.
    """
    session = aiohttp.ClientSession()
    client = OnehouseClient(credentials("http://127.0.0.1:1"), http_session=session)
    async with client:
        await session.close()
        with pytest.raises(TrackerClosedError, match="session of the client was closed"):
            await client.fetch("r1")
    with pytest.raises(TrackerClosedError, match="session of the client was closed"):
        await client.__aenter__()


# --- settings -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"connect_timeout": 0},
        {"request_timeout": -1},
        {"request_timeout": float("nan")},
        {"max_body": 0},
        {"max_connections": 0},
    ],
)
def test_senseless_numbers_are_refused(wrong: dict[str, Any]) -> None:
    """
    For aiohttp 0 means "without limit", which nobody who writes 0 expects.
    """
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        OnehouseClient(credentials("https://api.onehouse.ai"), **wrong)


def test_a_client_from_the_environment() -> None:
    """
    Keywords for the credentials and for the client stand side by side.
    """
    environ = {
        "ONEHOUSE_ACCOUNT_UID": "acc",
        "ONEHOUSE_PROJECT_UID": "proj",
        "ONEHOUSE_API_KEY": KEY,
        "ONEHOUSE_API_SECRET": SECRET,
        "ONEHOUSE_LINK_UID": "link",
        "ONEHOUSE_USER_UID": "user",
    }

    client = OnehouseClient.from_env(environ=environ, region="us-west-2", request_timeout=5)

    assert client.credentials == credentials("https://api.onehouse.ai")
    assert client.request_timeout == 5


# --- secrets ------------------------------------------------------------------------------


async def test_no_error_shows_a_secret() -> None:
    """
    Errors are logged with their whole chain; a server may quote our headers, and aiohttp's
    errors hold them.
    """
    replies = [
        http(b"", "401 No", f"grpc-message: bad {KEY}%3A{SECRET}"),
        b"HTTP/1.1 " + SECRET.encode() + b"\r\n\r\n",
        http(b'{"message": "' + SECRET.encode() + b'"}', "400 Bad"),
    ]
    errors: list[BaseException] = []
    async with (
        RawServer(*replies, stay=False) as server,
        OnehouseClient(credentials(server.url)) as client,
    ):
        for _ in range(4):
            with pytest.raises(StatusError) as caught:
                await client.fetch("r1")
            errors.append(caught.value)
        assert "0123456789" not in repr(client)

    assert "bad **********:**********" in str(errors[0])
    for error in errors:
        shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
        assert "0123456789" not in shown
        assert error.__context__ is None
        assert error.__cause__ is None
