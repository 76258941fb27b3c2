"""
``--fail-fast`` and ``--limiter``, and that the command that continues never shows a password.
"""

import asyncio
import json
from pathlib import Path

import pytest

from onehouse_tracker.cli._command_settings import LIMITER_VARIABLE, CommandSettings
from onehouse_tracker.models import ApiStatus
from onehouse_tracker.testing import faults
from onehouse_tracker.testing.server import SimulatorServer
from onehouse_tracker.testing.simulated_project import SimulatedProject
from onehouse_tracker.testing.statements import Kind
from tests.cli.harness import run
from tests.journal.files import state

FAST = ("--limit", "1000")
FOREVER = 1e6


async def test_fail_fast_stops_at_the_first_that_did_not_succeed(tmp_path: Path) -> None:
    """
    A pipeline that cannot go on need not wait; what goes on at the server is named, and the
    command that continues does not stop at the same place again.
    """
    path = tmp_path / "tracker.db"
    project = SimulatedProject()
    project.add("good", 0)
    project.add("bad", 0, ApiStatus.FAILED)
    project.add("slow", FOREVER)
    async with SimulatorServer(project) as server:
        ended = await run(
            *("wait", "good", "bad", "slow", "--fail-fast", "--journal", str(path), *FAST),
            variables=server.environment(),
        )

    assert ended.code == 1
    assert [row.split()[:2] for row in ended.out.splitlines()[1:]] == [
        ["good", "SUCCEEDED"],
        ["bad", "FAILED"],
    ]
    assert ended.err.splitlines() == [
        "stopped: bad ended FAILED",
        "1 succeeded, 1 failed",
        "1 still open",
        f"continue with: onehouse-tracker resume --limit 1000 --journal {path}",
    ]
    # What was told is not told again.
    assert state(path) == {"good": "acknowledged", "bad": "acknowledged", "slow": "pending"}


async def test_fail_fast_does_not_tear_a_submission_apart() -> None:
    """
    A statement that is on the wire is waited for: stopped there, its fate would be unknown.
    """
    kinds = [Kind(label="DROP", duration=0, failed=1), Kind(label="RUN", duration=FOREVER)]
    project = SimulatedProject(kinds=kinds)
    project.script_next([None, faults.delay(1.0)])
    async with SimulatorServer(project) as server:
        ended = await run(
            *("submit", "DROP A", "RUN JOB b", "RUN JOB c", "--wait", "--fail-fast", *FAST),
            variables=server.environment(),
        )

    assert ended.code == 1
    assert len(project.requests) == 2
    dropped, running = project.requests
    assert f"stopped: {dropped} ended FAILED\n" in ended.err
    assert f"still open: {running}\n" in ended.err
    assert "may or may not" not in ended.err
    assert ended.err.endswith("not submitted: statement 3 of 3\n")


@pytest.mark.parametrize("command", ["wait", "status"])
async def test_processes_share_a_budget_through_a_file(command: str, tmp_path: Path) -> None:
    """
    The file is what other processes look at.
    """
    project = SimulatedProject()
    project.add("done", 0)
    async with SimulatorServer(project) as server:
        ended = await run(
            *(command, "done", "--limiter", f"host:{tmp_path}/budget"),
            variables=server.environment(),
        )

    assert ended.code == 0
    assert (tmp_path / "budget").exists()


@pytest.mark.parametrize(
    "limiter", ["redis://:hunter2@127.0.0.1:1/0", "redis://127.0.0.1:1/0?password=hunter2"]
)
async def test_the_password_of_a_limiter_is_shown_nowhere(limiter: str) -> None:
    """
    What stands on the screen ends in tickets; and it says how to go on without it.
    """
    project = SimulatedProject()
    project.add("slow", FOREVER)
    arguments = ["wait", "slow", "--timeout", "2", "--verbose", *FAST]
    async with SimulatorServer(project) as server:
        variables = {**server.environment(), LIMITER_VARIABLE: limiter}
        given, inherited = await asyncio.gather(
            run(*arguments, "--limiter", limiter, variables=server.environment()),
            run(*arguments, variables=variables),
        )

    assert given.code == inherited.code == 124
    assert "hunter2" not in given.out + given.err + inherited.out + inherited.err
    assert "--limiter 'redis://" in given.err or "--limiter redis://" in given.err
    assert given.err.splitlines()[-1] == (
        "the password of the limiter is not shown: "
        "set ONEHOUSE_TRACKER_LIMITER, and omit --limiter"
    )
    assert inherited.err.splitlines()[-1].startswith("continue with: ")
    assert "--limiter" not in inherited.err
    logged = [json.loads(line) for line in given.err.splitlines() if line.startswith("{")]
    # It was really used, and said that it is alone.
    assert "onehouse_tracker.limiters.redis" in {line["event"] for line in logged}


async def test_a_limiter_that_is_none_is_exit_code_2() -> None:
    """
    What was given is not repeated: it may be a password in the wrong place.
    """
    async with SimulatorServer() as server:
        ended = await run(
            "wait", "a", "--limiter", "rediss-hunter2", variables=server.environment()
        )

    assert ended.code == 2
    assert ended.err.startswith(
        "error: a limiter is local, host, host:PATH, or the URL of a Redis"
    )
    assert "hunter2" not in ended.err


@pytest.mark.parametrize(
    ("limiter", "shown"),
    [
        ("host:/tmp/x y", "host:/tmp/x y"),
        ("redis://h:1/0", "redis://h:1/0"),
        ("rediss://me:secret@h/0", "rediss://me:...@h/0"),
        ("unix:///run/redis.sock?password=secret", "unix:///run/redis.sock?..."),
        ("redis:secret", "..."),
        ("redis://[secret", "..."),
    ],
)
def test_a_limiter_is_repeated_without_its_password(limiter: str, shown: str) -> None:
    """
    Whatever else it says is needed to go on with the same one.
    """
    settings = CommandSettings(limiter=limiter)

    assert settings.arguments() == ["--limiter", shown]
    assert bool(settings.hints()) == ("secret" in limiter)


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        (CommandSettings(timeout=1_080_000.0), ["--timeout", "1080000"]),
        (CommandSettings(timeout=0.00001), ["--timeout", "0.00001"]),
        (CommandSettings(limit=1234567.25), ["--limit", "1234567.25"]),
        (CommandSettings(share=0.12345678), ["--share", "0.12345678"]),
    ],
)
def test_numbers_are_repeated_with_all_their_digits(
    settings: CommandSettings, shown: list[str]
) -> None:
    """
    What is rounded is another setting, and an exponent is no time span.
    """
    assert settings.arguments() == shown


def test_a_limiter_that_was_chosen_against_the_variable_is_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Left out, the variable would decide the next time.
    """
    monkeypatch.setenv(LIMITER_VARIABLE, "host")

    assert CommandSettings(limiter="local").arguments() == ["--limiter", "local"]
    assert CommandSettings(limiter="host").arguments() == []
    assert CommandSettings(limiter="local").arguments({"limiter"}) == []
