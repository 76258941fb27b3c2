"""
The learned margin and the pauses, with plain numbers for the time.
"""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehouse_tracker.errors import ConfigError
from onehouse_tracker.limiters._pace import Pace, PaceState

SECONDS = st.floats(0, 500)
RETRY_AFTER = st.none() | st.floats(-10, 1e9) | st.sampled_from([0.0, math.inf, math.nan])
# (seconds since the event before, age of the request that was refused, Retry-After)
REFUSALS = st.lists(st.tuples(SECONDS, SECONDS, RETRY_AFTER), min_size=1, max_size=80)


def _episode(pace: Pace, now: float, retry_after: float | None = None) -> None:
    pace.throttled(now, now, retry_after)


def test_the_margin_starts_at_its_floor() -> None:
    """
    2 % are left to the clocks and the network even where nothing was ever refused.
    """
    pace = Pace(10)

    assert pace.margin(0) == 0.02
    assert pace.rate(0) == pytest.approx(9.8, rel=1e-15)
    assert (pace.paused_until, pace.refusals) == (-math.inf, 0)


def test_the_share_is_a_part_of_the_limit() -> None:
    """
    A quarter of ten, less the margin.
    """
    pace = Pace(10, share=0.25)

    assert pace.limit == 2.5
    assert pace.rate(0) == pytest.approx(2.45, rel=1e-15)


def test_each_episode_adds_one_point_until_half() -> None:
    """
    48 episodes fill the margin; a storm beyond that changes nothing.
    """
    pace = Pace(10)
    margins = []

    for second in range(60):
        _episode(pace, second)
        margins.append(pace.margin(second))

    assert margins[:3] == pytest.approx([0.03, 0.04, 0.05], abs=1e-12)
    assert margins[47:] == pytest.approx([0.5] * 13, abs=1e-12)
    assert pace.rate(59) == pytest.approx(5.0, abs=1e-9)
    assert pace.refusals == 60


def test_refusals_of_what_was_sent_before_the_reaction_are_one_episode() -> None:
    """
    A hundred requests in flight that are all refused tell one thing once.
    """
    pace = Pace(10)
    pace.throttled(10.0, 9.0, None)

    for number in range(100):
        pace.throttled(10.0 + number / 100, 9.99, None)

    assert pace.margin(11) == pytest.approx(0.03)
    assert pace.paused_until == 10.2
    assert pace.refusals == 101


def test_a_request_sent_at_the_reaction_begins_the_next_episode() -> None:
    """
    It was sent at the new pace, so its refusal is news.
    """
    pace = Pace(10)
    pace.throttled(10.0, 9.0, None)

    pace.throttled(10.5, 10.0, None)

    assert pace.margin(10.5) == pytest.approx(0.04)
    assert pace.paused_until == 10.9


@pytest.mark.parametrize(
    ("seconds_later", "margin"),
    [
        (0, 0.07),
        (60, 0.07),
        (61, 0.0699),
        (160, 0.06),
        (559.9, 0.02001),
        (560, 0.02),
        (1e9, 0.02),
        (-100, 0.07),
    ],
)
def test_the_margin_shrinks_after_a_quiet_minute(seconds_later: float, margin: float) -> None:
    """
    0.01 point a second, down to the floor; a clock that goes back takes nothing away.
    """
    pace = Pace(10)
    for second in range(5):
        _episode(pace, 1000 + second)

    assert pace.margin(1004 + seconds_later) == pytest.approx(margin, abs=1e-12)


def test_a_new_episode_builds_on_what_is_left() -> None:
    """
    What a quiet time took back stays taken back.
    """
    pace = Pace(10)
    for second in range(5):
        _episode(pace, second)

    _episode(pace, 4 + 160)

    assert pace.margin(164) == pytest.approx(0.07)  # 0.07 - 0.01 + 0.01
    assert pace.margin(164 + 60) == pytest.approx(0.07)


