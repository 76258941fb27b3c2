"""
From the requests that start runs of jobs to the runs, and from their ends to the results.

A result is one object per statement, as in `EventPayload`, which also has ``job`` and ``run_id``
where its statement starts a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from onehouse_tracker._util.text import printable
from onehouse_tracker.errors import InvalidRequestError
from onehouse_tracker.integrations.airflow._event_payload import describe_ids
from onehouse_tracker.runs import JOB_RUNS, JobRun, RunOutcome, RunResult

__all__ = [
    "RunsPayload",
    "by_job",
    "jobs_of",
    "merged",
    "run_statement",
    "runs_in",
    "started",
    "too_large",
]

_ROOM: Final = 40_000
"""Characters of run IDs and names of jobs, as JSON, that fit into a trigger's row on MySQL."""

_ID_ROOM: Final = 40
"""Characters of a run ID in JSON."""

_REASON: Final = 500
"""Characters of a reason, at most."""


class RunsPayload(dict[str, Any]):
    """
    The payload of the event of a trigger that waits for runs.

    ``runs`` holds one object per run that has ended: ``run_id``, ``job``, ``outcome``, and
    ``status`` and ``reason`` where there are any.  ``error`` says why tracking stopped early,
    ``pending`` then holds the run IDs that are still open, and ``hopeless`` says that another try
    would end the same way.  ``limit`` names what set the deadline that has passed.
    """

    @classmethod
    def of(
        cls,
        results: Iterable[RunResult],
        *,
        error: str | None = None,
        pending: Iterable[str] = (),
        hopeless: bool = False,
        limit: str | None = None,
    ) -> RunsPayload:
        """Make the payload."""
        payload = cls(runs=[_packed(one) for one in results])
        if error is not None:
            payload.update(error=printable(error), pending=list(pending), hopeless=hopeless)
        if limit is not None and any(
            one["outcome"] == RunOutcome.TIMED_OUT for one in payload["runs"]
        ):
            payload["limit"] = limit
        return payload


def _packed(result: RunResult) -> dict[str, Any]:
    item = {"run_id": result.run_id, "job": result.job, "outcome": str(result.outcome)}
    for name, text in (("status", result.status), ("reason", result.reason)):
        if text:
            item[name] = printable(text[:_REASON])
    return item


def run_statement(job: str) -> str:
    """The statement that starts a run of *job*, whose name was checked."""
    return f"RUN JOB `{job}`"


def jobs_of(statements: Iterable[str]) -> list[str | None]:
    """
    The jobs that statements run; `None` for a statement that runs none.

    Raises:
        InvalidRequestError: The name of a job cannot be read, so its run could not be tracked.
    """
    found = []
    for number, statement in enumerate(statements, 1):
        try:
            found.append(JOB_RUNS.starts(statement))
        except InvalidRequestError as error:
            raise InvalidRequestError(f"statement {number}: {error}") from None
    return found


def too_large(jobs: Sequence[str | None]) -> bool:
    """Whether the runs of *jobs* are more than one trigger can store."""
    names = {job for job in jobs if job is not None}
    return sum(len(job) + 8 for job in names) + _ID_ROOM * len(jobs) > _ROOM


def started(results: Iterable[Mapping[str, Any]], jobs: Mapping[str, str]) -> list[dict[str, Any]]:
    """
    Say of each request what it has started.

    Args:
        results: Of the requests, as in `EventPayload`.

        jobs: The job that each request was to start, by its ID.
    """
    return [_started(dict(item), jobs.get(item["request_id"])) for item in results]


def _started(item: dict[str, Any], job: str | None) -> dict[str, Any]:
    if job is None or item.get("run_id"):
        return item
    item["job"] = job
    if not RunOutcome(item["outcome"]).ok:
        return item
    run_id = JOB_RUNS.identity_in(item.get("response"))
    if run_id is None:
        item["outcome"] = str(RunOutcome.STARTED)
        item["reason"] = "it was started, but no run ID came back, so it cannot be tracked"
    else:
        item["run_id"] = run_id
        # It says nothing else, and a thousand of them need room.
        item.pop("response", None)
    return item


def by_job(items: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The IDs of the runs among *items*, by the names of their jobs."""
    found: dict[str, list[str]] = {}
    for item in items:
        if item.get("run_id"):
            found.setdefault(item["job"], []).append(item["run_id"])
    return found


def merged(items: Iterable[Mapping[str, Any]], payload: Mapping[str, Any]) -> dict[str, Any]:
    """
    Say how everything ended, in the form of `EventPayload`.

    Args:
        items: What `started` returned.

        payload: A `RunsPayload`, or what Airflow's database made of one.
    """
    ends = {one["run_id"]: one for one in payload["runs"]}
    results = []
    items = list(items)
    for number, item in enumerate(items, 1):
        end = ends.get(item.get("run_id"))
        if item.get("run_id") and end is None:
            continue  # among those that are pending
        result = {**item, **end} if end is not None else dict(item)
        if len(items) > 1 and result["outcome"] != RunOutcome.SUCCEEDED:
            result["number"] = number
        results.append(result)
    rest = {
        name: payload[name]
        for name in ("error", "pending", "hopeless", "limit")
        if name in payload
    }
    return {"results": results, "count": len(items), "noun": "run", **rest}


def runs_in(value: Any, job: str | None = None) -> list[JobRun]:
    """
    Find the runs in *value*, each once.

    Args:
        value: A run ID, a list of them, or what an operator that starts runs has pushed.

        job: The name of the job of the runs that say none.

    Raises:
        InvalidRequestError: There is something else in it, or the name of a job is missing.
    """
    return list(dict.fromkeys(_runs(value, job)))


def _runs(value: Any, job: str | None) -> Iterable[JobRun]:
    if isinstance(value, Mapping):
        name = value.get("job") or job
        if not value.get("run_id"):
            raise InvalidRequestError(
                f"no run was started: {describe_ids(map(str, value.items()))}"
            )
        yield _run(name, value["run_id"])
    elif isinstance(value, str):
        yield _run(job, value.strip())
    elif isinstance(value, Iterable):
        for item in value:
            yield from _runs(item, job)
    else:
        raise InvalidRequestError(f"a run ID is a string, not {type(value).__name__}")


def _run(job: object, run_id: object) -> JobRun:
    if not isinstance(job, str) or not job:
        raise InvalidRequestError(
            "the server knows a run only together with the name of its job: give job"
        )
    if run_id in {"", "None", "null"}:
        raise InvalidRequestError("there is no run ID: the task it comes from pushed nothing")
    return JobRun(job, str(run_id))
