"""
Who opens a client, and who closes it: over real sockets.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from onehouse_tracker import (
    Credentials,
    OnehouseClient,
    Outcome,
    SqliteJournal,
    Tracker,
    TrackerPool,
    sync,
)
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.models import StatusReply
from onehouse_tracker.testing import RunningSimulator, SimulatedProject, SimulatorServer
from tests.support import SUCCESS


def _project() -> SimulatedProject:
    project = SimulatedProject()
    project.add("r", 0.0)
    return project


def _client(server: SimulatorServer) -> OnehouseClient:
    return OnehouseClient(Credentials.from_env(environ=server.environment()))


async def test_a_client_that_was_not_opened_is_opened_and_closed() -> None:
    """
    It used to fail each poll for 600 s, and then to say that nothing had answered.
    """
    async with SimulatorServer(_project()) as server:
        client = _client(server)
        async with Tracker(client) as tracker:
            assert client.is_open
            results = await tracker.wait_all(["r"], timeout=5)

    assert results["r"].outcome is Outcome.SUCCEEDED
    assert not client.is_open


async def test_a_client_that_you_opened_stays_open() -> None:
    """
    It is yours: other code may still use it.
    """
    async with SimulatorServer(_project()) as server, _client(server) as client:
        async with Tracker(client) as tracker:
            await tracker.wait_all(["r"], timeout=5)
        assert client.is_open
        assert (await client.fetch("r")).status == SUCCESS

    assert not client.is_open


async def test_two_trackers_can_share_a_client_that_neither_was_given_open() -> None:
    """
    The first to close must not close it for the second.
    """
    async with SimulatorServer(_project()) as server:
        client, limiter = _client(server), LocalLimiter()
        async with Tracker(client, limiter=limiter) as longer:
            async with Tracker(client, limiter=limiter) as tracker:
                await tracker.wait_all(["r"], timeout=5)
            results = await longer.wait_all(["r"], timeout=5)
        assert not client.is_open

    assert results.ok


async def test_a_tracker_that_cannot_be_opened_leaves_no_client_open(tmp_path: Path) -> None:
    """
    What was opened before the failure is undone.
    """
    async with SimulatorServer(_project()) as server:
        client = _client(server)
        broken = Tracker(client, journal=SqliteJournal(tmp_path / "missing" / "journal"))
        with pytest.raises(Exception, match="journal"):
            await broken.__aenter__()

    assert not client.is_open


async def test_a_pool_opens_a_client_too() -> None:
    """
    The same rule wherever a client is given.
    """
    async with SimulatorServer(_project()) as server:
        client = _client(server)
        async with TrackerPool() as pool:
            pool.add("p", client=client)
            results = await pool.wait_all({"p": ["r"]}, timeout=5)
            assert client.is_open

    assert results.ok
    assert not client.is_open


def test_sync_opens_a_client_on_its_own_loop(onehouse_simulator: RunningSimulator) -> None:
    """
    The same rule, on the private loop.
    """
    onehouse_simulator.project.add("r", 0.0)
    client = _client(onehouse_simulator.server)
    with sync.Tracker(client=client) as tracker:
        assert tracker.wait_all(["r"], timeout=5).ok
        assert client.is_open

    assert not client.is_open


class _Openable:
    """A client of another API, which counts who uses it."""

    def __init__(self) -> None:
        self.users = 0
        self.log: list[str] = []

    @property
    def is_open(self) -> bool:
        return self.users > 0

    async def __aenter__(self) -> None:
        self.users += 1
        self.log.append("enter")

    async def __aexit__(self, kind: object, error: object, trace: object, /) -> None:
        await asyncio.sleep(0)
        self.users -= 1
        self.log.append("exit")

    async def fetch(self, name: str, /) -> StatusReply:
        self.log.append(name)
        return StatusReply(SUCCESS if self.is_open else None)


async def test_a_client_of_your_own_is_opened_once() -> None:
    """
    Whatever has `OpenableSource` is opened before the first poll, and closed after the last.
    """
    client = _Openable()
    async with Tracker(client) as tracker:
        assert (await tracker.wait_all(["r"])).ok

    assert client.log == ["enter", "r", "exit"]


def test_sync_opens_a_client_of_your_own_once() -> None:
    """
    The tracker opens it, so nobody else may.
    """
    client = _Openable()
    with sync.Tracker(client) as tracker:
        assert tracker.wait_all(["r"]).ok

    assert client.log == ["enter", "r", "exit"]
