"""The whole way over real sockets: nothing is refused, and every end is the true one."""

from __future__ import annotations

from onehouse_tracker import RunOutcome, Tracker
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.testing import (
    Kind,
    Listing,
    RunKind,
    SimulatedJobs,
    SimulatedProject,
    SimulatorServer,
    SlidingLog,
)

OUTCOMES = {
    "COMPLETED": RunOutcome.SUCCEEDED,
    "FAILED": RunOutcome.FAILED,
    "CANCELED": RunOutcome.CANCELED,
}


async def test_runs_end_as_the_server_has_it() -> None:
    """
    Sixty statements for six jobs within a lifted limit, so that it takes three seconds.
    """
    project = SimulatedProject(
        enforcer=SlidingLog(220),
        kinds=(Kind(label="", duration=0.1),),
        jobs=SimulatedJobs(
            kinds=[RunKind(queued=0.2, duration=0.8, failed=0.2, canceled=0.2)],
            listing=Listing(shape="table", history=30),
        ),
    )
    async with (
        SimulatorServer(project) as server,
        Tracker.from_env(
            environ=server.environment(), limiter=LocalLimiter(200, catch_up=0)
        ) as tracker,
    ):
        results = await tracker.runs.execute_all([f"RUN JOB job_{n % 6}" for n in range(60)])

    truth = {run_id: run.status or "" for run_id, run in project.runs.items()}
    assert {result.run_id for result in results} == truth.keys()
    for result in results:
        said = truth[result.run_id or ""].removeprefix("SPARK_JOB_RUN_STATUS_")
        assert result.outcome is OUTCOMES[said]
    assert project.refused == 0
    assert len({result.outcome for result in results}) == 3
