"""
Many statements over real sockets: sent concurrently, or in order.
"""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from onehouse_tracker import StatementState, Tracker, statements_of
from onehouse_tracker.testing import FaultRule, Kind, SimulatedProject, SimulatorServer, faults
from tests.onehouse.test_end_to_end import tracker_for

QUICK = Kind(label="", duration=0.05)


def _project(delay: float) -> SimulatedProject:
    return SimulatedProject(
        kinds=[QUICK], rules=[FaultRule(fault=faults.delay(delay), on="submit")]
    )


async def _after_a_first_reply(tracker: Tracker, project: SimulatedProject) -> None:
    project.add("before", 0.0)
    await tracker.wait_all(["before"])


async def test_slow_answers_delay_no_other_statement() -> None:
    """
    Twenty answers of 0.2 s each take far less than four seconds.
    """
    project = _project(0.2)
    async with SimulatorServer(project) as server, tracker_for(server) as tracker:
        await _after_a_first_reply(tracker, project)
        async with asyncio.timeout(2):
            results = await tracker.execute_all([f"SHOW {n}" for n in range(20)])

    assert results.ok
    ids = {item.request_id for item in results}
    assert ids == {name for name in project.requests if name != "before"}


async def test_in_order_nothing_overtakes() -> None:
    """
    Each is accepted before the next arrives.
    """
    project = _project(0.05)
    async with SimulatorServer(project) as server, tracker_for(server) as tracker:
        results = await tracker.submit_all([f"SHOW {n}" for n in range(5)], in_order=True)

    assert results.ok
    times = [each.submitted_at or 0.0 for each in project.requests.values()]
    assert all(later - earlier >= 0.05 for earlier, later in pairwise(times))
    assert [item.request_id for item in results] == list(project.requests)


@pytest.mark.parametrize("after", [0.0, 0.02, 0.06, 0.11])
async def test_cancelling_says_what_became_of_each(after: float) -> None:
    """
    What is called unsent never arrived.
    """
    project = _project(0.05)
    async with SimulatorServer(project) as server, tracker_for(server, limit=50) as tracker:
        task = asyncio.create_task(tracker.submit_all([f"SHOW {n}" for n in range(30)]))
        await asyncio.sleep(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        await asyncio.sleep(0.1)
        statements = statements_of(caught.value)

    arrived = sum(arrival.kind == "submit" for arrival in project.arrivals)
    if statements is None:  # it had not begun
        assert arrived == 0
        return
    unsent = sum(item.state is StatementState.UNSENT for item in statements)
    assert len(statements) == 30
    assert arrived <= 30 - unsent
    for item in statements:
        assert (item.state is StatementState.ACCEPTED) == (item.request_id in project.requests)