def test_a_straggler_does_not_bring_back_what_was_forgiven() -> None:
    """
    A late refusal of an old episode stops the shrinking, it does not undo it.
    """
    pace = Pace(10)
    for second in range(5):
        _episode(pace, second)
    before = pace.margin(4 + 160)

    pace.throttled(164, 3.5, None)

    assert before == pytest.approx(0.06)
    assert pace.margin(164) == pytest.approx(0.06)
    assert pace.margin(164 + 60) == pytest.approx(0.06)
    assert pace.margin(164 + 61) == pytest.approx(0.0599)


def test_without_retry_after_the_pause_doubles_up_to_ten_seconds() -> None:
    """
    A server that says nothing is asked ever more carefully.
    """
    pace = Pace(10)
    pauses = []

    for number in range(9):
        now = 100.0 * number
        _episode(pace, now)
        pauses.append(pace.paused_until - now)

    expected = [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10]
    assert pauses == pytest.approx(expected, abs=1e-9)


def test_an_answer_makes_the_next_pause_short_again() -> None:
    """
    Only an answer to what was sent after the reaction says that the server has recovered.
    """
    pace = Pace(10)
    _episode(pace, 0)
    _episode(pace, 10)

    pace.answered(9.9)
    _episode(pace, 20)
    assert pace.paused_until == pytest.approx(20.8)

    pace.answered(20)
    _episode(pace, 30)
    assert pace.paused_until == pytest.approx(30.2)


@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [
        (0.0, 0),
        (-5, 0),
        (math.nan, 0),
        (0.01, 0.01),
        (7, 7),
        (120, 120),
        (121, 120),
        (1e308, 120),
        (math.inf, 120),
    ],
)
def test_retry_after_is_obeyed_within_bounds(retry_after: float, pause: float) -> None:
    """
    Zero counts as said; a year, or nonsense, must not stop us for good.
    """
    pace = Pace(10)

    _episode(pace, 1000, retry_after)

    assert pace.paused_until == 1000 + pause
    assert pace.margin(1000) == pytest.approx(0.03)


def test_a_pause_that_the_server_chose_does_not_double_our_own() -> None:
    """
    The doubling is for servers that say nothing.
    """
    pace = Pace(10)

    _episode(pace, 0, 0.0)
    _episode(pace, 10, 0.0)
    _episode(pace, 20)

    assert pace.paused_until == 20.2


def test_a_later_refusal_may_ask_for_more_but_not_for_less() -> None:
    """
    Refusals arrive in any order; the longest wish of an episode counts.
    """
    pace = Pace(10)
    pace.throttled(10, 9, 3)

    pace.throttled(10.1, 9, 1)
    assert pace.paused_until == 13
    pace.throttled(10.2, 9, 0.0)
    assert pace.paused_until == 13
    pace.throttled(10.3, 9, None)
    assert pace.paused_until == 13
    pace.throttled(10.4, 9, 5)
    assert pace.paused_until == pytest.approx(15.4)


@given(REFUSALS)
def test_the_margin_stays_in_bounds_and_comes_back(
    refusals: list[tuple[float, float, float | None]],
) -> None:
    """
    Whatever the server did: 2 to 50 %, at most a point per episode, and 2 % when it is quiet.
    """
    pace = Pace(10)
    now = 0.0
    margin = pace.margin(now)

    for gap, age, retry_after in refusals:
        now += gap
        decayed = pace.margin(now)
        assert 0.02 <= decayed <= margin
        pace.throttled(now, now - age, retry_after)
        margin = pace.margin(now)
        assert decayed <= margin <= min(0.5, decayed + 0.01 + 1e-12)

    assert pace.margin(now + 60 + 4800 + 1) == 0.02
    assert pace.rate(now + 60 + 4800 + 1) == pytest.approx(9.8)
    assert pace.refusals == len(refusals)


@given(REFUSALS)
def test_a_pause_is_never_shortened_and_always_bounded(
    refusals: list[tuple[float, float, float | None]],
) -> None:
    """
    Sending before the end of a pause would be refused, and cost another.
    """
    pace = Pace(10, max_pause=50)
    now = 0.0
    ends = [pace.paused_until]

    for gap, age, retry_after in refusals:
        now += gap
        pace.throttled(now, now - age, retry_after)
        ends.append(pace.paused_until)
        assert pace.paused_until <= now + 50

    assert all(earlier <= later for earlier, later in pairwise(ends))
    assert not any(math.isnan(end) for end in ends)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=50))
