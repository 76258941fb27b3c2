"""
``onehouse-tracker wait``: every exit code, and the shape of what it prints.
"""

import asyncio
import json
import os
import shlex
import signal
import sys
from pathlib import Path

import pytest

from onehouse_tracker.models import ApiStatus
from onehouse_tracker.testing.server import SimulatorServer
from onehouse_tracker.testing.simulated_project import SimulatedProject
from tests.cli.harness import STILL_PENDING, end, environment, line, run, start

FAST = ("--limit", "1000")
"""The client's own budget out of the way: the simulator of these tests has none."""

FOREVER = 1e6


async def test_all_ok_is_exit_code_0_and_one_json_object_per_id() -> None:
    """
    Scripts read one object per line, and the exit code tells them that all is well.
    """
    project = SimulatedProject()
    project.add("first", 0)
    project.add("second", 0, ApiStatus.SUCCESS_PARTIAL)
    project.script("second", [STILL_PENDING])
    async with SimulatorServer(project) as server:
        ended = await run(
            "wait", "first", "second", "--output", "jsonl", *FAST, variables=server.environment()
        )

    assert ended.code == 0
    objects = {item["request_id"]: item for item in ended.objects()}
    assert list(objects) == ["first", "second"]
    assert objects["first"]["outcome"] == "SUCCEEDED"
    assert objects["first"]["status"] == "API_OPERATION_STATUS_SUCCESS"
    assert objects["first"]["polls"] == 1
    assert 0 < objects["first"]["waited_s"] < 1
    assert objects["second"]["outcome"] == "PARTIALLY_SUCCEEDED"
    assert ended.err == "1 succeeded, 1 partially succeeded\n"


async def test_a_failed_request_is_exit_code_1() -> None:
    """
    One bad end among good ones must stop the script that checks the exit code.
    """
    project = SimulatedProject()
    project.add("good", 0)
    project.add(
        "bad", 0, ApiStatus.FAILED, label="RUN JOB", response={"errorMessage": "no\x1b[2J space"}
    )
    async with SimulatorServer(project) as server:
        ended = await run("wait", "good", "bad", *FAST, variables=server.environment())

    assert ended.code == 1
    head, good, bad = ended.out.splitlines()
    assert head.split() == ["REQUEST", "OUTCOME", "POLLS", "WAITED", "REASON"]
    assert good.split()[:3] == ["good", "SUCCEEDED", "1"]
    assert bad.split()[:3] == ["bad", "FAILED", "1"]
    assert bad.endswith("no [2J space")  # a reason cannot steer the terminal
    assert head.index("OUTCOME") == good.index("SUCCEEDED") == bad.index("FAILED")


async def test_missing_credentials_are_exit_code_2_without_a_traceback() -> None:
    """
    The first thing a new user sees; it must say what to set.
    """
    ended = await run("wait", "some-id", variables={})

    assert ended.code == 2
    assert ended.out == ""
    assert "ONEHOUSE_API_KEY" in ended.err
    assert "Traceback" not in ended.err


async def test_refused_credentials_are_exit_code_3_after_one_request() -> None:
    """
    A wrong key fails once, not once per ID, and the command that continues is offered.
    """
    expected = {"x-onehouse-api-key": "right"}
    async with SimulatorServer(expected_headers=expected) as server:
        variables = {**server.environment(), "ONEHOUSE_API_KEY": "wrong-key"}
        ended = await run("wait", "a", "b", "c", *FAST, variables=variables)

    assert ended.code == 3
    assert len(server.seen) == 1
    assert ended.err.startswith("error: ")
    assert "continue with: onehouse-tracker wait --limit 1000 a b c\n" in ended.err
    assert "wrong-key" not in ended.out + ended.err


async def test_a_timeout_is_exit_code_124_even_if_another_request_failed() -> None:
    """
    What timed out can be waited for again, so that is what the exit code tells.
    """
    project = SimulatedProject()
    project.add("slow", FOREVER)
    project.add("bad", 0, ApiStatus.FAILED)
    async with SimulatorServer(project) as server:
        ended = await run(
            *("wait", "slow", "bad", "--timeout", "0.3s", "--label", "RUN JOB", *FAST),
            variables=server.environment(),
        )

    assert ended.code == 124
    assert "1 failed, 1 timed out\nstill open: slow\n" in ended.err
    assert ended.err.endswith(
        "onehouse-tracker wait --timeout 0.3 --limit 1000 --label 'RUN JOB' slow\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interruption_is_exit_code_130_and_says_how_to_continue(
    number: signal.Signals,
) -> None:
    """
    Hours of waiting must not be lost to Ctrl-C, or to a scheduler that stops us.
    """
    project = SimulatedProject()
    project.add("done", 0, ApiStatus.FAILED)
    project.add("slow", FOREVER)
    project.add("-odd id", FOREVER)
    async with SimulatorServer(project) as server:
        process = await start(
            ["wait", "--output", "jsonl", *FAST, "--", "done", "slow", "-odd id"],
            server.environment(),
        )
        assert json.loads(await line(process))["request_id"] == "done"
        process.send_signal(number)
        ended = await end(process)

    assert ended.code == 130
    assert ended.err.splitlines() == [
        "interrupted: 1 of 3 known",
        "still open: slow '-odd id'",
        "continue with: onehouse-tracker wait --limit 1000 --output jsonl -- slow '-odd id'",
    ]


