"""
Forecasts from earlier runs, and how far they are trusted: plain numbers, no loop.
"""

from __future__ import annotations

import math
from random import Random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehouse_tracker._engine.schedule.law import Law
from onehouse_tracker._engine.schedule.laws import Laws
from onehouse_tracker.history._records import Lesson, Record

MINUTE = math.log(60.0)
PUNCTUAL = {f"l:{number}": Record(10.0, MINUTE, 0.01) for number in range(20)}
AGES = st.floats(0.0, 1e6)


def test_a_known_name_has_its_own_law() -> None:
    """
    The first name that is known counts, whatever comes behind it.
    """
    laws = Laws({"s:abc": Record(10.0, MINUTE, 0.01), "l:x": Record(10.0, 0.0, 0.01)})

    assert laws.law("s:abc", "l:x") is laws.law("s:abc")
    assert laws.law("s:unknown", "l:x") is laws.law("l:x")
    law = laws.law("s:abc")
    assert law is not None
    assert math.exp(law.mean) == pytest.approx(60)


def test_a_new_name_has_the_law_over_all_names() -> None:
    """
    What has no name at all has no law: nothing links it to earlier runs.
    """
    laws = Laws(PUNCTUAL)
    law = laws.law("l:new")

    assert law is not None
    assert law is laws.law("l:another")
    assert math.exp(law.mean) == pytest.approx(60)
    assert laws.law() is None
    assert Laws({}).law("l:new") is None


@given(mean=st.floats(-4, 12), spread=st.floats(0.03, 3), ages=st.tuples(AGES, AGES, AGES))
def test_chances_are_chances(mean: float, spread: float, ages: tuple[float, ...]) -> None:
    """
    Between 0 and 1, and never smaller after a longer wait.
    """
    laws, law = Laws(), Law(mean, spread)
    since, until, later = sorted(ages)

    chance = laws.chance(law, since, until)

    assert 0.0 <= chance <= laws.chance(law, since, later) + 1e-9 <= 1.0 + 1e-9


def test_what_always_takes_a_minute_ends_after_a_minute() -> None:
    """
    Hardly before, surely soon after; and one that is not done by then is like no other.
    """
    laws = Laws(PUNCTUAL)
    law = laws.law("l:1")
    assert law is not None

    assert laws.chance(law, 0.0, 30.0) < 0.02
    assert laws.chance(law, 50.0, 75.0) > 0.9
    assert laws.chance(law, 600.0, 610.0) < 0.05


def _night(laws: Laws, seconds: list[float], other: float) -> None:
    """Poll runs every two seconds; tonight's own forecast gives *other* for each poll."""
    for number, duration in enumerate(seconds):
        law = laws.law(f"l:{number % 20}")
        assert law is not None
        age = 0.0
        while age < duration:
            laws.learn(law, other, age, age + 2.0, ended=age + 2.0 >= duration)
            age += 2.0


def test_history_that_is_right_is_trusted() -> None:
    """
    It is believed at first, and soon nothing else is.
    """
    random = Random(1)
    laws = Laws(PUNCTUAL)
    assert 0.5 < laws.trust < 1.0

    _night(laws, [60 * math.exp(random.gauss(0, 0.1)) for _ in range(20)], other=0.033)

    assert laws.certain
    assert abs(laws.shift) < 0.1


def test_history_that_is_wrong_is_not_trusted() -> None:
    """
    Other jobs have these names tonight: after a few polls tonight's own forecast counts.
    """
    random = Random(1)
    laws = Laws(PUNCTUAL)

    _night(laws, [math.exp(random.uniform(0, 7)) for _ in range(20)], other=0.01)

    assert laws.trust < 0.01


def test_a_night_that_is_twice_as_slow_is_noticed() -> None:
    """
    All names have that in common; the history stays good.
    """
    random = Random(2)
    laws = Laws(PUNCTUAL)

    _night(laws, [120 * math.exp(random.gauss(0, 0.1)) for _ in range(20)], other=0.02)

    assert laws.shift == pytest.approx(math.log(2), abs=0.1)
    law = laws.law("l:1")
    assert law is not None
    assert laws.chance(law, 0.0, 80.0) < 0.1
    assert laws.chance(law, 100.0, 150.0) > 0.8


def test_one_that_hangs_says_nothing_about_the_others() -> None:
    """
    However long it is polled.  That all are slower, each of many says before it hangs.
    """
    laws = Laws(PUNCTUAL)
    law = laws.law("l:1")
    assert law is not None
    for age in range(2, 10_000, 2):
        laws.learn(law, 0.0, age - 2.0, float(age), ended=False)

    assert laws.trust > 0.01
    assert laws.trusted
    assert laws.shift < 0.5


@pytest.mark.parametrize(("overdue", "trusted"), [(2, True), (10, False)])
def test_many_that_are_overdue_are_a_contradiction(overdue: int, *, trusted: bool) -> None:
    """
    One in ten may hang; if half of all do, earlier runs say nothing about tonight.
    """
    laws = Laws(PUNCTUAL)
    for number in range(20):
        law = laws.follow(f"l:{number}")
        assert law is not None
        age = 300.0 if number < overdue else 30.0
        pending = SimpleNamespace(law=law, born=0.0, looked=age, overdue=False)
        assert (laws.mark_overdue(pending) is not None) == (number < overdue)
        assert laws.mark_overdue(pending) is None  # once

    assert laws.trusted is trusted


