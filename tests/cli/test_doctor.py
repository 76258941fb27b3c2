"""
``onehouse-tracker doctor``: what is wrong, what to do, and never a secret.
"""

import asyncio
import json
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme

from onehouse_tracker.onehouse.client import OnehouseClient
from onehouse_tracker.testing import Kind, RunKind, SimulatedJobs, faults
from onehouse_tracker.testing.faults import Fault
from onehouse_tracker.testing.listings import SHAPES, Listing, ShapeName
from onehouse_tracker.testing.server import SimulatorServer
from onehouse_tracker.testing.simulated_project import SimulatedProject
from tests.cli.harness import Ended, run

NOBODY = "00000000-0000-0000-0000-000000000000"


async def diagnose(variables: Mapping[str, str]) -> tuple[Ended, dict[str, dict[str, Any]]]:
    """Run it; return how it ended, and its findings by their check."""
    ended = await run("doctor", "--output", "json", variables=variables)
    return ended, {finding["check"]: finding for finding in json.loads(ended.out)}


async def test_all_is_well() -> None:
    """
    One request for what cannot exist proves the whole way; where each value is from is told.
    """
    async with SimulatorServer() as server:
        variables = server.environment()
        ended, found = await diagnose(variables)
        shown = await run("doctor", variables=variables)

    assert (ended.code, shown.code) == (0, 0)
    assert {finding["state"] for finding in found.values()} == {"ok"}
    assert found["request"]["found"] == "the credentials are accepted"
    assert found["API key"]["found"] == "******** from environment variable ONEHOUSE_API_KEY"
    assert [seen.path for seen in server.seen] == [f"/v1/status/{NOBODY}"] * 2
    assert shown.err == "everything works\n"
    assert "ok        request: the credentials are accepted\n" in shown.out
    for name in ("ONEHOUSE_API_KEY", "ONEHOUSE_API_SECRET"):
        assert variables[name] not in ended.out + shown.out


async def test_what_is_missing_is_named_with_its_variable_and_its_key() -> None:
    """
    Exit code 2; and the network is looked at all the same, as far as that goes.
    """
    async with SimulatorServer() as server:
        variables = server.environment()
        del variables["ONEHOUSE_API_SECRET"], variables["ONEHOUSE_LINK_UID"]
        ended, found = await diagnose(variables)

    assert ended.code == 2
    assert found["API secret"]["state"] == "error"
    assert found["API secret"]["advice"].startswith("set API secret (ONEHOUSE_API_SECRET, or ")
    assert found["link UID"]["state"] == "warning"
    assert found["connection"]["state"] == "ok"
    assert found["request"]["state"] == "skipped"
    assert server.seen == []


async def test_a_file_that_others_can_read_is_told_with_the_command_that_mends_it(
    tmp_path: Path,
) -> None:
    """
    The profile, its format and its mode: where people look last.
    """
    async with SimulatorServer() as server:
        variables = server.environment()
        file = tmp_path / "credentials"
        keys = {name.removeprefix("ONEHOUSE_").lower(): it for name, it in variables.items()}
        file.write_text(
            "[staging]\n" + "".join(f"{name} = {value}\n" for name, value in keys.items())
        )
        file.chmod(0o644)
        where = {"ONEHOUSE_CREDENTIALS_FILE": str(file), "ONEHOUSE_PROFILE": "staging"}
        ended, found = await diagnose(where)
        file.chmod(0o600)
        _, mended = await diagnose(where)

    assert ended.code == 0
    assert found["credentials file"]["state"] == "warning"
    assert found["credentials file"]["advice"] == f"run: chmod 600 {file}"
    assert mended["credentials file"] == {
        "check": "credentials file",
        "state": "ok",
        "found": f"profile [staging] of {file}, INI",
        "advice": None,
    }
    assert found["region"]["found"].endswith(f" from key region in profile [staging] of {file}")
    assert keys["api_secret"] not in ended.out


@pytest.mark.parametrize(
    ("variables", "check", "complaint"),
    [
        ({"ONEHOUSE_CREDENTIALS_FILE": "/no/such"}, "credentials file", "there is no credentials"),
        ({"ONEHOUSE_BASE_URL": "http://example.com"}, "credentials", "in the clear"),
        ({"ONEHOUSE_API_KEY": "key-\u201cquoted\u201d"}, "credentials", "cannot be sent"),
    ],
)
async def test_what_cannot_be_used_is_exit_code_2(
    variables: Mapping[str, str], check: str, complaint: str
) -> None:
    """
    Each with the sentence that every other command would say.
    """
    async with SimulatorServer() as server:
        ended, found = await diagnose({**server.environment(), **variables})

    assert ended.code == 2
    assert found[check]["state"] == "error"
    assert complaint in found[check]["found"]
    assert found["request"]["state"] == "skipped"
    assert server.seen == []


