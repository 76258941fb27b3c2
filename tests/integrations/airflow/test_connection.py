"""
From a connection to a project: what is read, what is refused, what is never shown.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from onehouse_tracker import Credentials, Request
from onehouse_tracker.errors import ConfigError
from onehouse_tracker.history import History
from onehouse_tracker.integrations.airflow._connection import Project
from onehouse_tracker.integrations.airflow.provider import get_provider_info
from onehouse_tracker.limiters import HostLimiter, LocalLimiter, RedisLimiter
from onehouse_tracker.testing import RunningSimulator, SimulatedProject, SimulatorServer

EXTRA = {
    "account_uid": "account",
    "project_uid": "project",
    "api_key": "key",
    "api_secret": "marked-secret",
    "link_uid": "link",
    "region": "US-West-2",
    "user_id": "user",
}


@dataclass
class FakeConnection:
    """A connection as Airflow hands it over."""

    host: str | None = "https://api.example"
    port: int | None = None
    schema: str | None = None
    extra_dejson: Mapping[str, Any] = field(default_factory=lambda: dict(EXTRA))


def _project(**extra: Any) -> Project:
    return Project.from_connection(FakeConnection(extra_dejson={**EXTRA, **extra}))


def test_the_connection_of_the_vendors_provider_is_enough() -> None:
    """
    Its users change nothing but the import.
    """
    credentials = _project().credentials

    assert credentials.base_url == "https://api.example"
    assert credentials.region == "us-west-2"
    assert credentials.headers() == {
        "x-onehouse-account-uid": "account",
        "x-onehouse-project-uid": "project",
        "x-onehouse-api-key": "key",
        "x-onehouse-api-secret": "marked-secret",
        "x-onehouse-link-uid": "link",
        "x-onehouse-region": "us-west-2",
        "x-onehouse-uuid": "user",
    }


@pytest.mark.parametrize(
    ("host", "port", "schema", "url"),
    [
        (None, None, None, "https://api.onehouse.ai"),
        ("", None, None, "https://api.onehouse.ai"),
        ("api.example", None, None, "https://api.example"),
        ("http://127.0.0.1:8080", None, None, "http://127.0.0.1:8080"),
        ("127.0.0.1", 8080, "http", "http://127.0.0.1:8080"),
        ("api.example", 8443, None, "https://api.example:8443"),
    ],
)
def test_the_host_may_be_written_in_several_ways(
    host: str | None, port: int | None, schema: str | None, url: str
) -> None:
    """
    A connection that is written as a URI has its scheme and its port in fields of their own.
    """
    project = Project.from_connection(FakeConnection(host, port, schema))

    assert project.credentials.base_url == url


def test_what_is_missing_is_named_as_the_connection_names_it() -> None:
    """
    All at once, or the user mends the connection four times.
    """
    extra = {"project_uid": "", "region": "us-west-2", "api_key": "k"}

    with pytest.raises(ConfigError, match="lacks project_uid, user_id, api_secret") as caught:
        Project.from_connection(FakeConnection(extra_dejson=extra))

    assert "RequestID" in str(caught.value)


def test_a_token_replaces_the_key_pair() -> None:
    """
    The server refuses a call that carries both.
    """
    extra = {**EXTRA, "bearer_token": "t"}
    del extra["api_key"], extra["api_secret"]

    project = Project.from_connection(FakeConnection(extra_dejson=extra))

    assert project.credentials.headers()["Authorization"] == "Bearer t"


def test_the_budget_is_shared_on_the_machine_by_default() -> None:
    """
    Airflow runs workers and triggerers side by side: a limiter for each would spend the budget
    many times.
    """
    assert isinstance(_project().make_limiter(), HostLimiter)
    assert isinstance(_project(limiter="local").make_limiter(), LocalLimiter)
    assert isinstance(_project(limiter="redis://:pw@redis.example/0").make_limiter(), RedisLimiter)


def test_numbers_may_be_text() -> None:
    """
    The form of the connection knows text only, and stores an empty one for nothing.
    """
    project = _project(limit="20", share="0.5", patience=900, processes="3", limiter="")

    assert (project.limit, project.share, project.patience) == (20, 0.5, 900)
    assert project.processes == 3
    assert _project(limit="").limit == 10
    assert project.make_limiter().limit == 10
    assert project.make_policy().patience == 900


@pytest.mark.parametrize(
    "extra",
    [
        {"limit": "ten"},
        {"limit": 0},
        {"share": 2},
        {"patience": -1},
        {"limiter": "file"},
        {"processes": [1]},
        {"history": "history.db"},
        {"history": True},
    ],
    ids=str,
)
def test_a_value_that_makes_no_sense_is_refused_with_the_connection(
    extra: Mapping[str, Any],
) -> None:
    """
    Not by the first task that comes to use it.
    """
    with pytest.raises(ConfigError):
        _project(**extra)


def test_a_history_is_kept_where_the_connection_names_a_file(tmp_path: Path) -> None:
    """
    By default there is none: what is on the disk of a container is gone with it.
    """
    assert _project().make_history() is None
    history = _project(history=str(tmp_path / "history.db")).make_history()
    assert history is not None
    assert history.path == tmp_path / "history.db"


@pytest.mark.parametrize("blocking", [True, False])
def test_what_triggerers_and_workers_see_is_remembered(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    blocking: bool,  # noqa: FBT001 - a parameter
) -> None:
    """
    Also where the tracker is shared: it is closed, and writes, after its last user.
    """
    monkeypatch.setattr(Credentials, "is_on_loopback", False)
    path = tmp_path / "history.db"
    with RunningSimulator(SimulatorServer(simulated := SimulatedProject())) as simulator:
        simulated.add("r", 0.7)
        connection = FakeConnection(
            host=simulator.environ["ONEHOUSE_BASE_URL"],
            extra_dejson={**EXTRA, "limiter": "local", "history": str(path)},
        )
        project = Project.from_connection(connection)
        request = Request("r", label="INSERT INTO", submitted_at=datetime.now(UTC))

        async def wait() -> bool:
            async with project.tracker() as tracker:
                return (await tracker.wait_all([request])).ok

        if blocking:
            with project.blocking_tracker() as tracker:
                assert tracker.wait_all([request]).ok
        else:
            assert asyncio.run(wait())

    [known] = History(path).remembered()
    assert (known.kind, known.name, known.runs) == ("label", "INSERT INTO", 1)
    assert known.project == project.credentials.project_key


def test_secrets_are_not_shown() -> None:
    """
    A project is a key of a dictionary, and ends in tracebacks.
    """
    project = _project(limiter="redis://:marked-password@redis.example/0")

    assert "marked" not in repr(project)


def test_equal_connections_are_equal_projects() -> None:
    """
    So that two connections to one project share one tracker.
    """
    assert _project() == _project()
    assert hash(_project()) == hash(_project())
    assert _project() != _project(api_key="another")
    assert _project() != _project(limit=5)
    assert _project() != _project(history="/var/lib/onehouse/history.db")


def test_airflow_is_told_what_there_is() -> None:
    """
    Airflow reads it from every process it starts, so it must not import Airflow's parts.
    """
    info = get_provider_info()

    assert info["package-name"] == "onehouse-tracker"
    assert info["connection-types"][0]["connection-type"] == "onehouse"
    assert [module for part in info["operators"] for module in part["python-modules"]] == [
        "onehouse_tracker.integrations.airflow.operators",
        "onehouse_tracker.integrations.airflow.jobs",
    ]


def test_the_form_has_a_field_for_each_key_of_the_extra_field() -> None:
    """
    Airflow 3.2 and later build the form from this; secrets are not shown while they are typed.
    """
    [described] = get_provider_info()["connection-types"]
    fields = described["conn-fields"]

    settings = {"limiter", "limit", "share", "processes", "patience", "history", "min_deferral"}
    assert set(fields) == {*EXTRA, "bearer_token", *settings}
    secret = {name for name, of in fields.items() if of["schema"].get("format") == "password"}
    assert secret == {"api_key", "api_secret", "bearer_token"}
    assert all(of["label"] for of in fields.values())
    assert set(described["ui-field-behaviour"]) == {"hidden-fields", "relabeling", "placeholders"}
    # An untouched field is stored as null, or as an empty string.
    for untouched in (None, ""):
        assert _project(**dict.fromkeys(settings, untouched)) == _project()


@pytest.mark.parametrize(
    ("value", "seconds"), [(None, None), ("", None), ("0", 0.0), (12, 12.0), ("2.5", 2.5)]
)
def test_how_short_a_deferral_may_be(value: object, seconds: float | None) -> None:
    """
    Without a word of the user, the version of Airflow decides; who changes it keeps the tracker.
    """
    assert _project(min_deferral=value).min_deferral == seconds
    assert _project(min_deferral=value) == _project()


@pytest.mark.parametrize("value", ["-1", "nan", 51, "soon"])
def test_a_deferral_that_never_ends_is_refused(value: object) -> None:
    """
    Airflow ends a trigger a minute after its deadline: it must have fired by then.
    """
    with pytest.raises(ConfigError, match="min_deferral"):
        _project(min_deferral=value)
