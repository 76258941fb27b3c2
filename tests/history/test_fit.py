"""
Whether what polls find contradicts a forecast: plain numbers, no loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehouse_tracker._engine.schedule.fit import Fit


def _of(forecast: Sequence[float], truth: Sequence[float], seed: int) -> Fit:
    """Many polls, each with one of these chances, by forecast and in truth."""
    fit, luck = Fit(), Random(seed)
    for _ in range(600):
        place = luck.randrange(len(forecast))
        fit.learn(forecast[place], ended=luck.random() < truth[place])
    return fit


@pytest.mark.parametrize("seed", range(20))
def test_a_forecast_that_is_right_is_never_doubted(seed: int) -> None:
    """
    At no moment of several hundred polls, and though it is a third off.
    """
    fit, luck = Fit(), Random(seed)
    for _ in range(600):
        chance = luck.random() ** 3
        fit.learn(chance, ended=luck.random() < chance * luck.choice([0.75, 1.0, 1.3]))
        assert fit.is_good


@pytest.mark.parametrize(
    ("forecast", "truth"),
    [
        ([0.01, 0.01], [0.1, 0.1]),
        ([0.3, 0.3], [0.05, 0.05]),
        ([0.002, 0.3], [0.15, 0.15]),
        ([0.02, 0.6], [0.6, 0.02]),
    ],
    ids=["far more end", "far fewer end", "the unlikely ones end", "the wrong ones end"],
)
def test_a_wrong_forecast_is_noticed(forecast: list[float], truth: list[float]) -> None:
    """
    By how many end, and by which: in the last two cases as many end as were expected to.
    """
    assert all(_of(forecast, forecast, seed).is_good for seed in range(5))
    assert not any(_of(forecast, truth, seed).is_good for seed in range(5))


def test_what_has_not_ended_yet_is_no_contradiction() -> None:
    """
    Two hundred of a minute each: nobody ends in the first half, and few are expected to.
    """
    fit = Fit()
    for _ in range(600):
        fit.learn(0.004, ended=False)
    assert fit.is_good

    for _ in range(600):
        fit.learn(0.1, ended=False)
    assert not fit.is_good


@given(polls=st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=200))
def test_any_polls_can_be_learned(polls: list[tuple[float, bool]]) -> None:
    """
    Certainties too, of which the opposite came.
    """
    fit = Fit()
    for chance, ended in polls:
        fit.learn(chance, ended=ended)
    assert fit.is_good in {True, False}
