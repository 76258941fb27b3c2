"""
The runs that are followed, and what each check means for its run.

No clock, no I/O, no tasks; callers pass the time in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onehouse_tracker.run_results import RunOutcome
from onehouse_tracker.runs._kinds import Meaning

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from onehouse_tracker._engine.schedule.durations import Label
    from onehouse_tracker._engine.schedule.law import Law
    from onehouse_tracker.runs._kinds import WorkKind
    from onehouse_tracker.runs._walk import Steps

__all__ = ["FIRST_AUDIT", "GONE_AFTER", "Ended", "Group", "Run", "Unit"]

UNRECOGNIZED_AFTER = 3
"""Checks in a row without a word that we know."""

GONE_AFTER = 3
"""Questions about one run that were answered without it, at least, before it is lost."""

FIRST_AUDIT = 5
"""Listings of a job until one of its runs is checked alone, to compare."""

LOST_AFTER = 600.0
"""Seconds between the first and the last of them, at least."""

_LONGEST_WORDS = 300


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more to find out about this run."""

    outcome: RunOutcome
    error: str = ""


class Run:
    """
    One run that is followed.  Times are loop times.

    Args:
        kind: What kind of work it is.

        job: The name that the server wants beside the ID.

        run_id: Its ID.

        born: When it was started, as far as we know.

        is_age_known: Whether that is when it was started, and not when we heard of it.
    """

    __slots__ = (
        "alone",
        "born",
        "checks",
        "durations",
        "failing_since",
        "failures",
        "gone",
        "gone_since",
        "gone_words",
        "group",
        "is_age_known",
        "job",
        "kind",
        "law",
        "looked",
        "missing",
        "not_yet_since",
        "overdue",
        "queued_at",
        "row",
        "run_id",
        "running_at",
        "seen_sent_at",
        "unit",
        "unrecognized",
        "word",
    )

    group: Group
    """The runs of the same job."""
    unit: Unit
    """Checks this run alone."""
    durations: Label
    law: Law | None
    """What is known about how long it takes."""

    def __init__(
        self, kind: WorkKind, job: str, run_id: str, *, born: float, is_age_known: bool = True
    ) -> None:
        self.kind = kind
        self.job = job
        self.run_id = run_id
        self.born = born
        self.is_age_known = is_age_known
        self.looked = born
        """When the last check was sent that saw it not ended; before that, when it was born."""
        self.seen_sent_at: float | None = None
        """The same; `None` before."""
        self.overdue = False
        """Whether it has been running for longer than nearly all earlier runs of its job."""
        self.alone = False
        """Whether it is checked alone for good."""
        self.checks = 0
        self.word: str | None = None
        self.row: Any = None
        self.queued_at: datetime | None = None
        self.running_at: datetime | None = None
        self.missing = 0
        """Listings in a row in which it was not seen."""
        self.unrecognized = 0
        self.not_yet_since: float | None = None
        self.gone = 0
        """Questions about it alone that were answered without it, in a row."""
        self.gone_since = math.inf
        self.gone_words = ""
        self.failures = 0
        self.failing_since = math.inf

    def __repr__(self) -> str:
        return f"<Run {self.run_id} of {self.job}: {self.checks} checks, {self.word}>"

    def seen(self) -> None:
        """The server said something about it: nothing fails, and it is not gone."""
        self.missing = self.gone = self.failures = 0
        self.gone_since = self.failing_since = math.inf

    def take(
        self,
        word: str | None,
        row: Any,
        *,
        sent_at: float,
        wall: datetime,
        not_run_grace: float,
    ) -> Ended | None:
        """A check sent at *sent_at* found this word; `None` for a run without a clear word."""
        self.seen()
        if word is not None:
            self.word, self.row = word, row
        meaning = self.kind.meaning(word)
        if isinstance(meaning, RunOutcome):
            return Ended(meaning)
        if meaning is not Meaning.NOT_YET:
            self.not_yet_since = None
        if meaning is Meaning.UNKNOWN:
            self.unrecognized += 1
            if self.unrecognized < UNRECOGNIZED_AFTER:
                return None
            said = "no status" if word is None else f"the status {word[:80]!r}, which is not known"
            return Ended(
                RunOutcome.UNRECOGNIZED, f"{self.unrecognized} checks in a row brought {said}"
            )
        self.unrecognized = 0
        self.looked = self.seen_sent_at = sent_at
        if meaning is Meaning.QUEUED and self.queued_at is None:
            self.queued_at = wall
        elif meaning is Meaning.RUNNING and self.running_at is None:
            self.running_at = wall
        elif meaning is Meaning.NOT_YET:
            if self.not_yet_since is None:
                self.not_yet_since = sent_at
            if sent_at - self.not_yet_since >= not_run_grace:
                return Ended(
                    RunOutcome.UNRECOGNIZED, f"it was {word} for {not_run_grace / 60:g} minutes"
                )
        return None

    def is_gone(
        self, words: str, *, sent_at: float, witnessed_at: float, patience: float
    ) -> Ended | None:
        """
        A question about it alone was answered without it, or refused with *words*.

        *witnessed_at* is when the last question about anything else was sent that succeeded.
        """
        if not self.gone:
            self.gone_since = sent_at
        self.gone += 1
        self.failures = 0
        self.failing_since = math.inf
        self.gone_words = words[:_LONGEST_WORDS] or self.gone_words
        lasted = sent_at - self.gone_since
        if self.gone < GONE_AFTER or lasted < LOST_AFTER:
            return None
        said = self.gone_words or "its answers do not have it"
        if witnessed_at >= self.gone_since:
            return Ended(
                RunOutcome.LOST,
                f"the server no longer knows the run ({said}); was job {self.job!r} renamed or"
                " deleted?",
            )
        return self._silent(lasted, patience, said)

    def fails(self, reason: str, *, sent_at: float, now: float, patience: float) -> Ended | None:
        """A check of it brought nothing."""
        if not self.failures:
            self.failing_since = sent_at
        self.failures += 1
        since = min(self.failing_since, self.gone_since)
        return self._silent(now - since, patience, reason)

    @staticmethod
    def _silent(lasted: float, patience: float, said: str) -> Ended | None:
        if lasted < patience:
            return None
        return Ended(
            RunOutcome.UNREACHABLE,
            f"no check brought anything about it for {lasted:.0f} s ({said})",
        )


