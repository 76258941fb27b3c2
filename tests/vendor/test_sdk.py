"""
The vendor's SDK, unchanged, against the simulator: what it understands, ours must say.
"""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from onehouse_tracker import ApiStatus
from onehouse_tracker.testing import SimulatedProject, SimulatorServer
from onehouse_tracker.testing.faults import throttled
from tests.vendor.conftest import CREDENTIALS, Run

PROGRAM = Path(__file__).parent / "clients" / "sdk.py"

Sdk = Callable[..., Awaitable[list[dict[str, Any]]]]


@pytest.fixture
def sdk(run: Run, environment: dict[str, str]) -> Sdk:
    """Make calls with the SDK, in order, and return its answers."""

    async def sdk(*calls: tuple[str, str], **changes: str) -> list[dict[str, Any]]:
        ran = await run(
            ".venv-vendor/bin/python",
            PROGRAM,
            environment={**environment, **changes},
            stdin=json.dumps(calls),
        )
        assert ran.code == 0, ran.err
        return [json.loads(line) for line in ran.out.splitlines()]

    return sdk


@pytest.mark.parametrize(
    ("statement", "status", "partial"),
    [
        ("SHOW CLUSTERS", ApiStatus.SUCCESS, False),
        ("ALTER LAKE a", ApiStatus.SUCCESS_PARTIAL, True),
    ],
)
async def test_a_statement_that_succeeds_is_returned(
    sdk: Sdk, project: SimulatedProject, statement: str, status: ApiStatus, *, partial: bool
) -> None:
    """
    The SDK submits, asks until the status is terminal, and hands the response over.
    """
    [reply] = await sdk(("execute", statement))

    [request] = project.requests.values()
    assert reply == {
        "request_id": request.request_id,
        "status": status,
        "terminal": True,
        "partial": partial,
        "response": dict(request.response),
    }
    assert project.arrivals[0].kind == "submit"
    assert {"pending", "final"} <= {arrival.verdict for arrival in project.arrivals}


@pytest.mark.parametrize(
    ("statement", "status"),
    [("DELETE LAKE a", ApiStatus.FAILED), ("CREATE LAKE a", ApiStatus.INVALID)],
)
async def test_a_statement_that_fails_raises_with_its_status(
    sdk: Sdk, project: SimulatedProject, statement: str, status: ApiStatus
) -> None:
    """
    FAILED and INVALID end the SDK's waiting as failures, not as time-outs.
    """
    [reply] = await sdk(("execute", statement))

    [request_id] = project.requests
    assert reply["error"] == "OperationFailedError"
    assert (reply["request_id"], reply["status"]) == (request_id, status)


async def test_submit_and_status_work_apart(sdk: Sdk, project: SimulatedProject) -> None:
    """
    Statements are often submitted by one process and followed by another.
    """
    [submitted] = await sdk(("submit", "RUN JOB nightly"))
    project.requests[submitted["request_id"]].duration = 0  # it ends now
    project.add("long", 3600)

    done, pending = await sdk(("status", submitted["request_id"]), ("status", "long"))

    assert (done["status"], done["terminal"]) == (ApiStatus.SUCCESS, True)
    assert done["response"]["runJobApiResponse"]["jobRunId"]
    assert (pending["status"], pending["terminal"]) == (ApiStatus.PENDING, False)


async def test_a_parse_error_gives_its_reason(sdk: Sdk) -> None:
    """
    The reason of a 400 is percent-encoded in a header, and the body is empty.
    """
    [reply] = await sdk(("submit", "SHOW SYNTAX ERROR"))

    assert reply["error"] == "SqlParseError"
    assert reply["text"].startswith("syntax error at position 5")


async def test_an_unknown_request_is_refused(sdk: Sdk) -> None:
    """
    The SDK has no error of its own for a 404, but it must see one.
    """
    [reply] = await sdk(("status", "never-submitted"))

    assert reply["error"] == "ResourcesError"
    assert "404" in reply["text"]


async def test_refused_credentials_are_an_authentication_error(
    sdk: Sdk, server: SimulatorServer, project: SimulatedProject
) -> None:
    """
    The simulator knows one key; another one must look like a revoked key looks.
    """
    [reply] = await sdk(("submit", "SHOW CLUSTERS"), ONEHOUSE_API_KEY="another key")

    assert reply["error"] == "AuthError"
    assert project.requests == {}


async def test_a_refusal_for_the_rate_is_obeyed(sdk: Sdk, project: SimulatedProject) -> None:
    """
    The SDK reads Retry-After as seconds and asks again after that time.
    """
    project.script_next([throttled(0.1)])

    [reply] = await sdk(("submit", "SHOW CLUSTERS"))

    first, second = project.arrivals
    assert reply["request_id"] in project.requests
    assert (first.verdict, second.verdict) == ("fault:refuse", "accepted")
    assert 0.1 <= second.at - first.at < 0.5  # without the header it waits half a second


async def test_the_headers_arrive_as_the_configuration_says(
    sdk: Sdk, server: SimulatorServer
) -> None:
    """
    A simulator that reads the headers wrongly would accept what the service refuses.
    """
    await sdk(("submit", "SHOW CLUSTERS"))

    headers = server.seen[-1].headers
    assert {
        name: headers[f"x-onehouse-{name.replace('_', '-').replace('user-uid', 'uuid')}"]
        for name in CREDENTIALS
    } == CREDENTIALS
