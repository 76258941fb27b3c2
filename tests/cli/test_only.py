"""
``--only``: the part of a list that somebody has to look at.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from onehouse_tracker.cli._options import Only, Output
from onehouse_tracker.cli._output import place_of
from onehouse_tracker.journal import Intended, Settled, SqliteJournal
from onehouse_tracker.models import ApiStatus, Outcome
from onehouse_tracker.run_results import RunOutcome
from onehouse_tracker.testing.server import SimulatorServer
from onehouse_tracker.testing.simulated_project import SimulatedProject
from onehouse_tracker.testing.statements import Kind
from tests.cli.harness import Ended, run
from tests.journal.files import NOON, added, recorded

FAST = ("--limit", "1000")
KINDS = [Kind(label="SHOW", duration=0), Kind(label="DROP", duration=0, failed=1.0)]


def mixed() -> SimulatedProject:
    """One request of each kind."""
    project = SimulatedProject()
    project.add("good", 0)
    project.add("bad", 0, ApiStatus.FAILED)
    project.add("slow", 1e6)
    return project


def listed(ended: Ended, output: Output, key: str = "request_id") -> list[str]:
    """The IDs that were printed."""
    match output:
        case Output.TEXT:
            return [line.split()[0] for line in ended.out.splitlines()[1:]]
        case Output.JSONL:
            return [each[key] for each in ended.objects()]
        case Output.JSON:
            return [each[key] for each in json.loads(ended.out)]
        case Output.CSV:
            return [row[key] for row in csv.DictReader(io.StringIO(ended.out))]


@pytest.mark.parametrize("output", Output)
async def test_only_what_failed_in_every_output(output: Output) -> None:
    """
    The rest is counted on stderr and in the exit code: an option of the list changes no result.
    """
    async with SimulatorServer(mixed()) as server:
        ended = await run(
            *("wait", "slow", "bad", "good", "--timeout", "0.5", "-o", output),
            *("--only", "failed", *FAST),
            variables=server.environment(),
        )

    assert listed(ended, output) == ["bad"]
    assert ended.code == 124
    assert "1 succeeded, 1 failed, 1 timed out" in ended.err
    # What is pasted lists the same.
    assert "--only failed" in ended.err.rpartition("continue with:")[2]


async def test_two_kinds_of_what_is_asked_about() -> None:
    """
    A request that is pending is unfinished.
    """
    async with SimulatorServer(mixed()) as server:
        ended = await run(
            *("status", "slow", "bad", "good", "-o", "json"),
            *("--only", "unfinished", "--only", "succeeded", *FAST),
            variables=server.environment(),
        )

    assert listed(ended, Output.JSON) == ["slow", "good"]
    assert ended.code == 1


async def test_statements_that_are_waited_for() -> None:
    """
    An accepted statement is no result: it is told on stderr, also where the output is JSON lines.
    """
    async with SimulatorServer(SimulatedProject(kinds=KINDS)) as server:
        ended = await run(
            *("submit", "SHOW A", "DROP B", "--wait", "-o", "jsonl", "--only", "failed", *FAST),
            variables=server.environment(),
        )
        refused = await run(
            *("submit", "SHOW A", "--only", "failed", *FAST), variables=server.environment()
        )

    assert [each["label"] for each in ended.objects()] == ["DROP B"]
    assert "submitted 1: " in ended.err
    assert refused.code == 2
    assert "--only is about how statements ended: give --wait as well" in refused.err


@pytest.mark.parametrize("output", Output)
async def test_runs(output: Output) -> None:
    """
    They have outcomes of their own, and are listed by the same words.
    """
    async with SimulatorServer(SimulatedProject(kinds=KINDS)) as server:
        ended = await run(
            *("run", "SHOW A", "DROP B", "-o", output, "--only", "failed", *FAST),
            variables=server.environment(),
        )

    assert ended.code == 1
    assert ended.out.count("DROP B") == 1
    assert "SHOW A" not in ended.out


async def test_a_journal(tmp_path: Path) -> None:
    """
    A statement that was refused has failed, one of unknown fate is unfinished; one that was
    accepted is listed as its request.
    """
    path = tmp_path / "tracker.db"
    journal = SqliteJournal(path)
    journal.open()
    journal.write([added("p", "slow"), recorded("r"), Intended("k", "RUN JOB x", "nightly", NOON)])
    journal.write(
        [Intended("n", "RUN JOB y", "refused", NOON), Settled("n", "refused", "no such job", NOON)]
    )
    journal.close()

    def of(ended: Ended) -> list[str]:
        return [each["request_id"] or each["label"] for each in ended.objects()]

    shown = {
        only: await run("journal", str(path), "-o", "jsonl", "--only", only, variables={})
        for only in Only
    }

    assert of(shown[Only.SUCCEEDED]) == ["r"]
    assert of(shown[Only.FAILED]) == ["refused"]
    assert of(shown[Only.UNFINISHED]) == ["p", "nightly"]


@pytest.mark.parametrize("outcome", [*Outcome, *RunOutcome])
def test_every_outcome_has_one_place(outcome: Outcome | RunOutcome) -> None:
    """
    An outcome that no option shows would be overlooked.
    """
    place = place_of(outcome)

    assert (place is Only.SUCCEEDED) is outcome.ok
    assert (place is Only.UNFINISHED) is (not outcome.finished)
