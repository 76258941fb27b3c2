"""
What was tried in place of the schedule we have, as small changes to it, so that it can be run.

`python benchmarks/detection_delay.py --ideas` follows the same workloads with each of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias
from unittest import mock

from onehouse_tracker import PollPolicy
from onehouse_tracker._engine.schedule import durations
from onehouse_tracker._engine.schedule.cells import STALE, Cells
from onehouse_tracker._engine.schedule.durations import Durations, Factor, Label
from onehouse_tracker._engine.schedule.laws import Laws
from onehouse_tracker._engine.schedule.ranking import Ranking

__all__ = ["IDEAS", "Idea"]

Patches: TypeAlias = Mapping[str, Any]
"""What to put in the place of what, by the full name inside the package."""


@dataclass(frozen=True, kw_only=True)
class Idea:
    """One change, and what speaks against it."""

    against: str
    """Why it was not taken, for the table."""

    policy: PollPolicy = field(default_factory=PollPolicy)
    patches: Patches = field(default_factory=dict)

    def applied(self) -> AbstractContextManager[object]:
        """Change the package while the context is open."""
        if not self.patches:
            return nullcontext()
        stack = ExitStack()
        for name, value in self.patches.items():
            stack.enter_context(mock.patch(f"onehouse_tracker.{name}", value))
        return stack


class _PresentAge(Durations):
    """Takes the rate at the age of now for the whole of the wait."""

    def chance(self, label: Label, place: Factor, since: float, until: float) -> float:
        octave = durations._octave(until)  # noqa: SLF001
        weight = self._ages[octave].value * label.at_age[octave].value
        weight *= place.value * label.overall.value
        wait = max(0.0, until - since)
        return -math.expm1(-self.rate * wait * max(durations.FLOOR, weight))


class _Fixed(Factor):
    """Learns nothing."""

    def learn(self, hits: float, expected: float) -> None:
        pass


class _NoAgeInLabel(Label):
    """Knows how often requests of its label end, not when."""

    def __init__(self) -> None:
        super().__init__()
        self.at_age = [_Fixed() for _ in range(durations.OCTAVES)]


class _OneLabel(Durations):
    """Takes all labels for one."""

    def label(self, name: str | None, *, known: bool = False) -> Label:
        del name
        return super().label(None, known=known)


class _OnePlace(Durations):
    """Does not care in which order requests were submitted."""

    def place(self, number: int) -> Factor:
        del number
        return super().place(0)


class _Forgetful(Factor):
    """Forgets 0.3 % of its evidence with each ending."""

    def learn(self, hits: float, expected: float) -> None:
        kept = 0.997**hits
        self.hits *= kept
        self.expected *= kept
        super().learn(hits, expected)


class _Power(Durations):
    """Weighs the wait with another power than 1."""

    def __init__(self, power: float) -> None:
        super().__init__()
        self._power = power - 1.0

    def chance(self, label: Label, place: Factor, since: float, until: float) -> float:
        chance = super().chance(label, place, since, until)
        wait = max(until - since, 1e-6)
        return float(chance * wait**self._power)


class _Equal(Durations):
    """Assumes that every request is equally likely to have ended."""

    def chance(self, label: Label, place: Factor, since: float, until: float) -> float:  # noqa: ARG002
        return 1.0


class _EarlyInTurn(Ranking):
    """Spends extra polls on the request that waited longest."""

    def __init__(self, laws: Laws | None = None, *, stale: float = STALE) -> None:
        super().__init__(laws, stale=stale)
        self.early = Cells(_Equal(), stale=stale)


_HALVES = 2 * durations.OCTAVES
_HALF_EDGES = (*(0.5 * (2.0 ** (half / 2) - 1) for half in range(_HALVES)), math.inf)


def _half_octave(age: float) -> int:
    if age <= 0.0:
        return 0
    half = min(int(2.0 * math.log2(1.0 + 2.0 * age)), _HALVES - 1)
    # Rounding must not put an age beside its edges.
    if age < _HALF_EDGES[half]:
        return half - 1
    return half + 1 if age >= _HALF_EDGES[half + 1] else half


_LEARNS = "_engine.schedule.ranking.Durations"

IDEAS: dict[str, Idea] = {
    "labels do not count": Idea(
        against="what a label tells is worth most of all, where there are labels",
        patches={_LEARNS: _OneLabel},
    ),
    "no factor for the age within a label": Idea(
        against="labels end at ages of their own",
        patches={"_engine.schedule.durations.Label": _NoAgeInLabel},
    ),
    "places do not count": Idea(
        against="behind a queue the order of submission tells everything",
        patches={_LEARNS: _OnePlace},
    ),
    "chance from the present age only": Idea(
        against="a poll after a long wait covers many ages", patches={_LEARNS: _PresentAge}
    ),
    "half octaves of age": Idea(
        against="twice the statistics, each with half the evidence",
        patches={
            "_engine.schedule.durations.OCTAVES": _HALVES,
            "_engine.schedule.durations._EDGES": _HALF_EDGES,
            "_engine.schedule.durations._octave": _half_octave,
        },
    ),
    "forgetting 0.3 % with each ending": Idea(
        against="one more number to explain",
        patches={"_engine.schedule.durations.Factor": _Forgetful},
    ),
    "a prior of 2 endings instead of 4": Idea(
        against="a few early surprises move it too much",
        patches={"_engine.schedule.durations.PRIOR": 2.0},
    ),
    "floor 0.1 instead of 0.25": Idea(
        against="requests that seldom end soon wait much longer",
        patches={"_engine.schedule.durations.FLOOR": 0.1},
    ),
    "chance x wait^1.5": Idea(
        against="closer to polling in turn", patches={_LEARNS: partial(_Power, 1.5)}
    ),
    "chance x wait^0.7": Idea(
        against="requests that seldom end soon wait longer",
        patches={_LEARNS: partial(_Power, 0.7)},
    ),
    "no limit on the longest wait": Idea(
        against="the longest wait grows", patches={"_engine.schedule.schedule.ROUNDS": math.inf}
    ),
    "1.5 rounds instead of 1.9": Idea(
        against="closer to polling in turn", patches={"_engine.schedule.schedule.ROUNDS": 1.5}
    ),
    "extra polls in turn": Idea(
        against="an idle budget is worth more where the chance is",
        patches={"_engine.schedule.schedule.Ranking": _EarlyInTurn},
    ),
    "`idle_share` 0.25": Idea(
        against="leaves more of an idle budget to others, if that is what you want",
        policy=PollPolicy(idle_share=0.25),
    ),
}
