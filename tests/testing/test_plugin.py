"""The pytest plugin, used as users use it."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from onehouse_tracker.testing import RunningSimulator, SimulatorServer

HEADERS = {
    "x-onehouse-project-uid": "p",
    "x-onehouse-api-key": "k",
    "x-onehouse-api-secret": "s",
    "x-onehouse-uuid": "u",
}

USERS_TEST = """
import asyncio

from onehouse_tracker import OnehouseClient


def test_time_flies(virtual_time):
    async def scenario():
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert virtual_time(scenario()) == 3600


def test_a_status_is_read(onehouse_simulator, monkeypatch):
    for name, value in onehouse_simulator.environ.items():
        monkeypatch.setenv(name, value)
    onehouse_simulator.project.add("a", duration=0)

    async def scenario():
        async with OnehouseClient.from_env() as client:
            return await client.fetch("a")

    assert asyncio.run(scenario()).status == "API_OPERATION_STATUS_SUCCESS"
"""


def test_the_fixtures_are_there_for_every_user(tmp_path: Path) -> None:
    """
    Installing the package must be enough: no import, no conftest.
    """
    (tmp_path / "test_users.py").write_text(USERS_TEST)

    done = subprocess.run(
        # Without the plugin of our own tests: users need none for these fixtures.
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:asyncio"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_the_plugin_loads_nothing_heavy() -> None:
    """
    It is imported in every run of everybody who has the package installed.
    """
    program = (
        "import sys, onehouse_tracker.testing.plugin\n"
        "print([name for name in ('aiohttp', 'pydantic', 'asyncio') if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() in ("[]", "['asyncio']")  # pytest itself may bring asyncio


def test_the_faults_need_no_import_of_their_own() -> None:
    """
    ``testing.faults`` must be there in a process that has loaded nothing else.
    """
    program = "from onehouse_tracker import testing; print(testing.faults.reset().kind)"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() == "reset"


def test_the_simulator_serves_code_without_a_loop(onehouse_simulator: RunningSimulator) -> None:
    """
    Scripts block; the server must answer them from elsewhere.
    """
    onehouse_simulator.project.add("a", 0)
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{onehouse_simulator.url}/v1/status/a", headers=HEADERS
    )

    with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310 - loopback
        assert response.status == 200

    assert repr(onehouse_simulator).startswith("<RunningSimulator: <SimulatorServer 127.0.0.1:")
    assert onehouse_simulator.environ["ONEHOUSE_BASE_URL"] == onehouse_simulator.url


def test_a_simulator_that_cannot_start_says_so_to_whoever_wants_it(
    onehouse_simulator: RunningSimulator,
) -> None:
    """
    An error in the thread alone would leave the test waiting.
    """
    taken = SimulatorServer(port=onehouse_simulator.server.port)

    with pytest.raises(OSError, match="in use"), RunningSimulator(taken):
        raise AssertionError("it started")


def test_a_simulator_that_has_stopped_answers_no_more() -> None:
    """
    No thread and no port may outlive its test.
    """
    with RunningSimulator() as simulator:
        url = simulator.url

    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url, timeout=5)  # noqa: S310 - loopback
    assert not simulator._thread.is_alive()


def test_the_kit_offers_what_it_names() -> None:
    """
    Its names are loaded on demand, so a misspelt one would show only at its first use.
    """
    from onehouse_tracker import testing  # noqa: PLC0415 - what is tested

    for name in testing.__all__:
        assert getattr(testing, name) is not None
        assert name in dir(testing)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = testing.nonsense  # type: ignore[attr-defined]
