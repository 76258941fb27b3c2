"""
Handles and iterators of runs keep the promises of those of requests.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import pickle
from pathlib import Path
from typing import Any

import pytest

from onehouse_tracker import JobRun, RunOutcome, SqliteJournal, Tracker, TrackerClosedError
from onehouse_tracker.run_results import RunResult, RunResults
from onehouse_tracker.testing import InlineExecutor, SimulatedProject, SimulatedSource
from tests.runs.following import checks_sent, follow, project_of
from tests.support import run


def _project_with_runs(count: int, *, lasting: float = 20.0) -> SimulatedProject:
    project = project_of()
    for number in range(count):
        project.add_run(f"job-{number}", f"run-{number}", lasting)
    return project


def _runs(count: int) -> list[JobRun]:
    return [JobRun(f"job-{number}", f"run-{number}") for number in range(count)]


def _journal(path: Path) -> SqliteJournal:
    return SqliteJournal(path, executor=InlineExecutor())


def test_a_dropped_iterator_ends_the_checks() -> None:
    """
    After a bare break nobody waits: the runs that are left cost no request any more.
    """
    project = _project_with_runs(1)
    project.add_run("endless", "run-e", 1e6)

    async def scenario(tracker: Tracker) -> tuple[int, int]:
        async for result in tracker.runs.as_completed([*_runs(1), JobRun("endless", "run-e")]):
            assert result.run_id == "run-0"
            break
        gc.collect()
        await asyncio.sleep(10)
        before = len(checks_sent(project))
        await asyncio.sleep(1000)
        return before, len(checks_sent(project))

    before, afterwards = follow(project, scenario)
    assert before > 0
    assert before == afterwards


def test_several_tasks_share_one_iterator() -> None:
    """
    Each result goes to one of them.
    """

    async def scenario(tracker: Tracker) -> list[list[str | None]]:
        completions = tracker.runs.as_completed(_runs(12))
        assert repr(completions) == "<RunCompletions: 0 arrived, 12 pending>"

        async def worker() -> list[str | None]:
            return [result.run_id async for result in completions]

        return await asyncio.gather(*(worker() for _ in range(3)))

    shares = follow(_project_with_runs(12), scenario)
    assert sorted(itertools.chain(*shares), key=str) == sorted(f"run-{n}" for n in range(12))


def test_each_task_acknowledges_what_it_took_itself(tmp_path: Path) -> None:
    """
    A task that asks for more says nothing about the result that another one still works on.
    """
    project = _project_with_runs(3)
    path = tmp_path / "journal.db"

    async def crashed() -> list[str | None]:
        async with asyncio.timeout(100):
            tracker = Tracker(SimulatedSource(project), journal=_journal(path), seed=1)
            async with tracker:
                completions = tracker.runs.as_completed(_runs(3))
                slow_has = asyncio.Event()

                async def slow() -> None:
                    taken.append((await anext(completions)).run_id)
                    slow_has.set()
                    await asyncio.sleep(1000)

                async def quick() -> None:
                    await slow_has.wait()
                    async for _ in completions:
                        pass
                    raise RuntimeError("a crash")  # a close by an error acknowledges nothing

                async with asyncio.TaskGroup() as group:
                    group.create_task(slow())
                    group.create_task(quick())
        raise AssertionError

    async def again() -> list[str | None]:
        async with Tracker(SimulatedSource(project), journal=_journal(path), seed=1) as tracker:
            return [result.run_id async for result in tracker.runs.resume()]

    taken: list[str | None] = []
    with pytest.raises(ExceptionGroup):
        run(crashed())
    assert run(again()) == taken


@pytest.mark.parametrize("by", ["handle", "results", "handle, and wait", "results, and wait"])
def test_what_was_acknowledged_is_not_delivered_again(tmp_path: Path, by: str) -> None:
    """
    A crash delivers again what arrived nowhere, and nothing else.
    """
    project = _project_with_runs(2)
    path = tmp_path / "journal.db"

    async def crashed() -> None:
        async with Tracker(SimulatedSource(project), journal=_journal(path), seed=1) as tracker:
            first, second = (tracker.runs.track(each) for each in _runs(2))
            await asyncio.gather(first, second)
            if by.startswith("handle"):
                await _ack(first, by)
            else:
                await _ack(await tracker.runs.wait_all([first]), by)
            raise RuntimeError("a crash")

    async def again() -> list[str | None]:
        async with Tracker(SimulatedSource(project), journal=_journal(path), seed=1) as tracker:
            return [result.run_id async for result in tracker.runs.resume()]

    with pytest.raises(RuntimeError, match="a crash"):
        run(crashed())
    assert run(again()) == ["run-1"]


async def _ack(what: Any, by: str) -> None:
    if by.endswith("wait"):
        await what.ack_and_wait()
    else:
        what.ack()


def test_nothing_can_be_acknowledged_after_a_crash(tmp_path: Path) -> None:
    """
    It would be delivered again all the same; after a good end, what was told has arrived.
    """
    project = _project_with_runs(1)

    async def closed(path: Path, error: Exception | None) -> RunResults:
        results = RunResults()
        try:
            async with Tracker(SimulatedSource(project), journal=_journal(path)) as tracker:
                results = await tracker.runs.wait_all(_runs(1))
                if error is not None:
                    raise error
        except RuntimeError:
            pass
        return results

    async def scenario() -> None:
        (await closed(tmp_path / "good.db", None)).ack()
        with pytest.raises(TrackerClosedError, match=r"resume\(\) delivers them again"):
            (await closed(tmp_path / "bad.db", RuntimeError("a crash"))).ack()

    run(scenario())


def test_results_without_a_journal_are_acknowledged_nowhere() -> None:
    """
    Code that acknowledges need not know whether there is a journal; a copy is only data.
    """

    async def scenario(tracker: Tracker) -> RunResults:
        handle = tracker.runs.track(_runs(1)[0])
        results = await tracker.runs.wait_all([handle])
        results.ack()
        await results.ack_and_wait()
        await handle.ack_and_wait()
        handle.ack()
        return results

    results = follow(_project_with_runs(1), scenario)
    copy: RunResults = pickle.loads(pickle.dumps(results))  # noqa: S301 - made here
    copy.ack()
    assert [result.run_id for result in copy] == ["run-0"]


def test_each_one_who_awaits_a_handle_gets_a_result_of_its_own() -> None:
    """
    What one of them does to the server's row, no other sees.
    """

    async def scenario(tracker: Tracker) -> tuple[RunResult, RunResult]:
        handle = tracker.runs.track(_runs(1)[0])
        return await handle, await handle

    first, second = follow(_project_with_runs(1), scenario)
    assert isinstance(first.row, dict)
    first.row.clear()
    assert second.row
    assert second.outcome is RunOutcome.SUCCEEDED


def test_a_handle_says_what_it_is_in_every_state() -> None:
    """
    The repr stands in logs; the errors name the run.
    """

    async def scenario(tracker: Tracker) -> list[str]:
        ended, left = (tracker.runs.track(each) for each in _runs(2))
        said = [repr(ended)]
        with pytest.raises(asyncio.InvalidStateError, match="run run-0 is still pending"):
            ended.result()
        left.cancel()
        said.append(repr(left))
        with pytest.raises(asyncio.CancelledError, match="it still runs at the server"):
            await left
        await ended
        return [*said, repr(ended)]

    assert follow(_project_with_runs(2), scenario) == [
        "<RunHandle run-0: pending>",
        "<RunHandle run-1: canceled>",
        "<RunHandle run-0: SUCCEEDED>",
    ]
