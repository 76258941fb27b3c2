"""
``--output json`` and ``csv``: whole, in order, and harmless in a spreadsheet.
"""

import csv
import io
import json
from pathlib import Path

import pytest

from onehouse_tracker.cli._formats import csv_lines, unguarded
from onehouse_tracker.cli._options import Input
from onehouse_tracker.cli._request_file import RequestFile
from onehouse_tracker.journal import Intended, SqliteJournal
from onehouse_tracker.models import ApiStatus
from onehouse_tracker.testing import faults
from onehouse_tracker.testing.server import SimulatorServer
from onehouse_tracker.testing.simulated_project import SimulatedProject
from onehouse_tracker.testing.statements import Kind
from tests.cli.harness import run
from tests.journal.files import NOON, added, opened, recorded

FAST = ("--limit", "1000")


def table(text: str) -> list[dict[str, str]]:
    """The rows of a CSV file, as any other program reads them."""
    return list(csv.DictReader(io.StringIO(text), strict=True))


def mixed() -> SimulatedProject:
    """A request that fails at once, and one that goes on for ever."""
    project = SimulatedProject()
    project.add("bad", 0, ApiStatus.FAILED, response={"message": 'no "space", =left\nat all'})
    project.add("slow", 1e6)
    return project


async def test_json_is_one_array_in_the_order_of_the_input() -> None:
    """
    One value for whoever parses stdout as a whole, what is open included.
    """
    async with SimulatorServer(mixed()) as server:
        waited = await run(
            *("wait", "slow", "bad", "--timeout", "0.5", "-o", "json", *FAST),
            variables=server.environment(),
        )
        looked = await run(
            "status", "slow", "bad", "-o", "json", *FAST, variables=server.environment()
        )

    assert (waited.code, looked.code) == (124, 1)
    slow, bad = json.loads(waited.out)
    assert (slow["request_id"], slow["outcome"], slow["ok"]) == ("slow", "TIMED_OUT", False)
    assert bad["response"]["message"] == 'no "space", =left\nat all'
    slow, bad = json.loads(looked.out)
    assert (slow["request_id"], slow["outcome"], slow["ok"]) == ("slow", None, None)
    assert bad["outcome"] == "FAILED"


async def test_csv_has_a_header_and_one_line_for_each_request(tmp_path: Path) -> None:
    """
    Quotes, commas and line breaks of a reason stay in their cell; labels come back as they were.
    """
    ids = tmp_path / "ids.csv"
    ids.write_text("request_id,label\nslow,=1+1\nbad,\n")
    async with SimulatorServer(mixed()) as server:
        ended = await run(
            *("wait", "--from", str(ids), "--timeout", "0.5", "-o", "csv", *FAST),
            variables=server.environment(),
        )

    assert ended.code == 124
    assert len(ended.out.splitlines()) == 3
    slow, bad = table(ended.out)
    assert (slow["request_id"], slow["label"], slow["ok"]) == ("slow", "'=1+1", "false")
    assert bad["reason"] == 'no "space", =left at all'
    assert json.loads(bad["response"])["message"] == 'no "space", =left\nat all'
    assert float(bad["waited_s"]) > 0
    again = RequestFile("results", Input())
    found = [each for text in ended.out.encode().split(b"\n") for each in again.line(text)]
    assert [(each.request_id, each.label) for each in found] == [("slow", "=1+1"), ("bad", None)]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum", " =1", "'=1", "'", "x'=", "a"])
def test_a_formula_is_guarded_and_read_back(text: str) -> None:
    """
    A spreadsheet runs what begins like a formula, and labels are written by others.
    """
    _, line = csv_lines(["label"], [{"label": text}])
    ((cell,),) = csv.reader([line])

    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert unguarded(cell) == text


def test_cells_of_all_kinds() -> None:
    """
    Nothing steers a terminal, numbers stay numbers, and nothing is an empty cell.
    """
    row = {"a": None, "b": True, "c": -1.5, "d": {"x": "\x1b"}, "e": "é\x1b[2J\t\n,"}

    assert list(csv_lines("abcdef", [row])) == [
        "a,b,c,d,e,f",
        ',true,-1.5,"{""x"": ""\\u001b""}","é?[2J  ,",',
    ]


@pytest.mark.parametrize("output", ["json", "csv"])
async def test_submit_prints_what_was_accepted_even_if_the_rest_was_not(output: str) -> None:
    """
    An ID that is not told is a statement that nobody can follow.
    """
    project = SimulatedProject(kinds=[Kind(label="SHOW", duration=0)])
    project.script_next([None, faults.reset()])
    async with SimulatorServer(project) as server:
        ended = await run(
            *("submit", "SHOW A", "SHOW B", "-o", output, *FAST), variables=server.environment()
        )

    assert ended.code == 1
    (row,) = table(ended.out) if output == "csv" else json.loads(ended.out)
    assert row["request_id"] == next(iter(project.requests))
    # The statement itself, as in the output of `run`; which one it was says its number.
    assert (row["label"], str(row["number"]), row["statement"]) == ("SHOW A", "1", "SHOW A")
    assert row["submitted_at"]


async def test_submit_and_wait_prints_results_only() -> None:
    """
    One array, each statement once.
    """
    project = SimulatedProject(kinds=[Kind(label="SHOW", duration=0)])
    async with SimulatorServer(project) as server:
        ended = await run(
            *("submit", "SHOW A", "SHOW B", "--wait", "-o", "json", *FAST),
            variables=server.environment(),
        )

    assert [(row["label"], row["outcome"]) for row in json.loads(ended.out)] == [
        ("SHOW A", "SUCCEEDED"),
        ("SHOW B", "SUCCEEDED"),
    ]


async def test_a_journal_as_json_and_csv(tmp_path: Path) -> None:
    """
    The same keys as for results, and those that only a journal knows.
    """
    path = tmp_path / "tracker.db"
    journal = SqliteJournal(path)
    journal.open()
    journal.write([added("p", "slow"), recorded("r"), Intended("k", "RUN JOB x", "nightly", NOON)])
    journal.close()

    as_json = await run("journal", str(path), "-o", "json", variables={})
    as_csv = await run("journal", str(path), "-o", "csv", variables={})

    assert [(each["kind"], each["state"]) for each in json.loads(as_json.out)] == [
        ("request", "pending"),
        ("request", "recorded"),
        ("statement", "sending"),
    ]
    assert [(row["request_id"], row["outcome"], row["state"]) for row in table(as_csv.out)] == [
        ("p", "", "pending"),
        ("r", "SUCCEEDED", "recorded"),
    ]
    assert "fate unknown: nightly" in as_csv.err


async def test_nothing_to_tell_is_an_empty_array(tmp_path: Path) -> None:
    """
    A program that reads JSON must not stumble over an empty stdout.
    """
    opened(tmp_path / "tracker.db").close()

    ended = await run("journal", str(tmp_path / "tracker.db"), "-o", "json", variables={})

    assert (ended.code, json.loads(ended.out)) == (0, [])
