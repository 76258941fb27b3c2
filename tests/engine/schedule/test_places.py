"""
Places in the order of submission, against counting them anew.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onehouse_tracker._engine.schedule.places import Places
from onehouse_tracker._engine.tracked import Tracked
from onehouse_tracker._engine.waits import Wait

WAIT = Wait()


def _tracked(number: int) -> Tracked:
    return Tracked(f"r{number}", label=None, born=0.0, now=0.0, wait=WAIT)


def _expected(position: int, length: int) -> int:
    """Count from the nearer end, in classes of 3, 12, 48, 192 and the rest."""
    from_front, from_back = position + 1, length - position
    number, sign = (from_front, 1) if from_front <= from_back else (from_back, -1)
    return sign * (1 + sum(number >= first for first in (4, 16, 64, 256)))


def _check(
    places: Places, order: list[Tracked], before: dict[Tracked, int], moved: object
) -> None:
    after = {tracked: _expected(position, len(order)) for position, tracked in enumerate(order)}
    assert {tracked: tracked.place for tracked in order} == after
    assert len(places) == len(order)
    changed = {tracked for tracked, place in before.items() if after.get(tracked, place) != place}
    assert isinstance(moved, list)
    assert changed <= set(moved)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 10_000) | st.none(), max_size=150), st.integers(0, 700))
def test_places_are_those_of_a_list(operations: list[int | None], size: int) -> None:
    """
    Whoever joins and leaves, each request stands where counting puts it, and whose place
    changed is told.
    """
    places, order = Places(), [_tracked(number) for number in range(size)]
    for tracked in order:
        places.join(tracked)
    _check(places, order, {}, [])
    for number in operations:
        before = {tracked: tracked.place for tracked in order}
        if number is None or not order:
            order.append(_tracked(len(order)))
            moved = places.join(order[-1])
        else:
            moved = places.leave(order.pop(number % len(order)))
        _check(places, order, before, moved)


@pytest.mark.parametrize("first", [True, False], ids=["oldest first", "newest first"])
def test_few_change_their_place_at_a_time(*, first: bool) -> None:
    """
    Joining and leaving cost the same among a thousand as among a million.
    """
    places, order = Places(), [_tracked(number) for number in range(3000)]

    assert max(len(places.join(tracked)) for tracked in order) <= 6
    while order:
        assert len(places.leave(order.pop(0 if first else -1))) <= 6
