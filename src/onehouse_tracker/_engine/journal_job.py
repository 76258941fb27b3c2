"""
What the writer's thread does with a journal: write a batch, then read at most once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from onehouse_tracker.errors import JournalError, JournalWriteError
from onehouse_tracker.journal import Entry, Journal
from onehouse_tracker.models import Result

__all__ = ["Done", "do"]


class Done(NamedTuple):
    """What one job brought."""

    known: Mapping[str, Result]
    failure: JournalError | None
    read: Any
    """What was read, or the error; `None` where nothing was to be read."""


def do(journal: Journal, entries: list[Entry], read: Callable[[], Any] | None) -> Done:
    """Write, then read: this runs in the writer's thread."""
    known: Mapping[str, Result] = {}
    failure: JournalError | None = None
    got: Any = None
    try:
        if entries:
            known = journal.write(entries)
    except Exception as error:  # noqa: BLE001 - a journal of another make may raise anything
        failure = _as_ours(journal, error)
    try:
        if read is not None:
            got = read()
    except Exception as error:  # noqa: BLE001
        got = _as_ours(journal, error)
    return Done(known, failure, got)


def _as_ours(journal: Journal, error: Exception) -> JournalError:
    if isinstance(error, JournalError):
        return error
    failure = JournalWriteError(
        f"journal {journal.name}: failed with {type(error).__name__}", path=journal.name
    )
    failure.__cause__ = error
    return failure