def test_one_episode_costs_one_point_however_many_refusals(ages: list[float]) -> None:
    """
    The rule looks at when a request was sent, not at when its refusal arrived.
    """
    pace = Pace(10)
    pace.throttled(100, 99, None)

    for number, age in enumerate(ages):
        pace.throttled(100 + number / 1000, 99.999 - age, None)

    assert pace.margin(101) == pytest.approx(0.03)
    assert pace.paused_until == 100.2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"limit": 0}, "limit is a number of requests per second above 0, not 0"),
        ({"limit": -1}, "limit is a number of requests per second above 0, not -1"),
        ({"limit": math.nan}, "limit is a number of requests per second above 0, not nan"),
        ({"limit": math.inf}, "limit is a number of requests per second above 0, not inf"),
        ({"limit": 10, "share": 0}, "share is more than 0 and at most 1, not 0"),
        ({"limit": 10, "share": -0.5}, "share is more than 0 and at most 1, not -0.5"),
        ({"limit": 10, "share": 1.01}, "share is more than 0 and at most 1, not 1.01"),
        ({"limit": 10, "share": math.nan}, "share is more than 0 and at most 1, not nan"),
        ({"limit": 10, "max_pause": 0}, "max_pause is more than 0 seconds and finite, not 0"),
        ({"limit": 10, "max_pause": -1}, "max_pause is more than 0 seconds and finite, not -1"),
        (
            {"limit": 10, "max_pause": math.nan},
            "max_pause is more than 0 seconds and finite, not nan",
        ),
        (
            {"limit": 10, "max_pause": math.inf},
            "max_pause is more than 0 seconds and finite, not inf",
        ),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(settings: dict[str, float], message: str) -> None:
    """
    A wrong number here floods the server or stops us for good.
    """
    with pytest.raises(ConfigError) as caught:
        Pace(**settings)

    assert str(caught.value) == message


def test_what_was_learned_can_be_handed_over() -> None:
    """
    Processes that share a budget must react to one refusal as one.
    """
    pace, other = Pace(10), Pace(10)
    assert pace.state == PaceState()
    _episode(pace, 190)
    _episode(pace, 200)

    other.state = pace.state

    assert other.state == pace.state == PaceState(pace.margin(200), 200, 200, 0.8, 200.4)
    assert other.margin(200) == pytest.approx(0.04)
    other.throttled(201, 199, None)  # sent before the reaction, which was the other's
    assert other.margin(201) == pytest.approx(0.04)
    assert other.paused_until == 200.4
    assert (other.refusals, pace.refusals) == (1, 2)


def test_a_spread_is_added_to_the_pause() -> None:
    """
    Processes that were refused together must not come back together; the bound is the server's.
    """
    pace = Pace(10)

    pace.throttled(100, 100, 5, spread=0.25)
    assert pace.paused_until == 105.25
    pace.throttled(200, 200, math.inf, spread=0.25)
    assert pace.paused_until == 320.25
    pace.throttled(400, 400, None, spread=0.25)
    assert pace.paused_until == 400.2  # ours to choose: it is for one process


def test_an_answer_tells_whether_it_changed_anything() -> None:
    """
    Only then must the others hear of it.
    """
    pace = Pace(10)
    assert pace.answered(0) is False
    _episode(pace, 10)

    assert pace.answered(9) is False
    assert pace.answered(10) is True
    assert pace.answered(11) is False


def test_what_was_no_matter_of_the_rate_is_taken_back() -> None:
    """
    One request was refused for itself: its episodes leave no margin, and never less than the
    floor remains.
    """
    pace = Pace(10)
    for now in (0, 10, 20):
        _episode(pace, now)
    assert pace.margin(20) == pytest.approx(0.05)

    pace.forgive(20, 2)
    assert pace.margin(20) == pytest.approx(0.03)
    pace.forgive(20, 9)
    assert pace.margin(20) == 0.02
