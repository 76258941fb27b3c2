"""
The whole product against servers that are broken or mean, over real sockets.

Each case: the right outcome or another try, in bounded time and memory, and no secret in
whatever is logged, shown or told.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import shutil
import ssl
import subprocess
import sys
import time
import traceback
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from onehouse_tracker import OutageError, Outcome, Result, SubmissionUnsentError
from onehouse_tracker.errors import (
    StatusError,
    SubmissionRejectedError,
    SubmissionUnknownError,
    TransportError,
)
from onehouse_tracker.events import Event
from onehouse_tracker.onehouse.client import OnehouseClient
from tests.onehouse.hostile_server import (
    GOOD,
    MARK,
    OWN,
    PENDING,
    Act,
    HostileServer,
    credentials,
    flood,
    http,
    say,
    tracker_for,
)

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
JSON = "Content-Type: application/json"


def bomb(mebibytes: int) -> bytes:
    """So many MiB of nothing, compressed by gzip to a thousandth."""
    packer = zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16)
    packed = [packer.compress(bytes(2**20)) for _ in range(mebibytes)]
    return b"".join([*packed, packer.flush()])


BOMB = bomb(96)


@pytest.fixture(autouse=True)
def _no_secret_in_any_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test does, nothing of what is logged shows a secret."""
    caplog.set_level(logging.DEBUG)
    yield
    for record in caplog.records:
        assert MARK not in f"{logging.Formatter().format(record)} {record.__dict__}"


async def follow(
    server: HostileServer, *request_ids: str, request_timeout: float = 1.0, **changes: Any
) -> tuple[list[Result], list[Event]]:
    """Follow *request_ids* to their ends, within a bound, with no secret in what is told."""
    events: list[Event] = []
    client = OnehouseClient(credentials(server.url), request_timeout=request_timeout)
    start = time.monotonic()
    async with client, tracker_for(client, observers=[events.append], **changes) as tracker:
        results = await tracker.wait_all(request_ids or ["r1"])

    # uvloop reads up to two megabytes before it looks at its timers: a second of parsing here.
    is_own = isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)
    assert time.monotonic() - start < (2 if is_own else 8)
    assert MARK not in f"{events!r} {results!r} {client!r} {tracker!r}"
    for result in results.values():
        assert MARK not in f"{result!r} {result.reason} {result.error!r} {result.error}"
        assert MARK not in json.dumps(result.to_dict())

    return list(results.values()), events


# --- replies that are no replies: asked again ---------------------------------------------

