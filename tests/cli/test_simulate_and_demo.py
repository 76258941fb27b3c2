"""
``onehouse-tracker simulate`` and ``demo``: everything without credentials.
"""

import asyncio
import re
import shlex
import signal
import socket
from random import Random

import pytest

from onehouse_tracker.cli._codes import CommandError
from onehouse_tracker.cli._demo import percentile
from onehouse_tracker.cli._options import Shape
from onehouse_tracker.cli._simulate import kinds_from, run_kind_from
from onehouse_tracker.models import StatusReply
from onehouse_tracker.onehouse.client import OnehouseClient
from onehouse_tracker.onehouse.credentials import Credentials
from onehouse_tracker.testing import FORCED
from onehouse_tracker.testing.job_runs import RUN_KINDS
from onehouse_tracker.testing.listings import SHAPES
from tests.cli.harness import end, line, run, start
from tests.docs.pages import ROOT


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


async def test_simulate_can_force_how_a_request_and_a_run_end() -> None:
    """
    Trying a pipeline out means to see it fail in the way that you choose.
    """
    options = ["--durations", "0", "--run-durations", "0", "--fail-rate", "0"]
    options += ["--run-fail-rate", "0", "--listing", "flat"]
    options += ["--force", "RUN JOB `a=b`=run-failed", "--force", "show*=INVALID"]
    simulator = await start(["simulate", "--port", "0", *options], {})
    try:
        variables = await exports(simulator)
        async with OnehouseClient(Credentials.from_env(environ=variables)) as client:

            async def ask(statement: str) -> StatusReply:
                return await client.fetch(await client.submit(statement))

            invalid = await ask("SHOW x")
            started = await ask("RUN JOB `a=b`")
            assert started.response is not None
            run_id = started.response["runJobApiResponse"]["jobRunId"]
            described = await ask(f"DESCRIBE JOB_RUN `{run_id}` JOB_NAME = 'a=b'")
    finally:
        simulator.send_signal(signal.SIGINT)
        await end(simulator)

    assert invalid.status == "API_OPERATION_STATUS_INVALID"
    assert described.response == {
        "describeJobRunApiResponse": {"sparkJobRun": {"status": "SPARK_JOB_RUN_STATUS_FAILED"}}
    }


@pytest.mark.parametrize(
    ("text", "reason"), [("run-failed", "no PATTERN=OUTCOME"), ("a=fail", "no such outcome")]
)
async def test_an_outcome_that_cannot_be_forced_is_a_sentence(text: str, reason: str) -> None:
    """
    The simulator does not start, instead of forcing nothing.
    """
    ended = await run("simulate", "--port", "0", "--force", text, variables={})

    assert ended.code == 2
    assert ended.err.startswith("error: --force: ")
    assert reason in ended.err


async def test_the_help_and_the_docs_name_everything_that_can_be_forced() -> None:
    """
    And nothing else: the help is written by hand.
    """
    ended = await run("simulate", "--help", variables={})
    page = (ROOT / "docs/how-to/test-your-pipeline.md").read_text(encoding="utf-8")

    for name in FORCED:
        assert re.search(rf"^    .*\b{name}\b", ended.out, re.MULTILINE), name
        assert f"`{name}`" in page
    assert set(re.findall(r"\brun-[a-z-]+\b", ended.out)) - set(FORCED) <= {
        "run-durations",
        "run-fail-rate",
    }


def test_the_shapes_of_the_option_are_those_of_the_kit() -> None:
    """
    The option is read before the kit is loaded.
    """
    assert tuple(Shape) == SHAPES


def test_durations_of_runs_are_as_asked_for() -> None:
    """
    A run is queued for a while first, which may not take longer than the run.
    """
    kind = run_kind_from("10-20", 0.5)
    plans = [kind.draw(Random(seed)) for seed in range(99)]

    assert all(10 <= plan.ended_after - plan.running_after <= 20 for plan in plans)
    assert all(1 <= plan.running_after <= 2 for plan in plans)
    assert (kind.failed, kind.canceled) == (0.5, 0)
    assert run_kind_from(None, None) == RUN_KINDS[0]


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
    assert "\nruns of jobs           " in ended.out
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
