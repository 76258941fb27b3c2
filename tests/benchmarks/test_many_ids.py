"""
The judge of `benchmarks/many_ids.py`: it must see what is too slow or too large.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.many_ids import missed, peak_of, write_ids

GOOD = {"first_poll_s": 1.2, "early_stop_s": 0.1, "late_stop_s": 0.8, "peak_mb": 140.0}


@pytest.mark.parametrize(
    ("name", "value"),
    [("first_poll_s", 2.1), ("early_stop_s", 1.1), ("late_stop_s", 1.1), ("peak_mb", 151.0)],
)
def test_each_figure_can_be_missed(name: str, value: float) -> None:
    """
    A bound that nothing can miss bounds nothing.
    """
    assert missed(100_000, GOOD) == []
    assert missed(100_000, GOOD | {name: value}) == [
        f"100000: {name} is {value:g}, not {missed_bound(name)} at most"
    ]


def missed_bound(name: str) -> str:
    """What the page promises."""
    return {"first_poll_s": "2", "peak_mb": "150"}.get(name, "1")


def test_the_ids_are_as_many_as_asked_for(tmp_path: Path) -> None:
    """
    And all different: one that comes twice is asked about once.
    """
    write_ids(tmp_path / "ids", 1000)

    lines = (tmp_path / "ids").read_text().splitlines()
    assert len(set(lines)) == len(lines) == 1000
    assert {len(line) for line in lines} == {36}


def test_a_process_that_is_gone_has_no_peak() -> None:
    """
    It may end between two looks.
    """
    assert peak_of(2**30) == 0.0
