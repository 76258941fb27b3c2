"""
How many connections there are, and which of them a request may use: few, and none from before
an outage.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Self

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from onehouse_tracker import Credentials, OnehouseClient, PollPolicy, Tracker, TransportError
from onehouse_tracker.errors import StaleConnectionError
from onehouse_tracker.events import Event, OutageBegan, OutageEnded
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.limiters._connected import ConnectedLimiter
from onehouse_tracker.onehouse._http.connections import Connector, open_session

PENDING = b'{"apiStatus": "API_OPERATION_STATUS_PENDING"}'
SUCCESS = b'{"apiStatus": "API_OPERATION_STATUS_SUCCESS"}'


class Server:
    """
    Answers every request with the next reply of *say*, and counts connections.

    Args:
        say: Returns status line and body of the next reply, or `None` to hang up.
    """

    def __init__(self, say: Callable[[], tuple[str, bytes] | None], *, delay: float = 0.0) -> None:
        self._say = say
        self._delay = delay
        self.connections = 0
        self.open = 0
        self.most = 0
        self.requests = 0
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        # The client closes one and makes another in the same moment: let the end be seen first.
        await asyncio.sleep(0.001)
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.requests += 1
                await asyncio.sleep(self._delay)
                answer = self._say()
                if answer is None:
                    return
                line, body = answer
                head = f"HTTP/1.1 {line}\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


def client(port: int, host: str = "127.0.0.1", **settings: Any) -> OnehouseClient:
    """A client for a server on loopback."""
    return OnehouseClient(
        Credentials(
            base_url=f"http://{host}:{port}",
            project_uid="p",
            account_uid="a",
            link_uid="l",
            region="r",
            user_uid="u",
            api_key="k",
            api_secret="s",
        ),
        **settings,
    )


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_no_more_connections_stand_than_are_allowed(limit: int) -> None:
    """
    A firewall, or a server with few workers, counts those that nobody uses too.
    """
    async with Server(lambda: ("200 OK", SUCCESS), delay=0.02) as server:
        async with client(server.port, max_connections=limit) as few:
            await few.warm_up()
            assert server.most <= limit
            async with Tracker(few, limiter=LocalLimiter(200.0)) as tracker:
                assert (await tracker.wait_all([f"r{n}" for n in range(20)])).ok
                few.forget_connections()
                assert (await tracker.wait_all([f"s{n}" for n in range(5)])).ok
        assert server.most == limit


async def test_slow_server_with_few_connections_is_no_outage() -> None:
    """
    Polls beyond the connections would wait for one until they time out, and count as failures.
    """
    told: list[Event] = []
    async with Server(lambda: ("200 OK", SUCCESS), delay=0.1) as server:
        few = client(server.port, max_connections=2, connect_timeout=0.15)
        async with (
            few,
            Tracker(few, limiter=LocalLimiter(1_000.0), observers=[told.append]) as tracker,
        ):
            results = await tracker.wait_all([f"r{n}" for n in range(16)])
            assert tracker.stats().polls == 16
            handle = tracker.track("another")
            await handle

    assert results.ok
    assert {result.polls for result in results.values()} == {1}
    assert not [event for event in told if isinstance(event, OutageBegan)]
    assert server.most == 2


async def test_submissions_wait_for_a_connection_too() -> None:
    """
    A statement that is sent and finds no connection is not sent at all, after a wait.
    """
    async with Server(lambda: ("200 OK", b'{"requestId": "r"}'), delay=0.1) as server:
        few = client(server.port, max_connections=1, connect_timeout=0.15)
        async with few, Tracker(few, limiter=LocalLimiter(1_000.0)) as tracker:
            handles = await asyncio.gather(*(tracker.submit("SHOW CLUSTERS") for _ in range(5)))
            for handle in handles:
                handle.cancel()
    assert server.most == 1


class Addresses(AbstractResolver):
    """Finds *host* where it is told to; counts how often it was asked."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked = 0

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,
    ) -> list[ResolveResult]:
        """Where the host is now."""
        self.asked += 1
        return [
            ResolveResult(
                hostname=host,
                host="127.0.0.1",
                port=self.port,
                family=family,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Nothing to close."""


async def test_outage_ends_when_the_name_leads_elsewhere() -> None:
    """
    The old address answers 503 on connections that it keeps; the name was moved long ago.
    """
    told: list[Event] = []
    answers = iter([("200 OK", PENDING)] * 12)
    old = Server(lambda: next(answers, ("503 Service Unavailable", b"")))
    async with old, Server(lambda: ("200 OK", SUCCESS)) as new:
        names = Addresses(old.port)
        connector = Connector(limit=20, resolver=names)
        async with aiohttp.ClientSession(connector=connector) as session:
            moved = client(old.port, host="localhost", http_session=session)

            def watch(event: Event) -> None:
                told.append(event)
                if isinstance(event, OutageBegan):
                    names.port = new.port

            limiter = LocalLimiter(200.0)
            async with moved, Tracker(moved, limiter=limiter, observers=[watch]) as tracker:
                results = await tracker.wait_all([f"r{n}" for n in range(12)])

    assert results.ok
    ended = [event for event in told if isinstance(event, OutageEnded)]
    assert len(ended) == 1
    assert ended[0].lasted < 3
    assert names.asked >= 2
    # Nobody went back to what had been kept.
    assert new.requests == 12


async def test_what_one_project_forgets_serves_the_others_of_its_pool() -> None:
    """
    The projects of a pool share connections: an outage of one is none of the others.
    """
    async with Server(lambda: ("200 OK", SUCCESS)) as server, open_session(0) as session:
        sick = client(server.port, http_session=session)
        well = client(server.port, http_session=session)
        async with sick, well:
            await asyncio.gather(*(well.fetch(f"r{n}") for n in range(3)))
            assert server.connections == 3
            for number in range(4):
                sick.forget_connections()
                await sick.fetch("s")
                assert server.connections == 4 + number
            await sick.fetch("s")  # what it made after it forgot serves it too
            await asyncio.gather(*(well.fetch(f"r{n}") for n in range(3)))
            assert server.connections == 7


async def test_new_connection_that_is_lost_is_a_failure_and_an_old_one_is_stale() -> None:
    """
    Stale is only what had served before: a server that hangs up on everybody must not be asked
    again without a pause, though other connections stand.
    """
    answers = [("200 OK", SUCCESS), None, ("200 OK", SUCCESS), None]
    async with Server(lambda: answers.pop(0)) as server, client(server.port) as one:
        await one.fetch("r")
        with pytest.raises(StaleConnectionError):
            await one.fetch("r")
        await one.fetch("r")
        one.forget_connections()
        with pytest.raises(TransportError) as caught:
            await one.fetch("r")
    assert not isinstance(caught.value, StaleConnectionError)


async def test_probes_of_an_outage_leave_nothing_open() -> None:
    """
    A connection a second for hours must not fill the table of files.
    """
    server = Server(lambda: ("503 Service Unavailable", b""))
    async with server, client(server.port) as one:
        for _ in range(30):
            one.forget_connections()
            with pytest.raises(TransportError):
                await one.fetch("r")
        await asyncio.sleep(0.02)
        assert server.connections == 30
        assert server.open <= 1


@pytest.mark.parametrize(
    "problem",
    [
        UnicodeError("label empty or too long"),
        RuntimeError("can't start new thread"),
        OSError("too many open files"),
        asyncio.CancelledError(),
    ],
    ids=repr,
)
async def test_look_up_that_fails_in_any_way_is_tried_again(problem: BaseException) -> None:
    """
    It comes before the first poll too, to have a connection ready: there it must not end all.
    """

    class Failing(Addresses):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            """Fail a few times."""
            found = await super().resolve(host, port, family)
            # From Python 3.12 on nobody shares a look-up that does not wait, so the two that
            # come ahead of the first poll fail alone.
            if self.asked <= 5:
                raise problem
            return found

    async with Server(lambda: ("200 OK", SUCCESS)) as server:
        connector = Connector(limit=20, resolver=Failing(server.port))
        connector.is_direct = True  # as in a session of ours, which looks up ahead
        async with aiohttp.ClientSession(connector=connector) as session:
            one = client(server.port, host="localhost", http_session=session)
            policy = PollPolicy(failure_base=0.05)
            async with one, Tracker(one, limiter=LocalLimiter(200.0), policy=policy) as tracker:
                results = await tracker.wait_all(["r", "s", "t"])

    assert results.ok
    assert sum(result.polls for result in results.values()) > 3


async def test_limiter_outlives_whatever_a_source_does_before_a_slot() -> None:
    """
    A source of one's own may have connections too, and trouble with them.
    """

    async def hold() -> Callable[[], None]:
        raise ZeroDivisionError

    limiter = ConnectedLimiter(LocalLimiter(200.0), hold)
    await limiter.start()
    await limiter.acquire()
    await limiter.aclose()
