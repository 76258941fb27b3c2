"""
What Airflow says of a Variable: that there is none, only if there is none.  And what it says in
``dags test`` of a connection that is stored.

A task that believed it of a record which could not be read would submit everything again.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import psutil
import pytest
from airflow import __version__ as airflow_version
from airflow import exceptions as of_all
from airflow import settings
from airflow.models import Connection
from airflow.models.base import Base
from airflow.models.variable import Variable as Row
from sqlalchemy import event, update

from onehouse_tracker.integrations.airflow import _airflow
from onehouse_tracker.integrations.airflow._airflow import (
    AIRFLOW_3,
    AirflowException,
    read_connection,
    read_variable,
    write_variable,
)

KEY = "onehouse_tracker_of_a_test_1"


@pytest.fixture(scope="module", autouse=True)
def database() -> Iterator[None]:
    """The table of Variables, and on Airflow 3 the API server in front of it."""
    with ExitStack() as stack:
        settings.initialize()
        known = Base.metadata.tables
        # Newer ones refer to a table of teams.
        tables = [known[name] for name in ("team", "variable", "connection") if name in known]
        Base.metadata.create_all(settings.engine, tables)
        stack.callback(Base.metadata.drop_all, settings.engine, tables)
        if AIRFLOW_3:
            stack.enter_context(_api_server())
        yield


@pytest.fixture(autouse=True)
def record() -> None:
    """A Variable of ours, and one whose key begins like it."""
    write_variable(KEY, "the record", "of a test")
    write_variable(f"{KEY}0", "another", "of a test")


@contextmanager
def _api_server() -> Iterator[None]:
    """What a task of ``airflow dags test`` talks to."""
    from airflow.sdk.execution_time import supervisor

    process = supervisor.InProcessTestSupervisor(
        id=UUID(int=1),
        pid=os.getpid(),
        process=psutil.Process(),
        process_log=SimpleNamespace(),
        client=supervisor.InProcessTestSupervisor._api_client(),
    )
    process.comms = supervisor.InProcessSupervisorComms(supervisor=process)
    with supervisor.set_supervisor_comms(process.comms):
        yield


@contextmanager
def _one_failed_read() -> Iterator[None]:
    """The database cannot be read once, and is back for what comes next."""
    failures = iter([sqlite3.OperationalError("database is locked")])

    def fail(*arguments: Any) -> None:
        if "FROM variable" in arguments[2]:
            for error in failures:
                raise error

    event.listen(settings.engine, "before_cursor_execute", fail)
    try:
        yield
    finally:
        event.remove(settings.engine, "before_cursor_execute", fail)
    assert next(failures, None) is None, "nothing was read"


def test_the_version_decides_and_not_where_a_name_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Names move between two minor versions: 3.1 has its exceptions where 2.11 had them.
    """
    if AIRFLOW_3:
        from airflow.sdk import exceptions as of_3

        name = "AirflowFailException"
        monkeypatch.setattr(of_all, name, _airflow.AirflowFailException, raising=False)
        monkeypatch.delattr(of_3, name, raising=False)
    spec = importlib.util.spec_from_file_location("imported_again", _airflow.__file__)
    assert spec is not None
    assert spec.loader is not None
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)

    assert airflow_version.startswith("3" if again.AIRFLOW_3 else "2")
    assert again.BaseHook is _airflow.BaseHook
    assert issubclass(again.AirflowFailException, again.AirflowException)


def test_what_was_written_is_read() -> None:
    """
    And of what was not written it is said that there is none, though other keys begin like it.
    """
    assert read_variable(KEY) == "the record"
    assert read_variable(KEY.removesuffix("_1")) is None
    assert read_variable("onehouse_tracker_of_no_test") is None


def test_a_failed_read_is_no_missing_record() -> None:
    """
    The API server answers 404 when its database could not be read.
    """
    with _one_failed_read():
        try:
            found = read_variable(KEY)
        except (AirflowException, sqlite3.OperationalError):
            found = "an error"

    assert found in {"an error", "the record"}
    assert read_variable(KEY) == "the record"


@pytest.mark.skipif(not AIRFLOW_3, reason="2.11 reads the database itself")
def test_without_a_list_of_keys_it_is_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Airflow 3.1 and 3.2 cannot confirm that there is none; a failure that passes is seen through.
    """
    from airflow.sdk.execution_time import comms

    monkeypatch.delattr(comms, "GetVariableKeys", raising=False)
    monkeypatch.setattr(_airflow, "_PAUSE", 0.0)

    with _one_failed_read():
        assert read_variable(KEY) == "the record"
    assert read_variable("onehouse_tracker_of_no_test") is None


@pytest.mark.skipif(
    airflow_version.startswith(("3.1.", "3.2.")), reason="nothing tells of the row there"
)
def test_what_cannot_be_decrypted_is_no_missing_record() -> None:
    """
    Whoever changes the Fernet key and forgets the old one must not have all submitted again.
    """
    with settings.engine.begin() as connection:
        connection.execute(
            update(Base.metadata.tables["variable"])
            .where(Row.key == KEY)
            .values(val="of another key", is_encrypted=True)
        )

    with pytest.raises(AirflowException, match=f"{KEY} exists, and could not be read"):
        read_variable(KEY)


def test_a_connection_that_is_stored_is_found_in_a_dags_test() -> None:
    """
    There, Airflow 3 cannot be awaited, and says of every connection that it is not defined.
    """
    with settings.Session() as session:
        session.add(Connection(conn_id="stored", conn_type="onehouse", host="https://a.example"))
        session.commit()

    found = asyncio.run(read_connection("stored"))

    assert found.host == "https://a.example"
    with pytest.raises(AirflowException, match="of_no_test"):
        asyncio.run(read_connection("of_no_test"))
