"""
The live page over real sockets: read-only, for this machine, and never in the way of polling.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import resource
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from onehouse_tracker import ConfigError, Tracker, TrackerClosedError, events
from onehouse_tracker.report import ReportObserver
from onehouse_tracker.report import live_page as page
from onehouse_tracker.report._connections import PageConnections, most_connections
from onehouse_tracker.report._view import named_rows
from onehouse_tracker.report.live_page import LivePage
from onehouse_tracker.testing import ScriptedSource, SimulatedProject, SimulatorServer
from tests.cli.harness import end, start
from tests.support import FAILED, PENDING, SUCCESS


def source(pending: int = 2) -> ScriptedSource:
    """Requests that take for ever, one that succeeds and one that fails."""
    script: dict[str, Any] = {f"pending-{number}": [PENDING] for number in range(pending)}
    return ScriptedSource({**script, "good": [SUCCESS], "bad": [FAILED], "late": [SUCCESS]})


@asynccontextmanager
async def served(
    *observers: events.Observer, pending: int = 2
) -> AsyncIterator[tuple[Tracker, LivePage]]:
    """A tracker that follows some requests, and then gets a page."""
    async with Tracker(source(pending), observers=observers) as tracker:
        handles = [tracker.track(f"pending-{number}", label="L") for number in range(pending)]
        live = await tracker.serve_page()
        yield tracker, live
        del handles


def open_files() -> int:
    """How many files and sockets this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def address(live: LivePage) -> tuple[str, int]:
    """Where to connect to."""
    return "127.0.0.1", int(live.url.split(":")[2][:-1])


def connections(live: LivePage) -> PageConnections:
    """Those that it has."""
    assert live._connections is not None
    return live._connections


def strangers(there: tuple[str, int], count: int) -> list[socket.socket]:
    """Connections that ask for nothing."""
    return [socket.create_connection(there) for _ in range(count)]


def deaf(live: LivePage) -> socket.socket:
    """A browser that asks for the stream and does not read it."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(address(live))
    connection.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return connection


class Stream:
    """What a browser's EventSource does."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.id = ""

    async def next(self) -> tuple[str, dict[str, Any]]:
        """The next event: its kind, and its data."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(5):
            while True:
                line = (await self.response.content.readuntil(b"\n")).decode().rstrip("\n")
                if not line and fields:
                    self.id = fields.get("id", self.id)
                    return fields["event"], json.loads(fields["data"])
                name, _, value = line.partition(": ")
                fields[name] = value

    async def until(self, request_id: str) -> dict[str, Any]:
        """The first view in which that request has ended."""
        while True:
            _, view = await self.next()
            if any(
                row["request_id"] == request_id and row["ended"] is not None
                for row in named_rows(view)
            ):
                return view


@asynccontextmanager
async def watching(url: str, **headers: str) -> AsyncIterator[Stream]:
    """A browser that looks."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}events", headers=headers) as response,
    ):
        assert response.status == 200
        yield Stream(response)


async def test_the_page_is_one_file_with_strict_headers() -> None:
    """
    It may talk to nobody but the server that it came from, and nobody may frame it.
    """
    async with (
        served() as (_, live),
        aiohttp.ClientSession() as session,
        session.get(live.url) as response,
    ):
        text = await response.text()

    assert response.status == 200
    assert response.content_type == "text/html"
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src 'self'; frame-ancestors 'none'" in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    assert "aiohttp" not in response.headers["Server"]
    assert "pending-0" not in text  # what is known comes with the stream
    assert set(re.findall(r"https?://[^\s'\"\\]+", text)) == {"http://www.w3.org/2000/svg"}


async def test_changes_come_after_the_whole() -> None:
    """
    With thousands of requests only what changed may travel.
    """
    async with served(pending=50) as (tracker, live), watching(live.url) as stream:
        kind, whole = await stream.next()
        await tracker.wait_all(["good", "bad"])
        changes = await stream.until("bad")

    assert kind == "view"
    assert [row["request_id"] for row in named_rows(whole)] == [f"pending-{n}" for n in range(50)]
    assert {row["label"] for row in named_rows(whole)} == {"L"}
    assert whole["live"]["rate"] == pytest.approx(9.8, abs=0.1)
    assert whole["head"]["limit"] == 10.0
    assert "since" not in whole
    assert len(changes["rows"]) < 20
    assert changes["since"]


