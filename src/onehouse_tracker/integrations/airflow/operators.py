"""
Operators: submit SQL statements to Onehouse, or follow what was submitted, and defer meanwhile.
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
    AirflowException,
    AirflowFailException,
    StartTriggerArgs,
    delete_variable_with_success,
    read_variable,
    write_variable,
)
from onehouse_tracker.integrations.airflow._following import FollowingOperator
from onehouse_tracker.integrations.airflow._labels import MAX_REQUESTS
from onehouse_tracker.integrations.airflow._request_ids import request_ids_in
from onehouse_tracker.integrations.airflow._submissions import (
    FateUnknownError,
    Store,
    Submissions,
    TaskKey,
)
from onehouse_tracker.integrations.airflow._task_result import ended_wrong
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


class OnehouseSqlOperator(FollowingOperator):
    """
    Submits one SQL statement, or several, and succeeds when all of them have.

    Statements are submitted one after the other within the budget, each once: a retry of the
    task follows what an earlier try submitted.  Only what ended FAILED or INVALID, or partly if
    that counts as failing, is submitted again.  Of a statement whose fate is unknown the task
    says so, and fails without a retry.

    SUCCESS on ``RUN JOB`` means that the run was started, not that the job finished.

    It returns, and pushes, for ``statement`` one object with ``request_id``, ``outcome``,
    ``status`` and ``response``, for ``statements`` a list of them.

    Args:
        statement: One SQL statement.  Templated.

        statements: Several of them, in place of one; at most 1,000 if the task defers.
            Templated.

        conn_id: The connection.

        deferrable: Wait in the triggerer, and not on a worker.

        defer_after: Seconds to wait on the worker before that: statements that answer at once
            need no deferral, which takes Airflow some seconds.

        on_partial: Whether a partial success is one: ``"succeed"`` or ``"fail"``.

        wait: Wait until the statements have ended.  Otherwise it returns the request IDs, for
            an `OnehouseTrackOperator` or a sensor.

        follow_timeout: Seconds, or a timedelta, that each try waits at most; the requests go on
            at the server.

        report_url: What the link "Report" of the task leads to.  Templated.

        **kwargs: Those of ``BaseOperator``.

    Raises:
        ConfigError: Neither or both of ``statement`` and ``statements`` are given.
    """

    template_fields: Sequence[str] = ("statement", "statements", "conn_id", "report_url")
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"statement": "sql", "statements": "sql"}
    ui_color = "#e8f1fb"

    def __init__(
        self,
        *,
        statement: str | None = None,
        statements: Sequence[str] | None = None,
        wait: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (statement is None) == (statements is None):
            raise ConfigError("give either statement or statements")
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
        if not self.wait:
            return [one.request_id for one in submitted]
        return self._follow(
            context,
            [
                Request(one.request_id, label=label_of(text), submitted_at=one.submitted_at)
                for one, text in zip(submitted, statements, strict=True)
            ],
        )

    def on_kill(self) -> None:
        """
        Submit nothing more, and say what goes on at the server.

        Airflow 3 leaves a task some seconds to end by itself, and only tells it so here.
        """
        super().on_kill()
        if self._client is not None:
            self._client.stop()

    def _refused(self, error: SubmissionError) -> NoReturn:
        hopeless = isinstance(error, SubmissionRejectedError) and error.http_status == _BAD_REQUEST
        raise (AirflowFailException if hopeless else AirflowException)(
            f"a statement was not submitted: {error}"
        ) from error

    def _note_end(self, context: Mapping[str, Any], news: Mapping[str, Any], *, ok: bool) -> None:
        # A success is noted by deleting the record, and not before Airflow knows of it: until
        # then the task may still fail, with all its statements done.
        if not ok:
            # By their IDs: what the templates render by now may be other statements.
            self._record(context, ()).forget_requests(
                item["request_id"]
                for item in news["results"]
                if ended_wrong(item, self.on_partial)
            )

    def _returned(self, results: list[dict[str, Any]]) -> Any:
        return results if self.statement is None else results[0]

    def _texts(self) -> list[str]:
        if self.statement is not None:
            texts = [self.statement]
        elif isinstance(self.statements, str):
            raise AirflowFailException(
                "statements is a list; for one statement there is the argument statement"
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

    def _record(self, context: Mapping[str, Any], statements: Sequence[str]) -> Submissions:
        ti = context["ti"]
        return Submissions(
            _key(ti),
            statements,
            life=int(ti.max_tries),
            store=Store(read=read_variable, write=write_variable),
        )


class OnehouseTrackOperator(FollowingOperator):
    """
    Follows requests that something else submitted, and succeeds when all of them have.

    It returns, and pushes, a list with one object per request: ``request_id``, ``outcome``,
    ``status``, ``reason`` and ``response``, where there are any.

    Args:
        request_ids: What to follow: a list, or what an `OnehouseSqlOperator` pushed.
            Templated; a text that a template made of a list is understood.

        conn_id: The connection.

        deferrable: Wait in the triggerer, and not on a worker.

        defer_after: Seconds to wait on the worker before that: statements that answer at once
            need no deferral, which takes Airflow some seconds.

        on_partial: Whether a partial success is one: ``"succeed"`` or ``"fail"``.

        follow_timeout: Seconds, or a timedelta, that each try waits at most.

        report_url: What the link "Report" of the task leads to.  Templated.

        start_from_trigger: Begin in the triggerer, without a worker, in Airflow 2.11 and 3.3.
            The IDs must be known when the DAG is read; 3.3 also fills in templates.

        end_from_trigger: End there too.  A worker fails a task that has a retry left, and one
            of which the trigger does not know whether it has.

        **kwargs: Those of ``BaseOperator``.
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
            seconds = self._seconds()
            self.start_trigger_args = StartTriggerArgs(
                trigger_cls=f"{OnehouseTrackTrigger.__module__}.{OnehouseTrackTrigger.__qualname__}",
                trigger_kwargs={
                    "request_ids": request_ids,
                    "conn_id": self.conn_id,
                    "on_partial": self.on_partial,
                    "end_from_trigger": end_from_trigger,
                },
                next_method="execute_complete",
                next_kwargs=None,
                timeout=None if seconds is None else timedelta(seconds=seconds),
            )

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Wait for the requests."""
        try:
            requests = [Request(one) for one in request_ids_in(self.request_ids)]
        except InvalidRequestError as error:
            raise AirflowFailException(str(error)) from error
        return self._follow(context, requests)


def _forget_record(context: Mapping[str, Any]) -> None:
    """Delete the record of a task that has succeeded; a record that stays is followed."""
    record = context["task"]._record(context, ())  # noqa: SLF001 - of the operator above
    for name in record.names:
        delete_variable_with_success(name, context)


def _with_callback(given: Any, ours: Any) -> list[Any]:
    """Put *ours* last: on Airflow 2.11, callbacks run before the state is written."""
    if given is None:
        return [ours]
    return [*(given if isinstance(given, list | tuple) else [given]), ours]


def _key(ti: Any) -> TaskKey:
    return TaskKey(ti.dag_id, ti.task_id, ti.run_id, int(ti.map_index))
