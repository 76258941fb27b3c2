"""
Several files, files that hold nothing, and paths as people write them.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Never

import pytest

from onehouse_tracker._checks import home
from onehouse_tracker.cli._options import Input
from onehouse_tracker.cli._sources import requests_from
from onehouse_tracker.errors import ConfigError
from onehouse_tracker.journal import JournalReader, SqliteJournal
from onehouse_tracker.limiters import HostLimiter
from onehouse_tracker.models import Request
from onehouse_tracker.onehouse.credentials import Credentials
from onehouse_tracker.report import check_report_path
from onehouse_tracker.testing import SimulatedProject, SimulatorServer
from onehouse_tracker.testing.statements import Kind
from tests.cli.harness import STILL_PENDING, end, line, run, start

FAST = ("--limit", "1000")
NOTHING = "if that is well, give --allow-empty\n"


def project_of(*request_ids: str) -> SimulatedProject:
    """Requests that have ended."""
    project = SimulatedProject()
    for request_id in request_ids:
        project.add(request_id, 0)
    return project


def names(directory: Path) -> set[str]:
    """What is in it."""
    return {path.name for path in directory.iterdir()}


@pytest.mark.parametrize("command", ["wait", "status"])
async def test_several_files_are_read_in_order(command: str, tmp_path: Path) -> None:
    """
    Each may have its own form, and stdin has its place among them.
    """
    (tmp_path / "a.txt").write_text("a1\na2\n")
    (tmp_path / "b.csv").write_text("request_id,label\nb1,SHOW\n")
    files = ("--from", str(tmp_path / "b.csv"), "--from", "-", "--from", str(tmp_path / "a.txt"))
    project = project_of("first", "b1", "piped", "a1", "a2")
    async with SimulatorServer(project) as server:
        ended = await run(
            *(command, "first", *files, "--output", "json", *FAST),
            variables=server.environment(),
            given="piped\n",
        )

    assert ended.code == 0
    items = json.loads(ended.out)
    assert [item["request_id"] for item in items] == ["first", "b1", "piped", "a1", "a2"]
    assert items[1]["label"] == "SHOW"


async def test_statements_of_several_files_are_submitted_in_order(tmp_path: Path) -> None:
    """
    Here a file that is dropped is work that is never done.
    """
    (tmp_path / "a.sql").write_text("SHOW TABLES;\nSHOW JOBS;")
    (tmp_path / "b.sql").write_text("DESCRIBE TABLE t;")
    files = ("--from", str(tmp_path / "b.sql"), "--from", str(tmp_path / "a.sql"))
    async with SimulatorServer(SimulatedProject(kinds=[Kind(label="x", duration=0)])) as server:
        ended = await run("submit", "SHOW A", *files, *FAST, variables=server.environment())

    assert ended.code == 0
    labels = [each.partition("\t")[2] for each in ended.out.splitlines()]
    assert labels == ["SHOW A", "DESCRIBE TABLE", "SHOW TABLES", "SHOW JOBS"]


async def test_a_mistake_in_the_second_file_costs_no_poll(tmp_path: Path) -> None:
    """
    All files are checked before anything is asked; the message names the file.
    """
    (tmp_path / "a.txt").write_text("a\n")
    (tmp_path / "b.txt").write_text(f"b\n{'x' * 300}\n")
    async with SimulatorServer() as server:
        ended = await run(
            *("wait", "--from", str(tmp_path / "a.txt"), "--from", str(tmp_path / "b.txt")),
            variables=server.environment(),
        )

    assert (ended.code, server.seen) == (2, [])
    assert ended.err.startswith(f"error: {tmp_path / 'b.txt'}, line 2: ")


@pytest.mark.parametrize("command", ["status", "submit"])
async def test_stdin_cannot_be_named_twice(command: str) -> None:
    """
    The second time it would be empty.
    """
    async with SimulatorServer() as server:
        ended = await run(
            command, "--from", "-", "--from", "-", variables=server.environment(), given="a\n"
        )

    assert (ended.code, server.seen) == (2, [])
    assert ended.err == "error: stdin is named twice by --from: it can be read only once\n"


async def test_the_command_that_continues_names_all_files(tmp_path: Path) -> None:
    """
    Else whoever pastes it loses what stood in the first.
    """
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for file in files:
        file.write_text("".join(f"{file.stem}{number}\n" for number in range(15)))
    project = SimulatedProject()
    for file in files:
        for number in range(15):
            project.add(f"{file.stem}{number}", 1e6)
    async with SimulatorServer(project) as server:
        ended = await run(
            *("wait", "--from", str(files[0]), "--from", str(files[1]), "--timeout", "0.2"),
            variables=server.environment(),
        )

    assert ended.code == 124
    assert ended.err.splitlines()[-1] == (
        f"continue with: onehouse-tracker wait --timeout 0.2 --from {files[0]} --from {files[1]}"
    )


EMPTY = {"comments.txt": "# none today\n\n", "header.csv": "request_id,label\n", "none.json": "[]"}


@pytest.mark.parametrize("name", EMPTY)
async def test_a_file_without_ids_is_no_success(name: str, tmp_path: Path) -> None:
    """
    The step that should have written it has probably failed.
    """
    file = tmp_path / name
    file.write_text(EMPTY[name])
    async with SimulatorServer(project_of("a")) as server:
        refused = await run("wait", "a", "--from", str(file), variables=server.environment())

    assert (refused.code, refused.out, server.seen) == (2, "", [])
    assert refused.err == f"error: no request IDs in {file}; {NOTHING}"


@pytest.mark.parametrize(
    ("command", "what"),
    [("wait", "request IDs"), ("status", "request IDs"), ("submit", "statements")],
)
async def test_a_pipe_without_anything_is_no_success_unless_it_may_be(
    command: str, what: str
) -> None:
    """
    The same rule for each command, and the same way out.
    """
    async with SimulatorServer() as server:
        variables = server.environment()
        refused = await run(command, "--from", "-", variables=variables)
        allowed = await run(command, "--from", "-", "--allow-empty", variables=variables)

    assert (refused.code, refused.err) == (2, f"error: no {what} in stdin; {NOTHING}")
    assert (allowed.code, allowed.out, server.seen) == (0, "", [])


# --- Paths -------------------------------------------------------------------------------


async def test_every_path_may_begin_with_a_tilde(tmp_path: Path) -> None:
    """
    Where no shell expands it: in a service file, behind an equals sign, in Python's subprocess.
    """
    (tmp_path / "ids").write_text("a\n")
    work = tmp_path / "work"
    work.mkdir()
    async with SimulatorServer(project_of("a")) as server:
        variables = {**server.environment(), "HOME": str(tmp_path)}
        process = await start(
            [
                *("wait", "--from=~/ids", "--journal=~/t.db", "--report=~/r.html"),
                *("--limiter=host:~/budget", *FAST),
            ],
            variables,
            cwd=work,
        )
        ended = await end(process)
        shown = await run("journal", "~/t.db", variables=variables)
        reported = await run("report", "~/t.db", "--out=~/j.html", variables=variables)

    assert (ended.code, shown.code, reported.code) == (0, 0, 0)
    assert names(work) == set()
    assert {"t.db", "r.html", "budget", "j.html"} <= names(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (["wait", "--from", "~/x"], "~/x"),
        (["wait", "a", "--journal", "~/x"], "~/x"),
        (["wait", "a", "--limiter", "host:~nobody-at-all/x"], "~nobody-at-all/x"),
        (["report", "~nobody-at-all/x"], "~nobody-at-all/x"),
    ],
)
async def test_a_home_that_is_not_there_is_told(
    arguments: list[str], path: str, tmp_path: Path
) -> None:
    """
    Else a directory that is called ``~`` is made, or a traceback shown.
    """
    async with SimulatorServer(project_of("a")) as server:
        process = await start(arguments, {**server.environment(), "HOME": ""}, cwd=tmp_path)
        ended = await end(process)

    why = "there is no home" if path == "~/x" else "the home directories of others"
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {path}: {why}")
    assert server.seen == []
    assert names(tmp_path) == set()


TAKERS: dict[str, Callable[[str], object]] = {
    "journal": SqliteJournal,
    "reader": JournalReader,
    "limiter": lambda path: HostLimiter(path=path),
    "report": check_report_path,
    "credentials": lambda path: Credentials.from_env(credentials_file=path),
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("path", ["~nobody-at-all/x", "~root", "~/x", "~", "~/a\0b"])
def test_whatever_takes_a_path_refuses_the_same(
    taker: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One function reads them all.
    """
    monkeypatch.setenv("HOME", "")

    with pytest.raises(ConfigError):
        TAKERS[taker](path)


