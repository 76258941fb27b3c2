"""
Closing under those who wait for a name or a connection: they are told so, and nobody is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.resolver import DefaultResolver

from onehouse_tracker import (
    Credentials,
    JournalReader,
    OnehouseClient,
    SourceError,
    SqliteJournal,
    SubmissionUnknownError,
    SubmissionUnsentError,
    Tracker,
    TrackerClosedError,
    TrackerError,
    TrackerPool,
    TransportError,
)
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.onehouse._http.connections import Connector

UNKNOWN_FOR_LONG = "names.example"


def credentials(base_url: str) -> Credentials:
    """Made up."""
    return Credentials(
        base_url=base_url, project_uid="p", account_uid="a", link_uid="l", region="r",
        user_uid="u", api_key="k", api_secret="s",
    )  # fmt: skip


@pytest.fixture(autouse=True)
def slow_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up of one name never ends; nor is a handshake waited for before."""
    look_up = DefaultResolver.resolve

    async def slow(self: Any, host: str, *args: Any, **settings: Any) -> Any:
        if host == UNKNOWN_FOR_LONG:
            await asyncio.get_running_loop().create_future()
        return await look_up(self, host, *args, **settings)

    monkeypatch.setattr(DefaultResolver, "resolve", slow)
    monkeypatch.setattr("onehouse_tracker.limiters._connected._PATIENCE", 0.02)


class Silent:
    """A server that takes connections and requests, and answers none."""

    def __init__(self) -> None:
        self.received = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read to the end."""
        try:
            while data := await reader.read(65_536):
                self.received += data
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def silent_server() -> AsyncIterator[tuple[Silent, str]]:
    """One of them, and its URL."""
    silent = Silent()
    server = await asyncio.start_server(silent.serve, "127.0.0.1", 0)
    async with server:
        yield silent, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def a_poll(client: OnehouseClient) -> object:
    """Ask once."""
    return await client.fetch("r1")


async def a_statement(client: OnehouseClient) -> object:
    """Submit once."""
    return await client.submit("RUN JOB x")


CALLS = [(a_poll, TransportError), (a_statement, SubmissionUnsentError)]


@pytest.mark.parametrize(("call", "kind"), CALLS)
@pytest.mark.parametrize(
    ("whose", "closed"),
    [
        ("its own", "client"),
        ("ours", "client"),
        ("ours", "session"),
        ("aiohttp's", "client"),
        ("aiohttp's", "session"),
    ],
)
async def test_a_call_that_waits_for_a_name_is_told(
    call: Callable[[OnehouseClient], Awaitable[object]],
    kind: type[TrackerError],
    whose: str,
    closed: str,
) -> None:
    """
    Whoever's session it is, and whoever closes it.
    """
    session: aiohttp.ClientSession | None = None
    if whose != "its own":
        make = Connector if whose == "ours" else aiohttp.TCPConnector
        session = aiohttp.ClientSession(connector=make(limit=10))
    async with OnehouseClient(
        credentials(f"https://{UNKNOWN_FOR_LONG}"), http_session=session
    ) as client:
        waiting = asyncio.create_task(_awaited(call(client)))
        await asyncio.sleep(0.02)
        if closed == "client":
            await client.aclose()
            if whose == "aiohttp's":  # its session goes on, and nobody can tell who has sent
                await asyncio.sleep(0.02)
                assert not waiting.done()
        if session is not None:
            await session.close()
        async with asyncio.timeout(1):
            await asyncio.wait([waiting])
        assert not waiting.cancelled()
        error = waiting.exception()
        assert type(error) is kind
        assert "was closed" in str(error)


@pytest.mark.parametrize(("call", "kind"), CALLS)
@pytest.mark.parametrize("whose", ["its own", "ours", "aiohttp's"])
async def test_a_call_that_waits_for_a_connection_is_told(
    call: Callable[[OnehouseClient], Awaitable[object]], kind: type[TrackerError], whose: str
) -> None:
    """
    Those that have one fail as calls whose connection is lost.
    """
    async with silent_server() as (silent, url):
        session: aiohttp.ClientSession | None = None
        if whose != "its own":
            make = Connector if whose == "ours" else aiohttp.TCPConnector
            session = aiohttp.ClientSession(connector=make(limit=1))
        async with OnehouseClient(
            credentials(url), http_session=session, max_connections=None if session else 1
        ) as client:
            first = asyncio.create_task(_awaited(a_statement(client)))
            await asyncio.sleep(0.02)
            waiting = asyncio.create_task(_awaited(call(client)))
            await asyncio.sleep(0.02)
            await client.aclose()
            if session is not None:
                await session.close()
            async with asyncio.timeout(1):
                await asyncio.wait([first, waiting])
        assert isinstance(first.exception(), SubmissionUnknownError)
        assert type(waiting.exception()) is kind
        assert silent.received.count(b"HTTP/1.1") == 1


async def test_who_is_cancelled_is_cancelled_all_the_same() -> None:
    """
    A call that its own task gives up is no failure.
    """
    async with OnehouseClient(credentials(f"https://{UNKNOWN_FOR_LONG}")) as client:
        waiting = asyncio.create_task(_awaited(a_poll(client)))
        await asyncio.sleep(0.02)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()


async def _awaited(call: Awaitable[object]) -> object:
    return await call


async def from_env(
    journal: SqliteJournal, stop: asyncio.Event, opened: asyncio.Future[Any]
) -> None:
    """A tracker with a client of its own."""
    tracker = Tracker.from_env(environ=_environ(), journal=journal, limiter=LocalLimiter(200))
    async with tracker:
        opened.set_result(tracker)
        await stop.wait()


async def with_a_client(
    journal: SqliteJournal, stop: asyncio.Event, opened: asyncio.Future[Any]
) -> None:
    """A tracker with a client of the user's, which is closed first."""
    client = OnehouseClient(credentials(f"https://{UNKNOWN_FOR_LONG}"))
    async with client, Tracker(client, journal=journal, limiter=LocalLimiter(200)) as tracker:
        opened.set_result(tracker)
        await stop.wait()
        await client.aclose()


