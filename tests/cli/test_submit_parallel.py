"""
``onehouse-tracker submit --parallel``: concurrent, and what became of each is told all the same.
"""

from __future__ import annotations

import asyncio
import json
import signal

import pytest

from onehouse_tracker.testing import FaultRule, faults
from onehouse_tracker.testing.server import SimulatorServer
from onehouse_tracker.testing.simulated_project import SimulatedProject
from tests.cli.harness import end, run, start
from tests.cli.test_submit import FAST, KINDS, bodies


def _slow(delay: float) -> SimulatedProject:
    return SimulatedProject(
        kinds=KINDS, rules=[FaultRule(fault=faults.delay(delay), on="submit", start=0)]
    )


@pytest.mark.parametrize("wait", [(), ("--wait",)], ids=["ids", "wait"])
async def test_statements_are_sent_concurrently_and_printed_in_order(
    wait: tuple[str, ...],
) -> None:
    """
    Twelve answers of half a second would take six seconds one after the other.
    """
    statements = [f"SHOW T{n}" for n in range(12)]
    async with SimulatorServer(_slow(0.5)) as server:
        ended = await run(
            *("submit", *statements, "--parallel", "--output", "jsonl", *wait, *FAST),
            variables=server.environment(),
        )

    times = [at.at for at in server.project.arrivals if at.kind == "submit"]
    assert times[-1] - times[0] < 3
    assert ended.code == 0, ended.err
    assert sorted(bodies(server)) == sorted(statements)
    accepted = [item for item in ended.objects() if item["outcome"] is None]
    assert [item["number"] for item in accepted] == list(range(1, 13))
    assert {item["request_id"] for item in accepted} == set(server.project.requests)
    assert {item["label"] for item in accepted} == {"SHOW"}
    assert len(ended.objects()) == (24 if wait else 12)


async def test_a_refused_statement_sends_nothing_further() -> None:
    """
    What was on its way gets its answer; each is told exactly once.
    """
    statements = [f"SHOW T{n}" for n in range(40)]
    statements[3] = "SYNTAX ERROR"
    async with SimulatorServer(SimulatedProject(kinds=KINDS)) as server:
        ended = await run(
            *("submit", *statements, "--parallel", "--output", "jsonl", "--limit", "50"),
            variables=server.environment(),
        )

    assert ended.code == 1
    sent = len(bodies(server))
    assert 4 <= sent < 40
    assert len(ended.objects()) == sent - 1
    refused, rest = ended.err.splitlines()
    assert refused.startswith("error: statement 4 (SYNTAX ERROR) was not accepted: HTTP 400: ")
    assert rest == f"not submitted: statements {sent + 1} to 40 of 40"


async def test_refused_credentials_name_what_was_not_submitted() -> None:
    """
    One POST finds it out.
    """
    project = SimulatedProject(
        kinds=KINDS, rules=[FaultRule(fault=faults.unauthorized(), on="any")]
    )
    async with SimulatorServer(project) as server:
        ended = await run(
            *("submit", *(f"SHOW T{n}" for n in range(30)), "--parallel", *FAST),
            variables=server.environment(),
        )

    assert ended.code == 3
    assert len(bodies(server)) == 1
    assert "not submitted: statements 1 to 30 of 30" in ended.err


async def test_an_interruption_says_what_became_of_each() -> None:
    """
    Accepted, unknown or not submitted: every statement is in the output or in a message.
    """
    count = 60
    async with SimulatorServer(_slow(0.2)) as server:
        process = await start(
            [
                *("submit", *(f"SHOW T{n}" for n in range(count)), "--parallel"),
                *("--output", "jsonl", "--limit", "50"),
            ],
            server.environment(),
        )
        while len(server.project.requests) < 10:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        ended = await end(process)

    told = {json.loads(text)["number"] for text in ended.out.splitlines()}
    for text in ended.err.splitlines():
        words = text.split()
        if text.startswith("accepted but not"):
            told.add(int(words[5]))
        elif "may or may not have been submitted" in text:
            told.add(int(words[1]))
        elif text.startswith("not submitted: statements"):
            told |= set(range(int(words[3]), int(words[5]) + 1))
        elif text.startswith("not submitted: statement "):
            told.add(int(words[3]))
    assert told == set(range(1, count + 1))
    assert len(bodies(server)) < count
