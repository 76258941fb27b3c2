"""
``--report`` and ``onehouse-tracker report``: a file is there whatever happened.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from onehouse_tracker import JournalError, SqliteJournal
from onehouse_tracker.cli._codes import CommandError
from onehouse_tracker.cli._html_report import recorded, report_journal
from onehouse_tracker.cli._terminal import Terminal
from onehouse_tracker.events import RequestJoined
from onehouse_tracker.report._view import named_rows
from onehouse_tracker.testing import SimulatedProject, SimulatorServer, faults
from tests.cli.harness import STILL_PENDING, end, run, start

HAPPENED = RequestJoined(at=1.0, request_id="a", label=None, age=0.0)
"""Something to report."""


def data(path: Path) -> dict[str, Any]:
    """What a report shows."""
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', path.read_text()
    )
    assert found is not None
    view: dict[str, Any] = json.loads(found[1])
    return view


def states(path: Path) -> dict[str, str]:
    """How the requests of a report stand."""
    return {row["request_id"]: row["state"] for row in named_rows(data(path))}


async def test_a_run_leaves_a_report(tmp_path: Path) -> None:
    """
    With what only the run knows: when each poll was sent.
    """
    project = SimulatedProject()
    project.add("a", 0.0)
    project.add("b", 0.0, "API_OPERATION_STATUS_FAILED", response={"message": "no <cluster>"})
    report = tmp_path / "out.html"
    async with SimulatorServer(project) as server:
        ended = await run(
            "wait", "a", "b", "--report", str(report), variables=server.environment()
        )

    view = data(report)
    assert ended.code == 1
    assert ended.err.endswith(f"report: {report}\n1 succeeded, 1 failed\n")
    assert states(report) == {"a": "SUCCEEDED", "b": "FAILED"}
    assert named_rows(view)[1]["reason"] == "no <cluster>"
    assert view["head"]["limit"] == 10.0
    assert sum(view["budget"]["polls"]) == 2


async def test_an_interrupted_run_leaves_a_report(tmp_path: Path) -> None:
    """
    That is when people want to know how far it came.
    """
    project = SimulatedProject()
    project.script("slow", [STILL_PENDING] * 1000)
    project.add("done", 0.0)
    report = tmp_path / "out.html"
    async with SimulatorServer(project) as server:
        process = await start(
            ["wait", "slow", "done", "--report", str(report), "-o", "jsonl"],
            server.environment(),
        )
        assert process.stdout is not None
        async with asyncio.timeout(20):
            await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        ended = await end(process)

    assert ended.code == 130
    assert states(report) == {"slow": "OPEN", "done": "SUCCEEDED"}


async def test_a_run_that_times_out_or_fails_leaves_a_report(tmp_path: Path) -> None:
    """
    The reason of it all stands in the report.
    """
    project = SimulatedProject()
    project.script("slow", [STILL_PENDING] * 1000)
    late, refused = tmp_path / "late.html", tmp_path / "refused.html"
    async with SimulatorServer(project) as server:
        variables = server.environment()
        timed_out = await run(
            "wait", "slow", "--timeout", "0.6", "--report", str(late), variables=variables
        )
        project.script_next([faults.unauthorized()])
        failed = await run("wait", "slow", "--report", str(refused), variables=variables)

    assert (timed_out.code, failed.code) == (124, 3)
    assert states(late) == {"slow": "TIMED_OUT"}
    assert states(refused) == {"slow": "OPEN"}
    assert "refused the credentials" in data(refused)["head"]["failure"]


async def test_a_report_that_cannot_be_written_is_told_before_anything_is_done(
    tmp_path: Path,
) -> None:
    """
    Not after an hour of waiting.
    """
    project = SimulatedProject()
    async with SimulatorServer(project) as server:
        ended = await run(
            "wait",
            "a",
            "--report",
            str(tmp_path / "no" / "x.html"),
            variables=server.environment(),
        )

    assert ended.code == 2
    assert ended.err.startswith("error: cannot write the report ")
    assert project.arrived == 0


async def test_submit_with_a_report_must_wait(tmp_path: Path) -> None:
    """
    A report of what nobody followed would be an empty page.
    """
    ended = await run("submit", "SHOW A", "--report", str(tmp_path / "x.html"), variables={})

    assert ended.code == 2
    assert "give --wait as well" in ended.err


async def test_a_journal_becomes_a_report_beside_it(tmp_path: Path) -> None:
    """
    Its name is what the command prints, so that `open $(...)` works.
    """
    journal = tmp_path / "t.db"
    project = SimulatedProject()
    project.add("a", 0.0)
    async with SimulatorServer(project) as server:
        await run("wait", "a", "--journal", str(journal), variables=server.environment())
    ended = await run("report", str(journal), variables={})

    assert (ended.code, ended.out, ended.err) == (0, f"{tmp_path / 't.html'}\n", "")
    assert states(tmp_path / "t.html") == {"a": "SUCCEEDED"}


async def test_what_is_no_journal_is_a_sentence(tmp_path: Path) -> None:
    """
    And nothing is overwritten, least of all the journal.
    """
    journal = tmp_path / "t.html"
    journal.write_text("something else")
    terminal = Terminal()

    with pytest.raises(CommandError, match="choose another --out"):
        await report_journal(terminal, str(journal), None)
    with pytest.raises(CommandError, match="file is not a database"):
        await report_journal(terminal, str(journal), str(tmp_path / "x.html"))

    assert journal.read_text() == "something else"
    assert not (tmp_path / "x.html").exists()


async def test_the_demo_makes_a_report_that_knows_the_true_delays(tmp_path: Path) -> None:
    """
    It is the only one who can: it asks the simulated server.
    """
    report = tmp_path / "demo.html"
    ended = await run(
        "demo", "--count", "6", "--speed", "40", "--report", str(report), variables={}
    )

    assert ended.code == 0
    rows = named_rows(data(report))
    requests = [row for row in rows if row["run_id"] is None]
    assert len(requests) == 6
    assert all(row["delay"] is not None and row["delay"] >= 0 for row in requests)
    # The demo follows some of the runs that they started, each in a row of its own.
    assert [row["state"] for row in rows if row["run_id"]] == ["SUCCEEDED"]


def test_a_report_that_fails_at_the_end_does_not_hide_why_the_run_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The first error is the one to act on.
    """
    directory = tmp_path / "gone"
    directory.mkdir()

    def work() -> None:
        with recorded(Terminal(), str(directory / "r.html"), limit=10) as (recording,):
            recording(HAPPENED)
            directory.rmdir()
            raise JournalError("disk full")

    with pytest.raises(JournalError, match="disk full"):
        work()
    assert "error: cannot write the report" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_at_the_end_is_an_error(tmp_path: Path) -> None:
    """
    A script that asked for it must not go on as if it were there.
    """
    directory = tmp_path / "gone"
    directory.mkdir()

    def work() -> None:
        with recorded(Terminal(), str(directory / "r.html"), limit=10) as (recording,):
            recording(HAPPENED)
            directory.rmdir()

    with pytest.raises(CommandError, match="no such directory"):
        work()


