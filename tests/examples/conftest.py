"""
What the tests of the examples share: the simulator, and processes of an environment of their own.

The examples are run as they stand, by the Python of ``.venv-example-NAME``, which `make` builds.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from onehouse_tracker.testing import RunningSimulator, SimulatedProject, SimulatorServer

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

Start = Callable[..., AbstractContextManager["subprocess.Popen[str]"]]


def python_of(name: str) -> Path:
    """The Python that has what the example needs."""
    return ROOT / f".venv-example-{name}" / "bin" / "python"


@pytest.fixture
def onehouse_simulator() -> Iterator[RunningSimulator]:
    """A simulator whose statements take a hundredth of the usual time."""
    with RunningSimulator(SimulatorServer(SimulatedProject(speed=100.0))) as simulator:
        yield simulator


@pytest.fixture
def start(onehouse_simulator: RunningSimulator, tmp_path: Path) -> Start:
    """Start ``python *arguments`` beside the examples, led to the simulator; ended in any case."""

    @contextmanager
    def start(
        name: str, *arguments: str | Path, **variables: str
    ) -> Iterator[subprocess.Popen[str]]:
        kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
        environment = {
            **kept,
            "HOME": str(tmp_path),
            "TMPDIR": str(tmp_path),
            "PYTHONPATH": str(EXAMPLES),
            "PYTHONUNBUFFERED": "1",
            **onehouse_simulator.environ,
            **variables,
        }
        process = subprocess.Popen(
            [python_of(name), *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.terminate()
                    try:
                        process.wait(10)
                    except subprocess.TimeoutExpired:
                        process.kill()

    return start
