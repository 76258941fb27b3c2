"""
The labels of a trigger's requests: each is stored once, and comes back where it was.
"""

import json

import pytest

from onehouse_tracker.errors import InvalidRequestError
from onehouse_tracker.integrations.airflow._labels import packed, unpacked


@pytest.mark.parametrize(
    "labels",
    [
        ["RUN JOB"] * 1000,
        ["RUN JOB", "SHOW"] * 500,
        ["RUN JOB", None, "SHOW"] * 300,
        ["SHOW"],
        [],
    ],
    ids=["one kind", "two kinds", "some without", "one", "none"],
)
def test_they_come_back_and_take_little_room(labels: list[str | None]) -> None:
    """
    They went through JSON; a thousand of them must leave room for a thousand IDs.
    """
    text = json.dumps(packed(labels))

    assert unpacked(json.loads(text), len(labels)) == labels
    assert len(text) < 6000


def test_too_many_kinds_are_left_out() -> None:
    """
    A label makes a message better; the IDs must fit.
    """
    assert packed([f"KIND {number}" for number in range(1000)]) is None
    assert unpacked(None, 2) == [None, None]


def test_what_is_packed_stays_so() -> None:
    """
    A trigger that another triggerer takes over writes its arguments once more.
    """
    once = packed(["RUN JOB", "SHOW"])

    assert packed(once) == once
    assert packed("RUN JOB") == "RUN JOB"


@pytest.mark.parametrize("labels", [["a"], {"names": ["a"], "each": [0, 0, 0]}], ids=str)
def test_another_number_of_labels_is_refused(labels: list[str | None]) -> None:
    """
    Whose would they be?
    """
    with pytest.raises(InvalidRequestError, match="as many labels"):
        unpacked(labels, 2)
