"""
Operators: submit SQL statements to Onehouse, or track what was submitted, and defer meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, NoReturn

from onehouse_tracker import sync
from onehouse_tracker._checks import check_statement
from onehouse_tracker.errors import (
    ConfigError,
    InvalidRequestError,
    SubmissionError,
    SubmissionRejectedError,
    TrackerError,
)
from onehouse_tracker.integrations.airflow._airflow import (
    RENDERS_IN_TRIGGERER,
    AirflowException,
    AirflowFailException,
    StartTriggerArgs,
)
from onehouse_tracker.integrations.airflow._job_runs import jobs_of, too_large
from onehouse_tracker.integrations.airflow._labels import MAX_REQUESTS
from onehouse_tracker.integrations.airflow._limits import GRACE, seconds_of
from onehouse_tracker.integrations.airflow._record_store import delete_with_success, store_of
from onehouse_tracker.integrations.airflow._request_ids import request_ids_in
from onehouse_tracker.integrations.airflow._run_tracking import RunTrackingOperator
from onehouse_tracker.integrations.airflow._submissions import (
    FateUnknownError,
    Submissions,
    TaskKey,
)
from onehouse_tracker.integrations.airflow._task_result import ended_wrong
from onehouse_tracker.integrations.airflow._tracking import TrackingOperator
from onehouse_tracker.integrations.airflow._worker import (
    StoppedError,
    WatchedClient,
    submit_missing,
)
from onehouse_tracker.integrations.airflow.trigger import OnehouseTrackTrigger
from onehouse_tracker.models import Request
from onehouse_tracker.onehouse.labels import label_of

__all__ = ["OnehouseSqlOperator", "OnehouseTrackOperator"]

_BAD_REQUEST = 400


class OnehouseSqlOperator(RunTrackingOperator):
    """
    Submits one SQL statement, or several, and succeeds when all of them have.

    Statements are submitted one after the other within the rate limit, each once: a retry of the
    task tracks what an earlier try submitted.  Only what ended FAILED or INVALID, or partly if
    that counts as failing, is submitted again.  If the fate of a statement is unknown, the task
    says so, and fails without a retry.

    SUCCESS on ``RUN JOB`` means that the run was started, not that the job finished: with
    ``until="end"`` the task waits for the run, too.  It pushes which runs were started under the
    key ``runs``, before it waits: ``job``, ``run_id`` and ``request_id`` of each.  A retry tracks
    the same runs, and starts only those again that ended FAILED or CANCELED.

    It returns, and pushes, for ``statement`` one object with ``request_id``, ``outcome``,
    ``status`` and ``response``, for ``statements`` a list of them.

    Args:
        statement: One SQL statement.  Templated.

        statements: Several of them, in place of one; at most 1,000 if the task defers.
            Templated.

        conn_id: The connection.

        deferrable: Wait in the triggerer, and not on a worker; by default what ``[operators]
            default_deferrable`` says.

        defer_after: Seconds to wait on the worker before that: statements that answer at once
            need no deferral, which takes Airflow some seconds.

        on_partial: Whether a partial success is one: ``"succeed"`` or ``"fail"``.

        until: ``"request"``, or ``"end"`` for the end of the runs that the statements start.

        cancel_on_kill: With ``until="end"``, cancel what still runs when a user ends the task:
            marks it as failed or succeeded, or clears it; while it is deferred, in Airflow 3.3
            and later.  Nobody's run is canceled otherwise.

        wait: Wait until the statements have ended.  Otherwise it returns the request IDs, for
            an `OnehouseTrackOperator` or a sensor.

        follow_timeout: Seconds, or a timedelta, that each try waits at most; the requests
            continue on the server.  Airflow's ``execution_timeout`` counts too, from the start
            of the try, and whether the task is deferred or not.

        report_url: What the link "Report" of the task leads to.  Templated.

        **kwargs: Those of ``BaseOperator``.

    Raises:
        ConfigError: Neither or both of ``statement`` and ``statements`` are given, or other
            arguments contradict each other.
    """

    template_fields: Sequence[str] = ("statement", "statements", "conn_id", "report_url")
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"statement": "sql", "statements": "sql"}
    ui_color = "#e8f1fb"
    noun = "statement"

    def __init__(
        self,
        *,
        statement: str | None = None,
        statements: Sequence[str] | None = None,
        until: str = "request",
        cancel_on_kill: bool = False,
        wait: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (statement is None) == (statements is None):
            raise ConfigError("give either statement or statements")
        if until not in {"request", "end"}:
            raise ConfigError(f'until is "request" or "end", not {until!r}')
        if until == "end" and not wait:
            raise ConfigError('wait=False does not wait until="end"')
        if cancel_on_kill and until != "end":
            raise ConfigError('cancel_on_kill needs until="end"')
        self.until = until
        self.cancel_on_kill = cancel_on_kill
        self.statement = statement
        self.statements = statements
        self.wait = wait
        self._client: WatchedClient | None = None
        given = getattr(self, "on_success_callback", None)
        self.on_success_callback = _with_callback(given, _forget_record)

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Submit what was not submitted yet, and wait for all of it."""
        statements = self._texts()
        if self.wait and self.deferrable and len(statements) > MAX_REQUESTS:
            raise AirflowFailException(
                f"{len(statements)} statements are too many for one task that defers, and nothing"
                f" was submitted: give each task at most {MAX_REQUESTS}, or set deferrable=False"
            )
        jobs = self._jobs(statements)
        record = self._record(context, statements)
        project = self._hook().project()
        client = self._client = WatchedClient(project.client())
        try:
            with sync.Tracker(
                client, limiter=project.make_limiter(), policy=project.make_policy()
            ) as tracker:
                submitted = submit_missing(
                    tracker, client, statements, record, self.log, on_accepted=self._note_pending
                )
        except FateUnknownError as error:
            raise AirflowFailException(str(error)) from error
        except SubmissionError as error:
            self._refused(error)
        except InvalidRequestError as error:
            raise AirflowFailException(f"a statement was not submitted: {error}") from error
        except (TrackerError, StoppedError) as error:
            raise AirflowException(str(error)) from error
        finally:
            self._client = None
        if self.until == "end":
            return self._track_runs(
                context, submitted, jobs, [label_of(text) for text in statements]
            )
        if not self.wait:
            self._results = [{"request_id": one.request_id} for one in submitted]
            return [one.request_id for one in submitted]
        return self._track(
            context,
            [
                Request(one.request_id, label=label_of(text), submitted_at=one.submitted_at)
                for one, text in zip(submitted, statements, strict=True)
            ],
        )

    def on_kill(self) -> None:
        """
        Submit nothing more, and say what continues on the server.

        Airflow 3 leaves a task some seconds to end by itself, and calls nothing but this.
        """
        super().on_kill()
        if self._client is not None:
            self._client.stop()

    def _refused(self, error: SubmissionError) -> NoReturn:
        hopeless = isinstance(error, SubmissionRejectedError) and error.http_status == _BAD_REQUEST
        raise (AirflowFailException if hopeless else AirflowException)(
            f"a statement was not submitted: {error}"
        ) from error

    def _note_end(
        self, context: Mapping[str, Any], payload: Mapping[str, Any], *, ok: bool
    ) -> None:
        # A success is noted by deleting the record, and not before Airflow knows of it: until
        # then the task may still fail, with all its statements done.
        if not ok:
            # By their IDs: what the templates render by now may be other statements.
            self._record(context, ()).forget_requests(
                item["request_id"]
                for item in payload["results"]
                if ended_wrong(item, self.on_partial)
            )

    def _returned(self, results: list[dict[str, Any]]) -> Any:
        return results if self.statement is None else results[0]

    def _statements(self) -> list[str]:
        try:
            return self._texts()
        except AirflowException:
            # The task fails with that itself.
            return []

    def _texts(self) -> list[str]:
        if self.statement is not None:
            texts = [self.statement]
        elif isinstance(self.statements, str):
            raise AirflowFailException(
                "statements is a list; for one statement, use the argument statement"
            )
        else:
            texts = list(self.statements or ())
        for number, text in enumerate(texts, 1):
            try:
                check_statement(text)
            except InvalidRequestError as error:
                raise AirflowFailException(
                    f"statement {number} of {len(texts)}: {error}; nothing was submitted"
                ) from None
        return texts

    def _jobs(self, statements: Sequence[str]) -> list[str | None]:
        """The jobs that the statements run, where the task waits for the runs."""
        if self.until != "end":
            return [None] * len(statements)
        try:
            jobs = jobs_of(statements)
        except InvalidRequestError as error:
            raise AirflowFailException(f"{error}; nothing was submitted") from None
        if self.deferrable and too_large(jobs):
            raise AirflowFailException(
                f"the runs of {len(statements)} statements are too many for one task that defers,"
                " and nothing was submitted: give each task fewer, or set deferrable=False"
            )
        return jobs

    def _record(self, context: Mapping[str, Any], statements: Sequence[str]) -> Submissions:
        ti = context["ti"]
        key = TaskKey.of(ti)
        return Submissions(key, statements, life=int(ti.max_tries), store=store_of(context, key))


