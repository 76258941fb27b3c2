"""
Numbers in settings: what only looks like one is refused at once, by the name of the setting.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from onehouse_tracker import ConfigError, Credentials, PollPolicy, Tracker
from onehouse_tracker.limiters import HostLimiter, LocalLimiter, RedisLimiter
from onehouse_tracker.onehouse.client import OnehouseClient

CREDENTIALS = Credentials(
    base_url="http://127.0.0.1:1",
    project_uid="p",
    account_uid="a",
    link_uid="l",
    region="r",
    user_uid="u",
    api_key="key-of-a-test",
    api_secret="secret-of-a-test",
)


def _redis(**settings: Any) -> RedisLimiter:
    return RedisLimiter("redis://127.0.0.1", project="p", **settings)


def _host(**settings: Any) -> HostLimiter:
    return HostLimiter(path="not-opened", **settings)


def _client(**settings: Any) -> OnehouseClient:
    return OnehouseClient(CREDENTIALS, **settings)


@pytest.mark.parametrize("value", ["10", None, True, math.nan, math.inf, -1, 0, 10**400])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (LocalLimiter, "limit"),
        (LocalLimiter, "share"),
        (LocalLimiter, "max_pause"),
        (_host, "limit"),
        (_redis, "share"),
        (_redis, "processes"),
        (_redis, "socket_timeout"),
        (_client, "connect_timeout"),
        (_client, "request_timeout"),
        (_client, "max_body"),
        (_client, "ready_connections"),
    ],
)
def test_what_is_no_number_is_refused_by_name(
    make: Callable[..., object], name: str, value: object
) -> None:
    """
    A text from a file of settings must not come back as a TypeError from somewhere inside.
    """
    with pytest.raises(ConfigError, match=name):
        make(**{name: value})


@pytest.mark.parametrize(
    ("make", "name"),
    [(_redis, "processes"), (_client, "max_connections"), (_client, "ready_connections")],
)
def test_a_count_is_whole(make: Callable[..., object], name: str) -> None:
    """
    Two and a half processes share nothing.
    """
    with pytest.raises(ConfigError, match=f"{name} is a whole number"):
        make(**{name: 2.5})


@pytest.mark.parametrize("value", ["0.001", None, True, math.nan, 0.1])
def test_catching_up_is_short(value: object) -> None:
    """
    Nothing is the default here.
    """
    with pytest.raises(ConfigError, match="catch_up"):
        LocalLimiter(catch_up=value)  # type: ignore[arg-type] # that is the point
    assert LocalLimiter(catch_up=0).limit == 10


@pytest.mark.parametrize(
    ("settings", "connections"),
    [
        ({}, 320),
        ({"limit": 50.0}, 1520),
        ({"limit": 50.0, "max_connections": 40}, 40),
        ({"limit": 50.0, "policy": PollPolicy(max_in_flight=7)}, 320),
        ({"limit": 1e308}, 10**9 + 20),
    ],
)
async def test_as_many_connections_as_polls(settings: dict[str, Any], connections: int) -> None:
    """
    A poll that finds no connection counts as failed, and its part of the budget is lost.
    """
    environ = {
        "ONEHOUSE_BASE_URL": "http://127.0.0.1:1",
        "ONEHOUSE_PROJECT_UID": "p",
        "ONEHOUSE_ACCOUNT_UID": "a",
        "ONEHOUSE_LINK_UID": "l",
        "ONEHOUSE_REGION": "r",
        "ONEHOUSE_USER_UID": "u",
        "ONEHOUSE_API_KEY": "key-of-a-test",
        "ONEHOUSE_API_SECRET": "secret-of-a-test",
    }

    async with Tracker.from_env(environ=environ, **settings) as tracker:
        client = tracker._session._source
        assert isinstance(client, OnehouseClient)
        assert client._session is not None
        assert client._session.connector is not None
        assert client._session.connector.limit == connections