def test_wrong_names_are_noticed_though_as_many_end_as_usual() -> None:
    """
    Time left would be that of other jobs.
    """
    seconds = [5.0 * 1.1**number for number in range(40)]
    known = {
        f"l:{place}": Record(10.0, math.log(took), 0.01) for place, took in enumerate(seconds)
    }
    for step, is_right in ((1, True), (7, False)):
        laws = Laws(known)
        for now in range(5, 60, 5):
            for place in range(40):
                law, took = laws.law(f"l:{place}"), seconds[place * step % 40]
                assert law is not None
                if took > now - 5:
                    laws.learn(law, 0.03, now - 5.0, float(now), ended=took <= now)
        assert laws.trusted is is_right


def test_what_ended_after_an_outage_teaches_nothing() -> None:
    """
    Nobody knows how long it took; a poll that comes a few seconds late still tells.
    """
    told: list[Lesson] = []
    laws = Laws(PUNCTUAL, lesson=told.append)
    laws.teach(("l:1",), 3.0, 3600.0)
    assert told == []
    laws.teach(("l:1",), 0.2, 9.0)
    laws.teach(("l:1",), 100.0, 900.0)
    assert len(told) == 2


def test_the_next_night_begins_without_a_shift() -> None:
    """
    What earlier runs took has what all took longer in it: it must not count twice.  It begins
    when a name comes again: requests one after another, of many names, are one night.
    """
    laws = Laws(PUNCTUAL)
    _night(laws, [120.0] * 20, other=0.02)
    assert laws.shift > 0.5
    laws.settle()  # nothing was taught
    assert laws.shift > 0.5

    laws.teach(("l:1",), 118.0, 121.0)
    laws.settle()
    laws.follow("l:2", "l:1")  # the first name counts
    assert laws.shift > 0.5

    laws.follow("l:1")
    assert laws.shift == 0.0
    assert laws.trusted


def test_names_that_never_come_again_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A service may give each request a label of its own, for months.
    """
    monkeypatch.setattr("onehouse_tracker._engine.schedule.laws.MOST_NAMES", 10)
    laws = Laws()
    for number in range(30):
        laws.teach((f"l:{number}",), 59.0, 61.0)
        laws.settle()

    assert len(laws._taught) == len(laws._records) + len(laws._learned) == 10


def test_a_name_that_was_never_seen_stays_so_until_it_is_taught() -> None:
    """
    Also for who has its law since before a thousand others were taught.
    """
    laws = Laws(PUNCTUAL)
    before = laws.law("l:new")
    assert before is not None
    for _ in range(1000):
        laws.teach(("l:1",), 59.0, 61.0)
    assert laws.law("l:new") is not before

    assert not laws.knows(before)
    assert laws.usual_if_overdue(before, 1e6) is None


def test_what_has_hung_for_days_has_hardly_ended_a_moment_later() -> None:
    """
    However little is left of its law at such an age.
    """
    laws = Laws({"l:1": Record(10.0, 0.0, 0.01)})
    law = laws.law("l:1")
    assert law is not None

    assert laws.chance(law, 1e5, 1e5 + 1e-3) < 1e-6
    assert 0.0 < laws.chance(law, 1e5, 1.1e5) < 1.0


def test_nothing_is_overdue_while_most_ends_are_surprises() -> None:
    """
    One surprise is none; names that were never seen surprise nobody.
    """
    laws = Laws(PUNCTUAL)
    law = laws.law("l:1")
    assert law is not None
    assert laws.usual_if_overdue(law, 59.0) is None
    assert laws.usual_if_overdue(law, 300.0) == pytest.approx(60)

    laws.teach(("l:2",), 200.0, 210.0)
    for _ in range(9):
        laws.teach(("l:fresh",), 1.0, 2.0)
    assert laws.usual_if_overdue(law, 300.0) is not None
    for least, most in ((1.0, 2.0), (300.0, 310.0)):  # sooner, and later
        laws.teach(("l:3",), least, most)
    assert laws.usual_if_overdue(law, 300.0) is None

    for _ in range(2):
        laws.teach(("l:4",), 50.0, 65.0)
    assert laws.usual_if_overdue(law, 300.0) is not None
    fresh = laws.law("l:fresh")
    assert fresh is not None
    assert laws.usual_if_overdue(fresh, 1e6) is None


def test_what_is_taught_counts_when_nothing_is_tracked_any_more() -> None:
    """
    What ends first of many is short: to believe it at once would let the others seem late.
    """
    told: list[Lesson] = []
    laws = Laws(PUNCTUAL, lesson=told.append)
    before = laws.law("l:1")
    assert before is not None

    for _ in range(5):
        laws.teach(("l:1", "l:fresh"), 9.0, 11.0)
    laws.teach((), 1.0, 2.0)
    assert laws.law("l:1") is before
    assert len(told) == 5

    laws.settle()
    after, fresh = laws.law("l:1"), laws.law("l:fresh")
    assert after is not None
    assert fresh is not None
    assert after.mean < before.mean
    assert math.exp(fresh.mean) == pytest.approx(9.95, abs=0.1)


@given(
    since=AGES, wait=st.floats(0, 1e5), ended=st.booleans(), other=st.floats(0, 1),
    times=st.integers(1, 300),
)  # fmt: skip
def test_any_polls_leave_sound_numbers(
    *, since: float, wait: float, ended: bool, other: float, times: int
) -> None:
    """
    However often the impossible happens, nothing overflows and trust comes back.
    """
    laws = Laws(PUNCTUAL)
    law = laws.law("l:1")
    assert law is not None
    for _ in range(times):
        laws.learn(law, other, since, since + wait, ended=ended)

    assert 0.0 <= laws.trust <= 1.0
    assert -1.2 < laws.shift < 1.2
    assert 0.0 <= laws.chance(law, since, since + wait) <= 1.0
