"""
The hook of the vendor's Airflow provider, unchanged, against the simulator.
"""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from onehouse_tracker import ApiStatus
from onehouse_tracker.testing import SimulatedProject, SimulatorServer
from tests.vendor.conftest import CREDENTIALS, Run

PROGRAM = Path(__file__).parent / "clients" / "airflow_hook.py"

Hook = Callable[..., Awaitable[list[dict[str, Any]]]]


@pytest.fixture
def hook(run: Run, server: SimulatorServer, tmp_path: Path) -> Hook:
    """Make calls with the hook, in order, and return its answers."""
    extra = {"user_id" if name == "user_uid" else name: it for name, it in CREDENTIALS.items()}
    del extra["account_uid"]  # the provider has no place for it
    connection = {"conn_type": "generic", "host": server.url, "extra": extra}

    async def hook(*calls: tuple[str, str]) -> list[dict[str, Any]]:
        answers = tmp_path / "answers"
        ran = await run(
            ".venv-vendor-airflow/bin/python",
            PROGRAM,
            answers,
            environment={
                "AIRFLOW_HOME": str(tmp_path),
                "AIRFLOW_CONN_ONEHOUSE_DEFAULT": json.dumps(connection),
            },
            stdin=json.dumps(calls),
        )
        assert ran.code == 0, ran.err
        return [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]

    return hook


async def test_it_submits_and_waits_without_an_account(
    hook: Hook, server: SimulatorServer, project: SimulatedProject
) -> None:
    """
    The provider omits account-uid and works, so the simulator must not ask for it.
    """
    [submitted] = await hook(("submit", "RUN JOB nightly"))

    [reply] = await hook(("wait", submitted["request_id"]))

    assert "x-onehouse-account-uid" not in server.seen[-1].headers
    assert reply["status"] == ApiStatus.SUCCESS
    assert reply["response"]["runJobApiResponse"]["jobRunId"]


@pytest.mark.parametrize("status", [ApiStatus.FAILED, ApiStatus.INVALID])
async def test_a_request_that_fails_raises_with_its_status(
    hook: Hook, project: SimulatedProject, status: ApiStatus
) -> None:
    """
    What is no success ends the hook's waiting at once.
    """
    project.add("r", 0.1, status)

    [reply] = await hook(("wait", "r"))

    assert reply["error"] == "AirflowException"
    assert status in reply["text"]


async def test_every_status_arrives_as_it_was_sent(hook: Hook, project: SimulatedProject) -> None:
    """
    The provider knows no SUCCESS_PARTIAL and would wait on; the status itself it passes on.
    """
    for status in ApiStatus:
        project.add(status, 3600 if status is ApiStatus.PENDING else 0, status)

    replies = await hook(*(("status", status) for status in ApiStatus))

    assert [reply["status"] for reply in replies] == list(ApiStatus)


async def test_a_parse_error_gives_its_reason(hook: Hook) -> None:
    """
    The provider prints the grpc-message header as it came.
    """
    [reply] = await hook(("submit", "SHOW SYNTAX ERROR"))

    assert "Status Code: 400" in reply["text"]
    assert "syntax" in reply["text"]
