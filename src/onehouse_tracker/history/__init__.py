"""
What earlier runs took: remembered between processes, so that the next run knows when to look.
"""

from __future__ import annotations

import logging
import math
import os
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from onehouse_tracker._checks import check_no_mapping
from onehouse_tracker._util.text import reason_of
from onehouse_tracker.errors import InvalidRequestError
from onehouse_tracker.history._file import (
    Contents,
    DamagedError,
    HistoryFile,
    default_path,
    statement_name,
)
from onehouse_tracker.history._fingerprint import fingerprint
from onehouse_tracker.history._records import JOBS, Lesson, common_variance, shrunk
from onehouse_tracker.history._whose import ForeignFileError

__all__ = ["History", "Remembered"]

_log = logging.getLogger(__name__)
_Kind = Literal["label", "statement", "job"]
_KINDS: dict[str, _Kind] = {"l": "label", "s": "statement", "j": "job"}
_TENTH = 1.2816
"""Spreads from the middle of a normal law within which 80 % lie."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remembered:
    """What is remembered of one label, statement or job.  Times are seconds."""

    project: str
    """The key of its project, see `Credentials.project_key`; empty for sources without one."""

    kind: Literal["label", "statement", "job"]

    name: str
    """The label, the name of the job, or a keyed hash of the statement without its literals."""

    runs: int
    """How many runs count, 10 at most."""

    median: float

    low: float
    """Of ten runs one is expected to be shorter."""

    high: float
    """Of ten runs one is expected to be longer."""


class History:
    """
    Remembers how long requests took, from one run to the next.

    Give it to a tracker: ``Tracker(history=History())``.  Whatever is wrong with the file costs
    one warning and nothing else: the tracker then knows what it learns itself, as without it.

    Of a statement a keyed hash of its text without literals is stored, with a random key that is
    in the file; labels and names of jobs are stored as they are.  Only this user can read it.

    Args:
        path: The file; any number of processes may share it.  `None` is ``history.db`` in the
            platform's directory for what programs remember, such as
            ``~/.local/state/onehouse-tracker``.

        executor: Where it is read and written; `None` is a thread of its own.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, executor: Executor | None = None
    ) -> None:
        self._file = HistoryFile(default_path() if path is None else Path(path).expanduser())
        self.executor = executor
        self._lock = threading.Lock()
        self._unread: set[str] = set()
        self._said: set[str] = set()

    def __repr__(self) -> str:
        return f"<History {self.path}>"

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    def remembered(self) -> list[Remembered]:
        """
        Everything that is remembered.  It blocks.

        Raises:
            OSError: The file cannot be read, or is something else.

            sqlite3.Error: The file is damaged, or locked.
        """
        rows = self._file.rows()
        common = common_variance(record for _, _, record, _ in rows)
        found = []
        for project, stored, record, _ in rows:
            kind, _, name = stored.partition(":")
            spread = math.sqrt(shrunk(record, common))
            found.append(
                Remembered(
                    project=project,
                    kind=_KINDS.get(kind, "label"),
                    name=name,
                    runs=round(record.runs),
                    median=math.exp(record.mean),
                    low=math.exp(record.mean - _TENTH * spread),
                    high=math.exp(record.mean + _TENTH * spread),
                )
            )
        return found

    def forget(
        self,
        *,
        project: str | None = None,
        labels: Iterable[str] | None = None,
        jobs: Iterable[str] | None = None,
    ) -> int:
        """
        Forget everything, or what is named, and say how many names that were.  It blocks.

        Args:
            project: Only of this project, by its key; `None` is all projects.

            labels: Only these labels, and *jobs*.  Statements that were submitted under a label
                are names of their own.

            jobs: Only these jobs, and *labels*.

        Raises:
            InvalidRequestError: *labels* or *jobs* are no list of names; nothing is forgotten.

            OSError: The file cannot be written, or is something else.

            sqlite3.Error: The file is damaged, or locked.
        """
        names = None
        if labels is not None or jobs is not None:
            names = [f"l:{label}" for label in _listed(labels, "label")]
            names += [f"{JOBS}{job}" for job in _listed(jobs, "job")]
        return self._file.forget(project, names)

    # --- For trackers --------------------------------------------------------------------

    def read(self, project: str) -> Contents:
        """What is remembered of a project; nothing if it cannot be read.  It blocks."""
        try:
            try:
                contents = self._file.read(project)
            except DamagedError as error:
                contents = self._begin_anew(project, error)
        except (OSError, sqlite3.Error) as error:
            self._unread.add(project)
            self._warn(error)
            return Contents(b"", {})
        self._unread.discard(project)
        self._worked()
        return contents

    def add(self, project: str, lessons: Sequence[Lesson], common: float) -> None:
        """
        Remember what was learned, if that is possible.  It blocks.

        Nothing is written of a project that could not be read the last time.  A write that fails
        is not tried again; the next one is.
        """
        if project in self._unread:
            return
        try:
            self._file.add(project, lessons, common)
        except (sqlite3.Error, OSError) as error:
            self._warn(error)
        else:
            self._worked()

    @staticmethod
    def names(contents: Contents, statement: str | None, label: str | None) -> tuple[str, ...]:
        """What a request is remembered by, the best first."""
        names = () if label is None else (f"l:{label}",)
        # Without a key anybody could find out what the statement was, by trying.
        if statement is None or not contents.key:
            return names
        return (statement_name(contents.key, fingerprint(statement)), *names)

    def _begin_anew(self, project: str, damage: DamagedError) -> Contents:
        try:
            aside = self._file.set_aside(damage)
        except OSError:
            raise damage from None  # it says more than why the file cannot be renamed
        contents = self._file.read(project)
        if aside is not None:
            _log.warning(
                "history %s is damaged (%s), was renamed to %s, and begins anew",
                self.path,
                damage,
                aside.name,
            )
        return contents

    def _warn(self, error: Exception) -> None:
        """Say what is wrong, but the same again only if it worked in between."""
        what = f"cannot be used ({reason_of(error)}); nothing is learned from earlier runs"
        if isinstance(error, ForeignFileError):
            what += ": choose another path, or remove the file if nobody needs it"
        with self._lock:
            is_new = what not in self._said
            self._said.add(what)
        if is_new:
            _log.warning("history %s %s", self.path, what)

    def _worked(self) -> None:
        with self._lock:
            self._said.clear()


def _listed(given: Iterable[str] | None, what: str) -> list[str]:
    """The names in *given*; a str is refused, whose characters may be names of others."""
    if isinstance(given, str | bytes):
        raise InvalidRequestError(f"give a list of {what}s, not one string: [{given!r}]")
    check_no_mapping(given, f"{what}s", f"{what}s", "forgotten")
    names = list(given or ())
    for name in names:
        if not isinstance(name, str):
            raise InvalidRequestError(f"a {what} is a str, not {type(name).__name__}")
    return names
