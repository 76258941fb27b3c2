"""
What the server answers about the runs of a job: where values stand, and none of them.

Nobody documents these answers. What is printed can be shown to others.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from onehouse_tracker.cli._command_settings import CommandSettings
from onehouse_tracker.cli._connectivity import Finding, State
from onehouse_tracker.cli._track import open_tracker
from onehouse_tracker.errors import ProjectError, TrackerError
from onehouse_tracker.models import Result, response_of
from onehouse_tracker.run_results import JobRun
from onehouse_tracker.runs._kinds import JOB_RUNS
from onehouse_tracker.tracker import Tracker

__all__ = ["shapes"]

_PATIENCE = 120.0
_KEY = re.compile(r"[A-Za-z_][A-Za-z_]{0,59}")
_WORD = re.compile(rf"{JOB_RUNS.word_prefix}[A-Z_]{{1,40}}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


async def shapes(
    settings: CommandSettings, job: str, run_id: str | None
) -> AsyncIterator[Finding]:
    """
    Submit SHOW RUNS IN JOB and DESCRIBE JOB_RUN; say which keys the answers have.

    Args:
        settings: How to reach the server.

        job: The name of the job.

        run_id: The run that is described; `None` takes one of the listing.

    Raises:
        InvalidRequestError: The name or the run ID cannot be quoted in a statement.

        ConfigError: Credentials are missing.
    """
    run = JobRun(job, run_id or "x")
    show_many = JOB_RUNS.show_many
    async with open_tracker(settings) as tracker:
        if show_many is not None:
            listing, found = await _answer(tracker, "SHOW RUNS IN JOB", show_many(run.job), job)
            for finding in found:
                yield finding
            run_id = run_id or _run_in(listing)
        if run_id is None:
            yield Finding(
                check="DESCRIBE JOB_RUN",
                state=State.SKIPPED,
                found="no run was found in the listing",
                advice="give a run ID behind the options",
            )
            return
        described = JOB_RUNS.show_one(run.job, run_id)
        for finding in (await _answer(tracker, "DESCRIBE JOB_RUN", described, job))[1]:
            yield finding


async def _answer(
    tracker: Tracker, name: str, statement: str, job: str
) -> tuple[Mapping[str, Any] | None, list[Finding]]:
    try:
        result = await tracker.execute(statement, timeout=_PATIENCE)
    except ProjectError:
        raise
    except TrackerError as error:
        # Its words are the server's, and may hold values.
        found = f"not answered: {type(error).__name__}"
        return None, [Finding(check=name, state=State.ERROR, found=found)]
    response = response_of(result)
    return response, list(_findings(name, result, response, job))


def _findings(
    name: str, result: Result, response: Mapping[str, Any] | None, job: str
) -> Iterator[Finding]:
    state = State.OK if result.ok else State.ERROR
    yield Finding(check=name, state=state, found=f"the request ended {result.outcome}")
    counts: dict[str, Counter[str]] = {}
    for path, value in _leaves(response, job):
        counts.setdefault(path, Counter())[_masked(value)] += 1
    if not counts:
        yield Finding(check=name, state=State.WARNING, found="the response is empty")
    for path, kinds in counts.items():
        shown = ", ".join(f"{kind} ({count})" for kind, count in kinds.items())
        yield Finding(check=name, state=State.OK, found=f"{path}: {shown}")


def _leaves(node: Any, job: str) -> Iterator[tuple[str, Any]]:
    """Every value, and the keys that lead to it; a place in a list is not told."""
    waiting: list[tuple[str, Any]] = [("", node)]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, Mapping) and node:
            keys = (
                (f"{path}.{_masked_key(key, job)}" if path else _masked_key(key, job), value)
                for key, value in node.items()
            )
            waiting += reversed(list(keys))
        elif isinstance(node, list) and node:
            waiting += [(f"{path}[]", value) for value in reversed(node)]
        elif path:
            yield path, node


def _masked_key(key: str, job: str) -> str:
    """A key as it is, unless it looks like a value: an ID, a date, a name of the user's."""
    if key != job and _KEY.fullmatch(key):
        return key
    return "<UUID>" if _UUID.fullmatch(key) else "<masked>"


def _masked(value: Any) -> str:
    """What kind of value it is; of a status word, the word."""
    if isinstance(value, str):
        if _WORD.fullmatch(value):
            return value
        return "UUID" if _UUID.fullmatch(value) else "text" if value else "empty text"
    if isinstance(value, bool):
        return "true or false"
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "empty object"
    return "empty list" if isinstance(value, list) else "number"


def _run_in(listing: Mapping[str, Any] | None) -> str | None:
    """
    Something that may be a run ID: a UUID that no other row has, under a key that speaks of runs.
    """
    found: dict[str, list[str]] = {}
    for path, value in _leaves(listing, ""):
        if isinstance(value, str) and _UUID.fullmatch(value):
            found.setdefault(path, []).append(value)
    telling = [path for path, ids in found.items() if len(set(ids)) == len(ids)]
    if telling:
        best = max(
            telling, key=lambda path: ("run" in path.rpartition(".")[2].lower(), len(found[path]))
        )
        return found[best][0]
    return _key_that_is_id(listing)


def _key_that_is_id(listing: Any) -> str | None:
    waiting: list[Any] = [listing]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mapping):
            for key in node:
                if _UUID.fullmatch(str(key)):
                    return str(key)
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return None
