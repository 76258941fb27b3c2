"""
``onehouse-tracker simulate`` and ``demo``: everything without credentials.
"""

import asyncio
import re
import shlex
import signal
import socket

import pytest

from onehouse_tracker.cli._codes import CommandError
from onehouse_tracker.cli._demo import percentile
from onehouse_tracker.cli._simulate import kinds_from
from tests.cli.harness import end, line, run, start


async def exports(process: asyncio.subprocess.Process) -> dict[str, str]:
    """The environment that `simulate` prints."""
    variables: dict[str, str] = {}
    while len(variables) < 8:
        (pair,) = shlex.split((await line(process)).removeprefix("export "))
        name, _, value = pair.partition("=")
        variables[name] = value
    return variables


async def test_what_simulate_prints_is_all_that_the_other_commands_need() -> None:
    """
    Submit, wait and stop, as the help suggests, in processes of their own.
    """
    simulator = await start(
        ["simulate", "--port", "0", "--durations", "0", "--fail-rate", "1"], {}
    )
    try:
        variables = await exports(simulator)
        submitted = await run("submit", "RUN JOB a", "SHOW B", variables=variables)
        waited = await run(
            "wait", "--from", "-", "-o", "jsonl", variables=variables, given=submitted.out
        )
    finally:
        simulator.send_signal(signal.SIGINT)
        stopped = await end(simulator)

    assert [item["outcome"] for item in waited.objects()] == ["FAILED", "FAILED"]
    assert [item["label"] for item in waited.objects()] == ["RUN JOB", "SHOW B"]
    assert waited.code == 1
    assert stopped.code == 0  # being stopped is how it ends
    assert stopped.err.endswith("served 4 requests, refused 0 of them for their rate\n")


async def test_invented_ids_are_unknown_unless_any_is_accepted() -> None:
    """
    For a first try nobody wants to submit something; for a test of one's own a 404 is right.
    """
    found = {}
    for option in ([], ["--accept-any"]):
        simulator = await start(
            ["simulate", "--port", "0", "--enforcer", "none", "--durations", "0", *option], {}
        )
        try:
            variables = await exports(simulator)
            ended = await run("status", "invented", "-o", "jsonl", variables=variables)
        finally:
            simulator.send_signal(signal.SIGTERM)
            await end(simulator)
        found[bool(option)] = ended.objects()[0]["outcome"]

    assert found[False] == "NOT_FOUND"
    assert found[True] in {"SUCCEEDED", "FAILED"}


async def test_a_port_that_is_taken_is_a_sentence() -> None:
    """
    The usual mistake: it is running already.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = await run("simulate", "--port", str(port), variables={})

    assert ended.code == 2
    assert ended.err.startswith(f"error: cannot listen on 127.0.0.1:{port}: ")


def test_durations_and_fail_rate_replace_those_of_every_kind() -> None:
    """
    A test of one's own wants short statements, and to decide how many fail.
    """
    kinds = kinds_from("1-2m", 0.25)

    assert {kind.failed for kind in kinds} == {0.25}
    assert {kind.partial + kind.invalid for kind in kinds} == {0}
    assert kinds_from(None, None) != kinds


@pytest.mark.parametrize("text", ["", "x", "1-", "5-1"])
def test_durations_that_are_none_are_refused(text: str) -> None:
    """
    Told by its option, because it is not checked with the others.
    """
    with pytest.raises(CommandError, match="--durations"):
        kinds_from(text, None)


async def test_the_demo_follows_every_statement_and_judges_by_the_server() -> None:
    """
    It ignores the user's environment, loses nothing, is refused nothing, and is a success.
    """
    variables = {"ONEHOUSE_BASE_URL": "https://onehouse.invalid", "ONEHOUSE_API_KEY": "mine"}
    ended = await run("demo", "--count", "6", "--speed", "40", "--seed", "3", variables=variables)

    assert ended.code == 0
    assert "6 statements followed to their end" in ended.out
    assert re.search(r"^all +6 ", ended.out, re.MULTILINE)
    assert re.search(r"p50 \d\.\d\d s, p99 \d\.\d\d s, max \d\.\d\d s", ended.out)
    assert "refused by the server  0\nlost                   0\n" in ended.out
    assert ended.out.endswith("exit code 0\n")
    assert "mine" not in ended.out + ended.err


async def test_the_demo_can_be_interrupted() -> None:
    """
    Its requests end with it, so there is nothing to continue.
    """
    process = await start(["demo"], {})
    assert process.stderr is not None
    await process.stderr.readline()
    process.send_signal(signal.SIGINT)
    ended = await end(process)

    assert ended.code == 130
    assert "Traceback" not in ended.err
    assert ended.out == ""


@pytest.mark.parametrize(
    ("values", "percent", "found"),
    [([], 50, 0), ([7], 99, 7), ([1, 2, 3, 4], 50, 2), ([1, 2, 3, 4], 51, 3), ([1, 2], 100, 2)],
)
def test_a_percentile_is_one_of_the_values(
    values: list[float], percent: float, found: float
) -> None:
    """
    The nearest rank: nothing is interpolated that nobody measured.
    """
    assert percentile(values, percent) == found
