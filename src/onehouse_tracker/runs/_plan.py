"""
Which runs are checked next, and with which statement.

No clock, no I/O, no tasks; callers pass the time in.
"""

from __future__ import annotations

import math
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from onehouse_tracker.runs._run import Group, Unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from onehouse_tracker.runs._chances import Chances
    from onehouse_tracker.runs._run import Run

__all__ = ["Plan"]

LEAST_GAP = 2.0
"""Seconds between two checks of the same runs, at least."""

_TICK = 0.001
_STALE = 0.05
_WITNESS_GAP = 60.0
_MANY = 2
_CROWD = 4


class Plan:
    """
    All groups, ordered by when they may be checked, and then by what a check is worth.

    A check is worth the sum, over its runs, of (chance that it has ended)
    x (seconds since it was looked at).  No run is in two checks of one kind at one time.

    Args:
        gap: Seconds between two checks of a run of a certain age.

        chances: What was learned about how long runs take.
    """

    def __init__(self, gap: Callable[[float], float], chances: Chances) -> None:
        self._gap = gap
        self._chances = chances
        self._groups: dict[tuple[str, str], Group] = {}
        self._waiting: list[tuple[float, int, Unit]] = []
        self._due: dict[Unit, None] = {}
        self._ticket = 0
        self._witnesses: dict[str, Unit] = {}
        self._latest: tuple[Run | None, float] = (None, -math.inf)
        self._before: tuple[Run | None, float] = (None, -math.inf)
        self.runs = 0
        """Runs that are followed."""

    def find(self, kind: str, job: str, run_id: str) -> Run | None:
        """The run, if it is followed."""
        group = self._groups.get((kind, job))
        return None if group is None else group.runs.get(run_id)

    # --- Which runs there are --------------------------------------------------------------

    def add(self, run: Run, now: float, *, first: float = 0.0) -> None:
        """Follow a run, not checked before *first* seconds from now."""
        key = (run.kind.name, run.job)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(run.kind, run.job)
        run.group = group
        self._chances.know(run)
        run.unit = Unit(run.kind, group, run)
        run.unit.not_before = now + first
        group.runs[run.run_id] = run
        self.runs += 1
        if group.alone_because:
            run.alone = True
        else:
            group.listed[run.run_id] = run
        self.arrange(group, now)

    def remove(self, run: Run, now: float) -> None:
        """Forget a run."""
        group = run.group
        if group.runs.pop(run.run_id, None) is None:
            return
        self.runs -= 1
        group.listed.pop(run.run_id, None)
        group.claims.pop(run.run_id, None)
        if group.confirming is run:
            group.confirming = None
        if group.auditing is run:
            group.auditing = None
        self._stop(run.unit)
        self.arrange(group, now)
        if not group.runs and not (group.confirmed or group.alone_because):
            del self._groups[group.kind.name, group.job]

    def clear(self) -> None:
        """Forget all runs; what is known about listings stays."""
        for group in self._groups.values():
            self._stop(group.listing)
            group.listing.busy = False  # its answer will not come any more
            for run in group.runs.values():
                self._stop(run.unit)
            group.runs, group.listed, group.claims = {}, {}, {}
            group.confirming = group.auditing = None
        for unit in self._witnesses.values():
            self._stop(unit)
            unit.busy = False
        self.runs = 0

    def ask_alone(self, run: Run, now: float) -> None:
        """From now on this run is checked alone."""
        group = run.group
        run.alone = True
        group.listed.pop(run.run_id, None)
        group.claims.pop(run.run_id, None)
        self.arrange(group, now)

    def ask_all_alone(self, group: Group, because: str, now: float) -> None:
        """From now on every run of this job is checked alone."""
        group.alone_because = group.alone_because or because
        for run in group.runs.values():
            run.alone = True
        group.listed, group.claims = {}, {}
        group.confirming = group.auditing = None
        self.arrange(group, now)

    def confirm(self, run: Run, now: float) -> None:
        """Check this run alone at once: a listing says that it has ended."""
        run.group.confirming = run
        self._alone_at_once(run, now)

    def audit(self, group: Group, now: float) -> None:
        """Check the run alone at once that has most probably ended, to compare."""
        chances = self._chances
        run = max(group.listed.values(), key=lambda each: chances.of(each, now), default=None)
        if run is not None and run is not group.confirming:
            group.auditing = run
            self._alone_at_once(run, now)

    def _alone_at_once(self, run: Run, now: float) -> None:
        run.unit.sent_at = run.unit.not_before = -math.inf
        self.arrange(run.group, now)

    def hurry(self, run: Run, now: float) -> None:
        """Check this run, alone or with the others of its job, as soon as there is a slot."""
        unit = run.group.listing if run.group.listing.ticket else run.unit
        unit.sent_at = unit.not_before = -math.inf
        if unit.ticket:
            self._wait(unit, now)

    def arrange(self, group: Group, now: float) -> None:
        """Have each run checked in the right way: together, or alone."""
        together = len(group.listed) >= _MANY
        if together and not group.listing.ticket and not group.listing.busy:
            listing = group.listing
            for run in group.listed.values():
                if run is group.confirming or run is group.auditing:
                    continue
                # What was just checked alone need not be checked again at once.
                listing.sent_at = max(listing.sent_at, run.unit.sent_at)
                self._stop(run.unit)
            self._wait(listing, now)
        elif together:
            self._wait(group.listing, now)
        else:
            self._stop(group.listing)
        for run in group.runs.values() if not together else self._alone_in(group):
            if not run.unit.ticket:
                run.unit.sent_at = max(
                    run.unit.sent_at,
                    -math.inf if self._is_alone(run) else group.listing.sent_at,
                )
                self._wait(run.unit, now)

    @staticmethod
    def _alone_in(group: Group) -> list[Run]:
        alone = [run for run in group.runs.values() if run.alone]
        compared = dict.fromkeys((group.confirming, group.auditing))  # in order, and each once
        return alone + [run for run in compared if run is not None and not run.alone]

    @staticmethod
    def _is_alone(run: Run) -> bool:
        return run.alone or run is run.group.confirming or run is run.group.auditing

    # --- When, and which ----------------------------------------------------------------------

    def wanted_at(self, now: float) -> float:
        """When the next check may be sent; infinity for never."""
        if self._due:
            return now
        self._prune()
        return self._waiting[0][0] if self._waiting else math.inf

    def value(self, now: float) -> float:
        """What the check is worth that would go now."""
        best = self._best(now)
        return 0.0 if best is None else best.score

    @property
    def crowded(self) -> bool:
        """Whether many other checks are due: then a slot is worth more than a second."""
        return len(self._due) >= _CROWD

    def take(self, now: float) -> Unit | None:
        """The unit that is checked now; it is busy until `done`."""
        unit = self._best(now)
        if unit is None:
            return None
        del self._due[unit]
        unit.ticket = 0
        unit.busy = True
        unit.sent_at = now
        for run in unit.members:
            run.checks += 1
        return unit

    def done(self, unit: Unit, now: float, *, not_before: float = -math.inf) -> None:
        """Its check is over; it is not checked again before *not_before*."""
        unit.busy = False
        unit.not_before = not_before
        if unit.group is not None:
            self.arrange(unit.group, now)

    def _best(self, now: float) -> Unit | None:
        waiting = self._waiting
        while waiting and waiting[0][0] <= now + _TICK:
            _, ticket, unit = heappop(waiting)
            if ticket == unit.ticket:
                unit.score_until = -math.inf
                self._due[unit] = None
        best: Unit | None = None
        for unit in self._due:
            if unit.score_until <= now:
                self._score(unit, now)
            if best is None or unit.score > best.score:
                best = unit
        return best

    def _score(self, unit: Unit, now: float) -> None:
        run, group = unit.run, unit.group
        if group is None or (run is not None and run in {group.confirming, group.auditing}):
            unit.score, unit.score_until = math.inf, math.inf
            return
        unit.score = sum(self._chances.of(run, now) * (now - run.looked) for run in unit.members)
        waited = min((now - run.looked for run in unit.members), default=1.0)
        unit.score_until = now + max(_STALE, _STALE * waited)

    def _wait(self, unit: Unit, now: float) -> None:
        """Have *unit* checked when it may be."""
        if unit.busy or unit in self._due:
            return
        youngest = max((run.born for run in unit.members), default=-math.inf)
        gap = max(LEAST_GAP, self._gap(max(0.0, now - youngest)))
        self._push(unit, max(unit.sent_at + gap, unit.not_before))

    def _push(self, unit: Unit, due: float) -> None:
        self._ticket += 1
        unit.ticket = self._ticket
        heappush(self._waiting, (due, self._ticket, unit))

    def _stop(self, unit: Unit) -> None:
        unit.ticket = 0
        self._due.pop(unit, None)

    def _prune(self) -> None:
        while self._waiting and self._waiting[0][1] != self._waiting[0][2].ticket:
            heappop(self._waiting)

    # --- Witnesses ------------------------------------------------------------------------------

    def answered(self, run: Run | None, sent_at: float) -> None:
        """A question about this run succeeded; or the witness did."""
        if self._latest[0] is run:
            self._latest = (run, max(sent_at, self._latest[1]))
        else:
            self._before, self._latest = self._latest, (run, sent_at)

    def witnessed_at(self, run: Run) -> float:
        """When the last question was sent that succeeded and was not about *run*."""
        return self._before[1] if self._latest[0] is run else self._latest[1]

    def want_witness(self, run: Run, now: float) -> None:
        """Ask whether the server answers at all, if nothing else has shown that lately."""
        if run.kind.witness is None or self.witnessed_at(run) >= run.gone_since:
            return
        unit = self._witnesses.get(run.kind.name)
        if unit is None:
            unit = self._witnesses[run.kind.name] = Unit(run.kind)
        if not unit.busy and not unit.ticket:
            self._push(unit, max(now, unit.sent_at + _WITNESS_GAP))
