"""
What SHOW RUNS IN JOB answers: nobody documents it, so its shape is a setting.

The keys are made up.  Code that relies on one of them relies on this simulator.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args
from uuid import UUID

from onehouse_tracker.testing.job_runs import CANCELED, COMPLETED, FAILED, QUEUED, RUNNING

__all__ = ["SHAPES", "ListedRun", "Listing", "Shape", "history_of", "listed"]

ShapeName: TypeAlias = Literal["nested", "flat", "table", "cells", "keyed"]
Extra: TypeAlias = Literal["attempts", "retried_from", "previous_status", "prefix", "url"]


class ListedRun(NamedTuple):
    """One run in a listing."""

    run_id: str
    """Its ID."""

    job: str
    """Its job."""

    status: str | None
    """The server's word; `None` is none."""

    created_at: float
    """When it was created, in seconds on the project's clock."""


Shape: TypeAlias = Callable[[str, Sequence[ListedRun]], Mapping[str, Any]]
"""Makes ``apiResponse`` of a job's name and its runs, in the order of the listing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """
    What SHOW RUNS IN JOB answers.

    Raises:
        ValueError: There is no such shape or extra.
    """

    shape: ShapeName | Shape = "nested"
    """How the runs are written down: ``nested`` objects with the word below the ID, ``flat``
    objects with both beside each other, a ``table`` of columns and rows, ``cells`` that each
    wrap one value, runs ``keyed`` by their IDs; or a function of your own."""

    lag: float = 0.0
    """How many seconds old the listing is: it shows neither newer runs nor newer words."""

    history: int = 0
    """How many earlier runs of the job there are besides those of the project."""

    limit: int | None = None
    """How many of the newest runs are shown; the others drop out."""

    newest_first: bool = True
    """In which order they are."""

    extras: Collection[Extra] = ()
    """What else is there to mislead a reader: ``attempts`` inside a run with words of their
    own, ``retried_from`` with another run's ID, ``previous_status`` beside the status,
    ``prefix`` for another run whose ID begins with this one's, ``url`` for IDs inside a URL."""

    def __post_init__(self) -> None:
        if isinstance(self.shape, str) and self.shape not in SHAPES:
            raise ValueError(f"no such shape: {self.shape!r}; there are {', '.join(SHAPES)}")
        for extra in self.extras:
            if extra not in get_args(Extra):
                raise ValueError(
                    f"no such extra: {extra!r}; there are {', '.join(get_args(Extra))}"
                )


def listed(listing: Listing, job: str, runs: Sequence[ListedRun]) -> Mapping[str, Any]:
    """``apiResponse`` for *runs*, which are in the order in which they were created."""
    shown = list(runs)
    if listing.limit is not None:
        shown = shown[-listing.limit :] if listing.limit else []
    if "prefix" in listing.extras:
        shown = [one for run in shown for one in (run, _longer(run))]
    extras = _extras(shown, listing.extras)
    order = range(len(shown))
    if listing.newest_first:
        order = order[::-1]
    if not isinstance(listing.shape, str):
        return listing.shape(job, [shown[place] for place in order])
    return _WRITERS[listing.shape]([(shown[place], extras[place]) for place in order])


def history_of(job: str, count: int) -> list[ListedRun]:
    """*count* earlier runs of *job*, oldest first; the same every time."""
    rng = Random(f"history of {job}")
    words = (COMPLETED, COMPLETED, COMPLETED, FAILED, CANCELED)
    return [
        ListedRun(
            str(UUID(int=rng.getrandbits(128), version=4)),
            job,
            rng.choice(words),
            -3600.0 * (count - number),
        )
        for number in range(count)
    ]


# --- what misleads -----------------------------------------------------------------------


def _longer(run: ListedRun) -> ListedRun:
    """Another run, whose ID begins with that of *run*, and which says something else."""
    status = FAILED if run.status != FAILED else COMPLETED
    return run._replace(run_id=f"{run.run_id}-2", status=status)


def _extras(runs: Sequence[ListedRun], extras: Collection[Extra]) -> list[dict[str, Any]]:
    return [_extra(runs, place, extras) for place in range(len(runs))]


def _extra(runs: Sequence[ListedRun], place: int, extras: Collection[Extra]) -> dict[str, Any]:
    run = runs[place]
    found: dict[str, Any] = {}
    if "previous_status" in extras:
        found["previousStatus"] = QUEUED if run.status == RUNNING else RUNNING
    if "retried_from" in extras and place % 3:
        found["retriedFrom"] = runs[place - place % 3].run_id
    if "url" in extras:
        before = runs[place - 1].run_id
        found["consoleUrl"] = f"https://console.invalid/runs/{run.run_id}?before={before}"
    if "attempts" in extras:
        found["attempts"] = [
            {"number": 1, "status": FAILED},
            {"number": 2, "status": run.status or RUNNING},
        ]
    return found


# --- shapes ------------------------------------------------------------------------------

_Rows: TypeAlias = "Sequence[tuple[ListedRun, dict[str, Any]]]"


def _status(run: ListedRun) -> dict[str, Any]:
    return {} if run.status is None else {"status": run.status}


def _nested(rows: _Rows) -> Mapping[str, Any]:
    runs = [
        {
            "jobRunId": run.run_id,
            "jobName": run.job,
            "sparkJobRun": {**extra, **_status(run), "createdAt": run.created_at},
        }
        for run, extra in rows
    ]
    return {"showRunsApiResponse": {"jobRuns": runs}}


def _flat(rows: _Rows) -> Mapping[str, Any]:
    runs = [
        {**extra, "id": run.run_id, "job": run.job, **_status(run), "created": run.created_at}
        for run, extra in rows
    ]
    return {"showRunsInJobApiResponse": {"runs": runs, "total": len(runs)}}


def _names(rows: _Rows) -> list[str]:
    """The columns of a table: a key that one run has is a column of all."""
    more = dict.fromkeys(name for _, extra in rows for name in extra)
    return ["createdAt", "jobName", "runId", *more, "status"]


def _values(run: ListedRun, extra: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    values = {
        **extra,
        "createdAt": run.created_at,
        "jobName": run.job,
        "runId": run.run_id,
        "status": run.status,
    }
    return [values.get(name) for name in names]


def _table(rows: _Rows) -> Mapping[str, Any]:
    names = _names(rows)
    return {
        "showRunsApiResponse": {
            "columns": names,
            "rows": [_values(run, extra, names) for run, extra in rows],
        }
    }


def _cells(rows: _Rows) -> Mapping[str, Any]:
    names = _names(rows)
    return {
        "queryApiResponse": {
            "schema": [{"name": name} for name in names],
            "rows": [
                {"values": [{"value": value} for value in _values(run, extra, names)]}
                for run, extra in rows
            ],
        }
    }


def _keyed(rows: _Rows) -> Mapping[str, Any]:
    return {
        "showRunsApiResponse": {
            "runs": {
                run.run_id: {**extra, "job": run.job, "state": {**_status(run)}}
                for run, extra in rows
            }
        }
    }


_WRITERS: Final[Mapping[ShapeName, Callable[[_Rows], Mapping[str, Any]]]] = {
    "nested": _nested,
    "flat": _flat,
    "table": _table,
    "cells": _cells,
    "keyed": _keyed,
}
SHAPES: Final[tuple[ShapeName, ...]] = tuple(_WRITERS)
"""The names of the shapes that there are."""
