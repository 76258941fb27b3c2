"""
How long a task may wait: the smallest limit counts, and has a name.
"""

from datetime import UTC, datetime, timedelta

import pytest

from onehouse_tracker.integrations.airflow._limits import GRACE, Deadline, seconds_of

NOW = datetime(2031, 1, 1, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(seconds=90)


@pytest.mark.parametrize(
    ("follow", "execution", "left", "limit"),
    [
        (3600, None, 3600, "follow_timeout of 3600 s"),
        (timedelta(minutes=1), None, 60, "follow_timeout of 60 s"),
        (None, timedelta(seconds=100), 10, "execution_timeout of 100 s"),
        (5, timedelta(seconds=100), 5, "follow_timeout of 5 s"),
        (0.5, None, 0.5, "follow_timeout of 0.5 s"),
        (3600, timedelta(seconds=100), 10, "execution_timeout of 100 s"),
        # It was over before the task deferred.
        (3600, timedelta(seconds=30), -60, "execution_timeout of 30 s"),
    ],
)
def test_the_smallest_limit_counts(
    follow: float | timedelta | None, execution: timedelta | None, left: float, limit: str
) -> None:
    """
    One counts from now, the other one from when the try began.
    """
    deadline = Deadline.first(
        [("follow_timeout", NOW, follow), ("execution_timeout", EARLIER, execution)]
    )

    assert deadline == Deadline(NOW + timedelta(seconds=left), limit)
    # Airflow ends the trigger later than the trigger itself does, and never at once.
    assert deadline.for_airflow(NOW) == timedelta(seconds=max(left, 0) + GRACE)


def test_without_a_limit_there_is_no_deadline() -> None:
    """
    A statement may take hours.
    """
    assert Deadline.first([("follow_timeout", NOW, None)]) is None
    assert seconds_of(None) is None
