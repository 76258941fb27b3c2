"""
``onehouse-tracker submit``: what was accepted is told at once, and nothing is sent twice.
"""

import asyncio
import json
import signal
from pathlib import Path

from onehouse_tracker.models import ApiStatus
from onehouse_tracker.testing import faults
from onehouse_tracker.testing.server import SimulatorServer
from onehouse_tracker.testing.simulated_project import SimulatedProject
from onehouse_tracker.testing.statements import Kind
from tests.cli.harness import end, line, run, start

FAST = ("--limit", "1000")
KINDS = [
    Kind(label="SHOW", duration=0),
    Kind(label="DROP", duration=0, failed=1),
    Kind(label="RUN", duration=1e6),
]


def bodies(server: SimulatorServer) -> list[str]:
    """The statements that arrived, in order."""
    return [json.loads(seen.body)["statement"] for seen in server.seen if seen.method == "POST"]


async def test_each_statement_is_sent_in_order_and_its_id_printed(tmp_path: Path) -> None:
    """
    The IDs are what everything else needs, so they come as lines that `wait` can read.
    """
    sql = tmp_path / "jobs.sql"
    sql.write_text("-- first; of all\nRUN JOB 'a;b';\n\nshow tables in `x;y`;\n")
    async with SimulatorServer(SimulatedProject(kinds=KINDS)) as server:
        ended = await run(
            "submit", "DESCRIBE LAKE l", "--from", str(sql), *FAST, variables=server.environment()
        )

    assert ended.code == 0
    assert ended.err == ""
    assert bodies(server) == [
        "DESCRIBE LAKE l",
        "-- first; of all\nRUN JOB 'a;b'",
        "show tables in `x;y`",
    ]
    ids = list(server.project.requests)
    assert ended.out == f"{ids[0]}\tDESCRIBE LAKE\n{ids[1]}\tRUN JOB\n{ids[2]}\tSHOW TABLES\n"


async def test_json_lines_of_submit_are_read_by_wait() -> None:
    """
    The two commands make a pipeline, labels included.
    """
    async with SimulatorServer(SimulatedProject(kinds=KINDS)) as server:
        submitted = await run(
            *("submit", "SHOW A", "SHOW B", "--output", "jsonl", *FAST),
            variables=server.environment(),
        )
        waited = await run(
            *("wait", "--from", "-", "--output", "jsonl", *FAST),
            variables=server.environment(),
            given=submitted.out,
        )

    assert [item["number"] for item in submitted.objects()] == [1, 2]
    assert [item["label"] for item in submitted.objects()] == ["SHOW A", "SHOW B"]
    assert waited.code == 0
    assert {item["request_id"] for item in waited.objects()} == set(server.project.requests)
    assert {item["label"] for item in waited.objects()} == {"SHOW A", "SHOW B"}


async def test_a_refused_statement_stops_the_run_and_says_what_was_not_submitted() -> None:
    """
    Statements of one file may build on each other, so the rest is not sent blindly.
    """
    async with SimulatorServer(SimulatedProject(kinds=KINDS)) as server:
        ended = await run(
            *("submit", "SHOW A", "SYNTAX ERROR", "SHOW B", "SHOW C", *FAST),
            variables=server.environment(),
        )

    assert ended.code == 1
    assert bodies(server) == ["SHOW A", "SYNTAX ERROR"]
    assert len(ended.out.splitlines()) == 1
    refused, rest = ended.err.splitlines()
    assert refused.startswith("error: statement 2 (SYNTAX ERROR) was not accepted: HTTP 400: ")
    assert rest == "not submitted: statements 3 to 4 of 4"


async def test_keep_going_submits_the_rest_and_wait_follows_what_was_accepted() -> None:
    """
    Where statements are independent, one mistake need not hold up the others.
    """
    async with SimulatorServer(SimulatedProject(kinds=KINDS)) as server:
        ended = await run(
            *("submit", "SHOW A", "SYNTAX ERROR", "DROP B", "--wait", "--keep-going"),
            *("--output", "jsonl", *FAST),
            variables=server.environment(),
        )

    assert ended.code == 1
    accepted = [item for item in ended.objects() if item["outcome"] is None]
    results = {item["label"]: item for item in ended.objects() if item["outcome"] is not None}
    assert [item["number"] for item in accepted] == [1, 3]
    assert results["SHOW A"]["outcome"] == "SUCCEEDED"
    assert results["DROP B"]["status"] == ApiStatus.FAILED


