"""
What operators share that start runs: wait for the requests, then for the runs that they started.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from logging import Logger
from typing import Any, Final, NoReturn

from onehouse_tracker.errors import ProjectError
from onehouse_tracker.integrations.airflow._airflow import AirflowException
from onehouse_tracker.integrations.airflow._carried import carried, carry
from onehouse_tracker.integrations.airflow._connection import Project
from onehouse_tracker.integrations.airflow._event_payload import (
    EventPayload,
    counted,
    describe_ids,
)
from onehouse_tracker.integrations.airflow._job_runs import (
    RunsPayload,
    by_job,
    merged,
    runs_in,
    started,
)
from onehouse_tracker.integrations.airflow._limits import Deadline
from onehouse_tracker.integrations.airflow._project_trigger import each_with_reports
from onehouse_tracker.integrations.airflow._run_cancellation import cancel_from_signal_handler
from onehouse_tracker.integrations.airflow._starts import (
    packed_starts,
    unpacked_starts,
)
from onehouse_tracker.integrations.airflow._submissions import Known, Submissions
from onehouse_tracker.integrations.airflow._tracking import TrackingOperator, started_at
from onehouse_tracker.integrations.airflow.run_trigger import OnehouseRunsTrigger
from onehouse_tracker.models import Outcome, Request
from onehouse_tracker.runs import JobRun, RunResult

__all__ = ["RUNS_KEY", "RunTrackingOperator", "wait_for_runs"]

RUNS_KEY: Final = "runs"
"""Under which key a task pushes the runs that it has started."""

_START: Final = 30.0
"""Seconds that a worker waits for the requests before it defers: RUN JOB is done in a few."""


class RunTrackingOperator(TrackingOperator):
    """
    Waits for requests, and then for the runs that they have started.

    Three steps, of which each may be on another worker: `_track_runs` waits for the requests,
    `execute_started` pushes which runs they have started, and `execute_ended` ends the task.
    """

    cancel_on_kill = False
    wait = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._running: list[JobRun] = []
        self._project: Project | None = None

    def _track_runs(
        self,
        context: Mapping[str, Any],
        submitted: Sequence[Known],
        jobs: Sequence[str | None],
        labels: Sequence[str | None],
    ) -> Any:
        """
        Wait until all requests, and all runs that they have started, have ended.

        Args:
            context: Airflow's.

            submitted: The requests.

            jobs: The jobs that they run, in the same order.

            labels: Their labels, in the same order.
        """
        self._push_report(context)
        since = datetime.now(UTC)
        known: list[dict[str, Any]] = []
        requests = []
        for one, job, label in zip(submitted, jobs, labels, strict=True):
            if one.run_id is None:
                requests.append(
                    Request(one.request_id, label=label, submitted_at=one.submitted_at)
                )
                continue
            item = {"request_id": one.request_id, "outcome": "SUCCEEDED"}
            known.append(item | {"label": label, "job": job, "run_id": one.run_id})
        self._pending = [one.request_id for one in requests]
        needed: dict[str, Any] = {
            "jobs": {one.request_id: job for one, job in zip(submitted, jobs, strict=True) if job},
            "order": [one.request_id for one in submitted],
            "known": known,
            "since": since.isoformat(),
            # A run begins when its statement is submitted, or seconds later.
            "starts": packed_starts([one.submitted_at for one in submitted]),
        }
        if not requests:
            return self.execute_started(context, EventPayload.of([]), **needed)
        deadline = self._deadline(context, since)
        seconds = None if deadline is None else (deadline.at - since).total_seconds()
        if self.deferrable:
            seconds = _START if seconds is None else min(_START, seconds)
        limit = None if deadline is None else deadline.limit
        payload = self._wait_here(requests, seconds, limit=limit)
        if self.deferrable and any(
            Outcome(item["outcome"]) is Outcome.TIMED_OUT for item in payload["results"]
        ):
            self._defer_to_trigger(
                context,
                requests,
                method="execute_started",
                kwargs=carry(context, needed),
                since=since,
            )
        return self.execute_started(context, payload, **needed)

    def execute_started(
        self, context: Mapping[str, Any], event: Mapping[str, Any], **needed: Any
    ) -> Any:
        """Push which runs the requests have started, and wait for these."""
        needed = dict(carried(context, needed))
        jobs, order, known, since = (needed[name] for name in ("jobs", "order", "known", "since"))
        # Of a task that an earlier version deferred, nobody knows them.
        starts = unpacked_starts("starts", needed.get("starts"), len(order))
        start_of = dict(zip(order, starts, strict=True))
        self._pending = []
        found = {item["request_id"]: item for item in [*known, *event["results"]]}
        items = started((found[key] for key in order if key in found), jobs)
        runs = [
            {name: item[name] for name in ("job", "run_id", "request_id")}
            for item in items
            if item.get("run_id")
        ]
        self._note_runs(context, {one["request_id"]: one["run_id"] for one in runs})
        if runs:
            self.log.info(
                "started %s: %s",
                counted(len(runs), "run"),
                describe_ids(f"{one['run_id']} of job {one['job']}" for one in runs),
            )
            context["ti"].xcom_push(key=RUNS_KEY, value=runs)
        if event.get("error") or not runs or not self.wait:
            rest = {name: event[name] for name in event if name != "results"}
            return self._conclude(context, {**rest, "results": items, "count": len(order)})
        began = {one["run_id"]: start_of[one["request_id"]] for one in runs}
        return self._track_started(context, items, began, datetime.fromisoformat(since))

    def execute_ended(
        self, context: Mapping[str, Any], event: Mapping[str, Any], **needed: Any
    ) -> Any:
        """End the task as its runs have ended."""
        self._running = []
        return self._conclude(context, merged(carried(context, needed)["started"], event))

    def on_kill(self) -> None:
        """Say what continues on the server, or cancel it if ``cancel_on_kill`` is set."""
        super().on_kill()
        if not self._running or self._project is None:
            return
        names = ", ".join(f"{one.run_id} of job {one.job}" for one in self._running)
        if self.cancel_on_kill:
            self.log.warning("the task was ended, and cancel_on_kill is set; canceling: %s", names)
            cancel_from_signal_handler(self._project, self._running, self.log)
        else:
            self.log.warning(
                "the task was ended, but these runs continue, since cancel_on_kill is not set: %s",
                names,
            )

    # --- Private ---------------------------------------------------------------------------

    def _track_started(
        self,
        context: Mapping[str, Any],
        items: list[dict[str, Any]],
        began: Mapping[str, datetime | None],
        since: datetime,
    ) -> Any:
        deadline = self._deadline(context, since)
        if self.deferrable:
            self._defer_runs(context, items, began, deadline)
        self._project = self._hook().project()
        found = runs_in([item for item in items if item.get("run_id")])
        runs = [replace(one, started_at=began[one.run_id]) for one in found]
        self._running = runs
        try:
            payload = wait_for_runs(self._project, runs, deadline=deadline, log=self.log)
        finally:
            # What ends the wait from inside, as a timeout does, is no kill by a user.
            self._running = []
        return self.execute_ended(context, payload, started=items)

    def _defer_runs(
        self,
        context: Mapping[str, Any],
        items: list[dict[str, Any]],
        began: Mapping[str, datetime | None],
        deadline: Deadline | None,
    ) -> NoReturn:
        now = datetime.now(UTC)
        runs = by_job(items)
        count = sum(map(len, runs.values()))
        self.log.info(
            "deferring until %s ended", "the run has" if count == 1 else f"{count} runs have"
        )
        self.defer(
            trigger=OnehouseRunsTrigger(
                runs,
                started_at=packed_starts([began[one] for ids in runs.values() for one in ids]),
                conn_id=self.conn_id,
                deadline=None if deadline is None else deadline.at.isoformat(),
                limit=None if deadline is None else deadline.limit,
                cancel_on_kill=self.cancel_on_kill,
            ),
            method_name="execute_ended",
            kwargs=carry(context, {"started": items}),
            timeout=None if deadline is None else deadline.for_airflow(now),
        )
        raise AssertionError  # pragma: no cover - deferring raises

    def _deadline(self, context: Mapping[str, Any], since: datetime) -> Deadline | None:
        return Deadline.first(
            [
                ("follow_timeout", since, self.follow_timeout),
                ("execution_timeout", started_at(context, since), self.execution_timeout),
            ]
        )

    def _note_runs(self, context: Mapping[str, Any], runs: Mapping[str, str]) -> None:
        if runs:
            self._record(context, ()).note_runs(runs)

    def _record(self, context: Mapping[str, Any], statements: Sequence[str]) -> Submissions:
        raise NotImplementedError


def wait_for_runs(
    project: Project, runs: Sequence[JobRun], *, deadline: Deadline | None, log: Logger
) -> RunsPayload:
    """
    Wait for *runs* on this worker, and log what is pending.

    Raises:
        AirflowException: There is an event loop already: a task of one's own.
    """
    ended: dict[str, RunResult] = {}

    def pending() -> list[str]:
        return [one.run_id for one in runs if one.run_id not in ended]

    def report() -> None:
        names = pending()
        log.info(
            "%d of %s pending: %s", len(names), counted(len(runs), "run"), describe_ids(names)
        )

    async def wait() -> None:
        left = None if deadline is None else deadline.at - datetime.now(UTC)
        seconds = None if left is None else max(0.0, left.total_seconds())
        async with project.tracker() as tracker:
            completions = tracker.runs.as_completed(runs, timeout=seconds)
            async with completions:
                async for result in each_with_reports(completions, report):
                    ended[result.run_id or ""] = result

    error: ProjectError | None = None
    try:
        asyncio.run(wait())
    except ProjectError as failure:
        error = failure
    except RuntimeError as failure:
        raise AirflowException(
            f"runs cannot be awaited inside of an event loop: {failure}"
        ) from None
    return RunsPayload.of(
        ended.values(),
        error=None if error is None else f"{error}; another try continues to track them",
        pending=pending(),
        limit=None if deadline is None else deadline.limit,
    )
