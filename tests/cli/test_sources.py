"""
What is named by ``--from`` and cannot be read, or not a second time.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from onehouse_tracker.testing import SimulatedProject, SimulatorServer
from tests.cli.harness import end, environment, run


@pytest.mark.parametrize("command", ["wait", "status"])
async def test_what_cannot_be_read_is_not_taken_for_empty(command: str, tmp_path: Path) -> None:
    """
    A script that goes on after exit code 0 would take all for done.
    """
    async with SimulatorServer() as server:
        ended = await run(command, "--from", str(tmp_path), variables=server.environment())

    assert ended.code == 2
    assert ended.err == f"error: cannot read {tmp_path}: Is a directory\n"


@pytest.mark.parametrize("command", ["wait", "submit"])
async def test_a_closed_stdin_is_not_taken_for_empty(command: str) -> None:
    """
    Services often run without one; and its number may be a socket of our own by then.
    """
    async with SimulatorServer() as server:
        shell = await asyncio.create_subprocess_exec(
            *("sh", "-c", '"$0" -m onehouse_tracker "$1" --from - <&-', sys.executable, command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(server.environment()),
        )
        ended = await end(shell)

    assert (ended.code, ended.err) == (2, "error: cannot read stdin: it is closed\n")


async def test_a_pipe_is_not_named_again(tmp_path: Path) -> None:
    """
    What it held is gone: the command that continues names the IDs themselves.
    """
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    project = SimulatedProject()
    project.add("a", 1e6)
    async with SimulatorServer(project) as server:
        writer = asyncio.create_task(asyncio.to_thread(pipe.write_text, "a\tSHOW\n"))
        ended = await run(
            "wait", "--from", str(pipe), "--timeout", "0.3", variables=server.environment()
        )
        await writer

    assert ended.err.splitlines()[-1] == (
        "continue with: onehouse-tracker wait --timeout 0.3 --label SHOW a"
    )


async def test_a_closed_stderr_disturbs_nothing() -> None:
    """
    Log lines have nowhere to go then, and the results are what counts.
    """
    project = SimulatedProject()
    project.add("a", 0)
    async with SimulatorServer(project) as server:
        shell = await asyncio.create_subprocess_exec(
            *("sh", "-c", '"$0" -m onehouse_tracker wait a -v -o jsonl 2>&-', sys.executable),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(server.environment()),
        )
        ended = await end(shell)

    assert ended.code == 0
    assert [each["request_id"] for each in ended.objects()] == ["a"]
