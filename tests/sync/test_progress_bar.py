"""
Progress of a blocking wait: a real notebook, a real terminal, and silence everywhere else.
"""

import asyncio
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from onehouse_tracker import sync
from onehouse_tracker.errors import ConfigError
from onehouse_tracker.models import ApiStatus
from onehouse_tracker.testing.faults import body
from onehouse_tracker.testing.server import SimulatorServer
from onehouse_tracker.testing.simulated_project import SimulatedProject
from onehouse_tracker.testing.source import SimulatedSource
from tests.cli.harness import environment

STILL_PENDING = body(b'{"apiStatus": "API_OPERATION_STATUS_PENDING", "apiResponse": {}}')
WAIT = "from onehouse_tracker import sync; results = sync.wait_all(['good', 'bad'], limit=1000"


@pytest.fixture
def project() -> SimulatedProject:
    """One request that ends well after a second look, and one that does not."""
    project = SimulatedProject()
    project.add("good", 0)
    project.script("good", [STILL_PENDING])
    project.add("bad", 0, ApiStatus.FAILED)
    return project


async def execute(variables: dict[str, str], *cells: str) -> list[nbformat.NotebookNode]:
    """Run *cells* in a kernel of their own; return the cells with their outputs."""
    v4: Any = nbformat.v4  # without types
    notebook = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells])
    client = NotebookClient(notebook, timeout=40, kernel_name="python3")
    await client.async_execute(env={**environment(variables), "PYTHONWARNINGS": ""})
    return list(notebook.cells)


@pytest.fixture
def _quiet_jupyter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")  # it warns about what it used to do


@pytest.mark.usefixtures("_quiet_jupyter")
@pytest.mark.filterwarnings("default")  # of Jupyter's own making
async def test_a_notebook_shows_progress_and_then_the_results(project: SimulatedProject) -> None:
    """
    In a kernel, whose event loop runs: one display that is updated in place and stays, and the
    results as a table where the cell ends with them.
    """
    async with SimulatorServer(project) as server:
        shown, silent = await execute(
            server.environment(),
            f"{WAIT})\nresults",
            f"{WAIT}, progress=False)",
        )

    progress, table = shown.outputs
    assert progress.output_type == "display_data"
    assert progress.data["text/plain"].startswith(
        "2/2  0 pending  1 ok  1 not ok (1 failed)  after "
    )
    assert '<progress value="2" max="2"></progress>' in progress.data["text/html"]
    assert "1 not ok (1 failed)</span>" in progress.data["text/html"]
    assert table.output_type == "execute_result"
    assert "FAILED" in table.data["text/html"]
    assert silent.outputs == []


@pytest.mark.usefixtures("_quiet_jupyter")
@pytest.mark.filterwarnings("default")
async def test_an_error_in_a_notebook_leaves_the_progress_as_it_was(
    project: SimulatedProject,
) -> None:
    """
    The display must not hide the error, nor go on after it.
    """
    expected = {"x-onehouse-api-key": "right"}
    async with SimulatorServer(project, expected_headers=expected) as server:
        wrong = {**server.environment(), "ONEHOUSE_API_KEY": "wrong"}
        with pytest.raises(CellExecutionError, match="AuthenticationError"):
            await execute(wrong, f"{WAIT})")


def on_terminal(variables: dict[str, str], program: str) -> str:
    """What *program* writes to a terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**environment(variables), "TERM": "xterm-256color", "COLUMNS": "100"},
    )
    os.close(slave)
    written = b""

    def chunks() -> Iterator[bytes]:
        while True:
            try:
                chunk = os.read(master, 65536)
            except OSError:  # Linux: the other side is closed
                return
            if not chunk:
                return
            yield chunk

    for chunk in chunks():
        written += chunk
    os.close(master)
    assert process.wait(30) == 0
    return written.decode()


@pytest.mark.parametrize("option", ["", ", progress=True"])
async def test_a_terminal_shows_it_when_asked(project: SimulatedProject, option: str) -> None:
    """
    A script's output belongs to the script, unless it says otherwise.
    """
    async with SimulatorServer(project) as server:
        written = await asyncio.to_thread(
            on_terminal, server.environment(), f"{WAIT}{option}); print('ok', results.ok)"
        )

    assert ("pending" in written) == bool(option)
    assert written.endswith("ok False\r\n")
    if option:  # erased, and the cursor is back
        assert written.rindex("\x1b[?25h") > written.rindex("pending")


def test_without_a_terminal_nothing_is_shown(
    capfd: pytest.CaptureFixture[str], project: SimulatedProject
) -> None:
    """
    A log file is no place for a display, even if somebody asked for one.
    """
    before = threading.active_count()
    with sync.Tracker(SimulatedSource(project)) as tracker:
        tracker.wait_all(["good", "bad"], progress=True)

    assert capfd.readouterr() == ("", "")
    assert threading.active_count() == before


def test_a_terminal_without_rich_is_told(
    monkeypatch: pytest.MonkeyPatch, project: SimulatedProject
) -> None:
    """
    Whoever asks for it learns what is missing, before anything is polled.
    """
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with (
        sync.Tracker(SimulatedSource(project)) as tracker,
        pytest.raises(ConfigError, match=r"onehouse-tracker\[cli\]"),
    ):
        tracker.wait_all(["good"], progress=True)

    assert project.arrived == 0
