"""
What a task deferred with is there again when it continues, whoever kept it.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from onehouse_tracker.integrations.airflow._carried import NothingKeptError, carried, carry


def context(map_index: int) -> dict[str, Any]:
    """What Airflow gives a task."""
    ti = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=map_index)
    return {"ti": ti}


def test_what_airflow_kept_comes_first() -> None:
    """
    On a real worker this process has never seen the task before.
    """
    assert carried(context(0), {"order": ["a"]}) == {"order": ["a"]}


def test_what_airflow_lost_is_that_of_the_same_task() -> None:
    """
    Mapped tasks have one name, and must not get the runs of each other.
    """
    carry(context(0), {"order": ["a"]})
    assert carried(context(0), {}) == {"order": ["a"]}

    assert carry(context(1), {"order": ["b"]}) == {"order": ["b"]}
    assert carried(context(1), {}) == {"order": ["b"]}
    with pytest.raises(NothingKeptError, match=r"a retry, .* continues.*run r, map index 0\)"):
        carried(context(0), {})
