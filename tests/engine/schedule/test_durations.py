"""
What is learned about durations: against laws that are known.
"""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehouse_tracker._engine.schedule.durations import (
    FLOOR,
    MOST_LABELS,
    OLDEST,
    Durations,
    Factor,
)

AGES = st.floats(min_value=0, max_value=1e12)


def _watch(
    durations: Durations, duration: float, gap: float, label: str | None = None, place: int = 1
) -> None:
    """Look at one request every *gap* seconds until it has ended."""
    account, position = durations.label(label), durations.place(place)
    since = 0.0
    while True:
        until = since + gap
        ended = duration <= until
        durations.learn(account, position, since, until, ended=ended)
        if ended:
            return
        since = until


def _chance(
    durations: Durations, since: float, until: float, label: str | None = None, place: int = 1
) -> float:
    return durations.chance(durations.label(label), durations.place(place), since, until)


def test_without_evidence_a_request_ends_within_half_a_minute_or_so() -> None:
    """
    The first choices need some rate; any would do, because all have the same.
    """
    durations = Durations()

    assert durations.rate == pytest.approx(1 / 30)
    assert _chance(durations, 0, 30) == pytest.approx(1 - math.exp(-1))
    assert _chance(durations, 500, 530) == pytest.approx(1 - math.exp(-1))


@pytest.mark.parametrize("gap", [0.3, 5.0, 40.0])
def test_a_constant_rate_is_learned_however_rarely_we_look(gap: float) -> None:
    """
    The moment of detection is not the end: to take it for that learns our own delay, and then
    makes it longer.
    """
    durations, random = Durations(), Random(7)

    for _ in range(3000):
        _watch(durations, random.expovariate(1 / 20), gap)

    assert durations.rate == pytest.approx(1 / 20, rel=0.15)
    assert _chance(durations, 0, gap) == pytest.approx(1 - math.exp(-gap / 20), rel=0.15)


def test_an_age_at_which_nothing_ends_is_known() -> None:
    """
    Requests that take a minute need no questions in their first half minute.
    """
    durations, random = Durations(), Random(7)

    for _ in range(200):
        _watch(durations, random.gauss(60, 1), 2.0)

    dead, alive = _chance(durations, 5, 10), _chance(durations, 55, 60)
    assert alive > 3 * dead
    assert dead == pytest.approx(1 - math.exp(-FLOOR * durations.rate * 5))


def test_labels_are_told_apart_and_so_are_their_ages() -> None:
    """
    A label says how long a statement takes; the same age means different things to two labels.
    """
    durations, random = Durations(), Random(7)

    for _ in range(200):
        _watch(durations, random.uniform(1, 3), 1.0, "ddl")
        _watch(durations, random.gauss(90, 5), 1.0, "ingest")

    assert _chance(durations, 1.5, 2.5, "ddl") > 3 * _chance(durations, 1.5, 2.5, "ingest")
    assert _chance(durations, 80, 90, "ingest") > 3 * _chance(durations, 5, 15, "ingest")


def test_the_front_of_a_queue_is_learned() -> None:
    """
    Where the server works in the order of submission, only what stands in front can end.
    """
    durations = Durations()

    for _ in range(50):
        _watch(durations, 10, 10, place=1)
        for _ in range(5):
            durations.learn(durations.label(None), durations.place(-5), 0, 10, ended=False)

    assert _chance(durations, 0, 10, place=1) > 3 * _chance(durations, 0, 10, place=-5)


def test_labels_without_end_share_one_account() -> None:
    """
    Who labels each statement with its own text must not use up the memory.
    """
    durations = Durations()
    accounts = {id(durations.label(f"label {number}")) for number in range(5 * MOST_LABELS)}

    assert len(accounts) == MOST_LABELS + 1
    assert durations.label("label 1") is not durations.label("label 2")
    assert durations.label("label 1000") is durations.label("label 1001")


def test_a_factor_moves_as_evidence_grows() -> None:
    """
    Four endings more than expected double it; it never reaches zero.
    """
    factor = Factor()

    factor.learn(4, 0)
    assert factor.value == 2
    factor.learn(0, 1e6)
    assert 0 < factor.value < 1e-4


@given(
    st.lists(st.tuples(AGES, st.floats(-10, 1e9), st.booleans()), max_size=40), AGES, AGES, AGES
)
def test_nothing_breaks_it(
    looks: list[tuple[float, float, bool]], since: float, wait: float, more: float
) -> None:
    """
    Times that go back, ages of centuries, everything ending at once: chances stay chances,
    grow with the wait, and never fall below a quarter of the average.
    """
    durations = Durations()
    for age, waited, ended in looks:
        durations.learn(durations.label(None), durations.place(1), age, age + waited, ended=ended)

    assert 0 < durations.rate < math.inf
    chance = _chance(durations, since, since + wait)
    assert 0 <= chance <= 1
    assert chance <= _chance(durations, since, since + wait + more) + 1e-9
    waited = (since + wait) - since
    assert chance >= -math.expm1(-FLOOR * durations.rate * waited) - 1e-9


def test_ages_beyond_a_season_teach_nothing() -> None:
    """
    A date of submission that is wrong by decades must not make all rates vanish.
    """
    durations = Durations()

    durations.learn(
        durations.label(None), durations.place(1), 10 * OLDEST, 20 * OLDEST, ended=False
    )

    assert durations.rate == pytest.approx(1 / 30, rel=1e-3)


def test_a_wait_at_one_age_teaches_what_its_parts_do() -> None:
    """
    Most waits are at one age, and learned without lists; one that crosses an edge is two of them.
    """
    whole, parts = Durations(), Durations()
    whole.learn(whole.label(None), whole.place(1), 0.2, 1.2, ended=False)
    for since, until in ((0.2, 0.5), (0.5, 1.2)):
        parts.learn(parts.label(None), parts.place(1), since, until, ended=False)

    assert parts.rate == pytest.approx(whole.rate)
    for since, until in ((0.0, 0.4), (0.6, 1.4), (2.0, 3.0)):
        assert _chance(parts, since, until) == pytest.approx(
            _chance(whole, since, until), rel=0.01
        )
    assert whole.place(1).expected == pytest.approx(parts.place(1).expected, rel=0.01)
    assert whole.label(None).overall.expected == pytest.approx(
        parts.label(None).overall.expected, rel=0.01
    )