@pytest.mark.parametrize(
    ("fault", "code", "state", "words"),
    [
        (faults.unauthorized(), 3, "error", "refuses the credentials: HTTP 401: invalid api key"),
        (faults.throttled(), 0, "warning", "budget is used up"),
        (faults.unavailable(), 3, "error", "HTTP 503: upstream connect error"),
        (faults.refuse(400), 0, "ok", "the server answers: HTTP 400"),
        (faults.redirect("https://example.com/"), 3, "error", "HTTP 302"),
        (faults.truncated(), 3, "error", ""),
        (faults.body(b'{"apiStatus": "X"}'), 0, "ok", "the server answers"),
    ],
)
async def test_what_the_server_says_tells_what_to_do(
    fault: Fault, code: int, state: str, words: str
) -> None:
    """
    The same reply means the same to every command; here it comes with advice.
    """
    project = SimulatedProject()
    project.add(NOBODY, 0)
    project.script(NOBODY, [fault])
    async with SimulatorServer(project) as server:
        ended, found = await diagnose(server.environment())

    assert ended.code == code
    assert found["request"]["state"] == state
    assert words in found["request"]["found"]
    assert bool(found["request"]["advice"]) == (state != "ok")


async def test_another_web_server_is_not_taken_for_onehouse() -> None:
    """
    Any web server answers 404: the words tell whose it is.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with SimulatorServer() as simulator:
        variables = simulator.environment()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        ended, found = await diagnose(
            {**variables, "ONEHOUSE_BASE_URL": f"http://127.0.0.1:{port}"}
        )

    assert ended.code == 0
    assert found["request"]["state"] == "warning"
    assert "base URL" in found["request"]["advice"]


async def test_without_a_network_it_says_what_it_could_not_check() -> None:
    """
    Exit code 3, no traceback, and every step that depends on another is told as skipped.
    """
    async with SimulatorServer() as server:
        variables = server.environment()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nowhere, nobody = await asyncio.gather(
        diagnose({**variables, "ONEHOUSE_BASE_URL": "https://onehouse.invalid"}),
        diagnose({**variables, "ONEHOUSE_BASE_URL": f"http://127.0.0.1:{port}"}),
    )

    assert (nowhere[0].code, nobody[0].code) == (3, 3)
    assert "cannot find the host onehouse.invalid" in nowhere[1]["name"]["found"]
    assert nowhere[1]["connection"]["state"] == "skipped"
    assert nobody[1]["connection"]["found"].endswith(": Connection refused")
    assert nobody[1]["request"]["found"].endswith(": Connection refused")


async def test_tls_is_looked_at_by_itself(tmp_path: Path) -> None:
    """
    A certificate that is not trusted, what speaks no TLS, and one that is well.
    """
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with SimulatorServer() as simulator:
        variables = simulator.environment()
    tls = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context)
    plain = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with tls, plain:
        https, http = (
            f"https://localhost:{each.sockets[0].getsockname()[1]}" for each in (tls, plain)
        )
        trusted = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
        (_, doubted), (_, odd), (_, well) = await asyncio.gather(
            diagnose({**variables, "ONEHOUSE_BASE_URL": https}),
            diagnose({**variables, "ONEHOUSE_BASE_URL": http}),
            diagnose({**variables, **trusted, "ONEHOUSE_BASE_URL": https}),
        )

    assert "is not trusted: unable to get local issuer" in doubted["connection"]["found"]
    assert "SSL_CERT_FILE" in doubted["connection"]["advice"]
    assert odd["connection"]["state"] == "error"
    assert well["connection"]["found"].endswith(", TLSv1.3")
    assert well["connection"]["state"] == "ok"


@pytest.mark.parametrize("shape", SHAPES)
async def test_shapes_are_told_without_any_value(shape: ShapeName) -> None:
    """
    Keys and status words of both answers, whatever their shape, for a run that it finds itself.
    """
    jobs = SimulatedJobs(
        kinds=[RunKind(queued=0, duration=1e6)], listing=Listing(shape=shape, history=2)
    )
    project = SimulatedProject(kinds=[Kind(label="", duration=0)], jobs=jobs)
    async with SimulatorServer(project) as server:
        variables = server.environment()
        async with OnehouseClient.from_env(environ=variables) as client:
            await client.submit("RUN JOB nightly_secret")
            ended = await run("doctor", "--shapes", "nightly_secret", variables=variables)
    (run_id,) = project.runs

    assert ended.code == 0, ended.err
    assert "SHOW RUNS IN JOB: the request ended SUCCEEDED" in ended.out
    assert "DESCRIBE JOB_RUN: the request ended SUCCEEDED" in ended.out
    assert (
        "DESCRIBE JOB_RUN: describeJobRunApiResponse.sparkJobRun.status:"
        " SPARK_JOB_RUN_STATUS_RUNNING (1)"
    ) in ended.out
    assert "SPARK_JOB_RUN_STATUS_COMPLETED" in ended.out
    assert run_id not in ended.out
    assert "nightly_secret" not in ended.out


async def test_shapes_need_a_run() -> None:
    """
    Without a run in the listing DESCRIBE is left out; what does not succeed is an error.
    """
    async with SimulatorServer(SimulatedProject(kinds=[Kind(label="", duration=0)])) as server:
        variables = server.environment()
        none, unknown, alone, odd = await asyncio.gather(
            run("doctor", "--shapes", "empty", variables=variables),
            run("doctor", "--shapes", "empty", NOBODY, variables=variables),
            run("doctor", NOBODY, variables=variables),
            run("doctor", "--shapes", "a`b", variables=variables),
        )

    assert "skipped   DESCRIBE JOB_RUN: no run was found in the listing" in none.out
    assert "what to do: give a run ID" in none.out
    assert "error     DESCRIBE JOB_RUN: the request ended FAILED" in unknown.out
    assert (none.code, unknown.code, alone.code, odd.code) == (1, 1, 2, 2)
    assert "a run ID needs --shapes JOB" in alone.err
    assert odd.out == ""
