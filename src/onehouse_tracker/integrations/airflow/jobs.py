"""
Operators and a sensor for runs of jobs: start them, wait until they have ended, cancel them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from onehouse_tracker._checks import check_job_name
from onehouse_tracker.errors import ConfigError, InvalidRequestError, TrackerError
from onehouse_tracker.integrations.airflow._airflow import (
    AirflowException,
    AirflowFailException,
    BaseOperator,
    BaseSensorOperator,
    PokeReturnValue,
    default_deferrable,
)
from onehouse_tracker.integrations.airflow._event_payload import counted, describe_ids
from onehouse_tracker.integrations.airflow._job_runs import (
    RunsPayload,
    by_job,
    merged,
    run_statement,
    runs_in,
)
from onehouse_tracker.integrations.airflow._limits import Deadline, seconds_of
from onehouse_tracker.integrations.airflow._request_ids import parsed
from onehouse_tracker.integrations.airflow._run_cancellation import cancel_statement
from onehouse_tracker.integrations.airflow._run_tracking import wait_for_runs
from onehouse_tracker.integrations.airflow._sensor_end import TIMEOUT, end_of_sensor
from onehouse_tracker.integrations.airflow._tracking import started_at
from onehouse_tracker.integrations.airflow.hook import DEFAULT_CONN_ID, OnehouseHook
from onehouse_tracker.integrations.airflow.operators import OnehouseSqlOperator
from onehouse_tracker.integrations.airflow.run_trigger import OnehouseRunsTrigger
from onehouse_tracker.runs import JobRun, RunOutcome, RunResults

__all__ = ["OnehouseCancelJobRunOperator", "OnehouseJobRunSensor", "OnehouseRunJobOperator"]

_LOOK: Final = 20.0
"""Seconds that a poke waits: a check is a statement, which takes some time itself."""


class OnehouseRunJobOperator(OnehouseSqlOperator):
    """
    Runs one job, or several, and succeeds when every run has ended well.

    As an `OnehouseSqlOperator` with ``until="end"``, it pushes the runs under the key ``runs``
    before it waits, and a retry tracks the same runs.

    It returns, and pushes, for ``job_name`` one object with ``job``, ``run_id``, ``request_id``,
    ``outcome`` and ``status``, for several a list of them.

    Args:
        jobs: The names of the jobs.  Templated.

        statements: In place of names, the statements that run them.  Templated.

        job_name: In place of both, the name of one job.  Templated.

        wait: Wait until the runs have ended.  Otherwise it returns as soon as they are started,
            for an `OnehouseJobRunSensor`.

        **kwargs: Those of `OnehouseSqlOperator`, but for ``statement`` and ``until``.

    Raises:
        ConfigError: Not exactly one of ``jobs``, ``statements`` and ``job_name`` is given.
    """

    template_fields: Sequence[str] = ("jobs", "job_name", "statements", "conn_id", "report_url")

    def __init__(
        self,
        *,
        jobs: Sequence[str] | None = None,
        statements: Sequence[str] | None = None,
        job_name: str | None = None,
        wait: bool = True,
        **kwargs: Any,
    ) -> None:
        if sum(one is not None for one in (jobs, statements, job_name)) != 1:
            raise ConfigError("give one of jobs, statements and job_name")
        given = () if statements is None else statements
        super().__init__(statements=given, until="end", **kwargs)
        self.jobs = jobs
        self.job_name = job_name
        self.statements = statements
        self.wait = wait

    def _texts(self) -> list[str]:
        if self.job_name is None and self.jobs is None:
            return super()._texts()
        names = [self.job_name] if self.jobs is None else self.jobs
        if isinstance(names, str):
            raise AirflowFailException("jobs is a list; for one job, use the argument job_name")
        try:
            return [run_statement(check_job_name(name)) for name in names]
        except InvalidRequestError as error:
            raise AirflowFailException(f"{error}; nothing was submitted") from None

    def _returned(self, results: list[dict[str, Any]]) -> Any:
        return results if self.job_name is None else results[0]


class _OfRuns:
    """What is given runs of jobs, by our names of the arguments or by the vendor's."""

    def _name_runs(
        self, run_id: Any, job: str | None, job_name: str | None, job_run_id: Any
    ) -> None:
        self.run_id = _one_of("run_id", run_id, "job_run_id", job_run_id)
        self.job = job if job_name is None else _one_of("job", job, "job_name", job_name)

    def _runs(self) -> list[JobRun]:
        try:
            return runs_in(_parsed(self.run_id), self.job)
        except InvalidRequestError as error:
            raise AirflowFailException(str(error)) from error