async def in_a_pool(
    journal: SqliteJournal, stop: asyncio.Event, opened: asyncio.Future[Any]
) -> None:
    """One project of many."""
    async with TrackerPool() as pool:
        source = credentials(f"https://{UNKNOWN_FOR_LONG}")
        pool.add("p", source, journal=journal, limiter=LocalLimiter(200))
        opened.set_result(await pool.tracker("p"))
        await stop.wait()


def _environ() -> dict[str, str]:
    uids = ("PROJECT_UID", "ACCOUNT_UID", "LINK_UID", "USER_UID")
    values = {f"ONEHOUSE_{name}": "x" for name in (*uids, "REGION", "API_KEY", "API_SECRET")}
    return values | {"ONEHOUSE_BASE_URL": f"https://{UNKNOWN_FOR_LONG}"}


@pytest.mark.parametrize("way", [from_env, with_a_client, in_a_pool])
async def test_statements_that_were_not_sent_are_known_to_the_journal(
    way: Callable[[SqliteJournal, asyncio.Event, asyncio.Future[Any]], Awaitable[None]],
    tmp_path: Path,
) -> None:
    """
    In a group of tasks each of them ends with an error, and none is of unknown fate.
    """
    path = tmp_path / "journal.db"
    stop = asyncio.Event()
    opened: asyncio.Future[Tracker] = asyncio.get_running_loop().create_future()
    owner = asyncio.create_task(_awaited(way(SqliteJournal(path), stop, opened)))
    tracker = await opened
    submitting = [asyncio.create_task(tracker.submit(f"RUN JOB j{n}")) for n in range(5)]
    await asyncio.sleep(0.2)
    waiting = asyncio.create_task(tracker.wait_all(["a"]))
    await asyncio.sleep(0.02)
    stop.set()
    async with asyncio.timeout(3):
        await asyncio.wait([owner, waiting, *submitting])
    assert owner.exception() is None
    assert isinstance(waiting.exception(), TrackerError)
    kinds = {type(task.exception()) for task in submitting}
    assert kinds <= {SubmissionUnsentError, TrackerClosedError, SourceError}
    assert SubmissionUnsentError in kinds
    states = [statement.state for statement in JournalReader(path).statements()]
    assert set(states) == {"unsent"}
