"""
``onehouse-tracker status``: one question about each request.
"""

import pytest

from onehouse_tracker.cli._status import _item
from onehouse_tracker.models import ApiStatus
from onehouse_tracker.results import RequestStatus, TimeLeft
from onehouse_tracker.testing import faults
from onehouse_tracker.testing.faults import Fault
from onehouse_tracker.testing.server import SimulatorServer
from onehouse_tracker.testing.simulated_project import SimulatedProject
from tests.cli.harness import run

FAST = ("--limit", "1000")


async def test_a_pending_request_is_no_failure() -> None:
    """
    To look is not to wait: pending is an answer like any other.
    """
    project = SimulatedProject()
    project.add("slow", 1e6)
    project.add("done", 0)
    async with SimulatorServer(project) as server:
        ended = await run("status", "slow", "done", "slow", *FAST, variables=server.environment())

    assert ended.code == 0
    rows = [row.split() for row in ended.out.splitlines()]
    assert [row[:3] for row in rows] == [
        ["REQUEST", "OUTCOME", "POLLS"],
        ["slow", "PENDING", "1"],
        ["done", "SUCCEEDED", "1"],
    ]
    assert project.arrived == 2


def test_what_earlier_runs_say_about_a_pending_request() -> None:
    """
    For programs as numbers, for people in words; nothing where nothing is known.
    """
    left = TimeLeft(median=61.23, low=5.0, high=700.0)
    known, unknown, late = (
        _item(RequestStatus(request_id="r", status=ApiStatus.PENDING, left=left, overdue=overdue))
        for left, overdue in ((left, False), (None, False), (left, True))
    )
    assert known.data["left"] == {"median": 61.2, "low": 5.0, "high": 700.0}
    assert known.row is not None
    assert known.row["REASON"] == "about 1 min 01 s left (5.0 s to 11 min 40 s)"
    assert (unknown.data["left"], unknown.data["overdue"]) == (None, False)
    assert unknown.row is not None
    assert unknown.row["REASON"] == ""
    assert late.data["overdue"] is True
    assert late.row is not None
    assert late.row["REASON"].startswith("unusually long, about")
    ended = _item(RequestStatus(request_id="r", status=ApiStatus.SUCCESS))
    assert "left" not in ended.data


async def test_json_lines_tell_pending_by_the_missing_outcome() -> None:
    """
    The same keys as `wait`; an outcome is there only where there is one.
    """
    project = SimulatedProject()
    project.add("slow", 1e6)
    project.add("bad", 0, ApiStatus.INVALID)
    project.add("odd", 0, "API_OPERATION_STATUS_NEW")
    async with SimulatorServer(project) as server:
        ended = await run(
            *("status", "--from", "-", "--output", "jsonl", *FAST),
            variables=server.environment(),
            given="slow\nbad\nodd\nunknown\nslow\n",
        )

    assert ended.code == 1
    found = {item["request_id"]: item for item in ended.objects()}
    assert {key: item["outcome"] for key, item in found.items()} == {
        "slow": None,
        "bad": "INVALID",
        "odd": "UNRECOGNIZED",
        "unknown": "NOT_FOUND",
    }
    assert found["slow"]["status"] == ApiStatus.PENDING
    assert found["slow"]["ok"] is None


async def test_refused_credentials_are_exit_code_3_after_one_request() -> None:
    """
    As for `wait`: a wrong key fails once.
    """
    async with SimulatorServer(expected_headers={"x-onehouse-api-key": "right"}) as server:
        wrong = {**server.environment(), "ONEHOUSE_API_KEY": "wrong"}
        ended = await run("status", *map(str, range(20)), *FAST, variables=wrong)

    assert ended.code == 3
    assert ended.err.startswith("error: the server refuses the credentials: ")
    assert len(server.seen) == 1


@pytest.mark.parametrize("ids", [["a"], ["a", "b", "c", "d", "e"]])
async def test_a_server_out_of_reach_is_exit_code_3(ids: list[str]) -> None:
    """
    Three failures say it, or fewer where there is less to ask about.
    """
    async with SimulatorServer() as server:
        variables = server.environment()
    ended = await run("status", *ids, *FAST, variables=variables)

    assert ended.code == 3
    assert "error: no answer from the server" in ended.err
    assert ended.out.count("UNREACHABLE") == min(len(ids), 3)


@pytest.mark.parametrize(
    ("fault", "outcome", "polls"),
    [
        (faults.throttled(retry_after=0), "SUCCEEDED", "2"),
        (faults.unavailable(), "UNREACHABLE", "1"),
        (faults.refuse(409), "REJECTED", "1"),
    ],
)
async def test_one_request_in_trouble_says_how(fault: Fault, outcome: str, polls: str) -> None:
    """
    A refusal for the rate is not an answer, everything else is told as it is.
    """
    project = SimulatedProject()
    project.add("good", 0)
    project.add("troubled", 0)
    project.script("troubled", [fault])
    async with SimulatorServer(project) as server:
        ended = await run("status", "good", "troubled", *FAST, variables=server.environment())

    assert ended.out.splitlines()[2].split()[:3] == ["troubled", outcome, polls]
    assert ended.code == (0 if outcome == "SUCCEEDED" else 1)