def test_a_user_number_without_an_entry_has_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    As in a container that runs under a number of its own.
    """

    def no_entry(_: int) -> Never:
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", no_entry)

    assert home() is None


# --- A terminal that is closed -----------------------------------------------------------


async def test_a_closed_terminal_ends_it_in_peace(tmp_path: Path) -> None:
    """
    What is known is in the file that stdout leads to, as after SIGTERM.
    """
    project = project_of("done")
    project.add("slow", 1e6)
    async with SimulatorServer(project) as server:
        process = await start(
            ["wait", "--output", "jsonl", *FAST, "done", "slow"],
            server.environment(),
            # Whoever runs the tests may have said nohup.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )
        await line(process)
        process.send_signal(signal.SIGHUP)
        ended = await end(process)

    assert ended.code == 130
    assert ended.err.splitlines()[0] == "interrupted: 1 of 2 known"
    assert ended.err.endswith("wait --limit 1000 --output jsonl slow\n")


async def test_whoever_said_nohup_is_left_alone() -> None:
    """
    It asks for exactly that: to go on when the terminal is closed.
    """
    project = project_of("done", "later")
    project.script("later", [STILL_PENDING] * 2)
    async with SimulatorServer(project) as server:
        process = await start(
            ["wait", "--output", "jsonl", *FAST, "done", "later"],
            server.environment(),
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        )
        await line(process)
        os.kill(process.pid, signal.SIGHUP)
        ended = await end(process)

    assert ended.code == 0
    assert "2 succeeded" in ended.err


# --- Very many ---------------------------------------------------------------------------


async def test_one_odd_line_among_thousands_is_named(tmp_path: Path) -> None:
    """
    However fast the others are read.
    """
    ids = [f"{uuid.UUID(int=number)}\n" for number in range(5_000)]
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    good.write_text("".join(ids))
    bad.write_text("".join([*ids[:4_000], f"{'x' * 300}\n", *ids[4_000:]]))
    async with SimulatorServer() as server:
        ended = await run(
            *("wait", "--from", str(good), "--from", str(bad)), variables=server.environment()
        )

    assert (ended.code, server.seen) == (2, [])
    assert ended.err.startswith(f"error: {bad}, line 4001: ")


@pytest.mark.parametrize("end_of_line", ["\n", "\r\n"])
def test_ids_of_the_service_are_read_as_any_others(end_of_line: str, tmp_path: Path) -> None:
    """
    The short way leads where the long one does.
    """
    ids = [str(uuid.UUID(int=number << 64)) for number in range(2_500)]
    short, long = tmp_path / "short", tmp_path / "long"
    short.write_bytes("".join(f"{each}{end_of_line}" for each in ids).encode())
    long.write_bytes(b"# as any others\n" + short.read_bytes())

    assert read(short) == read(long) == [Request(each) for each in ids]


def read(path: Path) -> list[Request]:
    """All that is in it."""

    async def requests() -> list[Request]:
        return [each async for each in await requests_from([], Input(sources=[str(path)]))]

    return asyncio.run(requests())


async def test_a_pipe_that_was_not_read_to_its_end_is_told_with_a_journal_too(
    tmp_path: Path,
) -> None:
    """
    The journal holds only what has come out of the pipe by then.
    """
    project = SimulatedProject()
    project.add("slow", 1e6)
    read_end, write_end = os.pipe()
    async with SimulatorServer(project) as server:
        process = await start(
            ["wait", "--from", "-", "--journal", str(tmp_path / "t.db"), *FAST],
            server.environment(),
            stdin=read_end,
        )
        os.close(read_end)
        os.write(write_end, b"slow\n")
        async with asyncio.timeout(20):
            while not server.seen:  # noqa: ASYNC110 - a real socket
                await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        ended = await end(process)
        os.close(write_end)

    assert ended.code == 130
    assert ended.err.splitlines()[1:3] == ["not all requests were read by then", "1 still open"]
