"""
The Prefect flow: retried, and nothing submitted twice.
"""

from __future__ import annotations

from pathlib import Path

from onehouse_tracker.testing import FaultRule, RunningSimulator, faults
from tests.examples.conftest import EXAMPLES, Start


def test_a_retried_flow_submits_nothing_again(
    start: Start, onehouse_simulator: RunningSimulator, tmp_path: Path
) -> None:
    """
    The first wait is refused with 401, the flow run is retried, and the same three requests
    are followed to their end.
    """
    project = onehouse_simulator.project
    project.rules.append(FaultRule(fault=faults.unauthorized(), on="status"))
    variables = {
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # a busy machine
    }

    said = ""
    with start("prefect", EXAMPLES / "prefect_flow.py", **variables) as run:
        assert run.stdout is not None
        for line in run.stdout:
            said += line
            if "AuthenticationError" in line:
                project.rules.clear()  # the key is good again when the flow run is retried

    assert run.returncode == 0, said
    assert "AuthenticationError" in said
    submissions = [arrival for arrival in project.arrivals if arrival.kind == "submit"]
    assert len(submissions) == len(project.requests) == 3
    assert all(request.final_replies == 1 for request in project.requests.values())
