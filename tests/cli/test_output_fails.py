"""
A disk that is full and readers that are gone: what was not printed is not lost.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from onehouse_tracker.testing import SimulatedProject, SimulatorServer
from onehouse_tracker.testing.statements import Kind
from tests.cli.harness import STILL_PENDING, Ended, end, line, run, start
from tests.journal.files import state

FAST = ("--limit", "1000")
KINDS = [Kind(label="SHOW", duration=0)]
NO_SPACE = "error: cannot write the output: No space left on device\n"

pytestmark = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="there is no device that is always full"
)


async def to_full_disk(*arguments: str, variables: Mapping[str, str]) -> Ended:
    """Run the command with a stdout that takes nothing."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        process = await start(arguments, variables, stdout=full)
    finally:
        os.close(full)
    return await end(process)


def two() -> SimulatedProject:
    """Two requests that have ended."""
    project = SimulatedProject()
    project.add("a", 0)
    project.add("b", 0)
    return project


@pytest.mark.parametrize("output", ["text", "json", "csv", "jsonl"])
async def test_what_was_not_printed_comes_again(output: str, tmp_path: Path) -> None:
    """
    A result is delivered when it was written, and not when it was known.
    """
    path = tmp_path / "t.db"
    async with SimulatorServer(two()) as server:
        variables = server.environment()
        full = await to_full_disk(
            *("wait", "a", "b", "--journal", str(path), "-o", output, *FAST), variables=variables
        )
        before = state(path)
        again = await run(
            "resume", "--journal", str(path), "-o", "jsonl", *FAST, variables=variables
        )

    assert full.code == 2
    assert full.err.startswith(NO_SPACE)
    assert f"resume --limit 1000 --journal {path}" in full.err
    assert "acknowledged" not in before.values()
    assert {each["request_id"] for each in again.objects()} == {"a", "b"}
    assert state(path) == {"a": "acknowledged", "b": "acknowledged"}


async def test_without_a_journal_the_ids_are_named() -> None:
    """
    They can be asked about again, at the price of one question each.
    """
    async with SimulatorServer(two()) as server:
        ended = await to_full_disk("wait", "a", "b", *FAST, variables=server.environment())

    assert (ended.code, ended.err) == (
        2,
        f"{NO_SPACE}still open: a b\ncontinue with: onehouse-tracker wait --limit 1000 a b\n",
    )


@pytest.mark.parametrize("output", ["text", "json", "csv", "jsonl"])
async def test_accepted_statements_are_named_on_stderr(output: str) -> None:
    """
    A statement whose ID is printed nowhere runs, and nobody can follow it.
    """
    async with SimulatorServer(SimulatedProject(kinds=KINDS)) as server:
        ended = await to_full_disk(
            "submit", "SHOW A", "SHOW B", "-o", output, *FAST, variables=server.environment()
        )

    told = [
        f"accepted but not printed: statement {number} {request_id}"
        for number, request_id in enumerate(server.project.requests, 1)
    ]
    assert ended.code == 2
    assert [each for each in ended.err.splitlines() if each.startswith("accepted")] == told
    assert told
    if output in ("text", "jsonl"):
        assert "not submitted: statement 2 of 2\n" in ended.err
    assert ended.err.endswith(NO_SPACE)


@pytest.mark.parametrize("wait", [(), ("--wait", "--quiet")])
async def test_a_reader_that_is_gone_costs_no_id(wait: tuple[str, ...]) -> None:
    """
    ``submit A B C | head -n1`` looks harmless.
    """
    read, write = os.pipe()
    os.close(read)
    async with SimulatorServer(SimulatedProject(kinds=KINDS)) as server:
        process = await start(
            ["submit", "SHOW A", *wait, *FAST], server.environment(), stdout=write
        )
        os.close(write)
        ended = await end(process)

    (request_id,) = server.project.requests
    assert ended.code == 141
    assert ended.err == f"accepted but not printed: statement 1 {request_id}\n"


async def test_an_interruption_of_a_pipe_says_how_to_continue() -> None:
    """
    Ctrl-C reaches all of a pipe: whoever reads is gone when the results are printed.
    """
    project = SimulatedProject()
    project.add("done", 0)
    project.script("slow", [STILL_PENDING] * 10_000)
    read, write = os.pipe()
    async with SimulatorServer(project) as server:
        process = await start(
            ["wait", "done", "slow", "--verbose", *FAST], server.environment(), stdout=write
        )
        os.close(write)
        assert process.stderr is not None
        async with asyncio.timeout(20):
            while b"SUCCEEDED" not in await process.stderr.readline():
                pass
        os.close(read)
        process.send_signal(signal.SIGINT)
        ended = await end(process)

    assert ended.code == 130
    assert "interrupted: 1 of 2 known\n" in ended.err
    assert ended.err.endswith("continue with: onehouse-tracker wait --limit 1000 slow\n")


async def test_a_journal_that_failed_is_not_what_to_go_on_with(tmp_path: Path) -> None:
    """
    It would fail again.
    """
    path = tmp_path / "t.db"
    project = SimulatedProject()
    project.add("done", 0)
    project.script("slow", [STILL_PENDING] * 10_000)
    async with SimulatorServer(project) as server:
        variables = server.environment()
        await run("wait", "done", "--journal", str(path), *FAST, variables=variables)
        process = await start(
            ["wait", "--from", "-", "--journal", str(path), "-o", "jsonl", *FAST], variables
        )
        assert process.stdin is not None
        process.stdin.write(b"slow\ndone\n")
        await line(process)
        with closing(sqlite3.connect(path, isolation_level=None)) as damage:
            damage.execute("DROP TABLE requests")
        ended = await end(process, "more\n")

    assert ended.code == 2
    assert "continue with: onehouse-tracker wait --limit 1000 --output jsonl " in ended.err
    assert "resume" not in ended.err
    assert "--journal" not in ended.err


async def test_a_stderr_that_is_full_or_closed_disturbs_nothing() -> None:
    """
    The exit code must do, and stdout is what counts.
    """
    full = os.open("/dev/full", os.O_WRONLY)
    async with SimulatorServer(two()) as server:
        variables = server.environment()
        try:
            process = await start(["wait", "a", "-o", "jsonl", *FAST], variables, stderr=full)
        finally:
            os.close(full)
        ended = await end(process)

    assert ended.code == 0
    assert [each["request_id"] for each in ended.objects()] == ["a"]