async def test_an_unknown_fate_is_told_with_the_number_of_the_statement() -> None:
    """
    The statement may run: sending it again on our own could build a second cluster.
    """
    project = SimulatedProject(kinds=KINDS)
    project.script_next([None, faults.reset()])
    async with SimulatorServer(project) as server:
        ended = await run("submit", "SHOW A", "SHOW B", *FAST, variables=server.environment())

    assert ended.code == 1
    assert bodies(server) == ["SHOW A", "SHOW B"]
    assert ended.err.startswith("error: statement 2 (SHOW B): fate unknown, not sent again: ")
    assert ended.err.endswith("Look in the Onehouse console before you submit it again\n")


async def test_a_server_out_of_reach_is_exit_code_3() -> None:
    """
    Nothing was sent, so the whole file can be submitted again.
    """
    async with SimulatorServer() as server:
        variables = server.environment()
    ended = await run("submit", "SHOW A", variables=variables)

    assert ended.code == 3
    assert ended.err.startswith("error: statement 1 (SHOW A) was not sent: ")


async def test_refused_credentials_are_exit_code_3() -> None:
    """
    The same as for `wait`, whichever request meets the refusal.
    """
    async with SimulatorServer(expected_headers={"x-onehouse-api-key": "right"}) as server:
        variables = {**server.environment(), "ONEHOUSE_API_KEY": "wrong"}
        plain = await run("submit", "SHOW A", "SHOW B", *FAST, variables=variables)
        following = await run("submit", "SHOW A", "SHOW B", "--wait", *FAST, variables=variables)

    assert (plain.code, following.code) == (3, 3)
    assert len(server.seen) == 2  # one each
    for ended in (plain, following):
        assert ended.err.startswith("error: ")
        assert ended.err.endswith("not submitted: statements 1 to 2 of 2\n")


async def test_an_interruption_names_the_open_ids_and_the_rest() -> None:
    """
    What was accepted goes on at the server, and what was not sent has to be sent later.
    """
    project = SimulatedProject(kinds=KINDS)
    project.script_next([None, faults.hang()])
    async with SimulatorServer(project) as server:
        process = await start(
            ["submit", "RUN JOB a", "RUN JOB b", "RUN JOB c", "--wait", "-o", "jsonl", *FAST],
            server.environment(),
        )
        accepted = json.loads(await line(process))["request_id"]
        while len(bodies(server)) < 2:  # noqa: ASYNC110 - another process, there is no event
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        ended = await end(process)

    assert ended.code == 130
    assert f"still open: {accepted}\n" in ended.err
    assert f"wait --limit 1000 --label 'RUN JOB' --output jsonl {accepted}\n" in ended.err
    assert "statement 2 of 3 may or may not have been submitted" in ended.err
    assert ended.err.endswith("not submitted: statement 3 of 3\n")


async def test_labels_that_differ_are_kept_by_the_command_that_continues() -> None:
    """
    They are all that the schedule knows about statements that were just submitted.
    """
    kinds = [Kind(label="RUN", duration=1e6), Kind(label="CREATE", duration=1e6)]
    async with SimulatorServer(SimulatedProject(kinds=kinds)) as server:
        ended = await run(
            *("submit", "RUN JOB a", "CREATE LAKE b", "--wait", "--timeout", "1", *FAST),
            variables=server.environment(),
        )

    first, second = server.project.requests
    assert ended.err.endswith(
        f"continue with: printf '%s\\t%s\\n' {first} 'RUN JOB' {second} 'CREATE LAKE'"
        " | onehouse-tracker wait --timeout 1 --limit 1000 --from -\n"
    )


async def test_sql_that_cannot_be_cut_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    """
    Half a string sent as a statement would be a statement that nobody wrote.
    """
    sql = tmp_path / "jobs.sql"
    sql.write_text("RUN JOB a;\nRUN JOB 'b;\n")
    async with SimulatorServer() as server:
        ended = await run("submit", "--from", str(sql), variables=server.environment())

    assert ended.code == 2
    assert ended.err.startswith(f"error: {sql}, line 2: the string that begins here is not closed")
    assert server.seen == []


async def test_a_file_without_statements_is_wrong_usage() -> None:
    """
    An empty file is most often the wrong file.
    """
    ended = await run("submit", "--from", "-", variables={}, given="-- nothing\n;")

    assert (ended.code, ended.err) == (
        2,
        "error: no statements in stdin; if that is well, give --allow-empty\n",
    )


async def test_success_of_run_job_is_told_as_a_start() -> None:
    """
    The run may fail hours later: nobody may take the success of its request for its own.
    """
    project = SimulatedProject(kinds=[Kind(label="", duration=0)])
    async with SimulatorServer(project) as server:
        ended = await run(
            "submit", "RUN JOB nightly", "SHOW A", "--wait", *FAST, variables=server.environment()
        )
        (run_id,) = project.runs

    assert ended.code == 0
    assert f"started run {run_id}" in ended.out
    assert ended.out.count("started run") == 1
    assert "2 succeeded\n1 of them only started a run" in ended.err
