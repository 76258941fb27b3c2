"""
How long requests and runs will still take, by what earlier runs took.

Pure functions of the forecast and of ages: nothing here is remembered, and no poll comes here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from onehouse_tracker.history._records import SHORTEST
from onehouse_tracker.results import TimeLeft

if TYPE_CHECKING:
    from onehouse_tracker._engine.schedule.law import Law
    from onehouse_tracker._engine.schedule.laws import Laws, Pending

__all__ = ["Running", "left_of", "left_of_all", "running_now"]

_LOW, _MEDIAN, _HIGH = 0.1, 0.5, 0.9
_STEPS = 12
_DOUBLINGS = 64
_LATEST, _OTHERS = 80, 40
"""Of many, those that are expected last count each for itself; a few stand for all others."""
_OUTLIERS, _OUTLIER_SPREAD = 0.01, 0.8
"""Fewer and milder ones than where polls are decided on: there it is safe to assume many, while
of 500 requests they would make the last seem to end hours after all others."""

_TINY = 1e-12
_ROOT_HALF = math.sqrt(0.5)
_TENTH = 1.2816


class Running(NamedTuple):
    """One request or run that was pending when it was last looked at.  Ages are seconds."""

    laws: Laws
    """Those that *law* is one of."""

    law: Law | None
    seen: float
    """Its age when it was last seen pending."""

    age: float
    """Its age now: it may have ended meanwhile."""


def running_now(laws: Laws, law: Law | None, pending: Pending, now: float) -> Running:
    """What is *pending* and takes as long as *law* says, at the time *now*."""
    return Running(laws, law, pending.looked - pending.born, now - pending.born)


def left_of(running: Running) -> TimeLeft | None:
    """How long it will still take; `None` where nothing is known of its name."""
    if running.law is None or not running.laws.knows(running.law):
        return None
    return _time_left([running])


def left_of_all(pending: Sequence[Running]) -> TimeLeft | None:
    """
    How long it will take until the last of *pending* has ended.

    A name that was never seen counts with the law over all names; `None` where one has no
    name at all, where no name was ever seen, or where earlier runs are not trusted.
    """
    known = False
    for laws, law, *_ in pending:
        if law is None or not laws.trusted:
            return None
        known = known or laws.knows(law)
    if not known:
        return None
    if len(pending) <= _LATEST + _OTHERS:
        return _time_left(pending)
    pending = sorted(pending, key=_late_end, reverse=True)
    latest, others = pending[:_LATEST], pending[_LATEST:]
    weight = len(others) / _OTHERS
    few = [others[int((place + 0.5) * weight)] for place in range(_OTHERS)]
    return _time_left(latest, few, weight)


def _survival(laws: Laws, law: Law, age: float) -> float:
    """The chance to run longer than *age* tonight."""
    if age <= SHORTEST:
        return 1.0
    late = _ROOT_HALF * (math.log(age) - law.mean - laws.shift)
    spread = math.sqrt(law.spread * law.spread + laws.shift_variance)
    usual, outlying = late / spread, late / max(spread, _OUTLIER_SPREAD)
    return 0.5 * ((1.0 - _OUTLIERS) * math.erfc(usual) + _OUTLIERS * math.erfc(outlying))


def _late_end(running: Running) -> float:
    """About how long it may still take; what is late already may take as long again."""
    laws, law = running.laws, running.law
    assert law is not None  # noqa: S101 - checked by the caller
    end = math.exp(law.mean + laws.shift + _TENTH * law.spread)
    return end - running.age if end > running.age else running.age


def _time_left(
    pending: Sequence[Running], others: Sequence[Running] = (), weight: float = 1.0
) -> TimeLeft | None:
    """
    How long until all have ended, as if they knew nothing of each other.

    Each of *others* stands for *weight* of its kind.
    """
    alive: list[tuple[Laws, Law, float, float]] = []
    for laws, law, seen, age in (*pending, *others):
        assert law is not None  # noqa: S101 - checked by the caller
        survival = _survival(laws, law, seen)
        if survival < _TINY:
            return None  # no earlier run says anything about one that takes so long
        alive.append((laws, law, survival, age))

    def all_ended(seconds: float) -> float:
        chance, of_others = 1.0, 1.0
        for place, (laws, law, survival, age) in enumerate(alive):
            ended = 1.0 - min(1.0, _survival(laws, law, age + seconds) / survival)
            if place < len(pending):
                chance *= ended
            else:
                of_others *= ended
        return chance * math.pow(of_others, weight)

    start = max(1.0, min(one.age for one in pending))
    low = _when(all_ended, _LOW, 0.0, start)
    median = _when(all_ended, _MEDIAN, low, start)
    return TimeLeft(median=median, low=low, high=_when(all_ended, _HIGH, median, start))


def _when(chance: Callable[[float], float], least: float, after: float, step: float) -> float:
    """When *chance* reaches *least*, not before *after*, to a few thousandths."""
    if chance(after) >= least:
        return after
    until = after + step
    for _ in range(_DOUBLINGS):
        if chance(until) >= least:
            break
        after, until = until, 2.0 * until
    for _ in range(_STEPS):
        middle = 0.5 * (after + until)
        if chance(middle) >= least:
            until = middle
        else:
            after = middle
    return 0.5 * (after + until)