def test_a_journal_is_only_read(tmp_path: Path) -> None:
    """
    Another process may be writing to it.
    """
    path = tmp_path / "t.db"
    with_one = SqliteJournal(path)
    with_one.open()
    try:
        asyncio.run(report_journal(Terminal(quiet=True), str(path), str(tmp_path / "r.html")))
    finally:
        with_one.close()

    assert states(tmp_path / "r.html") == {}


# --- What must not be overwritten ----------------------------------------------------------


@pytest.mark.parametrize("ending", ["", "-wal"])
async def test_the_journal_of_a_run_is_not_overwritten(ending: str, tmp_path: Path) -> None:
    """
    It is all that is left after a crash; and it may not be there yet when the name is checked.
    """
    journal = tmp_path / "t.db"
    async with SimulatorServer() as server:
        ended = await run(
            *("wait", "a", "--journal", str(journal)),
            *("--report", f"{tmp_path}/../{tmp_path.name}/t.db{ending}"),
            variables=server.environment(),
        )

    assert ended.code == 2
    assert "choose another --report" in ended.err
    assert server.seen == []
    assert not journal.exists()


def test_a_journal_is_recognised_however_it_is_spelt(tmp_path: Path) -> None:
    """
    A path has many spellings, and links make more of them.
    """
    journal = tmp_path / "t.db"
    with_one = SqliteJournal(journal)
    with_one.open()
    with_one.close()
    before = journal.read_bytes()
    (tmp_path / "soft.html").symlink_to(journal)
    (tmp_path / "hard.html").hardlink_to(journal)

    for name in (os.path.relpath(journal), str(tmp_path / "soft.html"), f"{tmp_path}/hard.html"):
        with pytest.raises(CommandError, match="choose another --out"):
            asyncio.run(report_journal(Terminal(), str(journal), name))

    assert journal.read_bytes() == before


