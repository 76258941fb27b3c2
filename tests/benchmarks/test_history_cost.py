"""
The judge of `benchmarks/history_cost.py`: it must see what is too slow or too large.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.delay import nights
from benchmarks.history_cost import CASES, WORLD, fill, go_through, learned, memory, missed
from onehouse_tracker._engine.schedule.laws import Laws
from onehouse_tracker.history import History

GOOD = {"forecast_us": 30.0, "without_us": 27.0}
SMALL = {"memory_mb": 31.0, "all_used_mb": 41.0}


def test_each_figure_can_be_missed() -> None:
    """
    A bound that nothing can miss bounds nothing.
    """
    assert missed({"a": GOOD, "b": GOOD}, SMALL) == []
    assert missed({"a": GOOD, "b": GOOD | {"forecast_us": 40.1}}, SMALL) == [
        "b: forecast_us is 40.1, not 40 at most"
    ]
    assert missed({"a": GOOD}, SMALL | {"memory_mb": 50.1}) == [
        "memory_mb is 50.1, not 50 at most"
    ]
    assert missed({"a": GOOD}, SMALL | {"all_used_mb": 50.1}) == [
        "all_used_mb is 50.1, not 50 at most"
    ]


def test_what_is_measured_is_a_night_with_forecasts() -> None:
    """
    Every job ends in it, and earlier nights are trusted: otherwise no forecast is measured.
    """
    case = nights.CASES[CASES[0]]
    jobs, laws = nights.night(case, WORLD, nights.LEARNED + 1), Laws(learned(case))

    _, polls = go_through(jobs, laws)

    assert polls > 10 * len(jobs)
    assert laws.trust > 0.9


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_file_has_as_many_names_as_asked_for(tmp_path: Path) -> None:
    """
    And reading them takes memory.
    """
    fill(tmp_path / "history.db", 20_000)

    assert len(History(tmp_path / "history.db").remembered()) == 20_000
    figures = memory(20_000)
    assert 2 < figures["memory_mb"] < figures["all_used_mb"] < 20
