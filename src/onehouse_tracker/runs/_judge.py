"""
What follows from the answer to each check: for its runs, and for how their job is checked.

No clock, no I/O, no tasks; callers pass the time in.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from onehouse_tracker._engine.retry import backoff
from onehouse_tracker.run_results import RunOutcome
from onehouse_tracker.runs._kinds import Meaning
from onehouse_tracker.runs._run import FIRST_AUDIT, GONE_AFTER, Ended

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from onehouse_tracker.policy import PollPolicy
    from onehouse_tracker.runs._chances import Chances
    from onehouse_tracker.runs._plan import Plan
    from onehouse_tracker.runs._reading import Listing, Sighting
    from onehouse_tracker.runs._run import Group, Run, Unit

__all__ = ["Judge"]

MISSING_AFTER = 2
"""Listings in a row without a run, after which it is checked alone."""

BLANK_AFTER = 2
"""Listings in a row that are of no use, after which the job is not listed any more."""

AUDIT_EVERY = 25
"""Listings of a job, after which one of its runs is checked alone, to compare."""

LATE_AFTER = 2
"""Such runs in a row that had ended unseen, after which the job is not listed any more."""

LARGE = 1 << 20
FEW = 20
"""A listing of so many bytes is not asked for again, for fewer runs than this."""

_NOT_OVER = frozenset({Meaning.QUEUED, Meaning.RUNNING, Meaning.NOT_YET})

_log = logging.getLogger(__name__)


class Judge:
    """
    Takes the answer to each check.

    Args:
        plan: What is checked.

        chances: What learns from it.

        policy: Backoff, and patience.

        ended: Called with each run that has its outcome.

        overdue: Called once with each run that is overdue, and how long it usually takes.

        wall_clock: Tells the date.

        random: From 0 to 1.
    """

    def __init__(
        self,
        plan: Plan,
        chances: Chances,
        policy: PollPolicy,
        *,
        ended: Callable[[Run, Ended], None],
        overdue: Callable[[Run, float], None],
        wall_clock: Callable[[], datetime],
        random: Callable[[], float],
    ) -> None:
        self._plan = plan
        self._chances = chances
        self._policy = policy
        self._ended = ended
        self._overdue = overdue
        self._wall_clock = wall_clock
        self._random = random
        self.not_run_grace = 1800.0
        """Seconds during which NOT_RUN means "not yet"."""

    # --- A listing ---------------------------------------------------------------------------

    def listed(self, unit: Unit, asked: list[Run], listing: Listing, now: float) -> None:
        """A listing came back; *asked* are the runs that it was asked for."""
        group = unit.group
        assert group is not None  # noqa: S101 - a listing is of a job
        sent_at = unit.sent_at
        still = [run for run in asked if group.listed.get(run.run_id) is run]
        useless = not (listing.has_ids and listing.has_words)
        group.blank = group.blank + 1 if useless else 0
        for run in still:
            sighting = listing.seen.get(run.run_id)
            if sighting is None:
                run.missing += 1
                group.claims.pop(run.run_id, None)
            else:
                self._plan.answered(run, sent_at)
                self._claimed(run, sighting, listing, sent_at, now)
        for run in still:
            if run.missing >= MISSING_AFTER and run.run_id in group.listed:
                self._plan.ask_alone(run, now)
        alone = sum(run.alone for run in group.runs.values())
        if group.blank >= BLANK_AFTER:
            self._distrust(group, "listings show none of its runs, or no status", now)
        elif alone and 2 * alone >= len(group.runs):
            self._distrust(
                group, f"listings do not show {alone} of its {len(group.runs)} runs", now
            )
        elif listing.size > LARGE and len(group.runs) < FEW:
            self._distrust(group, f"a listing has {listing.size / LARGE:.1f} MiB", now)
        else:
            self._audit(group, now)
        self._plan.done(unit, now)

    def _audit(self, group: Group, now: float) -> None:
        """Now and then, see whether listings show what has ended: they may be misread for good."""
        group.audit_in -= 1
        if group.audit_in <= 0 and group.auditing is None:
            group.audit_in = AUDIT_EVERY
            self._plan.audit(group, now)

    def _claimed(
        self, run: Run, sighting: Sighting, listing: Listing, sent_at: float, now: float
    ) -> None:
        group = run.group
        word = sighting.word
        if group.confirmed or not isinstance(run.kind.meaning(word), RunOutcome):
            group.claims.pop(run.run_id, None)
            self._saw(run, word, sighting.row, sent_at, now)
            return
        # The first such word may be misread: one question about the run alone tells.
        run.seen()
        group.claims[run.run_id] = (word or "", sighting.row)
        group.paths = frozenset(listing.paths)
        if group.confirming is None:
            self._plan.confirm(run, now)

    # --- One run -------------------------------------------------------------------------------

    def described(self, unit: Unit, sighting: Sighting | None, now: float) -> None:
        """A question about one run was answered; `None` where the answer does not have it."""
        run = self._run_of(unit)
        if run is None:
            self._plan.done(unit, now)
            return
        group = run.group
        word = None if sighting is None else sighting.word
        if group.auditing is run:
            self._audited(run, word, now)
        if group.confirming is run:
            self._confirmed(run, word, unit.sent_at, now)
        if sighting is None:
            self._gone(run, "", unit, now)
            return
        self._plan.answered(run, unit.sent_at)
        self._saw(run, sighting.word, sighting.row, unit.sent_at, now)
        self._plan.done(unit, now)

    def _audited(self, run: Run, word: str | None, now: float) -> None:
        group = run.group
        group.auditing = None
        # The listing says that it is not over, or it would be known to be.
        if run.kind.meaning(word) in _NOT_OVER or run.run_id in group.claims:
            group.late = 0
            return
        group.late += 1
        group.audit_in = FIRST_AUDIT
        if group.late >= LATE_AFTER:
            self._distrust(group, "listings do not show that its runs have ended", now)

    def _confirmed(self, run: Run, word: str | None, sent_at: float, now: float) -> None:
        group = run.group
        group.confirming = None
        claimed = group.claims.get(run.run_id)
        if claimed is None:
            return  # the listing itself took it back
        if word != claimed[0]:
            said = word or "nothing"
            self._distrust(group, f"a listing said {claimed[0]}, the run itself {said}", now)
            return
        group.confirmed = True
        claims, group.claims = group.claims, {}
        for run_id, (claim, row) in claims.items():
            other = group.runs.get(run_id)
            if other is not None and other is not run:
                self._saw(other, claim, row, sent_at, now)

    def refused(self, unit: Unit, words: str, now: float) -> None:
        """The server failed or refused the statement: an answer, but not the one we want."""
        run = self._run_of(unit)
        if run is not None:
            if run.group.auditing is run:
                self._audited(run, None, now)
            if run.group.confirming is run:
                self._confirmed(run, None, unit.sent_at, now)
            self._gone(run, words, unit, now)
            return
        if unit.group is not None and unit.group.runs and unit.run is None:
            self._distrust(unit.group, f"the server refuses to list them ({words[:200]})", now)
        self._plan.done(unit, now)

    def witness(self, unit: Unit, now: float) -> None:
        """The server answered something that is about no run."""
        self._plan.answered(None, unit.sent_at)
        self._plan.done(unit, now)

    # --- Neither -------------------------------------------------------------------------------

    def failed(self, unit: Unit, asked: list[Run], reason: str, now: float) -> None:
        """The check brought nothing."""
        failures = 0
        for run in asked:
            if self._is_followed(run):
                ended = run.fails(
                    reason, sent_at=unit.sent_at, now=now, patience=self._policy.patience
                )
                failures = max(failures, run.failures)
                if ended is not None:
                    self._end(run, ended, now)
        wait = backoff(max(1, failures), self._policy, self._random())
        self._plan.done(unit, now, not_before=now + wait)

    def held(self, unit: Unit, until: float, now: float) -> None:
        """The check was refused for its rate: it goes again at *until*, as if never sent."""
        self._plan.done(unit, now, not_before=until)

    def too_large(self, unit: Unit, asked: list[Run], reason: str, now: float) -> None:
        """The answer was refused by our side for its size."""
        if unit.group is not None and unit.run is None:
            self._distrust(unit.group, reason, now)
            self._plan.done(unit, now)
        else:
            self.failed(unit, asked, reason, now)

    # --- Private -------------------------------------------------------------------------------

    def _saw(self, run: Run, word: str | None, row: object, sent_at: float, now: float) -> None:
        ends = isinstance(run.kind.meaning(word), RunOutcome)
        if ends or run.looked < sent_at:
            self._chances.learn(run, sent_at, ended=ends)
        ended = run.take(
            word,
            row,
            sent_at=sent_at,
            wall=self._wall_clock(),
            not_run_grace=self.not_run_grace,
        )
        if ended is not None:
            last = self._plan.runs == 1
            self._chances.ended(run, sent_at, ended.outcome, last=last)
            self._end(run, ended, now)
        elif (usual := self._chances.mark_overdue(run)) is not None:
            self._overdue(run, usual)

    def _gone(self, run: Run, words: str, unit: Unit, now: float) -> None:
        ended = run.is_gone(
            words,
            sent_at=unit.sent_at,
            witnessed_at=self._plan.witnessed_at(run),
            patience=self._policy.patience,
        )
        if ended is None:
            if run.gone >= GONE_AFTER:
                self._plan.want_witness(run, now)
            wait = backoff(run.gone, self._policy, self._random())
            self._plan.done(unit, now, not_before=now + wait)
        else:
            self._end(run, ended, now)
            self._plan.done(unit, now)

    def _end(self, run: Run, ended: Ended, now: float) -> None:
        self._plan.remove(run, now)
        self._ended(run, ended)

    def _distrust(self, group: Group, because: str, now: float) -> None:
        if not group.alone_because:
            _log.warning(
                "job %r: %s; each of its runs is checked alone from now on", group.job, because
            )
        self._plan.ask_all_alone(group, because, now)

    def _run_of(self, unit: Unit) -> Run | None:
        run = unit.run
        return run if run is not None and self._is_followed(run) else None

    @staticmethod
    def _is_followed(run: Run) -> bool:
        return run.group.runs.get(run.run_id) is run
