"""The whole budget is spent and never more, judged by the server's record of arrivals."""

from __future__ import annotations

import asyncio

import pytest

from onehouse_tracker import Outcome, PollPolicy, Tracker
from onehouse_tracker.testing import SimulatedProject, SimulatedSource, SlidingLog, lognormal
from tests.support import FAILED, SUCCESS, run


@pytest.mark.parametrize("order", ["due", "learned"])
def test_three_hundred_requests_spend_the_whole_budget_and_no_more(order: str) -> None:
    """
    While more is due than the budget allows, at least 97 % of it is spent; the server's
    sliding log of ten a second refuses nothing.
    """
    project = SimulatedProject(enforcer=SlidingLog(10))
    for number in range(300):
        project.add(f"r{number}", 40 + 0.1 * number, FAILED if number % 7 == 0 else SUCCESS)
    # A round trip that varies by far less than the 15 ms that the pace leaves free.
    source = SimulatedSource(project, round_trip=lognormal(0.08, 0.05))

    async def scenario() -> None:
        policy = PollPolicy(order=order)  # type: ignore[arg-type] # one of the two words
        async with Tracker(source, policy=policy) as tracker:
            results = await tracker.wait_all([f"r{number}" for number in range(300)])
        for number, result in enumerate(results.values()):
            assert result.outcome is (Outcome.SUCCEEDED if number % 7 else Outcome.FAILED)

    run(scenario())
    assert project.refused == 0
    assert project.peak_in_any_second() <= 10
    assert project.budget_used(1.0, 60.0) >= 0.97


def test_submissions_spread_over_a_minute_are_known_soon_after_they_end() -> None:
    """
    One hundred statements submitted through the tracker: within 3 s of the last end it returns.
    """
    project = SimulatedProject(enforcer=SlidingLog(10), kinds=[], seed=5)
    source = SimulatedSource(project)

    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        async with Tracker(source) as tracker:
            handles = []
            for number in range(100):
                handles.append(await tracker.submit(f"SHOW TABLES {number}"))
                await asyncio.sleep(0.6 - 0.08)
            await tracker.wait_all([handle.request_id for handle in handles])
        return loop.time()

    returned_at = run(scenario())
    last_end = max(request.finished_at for request in project.requests.values())
    assert project.refused == 0
    assert returned_at - last_end < 3
