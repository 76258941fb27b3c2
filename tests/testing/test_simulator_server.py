"""The project behind real HTTP, asked with plain aiohttp and with our own client."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from urllib.parse import unquote

import aiohttp
import pytest

from onehouse_tracker.models import StatusReply
from onehouse_tracker.onehouse.client import OnehouseClient
from onehouse_tracker.onehouse.credentials import Credentials
from onehouse_tracker.testing import (
    Kind,
    Listing,
    RunKind,
    SimulatedJobs,
    SimulatedProject,
    SimulatedSource,
    SimulatorServer,
    SlidingLog,
    faults,
)
from onehouse_tracker.testing.faults import FaultKind
from onehouse_tracker.testing.listings import SHAPES, ShapeName
from tests.testing.fault_cases import CASES, Case

HEADERS = {
    "x-onehouse-project-uid": "p",
    "x-onehouse-api-key": "k",
    "x-onehouse-api-secret": "s",
    "x-onehouse-uuid": "u",
}
ALL_SEVEN = HEADERS | {
    "x-onehouse-account-uid": "a",
    "x-onehouse-link-uid": "l",
    "x-onehouse-region": "us-west-2",
}
PENDING = "API_OPERATION_STATUS_PENDING"
SUCCESS = "API_OPERATION_STATUS_SUCCESS"


@pytest.fixture
async def server() -> AsyncIterator[SimulatorServer]:
    """A server of its own for each test."""
    async with SimulatorServer() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A plain client that sends the four headers, and each request once."""
    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(headers=HEADERS, timeout=timeout) as plain:
        plain._retry_connection = False  # it would send a GET again by itself after a reset
        yield plain


async def test_a_request_is_followed_from_submission_to_outcome(
    server: SimulatorServer, session: aiohttp.ClientSession
) -> None:
    """
    The main way, in the shapes that the documentation gives.
    """
    statement = {"statement": "RUN JOB nightly"}
    async with session.post(f"{server.url}/v1/resource/", json=statement) as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        request_id = (await response.json())["requestId"]
    request = server.project.requests[request_id]
    async with session.get(f"{server.url}/v1/status/{request_id}") as response:
        assert await response.json() == {"apiStatus": PENDING, "apiResponse": {}}
    request.duration = 0
    async with session.get(f"{server.url}/v1/status/{request_id}") as response:
        body = await response.json()

    assert body["apiStatus"] == SUCCESS
    assert set(body["apiResponse"]["runJobApiResponse"]) == {"jobRunId"}
    assert [arrival.verdict for arrival in server.project.arrivals] == [
        "accepted",
        "pending",
        "final",
    ]


@pytest.mark.parametrize(("response", "body"), [({}, {}), ({"x": 1}, {"apiResponse": {"x": 1}})])
async def test_an_end_without_a_status_is_a_body_without_one(
    server: SimulatorServer,
    session: aiohttp.ClientSession,
    response: dict[str, object],
    body: dict[str, object],
) -> None:
    """
    JSON of proto3 leaves out an enum that is zero, so an INVALID may look like this.
    """
    server.project.add("a", 0, status=None, response=response)

    async with session.get(f"{server.url}/v1/status/a") as reply:
        assert await reply.json() == body


async def test_each_request_is_recorded_as_it_arrived(
    server: SimulatorServer, session: aiohttp.ClientSession
) -> None:
    """
    What went over the wire is judged here: method, raw path, headers, body, and when.
    """
    before = asyncio.get_running_loop().time()
    async with session.get(f"{server.url}/v1/status/a%2Fb%3F") as response:
        assert response.status == 404
    async with session.post(f"{server.url}/v1/resource/", data="{}") as response:
        assert response.status == 400

    first, second = server.seen
    assert (first.method, first.path, second.body) == ("GET", "/v1/status/a%2Fb%3F", "{}")
    assert first.headers["X-Onehouse-Api-Key"] == "k"
    assert before <= first.at <= second.at <= asyncio.get_running_loop().time()
    assert server.project.arrivals[0].request_id == "a/b?"


async def test_the_record_can_be_left_out(session: aiohttp.ClientSession) -> None:
    """
    A server that anyone runs for days must not fill the memory.
    """
    async with (
        SimulatorServer(record=False) as server,
        session.get(f"{server.url}/v1/status/a") as response,
    ):
        assert response.status == 404
        assert server.seen == []


