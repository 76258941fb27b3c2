"""
Rows of runs: a row tells how the run ended, not how the request ended that started it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onehouse_tracker import JobRun, JournalReader, RunResults, SqliteJournal, Tracker
from onehouse_tracker.report import ReportObserver, journal_view, run_results_view, write_report
from onehouse_tracker.report._view import named_rows, totals
from onehouse_tracker.testing import InlineExecutor, RunKind
from tests.runs.following import follow, project_of

KINDS = (
    RunKind(job="good", queued=4, duration=60),
    RunKind(job="bad", queued=4, duration=30, failed=1),
    RunKind(queued=4, duration=3600),
)


def rows(recording: ReportObserver) -> list[dict[str, Any]]:
    """The rows of a recording, in the order in which they came."""
    return named_rows(recording.view())


def test_the_row_of_a_statement_becomes_that_of_its_run() -> None:
    """
    Two seconds after RUN JOB its request has succeeded, and nobody may read that as the end.
    """
    recording, project = ReportObserver(), project_of(kinds=KINDS)

    async def scenario(tracker: Tracker) -> list[dict[str, Any]]:
        handles = [await tracker.runs.submit(f"RUN JOB {job}") for job in ("good", "bad")]
        early: list[dict[str, Any]] = []
        while not all(handle.run_id for handle in handles):
            await tracker.runs.wait_all(handles, timeout=1)
        early = rows(recording)
        await tracker.runs.wait_all(handles)
        return early

    early = follow(project, scenario, observers=[recording])
    truth = {one.job: one.run_id for one in project.runs.values()}

    assert {row["state"] for row in early} <= {"PENDING", "TIMED_OUT"}
    good, bad = rows(recording)
    assert (good["state"], good["job"], good["run_id"]) == ("SUCCEEDED", "good", truth["good"])
    assert (bad["state"], bad["job"], bad["run_id"]) == ("FAILED", "bad", truth["bad"])
    assert good["request_id"] in project.requests
    assert good["waited"] > 60
    assert good["checks"] > 1
    assert totals(recording.view()) == {"SUCCEEDED": 1, "FAILED": 1}


def test_what_others_started_and_what_was_never_sent_have_rows() -> None:
    """
    A run that is still running at the deadline says so, as a request does.
    """
    recording, project = ReportObserver(), project_of(kinds=KINDS)
    project.add_run("long", "run-1", 3600.0)

    async def scenario(tracker: Tracker) -> None:
        await tracker.runs.wait_all([JobRun("long", "run-1", label="L")], timeout=30)
        await tracker.runs.execute_all(
            ["RUN JOB bad", "RUN JOB good"], max_running=1, stop_on_failure=True
        )

    follow(project, scenario, observers=[recording])

    others, bad, unsent = rows(recording)
    assert (others["state"], others["run_id"], others["label"]) == ("TIMED_OUT", "run-1", "L")
    assert others["waited"] == pytest.approx(30, abs=0.2)
    assert bad["state"] == "FAILED"
    assert (unsent["state"], unsent["run_id"]) == ("NOT_STARTED", None)
    assert unsent["request_id"].startswith("(not sent")


def test_a_run_that_is_let_go_is_open() -> None:
    """
    The tracker was closed first: the page must not show it as followed for ever.
    """
    recording, project = ReportObserver(), project_of(kinds=KINDS)

    async def scenario(tracker: Tracker) -> str | None:
        handle = await tracker.runs.submit("RUN JOB long")
        while not handle.run_id:
            await tracker.runs.wait_all([handle], timeout=1)
        return handle.run_id

    run_id = follow(project, scenario, observers=[recording])

    (row,) = rows(recording)
    assert (row["run_id"], row["ended"]) == (run_id, pytest.approx(row["joined"] + row["waited"]))
    assert row["state"] in {"OPEN", "TIMED_OUT"}


def test_checks_count_in_the_use_of_the_budget() -> None:
    """
    They are sent out of the same ten requests a second.
    """
    recording, project = ReportObserver(), project_of(kinds=KINDS)

    async def scenario(tracker: Tracker) -> None:
        await tracker.runs.execute_all(["RUN JOB good"])

    follow(project, scenario, observers=[recording])

    head = recording.view()["head"]
    assert head["polls"] + head["submissions"] == len(project.arrivals)


def test_a_journal_and_results_tell_of_runs_too(tmp_path: Path) -> None:
    """
    A report that is made afterwards calls no run ended because its request has.
    """
    project = project_of(kinds=KINDS)
    project.add_run("bad", "run-1", 20.0, "FAILED")
    statements = ["RUN JOB good", "RUN JOB long", "RUN JOB x SYNTAX ERROR"]
    path = tmp_path / "journal.db"

    async def scenario(tracker: Tracker) -> tuple[RunResults, RunResults]:
        found = await tracker.runs.execute_all(statements, timeout=100)
        return found, await tracker.runs.wait_all([JobRun("bad", "run-1", label="L")])

    journal = SqliteJournal(path, executor=InlineExecutor())
    started, foreign = follow(project, scenario, journal=journal)

    told = named_rows(journal_view(JournalReader(path)))
    by_job = {row["job"]: row for row in told}
    assert {job: row["state"] for job, row in by_job.items()} == {
        "good": "SUCCEEDED",
        "long": "PENDING",
        "x": "NOT_STARTED",
        "bad": "FAILED",
    }
    assert by_job["good"]["run_id"] == started[0].run_id
    assert by_job["good"]["request_id"] == started[0].request_id
    assert by_job["good"]["ended"] is not None
    assert by_job["long"]["ended"] is None
    assert len(told) == 4

    rows_of_results = named_rows(run_results_view(started))
    assert [row["state"] for row in rows_of_results] == ["SUCCEEDED", "TIMED_OUT", "NOT_STARTED"]
    assert rows_of_results[0]["checks"] == started[0].checks
    assert [row["run_id"] for row in named_rows(run_results_view(foreign))] == ["run-1"]
    write_report(tmp_path / "runs.html", started)
    assert str(started[0].run_id) in (tmp_path / "runs.html").read_text(encoding="utf-8")