BROKEN: dict[str, bytes | Act] = {
    "closed before the reply": say(),
    "closed within the headers": say(HEAD + b"Content-"),
    "closed after the headers": say(HEAD + b"Content-Length: 9\r\n\r\n"),
    "closed within the body": say(HEAD + b"Content-Length: 99\r\n\r\n" + GOOD),
    "closed within a chunk": say(CHUNKED + b"ff\r\n" + GOOD),
    "closed between chunks": say(CHUNKED + b"%x\r\n" % len(GOOD) + GOOD + b"\r\n"),
    "chunks that are none": say(CHUNKED + GOOD),
    "headers without end": flood(b"".join(b"X%d: y\r\n" % n for n in range(999)), HEAD),
    "one header without end": flood(b"x" * 65536, HEAD + b"X: "),
    "a status line without end": flood(b"x" * 65536, b"HTTP/1.1 200 "),
    "trailers without end": flood(b"X: y\r\n" * 999, CHUNKED + b"0\r\n"),
    "provisional replies without end": flood(b"HTTP/1.1 100 Continue\r\n\r\n" * 999),
    "a chunk extension without end": flood(b"x" * 65536, CHUNKED + b"5;"),
    "tiny chunks without end": flood(b"1\r\n \r\n" * 9999, CHUNKED),
    "a body without end": flood(b" " * 65536, HEAD + b"\r\n"),
    "a body of 1 GB": flood(b" " * 65536, HEAD + b"Content-Length: 1000000000\r\n\r\n"),
    "a body that stops": say(HEAD + b"Content-Length: 99\r\n\r\n" + GOOD, hold=True),
    "silence": say(hold=True),
    "byte after byte": say(*(bytes([c]) for c in http()), pause=0.01),
    "a gzip bomb": http(BOMB, "200 OK", "Content-Encoding: gzip"),
    "a bomb within a bomb": http(gzip.compress(BOMB), "200 OK", "Content-Encoding: gzip, gzip"),
    "damaged gzip": http(gzip.compress(GOOD)[:-9], "200 OK", "Content-Encoding: gzip"),
    "invalid UTF-8": http(b'\xff{"apiStatus": "API_OPERATION_STATUS_SUCCESS"}'),
    "a lone surrogate": http(b'{"apiStatus": "\\ud800"'),
    "deep JSON": http(b'{"apiResponse":' * 100_000 + b"1" + b"}" * 100_000),
    "deep arrays": http(b"[" * 1_000_000),
    "a number of a million digits": http(b'{"apiResponse": ' + b"9" * 1_000_000 + b"}"),
    "a page of HTML": http(b"<html><body>Please log in</body></html>", "200 OK", "X: y"),
    "nothing": http(b""),
    "a list": http(b"[" + GOOD + b"]"),
    "two objects": http(GOOD + GOOD),
    "half an object": http(GOOD[:-9]),
    "no HTTP at all": say(b"220 mail.example ESMTP\r\n"),
    "HTTP/0.9": say(GOOD),
    "HTTP/2": say(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"),
    "a status without meaning": http(b"", "999 What"),
    "a proxy that wants a password": http(
        b"", "407 Proxy Authentication Required", 'Proxy-Authenticate: Basic realm="x"'
    ),
    "a proxy that finds nobody": http(b"<html>" * 50_000, "502 Bad Gateway", "Content-Type: a/b"),
    "a login page in between": http(b"<html>", "511 Network Authentication Required"),
}
# A connection that was opened ahead, and is lost at once, looks stale.
RETRIED = frozenset({"TransportError", "StaleConnectionError"})
# These take as long as one request may take.
SLOW = frozenset(
    {
        "provisional replies without end",
        "a chunk extension without end",
        "tiny chunks without end",
        "a body that stops",
        "silence",
        "byte after byte",
    }
)


@pytest.mark.parametrize("name", BROKEN)
async def test_what_is_no_reply_costs_one_poll(name: str) -> None:
    """
    The request is asked about once more, and its outcome is right: nothing is guessed, nothing
    is final, nothing hangs.
    """
    timeout = 0.3 if name in SLOW else 1.5
    async with HostileServer(BROKEN[name]) as server:
        (result,), events = await follow(server, request_timeout=timeout)

    assert result.outcome is Outcome.SUCCEEDED
    assert result.polls == len(server.requests) == 2
    failures = [event for event in events if getattr(event, "error", None) in RETRIED]
    assert len(failures) == 1


@pytest.mark.parametrize("name", BROKEN)
async def test_a_submission_that_got_no_reply_is_never_sent_again(name: str) -> None:
    """
    It arrived, so it may run: only a plain refusal says that it does not.
    """
    async with (
        HostileServer(BROKEN[name]) as server,
        OnehouseClient(credentials(server.url), request_timeout=0.3) as client,
        tracker_for(client) as tracker,
    ):
        with pytest.raises((SubmissionUnknownError, SubmissionRejectedError)) as caught:
            await tracker.submit(f"RUN JOB {MARK}")

    refused = name == "a proxy that wants a password"
    assert type(caught.value) is (SubmissionRejectedError if refused else SubmissionUnknownError)
    assert len(server.requests) == 1
    assert MARK not in f"{caught.value!r} {caught.value} {vars(caught.value)}"


async def test_a_server_that_is_never_any_good_ends_in_an_outage() -> None:
    """
    Nobody waits for ever: patience decides, and the error carries what was known.
    """
    async with HostileServer(*[http(b"<html>")] * 99) as server:
        client = OnehouseClient(credentials(server.url))
        async with client, tracker_for(client, patience=0.3) as tracker:
            with pytest.raises(OutageError, match="no good reply") as caught:
                await tracker.wait_all(["r1", "r2"])

    assert sorted(caught.value.pending) == ["r1", "r2"]
    assert MARK not in "".join(traceback.format_exception(caught.value))


# --- replies that are odd, and can be read ------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        say(b"HTTP/1.0 200 OK\r\n\r\n" + GOOD),
        say(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(GOOD) + GOOD),
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + http(),
        http(gzip.compress(GOOD), "200 OK", "Content-Encoding: gzip"),
        http(b'{"apiStatus": "X", "apiStatus": "API_OPERATION_STATUS_SUCCESS"}'),
        http(b" \r\n" + GOOD, "200 OK", "Content-Type: text/html"),
        http(GOOD, "200 OK", "Set-Cookie: a=b; Max-Age=99999", "Server: \x1b[2J"),
        http(GOOD, "200 " + "x" * 5000),
        say(*(http()[n : n + 20] for n in range(0, len(http()), 20)), pause=0.01),
    ],
)
async def test_what_can_be_read_is_read(reply: bytes | Act) -> None:
    """
    HTTP/1.0, compression that nobody asked for, a key that occurs twice (the last one counts,
    as for every JSON reader): odd, and no reason to ask again.
    """
    async with HostileServer(reply) as server:
        (result,), _ = await follow(server)

    assert result.outcome is Outcome.SUCCEEDED
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "status",
    ["7", "null", "[]", "{}", "true", '""', '"NEW"', '"\\u001b[2J"', '"' + "x" * 1_000_000 + '"'],
)
async def test_a_status_that_is_none_is_not_believed(status: str) -> None:
    """
    Three replies in a row, and the request is given up; the project goes on.  What is no word
    at all is not passed on to logs and terminals either.
    """
    odd = http(f'{{"apiStatus": {status}, "apiResponse": {{}}}}'.encode())
    async with HostileServer(*[odd] * 3) as server:
        (result,), events = await follow(server)

    assert result.outcome is Outcome.UNRECOGNIZED
    assert result.polls == 3
    assert result.status in {None, "", "NEW"}
    assert len(repr(events)) < 5000


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_the_end_of_it(status: int) -> None:
    """
    Elsewhere our headers would be somebody else's: nothing is sent there, and the request is
    refused, so that somebody looks at the base URL.
    """
    async with HostileServer() as elsewhere:
        target = f"{elsewhere.url}/v1/status/r1?token={MARK}"
        moved = http(b"", f"{status} Moved", f"Location: {target}")
        async with HostileServer(moved, moved) as server:
            (result,), _ = await follow(server)
            assert len(server.requests) == 1
            async with (
                OnehouseClient(credentials(server.url)) as client,
                tracker_for(client) as tracker,
            ):
                with pytest.raises((SubmissionRejectedError, SubmissionUnknownError)) as caught:
                    await tracker.submit("RUN JOB")

    assert result.outcome is Outcome.REJECTED
    assert "a redirect to http://127.0.0.1, not followed" in result.reason
    assert MARK not in str(caught.value)
    assert elsewhere.connections == 0


