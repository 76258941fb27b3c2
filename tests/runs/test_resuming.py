"""A crash at any moment loses no run, and no statement is ever sent twice."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest

from onehouse_tracker import JobRun, RunOutcome, SqliteJournal, Tracker
from onehouse_tracker.errors import ConfigError, ThrottledError
from onehouse_tracker.run_results import RunResult, RunResults
from onehouse_tracker.testing import (
    InlineExecutor,
    Kind,
    RunKind,
    SimulatedProject,
    SimulatedSource,
)
from tests.runs.following import checks_sent, project_of, statements
from tests.support import run

T = TypeVar("T")

STATEMENTS = [f"RUN JOB job_{number % 3}" for number in range(8)] + ["SHOW TABLES"]
KINDS = (RunKind(job="job_1", queued=1, duration=10, failed=1), RunKind(queued=1, duration=20))


def _copy(path: Path, to: Path) -> None:
    """What a crash at this moment would leave on the disk."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


def _journal(path: Path, **settings: bool) -> SqliteJournal:
    return SqliteJournal(path, executor=InlineExecutor(), **settings)


def _after_crash(
    project: SimulatedProject,
    path: Path,
    before: Callable[[Tracker], Awaitable[object]],
    crash_after: float,
    after: Callable[[Tracker], Awaitable[T]],
    source: type[SimulatedSource] = SimulatedSource,
    **settings: bool,
) -> T:
    """Let *before* go on until the crash, then *after* with what was on the disk by then."""

    async def scenario() -> T:
        made = _journal(path, **settings)
        async with Tracker(source(project), journal=made) as tracker:
            task = asyncio.ensure_future(before(tracker))
            await asyncio.sleep(crash_after)
            crashed = path.with_name("crashed.db")
            _copy(path, crashed)
            task.cancel()
            await asyncio.wait([task])
        journal = _journal(crashed, **settings)
        async with Tracker(SimulatedSource(project), journal=journal) as tracker:
            return await after(tracker)

    return run(scenario())


@pytest.mark.parametrize("keeps_responses", [True, False])
@pytest.mark.parametrize(
    "crash_after",
    [0.0, 0.05, 0.11, 0.2, 0.33, 0.45, 0.57, 0.7, 0.83, 0.95, 1.5, 2.6, 3.1, 6.0, 15.0, 27.0],
)
def test_same_call_again_sends_what_was_never_sent_and_follows_the_rest(
    tmp_path: Path, crash_after: float, *, keeps_responses: bool
) -> None:
    """
    Whatever was on the wire or in the air when the process died.
    """
    project = project_of(kinds=KINDS)

    async def before(tracker: Tracker) -> None:
        await tracker.runs.execute_all(STATEMENTS)

    async def after(tracker: Tracker) -> RunResults:
        return await tracker.runs.execute_all(STATEMENTS, resume=True)

    results = _after_crash(
        project,
        tmp_path / "journal.db",
        before,
        crash_after,
        after,
        store_responses=keeps_responses,
    )
    sent = Counter(statement for _, statement in statements(project))
    unknown = [result for result in results if result.outcome is RunOutcome.START_UNKNOWN]
    # What is on the wire, and the next, whose intent is on disk while it waits for its slot.
    assert len(unknown) <= 2
    assert sum(sent[statement] for statement in set(STATEMENTS)) >= len(STATEMENTS) - 1
    for statement, wanted in Counter(STATEMENTS).items():
        lost = sum(result.statement == statement for result in unknown)
        assert wanted - lost <= sent[statement] <= wanted
    for statement, result in zip(STATEMENTS, results, strict=True):
        assert result.statement == statement
        if result not in unknown:
            expected = RunOutcome.FAILED if statement.endswith("_1") else RunOutcome.SUCCEEDED
            assert result.outcome is expected
    run_ids = [result.run_id for result in results if result.run_id]
    assert len(run_ids) == len(set(run_ids))


@pytest.mark.parametrize("crash_after", [0.25, 0.5, 0.75])
def test_statement_that_is_refused_for_its_rate_was_never_sent(
    tmp_path: Path, crash_after: float
) -> None:
    """
    It waits to be sent again, which may be long, and nothing runs of it.
    """
    project = project_of(kinds=KINDS)
    refused = 3

    class Refusing(SimulatedSource):
        async def submit(self, statement: str) -> str:
            nonlocal refused
            if refused:
                refused -= 1
                raise ThrottledError(retry_after=1.0)
            return await super().submit(statement)

    async def before(tracker: Tracker) -> None:
        await tracker.runs.execute_all(STATEMENTS)

    async def after(tracker: Tracker) -> RunResults:
        return await tracker.runs.execute_all(STATEMENTS, resume=True)

    results = _after_crash(
        project, tmp_path / "journal.db", before, crash_after, after, source=Refusing
    )
    # At most the next statement had its intent on disk.
    unknown = [result for result in results if result.outcome is RunOutcome.START_UNKNOWN]
    assert len(unknown) <= 1
    sent = Counter(statement for _, statement in statements(project))
    assert sum(sent[statement] for statement in set(STATEMENTS)) == len(STATEMENTS) - len(unknown)


