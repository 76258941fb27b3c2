"""Random worlds: every promise is kept in each of them, whatever its seed."""

from __future__ import annotations

import pytest

from onehouse_tracker.testing.worlds import run_world


@pytest.mark.parametrize("start", range(0, 500, 100))
def test_promises_are_kept_in_a_hundred_worlds(start: int) -> None:
    """
    Faults, users and deadlines at random; the error names the seed that replays it.
    """
    results = sum(run_world(seed).results for seed in range(start, start + 100))

    assert results > 500  # something did happen