class OnehouseTrackOperator(TrackingOperator):
    """
    Tracks requests that something else submitted, and succeeds when all of them have.

    It returns, and pushes, a list with one object per request: ``request_id``, ``outcome``,
    ``status``, ``reason`` and ``response``, where there are any.

    Args:
        request_ids: What to track: a list, or what an `OnehouseSqlOperator` pushed.
            Templated; a string that a template made of a list is understood.

        conn_id: The connection.

        deferrable: Wait in the triggerer, and not on a worker; by default what ``[operators]
            default_deferrable`` says.

        defer_after: Seconds to wait on the worker before that: statements that answer at once
            need no deferral, which takes Airflow some seconds.

        on_partial: Whether a partial success is one: ``"succeed"`` or ``"fail"``.

        follow_timeout: Seconds, or a timedelta, that each try waits at most; the requests
            continue on the server.

        report_url: What the link "Report" of the task leads to.  Templated.

        start_from_trigger: Begin in the triggerer, without a worker, in Airflow 2.11 and 3.3.
            On 2.11 the IDs must be written in the DAG; on 3.3 they may be a template, or the
            output of a task that is not mapped.

        end_from_trigger: End there too.  Before Airflow 3.3.2 a worker fails the tasks that may
            have a retry left: only there are they retried.

        **kwargs: Those of ``BaseOperator``.

    Raises:
        ConfigError: With ``start_from_trigger``: the triggerer cannot get these IDs.
    """

    template_fields: Sequence[str] = ("request_ids", "conn_id", "report_url")
    ui_color = "#e8f1fb"

    def __init__(
        self,
        *,
        request_ids: Any,
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.request_ids = request_ids
        self.end_from_trigger = end_from_trigger
        self.start_from_trigger = start_from_trigger
        if start_from_trigger:
            seconds = seconds_of(self.follow_timeout)
            self.start_trigger_args = StartTriggerArgs(
                trigger_cls=f"{OnehouseTrackTrigger.__module__}.{OnehouseTrackTrigger.__qualname__}",
                trigger_kwargs={
                    "request_ids": _ids_for_triggerer(request_ids),
                    "conn_id": self.conn_id,
                    "deadline": seconds,
                    "limit": None if seconds is None else f"follow_timeout of {seconds:g} s",
                    "on_partial": self.on_partial,
                    "end_from_trigger": end_from_trigger,
                },
                next_method="execute_complete",
                next_kwargs=None,
                timeout=None if seconds is None else timedelta(seconds=seconds + GRACE),
            )

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Wait for the requests."""
        try:
            requests = [Request(one) for one in request_ids_in(self.request_ids)]
        except InvalidRequestError as error:
            raise AirflowFailException(str(error)) from error
        return self._track(context, requests)


def _forget_record(context: Mapping[str, Any]) -> None:
    """Delete the record of a task that has succeeded; a record that stays is tracked."""
    record = context["task"]._record(context, ())  # noqa: SLF001 - of the operator above
    for name in record.names:
        delete_with_success(name, context)


def _with_callback(given: Any, ours: Any) -> list[Any]:
    """Put *ours* last: on Airflow 2.11, callbacks run before the state is written."""
    if given is None:
        return [ours]
    return [*(given if isinstance(given, list | tuple) else [given]), ours]


def _ids_for_triggerer(request_ids: Any) -> Any:
    """
    Return what a triggerer can make IDs of.

    It cannot resolve a reference to the output of a task, so that becomes a template.
    """
    items = request_ids if isinstance(request_ids, list | tuple) else [request_ids]
    references = [one for one in items if hasattr(one, "iter_references")]
    if not RENDERS_IN_TRIGGERER and (references or "{{" in str(request_ids)):
        raise ConfigError(
            "with start_from_trigger, this version of Airflow takes the request IDs only as they"
            " are written in the DAG; templates and the outputs of tasks need 3.3"
        )
    if not references:
        return request_ids
    operator, key = (getattr(request_ids, name, None) for name in ("operator", "key"))
    if operator is None or key is None:
        raise ConfigError(
            "with start_from_trigger, give the .output of one task, as it is: no list of several,"
            " and no map, zip or concat"
        )
    if getattr(operator, "is_mapped", False):
        raise ConfigError(
            f"{operator.task_id} is mapped, and a triggerer cannot read its output: leave"
            " start_from_trigger out"
        )
    # The XCom of the task itself, and not of all map indexes, which a triggerer cannot receive.
    return f"{{{{ ti.xcom_pull(task_ids={operator.task_id!r}, key={key!r}, map_indexes=-1) }}}}"