@pytest.mark.parametrize(
    ("header", "waited"),
    [("Retry-After: 0", 0.0), ("Retry-After: -9e9", 0.2), ("Retry-After: \x1b", 0.2)],
)
async def test_odd_retry_after_headers(header: str, waited: float) -> None:
    """
    What makes no sense counts as absent: the pause is our own.
    """
    async with HostileServer(http(b"", "429 Slow down", header)) as server:
        (result,), _ = await follow(server)

    assert result.outcome is Outcome.SUCCEEDED
    assert waited <= result.waited < waited + 0.5


# --- connections --------------------------------------------------------------------------


async def test_connections_that_die_between_polls_cost_nothing() -> None:
    """
    A stale connection is noticed, nothing is sent twice, and every outcome is right.
    """
    async with HostileServer(*[say(http())] * 20) as server:
        ids = [f"r{number}" for number in range(20)]
        results, _ = await follow(server, *ids)

    assert {result.outcome for result in results} == {Outcome.SUCCEEDED}
    assert sorted(server.paths) == sorted(f"/v1/status/{request_id}" for request_id in ids)


async def test_a_reply_that_comes_twice_is_not_taken_for_the_next() -> None:
    """
    A reply names no request: the second copy of r1's would tell that r2 has succeeded.
    """

    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http())
        await asyncio.sleep(0.1)
        writer.write(http())
        await reader.read()

    failed = http(b'{"apiStatus": "API_OPERATION_STATUS_FAILED"}')
    async with (
        HostileServer(twice, failed) as server,
        OnehouseClient(credentials(server.url)) as client,
        tracker_for(client) as tracker,
    ):
        first = await tracker.wait_all(["r1"])
        await asyncio.sleep(0.2)
        second = await tracker.wait_all(["r2"])

    assert first["r1"].outcome is Outcome.SUCCEEDED
    assert second["r2"].outcome is Outcome.FAILED
    assert (len(server.requests), server.connections) == (2, 2)


PAIR = http() + http(b'{"apiStatus": "API_OPERATION_STATUS_INVALID"}')