@pytest.mark.parametrize("crash_after", [1.2, 2.9, 10.0, 40.0])
def test_everything_that_was_begun_comes_back(tmp_path: Path, crash_after: float) -> None:
    """
    Also between the SUCCESS of the request and our knowing the run ID; once each.
    """
    project = project_of(Kind(label="RUN JOB", duration=1.5), kinds=KINDS)

    async def before(tracker: Tracker) -> None:
        handles = [await tracker.runs.submit(f"RUN JOB job_{n}", label=f"l{n}") for n in range(3)]
        await asyncio.gather(*handles)
        await asyncio.sleep(1000)

    async def after(tracker: Tracker) -> tuple[list[RunResult], list[RunResult]]:
        found = [result async for result in tracker.runs.resume()]
        return found, [result async for result in tracker.runs.resume()]

    found, again = _after_crash(project, tmp_path / "journal.db", before, crash_after, after)
    assert {result.job: result.outcome for result in found} == {
        "job_0": RunOutcome.SUCCEEDED,
        "job_1": RunOutcome.FAILED,
        "job_2": RunOutcome.SUCCEEDED,
    }
    assert {result.run_id for result in found} == set(project.runs)
    assert {result.label for result in found} == {"l0", "l1", "l2"}
    assert again == []
    assert len(checks_sent(project, "RUN JOB")) == 3


def test_what_was_never_sent_is_named_until_it_is_sent(tmp_path: Path) -> None:
    """
    With a limit of open runs most statements wait; all of them are on the disk.
    """
    project = project_of(kinds=KINDS)
    wanted = [f"RUN JOB j{number}" for number in range(6)]

    async def before(tracker: Tracker) -> None:
        await tracker.runs.execute_all(wanted, max_running=2)

    async def after(tracker: Tracker) -> tuple[list[RunResult], RunResults, list[RunResult]]:
        named = [result async for result in tracker.runs.resume()]
        done = await tracker.runs.execute_all(wanted, max_running=2, resume=True)
        rest = [result async for result in tracker.runs.resume()]
        return named, done, rest

    named, done, rest = _after_crash(project, tmp_path / "journal.db", before, 10, after)
    assert Counter(result.outcome for result in named) == {
        RunOutcome.SUCCEEDED: 2,
        RunOutcome.NOT_STARTED: 4,
    }
    assert sum("never sent" in result.reason for result in named) == 4
    assert done.ok
    assert [result.job for result in done] == [f"j{number}" for number in range(6)]
    assert {result.outcome for result in rest} <= {RunOutcome.SUCCEEDED}
    assert Counter(s for _, s in statements(project) if s.startswith("RUN JOB")) == dict.fromkeys(
        wanted, 1
    )


def test_runs_of_others_come_back_with_their_age(tmp_path: Path) -> None:
    """
    A run that was only followed is followed again.
    """
    project = project_of()
    project.add_run("job", "r", 100.0)

    async def before(tracker: Tracker) -> None:
        await tracker.runs.wait_all([JobRun("job", "r", label="x")])

    async def after(tracker: Tracker) -> list[RunResult]:
        return [result async for result in tracker.runs.resume()]

    (result,) = _after_crash(project, tmp_path / "journal.db", before, 50, after)
    assert (result.outcome, result.job, result.run_id, result.label) == (
        RunOutcome.SUCCEEDED,
        "job",
        "r",
        "x",
    )


def test_what_was_handed_out_is_not_delivered_again(tmp_path: Path) -> None:
    """
    Where the block ends without an error, everything has arrived.
    """
    project = project_of(kinds=KINDS)
    path = tmp_path / "journal.db"

    async def scenario() -> list[RunResult]:
        async with Tracker(SimulatedSource(project), journal=_journal(path)) as tracker:
            results = await tracker.runs.execute_all(["RUN JOB job_1", "RUN JOB x SYNTAX ERROR"])
            await (await tracker.runs.submit("RUN JOB job_2"))
            assert len(results) == 2
        async with Tracker(SimulatedSource(project), journal=_journal(path)) as tracker:
            assert [result async for result in tracker.resume()] == []
            return [result async for result in tracker.runs.resume()]

    assert run(scenario()) == []


@pytest.mark.parametrize("late", [True, False])
def test_what_has_not_ended_is_not_acknowledged(tmp_path: Path, *, late: bool) -> None:
    """
    It is delivered once it has ended, even if it did before the results were acknowledged.
    """
    project = project_of(kinds=KINDS)

    async def before(tracker: Tracker) -> None:
        handle = await tracker.runs.submit("RUN JOB job_1")
        results = await tracker.runs.wait_all([handle], timeout=5)
        assert [result.outcome for result in results] == [RunOutcome.TIMED_OUT]
        if late:
            await handle
        await results.ack_and_wait()

    async def after(tracker: Tracker) -> list[RunOutcome]:
        return [result.outcome async for result in tracker.runs.resume()]

    again = _after_crash(project, tmp_path / "journal.db", before, 20, after)
    assert again == [RunOutcome.FAILED]


def test_nothing_can_be_resumed_without_a_journal() -> None:
    """
    Said at once, and nothing is sent.
    """
    project = project_of()

    async def scenario() -> None:
        async with Tracker(SimulatedSource(project)) as tracker:
            with pytest.raises(ConfigError, match="Journal"):
                tracker.runs.resume()
            with pytest.raises(ConfigError, match="Journal"):
                await tracker.runs.execute_all(["RUN JOB x"], resume=True)

    run(scenario())
    assert not project.requests


def test_journal_keeps_no_text_of_statements_unless_it_may(tmp_path: Path) -> None:
    """
    A statement may hold a secret.
    """
    project = project_of(kinds=KINDS)
    path = tmp_path / "journal.db"

    async def scenario() -> None:
        async with Tracker(SimulatedSource(project), journal=_journal(path)) as tracker:
            await tracker.runs.execute_all(["CREATE AND RUN JOB x PARAMETERS=('hunter2')"])

    run(scenario())
    assert b"hunter2" not in path.read_bytes()
