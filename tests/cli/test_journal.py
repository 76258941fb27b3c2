"""
``--journal``, ``resume`` and ``journal``: a shell's way through a crash.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
from pathlib import Path

import pytest

from onehouse_tracker.journal import Intended, RunEntry, SqliteJournal
from onehouse_tracker.models import ApiStatus
from onehouse_tracker.run_results import RunOutcome
from onehouse_tracker.testing.server import SimulatorServer
from onehouse_tracker.testing.simulated_project import SimulatedProject
from tests.cli.harness import end, line, run, start
from tests.journal.files import NOON, added, opened, recorded, state

FAST = ("--limit", "1000")
"""The client's own budget out of the way: the simulator of these tests has none."""

FOREVER = 1e6


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal will be."""
    return tmp_path / "tracker.db"


async def test_killed_wait_is_resumed_and_repeats_no_line(path: Path) -> None:
    """
    SIGKILL in the middle: `resume` prints the lines that are missing, and asks about nothing
    that is known.
    """
    project = SimulatedProject()
    for name in ("first", "second"):
        project.add(name, 0)
    project.add("late", FOREVER, label="RUN JOB")
    arguments = ["first", "second", "late", "--journal", str(path), "--output", "jsonl", *FAST]
    async with SimulatorServer(project) as server:
        process = await start(["wait", *arguments], server.environment())
        lines = [await line(process), await line(process)]
        # Both lines are there; that the second is acknowledged nobody has promised.
        process.send_signal(signal.SIGKILL)
        await end(process)
        project.requests["late"].duration = 0
        polls = project.requests["first"].polls
        ended = await run(
            "resume",
            "--journal",
            str(path),
            "--output",
            "jsonl",
            *FAST,
            variables=server.environment(),
        )

    assert [json.loads(text)["request_id"] for text in lines] == ["first", "second"]
    assert ended.code == 0
    resumed = [item["request_id"] for item in ended.objects()]
    assert resumed in (["late"], ["second", "late"])
    assert project.requests["first"].polls == polls
    assert set(state(path).values()) == {"acknowledged"}


async def test_interrupted_wait_names_the_command_that_resumes(path: Path) -> None:
    """
    What stands there can be pasted: the journal knows the requests.
    """
    project = SimulatedProject()
    project.add("done", 0)
    project.add("open", FOREVER)
    async with SimulatorServer(project) as server:
        ended = await run(
            "wait",
            "done",
            "open",
            "--journal",
            str(path),
            "--timeout",
            "1",
            "--label",
            "RUN JOB",
            *FAST,
            variables=server.environment(),
        )
        command = ended.err.strip().rpartition("continue with: onehouse-tracker ")[2]
        resumed = await run(*shlex.split(command), variables=server.environment())

    assert resumed.code == 124
    assert resumed.out.splitlines()[1].split()[:4] == ["open", "TIMED_OUT", "RUN", "JOB"]
    assert ended.code == 124
    assert "1 still open\n" in ended.err
    assert f"continue with: onehouse-tracker resume --timeout 1 --limit 1000 --journal {path}" in (
        ended.err
    )
    assert state(path) == {"done": "acknowledged", "open": "pending"}


async def test_resuming_what_does_not_exist_is_a_mistake(path: Path) -> None:
    """
    A path that is misspelt must not look like a job that is done.
    """
    async with SimulatorServer() as server:
        ended = await run("resume", "--journal", str(path), variables=server.environment())

    assert ended.code == 2
    assert ended.err == f"error: journal {path}: there is no such file\n"
    assert os.listdir(path.parent) == []  # noqa: PTH208 - the linter objects to Path here


async def test_journal_that_is_in_use_is_exit_code_2(path: Path) -> None:
    """
    Two writers are refused with a sentence, and looking is allowed.
    """
    journal = opened(path)
    journal.write([added("a")])
    async with SimulatorServer() as server:
        refused = await run("wait", "b", "--journal", str(path), variables=server.environment())
    shown = await run("journal", str(path), variables={})
    journal.close()

    assert refused.code == 2
    assert "writes to it" in refused.err
    assert "Traceback" not in refused.err
    assert server.seen == []
    assert shown.code == 0
    assert shown.out.splitlines()[1].split() == ["a", "PENDING"]


async def test_resuming_a_journal_that_is_in_use_says_by_whom_and_when_to_go_on(
    path: Path,
) -> None:
    """
    The other process goes on with it: no command may have all of that asked about twice.
    """
    journal = opened(path)
    journal.write([added("a"), added("b"), recorded("c")])
    arguments = ["resume", "--journal", str(path), "--limiter", "host", "--limit", "5"]
    project = SimulatedProject()
    for name in "ab":
        project.add(name, 0)
    async with SimulatorServer(project) as server:
        variables = server.environment()
        refused = await run(*arguments, variables=variables)
        assert server.seen == []
        command = refused.err.strip().rpartition("continue after that with: onehouse-tracker ")[2]
        journal.close()
        resumed = await run(*shlex.split(command), "--limit", "100", variables=variables)

    assert refused.code == 2
    assert f"process {os.getpid()} on" in refused.err
    assert "3 still open" in refused.err
    assert command == f"resume --limit 5 --limiter host --journal {path}"
    assert refused.out == ""
    assert resumed.code == 0
    assert set(state(path).values()) == {"acknowledged"}


async def test_journal_shows_everything_without_a_server(path: Path) -> None:
    """
    What is known, what is pending, what was not delivered, and what nobody knows.
    """
    journal = SqliteJournal(path)
    journal.open()
    journal.write([added("p", "slow"), recorded("r")])
    journal.write([Intended("k", "RUN JOB secret-name", "nightly", NOON)])
    journal.close()

    text = await run("journal", str(path), variables={})
    lines = await run("journal", str(path), "--output", "jsonl", variables={})

    assert text.code == lines.code == 1  # of the statement nobody knows
    assert [row.split()[:2] for row in text.out.splitlines()[1:]] == [
        ["p", "PENDING"],
        ["r", "SUCCEEDED"],
    ]
    assert "1 succeeded, 1 still open" in text.err
    assert "1 not delivered yet" in text.err
    assert "fate unknown: nightly, 2026-01-01T12:00:00+00:00" in text.err
    assert "secret-name" not in text.out + text.err + lines.out
    objects = lines.objects()
    assert [(item["kind"], item["state"]) for item in objects] == [
        ("request", "pending"),
        ("request", "recorded"),
        ("statement", "sending"),
    ]
    assert objects[0]["label"] == "slow"
    assert objects[1]["status"] == ApiStatus.SUCCESS


async def test_looking_at_what_is_no_journal_is_exit_code_2(tmp_path: Path) -> None:
    """
    One sentence, and the file is left alone.
    """
    other = tmp_path / "ids.txt"
    other.write_text("request-1\n" * 500)

    ended = await run("journal", str(other), variables={})

    assert ended.code == 2
    assert ended.err.startswith(f"error: journal {other}: file is not a database")


async def test_submissions_are_written_down(path: Path) -> None:
    """
    `submit --journal` without waiting leaves requests that `resume` follows.
    """
    async with SimulatorServer(SimulatedProject(speed=1000)) as server:
        submitted = await run(
            "submit", "SHOW TABLES", "--journal", str(path), *FAST, variables=server.environment()
        )
        resumed = await run(
            "resume", "--journal", str(path), *FAST, variables=server.environment()
        )

    assert submitted.code == 0
    request_id = submitted.out.split()[0]
    assert resumed.out.splitlines()[1].split()[0] == request_id
    assert state(path) == {request_id: "acknowledged"}


async def test_runs_are_shown_and_are_never_taken_for_finished(path: Path) -> None:
    """
    `journal` lists runs with their outcomes; `resume` says how to go on with what still runs.
    """
    journal = opened(path)
    ends = {"good": RunOutcome.SUCCEEDED, "bad": RunOutcome.FAILED, "long": None}
    journal.write(
        [
            RunEntry(
                key=job, kind="job run", job=job, run_id=f"run-{job}", outcome=outcome, at=NOON
            )
            for job, outcome in ends.items()
        ]
    )
    journal.close()
    async with SimulatorServer(SimulatedProject()) as server:
        shown, lines, resumed = await asyncio.gather(
            run("journal", str(path), variables={}),
            run("journal", str(path), "-o", "jsonl", "--only", "failed", variables={}),
            run("resume", "--journal", str(path), *FAST, variables=server.environment()),
        )

    table = {row.split()[0]: row.split()[1:3] for row in shown.out.splitlines()}
    assert table["run-good"] == ["good", "SUCCEEDED"]
    assert table["run-bad"] == ["bad", "FAILED"]
    assert table["run-long"] == ["long", "PENDING"]
    assert "runs: 1 succeeded, 1 failed, 1 still open" in shown.err
    assert shown.code == 1
    (failed,) = map(json.loads, lines.out.splitlines())
    assert (failed["kind"], failed["job"], failed["ok"]) == ("run", "bad", False)
    assert failed["state"] == "recorded"
    assert resumed.code == 1
    assert "1 of its runs has not ended; follow with: onehouse-tracker runs" in resumed.err
    assert f"--journal {path}" in resumed.err
    assert "never sent" not in resumed.err


async def test_resume_says_how_to_go_on_with_statements_that_were_not_sent(path: Path) -> None:
    """
    Only the command of the first time knows their text.
    """
    journal = opened(path)
    journal.write([RunEntry(key="k", kind="job run", job="x", statement="RUN JOB x", at=NOON)])
    journal.close()
    async with SimulatorServer(SimulatedProject()) as server:
        resumed = await run(
            "resume", "--journal", str(path), *FAST, variables=server.environment()
        )
    shown = await run("journal", str(path), "-o", "json", variables={})

    assert resumed.code == 1
    assert "1 never sent" in resumed.err
    assert "--resume" in resumed.err
    assert "not ended" not in resumed.err
    (only,) = json.loads(shown.out)
    assert (only["state"], only["job"], only["outcome"]) == ("planned", "x", None)
    assert shown.code == 0
