"""
What the tests with Airflow share: a home for Airflow, and a simulated project to follow.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.airflow.simulation import Simulate, simulated

# Airflow reads its settings when it is imported, so before any test is collected.
_HOME = tempfile.TemporaryDirectory(prefix="airflow-of-a-test-")
os.environ.update(
    AIRFLOW_HOME=_HOME.name,
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(Path(_HOME.name, "dags")),
    AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS="False",
)


@pytest.fixture
def simulate() -> Simulate:
    """Run a simulator that lets in *limit* requests in any second."""
    return simulated
