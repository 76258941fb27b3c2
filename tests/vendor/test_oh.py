"""
The vendor's command ``oh``, unchanged, against the simulator.
"""

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from onehouse_tracker import ApiStatus
from onehouse_tracker.testing import SimulatedProject, SimulatorServer
from tests.vendor.conftest import CREDENTIALS, Ran, Run

Oh = Callable[..., Awaitable[Ran]]

JSON_KEYS = {"region": "project_region", "user_uid": "user_id", "link_uid": "request_id"}
"""Where the command's own file names a field differently from the environment."""


@pytest.fixture
def oh(run: Run, server: SimulatorServer, tmp_path: Path) -> Oh:
    """Run the command, configured by the file that it writes itself."""
    profile = {JSON_KEYS.get(name, name): value for name, value in CREDENTIALS.items()}
    credentials = tmp_path / "credentials"
    credentials.write_text(
        json.dumps({"_default": "test", "test": {**profile, "api_endpoint": server.url}}),
        encoding="utf-8",
    )
    credentials.chmod(0o600)

    async def oh(*arguments: str) -> Ran:
        return await run(
            ".venv-vendor/bin/oh",
            *arguments,
            environment={
                "ONEHOUSE_CREDENTIALS_FILE": str(credentials),
                "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
            },
        )

    return oh


@pytest.mark.parametrize("statement", ["SHOW CLUSTERS", "ALTER LAKE a"])
async def test_a_statement_that_succeeds_prints_its_response(
    oh: Oh, project: SimulatedProject, statement: str
) -> None:
    """
    SUCCESS and SUCCESS_PARTIAL both end well for the command.
    """
    ran = await oh("--output", "json", "sql", "exec", "--command", statement)

    [request] = project.requests.values()
    assert ran.code == 0, ran.err
    assert json.loads(ran.out) == dict(request.response)


@pytest.mark.parametrize("statement", ["DELETE LAKE a", "CREATE LAKE a"])
async def test_a_statement_that_fails_exits_with_an_error(
    oh: Oh, project: SimulatedProject, statement: str
) -> None:
    """
    FAILED and INVALID name the request, so that somebody can look it up.
    """
    ran = await oh("sql", "exec", "--command", statement)

    [request_id] = project.requests
    assert ran.code == 1
    assert request_id in ran.err


async def test_submit_and_status_work_apart(oh: Oh, project: SimulatedProject) -> None:
    """
    ``--async-mode`` prints the ID that ``sql status`` takes.
    """
    submitted = await oh("sql", "exec", "--async-mode", "--command", "RUN JOB nightly")
    assert submitted.code == 0, submitted.err
    [request] = project.requests.values()
    assert submitted.out.split()[-1] == request.request_id
    request.duration = 0  # it ends now

    asked = await oh("sql", "status", request.request_id)

    assert asked.code == 0, asked.err
    assert ApiStatus.SUCCESS in asked.out


@pytest.mark.parametrize("status", list(ApiStatus))
async def test_every_status_is_understood(
    oh: Oh, project: SimulatedProject, status: ApiStatus
) -> None:
    """
    The five words of the service, and no other, come out as they went in.
    """
    project.add("r", 3600 if status is ApiStatus.PENDING else 0, status)

    ran = await oh("sql", "status", "r")

    assert ran.code == 0, ran.err
    assert re.findall(r"API_OPERATION_STATUS_\w+", ran.out) == [status]


async def test_a_resource_command_runs_its_statement(oh: Oh, project: SimulatedProject) -> None:
    """
    Its own commands build SQL that the simulator must take.
    """
    ran = await oh("job", "run", "nightly")

    [request] = project.requests.values()
    assert ran.code == 0, ran.err
    assert request.label == "RUN JOB"