async def test_a_browser_that_comes_back_gets_what_it_missed() -> None:
    """
    EventSource tells the last ID by itself; a page that was hidden tells it in the address.
    """
    async with served() as (tracker, live):
        async with watching(live.url) as stream:
            await stream.next()
        await tracker.wait_all(["good"])
        async with watching(live.url, **{"Last-Event-ID": stream.id}) as again:
            _, by_header = await again.next()
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{live.url}events", params={"since": stream.id}) as response,
        ):
            _, by_address = await Stream(response).next()
        async with watching(live.url, **{"Last-Event-ID": "of-another-run"}) as stranger:
            _, whole = await stranger.next()
            rest = await stranger.until("good")

    assert "good" in {row["request_id"] for row in named_rows(by_header)}
    assert by_header["since"] == by_address["since"] == stream.id
    assert "since" not in whole
    assert len(whole["rows"]) == 2  # made for the first one, a moment ago: changes follow
    assert "good" in {row["request_id"] for row in named_rows(rest)}


async def test_what_was_followed_before_there_was_a_page_is_on_it() -> None:
    """
    A service serves the page when somebody wants it.
    """
    async with served() as (tracker, live), watching(live.url) as stream:
        _, view = await stream.next()
        second = await tracker.serve_page()
        async with watching(second.url) as other:
            _, same = await other.next()

    assert [row["request_id"] for row in named_rows(view)] == ["pending-0", "pending-1"]
    assert same["head"]["version"].split("-")[0] == view["head"]["version"].split("-")[0]


async def test_a_recording_among_the_observers_is_what_the_page_shows() -> None:
    """
    So that page and report tell the same.
    """
    recording = ReportObserver(limit=7)
    async with (
        Tracker(source(), observers=[recording]) as tracker,
        await tracker.serve_page() as live,
        watching(live.url) as stream,
    ):
        await tracker.wait_all(["bad"])
        view = await stream.until("bad")

    assert view["head"]["limit"] == 7
    assert named_rows(recording.view())[0]["request_id"] == "bad"


async def test_the_end_is_told_and_nothing_is_left() -> None:
    """
    A page in a browser says how it all ended, and stays; the process keeps nothing of it.
    """
    tasks, files = len(asyncio.all_tasks()), open_files()
    async with asyncio.timeout(5):
        async with watching_to_the_end() as (stream, began):
            while True:
                kind, view = await stream.next()
                if kind == "over":
                    break
                last = view
            took = time.monotonic() - began[0]
            rest = await stream.response.content.read()
    await asyncio.sleep(0.01)

    assert {row["request_id"]: row["state"] for row in named_rows(last)}["pending-0"] == "OPEN"
    assert rest == b""
    assert took < 0.5
    assert len(asyncio.all_tasks()) == tasks
    assert open_files() == files


@asynccontextmanager
async def watching_to_the_end() -> AsyncIterator[tuple[Stream, list[float]]]:
    """A stream whose tracker closes while somebody looks; and when it began to close."""
    began = [0.0]
    async with aiohttp.ClientSession() as session:
        async with served() as (_, live):
            response = await session.get(f"{live.url}events")
            stream = Stream(response)
            await stream.next()
            began[0] = time.monotonic()
        yield stream, began
        response.close()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_nothing_can_be_changed(method: str) -> None:
    """
    It answers GET and HEAD.
    """
    async with served() as (_, live), aiohttp.ClientSession() as session:
        for path in ("", "events"):
            async with session.request(method, live.url + path) as response:
                assert response.status == 405
            async with session.head(live.url + path) as response:
                assert response.status == 200
        async with session.get(live.url + "etc/passwd") as response:
            assert response.status == 404
            assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("LOCALHOST", 200),
        ("localhost:9999", 200),  # through `ssh -L 9999:...`
        ("[::1]:{port}", 200),
        ("evil.example", 403),
        ("evil.example:{port}", 403),
        ("127.0.0.1.evil.example:{port}", 403),
        ("localhost.:{port}", 403),
        ("localhost:{port}:1", 403),
    ],
)
async def test_only_whoever_asks_for_this_machine_is_answered(host: str, status: int) -> None:
    """
    A page elsewhere can make its own name point here, and would read ours otherwise.
    """
    async with served() as (_, live), aiohttp.ClientSession() as session:
        name = host.format(port=live.url.rpartition(":")[2].rstrip("/"))
        for path in ("", "events"):
            async with session.get(live.url + path, headers={"Host": name}) as response:
                assert response.status == status


async def test_a_foreign_page_gets_no_stream() -> None:
    """
    It could not read it, but it could take all places.
    """
    async with served() as (_, live), aiohttp.ClientSession() as session:
        async with session.get(
            f"{live.url}events", headers={"Sec-Fetch-Site": "cross-site"}
        ) as response:
            assert response.status == 403
        async with session.get(live.url, headers={"Sec-Fetch-Site": "cross-site"}) as response:
            assert response.status == 200  # somebody followed a link