async def test_a_run_that_does_not_begin_leaves_an_older_report_alone(tmp_path: Path) -> None:
    """
    An empty one in its place would tell nothing.
    """
    report = tmp_path / "r.html"
    report.write_text("older")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with SimulatorServer() as server:
            variables = server.environment()
            served = await run(
                *("wait", "a", "--report", str(report), "--page", port), variables=variables
            )
            variables["ONEHOUSE_API_KEY"] = ""
            keyless = await run("wait", "a", "--report", str(report), variables=variables)

    assert (served.code, keyless.code) == (2, 2)
    assert report.read_text() == "older"


def test_where_nothing_happened_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    And it is said, because a report was asked for.
    """
    report = tmp_path / "r.html"
    with recorded(Terminal(), str(report), limit=10):
        pass

    assert not report.exists()
    assert capsys.readouterr().err.startswith("no report: nothing happened")


# --- Live pages ----------------------------------------------------------------------------


async def test_a_run_serves_a_live_page_and_says_where() -> None:
    """
    For whoever waits in front of a browser; it ends with the run.
    """
    project = SimulatedProject()
    project.script("slow", [STILL_PENDING] * 1000)
    async with SimulatorServer(project) as server:
        process = await start(["wait", "slow", "--page", "0"], server.environment())
        assert process.stderr is not None
        async with asyncio.timeout(20):
            said = (await process.stderr.readline()).decode()
        url = said.removeprefix("live page: ").strip()
        async with aiohttp.ClientSession() as session, session.get(f"{url}events") as response:
            async with asyncio.timeout(5):
                while not (await response.content.readline()).startswith(b"data: "):
                    pass
            process.send_signal(signal.SIGINT)
            rest = (await response.content.read()).decode()
        ended = await end(process)

    assert ended.code == 130
    assert '"slow"' in rest
    assert '"OPEN"' in rest
    assert rest.endswith("event: over\ndata: {}\n\n")


async def test_a_port_that_is_taken_ends_the_command_before_anything_is_asked() -> None:
    """
    With what to do about it.
    """
    project = SimulatedProject()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with SimulatorServer(project) as server:
            ended = await run("wait", "a", "--page", str(port), variables=server.environment())

    assert ended.code == 2
    assert f"error: cannot serve the page on 127.0.0.1:{port}: " in ended.err
    assert "choose another port" in ended.err
    assert project.arrived == 0


async def test_submit_with_a_page_must_wait() -> None:
    """
    Otherwise it would be gone before anybody looks.
    """
    ended = await run("submit", "SHOW A", "--page", "0", variables={})

    assert ended.code == 2
    assert "give --wait as well" in ended.err
