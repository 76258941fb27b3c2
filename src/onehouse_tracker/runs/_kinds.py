"""
Kinds of work that continue after their request has ended: a small declaration for each.

Nothing else in this package knows a statement or a status word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from onehouse_tracker._checks import check_job_name, check_run_id
from onehouse_tracker.errors import ConfigError, InvalidRequestError
from onehouse_tracker.models import RUN_ID_AT, text_at
from onehouse_tracker.run_results import RunOutcome

__all__ = ["JOB_RUNS", "KeyPath", "Kinds", "Meaning", "WorkKind", "job_started_by"]

KeyPath: TypeAlias = tuple[str, ...]
"""The keys that lead to a value, from the top of ``apiResponse``."""


class Meaning(Enum):
    """What a status word says about a run that has not ended."""

    QUEUED = "queued"
    RUNNING = "running"
    NOT_YET = "not yet"
    """Not over, but for a limited time only: 30 minutes, unless you set another time."""
    UNKNOWN = "unknown"
    """Says nothing: three in a row end the following."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkKind:
    """
    What there is to know about one kind of work.

    All functions are called with names and IDs that have been checked already.
    """

    name: str
    """What it is called, e.g. ``"job run"``; `JobRun.kind` and the journal refer to it."""

    starts: Callable[[str], str | None]
    """Takes a statement; returns the name of the work that it starts, `None` if it starts none of
    this kind.  It raises `InvalidRequestError` where the work could not be followed."""

    identity_at: tuple[KeyPath, ...]
    """Where the response to such a statement holds the ID, the likeliest place first."""

    identity_key: str
    """The last key of such a place: it is accepted anywhere, if it leads to one value only."""

    show_one: Callable[[str, str], str]
    """Takes name and ID; returns the statement that shows one."""

    word_at: KeyPath
    """Where the answer to it holds the status word."""

    show_many: Callable[[str], str] | None = None
    """Takes a name; returns the statement that shows all of this name, if there is one."""

    word_prefix: str
    """What every status word begins with: by this they are found in answers of unknown shape."""

    words: Mapping[str, RunOutcome | Meaning] = field(hash=False)
    """What each status word means; a word that is not in here is `Meaning.UNKNOWN`."""

    cancel: Callable[[str, str], str] | None = None
    """Takes name and ID; returns the statement that cancels it, if there is one."""

    witness: str | None = None
    """A statement that is answered as long as the server answers at all."""

    def meaning(self, word: str | None) -> RunOutcome | Meaning:
        """What *word* means; no word at all is `Meaning.UNKNOWN`."""
        return Meaning.UNKNOWN if word is None else self.words.get(word, Meaning.UNKNOWN)

    def identity_in(self, response: Mapping[str, Any] | None) -> str | None:
        """The ID that a response holds; `None` if it holds none that a statement can name."""
        if response is None:
            return None
        found = {value for path in self.identity_at if (value := text_at(response, path))}
        if not found:
            found = set(_values_of(response, self.identity_key))
        if len(found) != 1:
            return None
        try:
            return check_run_id(found.pop())
        except InvalidRequestError:
            return None


def _values_of(response: Mapping[str, Any], key: str) -> list[str]:
    """Every text under *key*, at any depth."""
    found: list[str] = []
    waiting: list[Any] = [response]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mapping):
            value = node.get(key)
            if isinstance(value, str) and value:
                found.append(value)
            waiting += node.values()
        elif isinstance(node, list | tuple):
            waiting += node
    return found


# --- Job runs ------------------------------------------------------------------------------

_COMMENTS = r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/)"
_STARTS_JOB = re.compile(
    rf"{_COMMENTS}*(?:CREATE{_COMMENTS}+AND{_COMMENTS}+)?RUN{_COMMENTS}+JOB(?![\w$])",
    re.IGNORECASE | re.DOTALL,
)
_NAME = re.compile(
    rf"""{_COMMENTS}*(?:`(?P<back>(?:[^`]|``)*)`|'(?P<single>(?:[^']|'')*)'"""
    r"""|"(?P<double>(?:[^"]|"")*)"|(?P<bare>[^\s`'";,()=]+))(?=[\s;(,]|--|/\*|$)""",
    re.DOTALL,
)


def job_started_by(statement: str) -> str | None:
    """
    The name of the job that *statement* runs; `None` if it runs none.

    Raises:
        InvalidRequestError: It runs a job whose name cannot be read, or cannot be quoted in the
            statements by which a run is followed.
    """
    start = _STARTS_JOB.match(statement)
    if start is None:
        return None
    name = _NAME.match(statement, start.end())
    if name is None:
        raise InvalidRequestError(
            "the job's name cannot be read from the statement, and without it its run cannot be"
            " followed: write RUN JOB `name`"
        )
    quote = {"back": "`", "single": "'", "double": '"', "bare": ""}[name.lastgroup or "bare"]
    text = name[name.lastgroup or 0]
    return check_job_name(text.replace(quote * 2, quote) if quote else text)


def _text(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"


_STATUS = "SPARK_JOB_RUN_STATUS_"

JOB_RUNS = WorkKind(
    name="job run",
    starts=job_started_by,
    identity_at=RUN_ID_AT,
    identity_key="jobRunId",
    show_one=lambda job, run_id: f"DESCRIBE JOB_RUN `{run_id}` JOB_NAME = {_text(job)}",
    word_at=("describeJobRunApiResponse", "sparkJobRun", "status"),
    show_many=lambda job: f"SHOW RUNS IN JOB `{job}`",
    word_prefix=_STATUS,
    words={
        f"{_STATUS}QUEUED": Meaning.QUEUED,
        f"{_STATUS}RUNNING": Meaning.RUNNING,
        # The vendor's sensor waits on; nobody knows for how long that is right.
        f"{_STATUS}NOT_RUN": Meaning.NOT_YET,
        f"{_STATUS}COMPLETED": RunOutcome.SUCCEEDED,
        f"{_STATUS}FAILED": RunOutcome.FAILED,
        f"{_STATUS}CANCELED": RunOutcome.CANCELED,
        # Probably the zero value of the enum: it may mean no more than a missing word.
        f"{_STATUS}INVALID": Meaning.UNKNOWN,
    },
    cancel=lambda job, run_id: f"CANCEL JOB_RUN `{run_id}` JOB_NAME = {_text(job)}",
    witness="SHOW JOBS",
)
"""Runs of jobs: ``RUN JOB`` and ``CREATE AND RUN JOB``."""


class Kinds:
    """The kinds of work that one tracker knows: runs of jobs, and what users added."""

    def __init__(self) -> None:
        self._by_name = {JOB_RUNS.name: JOB_RUNS}

    def add(self, kind: WorkKind) -> None:
        """
        Know one more.

        Raises:
            ConfigError: There is one of this name.
        """
        if kind.name in self._by_name:
            raise ConfigError(f"there is a kind of work {kind.name!r} already")
        self._by_name[kind.name] = kind

    def __iter__(self) -> Iterator[WorkKind]:
        """All of them."""
        return iter(self._by_name.values())

    def get(self, name: str) -> WorkKind | None:
        """The kind of this name, if there is one."""
        return self._by_name.get(name)

    def started_by(self, statement: str) -> tuple[WorkKind | None, str | None]:
        """
        What a statement starts: the kind of work and its name; nothing, if it starts none.

        Raises:
            InvalidRequestError: It starts something that could not be followed.
        """
        for kind in self._by_name.values():
            name = kind.starts(statement)
            if name is not None:
                return kind, name
        return None, None
