"""Random worlds with runs: every run gets one outcome, and that is the truth or says why not."""

from __future__ import annotations

import asyncio
from math import inf
from pathlib import Path
from random import Random
from typing import get_args

import pytest

from onehouse_tracker import JobRun, Outcome, RunOutcome, SqliteJournal, Tracker
from onehouse_tracker.run_results import RunResult, RunResults
from onehouse_tracker.testing import (
    FaultRule,
    InlineExecutor,
    Kind,
    Listing,
    RunKind,
    SimulatedJobs,
    SimulatedProject,
    SimulatedRun,
    SimulatedSource,
    SlidingLog,
    faults,
)
from onehouse_tracker.testing.faults import lognormal
from onehouse_tracker.testing.listings import SHAPES, Extra
from tests.runs.test_resuming import _copy
from tests.support import run

PREFIX = "SPARK_JOB_RUN_STATUS_"
ENDS = {
    f"{PREFIX}COMPLETED": RunOutcome.SUCCEEDED,
    f"{PREFIX}FAILED": RunOutcome.FAILED,
    f"{PREFIX}CANCELED": RunOutcome.CANCELED,
}
EXTRAS: tuple[Extra, ...] = get_args(Extra)


def _world(seed: int) -> SimulatedProject:
    draw = Random(f"run world {seed}")
    changes = sorted(draw.uniform(0, 200) for _ in range(draw.randrange(3)))
    listings = [
        Listing(
            shape=draw.choice(SHAPES),
            lag=draw.choice([0.0, 0.0, 5.0, 20.0]),
            history=draw.choice([0, 0, 30]),
            limit=draw.choice([None, None, 5]),
            newest_first=draw.random() < 0.5,
            extras=draw.sample(EXTRAS, draw.randrange(3)),
        )
        for _ in range(len(changes) + 1)
    ]

    def listing(_job: str, since: float) -> Listing:
        return listings[sum(change <= since for change in changes)]

    kind = RunKind(
        queued=lognormal(3.0, 0.5),
        duration=lognormal(60.0, 0.7),
        not_run=draw.choice([0.0, 5.0]),
        failed=0.15,
        canceled=0.1,
        other={"INVALID": 0.04, "PAUSED": 0.04, None: 0.04},
        unlisted=draw.choice([0.0, 0.2]),
        vanished=draw.choice([0.0, 0.1]),
    )
    return SimulatedProject(
        enforcer=SlidingLog(10),
        seed=seed,
        rules=[
            FaultRule(fault=faults.unavailable(), on="any", rate=draw.choice([0.0, 0.03])),
            FaultRule(fault=faults.throttled(), on="any", rate=draw.choice([0.0, 0.02])),
        ],
        kinds=(
            Kind(label="RUN JOB", duration=lognormal(2.0, 0.3), failed=0.05, invalid=0.02),
            Kind(label="", duration=lognormal(1.5, 0.5), failed=draw.choice([0.0, 0.02])),
        ),
        jobs=SimulatedJobs(kinds=[kind], listing=listing),
    )


def _is_true(result: RunResult, truth: SimulatedRun) -> bool:
    """Whether the server would say the same, or had no way to be understood."""
    outcome = result.outcome
    if outcome in ENDS.values():
        return ENDS.get(truth.status or "") is outcome
    if outcome is RunOutcome.UNRECOGNIZED:
        return truth.status not in ENDS
    if outcome is RunOutcome.LOST:
        return truth.vanished_at < inf
    return False


@pytest.mark.parametrize("seed", [0, 5, 8, 11])
def test_every_run_has_one_outcome_that_is_true(seed: int) -> None:
    """
    Runs fail, are canceled by others, vanish, and say odd words; listings lag, lose rows,
    mislead, and change their shape in mid-run; the server refuses and fails at times.
    """
    project = _world(seed)
    draw = Random(seed)
    wanted = [f"RUN JOB job_{draw.randrange(4)}" for _ in range(24)]
    for number in range(6):
        project.add_run(f"job_{number % 3}", f"other-{number}", draw.uniform(5, 100), "FAILED")
    others = [JobRun(f"job_{number % 3}", f"other-{number}") for number in range(6)]

    async def scenario() -> tuple[RunResults, RunResults, int]:
        async with Tracker(SimulatedSource(project), seed=seed) as tracker:
            started, followed = await asyncio.gather(
                tracker.runs.execute_all(wanted), tracker.runs.wait_all(others)
            )
            return started, followed, tracker.stats().pending

    started, followed, pending = run(scenario(), seed=seed)
    assert pending == 0
    assert [result.outcome for result in followed] == [RunOutcome.FAILED] * 6
    by_request = {truth.request_id: truth for truth in project.runs.values()}
    for result in started:
        truth = by_request.get(result.request_id)
        if truth is None:
            request = result.request
            assert result.outcome in {RunOutcome.NOT_STARTED, RunOutcome.START_UNKNOWN}
            assert request is None or request.outcome in {Outcome.FAILED, Outcome.INVALID}
        elif result.run_id is None:
            assert result.outcome is RunOutcome.START_UNKNOWN
        else:
            assert result.run_id == truth.run_id
            assert _is_true(result, truth), (result, truth)
        assert result.ok or result.reason
    assert len({result.run_id for result in started if result.run_id}) == sum(
        result.run_id is not None for result in started
    )


@pytest.mark.parametrize("seed", range(3))
def test_crash_in_a_random_world_loses_and_doubles_nothing(seed: int, tmp_path: Path) -> None:
    """
    The same call again after a crash at a random moment: each statement has run once at most.
    """
    project = _world(100 + seed)
    draw = Random(f"crash {seed}")
    wanted = [f"RUN JOB `job {number}`" for number in range(15)]
    path = tmp_path / "journal.db"

    async def scenario() -> RunResults:
        journal = SqliteJournal(path, executor=InlineExecutor())
        async with Tracker(SimulatedSource(project), journal=journal, seed=seed) as tracker:
            task = asyncio.ensure_future(tracker.runs.execute_all(wanted, max_running=6))
            await asyncio.sleep(draw.uniform(0, 120))
            _copy(path, tmp_path / "crashed.db")
            task.cancel()
            await asyncio.wait([task])
        journal = SqliteJournal(tmp_path / "crashed.db", executor=InlineExecutor())
        async with Tracker(SimulatedSource(project), journal=journal, seed=seed) as tracker:
            return await tracker.runs.execute_all(wanted, max_running=6, resume=True)

    results = run(scenario(), seed=seed)
    jobs = [truth.job for truth in project.runs.values()]
    assert len(jobs) == len(set(jobs))
    for statement, result in zip(wanted, results, strict=True):
        assert result.statement == statement
        if result.run_id is not None:
            assert _is_true(result, project.runs[result.run_id]), result
        else:
            assert result.outcome in {RunOutcome.NOT_STARTED, RunOutcome.START_UNKNOWN}