async def test_an_interruption_with_many_ids_points_at_their_file(tmp_path: Path) -> None:
    """
    Hundreds of IDs on the screen help nobody where they stand in a file.
    """
    ids = tmp_path / "my ids.txt"
    ids.write_text("\ufeffdone\n# a comment\n\n" + "".join(f"id{n}\n" for n in range(30)))
    project = SimulatedProject()
    project.add("done", 0)
    for number in range(30):
        project.add(f"id{number}", FOREVER)
    async with SimulatorServer(project) as server:
        process = await start(
            ["wait", "--from", str(ids), "--output", "jsonl", *FAST], server.environment()
        )
        await line(process)
        process.send_signal(signal.SIGINT)
        ended = await end(process)

    assert ended.code == 130
    interrupted, still_open, command = ended.err.splitlines()
    assert interrupted == "interrupted: 1 of 31 known"
    assert still_open.startswith("still open: id0 id1 ")
    assert still_open.endswith(" id19 ... and 10 more")
    assert command == (
        f"continue with: onehouse-tracker wait --limit 1000 --output jsonl --from '{ids}'"
    )


async def test_the_command_that_continues_keeps_labels_and_ages() -> None:
    """
    What came through a pipe is gone; without its labels the schedule would learn nothing.
    """
    project = SimulatedProject()
    for name in ("a", "b", "c"):
        project.add(name, FOREVER)
    given = (
        '{"request_id": "a", "label": "it\'s", "submitted_at": "2026-01-31T12:00:00+00:00"}\n'
        '{"request_id": "b"}\n'
    )
    arguments = ["wait", "c", "--from", "-", "--timeout", "0.2", "--label", "RUN JOB", *FAST]
    async with SimulatorServer(project) as server:
        ended = await run(*arguments, variables=server.environment(), given=given)
        command = ended.err.splitlines()[-1].removeprefix("continue with: ")
        shell = await asyncio.create_subprocess_shell(
            command.replace(
                "onehouse-tracker", f"{shlex.quote(sys.executable)} -m onehouse_tracker"
            ),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(server.environment()),
        )
        again = await end(shell)

    assert ended.code == again.code == 124
    assert again.err.splitlines()[-1] == ended.err.splitlines()[-1]
    assert [row.split()[:3] for row in again.out.splitlines()[1:]] == [
        ["c", "TIMED_OUT", "RUN"],
        ["a", "TIMED_OUT", "it's"],
        ["b", "TIMED_OUT", "RUN"],
    ]


async def test_a_file_with_labels_is_named_again(tmp_path: Path) -> None:
    """
    There the labels stand; and its columns are called what they were.
    """
    ids = tmp_path / "ids.csv"
    ids.write_text("id,label\na,RUN JOB\n")
    project = SimulatedProject()
    project.add("a", FOREVER)
    project.add("-b", FOREVER)
    async with SimulatorServer(project) as server:
        ended = await run(
            *("wait", "--from", str(ids), "--field", "id", "--timeout", "0.2", "--", "-b"),
            variables=server.environment(),
        )

    assert ended.code == 124
    assert ended.err.splitlines()[1:] == [
        "still open: -b a",
        f"continue with: onehouse-tracker wait --timeout 0.2 --from {ids} --field id -- -b",
    ]


async def test_a_second_interruption_ends_at_once() -> None:
    """
    Whoever presses Ctrl-C again does not want to wait for anything, such as a full pipe.
    """
    project = SimulatedProject()
    project.add("large", 0, response={"text": "x" * 1_000_000})
    read, write = os.pipe()
    async with SimulatorServer(project) as server:
        process = await start(
            ["wait", "large", "--output", "jsonl"], server.environment(), stdout=write
        )
        os.close(write)
        try:
            await asyncio.to_thread(os.read, read, 1)  # the rest does not fit into the pipe
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            assert await process.stderr.readline() == b"interrupted: 1 of 1 known\n"
            process.send_signal(signal.SIGINT)
            ended = await end(process)
        finally:
            os.close(read)

    assert (ended.code, ended.err) == (130, "")


