"""
What the tests with the vendor's clients share: the simulator, and a way to run a program.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from onehouse_tracker.testing import Kind, SimulatedProject, SimulatorServer, make_enforcer

ROOT = Path(__file__).parents[2]

DURATION = 0.2  # seconds that a statement takes: the first poll finds it pending

KINDS = (
    Kind(label="SHOW", duration=DURATION, response={"showClustersApiResponse": {"clusters": []}}),
    Kind(label="RUN JOB", duration=DURATION),
    Kind(label="DESCRIBE", duration=DURATION),
    Kind(label="DELETE", duration=DURATION, failed=1.0),
    Kind(label="CREATE", duration=DURATION, invalid=1.0),
    Kind(label="ALTER", duration=DURATION, partial=1.0),
)
"""One kind of statement for each way to end."""

CREDENTIALS = {
    "account_uid": "account-of-a-test",
    "project_uid": "project-of-a-test",
    "api_key": "key-of-a-test",
    "api_secret": "secret-of-a-test",
    "link_uid": "link-of-a-test",
    "region": "us-west-2",
    "user_uid": "user-of-a-test",
}


@dataclass(frozen=True)
class Ran:
    """What became of a program."""

    code: int
    out: str
    err: str


Run = Callable[..., Awaitable[Ran]]


@pytest.fixture
def project() -> SimulatedProject:
    """A project whose statements end as their first word says, within its limit."""
    return SimulatedProject(enforcer=make_enforcer("sliding", 10), kinds=KINDS)


@pytest.fixture
async def server(project: SimulatedProject) -> AsyncIterator[SimulatorServer]:
    """The simulator on loopback."""
    expected = {"x-onehouse-api-key": CREDENTIALS["api_key"]}
    async with SimulatorServer(project, expected_headers=expected) as server:
        yield server


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a program of the vendor's environment while the simulator answers it."""

    async def run(*command: str | Path, environment: Mapping[str, str], stdin: str = "") -> Ran:
        program = ROOT / Path(command[0])
        if not program.exists():
            pytest.fail(f"{program} is missing: `make test-vendor` installs it")
        # Nothing of this machine's owner gets in: no profile file, no variables, no proxy.
        process = await asyncio.create_subprocess_exec(
            program,
            *command[1:],
            env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], **environment},
            cwd=tmp_path,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(60):
                out, err = await process.communicate(stdin.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

        return Ran(process.returncode or 0, out.decode(), err.decode())

    return run


@pytest.fixture
def environment(server: SimulatorServer) -> dict[str, str]:
    """The variables that the SDK and the command read, pointing to the simulator."""
    named = {f"ONEHOUSE_{name.upper()}": value for name, value in CREDENTIALS.items()}
    return {**named, "ONEHOUSE_BASE_URL": server.url}
