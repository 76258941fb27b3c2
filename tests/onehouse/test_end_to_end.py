"""The whole product over real sockets, judged by what the server saw."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from onehouse_tracker import Outcome, PollPolicy, Tracker
from onehouse_tracker.errors import AuthenticationError
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.testing import (
    FaultRule,
    SimulatedProject,
    SimulatorServer,
    SlidingLog,
    faults,
)
from tests.support import FAILED, INVALID, PARTIAL, SUCCESS

STATUSES = {
    SUCCESS: Outcome.SUCCEEDED,
    FAILED: Outcome.FAILED,
    INVALID: Outcome.INVALID,
    PARTIAL: Outcome.PARTIALLY_SUCCEEDED,
}


def tracker_for(
    server: SimulatorServer, *, limit: float = 400.0, policy: PollPolicy | None = None
) -> Tracker:
    """A tracker configured as users do, with a lifted limit so that tests are quick."""
    # The region of the environment is not taken: everything comes from the simulator.
    return Tracker.from_env(
        environ=server.environment(),
        limiter=LocalLimiter(limit, catch_up=0),
        policy=policy or PollPolicy(gap_min=0.05, gap_max=0.2, failure_base=0.1),
    )


async def test_every_outcome_is_the_servers_truth() -> None:
    """
    Three hundred requests of four endings: each is told as it was, after one final reply.
    """
    project = SimulatedProject(enforcer=SlidingLog(450))
    statuses = list(STATUSES)
    for number in range(300):
        project.add(f"r{number}", 0.3 * (number % 3), statuses[number % 4])

    async with SimulatorServer(project) as server, tracker_for(server) as tracker:
        results = await tracker.wait_all([f"r{number}" for number in range(300)])

    assert [result.outcome for result in results.values()] == [
        STATUSES[statuses[number % 4]] for number in range(300)
    ]
    assert project.refused == 0
    assert {request.final_replies for request in project.requests.values()} == {1}


async def test_server_that_is_killed_and_restarted_loses_nothing() -> None:
    """
    In the middle of a batch of 200 every connection is cut: all outcomes arrive.
    """
    project = SimulatedProject()
    ids = [f"r{number}" for number in range(200)]
    for number, request_id in enumerate(ids):
        project.add(request_id, 0.2 + 0.004 * number)

    async with SimulatorServer(project) as server, tracker_for(server) as tracker:
        task = asyncio.create_task(tracker.wait_all(ids))
        await asyncio.sleep(0.3)
        await server.stop()
        seen = project.arrived
        await asyncio.sleep(0.2)
        await server.start()
        results = await task

    assert seen > 0
    assert results.ok
    assert len(results) == 200


async def test_wrong_key_costs_one_request() -> None:
    """
    A thousand IDs and a key that is refused after 500 ms: one request, one error.
    """
    paths: list[str] = []

    async def refuse(request: web.Request) -> web.Response:
        paths.append(request.path)
        await asyncio.sleep(0.5)
        return web.Response(
            status=401, headers={"grpc-status": "16", "grpc-message": "invalid%20api%20key"}
        )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    async with TestServer(app) as server:
        environ = {
            **SimulatorServer().environment(),
            "ONEHOUSE_BASE_URL": str(server.make_url("/")),
            "ONEHOUSE_API_KEY": "wr0ng-k3y",
        }
        async with Tracker.from_env(environ=environ) as tracker:
            with pytest.raises(AuthenticationError, match="invalid api key") as caught:
                await tracker.wait_all([f"r{number}" for number in range(1000)])

    assert len(paths) == 1
    assert len(caught.value.pending) == 1000
    assert "wr0ng-k3y" not in f"{caught.value!r} {caught.value}"


async def test_redirect_takes_no_header_to_another_origin() -> None:
    """
    The HTTP library would forward our headers: a redirect is refused, and the ID with it.
    """
    async with SimulatorServer() as elsewhere:
        project = SimulatedProject()
        project.add("moved", 0)
        project.script("moved", [faults.redirect(f"{elsewhere.url}/v1/status/moved")])
        async with SimulatorServer(project) as server, tracker_for(server) as tracker:
            result = (await tracker.wait_all(["moved"]))["moved"]

    assert result.outcome is Outcome.REJECTED
    assert elsewhere.seen == []


@pytest.mark.parametrize(
    "request_id", ["../../v1/resource/", "a?b", "a#b", "%2e%2e", "..", ".", "a b", "ü/é", "a%"]
)
async def test_id_never_changes_the_shape_of_the_url(request_id: str) -> None:
    """
    Whatever an ID holds, the server sees one segment below /v1/status/ that decodes to it.
    """
    project = SimulatedProject()
    project.add(request_id, 0)

    async with SimulatorServer(project) as server, tracker_for(server) as tracker:
        result = (await tracker.wait_all([request_id]))[request_id]

    assert result.ok
    assert [seen.path.count("/") for seen in server.seen] == [3]
    assert server.seen[0].path.startswith("/v1/status/")


async def test_faults_on_the_wire_cost_time_and_no_outcome() -> None:
    """
    Resets, cuts, half bodies, 503s and refusals in a third of the replies: all ends are known.
    """
    bad = [
        faults.unavailable(),
        faults.reset(),
        faults.cut(),
        faults.truncated(),
        faults.throttled(0),
    ]
    project = SimulatedProject(seed=3, rules=[FaultRule(fault=fault, rate=0.08) for fault in bad])
    ids = [f"r{number}" for number in range(60)]
    for request_id in ids:
        project.add(request_id, 0.1)

    async with SimulatorServer(project) as server, tracker_for(server) as tracker:
        results = await tracker.wait_all(ids)

    assert results.ok
    verdicts = Counter(arrival.verdict for arrival in project.arrivals)
    assert len([verdict for verdict in verdicts if verdict.startswith("fault")]) >= 4


async def test_statement_goes_from_submission_to_outcome() -> None:
    """
    submit, follow, result: with the answer of the service, verbatim.
    """
    project = SimulatedProject(speed=1000)

    async with SimulatorServer(project) as server, tracker_for(server) as tracker:
        handle = await tracker.submit("RUN JOB nightly;", label="RUN JOB")
        result = await handle

    assert result.ok
    assert result.response is not None
    assert "runJobApiResponse" in result.response
    assert server.seen[0].path == "/v1/resource/"
