"""
Three numbers for each name: what they are after many runs, and what one odd run does to them.
"""

from __future__ import annotations

import math
import statistics
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehouse_tracker.history._records import (
    MOST_RUNS,
    Lesson,
    Record,
    common_variance,
    shrunk,
    taught,
)

COMMON = 0.04


def _after(seconds: list[float]) -> Record:
    record = None
    for value in seconds:
        record = taught(record, value, COMMON)
    assert record is not None
    return record


def test_mean_and_variance_are_those_of_the_logarithms() -> None:
    """
    Runs of 100 s, give or take a fifth.
    """
    random = Random(1)
    records = [
        _after([100 * math.exp(random.gauss(0, 0.2)) for _ in range(10)]) for _ in range(99)
    ]

    assert sum(record.mean for record in records) / 99 == pytest.approx(math.log(100), abs=0.02)
    variance = sum(record.variance for record in records) / 99
    assert math.sqrt(variance * 10 / 9) == pytest.approx(0.2, abs=0.02)
    assert math.sqrt(common_variance(records)) == pytest.approx(0.2, abs=0.02)


def test_an_odd_run_moves_little() -> None:
    """
    A run of ten hours among runs of a minute counts as one that was somewhat late.
    """
    usual = _after([60.0] * 9)

    odd = taught(usual, 36_000.0, COMMON)

    assert math.exp(odd.mean) < 66
    assert math.exp(_after([60.0] * 9 + [66.0]).mean) < math.exp(odd.mean)


def test_what_changed_for_good_is_learned() -> None:
    """
    A job that takes twice as long from now on is known to after some runs.
    """
    record = _after([60.0] * 10)
    for _ in range(25):
        record = taught(record, 120.0, COMMON)

    assert math.exp(record.mean) == pytest.approx(120, rel=0.1)
    assert record.runs == MOST_RUNS


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=30))
def test_any_run_leaves_a_sound_record(seconds: list[float]) -> None:
    """
    The numbers stay finite and in their bounds, whatever a clock did.
    """
    record = _after(seconds)

    assert 1 <= record.runs <= MOST_RUNS
    assert math.isfinite(record.mean)
    assert 0 <= record.variance < math.inf
    assert 0.02 < math.sqrt(shrunk(record, COMMON)) <= 3.01


def test_few_runs_say_little_about_the_spread() -> None:
    """
    Two equal runs do not make a job punctual; ten almost do.
    """
    two, ten = _after([60.0] * 2), _after([60.0] * 10)

    assert math.sqrt(shrunk(two, COMMON)) == pytest.approx(0.18, abs=0.01)
    assert math.sqrt(shrunk(ten, COMMON)) == pytest.approx(0.12, abs=0.01)


def test_a_lesson_lies_between_two_polls() -> None:
    """
    It ended after the last PENDING and before the final reply.
    """
    assert Lesson(("l:x",), 90.0, 100.0).seconds == pytest.approx(94.96, abs=0.01)
    assert Lesson(("l:x",), 100.0, 100.0).seconds == 100.0
    assert Lesson(("l:x",), 100.1, 100.0).seconds == 100.0
    assert Lesson(("l:x",), 0.0, 0.0).seconds > 0


@given(st.floats(0.01, 1e5), st.floats(1.0, 10.0))
def test_what_ended_between_two_polls_is_remembered_without_a_bias(
    least: float, ratio: float
) -> None:
    """
    Drawn evenly from the time in between, the logarithms have the mean of what is remembered.
    """
    lesson = Lesson((), least, least * ratio)
    drawn = [least * (1.0 + (ratio - 1.0) * (place + 0.5) / 1000) for place in range(1000)]
    assert math.log(lesson.seconds) == pytest.approx(
        statistics.fmean(map(math.log, drawn)), abs=1e-3
    )
