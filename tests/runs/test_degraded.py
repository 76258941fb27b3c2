"""Listings that mislead, lag, change or fail: the runs are asked about alone, and told truly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from onehouse_tracker import JobRun, PollPolicy, RunOutcome, Tracker
from onehouse_tracker.run_results import RunResult, RunResults
from onehouse_tracker.testing import Kind, ListedRun, Listing
from onehouse_tracker.testing.listings import Extra, ShapeName
from tests.runs.following import checks_sent, follow, project_of

PREFIX = "SPARK_JOB_RUN_STATUS_"
EXTRAS: tuple[Extra, ...] = ("retried_from", "prefix", "url", "attempts")


def _five(project: Any, *, until: float = 60.0) -> list[JobRun]:
    for number in range(5):
        project.add_run("job", f"run-{number}", until + 2 * number)
    return [JobRun("job", f"run-{number}") for number in range(5)]


def _empty(_job: str, _runs: Sequence[ListedRun]) -> Mapping[str, Any]:
    return {"showRunsApiResponse": {}}


def _only_ids(_job: str, runs: Sequence[ListedRun]) -> Mapping[str, Any]:
    return {"runs": [{"id": run.run_id, "state": "?"} for run in runs]}


def _wrong(_job: str, runs: Sequence[ListedRun]) -> Mapping[str, Any]:
    return {"runs": [{"id": run.run_id, "status": f"{PREFIX}FAILED"} for run in runs]}


def _large(_job: str, runs: Sequence[ListedRun]) -> Mapping[str, Any]:
    return {"runs": [{"id": run.run_id, "s": run.status, "x": "y" * 300_000} for run in runs]}


@pytest.mark.parametrize(
    ("shape", "listings", "because"),
    [
        (_empty, 2, "show none of its runs"),
        (_only_ids, 2, "show none of its runs"),
        (_wrong, 2, "a listing said"),
        (_large, 1, "MiB"),
    ],
)
def test_job_whose_listings_are_of_no_use_is_asked_about_run_by_run(
    shape: Any, listings: int, because: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Said once, and for as long as the tracker is open.
    """
    project = project_of(listing=Listing(shape=shape))
    runs = _five(project)

    async def scenario(tracker: Tracker) -> tuple[RunResults, RunResults]:
        first = await tracker.runs.wait_all(runs)
        for number in range(2):
            project.add_run("job", f"later-{number}", 30.0)
        return first, await tracker.runs.wait_all([JobRun("job", f"later-{n}") for n in range(2)])

    with caplog.at_level(logging.WARNING):
        first, later = follow(project, scenario)
    assert first.ok
    assert later.ok
    assert 1 <= len(checks_sent(project, "SHOW RUNS")) <= listings
    assert [because in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize("refused", [{"failed": 1}, {"invalid": 1}])
def test_job_that_cannot_be_listed_is_asked_about_run_by_run(refused: dict[str, Any]) -> None:
    """
    A server that knows no such statement says so once.
    """
    project = project_of(Kind(label="SHOW RUNS", duration=1, **refused))
    runs = _five(project)

    async def scenario(tracker: Tracker) -> RunResults:
        return await tracker.runs.wait_all(runs)

    assert follow(project, scenario).ok
    assert len(checks_sent(project, "SHOW RUNS")) == 1


def test_run_that_drops_out_of_the_listing_is_asked_about_alone() -> None:
    """
    Missing is neither running nor over; the others are listed on.
    """
    project = project_of()
    runs = _five(project, until=120.0)
    project.runs["run-2"].unlisted_at = 30.0

    async def scenario(tracker: Tracker) -> RunResults:
        return await tracker.runs.wait_all(runs)

    results = follow(project, scenario)
    assert results.ok
    alone = checks_sent(project, "DESCRIBE JOB_RUN `run-2`")
    assert alone[0] > 30
    assert len(checks_sent(project, "SHOW RUNS")) > 15
    # Others are checked alone now and then, to compare.
    assert len(checks_sent(project, "DESCRIBE")) - len(alone) <= 7


def test_listing_that_shows_only_a_few_is_given_up() -> None:
    """
    When half of a job's runs are not shown, the job is asked about run by run.
    """
    project = project_of(listing=Listing(limit=2))
    runs = _five(project)

    async def scenario(tracker: Tracker) -> RunResults:
        return await tracker.runs.wait_all(runs)

    assert follow(project, scenario).ok
    assert len(checks_sent(project, "SHOW RUNS")) <= 3


def test_listing_that_lags_is_only_late() -> None:
    """
    What a listing says of an end is asked about alone before it is told, once.
    """
    project = project_of(listing=Listing(lag=20.0))
    runs = _five(project)

    async def scenario(tracker: Tracker) -> tuple[RunResults, float]:
        results = await tracker.runs.wait_all(runs)
        return results, asyncio.get_running_loop().time()

    results, ended = follow(project, scenario)
    assert results.ok
    assert ended < 68 + 25


def test_answer_that_changes_its_shape_is_read_again_or_not_at_all() -> None:
    """
    A server is changed while runs are open.
    """
    shapes: tuple[ShapeName, ...] = ("nested", "table", "keyed", "cells", "flat")

    def listing(_job: str, since: float) -> Listing:
        return Listing(shape=shapes[int(since // 30) % 5], extras=EXTRAS)

    project = project_of(listing=listing)
    for number in range(12):
        project.add_run(
            "job", f"run-{number}", 20.0 + 15 * number, "FAILED" if number % 3 else None
        )
        project.runs[f"run-{number}"].status = f"{PREFIX}{'FAILED' if number % 3 else 'COMPLETED'}"
    runs = [JobRun("job", f"run-{number}") for number in range(12)]

    async def scenario(tracker: Tracker) -> RunResults:
        return await tracker.runs.wait_all(runs)

    results = follow(project, scenario)
    assert [result.outcome for result in results] == [
        RunOutcome.FAILED if number % 3 else RunOutcome.SUCCEEDED for number in range(12)
    ]


def _nearer_word(_job: str, runs: Sequence[ListedRun]) -> Mapping[str, Any]:
    rows = [
        {"id": run.run_id, "before": f"{PREFIX}RUNNING", "state": {"now": run.status}}
        for run in runs
    ]
    return {"runs": rows}


def test_listing_that_never_shows_an_end_is_found_out() -> None:
    """
    Misread as running for ever, a run would never end: now and then one is checked alone.
    """
    project = project_of(listing=Listing(shape=_nearer_word))
    runs = _five(project)

    async def scenario(tracker: Tracker) -> tuple[RunResults, float]:
        results = await tracker.runs.wait_all(runs)
        return results, asyncio.get_running_loop().time()

    results, ended = follow(project, scenario)
    assert results.ok
    assert ended < 68 + 120


# --- What becomes of a run that nobody knows ------------------------------------------------


def _one(project: Any, run: JobRun, *more: JobRun, policy: PollPolicy | None = None) -> RunResult:
    async def scenario(tracker: Tracker) -> RunResult:
        others = [tracker.runs.track(other) for other in more]
        (result,) = await tracker.runs.wait_all([run])
        for other in others:
            other.cancel()
        return result

    return follow(project, scenario, policy=policy)


@pytest.mark.parametrize("with_other", [True, False])
def test_run_that_the_server_forgets_is_lost(*, with_other: bool) -> None:
    """
    After ten minutes, and only if the server answers about something else.
    """
    project = project_of()
    project.add_run("job", "r", 1000.0)
    project.runs["r"].vanished_at = 50.0
    project.add_run("other", "o", 5000.0)

    more = [JobRun("other", "o")] if with_other else []
    result = _one(project, JobRun("job", "r"), *more)

    assert result.outcome is RunOutcome.LOST
    assert 650 < result.waited < 700
    assert "not found" in result.reason
    assert "renamed or deleted" in result.reason
    assert bool(checks_sent(project, "SHOW JOBS")) is not with_other


def test_run_of_a_server_that_refuses_everything_is_unreachable() -> None:
    """
    Without a witness nobody knows whose fault it is.
    """
    kinds = [Kind(label=label, duration=1, failed=1) for label in ("DESCRIBE", "SHOW")]
    project = project_of(*kinds)
    project.add_run("job", "r", 1000.0)

    result = _one(project, JobRun("job", "r"), policy=PollPolicy(patience=900))
    assert result.outcome is RunOutcome.UNREACHABLE
    assert 900 <= result.waited < 960


@pytest.mark.parametrize(
    ("status", "reason"),
    [("PAUSED", "PAUSED"), ("INVALID", "INVALID"), (None, "no status")],
)
def test_word_that_nobody_knows_ends_the_following_after_three(
    status: str | None, reason: str
) -> None:
    """
    It is neither running nor over, and asking on would not change that.
    """
    project = project_of()
    project.add_run("job", "r", 20.0, status)

    result = _one(project, JobRun("job", "r"))
    assert result.outcome is RunOutcome.UNRECOGNIZED
    assert reason in result.reason
    assert 20 < result.waited < 35


def test_word_that_is_not_known_for_a_moment_is_passed_over() -> None:
    """
    Two odd answers are no three.
    """
    project = project_of()
    project.add_run("job", "r", 60.0)
    project.runs["r"].report("SLEEPING", 20.0, 23.0)

    assert _one(project, JobRun("job", "r")).ok


def test_run_that_never_runs_is_given_up_after_a_time() -> None:
    """
    NOT_RUN is "not yet" for half an hour, or for as long as you say.
    """
    project = project_of()
    project.add_run("job", "r", 20.0, not_run=10_000.0)
    project.add_run("late", "l", 20.0, not_run=100.0)

    async def scenario(tracker: Tracker) -> RunResults:
        tracker.runs.not_run_grace = 120.0
        return await tracker.runs.wait_all([JobRun("job", "r"), JobRun("late", "l")])

    never, late = follow(project, scenario)
    assert never.outcome is RunOutcome.UNRECOGNIZED
    assert 120 < never.waited < 135
    assert late.outcome is RunOutcome.SUCCEEDED


def test_large_listing_is_read_in_a_thread() -> None:
    """
    The loop turns while thousands of rows are searched.
    """
    project = project_of(listing=Listing(history=1_500))
    for number in range(25):
        project.add_run("job", f"run-{number}", 40.0)
    runs = [JobRun("job", f"run-{number}") for number in range(25)]

    async def scenario(tracker: Tracker) -> RunResults:
        return await tracker.runs.wait_all(runs)

    assert follow(project, scenario).ok
