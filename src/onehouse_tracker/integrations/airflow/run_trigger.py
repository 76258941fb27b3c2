"""
The trigger that waits for runs of jobs, on the tracker that all triggers of a triggerer share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onehouse_tracker.integrations.airflow._event_payload import counted, describe_ids
from onehouse_tracker.integrations.airflow._job_runs import RunsPayload
from onehouse_tracker.integrations.airflow._project_trigger import (
    ProjectTrigger,
    each_with_reports,
    open_tracker,
)
from onehouse_tracker.integrations.airflow._run_cancellation import cancel_runs
from onehouse_tracker.integrations.airflow._starts import Starts, unpacked_starts
from onehouse_tracker.integrations.airflow._task_result import how_ended
from onehouse_tracker.integrations.airflow.hook import DEFAULT_CONN_ID
from onehouse_tracker.runs import JobRun, RunResult
from onehouse_tracker.tracker import Tracker

__all__ = ["OnehouseRunsTrigger"]


class OnehouseRunsTrigger(ProjectTrigger):
    """
    Tracks runs of jobs until each has ended, and then fires one event.

    All triggers of one event loop whose connections are equal share one tracker: it lists the
    runs of a job once for all of them.  It starts nothing, so it can be started again anywhere at
    any time.

    Args:
        runs: The IDs of the runs, by the names of their jobs.

        started_at: When they were started, in ISO 8601 with a time zone; an operator says it of
            each.  Nothing is learned from how long they took where it is `None`.

        conn_id: The connection.

        deadline: Until when to wait, in ISO 8601 with a time zone; `None` waits without limit.

        limit: What set the deadline, for messages.

        cancel_on_kill: Cancel what still runs when a user marks the task as failed or succeeded,
            or clears it; Airflow 3.3 and later.  The end of a triggerer cancels nothing.
    """

    def __init__(
        self,
        runs: Mapping[str, Sequence[str]],
        *,
        started_at: Starts = None,
        conn_id: str = DEFAULT_CONN_ID,
        deadline: str | float | None = None,
        limit: str | None = None,
        cancel_on_kill: bool = False,
    ) -> None:
        super().__init__(conn_id=conn_id, deadline=deadline, limit=limit)
        self.runs = {job: list(ids) for job, ids in runs.items()}
        self.started_at = started_at
        self.cancel_on_kill = cancel_on_kill
        self._runs: list[JobRun] = []
        self._ended: dict[str, RunResult] = {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow makes an equal trigger of."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "runs": self.runs,
                "started_at": self.started_at,
                "conn_id": self.conn_id,
                "deadline": self.deadline,
                "limit": self.limit,
                "cancel_on_kill": self.cancel_on_kill,
            },
        )

    def __repr__(self) -> str:
        count = sum(map(len, self.runs.values()))
        return f"<OnehouseRunsTrigger: {counted(count, 'run')}, {self.conn_id}>"

    async def on_kill(self) -> None:
        """Cancel what still runs, if ``cancel_on_kill`` is set; otherwise say what continues."""
        pending = self._pending()
        if not pending:
            return
        names = ", ".join(f"{one.run_id} of job {one.job}" for one in pending)
        if not self.cancel_on_kill:
            self.log.warning(
                "the task was ended, but these runs continue, since cancel_on_kill is not set: %s",
                names,
            )
            return
        self.log.warning("the task was ended, and cancel_on_kill is set; canceling: %s", names)
        async with open_tracker(self.conn_id) as (_, tracker):
            await cancel_runs(tracker, pending, self.log)

    # --- Tracking ----------------------------------------------------------------------

    def _prepare(self) -> None:
        self._timeout()
        named = [(job, run_id) for job, ids in self.runs.items() for run_id in ids]
        starts = unpacked_starts("started_at", self.started_at, len(named))
        self._runs = [
            JobRun(job, run_id, started_at=start)
            for (job, run_id), start in zip(named, starts, strict=True)
        ]

    async def _wait_once(self, tracker: Tracker) -> None:
        completions = tracker.runs.as_completed(self._pending(), timeout=self._timeout())
        async with completions:
            async for result in each_with_reports(completions, self._report):
                self._ended[result.run_id or ""] = result
                if not result.ok:
                    self.log.warning(
                        "run %s of job %s %s",
                        result.run_id,
                        result.job,
                        how_ended(result.outcome, result.reason, self.limit),
                    )

    def _report(self) -> None:
        pending = self._pending()
        self.log.info(
            "%d of %s pending: %s",
            len(pending),
            counted(len(self._runs), "run"),
            describe_ids(one.run_id for one in pending),
        )

    def _pending(self) -> list[JobRun]:
        return [one for one in dict.fromkeys(self._runs) if one.run_id not in self._ended]

    def _payload(self, *, error: str | None = None, hopeless: bool = False) -> RunsPayload:
        return RunsPayload.of(
            self._ended.values(),
            error=error,
            pending=[one.run_id for one in self._pending()],
            hopeless=hopeless,
            limit=self.limit,
        )
