"""
The Celery task: processes that forked, one budget.
"""

from __future__ import annotations

import json
from pathlib import Path

from onehouse_tracker.testing import RunningSimulator
from tests.examples.conftest import Start
from tests.support import FAILED, SUCCESS


def test_two_worker_processes_share_the_budget(
    start: Start, onehouse_simulator: RunningSimulator, tmp_path: Path
) -> None:
    """
    Sixty requests in six tasks: every outcome is right, and the server never sees more than
    ten polls in a second from both processes together.
    """
    project = onehouse_simulator.project
    ids = [f"r{number}" for number in range(60)]
    for number, name in enumerate(ids):
        project.add(name, 1.0, FAILED if number % 7 == 0 else SUCCESS)
    program = Path(__file__).with_name("celery_worker.py")

    with start("celery", program, str(tmp_path), *ids) as process:
        said, _ = process.communicate(timeout=90)

    outcomes = json.loads(said.splitlines()[-1])["outcomes"]
    assert outcomes == {
        name: "FAILED" if number % 7 == 0 else "SUCCEEDED" for number, name in enumerate(ids)
    }
    assert project.refused == 0
    assert project.peak_in_any_second() <= 10
