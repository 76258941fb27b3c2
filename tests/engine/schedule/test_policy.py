"""
The settings that the engine obeys: their bounds, and the gap that follows from them.
"""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehouse_tracker.errors import ConfigError
from onehouse_tracker.policy import PollPolicy

NUMBERS = [item.name for item in fields(PollPolicy) if item.name != "order"]
REQUIRED = ["gap_min", "failure_base", "patience", "poll_timeout"]
AGE = st.floats(min_value=0, allow_nan=False)


def test_the_defaults_are_the_documented_ones() -> None:
    """
    They were chosen by simulation; a change needs a reason.
    """
    assert PollPolicy() == PollPolicy(
        gap_coefficient=0.3,
        gap_min=0.4,
        gap_max=10.0,
        order="learned",
        idle_share=0.5,
        failure_base=1.0,
        failure_max=30.0,
        patience=600.0,
        not_found_grace=30.0,
        poll_timeout=30.0,
        max_in_flight=None,
    )


@pytest.mark.parametrize(
    ("age", "gap"),
    [
        (-1e9, 0.4),
        (0, 0.4),
        (5e-324, 0.4),
        (1, 0.4),
        (8, 0.6),
        (27, 0.9),
        (1000, 3.0),
        (1e6, 10.0),
        (1e308, 10.0),
        (math.inf, 10.0),
    ],
)
def test_the_gap_grows_with_the_cube_root_of_the_age(age: float, gap: float) -> None:
    """
    Old requests may be asked about less often: a second matters less to them.
    """
    assert PollPolicy().gap(age) == pytest.approx(gap, rel=1e-12)


@given(AGE, AGE, st.floats(0, 1e6), st.floats(1e-6, 10), st.floats(10, 1e6))
def test_the_gap_is_bounded_and_never_shrinks(
    age: float, other: float, coefficient: float, low: float, high: float
) -> None:
    """
    Whatever the numbers: within its bounds, and longer for what is older.
    """
    policy = PollPolicy(gap_coefficient=coefficient, gap_min=low, gap_max=high)
    younger, older = sorted((age, other))

    assert low <= policy.gap(younger) <= policy.gap(older) <= high


def test_a_gap_can_be_constant() -> None:
    """
    Equal bounds make one fixed interval; so does a coefficient of zero, even at no end of age.
    """
    assert PollPolicy(gap_min=2, gap_max=2).gap(12345) == 2
    assert PollPolicy(gap_coefficient=0).gap(math.inf) == 0.4


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, -1, -0.001, 1 << 1024, True, "1", (), 1j], ids=str
)
def test_numbers_out_of_bounds_are_refused_by_name(name: str, value: Any) -> None:
    """
    A wrong setting must be found before anything is sent, and say which it is.
    """
    with pytest.raises(ConfigError, match=rf"^PollPolicy: {name} "):
        PollPolicy(**{name: value})


@pytest.mark.parametrize("name", [name for name in NUMBERS if name != "max_in_flight"])
def test_only_one_setting_may_be_left_out(name: str) -> None:
    """
    ``None`` means "choose for me" for `max_in_flight` alone.
    """
    settings: dict[str, Any] = {name: None}

    with pytest.raises(ConfigError, match=rf"^PollPolicy: {name} is a number, not None$"):
        PollPolicy(**settings)


@pytest.mark.parametrize("name", REQUIRED)
def test_some_settings_must_not_be_zero(name: str) -> None:
    """
    Zero would spin, or give up before the first reply.
    """
    settings: dict[str, Any] = {name: 0}

    with pytest.raises(ConfigError, match=rf"^PollPolicy: {name} is more than 0$"):
        PollPolicy(**settings)


@pytest.mark.parametrize("name", ["gap_coefficient", "idle_share", "not_found_grace"])
def test_the_others_may_be_zero(name: str) -> None:
    """
    Zero switches these off.
    """
    settings: dict[str, Any] = {name: 0}

    assert getattr(PollPolicy(**settings), name) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gap_min": 5, "gap_max": 4}, "need gap_min <= gap_max, not 5 and 4"),
        ({"failure_base": 31}, "need failure_base <= failure_max, not 31 and 30"),
        ({"idle_share": 1.01}, "idle_share is 0 to 1, not 1.01"),
        ({"max_in_flight": 0}, "max_in_flight is a whole number from 1, not 0"),
        ({"max_in_flight": 2.0}, "max_in_flight is a whole number from 1, not 2.0"),
        ({"order": "fifo"}, 'order is "due" or "learned", not \'fifo\''),
        ({"order": None}, 'order is "due" or "learned", not None'),
        ({"order": 7}, 'order is "due" or "learned", not 7'),
    ],
)
def test_settings_that_contradict_are_refused(settings: dict[str, Any], message: str) -> None:
    """
    The message names the fields and their values.
    """
    with pytest.raises(ConfigError) as caught:
        PollPolicy(**settings)

    assert str(caught.value) == f"PollPolicy: {message}"


def test_the_bounds_themselves_are_allowed() -> None:
    """
    Every bound is inclusive.
    """
    policy = PollPolicy(
        gap_min=10, failure_base=30, idle_share=1, max_in_flight=1, gap_coefficient=1e308
    )

    assert (policy.gap(0), policy.gap(8)) == (10, 10)


def test_a_policy_is_a_value() -> None:
    """
    Frozen, comparable, hashable; changed by making another one, which is checked again.
    """
    policy = PollPolicy(gap_max=4)

    assert pickle.loads(pickle.dumps(policy)) == policy  # noqa: S301 - made in this test
    assert len({policy, copy.copy(policy), PollPolicy(gap_max=4)}) == 1
    with pytest.raises(FrozenInstanceError):
        policy.gap_max = 5  # type: ignore[misc]
    with pytest.raises(ConfigError, match="gap_min"):
        replace(policy, gap_min=5)