class Unit:
    """
    What one check is for: the runs of a job that are listed together, or one run.

    With neither, it is the witness: a statement that is answered as long as the server answers.
    """

    __slots__ = (
        "busy",
        "group",
        "kind",
        "not_before",
        "run",
        "score",
        "score_until",
        "sent_at",
        "ticket",
    )

    def __init__(self, kind: WorkKind, group: Group | None = None, run: Run | None = None) -> None:
        self.kind = kind
        self.group = group
        self.run = run
        self.ticket = 0
        """Its entry among those that wait; 0 while it is not to be checked."""
        self.busy = False
        """Whether a check is under way."""
        self.sent_at = -math.inf
        """When its last check was sent."""
        self.not_before = -math.inf
        self.score = 0.0
        self.score_until = -math.inf

    @property
    def members(self) -> Collection[Run]:
        """The runs that it is for."""
        if self.run is not None:
            return (self.run,)
        return () if self.group is None else self.group.listed.values()

    @property
    def statement(self) -> str:
        """What is sent."""
        if self.run is not None:
            return self.kind.show_one(self.run.job, self.run.run_id)
        if self.group is not None and self.kind.show_many is not None:
            return self.kind.show_many(self.group.job)
        return self.kind.witness or ""


class Group:
    """The runs of one job, and how its listings have proved so far."""

    __slots__ = (
        "alone_because",
        "audit_in",
        "auditing",
        "blank",
        "claims",
        "confirmed",
        "confirming",
        "job",
        "kind",
        "late",
        "listed",
        "listing",
        "paths",
        "runs",
    )

    def __init__(self, kind: WorkKind, job: str) -> None:
        self.kind = kind
        self.job = job
        self.runs: dict[str, Run] = {}
        """Everything of this job that is followed."""
        self.listed: dict[str, Run] = {}
        """Those of them that listings are to show."""
        self.listing = Unit(kind, self)
        self.alone_because = "" if kind.show_many is not None else "there is no listing"
        """Why each run is checked alone; empty where listings are used."""
        self.blank = 0
        """Listings in a row without any of our IDs, or without any status word."""
        self.confirmed = False
        """Whether a word of a listing, that a run had ended, proved right."""
        self.confirming: Run | None = None
        """The run that is checked alone to find out."""
        self.auditing: Run | None = None
        """The run that is checked alone to find out whether listings show what has ended."""
        self.audit_in = FIRST_AUDIT
        """Listings until that is done again."""
        self.late = 0
        """Runs that had ended, as was found out so, while listings said otherwise."""
        self.claims: dict[str, tuple[str, object]] = {}
        """What listings said of runs that have ended, until that is found out."""
        self.paths: frozenset[Steps] = frozenset()
        """Where a listing that proved right had the IDs."""
