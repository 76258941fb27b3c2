"""
A Redis for the tests of the limiter that shares through it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.limiters.redis_server import SERVER, RedisServer


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """
    One server for all tests that leave it running.
    """
    if SERVER is None:
        pytest.skip("no redis-server here, and none in a wheel: apt-get install redis-server")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """
    A running server that knows nothing.
    """
    with shared_redis.client() as client:
        client.flushall()
    return shared_redis


@pytest.fixture
def doomed_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """
    A server of the test's own, not started yet.
    """
    if SERVER is None:
        pytest.skip("no redis-server here, and none in a wheel: apt-get install redis-server")
    server = RedisServer(tmp_path)
    yield server
    server.kill()
