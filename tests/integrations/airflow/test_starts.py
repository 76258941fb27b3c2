"""
When what a trigger waits for began: it comes back to the second, or not at all.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from onehouse_tracker.errors import ConfigError, InvalidRequestError
from onehouse_tracker.integrations.airflow._starts import (
    moment,
    packed_starts,
    unpacked_starts,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def after(*seconds: float) -> list[datetime | None]:
    """So many seconds after noon."""
    return [NOON + timedelta(seconds=each) for each in seconds]


@pytest.mark.parametrize(
    "starts",
    [
        after(0),
        after(0, 0, 0),
        after(0, 0, 7, 7, 3600),
        after(9, 9, 0, 86400 * 30),
        after(*(number // 10 for number in range(1000))),
    ],
    ids=["one", "at once", "in order", "in any order", "a thousand"],
)
def test_they_come_back_and_take_little_room(starts: list[datetime | None]) -> None:
    """
    They went through JSON; a thousand of them must leave room for a thousand IDs.
    """
    text = json.dumps(packed_starts(starts))

    assert unpacked_starts("submitted_at", json.loads(text), len(starts)) == starts
    assert len(text) <= 1500


@pytest.mark.parametrize(
    "starts",
    [[], [None], [*after(0), None], after(*(7 * number for number in range(1000)))],
    ids=["none", "unknown", "one is unknown", "too many"],
)
def test_what_is_not_known_of_each_is_left_out(starts: list[datetime | None]) -> None:
    """
    A start that is about right would teach what is wrong.
    """
    assert packed_starts(starts) is None
    assert unpacked_starts("submitted_at", None, len(starts)) == [None] * len(starts)


def test_one_time_is_that_of_all() -> None:
    """
    So a DAG may say it, and so did triggers that were stored before.
    """
    assert unpacked_starts("submitted_at", NOON.isoformat(), 2) == [NOON, NOON]


@pytest.mark.parametrize(
    ("starts", "message"),
    [
        ("yesterday", "started_at is a time in ISO 8601"),
        ("2026-01-01T00:00:00", "started_at needs a time zone"),
        ({"first": NOON.isoformat(), "later": [[0, 3]]}, "started_at must have as many"),
        ({"first": None, "later": [[0, 2]]}, "started_at must have as many"),
    ],
)
def test_what_makes_no_sense_is_refused(starts: Any, message: str) -> None:
    """
    With the name of the argument.
    """
    with pytest.raises((ConfigError, InvalidRequestError), match=message):
        unpacked_starts("started_at", starts, 2)


def test_no_time_is_none() -> None:
    """
    A deadline, too, may be missing.
    """
    assert moment("deadline", None) is None