async def test_places_are_limited_and_become_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    However many tabs somebody opens, the service has other things to do.
    """
    monkeypatch.setattr(page, "_MOST", 1)
    monkeypatch.setattr(page, "_HEARTBEAT", 0.0)
    async with served() as (_, live):
        async with watching(live.url) as stream:
            await stream.next()
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{live.url}events") as response,
            ):
                assert response.status == 503
        async with asyncio.timeout(2), aiohttp.ClientSession() as session:
            while True:
                async with session.get(f"{live.url}events") as response:
                    if response.status == 200:
                        break
                await asyncio.sleep(0.05)


async def test_a_browser_that_does_not_read_is_dropped_and_costs_nobody_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    What it does not take is not kept for it: never more than one message waits.
    """
    monkeypatch.setattr(page, "_EVERY", 0.01)
    monkeypatch.setattr(page, "_SLOW", 0.2)
    recording = ReportObserver()
    polled: list[float] = []

    def poll(number: int) -> None:
        for place in range(50):
            recording(
                events.PollFinished(
                    at=time.monotonic(),
                    request_id=f"pending-{place}",
                    attempt=number,
                    took=0.1,
                    status=None,
                    error="TransportError",
                    reason="x" * 2000,
                )
            )

    async with served(recording, pending=50) as (_, live):
        with deaf(live):
            most, seen = 0, False
            async with asyncio.timeout(5):
                for number in range(10_000):
                    began = time.monotonic()
                    poll(number)
                    await asyncio.sleep(0.005)
                    polled.append(time.monotonic() - began)
                    sizes = [each.get_write_buffer_size() for each in connections(live)]
                    most = max(most, *sizes, 0)
                    seen = seen or connections(live).streams == 1
                    if seen and not connections(live).streams:
                        break

    assert seen
    assert connections(live).streams == 0
    assert most < 300_000  # one message of 50 rows is 100 kB
    assert sorted(polled)[len(polled) // 2] < 0.05


async def test_closing_does_not_wait_for_a_browser_that_does_not_read() -> None:
    """
    Its socket goes as well.
    """
    files = open_files()
    recording = ReportObserver()
    for number in range(20_000):
        recording(
            events.RequestJoined(at=0.0, request_id=f"{number} {'x' * 100}", label=None, age=0.0)
        )
    async with served(recording) as (_, live):
        connection = deaf(live)
        async with asyncio.timeout(5):
            while not any(each.get_write_buffer_size() for each in connections(live)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        began = time.monotonic()
    took = time.monotonic() - began
    await asyncio.sleep(0.01)
    left = open_files()
    connection.close()

    assert took < 1.0
    assert left == files + 1  # the browser's end of it


async def test_a_whole_view_of_thousands_does_not_hold_up_the_loop() -> None:
    """
    Rows are packed a few at a time, and once for all who come together.
    """
    recording = ReportObserver()
    for number in range(5_000):
        recording(events.RequestJoined(at=0.0, request_id=f"r-{number}", label="L", age=0.0))
    async with served(recording) as (_, live):
        gaps: list[float] = []

        async def tick() -> None:
            while True:
                began = time.monotonic()
                await asyncio.sleep(0)
                gaps.append(time.monotonic() - began)

        ticking = asyncio.create_task(tick())
        made = await asyncio.gather(*(live._message("") for _ in range(20)))
        ticking.cancel()

    assert len(json.loads(made[0][1].partition(b"data: ")[2])["rows"]) == 5_002
    assert len({id(message) for _, message in made}) == 1
    assert len(gaps) >= 25  # the loop had its turn between the packs


async def test_a_port_that_is_taken_is_told() -> None:
    """
    The usual mistake: another run is there already.
    """
    async with served() as (tracker, live):
        port = int(live.url.split(":")[2][:-1])
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}: .*choose another port"):
            await tracker.serve_page(port)


async def test_a_closed_tracker_serves_nothing() -> None:
    """
    Like every other method.
    """
    async with served() as (tracker, live):
        assert repr(live) == f"<LivePage {live.url}>"

    assert repr(live) == "<LivePage: closed>"
    await live.aclose()  # a second time
    with pytest.raises(TrackerClosedError):
        await tracker.serve_page()


async def test_a_page_can_be_closed_before_the_tracker() -> None:
    """
    And the polling goes on.
    """
    async with served() as (tracker, live):
        async with live:
            url = live.url
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.get(url)
        results = await tracker.wait_all(["good"])

    assert results.ok


# --- Whoever else is on the machine ------------------------------------------------------

MALFORMED = {
    "words": b"hello\r\n\r\n",
    "no method": b"\x00 / HTTP/1.1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40,
    "another version": b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a long line": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
    "a header that is none": b"GET / HTTP/1.1\r\nHost: localhost\r\nno header\r\n\r\n",
    "a body without an end": (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n"),
    "two lengths": (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"
    ),
    "chunks that are none": (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    ),
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a host that is none": b"GET / HTTP/1.1\r\nHost: \xff:\xff\r\n\r\n",
    "an address that is none": b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "half a character": b"GET /%ff%fe?since=%ff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a version that is none": (
        b"GET /events?since=%00%F0%9F HTTP/1.0\r\nHost: evil.example\r\n\r\n"
    ),
    "an upgrade": (
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n\x00"
    ),
    "half a request": b"GET / HTT",
    "nothing": b"",
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_requests_write_nothing(
    sent: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """
    Anybody on the machine could fill the log of the command, with a traceback for each.
    """
    caplog.set_level(logging.DEBUG)
    async with served() as (_, live):
        reader, writer = await asyncio.open_connection(*address(live))
        writer.write(sent)
        writer.write_eof()
        async with asyncio.timeout(2):
            answer = await reader.read(15)
        writer.close()
        async with aiohttp.ClientSession() as session, session.get(live.url) as response:
            assert response.status == 200

    assert answer == b"" or answer.startswith(b"HTTP/1.")
    written = "".join(capfd.readouterr()) + "".join(
        record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG
    )
    assert "Traceback" not in written
    assert "rror" not in written


async def test_a_fault_of_our_own_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What is kept quiet is what others do.
    """

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(page, "live_policy", broken)
    async with (
        served() as (_, live),
        aiohttp.ClientSession() as session,
        session.get(live.url) as response,
    ):
        assert response.status == 500

    assert [record.getMessage() for record in caplog.records] == ["the live page failed"]
    assert caplog.records[0].exc_info


@pytest.mark.parametrize(
    ("descriptors", "most"),
    [(64, 8), (256, 32), (1024, 100), (1 << 20, 100), (resource.RLIM_INFINITY, 100)],
)
def test_a_page_has_an_eighth_of_the_descriptors(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, most: int
) -> None:
    """
    The polls need up to three hundred, and they come first.
    """
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))

    assert most_connections() == most


async def test_idle_connections_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The oldest first; who watches stays, and who comes is served.
    """
    monkeypatch.setattr(page, "most_connections", lambda: 10)
    files = open_files()
    async with served() as (tracker, live):
        async with watching(live.url) as stream:
            await stream.next()
            idle = await asyncio.to_thread(strangers, address(live), 200)
            most = 0
            async with asyncio.timeout(5):
                while len(list(connections(live))) != 10 or not most:
                    await asyncio.sleep(0.01)
                    most = max(most, open_files() - files - len(idle))
            async with aiohttp.ClientSession() as session, session.get(live.url) as response:
                assert response.status == 200
            await tracker.wait_all(["good"])
            await stream.until("good")
        for each in idle:
            each.close()

    assert most < 60  # ours, and what is accepted in one turn of the loop


async def test_a_connection_that_asks_for_nothing_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Also one that began to ask.
    """
    monkeypatch.setattr(page, "_IDLE", 0.1)
    async with served() as (_, live):
        for sent in (b"", b"GET / HTTP/1.1\r\nHost: local"):
            reader, writer = await asyncio.open_connection(*address(live))
            writer.write(sent)
            async with asyncio.timeout(2):
                assert await reader.read() == b""
            writer.close()


async def test_the_command_polls_whatever_connects_to_its_page() -> None:
    """
    Twelve hundred idle connections to a process of 1,024 descriptors stopped its polls.
    """
    project = SimulatedProject()
    names = [f"late-{number}" for number in range(8)]
    for name in names:
        project.add(name, 1e6)
    async with SimulatorServer(project) as server:
        process = await start(
            [
                "wait",
                *names,
                "--page",
                "0",
                "--limit",
                "50",
                "--timeout",
                "9",
                "--output",
                "jsonl",
            ],
            server.environment(),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)),
        )
        assert process.stderr is not None
        there = ""
        while "live page" not in there:
            there = (await process.stderr.readline()).decode()
        port = int(there.rpartition(":")[2].strip("/\n"))
        idle = await asyncio.to_thread(strangers, ("127.0.0.1", port), 150)
        for request in project.requests.values():
            request.duration = 0
        ended = await end(process)
        for each in idle:
            each.close()

    assert ended.code == 0, ended.err
    assert len(ended.objects()) == 8
    assert "Traceback" not in ended.err
    assert "rror" not in ended.err
