"""
What the calls of `Runs` have in common: what they wait for, how long, and who hears of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from onehouse_tracker._checks import check_no_mapping
from onehouse_tracker.errors import InvalidRequestError
from onehouse_tracker.run_results import JobRun, RunResult, RunResults
from onehouse_tracker.runs._callbacks import OnRunResult, RunCallbacks
from onehouse_tracker.runs._followed import RunWait
from onehouse_tracker.runs._handles import RunCompletions, RunHandle

if TYPE_CHECKING:
    from onehouse_tracker._engine.open_tracker.session import Session
    from onehouse_tracker.runs._book import Book

__all__ = ["all_checked", "checked", "completions", "join_all", "until_all"]


def release(book: Book, wait: RunWait, timer: asyncio.TimerHandle | None) -> None:
    """End a wait."""
    if timer is not None:
        timer.cancel()
    book.leave(wait)
    wait.fed()


def checked(run: object) -> JobRun:
    """Return *run* if it is one, else raise `InvalidRequestError`."""
    if isinstance(run, JobRun):
        return run
    raise InvalidRequestError(f"a run is a JobRun(job, run_id), not {type(run).__name__}")


def all_checked(runs: Iterable[JobRun | RunHandle]) -> list[JobRun | RunHandle]:
    """Return *runs* if all are runs or handles, else raise `InvalidRequestError`."""
    if isinstance(runs, JobRun | RunHandle | str | bytes):
        raise InvalidRequestError(f"give a list of runs, not one {type(runs).__name__}")
    check_no_mapping(runs, "runs", "runs", "followed")
    return [run if isinstance(run, RunHandle) else checked(run) for run in runs]


def join_all(book: Book, wait: RunWait, runs: list[JobRun | RunHandle]) -> None:
    """Let *wait* wait for all of *runs*, and for nothing else."""
    for run in runs:
        if isinstance(run, RunHandle):
            wait.join(run.followed, None)
        else:
            wait.join(book.run(run), run.label)
    wait.fed()


def expire_after(book: Book, wait: RunWait, timeout: float | None) -> asyncio.TimerHandle | None:
    """Settle what is open at the deadline; cancel the timer when the wait is over."""
    if timeout is None:
        return None
    loop = asyncio.get_running_loop()
    return loop.call_at(loop.time() + timeout, book.expire, wait)


def completions(
    book: Book, timeout: float | None, join: Callable[[RunWait], None]
) -> RunCompletions:
    """Iterate over what *join* lets a wait wait for."""
    arrived: deque[tuple[int, RunResult]] = deque()
    wait = RunWait(on_each=lambda *ended: arrived.append(ended))
    join(wait)
    timer = expire_after(book, wait, timeout)
    acknowledge = None if book.journal is None else book.journal.acknowledge
    return RunCompletions(wait, arrived, partial(release, book, wait, timer), acknowledge)


async def until_all(
    session: Session,
    book: Book,
    feed: Callable[[RunWait], Awaitable[None]],
    timeout: float | None,
    on_result: OnRunResult | None,
    on_each: Callable[[int, RunResult], None] | None = None,
) -> RunResults:
    """Wait until *feed* has fed a wait, and that is over; call back meanwhile."""
    callbacks = None if on_result is None else RunCallbacks(on_result, session)

    def each_ended(position: int, result: RunResult) -> None:
        if callbacks is not None:
            callbacks.put(position, result)
        if on_each is not None:
            on_each(position, result)

    wait = RunWait(on_each=each_ended)
    if callbacks is not None:
        callbacks.start(wait, None if book.journal is None else book.journal.acknowledge)
    timer = expire_after(book, wait, timeout)
    try:
        await feed(wait)
        await wait.until_over()
        if callbacks is not None:
            await callbacks.until_done()
    finally:
        release(book, wait, timer)
        if callbacks is not None:
            await callbacks.aclose()
    wait.raise_error()
    acknowledge, results = None, wait.results()
    if book.journal is not None:
        # What may still run has not arrived: when it ends, somebody else may be told.
        ended = [key for key, each in zip(wait.keys, results, strict=True) if _is_over(each)]
        book.journal.told(ended)
        acknowledge = partial(book.journal.acknowledge, ended)
    return RunResults(
        results,
        callback_errors=None if callbacks is None else callbacks.errors,
        acknowledge=acknowledge,
    )


def _is_over(result: RunResult) -> bool:
    return result.outcome.finished or result.ok