@pytest.mark.parametrize("missing", sorted(ALL_SEVEN))
@pytest.mark.parametrize("strict", [False, True])
async def test_required_headers_are_required(*, strict: bool, missing: str) -> None:
    """
    Four for every client; all seven of the documentation on demand.
    """
    headers = {name: value for name, value in ALL_SEVEN.items() if name != missing}
    async with (
        SimulatorServer(strict=strict) as server,
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{server.url}/v1/status/a") as response,
    ):
        if not strict and missing not in HEADERS:
            assert response.status == 404
            return
        assert response.status == 401
        assert await response.read() == b""
        assert response.headers["grpc-status"] == "16"
        assert unquote(response.headers["grpc-message"]) == f"missing headers: {missing}"
        assert server.project.arrivals[0].verdict == "unauthorized"


async def test_a_wrong_key_is_refused(session: aiohttp.ClientSession) -> None:
    """
    Only where a test says what the right one is; any key opens a fresh simulator.
    """
    expected = {"x-onehouse-api-key": "right"}
    async with SimulatorServer(expected_headers=expected) as server:
        url = f"{server.url}/v1/resource/"
        async with session.post(url, json={"statement": "SHOW CLUSTERS"}) as response:
            assert response.status == 401
        right = {"x-onehouse-api-key": "right"}
        async with session.post(
            url, json={"statement": "SHOW CLUSTERS"}, headers=right
        ) as response:
            assert response.status == 200

    assert len(server.project.requests) == 1
    assert server.environment()["ONEHOUSE_API_KEY"] == "right"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer good"}, 404),
        ({"Authorization": "bearer good"}, 404),
        ({"Authorization": "Bearer bad"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Basic good"}, 401),
        ({"Authorization": "Bearer good", "x-onehouse-api-key": "k"}, 401),
        ({"Authorization": "Bearer good", "x-onehouse-api-secret": "s"}, 401),
        ({"Authorization": "Bearer good", "x-onehouse-project-uid": "p"}, 404),
    ],
)
async def test_a_bearer_token_excludes_the_key_pair(headers: dict[str, str], status: int) -> None:
    """
    The service takes either, and refuses a call that carries both.
    """
    async with (
        SimulatorServer(expected_token="good") as server,
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{server.url}/v1/status/a") as response,
    ):
        assert response.status == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/status/a", 405),
        ("GET", "/v1/resource/", 405),
        ("POST", "/v1/resource", 404),
        ("GET", "/v1/status/", 404),
        ("GET", "/", 404),
    ],
)
async def test_only_the_documented_calls_exist(
    server: SimulatorServer,
    session: aiohttp.ClientSession,
    method: str,
    path: str,
    status: int,
) -> None:
    """
    A client with a misspelt path must not seem to work.
    """
    async with session.request(method, f"{server.url}{path}") as response:
        assert response.status == status
    assert server.project.arrivals[0].verdict == "malformed"


@pytest.mark.parametrize(
    "body", ["", "no json", "[]", '{"statement": 7}', '{"sql": "SHOW"}', '{"statement": ""}']
)
async def test_a_malformed_submission_is_refused(
    server: SimulatorServer, session: aiohttp.ClientSession, body: str
) -> None:
    """
    400 with a reason, and nothing runs.
    """
    async with session.post(f"{server.url}/v1/resource/", data=body) as response:
        assert response.status == 400
        assert response.headers["grpc-status"] == "3"
        assert response.headers["grpc-message"]
    assert server.project.requests == {}