@pytest.mark.parametrize("pair", [PAIR, say(PAIR[:60], PAIR[60:], pause=0.1, hold=True)])
async def test_a_reply_that_brings_another_one_is_the_last(
    pair: bytes | Act,
) -> None:
    """
    The same in one go, or with the end of the body: what comes after the reply is nobody's.
    """
    async with HostileServer(pair, http(PENDING), http(PENDING)) as server:
        results, _ = await follow(server, "r1", "r2")

    assert {result.outcome for result in results} == {Outcome.SUCCEEDED}
    assert (len(server.requests), server.connections) == (4, 2)


async def test_a_host_that_nobody_knows() -> None:
    """
    A name that does not resolve: asked again until patience is over, and nothing is sent.
    """
    client = OnehouseClient(credentials("https://onehouse.invalid"), request_timeout=0.5)
    async with client, tracker_for(client, patience=0.2) as tracker:
        with pytest.raises(SubmissionUnsentError) as caught:
            await tracker.submit("SHOW CLUSTERS")
        with pytest.raises(OutageError):
            await asyncio.wait_for(tracker.wait_all(["r1"]), 2)

    assert MARK not in f"{caught.value!r}"


# --- TLS ----------------------------------------------------------------------------------

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="makes certificates with the openssl command"
)


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate of its own making, and that certificate."""
    key, chain = folder / "key.pem", folder / "chain.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    subprocess.run(
        [*command.split(), "-keyout", key, "-out", chain, "-subj", "/CN=t", "-addext", name],
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, key)

    return context, chain


@needs_openssl
async def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    """
    Whoever sits in between sees no header of ours; there is no way to switch that off.
    """
    tls, _ = certificate(tmp_path, "subjectAltName=IP:127.0.0.1")
    async with HostileServer(tls=tls) as server:
        client = OnehouseClient(credentials(server.url))
        async with client, tracker_for(client, patience=0.2) as tracker:
            with pytest.raises(SubmissionUnsentError, match="is not trusted") as caught:
                await tracker.submit(f"RUN JOB {MARK}")
            with pytest.raises(OutageError):
                await tracker.wait_all(["r1"])

    assert server.requests == []
    assert MARK not in "".join(traceback.format_exception(caught.value))


@needs_openssl
@pytest.mark.parametrize(
    ("name", "accepted"),
    [("subjectAltName=DNS:other.example", False), ("subjectAltName=IP:127.0.0.1", True)],
)
async def test_a_certificate_is_for_one_host(tmp_path: Path, name: str, *, accepted: bool) -> None:
    """
    Trusted or not, it must be this host's; the one that is shows that the refusals mean
    something.
    """
    tls, chain = certificate(tmp_path, name)
    trust = ssl.create_default_context(cafile=str(chain))
    async with (
        HostileServer(tls=tls) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session,
        OnehouseClient(credentials(server.url), http_session=session) as client,
    ):
        if accepted:
            assert (await client.fetch("r1")).response == {"n": 1}
        else:
            with pytest.raises(TransportError, match="certificate"):
                await client.fetch("r1")

    assert len(server.requests) == accepted


# --- proxies ------------------------------------------------------------------------------


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A variable that somebody left behind does not send our headers to another machine.
    """
    async with HostileServer() as proxy, HostileServer() as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.lower(), proxy.url)
        (result,), _ = await follow(server)

    assert result.outcome is Outcome.SUCCEEDED
    assert proxy.connections == 0


@pytest.mark.parametrize(
    "refusal",
    [
        say(http(b"", "407 Proxy Authentication Required", "Proxy-Authenticate: Basic")),
        say(http(b"<html>", "502 Bad Gateway")),
        say(b"\x00\x01\x02"),
        say(),
        flood(b"X: y\r\n" * 999, HEAD),
    ],
)
async def test_a_proxy_that_refuses_learns_nothing(refusal: Act) -> None:
    """
    A proxy comes with a session of the user's.  It is asked for a tunnel, without any header of
    ours; without a tunnel nothing was sent, and its password is not shown either.
    """
    async with (
        HostileServer(*[refusal] * 99) as proxy,
        aiohttp.ClientSession(proxy=f"http://user:{MARK}@127.0.0.1:{proxy.port}") as session,
    ):
        url = "https://onehouse.invalid"
        client = OnehouseClient(credentials(url), http_session=session, request_timeout=1)
        async with client, tracker_for(client, patience=0.2) as tracker:
            with pytest.raises((SubmissionUnsentError, SubmissionUnknownError)) as caught:
                await tracker.submit("SHOW CLUSTERS")
            with pytest.raises(StatusError) as polled:
                await client.fetch("r1")
            with pytest.raises(OutageError):
                await tracker.wait_all(["r1"])

    for request in proxy.requests:
        assert request.startswith(b"CONNECT onehouse.invalid:443")
        assert b"x-onehouse" not in request.lower()
        assert MARK.encode() not in request  # its own password is encoded
    assert type(polled.value) is TransportError
    assert MARK not in f"{caught.value!r} {caught.value} {polled.value!r} {polled.value}"


