"""
Every public name with its keywords, for type checkers: this program is checked, not run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextvars import copy_context
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import onehouse_tracker
from onehouse_tracker import (
    ApiStatus,
    AuthenticationError,
    Completions,
    ConfigError,
    Credentials,
    Handle,
    InvalidRequestError,
    JobRun,
    Journal,
    JournalCorruptError,
    JournalError,
    JournalLockedError,
    JournalReader,
    JournalVersionError,
    JournalWriteError,
    NotFoundError,
    OnehouseClient,
    OutageError,
    Outcome,
    PollPolicy,
    PoolResults,
    PoolStats,
    ProjectError,
    RejectedError,
    Request,
    RequestFailedError,
    RequestStatus,
    Result,
    Results,
    RunFailedError,
    RunOutcome,
    RunResult,
    RunResults,
    SourceError,
    SqliteJournal,
    StaleConnectionError,
    StatementResult,
    StatementResults,
    StatementState,
    StatusError,
    StatusReply,
    StatusSource,
    SubmissionError,
    SubmissionRejectedError,
    SubmissionSource,
    SubmissionUnknownError,
    SubmissionUnsentError,
    ThrottledError,
    TimeLeft,
    Tracker,
    TrackerClosedError,
    TrackerError,
    TrackerPool,
    TrackerStats,
    TransportError,
    UnauthorizedError,
    protocols,
    statements_of,
    sync,
)
from onehouse_tracker.events import Event
from onehouse_tracker.history import History
from onehouse_tracker.limiters import LocalLimiter
from onehouse_tracker.runs import RunHandle

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Builds:
    """A client of another API, with every ability that a client can have."""

    is_open = False
    request_timeout = 30.0
    max_connections: int | None = 10

    async def fetch(self, build: str) -> StatusReply:
        return StatusReply(ApiStatus.SUCCESS, {"build": build})

    async def submit(self, sql: str) -> str:
        return sql

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None: ...

    def forget_connections(self) -> None: ...

    async def warm_up(self) -> None: ...

    async def hold(self) -> Callable[[], None]:
        return lambda: None


def abilities(builds: Builds, client: OnehouseClient) -> None:
    """What the tracker may use of a client is declared, and your own class fits."""
    status: StatusSource = builds
    submission: SubmissionSource = builds
    openable: protocols.OpenableSource = client
    timed: protocols.TimedSource = client
    connected: protocols.ConnectedSource = client
    warmable: protocols.WarmableSource = builds
    holding: protocols.HoldingSource = builds
    project: protocols.ProjectSource = client
    key: str = project.credentials.project_key
    limiter: protocols.RateLimiter = LocalLimiter(limit=5.0, share=0.5)
    print(status, submission, openable, timed, connected, warmable, holding, key, limiter)


def observe(event: Event) -> None:
    print(event.at)


async def on_result(result: Result) -> None:
    print(result.request_id, result.outcome, result.ok, result.reason, result.to_dict())


def on_result_in_a_thread(result: Result) -> None:
    print(result)


def on_done(handle: Handle) -> None:
    print(handle.request_id, handle.label)


async def use_handle(handle: Handle) -> Result:
    handle.add_done_callback(on_done, context=copy_context())
    if handle.done() and not handle.cancelled() and handle.exception() is None:
        handle.ack()
        await handle.ack_and_wait()
        return handle.result()
    handle.cancel()
    return await handle


async def stream(handle: Handle) -> AsyncIterator[str | Request | Handle | Result]:
    yield "a"
    yield handle
    yield Request(handle, label="RUN JOB", submitted_at=NOW)
    yield await handle


async def use_tracker(tracker: Tracker, journal: SqliteJournal) -> None:
    handle: Handle = await tracker.submit("RUN JOB nightly", label="RUN JOB")
    tracked = tracker.track(handle, label="RUN JOB", submitted_at=NOW)
    results: Results = await tracker.wait_all(
        [handle, tracked, "a", Request("b")],
        timeout=3600,
        default_label="RUN JOB",
        on_result=on_result,
    )
    await tracker.wait_all(stream(handle), on_result=on_result_in_a_thread)
    results.raise_for_failures()
    results.ack()
    await results.ack_and_wait()
    completions: Completions = tracker.as_completed(
        results.unfinished, timeout=60, default_label="SHOW"
    )
    async with completions:
        async for result in completions:
            print(result.outcome is Outcome.SUCCEEDED, results.callback_errors)
    async for result in tracker.resume(timeout=60):
        await on_result(result)
    status: dict[str, RequestStatus] = await tracker.status([handle, "a"], label="SHOW")
    print(status["a"].pending, status["a"].outcome, status["a"].ok)
    async with tracker.slot():
        pass
    page = await tracker.serve_page(8080, title="nightly")
    left: TimeLeft | None = tracker.time_left(handle)
    stats: TrackerStats = tracker.stats()
    print(page.url, stats.pending, stats.left, left and left.median, journal)


def label_of(statement: str) -> str | None:
    return statement.partition(" ")[0]


async def use_statements(tracker: Tracker) -> None:
    result: Result = await tracker.execute("SHOW TABLES", label="SHOW", timeout=60)
    done: StatementResults[Handle] = await tracker.execute_all(
        ["CREATE JOB a", "RUN JOB a"],
        label=label_of,
        max_running=20,
        in_order=False,
        stop_on_failure=True,
        timeout=3600,
        on_result=on_result,
    )
    done.raise_for_failures()
    done.results.ack()
    try:
        sent = await tracker.submit_all(
            (f"RUN JOB {n}" for n in range(20)), label="RUN JOB", in_order=True
        )
    except ProjectError as error:
        told = statements_of(error)
        print(error.message, error.results, error.pending, told, result)
        raise
    item: StatementResult[Handle] = sent[0]
    if item.state is StatementState.ACCEPTED and item.handle is not None:
        await use_handle(item.handle)
    print(sent.ok, item.number, item.label, item.request_id, item.result, item.error, item.ok)
    await tracker.wait_all(sent.handles)


async def use_runs(tracker: Tracker) -> None:
    run = await tracker.runs.submit("RUN JOB nightly", label="RUN JOB")
    result: RunResult = await run
    run_left: TimeLeft | None = tracker.runs.time_left(run)
    print(run_left, tracker.runs.time_left(JobRun("nightly", "run-1")))
    results: RunResults = await tracker.runs.wait_all([JobRun("nightly", "run-1"), run])
    print(result.outcome is RunOutcome.SUCCEEDED, results.ok)
    results.ack()
    await results.ack_and_wait()
    run.add_done_callback(on_run_done)
    run.ack()
    await run.ack_and_wait()


def on_run_done(run: RunHandle) -> None:
    print(run.job, run.run_id, run.status, run.done(), run.cancelled(), run.exception())


def use_history(history: History) -> None:
    for known in history.remembered():
        print(known.project, known.kind, known.name, known.runs, known.low, known.high)
    history.forget(project="key", labels=["nightly"], jobs=["nightly"])


async def use_pool() -> None:
    async with TrackerPool(connect_timeout=5, request_timeout=20) as pool:
        pool.add(
            "prod",
            client=Builds(),
            limit=10,
            share=0.5,
            limiter="local",
            policy=PollPolicy(gap_min=0.5),
            journal=None,
            on_journal_error="warn",
            history=History(),
            observers=[observe],
            seed=1,
        )
        tracker: Tracker = await pool.tracker("prod")
        handle: Handle = await pool.submit("prod", "SHOW TABLES", label="SHOW")
        sent = await pool.submit_all("prod", ["SHOW TABLES"], label="SHOW", in_order=True)
        done = await pool.execute_all(
            "prod",
            ["SHOW TABLES"],
            label=None,
            max_running=1,
            in_order=True,
            stop_on_failure=True,
            timeout=60,
            on_result=on_result,
        )
        result: Result = await pool.execute("prod", "SHOW TABLES", label="SHOW", timeout=60)
        await pool.status("prod", [handle], label="SHOW")
        results: PoolResults = await pool.wait_all(
            {"prod": sent.handles}, timeout=60, default_label="SHOW", on_result=on_pool_result
        )
        results.ack()
        await results.ack_and_wait()
        stats: PoolStats = pool.stats()
        await pool.remove("prod")
        print(tracker, done.ok, result, results.errors, stats.projects)


def on_pool_result(name: str, result: Result) -> None:
    print(name, result)


def use_sync(path: Path) -> None:
    with sync.Tracker(
        client=Builds(),
        limiter=LocalLimiter(),
        policy=PollPolicy(),
        journal=SqliteJournal(path),
        on_journal_error="raise",
        observers=(observe,),
        wall_clock=lambda: NOW,
        seed=1,
    ) as tracker:
        handle: sync.Handle = tracker.submit("SHOW TABLES", label="SHOW")
        handle.add_done_callback(on_sync_done)
        handle.ack()
        print(handle.result(timeout=60), handle.exception(timeout=60), handle.cancelled())
        sent: StatementResults[sync.Handle] = tracker.submit_all(["SHOW TABLES"], in_order=True)
        tracker.wait_all(
            sent.handles, timeout=60, default_label="SHOW", on_result=print, progress=True
        )
        tracker.execute_all(["SHOW TABLES"], label="SHOW", max_running=2, on_result=print)
        tracker.execute("SHOW TABLES", label="SHOW", timeout=60)
        tracker.status([handle], label="SHOW")
        print(tracker.time_left(handle))
        tracker.track(handle, label="SHOW", submitted_at=NOW).cancel()
        with tracker.as_completed([handle], timeout=60, default_label="SHOW") as completions:
            for result in completions:
                print(result)
        for result in tracker.resume(timeout=60):
            print(result)
        run = tracker.runs.submit("RUN JOB nightly", label="RUN JOB")
        run.add_done_callback(on_sync_run_done)
        run.ack()
        ended: RunResult = run.result(timeout=60)
        print(ended, run.exception(timeout=60), run.cancelled())
        print(tracker.runs.time_left(run))
        tracker.runs.wait_all([run]).ack()
        print(tracker.serve_page(0, title="nightly").url, tracker.stats(), tracker.closed)
    settings_in_sync(path)


def settings_in_sync(path: Path) -> None:
    handle = sync.submit("SHOW TABLES", label="SHOW", profile="staging")
    sync.wait_all([handle], timeout=60, default_label="SHOW", limiter="host", progress=False)
    sync.submit_all(["SHOW TABLES"], label="SHOW", in_order=True, share=0.5)
    sync.execute("SHOW TABLES", label="SHOW", timeout=60, credentials_file=path)
    sync.execute_all(["SHOW TABLES"], max_running=2, api_key="k", api_secret="s")
    sync.status([handle], label="SHOW", journal=SqliteJournal(path))
    with sync.Tracker.from_env(limit=5, max_connections=20):
        pass


def on_sync_done(handle: sync.Handle) -> None:
    print(handle.request_id, handle.label, handle.done())


def on_sync_run_done(run: sync.runs.RunHandle) -> None:
    print(run.job, run.run_id, run.request_id, run.label, run.status, run.done())


async def main(path: Path) -> None:
    journal: Journal = SqliteJournal(path)
    reader = JournalReader(path)
    read: Results = SqliteJournal.read(path)
    credentials = Credentials.from_env(
        profile="staging", environ={}, credentials_file=path, project_uid="p", region="r"
    )
    client = OnehouseClient(credentials, connect_timeout=5, request_timeout=20, max_body=1 << 20)
    async with Tracker(
        client=client,
        limiter=LocalLimiter(limit=10),
        policy=PollPolicy(gap_min=0.5, gap_max=10),
        journal=journal,
        on_journal_error="raise",
        history=None,
        observers=[observe],
        wall_clock=lambda: NOW,
        seed=1,
    ) as tracker:
        await use_tracker(tracker, SqliteJournal(path))
        await use_statements(tracker)
        await use_runs(tracker)
        use_history(History())
    async with Tracker.from_env(
        limit=10,
        share=0.5,
        limiter="redis://localhost",
        policy=None,
        journal=None,
        on_journal_error="warn",
        history=None,
        observers=(),
        profile="staging",
        environ={},
        credentials_file=path,
        http_session=None,
        connect_timeout=5,
        request_timeout=20,
        max_body=1 << 20,
        max_connections=20,
        account_uid="a",
        project_uid="p",
        api_key="k",
        api_secret="s",
        link_uid="l",
        region="r",
        user_uid="u",
        bearer_token=None,
        base_url="https://api.onehouse.ai",
    ) as tracker:
        print(tracker, reader, read, onehouse_tracker.__version__)
    abilities(Builds(), client)
    await use_pool()
    await asyncio.to_thread(use_sync, path)


ERRORS: tuple[type[TrackerError], ...] = (
    AuthenticationError,
    ConfigError,
    InvalidRequestError,
    JournalCorruptError,
    JournalError,
    JournalLockedError,
    JournalVersionError,
    JournalWriteError,
    NotFoundError,
    OutageError,
    RejectedError,
    RequestFailedError,
    RunFailedError,
    SourceError,
    StaleConnectionError,
    StatusError,
    SubmissionError,
    SubmissionRejectedError,
    SubmissionUnknownError,
    SubmissionUnsentError,
    ThrottledError,
    TrackerClosedError,
    TransportError,
    UnauthorizedError,
)
