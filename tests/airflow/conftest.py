"""
What the tests with Airflow share: a home for Airflow, and a simulated project to follow.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from onehouse_tracker.testing.threaded import RunningSimulator
from tests.airflow.command import Airflow, new_home
from tests.airflow.simulation import Simulate, connection, simulated

# Airflow reads its settings when it is imported, so before any test is collected.
_HOME = tempfile.TemporaryDirectory(prefix="airflow-of-a-test-")
os.environ.update(
    AIRFLOW_HOME=_HOME.name,
    AIRFLOW__CORE__FERNET_KEY=base64.urlsafe_b64encode(
        b"key of the tests, of 32 letters."
    ).decode(),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(Path(_HOME.name, "dags")),
    AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS="False",
)


@pytest.fixture(scope="session")
def simulate() -> Simulate:
    """Run a simulator that lets in *limit* requests in any second."""
    return simulated


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of Airflow with an empty database."""
    return new_home(tmp_path_factory.mktemp("airflow") / "empty")


@pytest.fixture
def simulator(simulate: Simulate) -> Iterator[RunningSimulator]:
    """The server that the DAGs talk to."""
    with simulate() as simulator:
        yield simulator


@pytest.fixture
def airflow(empty_home: Path, tmp_path: Path, simulator: RunningSimulator) -> Airflow:
    """An installation of Airflow that is connected with the simulator."""
    airflow = Airflow(tmp_path / "home", copy_of=empty_home)
    airflow.connect(connection(simulator.url, tmp_path=tmp_path))
    return airflow
