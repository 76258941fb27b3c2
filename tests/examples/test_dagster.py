"""
The Dagster asset: made when every statement succeeds, failed with the server's reason if not.
"""

from __future__ import annotations

from onehouse_tracker.testing import RunningSimulator
from tests.examples.conftest import EXAMPLES, Start


def test_the_asset_is_materialized(start: Start, onehouse_simulator: RunningSimulator) -> None:
    """
    Three statements are submitted once each, and followed to their end.
    """
    project = onehouse_simulator.project

    with start("dagster", EXAMPLES / "dagster_asset.py", DAGSTER_DISABLE_TELEMETRY="yes") as run:
        said, _ = run.communicate(timeout=100)

    assert run.returncode == 0, said
    assert "ASSET_MATERIALIZATION" in said
    submissions = [arrival for arrival in project.arrivals if arrival.kind == "submit"]
    assert len(submissions) == len(project.requests) == 3
    assert project.peak_in_any_second() <= 10
    assert all(request.final_replies == 1 for request in project.requests.values())
