"""
The hook: the connection as Airflow hands it over, tested and shown.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers_manager import ProvidersManager

from onehouse_tracker.errors import ConfigError
from onehouse_tracker.integrations.airflow.hook import OnehouseHook
from onehouse_tracker.models import Outcome
from tests.airflow.simulation import EXTRA, Simulate, connection


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the connection `onehouse_default`."""

    def connect(described: dict[str, Any]) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_ONEHOUSE_DEFAULT", json.dumps(described))

    return connect


def test_it_makes_a_tracker_that_blocks(simulate: Simulate, connect: Any, tmp_path: Path) -> None:
    """
    For a task of one's own, such as a Python callable.
    """
    with simulate() as simulator:
        connect(connection(simulator.url, tmp_path=tmp_path))
        with OnehouseHook().get_conn() as tracker:
            result = tracker.submit("SHOW CLUSTERS").result()

    assert result.outcome is Outcome.SUCCEEDED


async def test_it_makes_a_tracker_for_a_loop(
    simulate: Simulate, connect: Any, tmp_path: Path
) -> None:
    """
    For a task that runs an event loop, and for a trigger of one's own.
    """
    with simulate() as simulator:
        simulator.project.add("a", 0)
        connect(connection(simulator.url, tmp_path=tmp_path))
        project = await OnehouseHook().read_project()
        async with project.tracker() as tracker:
            results = await tracker.wait_all(["a"])
        async with OnehouseHook().tracker() as tracker:
            again = await tracker.wait_all(["a"])

    assert results.ok
    assert again.ok


@pytest.mark.parametrize(
    ("extra", "works", "message"),
    [
        ({}, True, "accepts these credentials"),
        ({"api_key": "wrong"}, False, "refuses these credentials"),
        ({"region": ""}, False, "lacks region"),
    ],
    ids=["good", "wrong", "incomplete"],
)
def test_a_connection_can_be_tested(
    simulate: Simulate,
    connect: Any,
    tmp_path: Path,
    extra: dict[str, Any],
    works: bool,  # noqa: FBT001 - a parameter of a test
    message: str,
) -> None:
    """
    It asks about a request that does not exist: the server's answer tells whether it knows us.
    """
    with simulate() as simulator:
        connect(connection(simulator.url, tmp_path=tmp_path, **extra))
        tested, told = OnehouseHook().test_connection()

    assert tested is works
    assert message in told
    assert EXTRA["api_secret"] not in told
    assert {one.kind for one in simulator.project.arrivals} <= {"status"}


def test_a_server_that_is_away_is_told(connect: Any, tmp_path: Path) -> None:
    """
    Most often the address is wrong.
    """
    connect(connection("http://127.0.0.1:1", tmp_path=tmp_path))

    tested, told = OnehouseHook().test_connection()

    assert not tested
    assert told


def test_what_is_missing_is_an_error_that_names_it(connect: Any) -> None:
    """
    In the words of the connection, and not of some header.
    """
    connect({"conn_type": "onehouse", "extra": "{}"})

    with pytest.raises(ConfigError, match="project_uid, region, user_id, api_key, api_secret"):
        OnehouseHook().project()


def test_the_form_shows_what_is_needed() -> None:
    """
    Each key of the extra field has a field of its own, and secrets are not shown: Airflow's own
    list of forms says so, from whichever place this version reads it.
    """
    manager = ProvidersManager()
    prefix = "extra__onehouse__"
    fields = {
        name.removeprefix(prefix): of
        for name, of in manager.connection_form_widgets.items()
        if name.startswith(prefix)
    }
    behavior = manager.field_behaviours["onehouse"]

    assert {*EXTRA, "limiter", "limit", "min_deferral"} <= set(fields)
    assert {name for name, of in fields.items() if of.is_sensitive} == {
        "api_key",
        "api_secret",
        "bearer_token",
    }
    assert "password" in behavior["hidden_fields"]
    assert behavior["relabeling"] == {"host": "API address"}
