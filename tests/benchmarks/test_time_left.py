"""
What the benchmark of the time left calls good enough.
"""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.time_left import CASES, WRONG, Task, report, run, table


def _found(*, said: int = 100, sooner: int = 10, later: int = 10) -> Counter[str]:
    of_each = {"asked": 100, "said": said, "sooner": sooner, "later": later}
    return Counter({f"{what} {n}": of_each[n] for what in ("request", "batch") for n in of_each})


def _missed(changed: str, found: Counter[str]) -> list[str]:
    good = {Task(name, 1): _found(said=0 if name in WRONG else 100) for name in (*CASES, *WRONG)}
    return list(report((good | {Task(changed, 1): found}).items())["missed"])


@pytest.mark.parametrize(
    ("case", "found", "missed"),
    [
        (CASES[0], _found(), []),
        (CASES[0], _found(sooner=4, later=4), [f"{CASES[0]}: 0.920 of the ranges held"]),
        (CASES[0], _found(sooner=20, later=15), [f"{CASES[0]}: 0.650 of the ranges held"]),
        (WRONG[0], _found(said=40), [f"{WRONG[0]}: something was said of 0.40"]),
    ],
    ids=["good", "too wide", "too narrow", "said in spite of all"],
)
def test_what_is_missed(case: str, found: Counter[str], missed: list[str]) -> None:
    """
    Ranges may be neither too narrow nor too wide, and wrong nights give none.
    """
    assert _missed(case, found) == missed


def test_a_night_on_which_a_queue_has_a_new_order() -> None:
    """
    Something is said of most, and it holds: that is the shortest night, with everything in it.
    """
    task = Task("a queue in a new order", 1)
    found = run(task)
    assert found["request asked"] > 500
    summary = report([(task, found)])
    assert summary["requests"][task.case]["said"] > 0.5
    assert 0.7 < summary["requests"][task.case]["held"] < 0.9
    row = next(line for line in table(summary).splitlines() if task.case in line)
    assert row.startswith(f"| {task.case} | {summary['requests'][task.case]['said']:.2f} | 0.8")
