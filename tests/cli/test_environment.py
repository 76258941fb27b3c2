"""
Environments as containers, editors and operators leave them.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
from pathlib import Path

import pytest

from onehouse_tracker.testing import SimulatedProject, SimulatorServer, faults
from onehouse_tracker.testing.statements import Kind
from tests.cli.harness import STILL_PENDING, end, line, run, start

FAST = ("--limit", "1000")
KINDS = [Kind(label="SHOW", duration=0)]
LIMITER = "ONEHOUSE_TRACKER_LIMITER"


def ended_at_once(*request_ids: str) -> SimulatedProject:
    """Requests that have ended."""
    project = SimulatedProject()
    for request_id in request_ids:
        project.add(request_id, 0)
    return project


# --- Variables ---------------------------------------------------------------------------


async def test_blanks_and_line_breaks_around_a_value_are_no_part_of_it(tmp_path: Path) -> None:
    """
    Files with the line ends of Windows, and heredocs, leave them behind: in every variable.
    """
    budget = tmp_path / "budget"
    async with SimulatorServer(ended_at_once("a")) as server:
        variables = {name: f" {value}\r\n" for name, value in server.environment().items()}
        variables |= {LIMITER: f"\thost:{budget} \r", "ONEHOUSE_PROFILE": "default\r"}
        ended = await run("wait", "a", *FAST, variables=variables)

    assert (ended.code, ended.err) == (0, "1 succeeded\n")
    assert budget.exists()


async def test_a_limiter_that_is_blank_is_none() -> None:
    """
    That is how containers unset a variable.
    """
    async with SimulatorServer(ended_at_once("a")) as server:
        ended = await run("wait", "a", *FAST, variables={**server.environment(), LIMITER: " \r"})

    assert (ended.code, ended.err) == (0, "1 succeeded\n")


async def test_quotes_around_a_value_are_told_by_the_name_of_the_variable() -> None:
    """
    ``docker --env-file`` keeps them; whoever wrote them sees a key that is right, and refused.
    """
    async with SimulatorServer(ended_at_once("a")) as server:
        variables = server.environment() | {"PYTHONWARNINGS": ""}
        for name in ("ONEHOUSE_API_KEY", "ONEHOUSE_REGION"):
            variables[name] = f'"{variables[name]}"'
        ended = await run("wait", "a", *FAST, variables=variables)
        diagnosis = await run("doctor", "--output", "json", variables=variables)

    told = [each for each in ended.err.splitlines() if each.startswith("warning: ")]
    assert [each.split()[6] for each in told] == ["ONEHOUSE_API_KEY", "ONEHOUSE_REGION"]
    assert variables["ONEHOUSE_API_KEY"].strip('"') not in ended.err
    found = [each for each in json.loads(diagnosis.out) if each["check"] == "environment"]
    assert [each["state"] for each in found] == ["warning", "warning"]


@pytest.mark.parametrize("value", ['"host"', "hots"])
async def test_a_limiter_of_the_environment_is_blamed_by_the_name_of_its_variable(
    value: str,
) -> None:
    """
    There is no --limiter on the command line that could be looked at.
    """
    async with SimulatorServer() as server:
        ended = await run("wait", "a", variables={**server.environment(), LIMITER: value})

    assert (ended.code, server.seen) == (2, [])
    text = " ".join(ended.err.split())
    assert f"environment variable {LIMITER}: a limiter is local, host, " in text
    assert ("remove the quotes" in text) == (value[0] == '"')


# --- Homes -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["device", "directory"])
async def test_a_home_that_cannot_be_entered_is_as_good_as_none(kind: str, tmp_path: Path) -> None:
    """
    A container has all in its environment, and a home directory of nobody's.
    """
    home = make_home(kind, tmp_path)
    async with SimulatorServer(ended_at_once("a")) as server:
        variables = {**server.environment(), "HOME": str(home)}
        ended = await run("wait", "a", *FAST, variables=variables)
        del variables["ONEHOUSE_API_KEY"]
        missing = await run("wait", "a", *FAST, variables=variables)

    assert (ended.code, ended.err) == (0, "1 succeeded\n")
    assert missing.code == 2
    assert missing.err.startswith("error: missing: API key (")
    assert f"cannot read {home}/.onehouse/credentials: " in missing.err


def make_home(kind: str, tmp_path: Path) -> Path:
    """A home directory of this *kind*."""
    if kind == "device":
        return Path("/dev/null")
    home = tmp_path / "home"
    (home / ".onehouse" / "credentials").mkdir(parents=True)
    return home


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
# Another test may have left a thread in a pool: from Python 3.12 on that is worth a warning.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_home_of_somebody_else_is_as_good_as_none(tmp_path: Path) -> None:
    """
    ``runAsUser`` in Kubernetes, with the home directory of root.
    """
    from onehouse_tracker.onehouse.credentials import Credentials  # noqa: PLC0415 - loaded before the fork

    (tmp_path / "home").mkdir(mode=0o700)
    everything = {
        **{f"ONEHOUSE_{name}": "x" for name in ("PROJECT_UID", "API_KEY", "API_SECRET")},
        **{f"ONEHOUSE_{name}": "x" for name in ("REGION", "USER_UID", "ACCOUNT_UID", "LINK_UID")},
        "HOME": str(tmp_path / "home"),
    }
    Credentials.from_env(environ=everything)
    child = os.fork()
    if child == 0:  # pragma: no cover - in a process that becomes another user
        try:
            os.setuid(12345)
            Credentials.from_env(environ=everything)
        except BaseException:  # noqa: BLE001
            os._exit(1)
        os._exit(0)

    assert os.waitpid(child, 0)[1] == 0


# --- Disks -------------------------------------------------------------------------------


async def fill_the_disk(process: asyncio.subprocess.Process, server: SimulatorServer) -> None:
    """Let *process* write no file any more, as soon as *server* has heard of it."""
    async with asyncio.timeout(20):
        while not server.seen:  # noqa: ASYNC110 - a real socket
            await asyncio.sleep(0.01)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, 0))


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """What measures coverage in child processes could not write its file either, and says so."""
    for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("unmeasured")
async def test_what_was_accepted_is_named_when_the_journal_cannot_be_written(
    tmp_path: Path,
) -> None:
    """
    It runs, and stands in no file: nobody could follow it.
    """
    project = SimulatedProject(kinds=KINDS)
    project.script_next([faults.delay(0.5)])
    path = tmp_path / "t.db"
    async with SimulatorServer(project) as server:
        process = await start(
            ["submit", "SHOW A", "SHOW B", "--wait", "--journal", str(path), *FAST],
            server.environment(),
        )
        await fill_the_disk(process, server)
        ended = await end(process)

    (request_id,) = project.requests
    assert ended.code == 2
    assert f"accepted but not followed: statement 1 {request_id}\n" in ended.err
    assert f"error: journal {path}: " in ended.err
    assert "may or may not" not in ended.err
    assert "not submitted: statement 2 of 2\n" in ended.err


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("command", ["wait", "status"])
async def test_a_budget_file_that_cannot_be_written_is_named(command: str, tmp_path: Path) -> None:
    """
    With the reason: "the polling loop failed (OSError)" mends nothing.
    """
    budget = tmp_path / "budget"
    project = SimulatedProject()
    for number in range(9):
        project.script(f"id{number}", [STILL_PENDING] * 1000)
    async with SimulatorServer(project) as server:
        process = await start(
            [
                command,
                *(f"id{n}" for n in range(9)),
                "--limiter",
                f"host:{budget}",
                "--limit",
                "5",
            ],
            server.environment(),
        )
        await fill_the_disk(process, server)
        ended = await end(process)

    assert ended.code == 2
    assert f"error: the budget file {budget} cannot be used: File too large" in ended.err
    assert ("continue with: " in ended.err) == (command == "wait")
    assert "Traceback" not in ended.err


# --- doctor ------------------------------------------------------------------------------


async def test_the_credentials_file_is_read_once(tmp_path: Path) -> None:
    """
    From a pipe, the second reading would find nothing, and blame what was there.
    """
    pipe = tmp_path / "credentials"
    os.mkfifo(pipe, 0o600)
    async with SimulatorServer() as server:
        values = server.environment()
        profile = "[default]\n" + "".join(
            f"{name.removeprefix('ONEHOUSE_').lower()} = {value}\n"
            for name, value in values.items()
        )
        writer = asyncio.create_task(asyncio.to_thread(pipe.write_text, profile))
        ended = await run("doctor", variables={"ONEHOUSE_CREDENTIALS_FILE": str(pipe)})
        await writer

    assert (ended.code, ended.err) == (0, "everything works\n")
    assert "the credentials are accepted" in ended.out


async def test_a_proxy_that_is_ignored_is_told_without_its_password() -> None:
    """
    Whoever sets one believes that it is used.
    """
    async with SimulatorServer() as server:
        variables = {**server.environment(), "HTTPS_PROXY": "http://me:hunter2@proxy:3128"}
        ended = await run("doctor", variables=variables)

    assert ended.code == 0
    assert "warning   proxy: HTTPS_PROXY is ignored: " in ended.out
    assert "hunter2" not in ended.out + ended.err


async def test_a_host_that_cannot_be_one_is_refused() -> None:
    """
    Before anything is looked up, and without a traceback.
    """
    async with SimulatorServer() as server:
        variables = {**server.environment(), "ONEHOUSE_BASE_URL": "https://a..b"}
        ended = await run("doctor", variables=variables)

    assert ended.code == 2
    assert "error     credentials: the base URL is no address like " in ended.out
    assert ended.err == "correct the configuration first\n"


async def test_a_journal_whose_name_is_no_text_has_a_report(tmp_path: Path) -> None:
    """
    File names are bytes; nothing half-done is left behind.
    """
    name = os.fsdecode(b"j\xff.db")
    async with SimulatorServer(ended_at_once("a")) as server:
        process = await start(
            ["wait", "a", "--journal", name, *FAST], server.environment(), cwd=tmp_path
        )
        await end(process)
    process = await start(["report", name], {}, cwd=tmp_path)
    ended = await end(process)

    assert (ended.code, ended.err) == (0, "")
    assert reports_in(tmp_path) == [os.fsdecode(b"j\xff.html")]


def reports_in(directory: Path) -> list[str]:
    """The pages in it, whole and half."""
    return [path.name for path in directory.iterdir() if "html" in path.name]


# --- Outages -----------------------------------------------------------------------------


async def test_an_outage_is_told_when_it_begins_and_when_it_ends() -> None:
    """
    A log that is silent for ten minutes looks like a program that hangs.
    """
    ids = [f"id{number}" for number in range(12)]
    project = ended_at_once(*ids)
    for request_id in ids:
        project.script(request_id, [faults.unavailable(503, "down for repair")])
    async with SimulatorServer(project) as server:
        ended = await run("wait", *ids, "--limit", "100", variables=server.environment())

    assert ended.code == 0
    first, began, over, summary = ended.err.splitlines()
    assert first.startswith("no answer yet: ")
    assert "down for repair" in first
    assert began.startswith("outage: nothing answers any more (")
    assert over.startswith("outage over after ")
    assert summary == "12 succeeded"


async def test_one_failure_among_good_answers_is_not_worth_a_line() -> None:
    """
    Nobody has to know of it.
    """
    project = ended_at_once("a", "b")
    project.script("b", [faults.unavailable()])
    async with SimulatorServer(project) as server:
        process = await start(
            ["wait", "a", "b", "--output", "jsonl", *FAST],
            server.environment(),
        )
        await line(process)
        ended = await end(process)

    assert (ended.code, ended.err) == (0, "2 succeeded\n")
