"""
Statements of one project of a pool.
"""

from __future__ import annotations

import inspect

import pytest

from onehouse_tracker import Outcome, SubmissionRejectedError, Tracker, TrackerPool
from onehouse_tracker.testing import ScriptedSource
from tests.support import FAILED, PENDING, SUCCESS, run

METHODS = ["submit", "submit_all", "execute", "execute_all", "status"]


@pytest.mark.parametrize("method", METHODS)
def test_the_pool_takes_what_its_trackers_take(method: str) -> None:
    """
    The name of a project comes first, and every keyword is there.
    """
    of_pool = list(inspect.signature(getattr(TrackerPool, method)).parameters.values())
    of_tracker = list(inspect.signature(getattr(Tracker, method)).parameters.values())
    assert of_pool.pop(1).name == "name"

    assert [(each.name, each.kind, each.default) for each in of_pool] == [
        (each.name, each.kind, each.default) for each in of_tracker
    ]


def test_statements_go_to_the_project_that_is_named() -> None:
    """
    Each project has its own client, and is opened with its first use.
    """
    first = ScriptedSource(
        {"a": [SUCCESS], "b": [FAILED], "c": [PENDING]}, submissions=["a", "b", "c", "a"]
    )
    second = ScriptedSource({}, submissions=[SubmissionRejectedError("no")])

    async def scenario() -> None:
        async with TrackerPool() as pool:
            pool.add("first", client=first)
            pool.add("second", client=second)
            done = await pool.execute_all("first", ["SHOW a", "SHOW b"], in_order=True)
            assert [item.result.outcome for item in done if item.result] == [
                Outcome.SUCCEEDED,
                Outcome.FAILED,
            ]
            handle = await pool.submit("first", "SHOW c", label="SHOW")
            assert (await pool.status("first", [handle]))["c"].pending
            sent = await pool.submit_all("first", ["SHOW a"])
            assert (await pool.wait_all({"first": sent.handles})).ok
            with pytest.raises(SubmissionRejectedError):
                await pool.execute("second", "SHOW d")

    run(scenario())
    assert len(first.submitted) == 4
