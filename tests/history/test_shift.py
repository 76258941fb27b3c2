"""
How much longer all runs take tonight.
"""

from __future__ import annotations

import math
from random import Random

import pytest

from onehouse_tracker._engine.schedule.law import Law
from onehouse_tracker._engine.schedule.shift import Shift


def night(shift: Shift, true: float, *, runs: int, spread: float, seed: int) -> list[float]:
    """Poll so many runs, each about twenty times until it has ended; what is thought then."""
    random = Random(seed)
    thought = []
    for _ in range(runs):
        law = Law(random.gauss(math.log(180), 1.0), spread)
        took = math.exp(law.mean + true + random.gauss(0.0, spread))
        since = 0.0
        ended = False
        while not ended:
            until = since + random.uniform(0.02, 0.1) * math.exp(law.mean)
            ended = until >= took
            shift.learn(law, since, until, ended=ended)
            since = until
        thought.append(shift.mean)
    return thought


@pytest.mark.parametrize("true", [-0.7, -0.1, 0.0, 0.3, 0.9])
@pytest.mark.parametrize("spread", [0.1, 0.3, 0.6])
def test_shift_is_found(true: float, spread: float) -> None:
    """
    As far as chance and the grid allow, and it says how far it may be off.
    """
    shift = Shift()
    thought = night(shift, true, runs=300, spread=spread, seed=1)

    assert thought[-1] == pytest.approx(true, abs=0.1 + 3 * math.sqrt(shift.variance))
    assert 0.0 <= shift.variance < 0.02


@pytest.mark.parametrize("seed", range(10))
def test_what_is_out_of_the_question_is_left_out_without_loss(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nothing is thought that would not be if every poll were held against every shift.
    """
    true = Random(seed).uniform(-1.0, 1.0)
    thought = night(Shift(), true, runs=100, spread=0.3, seed=seed)
    monkeypatch.setattr("onehouse_tracker._engine.schedule.shift._OUT_OF_THE_QUESTION", math.inf)
    assert thought == pytest.approx(
        night(Shift(), true, runs=100, spread=0.3, seed=seed), abs=1e-6
    )


def test_shift_that_changes_is_noticed() -> None:
    """
    What was out of the question for a hundred runs is found after as many of another kind.
    """
    shift = Shift()
    night(shift, 0.0, runs=30, spread=0.3, seed=1)
    thought = night(shift, 0.7, runs=60, spread=0.3, seed=2)
    assert thought[-1] > 0.3
