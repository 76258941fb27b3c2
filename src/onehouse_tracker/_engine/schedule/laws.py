"""
What earlier runs say about how long requests take, and how far that can be trusted tonight.

Bookkeeping only: no clock, no I/O, no tasks.  Ages and durations are seconds; what is remembered
is the natural logarithm of durations, because runs differ by factors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from onehouse_tracker._engine.schedule.fit import Fit
from onehouse_tracker._engine.schedule.law import (
    LIKE_OTHERS,
    OUTLIER_SPREAD,
    ROOT_HALF,
    TINY,
    UNLIKE,
    Law,
)
from onehouse_tracker._engine.schedule.shift import Shift
from onehouse_tracker.history._records import (
    MOST_NAMES,
    SHORTEST,
    Lesson,
    Record,
    common_variance,
    shrunk,
    taught,
)

__all__ = ["Laws", "Pending"]

FORGETTING = 0.998
HEAD_START = 1.0
MOST_EVIDENCE = 3.0
"""How the two forecasts compete: see `Laws.learn`."""

VAGUE = 100.0
"""A run that ended between two polls teaches nothing if the later one came at so many times the
age, and after so many seconds: after an outage nobody knows how long it took."""

OVERDUE = 0.01
"""Who runs for longer than all but this share of runs is overdue."""

UNUSUAL = 0.05
_MOST_SURPRISES = 10
"""What ends sooner, or later, than all but this share surprises; so many are remembered."""

_MOST_EXPONENT = 500.0

_CERTAIN = 0.999
_FEW = 10
_MOST_PENDING = 1000
_OVER_AGAIN = 0.1


class Pending(Protocol):
    """A request, or a run, that has not ended.  Times are loop times."""

    law: Law | None
    """How long it takes by what earlier runs taught."""

    born: float
    """When it began."""

    looked: float
    """When it was last seen pending; before that, when it began."""

    overdue: bool
    """Whether it has been running for longer than nearly all earlier runs of the same."""


class Laws:
    """
    The forecasts of one tracker from what earlier runs taught.

    Two things are learned tonight: the *shift* that all runs have in common, on a grid; and
    which of two forecasts is right, this one or that of `Durations`, which only knows tonight.
    For each poll both give the chance of what was seen; the logarithms are summed, older ones
    count less, and the chance that is used is the mixture weighted by the sums.
    """

    __slots__ = (
        "_common",
        "_evidence",
        "_fit",
        "_followed",
        "_laws",
        "_learned",
        "_lesson",
        "_overall",
        "_overdue",
        "_pending",
        "_records",
        "_settled",
        "_surprises",
        "_taught",
        "_tonight",
        "certain",
        "trust",
    )

    def __init__(
        self,
        records: Mapping[str, Record] | None = None,
        *,
        lesson: Callable[[Lesson], object] | None = None,
    ) -> None:
        # There may be 100,000 of them: what is learned lies over them, and nothing is copied.
        self._records = records or {}
        self._learned: dict[str, Record] = {}
        self._lesson = lesson
        self._evidence = HEAD_START
        self.trust = _logistic(HEAD_START)
        """The weight of earlier runs in the chance that is used, 0 to 1."""
        self.certain = False
        """Whether tonight's own forecast does not count any more."""
        self._begin_night()
        self._laws: dict[str, Law] = {}
        self._pending: list[Lesson] = []
        self._settled = 0
        self._surprises = 0
        """How many more of those that succeeded tonight took an unusual time than a usual one."""
        self._look_over()

    @property
    def common(self) -> float:
        """The variance that names have in common."""
        return self._common

    def teach(self, names: Iterable[str], least: float, most: float) -> None:
        """A run of these names took between so many seconds."""
        names = tuple(names)
        if not names or most > VAGUE * max(least, 1.0):
            return
        self._be_surprised(names, least, most)
        lesson = Lesson(names, least, most)
        if self._lesson is not None:
            self._lesson(lesson)
        self._pending.append(lesson)
        if len(self._pending) >= _MOST_PENDING:
            self.settle()

    def _be_surprised(self, names: Iterable[str], least: float, most: float) -> None:
        law = self.law(*names)
        if law is None or not law.is_known:
            return
        tonight = self._tonight
        was_late = law.survival(least, tonight.mean, tonight.variance) < UNUSUAL
        was_early = law.survival(most, tonight.mean, tonight.variance) > 1.0 - UNUSUAL
        surprises = self._surprises + (1 if was_late or was_early else -1)
        self._surprises = min(_MOST_SURPRISES, max(-_MOST_SURPRISES, surprises))

    def settle(self) -> None:
        """
        Let what was taught count from now on, because nothing is tracked.

        Not before: what ends first of many is what takes the shortest time, and would let all
        others seem overdue.
        """
        for lesson in self._pending:
            for name in lesson.names:
                known = self._record(name)
                if known is not None or len(self._records) + len(self._learned) < MOST_NAMES:
                    self._learned[name] = taught(known, lesson.seconds, self._common)
                    self._laws.pop(name, None)
                    self._taught.add(name)
        self._settled += len(self._pending)
        self._pending.clear()
        if self._settled > _OVER_AGAIN * len(self._records):
            self._look_over()

    def _begin_night(self) -> None:
        self._taught: set[str] = set()
        self._followed = self._overdue = 0
        self._fit = Fit()
        self._tonight = Shift()

    def _look_over(self) -> None:
        self._settled = 0
        self._laws.clear()
        if self._learned:
            self._records = {**self._records, **self._learned}
            self._learned = {}
        self._common = common_variance(self._records.values())
        self._overall = _overall(self._records.values(), self._common)

    def _record(self, name: str) -> Record | None:
        return self._learned.get(name) or self._records.get(name)

    @property
    def shift(self) -> float:
        """The logarithm of how much longer all runs take tonight."""
        return self._tonight.mean

    @property
    def shift_variance(self) -> float:
        """How far it is off, squared, in the mean."""
        return self._tonight.variance

    def law(self, *names: str) -> Law | None:
        """The law of the first of *names* that is known; else that over all names."""
        for name in names:
            law = self._law_of(name)
            if law is not None:
                return law
        return self._overall if names else None

    def _law_of(self, name: str) -> Law | None:
        law = self._laws.get(name)
        if law is None and (record := self._record(name)) is not None:
            variance = shrunk(record, self._common)
            law = Law(record.mean, math.sqrt(variance * (1.0 + 1.0 / record.runs)))
            self._laws[name] = law
        return law

    def follow(self, *names: str) -> Law | None:
        """
        The law, as of `law`, of what is followed from now on.

        A name that was taught and comes again begins the next night: what all took longer is in
        what it was taught, and must not count twice.  While all names are others, it is not.
        """
        name = next((name for name in names if self._law_of(name) is not None), None)
        if name in self._taught:
            self._begin_night()
        law = self.law(*names)
        self._followed += law is not None and law.is_known
        return law

    def chance(self, law: Law, since: float, until: float) -> float:
        """The chance to have ended at age *until* for what was pending at age *since*."""
        # `Law.survival` twice, with what both have in common: a poll needs ten of these.
        tonight = self._tonight
        if since <= SHORTEST:
            return 1.0 - law.survival(until, tonight.mean, tonight.variance)
        erfc, log, shift, mean = math.erfc, math.log, tonight.mean, law.mean
        spread = math.sqrt(law.spread * law.spread + tonight.variance)
        # A call of max() takes as long as four multiplications.
        wide = spread if spread > OUTLIER_SPREAD else OUTLIER_SPREAD  # noqa: FURB136
        late = log(since) - mean - shift
        alive = LIKE_OTHERS * erfc(ROOT_HALF * late / spread) + UNLIKE * erfc(
            ROOT_HALF * (late / wide)
        )
        if alive <= TINY:
            return 0.5
        late = log(until if until > SHORTEST else SHORTEST) - mean - shift  # noqa: FURB136
        dead = LIKE_OTHERS * erfc(ROOT_HALF * late / spread) + UNLIKE * erfc(
            ROOT_HALF * (late / wide)
        )
        return 1.0 - dead / alive

    def knows(self, law: Law) -> bool:
        """Whether *law* is that of a name that was seen before, and earlier runs are trusted."""
        return law.is_known and self.trusted

    @property
    def trusted(self) -> bool:
        """Whether tonight's polls do not contradict what earlier runs took."""
        few = UNUSUAL * self._followed
        most_overdue = 2.0 + few + 3.0 * math.sqrt(few)
        return self._surprises <= 1 and self._overdue <= most_overdue and self._fit.is_good

    def mark_overdue(self, pending: Pending) -> float | None:
        """How long *pending* usually takes, if it is overdue and was not before; it is marked."""
        if pending.law is None or pending.overdue:
            return None
        usual = self.usual_if_overdue(pending.law, pending.looked - pending.born)
        pending.overdue = usual is not None
        self._overdue += pending.overdue
        return usual

    def usual_if_overdue(self, law: Law, age: float) -> float | None:
        """
        How long it usually takes, if few run for as long as *age*; else `None`.

        Nothing is said of names that were never seen, or while tonight's ends are surprises.
        That polls find it pending is none: one that hangs alone would never be told.
        """
        if not law.is_known or self._surprises > 1:
            return None
        tonight = self._tonight
        if law.survival(age, tonight.mean, tonight.variance) >= OVERDUE:
            return None
        return math.exp(law.mean + tonight.mean)

    def learn(self, law: Law, other: float, since: float, until: float, *, ended: bool) -> None:
        """A poll at age *until* of what was pending at *since*; *other* is the other forecast."""
        tonight = self._tonight
        alive = law.survival(since, tonight.mean, tonight.variance)
        if alive < OVERDUE:
            return  # one that hangs says nothing about the others
        mine = 1.0 - law.survival(until, tonight.mean, tonight.variance) / alive
        self._fit.learn(mine, ended=ended)
        if ended:
            news = math.log(max(mine, 1e-4)) - math.log(max(other, 1e-4))
        else:
            news = math.log(max(1.0 - mine, 1e-4)) - math.log(max(1.0 - other, 1e-4))
        self._evidence = FORGETTING * self._evidence + min(
            MOST_EVIDENCE, max(-MOST_EVIDENCE, news)
        )
        self.trust = _logistic(self._evidence)
        self.certain = self.trust > _CERTAIN
        tonight.learn(law, since, until, ended=ended)


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value)) if value > -_MOST_EXPONENT else 0.0


def _overall(records: Iterable[Record], common: float) -> Law | None:
    """The law of a name that was never seen."""
    means = [record.mean for record in records]
    if not means:
        return None
    mean = math.fsum(means) / len(means)
    between = math.fsum((value - mean) ** 2 for value in means) / len(means)
    if len(means) < _FEW:
        between += 1.0
    return Law(mean, math.sqrt(between + common), is_known=False)