class OnehouseJobRunSensor(_OfRuns, BaseSensorOperator):
    """
    Waits until runs of jobs have ended; fails, or is skipped with ``soft_fail``, if one failed.

    So it does, deferrable or not, if its ``timeout`` or ``execution_timeout`` has passed.

    It returns, and pushes, a list with one object per run: ``job``, ``run_id``, ``outcome``,
    ``status`` and ``reason``, where there are any.

    Args:
        run_id: A run ID, a list of them, or what an operator that runs jobs has returned, or has
            pushed under the key ``runs``.  Templated.

        job: The name of the job of the runs that say none.  Templated.

        job_name: Another name of ``job``.

        job_run_id: Another name of ``run_id``.

        conn_id: The connection.

        deferrable: Wait in the triggerer; otherwise it checks every ``poke_interval``.  By
            default what ``[operators] default_deferrable`` says.

        **kwargs: Those of ``BaseSensorOperator``.

    Raises:
        ConfigError: There is no run ID, or two of them.
    """

    template_fields: Sequence[str] = ("run_id", "job", "conn_id")
    ui_color = "#e8f1fb"

    def __init__(
        self,
        *,
        run_id: Any = None,
        job: str | None = None,
        job_name: str | None = None,
        job_run_id: Any = None,
        conn_id: str = DEFAULT_CONN_ID,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._name_runs(run_id, job, job_name, job_run_id)
        self.conn_id = conn_id
        self.deferrable = default_deferrable() if deferrable is None else deferrable

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Wait for the runs."""
        if not self.deferrable:
            return super().execute(context)
        runs = self._runs()
        if not runs:
            return []
        now = datetime.now(UTC)
        deadline = Deadline.first(
            [
                (TIMEOUT, now, self.timeout),
                ("execution_timeout", started_at(context, now), self.execution_timeout),
            ]
        )
        self.log.info(
            "deferring until %s ended: %s",
            "the run has" if len(runs) == 1 else f"{len(runs)} runs have",
            describe_ids(one.run_id for one in runs),
        )
        return self.defer(
            trigger=OnehouseRunsTrigger(
                by_job({"job": one.job, "run_id": one.run_id} for one in runs),
                conn_id=self.conn_id,
                deadline=None if deadline is None else deadline.at.isoformat(),
                limit=None if deadline is None else deadline.limit,
            ),
            method_name="execute_complete",
            timeout=None if deadline is None else deadline.for_airflow(now),
        )

    def execute_complete(self, _: Mapping[str, Any], event: Mapping[str, Any]) -> Any:
        """Continue with the event of the trigger."""
        return self._ended(event)

    def poke(self, context: Mapping[str, Any]) -> PokeReturnValue:  # noqa: ARG002 - Airflow's
        """Check the runs once."""
        runs = self._runs()
        if not runs:
            return PokeReturnValue(is_done=True, xcom_value=[])
        look = Deadline(datetime.now(UTC) + timedelta(seconds=_LOOK), "one check")
        payload = wait_for_runs(
            OnehouseHook(self.conn_id).project(), runs, deadline=look, log=self.log
        )
        if any(one["outcome"] == RunOutcome.TIMED_OUT for one in payload["runs"]):
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._ended(payload))

    def _ended(self, payload: Mapping[str, Any]) -> Any:
        items = [
            {"job": one.job, "run_id": one.run_id, "outcome": "SUCCEEDED"} for one in self._runs()
        ]
        return end_of_sensor(self, merged(items, payload), noun="run")


class OnehouseCancelJobRunOperator(_OfRuns, BaseOperator):
    """
    Has the server cancel runs of jobs, and succeeds when none of them runs any more.

    It waits on its worker.  A run that had ended in another way before is no failure, and is
    logged.

    It returns, and pushes, a list with one object per run: ``job``, ``run_id``, ``outcome``, and
    ``cancellation``, what the server said.

    Args:
        run_id: A run ID, a list of them, or what an operator that runs jobs has returned, or has
            pushed under the key ``runs``.  Templated.

        job: The name of the job of the runs that say none.  Templated.

        job_name: Another name of ``job``.

        job_run_id: Another name of ``run_id``.

        conn_id: The connection.

        follow_timeout: Seconds, or a timedelta, that it waits at most.

        **kwargs: Those of ``BaseOperator``.

    Raises:
        ConfigError: There is no run ID, or two of them.
    """

    template_fields: Sequence[str] = ("run_id", "job", "conn_id")
    ui_color = "#e8f1fb"

    def __init__(
        self,
        *,
        run_id: Any = None,
        job: str | None = None,
        job_name: str | None = None,
        job_run_id: Any = None,
        conn_id: str = DEFAULT_CONN_ID,
        follow_timeout: float | timedelta = 600.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._name_runs(run_id, job, job_name, job_run_id)
        self.conn_id = conn_id
        self.follow_timeout = follow_timeout

    def execute(self, context: Mapping[str, Any]) -> Any:  # noqa: ARG002 - Airflow's
        """Cancel the runs, and wait until they have stopped."""
        runs = self._runs()
        seconds = seconds_of(self.follow_timeout)
        try:
            results, said = asyncio.run(self._cancel(runs, seconds))
        except TrackerError as error:
            raise AirflowException(str(error)) from error
        open_runs = [one for one in results if not one.outcome.final]
        if open_runs:
            raise AirflowException(
                f"{counted(len(open_runs), 'run')} of {len(runs)} may still run: "
                + "; ".join(f"{one.run_id} ({one.outcome}: {one.reason})" for one in open_runs)
            )
        for one in results:
            if one.outcome is not RunOutcome.CANCELED:
                self.log.warning("run %s had ended %s before", one.run_id, one.outcome)
        return [
            {**item, "cancellation": said[item["run_id"]]}
            for item in RunsPayload.of(results)["runs"]
        ]

    async def _cancel(
        self, runs: Sequence[JobRun], seconds: float | None
    ) -> tuple[RunResults, dict[str, str]]:
        """Send all statements, then wait for all runs; and say what the server said to each."""
        began = time.monotonic()
        project = await OnehouseHook(self.conn_id).read_project()
        async with project.tracker() as tracker:
            handles = {
                run.run_id: await tracker.submit(cancel_statement(run), label="CANCEL JOB_RUN")
                for run in runs
            }
            answers = await tracker.wait_all(
                (handle.request_id for handle in handles.values()), timeout=seconds
            )
            left = None if seconds is None else max(0.0, began + seconds - time.monotonic())
            results = await tracker.runs.wait_all(runs, timeout=left)
        said = {
            run_id: answers[handle.request_id].reason or str(answers[handle.request_id].status)
            for run_id, handle in handles.items()
        }
        return results, said


def _one_of(name: str, value: Any, alias: str, other: Any) -> Any:
    if (value is None) == (other is None):
        raise ConfigError(f"give either {name} or {alias}")
    return other if value is None else value


def _parsed(value: Any) -> Any:
    """What a template made of a list or an object is one again."""
    if isinstance(value, str) and value.strip()[:1] in {"[", "{", "("}:
        return parsed(value)
    return value