# --- memory -------------------------------------------------------------------------------

WIDE = b"\xf0\x9f\x98\x80"


def _listed(around: str, item: str, count: int) -> bytes:
    """A body with *count* items, no two of which are equal."""
    items = (item.replace("%d", str(number)) for number in range(count))
    return around.replace("%s", ",".join(items)).encode()


MEMORY: dict[str, bytes | Act] = {
    "a body of 1 GB": flood(b" " * 65536, HEAD + b"Content-Length: 1000000000\r\n\r\n"),
    "a body without end": flood(b"10000\r\n" + b" " * 65536 + b"\r\n", CHUNKED),
    "a gzip bomb": http(BOMB, "200 OK", "Content-Encoding: gzip"),
    "small dictionaries": http(b'{"apiResponse":{"a":[' + b'{"":0},' * 1_190_000 + b"0]}}"),
    "small lists": http(b'{"apiResponse":{"a":[' + b"[]," * 2_700_000 + b"0]}}"),
    "wide characters": http(b'{"apiResponse":{"a":"' + WIDE + b"a" * 8_000_000 + b'"}}'),
    "unique keys": http(_listed('{"apiResponse":{%s}}', '"%d":1', 460_000)),
    "as many unique keys as are read": http(_listed('{"apiResponse":{%s}}', '"%d":1', 340_000)),
    "unique keys and texts": http(_listed('{"apiResponse":{%s}}', '"k%d":"v%d"', 330_000)),
    "unique texts": http(_listed('{"apiResponse":{"a":[%s]}}', '"s%d"', 700_000)),
    "wide characters that are broken": http(
        b'{"apiResponse":{"a":"' + WIDE + b"a" * 4_000_000 + b"\xff" + b'"}}'
    ),
    "too many broken characters": http(b'{"apiResponse":{"a":"' + b"\xff" * 4_000_000 + b'"}}'),
    "wide texts": http(_listed('{"apiResponse":{"a":[%s]}}', '"\U0001f600%d"', 560_000)),
    "secrets in small lists": http(
        _listed('{"apiResponse":{"a":[%s]}}', f'["{OWN["api_key"]}%d"]', 140_000)
    ),
    "replies that nobody asked for": flood(http(b"{}") * 1000, http(), after=0.05),
    "headers without end": flood(b"".join(b"X%d: y\r\n" % n for n in range(999)), HEAD),
    "a wide error": http(b"x" * 50_000_000, "400 No", "Content-Type: text/plain"),
}


LONGEST_STOP = 0.5
"""Seconds of the processor's time; twice what the worst of them takes on the slowest Python."""


@pytest.mark.parametrize("name", MEMORY)
async def test_memory_stays_bounded(name: str) -> None:
    """
    Whatever the server sends, one poll takes less than 110 MB, and stops the loop only briefly;
    measured in a process of its own, as the highest mark the operating system saw, and as the
    processor's time between two turns of the loop.
    """
    idle = "1.5" if name == "replies that nobody asked for" else "0"
    async with HostileServer(http(), MEMORY[name]) as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.onehouse.hostile_child", server.url, idle),
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        out, _ = await process.communicate()

    measured = json.loads(out)
    assert measured["bytes_above_base"] < 110_000_000
    assert measured["seconds"] < 5
    assert measured["longest_stop"] < LONGEST_STOP
    assert len(server.requests) >= 2


async def test_our_own_credentials_come_back_masked() -> None:
    """
    A server that quotes our headers, in its status, its answer or its refusal: what is kept,
    told and written down holds none of them.
    """
    quoted = json.dumps({"apiStatus": "API_OPERATION_STATUS_FAILED", "apiResponse": OWN}).encode()
    refused = json.dumps({"code": 3, "message": f"bad {OWN['api_secret']}"}).encode()
    async with HostileServer(http(quoted), http(refused, "400 Bad", JSON)) as server:
        client = OnehouseClient(credentials(server.url))
        async with client, tracker_for(client) as tracker:
            results = await tracker.wait_all(["r1", "r2"])

    shown = json.dumps([result.to_dict() for result in results.values()])
    assert OWN["api_key"] not in shown
    assert OWN["api_secret"] not in shown
    assert "**********" in shown
