"""The README's examples run as they stand, against the simulator."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from onehouse_tracker.testing import Kind, RunningSimulator, SimulatedProject, SimulatorServer

README = Path(__file__).parent.parent / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


def test_readme_has_examples() -> None:
    """
    If the pattern finds nothing, the test below tests nothing.
    """
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_readme_example_runs(number: int, tmp_path: Path) -> None:
    """
    What a new user pastes first must work as it stands.
    """
    kinds = [Kind(label=label, duration=0.1) for label in ("DESCRIBE", "RUN JOB", "SHOW")]
    server = SimulatorServer(SimulatedProject(kinds=kinds))

    with RunningSimulator(server) as simulator:
        script = tmp_path / "example.py"
        script.write_text(EXAMPLES[number])
        done = subprocess.run(
            [sys.executable, "-W", "error", script],
            env={**os.environ, "HOME": str(tmp_path), **simulator.environ},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    assert done.returncode == 0, done.stderr
    assert "SUCCEEDED" in done.stdout or "1 succeeded" in done.stdout
    assert done.stderr == ""
