"""
How long requests take, as far as past polls tell: the chance that one has ended by now.

Bookkeeping only: no clock, no I/O, no tasks.  Ages and durations are seconds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onehouse_tracker._engine.schedule.law import Law
    from onehouse_tracker._engine.schedule.laws import Laws

__all__ = ["FLOOR", "MOST_LABELS", "Durations", "Factor", "Label"]

PRIOR = 4.0
"""Endings that a factor must have seen, or missed, before it counts for much."""

FLOOR = 0.25
"""Nobody is thought less likely to end than this share of the average, so nobody starves."""

MOST_LABELS = 256
"""Labels beyond so many share one account: a label per request would teach nothing."""

MOST_KNOWN_LABELS = 10_000

OCTAVES = 24
OLDEST = 0.5 * (2.0**OCTAVES - 1)
"""Seconds (97 days) beyond which waiting teaches nothing more."""

_EDGES = (*(0.5 * (2.0**octave - 1) for octave in range(OCTAVES)), math.inf)
_SHORTEST = 0.001


class Factor:
    """
    How many endings there were for each one expected: a correction to what we expected.

    It starts as 1 and moves as evidence grows.
    """

    __slots__ = ("expected", "hits", "value")

    def __init__(self) -> None:
        self.hits = 0.0
        self.expected = 0.0
        self.value = 1.0

    def __repr__(self) -> str:
        return f"<Factor {self.value:.3g}: {self.hits:.3g} of {self.expected:.3g}>"

    def learn(self, hits: float, expected: float) -> None:
        """Add endings seen, and endings that all other factors together led us to expect."""
        self.hits += hits
        self.expected += expected
        self.value = (self.hits + PRIOR) / (self.expected + PRIOR)


_NEUTRAL = Factor()


class Label:
    """What is known about the requests of one label: over all, and at each age."""

    __slots__ = ("at_age", "overall")

    def __init__(self) -> None:
        self.overall = Factor()
        # Most labels see few ages, and there may be as many labels as requests.
        self.at_age = [_NEUTRAL] * OCTAVES

    def learning_at(self, octave: int) -> Factor:
        """The factor of an age, to learn by."""
        factor = self.at_age[octave]
        if factor is _NEUTRAL:
            factor = self.at_age[octave] = Factor()
        return factor


class Durations:
    """
    The rate at which requests end, learned from polls that said PENDING or how it ended.

    One overall rate, times a factor for the age (in octaves), one for the label, one for
    the age within the label, and one for the place in the submission order.  A poll that
    comes late only says that a request ended since the last look; its ending is shared
    out over the ages it may have had, in proportion to what was known before.  What the
    naive average would do, to take the moment of detection for the end, learns our own
    delays and then makes them longer.
    """

    __slots__ = ("_ages", "_ended", "_known", "_labels", "_other", "_places", "_seconds", "rate")

    def __init__(self) -> None:
        # As if one request had ended in half a minute of waiting.
        self._ended = 1.0
        self._seconds = 30.0
        self.rate = self._ended / self._seconds
        """Endings per second of one request, on average."""
        self._ages = tuple(Factor() for _ in range(OCTAVES))
        self._labels: dict[str | None, Label] = {}
        self._known = 0
        self._other: Label | None = None
        self._places: dict[int, Factor] = {}

    def label(self, name: str | None, *, known: bool = False) -> Label:
        """
        The account of a label; those beyond `MOST_LABELS` share one.

        Those that are *known* from earlier runs do not count: they are no labels per request.
        """
        label = self._labels.get(name)
        if label is None:
            if known and self._known < MOST_KNOWN_LABELS:
                self._known += 1
            elif len(self._labels) - self._known >= MOST_LABELS:
                if self._other is None:
                    self._other = Label()
                return self._other
            label = self._labels[name] = Label()
        return label

    def place(self, number: int) -> Factor:
        """The factor of a place in the submission order."""
        place = self._places.get(number)
        if place is None:
            place = self._places[number] = Factor()
        return place

    def chance(self, label: Label, place: Factor, since: float, until: float) -> float:
        """The chance that a request that was pending at age *since* has ended at *until*."""
        wait = until - since
        if wait <= 0.0:
            return 0.0
        ages, own = self._ages, label.at_age
        first, last = _octave(since), _octave(until)
        if first == last:
            weighted = ages[first].value * own[first].value * wait
        else:
            weighted = ages[first].value * own[first].value * (_EDGES[first + 1] - max(since, 0.0))
            for octave in range(first + 1, last):
                weighted += (
                    ages[octave].value * own[octave].value * (_EDGES[octave + 1] - _EDGES[octave])
                )
            weighted += ages[last].value * own[last].value * (until - _EDGES[last])
        weighted *= place.value * label.overall.value
        floor = FLOOR * wait
        return -math.expm1(-self.rate * (max(floor, weighted)))

    def chance_with(
        self,
        laws: Laws | None,
        law: Law | None,
        label: Label,
        place: Factor,
        since: float,
        until: float,
    ) -> float:
        """As `chance`, and as *law* has it: each counts as far as it is trusted tonight."""
        if law is None or laws is None or until <= since:
            return self.chance(label, place, since, until)
        chance = laws.chance(law, since, until)
        if not laws.certain:
            other = self.chance(label, place, since, until)
            chance = other + laws.trust * (chance - other)
        # Nobody falls short of this share of the average.
        floor = self.rate * FLOOR * (until - since)
        return chance if chance >= floor else max(chance, -math.expm1(-floor))

    def learn(
        self, label: Label, place: Factor, since: float, until: float, *, ended: bool
    ) -> None:
        """A request that was pending at age *since* was looked at again at age *until*."""
        since = min(max(since, 0.0), OLDEST)
        until = min(max(until, since + _SHORTEST), OLDEST + _SHORTEST)
        first, last = _octave(since), _octave(until)
        if first == last and not ended:
            self._learn_at_one_age(label, place, first, until - since)
            return
        rate, overall, position = self.rate, label.overall.value, place.value
        steady = rate * overall * position
        octaves = range(first, last + 1)
        seconds = [min(until, _EDGES[o + 1]) - max(since, _EDGES[o]) for o in octaves]
        factors = [(self._ages[o], label.learning_at(o)) for o in octaves]
        if ended:
            rates = [steady * age.value * own.value for age, own in factors]
            hits, seconds = _share_out(seconds, rates)
        else:
            hits = [0.0] * len(seconds)
        unweighted = weighted = 0.0
        for (age, own), hit, waited in zip(factors, hits, seconds, strict=True):
            by_age = waited * age.value
            unweighted += by_age * own.value
            weighted += by_age
            own.learn(hit, steady * by_age)
            age.learn(hit, steady * waited)
        found = sum(hits)
        label.overall.learn(found, rate * position * weighted)
        place.learn(found, rate * overall * unweighted)
        self._count(found, sum(seconds))

    def _learn_at_one_age(self, label: Label, place: Factor, octave: int, waited: float) -> None:
        """The same where nothing ended and all was at one age, as for most polls: no lists."""
        age, own = self._ages[octave], label.learning_at(octave)
        rate, overall, position = self.rate, label.overall.value, place.value
        by_age = waited * age.value
        unweighted = by_age * own.value
        own.learn(0.0, rate * overall * position * by_age)
        age.learn(0.0, rate * overall * position * waited)
        label.overall.learn(0.0, rate * position * by_age)
        place.learn(0.0, rate * overall * unweighted)
        self._count(0.0, waited)

    def _count(self, ended: float, seconds: float) -> None:
        self._ended += ended
        self._seconds += seconds
        self.rate = self._ended / self._seconds


def _octave(age: float) -> int:
    # Octave k is from (2**k - 1) / 2 to (2**(k+1) - 1) / 2 seconds: 0, 0.5, 1.5, 3.5, ...
    if age <= 0.0:
        return 0
    if age >= OLDEST:
        return OCTAVES - 1
    return int(1.0 + 2.0 * age).bit_length() - 1


def _share_out(seconds: list[float], rates: list[float]) -> tuple[list[float], list[float]]:
    """
    Share one ending out over the stretches of time it may have come in.

    Returns for each stretch the chance that it came there, and the seconds of it during
    which the request was still pending, on average.
    """
    expected = [rate * length for rate, length in zip(rates, seconds, strict=True)]
    whole = -math.expm1(-sum(expected))
    reached = 1.0  # chance to be pending when this stretch begins, knowing nothing else
    later = 1.0  # chance that it ended in this stretch or a later one, knowing that it ended
    hits, pending = [], []
    for length, hazard in zip(seconds, expected, strict=True):
        hit = min(later, reached * -math.expm1(-hazard) / whole) if whole > 0 else later
        later -= hit
        reached *= math.exp(-hazard)
        hits.append(hit)
        pending.append(length * (later + hit * _mean_share(hazard)))
    return hits, pending


def _mean_share(hazard: float) -> float:
    """The share of a stretch that passes before an ending in it, on average."""
    if hazard < 1e-3:  # noqa: PLR2004 - half, as far as a float can tell
        return 0.5
    if hazard > 50.0:  # noqa: PLR2004 - the other term has vanished
        return 1.0 / hazard
    return 1.0 / hazard - 1.0 / math.expm1(hazard)