async def test_the_limit_holds_for_everything_that_arrives(
    session: aiohttp.ClientSession,
) -> None:
    """
    Polls and submissions draw on one budget, and a refusal says so in the style of gRPC.
    """
    project = SimulatedProject(enforcer=SlidingLog(2), refusal=faults.throttled(2.0))
    project.add("a", 0)
    async with SimulatorServer(project) as server:
        statuses = []
        for _ in range(2):
            async with session.get(f"{server.url}/v1/status/a") as response:
                statuses.append(response.status)
        async with session.post(
            f"{server.url}/v1/resource/", json={"statement": "SHOW CLUSTERS"}
        ) as response:
            statuses.append(response.status)
            assert response.headers["grpc-status"] == "8"
            assert response.headers["Retry-After"] == "2"

    assert statuses == [200, 200, 429]
    assert project.refused == 1


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_each_fault_goes_over_the_wire(
    server: SimulatorServer,
    session: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
    case: Case,
) -> None:
    """
    A fault that the server does not really act out would test nothing.
    """
    caplog.set_level(logging.WARNING)
    server.project.add("a", 0, response={"done": True})
    server.project.script("a", [case.fault])

    status: int | None = None
    headers: Mapping[str, str] = {}
    body: bytes | None = None
    with suppress(aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
        async with session.get(f"{server.url}/v1/status/a", allow_redirects=False) as response:
            status, headers = response.status, response.headers
            body = await response.read()

    fault = case.fault
    assert status == case.status
    assert (body is None) is (fault.kind in (FaultKind.RESET, FaultKind.CUT))
    if body is not None:
        assert headers.get("Location", "") == fault.location
        assert ("Retry-After" in headers) is (fault.retry_after is not None)
        if fault.message and fault.form == "headers":
            assert (unquote(headers["grpc-message"]), body) == (fault.message, b"")
            assert headers["grpc-status"] == str(fault.grpc_status)
        if fault.form == "body":
            assert json.loads(body) == {
                "code": fault.grpc_status,
                "message": fault.message,
                "details": [],
            }
        if fault.content:
            assert body == fault.content
        if fault.size:
            assert len(body) == fault.size
            assert json.loads(body)["apiStatus"] == PENDING
    # The next poll is answered: the server survived it.
    async with session.get(f"{server.url}/v1/status/a") as response:
        assert (await response.json())["apiStatus"] == SUCCESS
    assert caplog.records == []


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_our_client_makes_of_each_fault_what_the_simulated_source_does(
    server: SimulatorServer, case: Case
) -> None:
    """
    `SimulatedSource` stands in for the client, so the two must agree on every fault.
    """
    project = server.project
    project.add("a", 0, response={"done": True})
    async with OnehouseClient.from_env(environ=server.environment()) as client:
        project.script("a", [case.fault])
        if isinstance(case.poll, StatusReply):
            assert await client.fetch("a") == case.poll
        else:
            with pytest.raises(case.poll) as caught:
                await client.fetch("a")
            assert type(caught.value) is case.poll
            assert caught.value.request_id == "a"

        project.script_next([case.fault])
        if case.submission is None:
            assert await client.submit("RUN JOB a") in project.requests
        else:
            with pytest.raises(case.submission) as refusal:
                await client.submit("RUN JOB a")
            assert type(refusal.value) is case.submission


async def test_a_date_in_retry_after_is_a_date_ahead(
    server: SimulatorServer, session: aiohttp.ClientSession
) -> None:
    """
    Whole seconds, never earlier than asked.
    """
    server.project.script("a", [faults.throttled(3, as_date=True)])
    before = time.time()

    async with session.get(f"{server.url}/v1/status/a") as response:
        moment = parsedate_to_datetime(response.headers["Retry-After"]).timestamp()

    assert before + 3 <= moment <= time.time() + 4


async def test_a_message_survives_percent_encoding(
    server: SimulatorServer, session: aiohttp.ClientSession
) -> None:
    """
    What is not printable ASCII is encoded, and clients must undo it.
    """
    message = "100 % Ärger\nwith 'quotes'"
    server.project.script("a", [faults.refuse(400, message)])

    async with session.get(f"{server.url}/v1/status/a") as response:
        sent = response.headers["grpc-message"]

    assert sent == "100 %25 %C3%84rger%0Awith 'quotes'"
    assert unquote(sent) == message


async def test_a_hang_never_answers_and_does_not_hold_up_the_end(
    session: aiohttp.ClientSession,
) -> None:
    """
    Whoever tests time-outs must not wait for them again when the server stops.
    """
    project = SimulatedProject()
    project.add("a", 0)
    project.script("a", [faults.hang()])
    server = SimulatorServer(project)
    await server.start()
    poll = asyncio.create_task(session.get(f"{server.url}/v1/status/a").__aenter__())
    done, _ = await asyncio.wait([poll], timeout=0.1)
    assert project.arrivals[0].verdict == "fault:hang"
    before = time.perf_counter()
    await server.stop()

    assert not done
    with pytest.raises(aiohttp.ClientConnectionError):
        await poll
    assert time.perf_counter() - before < 1


async def test_whoever_gives_up_on_a_hang_leaves_nothing_behind(server: SimulatorServer) -> None:
    """
    A long test of time-outs must not fill the server with polls that nobody waits for.
    """
    server.project.script("a", [faults.hang()] * 20)
    before = len(asyncio.all_tasks())
    timeout = aiohttp.ClientTimeout(total=0.02)
    async with aiohttp.ClientSession(headers=HEADERS, timeout=timeout) as session:
        for _ in range(20):
            with pytest.raises(TimeoutError):
                await session.get(f"{server.url}/v1/status/a")
    await asyncio.sleep(0.05)

    assert len(asyncio.all_tasks()) == before


async def test_whoever_leaves_a_huge_body_is_let_go(server: SimulatorServer) -> None:
    """
    A sensible client stops reading; the server must not choke on it.
    """
    server.project.script("a", [faults.huge(64 * 2**20)])
    server.project.add("a", 0)
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        async with session.get(f"{server.url}/v1/status/a") as response:
            assert len(await response.content.read(1000)) <= 1000
            response.close()
        async with session.get(f"{server.url}/v1/status/a") as response:
            assert response.status == 200


async def test_it_is_killed_and_started_again_on_the_same_port(
    session: aiohttp.ClientSession,
) -> None:
    """
    Kept-alive connections die with it, and what it knows stays: a restart in mid-run.
    """
    server = SimulatorServer()
    server.project.add("a", 0)
    await server.start()
    await server.start()
    url = f"{server.url}/v1/status/a"
    async with session.get(url) as response:
        assert response.status == 200
    port = server.port
    await server.stop()
    await server.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await session.get(url)
    await server.start()
    async with session.get(url) as response:
        assert response.status == 200
    await server.stop()

    assert server.port == port
    assert len(server.project.arrivals) == 2


async def test_what_is_on_its_way_is_lost_when_it_is_killed(
    server: SimulatorServer, session: aiohttp.ClientSession
) -> None:
    """
    A server that dies finishes nothing, not even what would have been ready in a moment.
    """
    server.project.add("a", 0)
    server.project.script("a", [faults.delay(0.04)])
    poll = asyncio.create_task(session.get(f"{server.url}/v1/status/a").__aenter__())
    await asyncio.sleep(0.02)

    await server.stop()

    with pytest.raises(aiohttp.ClientConnectionError):
        await poll
    assert len(server.project.arrivals) == 1


async def test_a_port_in_use_is_an_error_and_leaves_nothing_open() -> None:
    """
    The command says so and ends; no half-started server stays behind.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = SimulatorServer(port=taken.getsockname()[1])

        with pytest.raises(OSError, match="in use"):
            await server.start()

    assert "stopped" in repr(server)
    async with server:
        assert "serving" in repr(server)


async def test_the_url_of_an_ipv6_host_has_brackets() -> None:
    """
    Otherwise the port would be read as a part of the address.
    """
    server = SimulatorServer(host="::1", port=8099)

    assert server.url == server.base_url == "http://[::1]:8099"


async def test_its_environment_leads_a_client_to_it(server: SimulatorServer) -> None:
    """
    Users point their own code at the simulator with these variables and nothing else.
    """
    environment = server.environment()
    server.project.add("a", 0)

    async with OnehouseClient.from_env(environ=environment) as client:
        reply = await client.fetch("a")

    assert reply.status == SUCCESS
    assert len(environment) == 8
    assert server.seen[0].headers["x-onehouse-link-uid"] == environment["ONEHOUSE_LINK_UID"]


@pytest.mark.parametrize("shape", SHAPES)
async def test_runs_are_started_listed_and_described_over_http(shape: ShapeName) -> None:
    """
    Every shape of a listing can be sent, and the source without sockets sees the same.
    """
    listing = Listing(shape=shape, extras=["attempts", "url"], history=2)
    jobs = SimulatedJobs(kinds=[RunKind(queued=60)], listing=listing)
    project = SimulatedProject(kinds=[Kind(label="", duration=0)], jobs=jobs)
    async with (
        SimulatorServer(project) as server,
        OnehouseClient(Credentials.from_env(environ=server.environment())) as client,
    ):
        await client.submit("RUN JOB nightly")
        (run,) = project.runs.values()
        shown = await client.submit("SHOW RUNS IN JOB nightly")
        described = await client.submit(f"DESCRIBE JOB_RUN `{run.run_id}` JOB_NAME = 'nightly'")
        rows, same = [await source.fetch(shown) for source in (client, SimulatedSource(project))]
        word = await client.fetch(described)

    assert rows == same
    assert run.run_id in str(rows.response)
    assert word.response == {
        "describeJobRunApiResponse": {"sparkJobRun": {"status": "SPARK_JOB_RUN_STATUS_QUEUED"}}
    }
