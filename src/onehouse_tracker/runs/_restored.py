"""
What an earlier run of the program left in the journal: what is known, and what is to be followed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from onehouse_tracker.errors import JournalError
from onehouse_tracker.run_results import RunOutcome

if TYPE_CHECKING:
    from onehouse_tracker.journal import JournalRun
    from onehouse_tracker.runs._followed import Followed, RunWait
    from onehouse_tracker.runs._journal import RunJournal

__all__ = ["NEVER_SENT", "resume", "take_known", "what_happened"]

NEVER_SENT = "never sent: the same execute_all() with resume=True sends it"
_INTERRUPTED = "the program ended while it sent the statement, so a run may be started"


def resume(
    journal: RunJournal,
    wait: RunWait,
    *,
    restore: Callable[[JournalRun], Followed],
    expire: Callable[[RunWait], None],
    after: int = 0,
) -> None:
    """
    Let *wait* wait for everything that the journal has, and nobody acknowledged.

    *restore* follows one run again; *expire* settles what came after the deadline.
    """

    def take(found: Sequence[JournalRun] | JournalError) -> None:
        if isinstance(found, JournalError):
            wait.fail(found)
            return
        if wait.over:
            return
        for row in found:
            wait.join(restore(row), row.label)
        if len(found) == journal.chunk:
            last = found[-1].number
            resume(journal, wait, restore=restore, expire=expire, after=last)
        else:
            wait.fed()
        if wait.expired:
            expire(wait)

    journal.read_open(after, take)


def take_known(followed: Followed, row: JournalRun, *, is_kind_known: bool, now: float) -> bool:
    """Give *followed* what the journal knows; return whether that is its result."""
    followed.request_id = row.request_id
    followed.batch, followed.position = row.batch, row.position
    followed.was_sent = row.state not in {None, "unsent"}
    known = _known(row, is_kind_known=is_kind_known)
    if known is None:
        return False
    outcome, error = known
    result = followed.make_result(outcome, now=now, wall=row.recorded_at, error=error)
    followed.result = replace(result, run_id=row.run_id, status=row.status)
    return True


def _known(row: JournalRun, *, is_kind_known: bool) -> tuple[RunOutcome, str] | None:
    """The outcome of what need not be followed again, and why it is not ok."""
    if row.outcome is not None and (row.outcome.final or not (row.run_id or row.request_id)):
        return row.outcome, row.reason or ""
    if row.never_sent:
        return RunOutcome.NOT_STARTED, NEVER_SENT
    if not is_kind_known:
        why = f"nobody knows the kind of work {row.kind!r}: use add_kind() first"
        return RunOutcome.UNRECOGNIZED, why
    return None


def what_happened(row: JournalRun) -> tuple[RunOutcome, str]:
    """The outcome of a statement that has no request."""
    if row.state == "refused":
        return RunOutcome.NOT_STARTED, row.refusal or "the server refused it"
    return RunOutcome.START_UNKNOWN, _INTERRUPTED
