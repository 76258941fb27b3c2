"""
Connections that stand before they are needed, so that no handshake moves a poll.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from onehouse_tracker import Credentials, OnehouseClient, Tracker
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.models import StatusReply
from onehouse_tracker.testing import SimulatedProject, SimulatorServer
from onehouse_tracker.testing.enforcers import make_enforcer


class _CountingServer:
    """Takes connections and never says a word."""

    def __init__(self) -> None:
        self.connections = 0
        self.bytes = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.bytes += len(await reader.read())
        writer.close()


def _client(port: int, *, ready_connections: int = 4) -> OnehouseClient:
    return OnehouseClient(
        Credentials(
            base_url=f"http://127.0.0.1:{port}",
            project_uid="p",
            account_uid="a",
            link_uid="l",
            region="r",
            user_uid="u",
            api_key="k",
            api_secret="s",
        ),
        ready_connections=ready_connections,
    )


async def test_connections_are_opened_and_nothing_is_sent() -> None:
    """
    A request that nobody asked for would cost budget.
    """
    counting = _CountingServer()
    server = await asyncio.start_server(counting.serve, "127.0.0.1", 0)
    async with server, _client(server.sockets[0].getsockname()[1]) as client:
        await client.warm_up(3)
        await asyncio.sleep(0.02)
        assert counting.connections == 3
    await asyncio.sleep(0.02)

    assert counting.bytes == 0


async def test_a_client_may_be_told_how_many_to_have_ready() -> None:
    """
    A triggerer that polls ten times a second needs one, and not four.
    """
    counting = _CountingServer()
    server = await asyncio.start_server(counting.serve, "127.0.0.1", 0)
    async with server, _client(server.sockets[0].getsockname()[1], ready_connections=1) as client:
        await client.warm_up()
        await asyncio.sleep(0.02)
        assert counting.connections == 1


async def test_a_server_that_is_away_is_no_error_yet() -> None:
    """
    The first poll will tell, with all that belongs to it.
    """
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with _client(port) as client:
        await client.warm_up()


async def test_polls_use_what_was_opened() -> None:
    """
    Four polls at once need no fifth connection.
    """
    project = SimulatedProject()
    async with SimulatorServer(project) as server, _client(server.port) as client:
        await client.warm_up(4)
        ids = [project.add(f"r{number}", 0.0).request_id for number in range(4)]
        await asyncio.gather(*(client.fetch(request_id) for request_id in ids))

        assert server._runner is not None
        assert server._runner.server is not None
        assert len(server._runner.server.connections) == 4


async def test_a_tracker_warms_up_for_many_and_not_for_one() -> None:
    """
    Whoever asks about one request needs one connection.
    """
    project = SimulatedProject()
    for number in range(5):
        project.add(f"r{number}", 0.0)
    async with SimulatorServer(project) as server:
        for ids, connections in ((["r0"], 1), ([f"r{number}" for number in range(5)], 5)):
            async with _client(server.port) as client:
                async with Tracker(client, limiter=LocalLimiter(100.0)) as tracker:
                    await tracker.wait_all(ids)
                assert server._runner is not None
                assert server._runner.server is not None
                assert 1 <= len(server._runner.server.connections) <= connections
            await asyncio.sleep(0.05)


async def test_the_first_poll_does_not_shake_hands_on_its_slot() -> None:
    """
    With a handshake of 150 ms after the first slot, the eleventh request would come less than
    a second after the first, and the server would refuse it.
    """
    project = SimulatedProject(enforcer=make_enforcer("sliding", 10))
    for number in range(12):
        project.add(f"r{number}", 0.0)
    async with SimulatorServer(project) as server:
        client = _client(server.port)
        async with client, Tracker(_slow_to_connect(client)) as tracker:
            results = await tracker.wait_all([f"r{number}" for number in range(12)])

        assert len(results.succeeded) == 12
        assert project.refused == 0


class _slow_to_connect:  # noqa: N801 - reads as what it does
    """A client whose first request, and nothing else, has to wait for a handshake."""

    def __init__(self, client: OnehouseClient) -> None:
        self._client = client
        self._connected = False

    async def warm_up(self, connections: int = 4) -> None:
        await self._client.warm_up(connections)

    async def hold(self) -> Callable[[], None]:
        if not self._connected:
            await asyncio.sleep(0.15)
        self._connected = True
        return await self._client.hold()

    async def fetch(self, request_id: str) -> StatusReply:
        if not self._connected:
            self._connected = True
            await asyncio.sleep(0.15)
        return await self._client.fetch(request_id)