async def test_ids_are_taken_from_stdin_as_they_are_written() -> None:
    """
    A producer that is slow is followed while it produces, and labels come along.
    """
    project = SimulatedProject()
    project.add("first", 0)
    project.add("second", 0)
    async with SimulatorServer(project) as server:
        process = await start(
            ["wait", "--from", "-", "--output", "jsonl", *FAST], server.environment()
        )
        assert process.stdin is not None
        process.stdin.write(b"first\tRUN JOB\n")
        first = json.loads(await line(process))  # stdin is still open
        ended = await end(process, '# and\n\n{"request_id": "second", "label": "SHOW"}')

    assert ended.code == 0
    assert (first["request_id"], first["label"]) == ("first", "RUN JOB")
    (second,) = ended.objects()
    assert (second["request_id"], second["label"]) == ("second", "SHOW")


async def test_an_interruption_does_not_wait_for_stdin() -> None:
    """
    The thread that reads stdin is blocked; neither it nor the interpreter may make a fuss.
    """
    project = SimulatedProject()
    project.add("done", 0)
    async with SimulatorServer(project) as server:
        process = await start(
            ["wait", "--from", "-", "--output", "jsonl", *FAST], server.environment()
        )
        assert process.stdin is not None
        process.stdin.write(b"done\n")
        await line(process)
        process.send_signal(signal.SIGINT)
        code = await process.wait()
        assert process.stderr is not None
        err = await process.stderr.read()

    assert code == 130
    assert err == b"interrupted: 1 of 1 known\n"


async def test_a_mistake_in_a_file_costs_no_request(tmp_path: Path) -> None:
    """
    The line is named, and nothing is sent before all lines are good.
    """
    ids = tmp_path / "ids"
    ids.write_bytes(b"good\nbad\x07\n")
    async with SimulatorServer() as server:
        ended = await run("wait", "--from", str(ids), variables=server.environment())

    assert ended.code == 2
    assert ended.err.startswith(f"error: {ids}, line 2: ")
    assert server.seen == []


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"\xff\n", "line 1: not UTF-8"), (b'{"request_id"\n', "JSON"), (b"{}\n", "request ID")],
)
async def test_what_is_no_id_is_named(content: bytes, complaint: str, tmp_path: Path) -> None:
    """
    Files come from other programs; what is wrong with them must be easy to find.
    """
    ids = tmp_path / "ids"
    ids.write_bytes(content)

    ended = await run("wait", "--from", str(ids), variables={})

    assert ended.code == 2
    assert complaint in ended.err


async def test_a_missing_file_is_a_sentence() -> None:
    """
    No traceback for a mistyped name.
    """
    ended = await run("wait", "--from", "no/such/file", variables={})

    assert ended.code == 2
    assert ended.err == "error: cannot read no/such/file: No such file or directory\n"


async def test_a_reader_that_goes_away_ends_the_command_quietly() -> None:
    """
    ``| head -1`` is how people look at output; it must not end in a traceback.
    """
    project = SimulatedProject()
    project.add("first", 0)
    project.add("second", 0)
    project.script("second", [STILL_PENDING])
    read, write = os.pipe()
    async with SimulatorServer(project) as server:
        process = await start(
            ["wait", "first", "second", "--output", "jsonl", *FAST],
            server.environment(),
            stdout=write,
        )
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            first = await asyncio.to_thread(pipe.readline)
        ended = await end(process)

    assert json.loads(first)["request_id"] == "first"
    assert (ended.code, ended.err) == (141, "")


async def test_quiet_leaves_stderr_to_errors() -> None:
    """
    A scheduler such as cron mails whatever is written to stderr.
    """
    project = SimulatedProject()
    project.add("done", 0)
    async with SimulatorServer(project) as server:
        variables = server.environment()
        del variables["ONEHOUSE_LINK_UID"]  # worth a warning
        variables["PYTHONWARNINGS"] = "default"
        loud = await run("wait", "done", variables=variables)
        quiet = await run("wait", "done", "--quiet", variables=variables)

    assert "warning: not set, and the server may insist on it: link UID" in loud.err
    assert ".py" not in loud.err
    assert (quiet.code, quiet.err) == (0, "")


async def test_piped_output_has_no_control_characters() -> None:
    """
    Logs and files are no terminals.
    """
    project = SimulatedProject()
    project.add("done", 0)
    project.script("done", [STILL_PENDING])
    async with SimulatorServer(project) as server:
        variables = {**server.environment(), "FORCE_COLOR": "1"}
        ended = await run("wait", "done", *FAST, variables=variables)

    assert all(character.isprintable() or character == "\n" for character in ended.out + ended.err)


async def test_verbose_writes_one_json_object_per_event_to_stderr() -> None:
    """
    Whoever asks why something took so long needs every poll, with its units.
    """
    project = SimulatedProject()
    project.add("done", 0)
    async with SimulatorServer(project) as server:
        ended = await run("wait", "done", "--verbose", "--quiet", variables=server.environment())

    logged = [json.loads(text) for text in ended.err.splitlines()]
    assert [item["event"] for item in logged[:3]] == [
        "request.joined",
        "poll.finished",
        "request.ended",
    ]
    assert logged[1]["status"] == "API_OPERATION_STATUS_SUCCESS"
    assert 0 < logged[1]["took_s"] < 5
