"""
Which statements count as the same.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehouse_tracker.history._fingerprint import fingerprint


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("SELECT * FROM t WHERE a = 1", "select *\n from t where a=22"),
        ("SELECT * FROM t WHERE a = 'x'", "SELECT * FROM t WHERE a = 'it''s \\' other'"),
        ('SELECT * FROM t WHERE a = "x"', "SELECT * FROM t WHERE a = 'y'"),
        ("SELECT a FROM t WHERE a IN (1, 2, 3)", "SELECT a FROM t WHERE a IN (7)"),
        ("SELECT 1.5e-3, .5, 10", "SELECT 2, 0.75, 1e9"),
        ("SELECT 1 -- of today", "SELECT 2 /* of\n yesterday */;"),
        ("INSERT INTO t VALUES (1, 'a'), (2, 'b')", "INSERT INTO t VALUES (3, 'c'), (4, 'd')"),
        ("SELECT date '2026-01-01'", "SELECT date '2026-01-02'"),
    ],
)
def test_statements_that_differ_in_literals_are_one(first: str, second: str) -> None:
    """
    The same query of another day takes about as long.
    """
    assert fingerprint(first) == fingerprint(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("RUN JOB `load_1`", "RUN JOB `load_2`"),
        ("RUN JOB `load 1`", "RUN JOB `load 2`"),
        ("RUN JOB load_1", "RUN JOB load_2"),
        ("RUN JOB load-1", "RUN JOB load-2"),
        ("SELECT * FROM t1", "SELECT * FROM t2"),
        ("SELECT * FROM a.b1", "SELECT * FROM a.b2"),
        ("SELECT * FROM 2024_sales", "SELECT * FROM 2025_sales"),
        (
            "RUN SERVICE IN TABLE `t` LAKE='a' DATABASE='d' SERVICE='COMPACT'",
            "RUN SERVICE IN TABLE `t` LAKE='b' DATABASE='d' SERVICE='COMPACT'",
        ),
        ("DESCRIBE JOB_RUN `x` JOB_NAME = 'a'", "DESCRIBE JOB_RUN `x` JOB_NAME = 'b'"),
        ("RUN JOB `a`", "RUN JOB `A`"),
    ],
)
def test_names_are_never_taken_for_literals(first: str, second: str) -> None:
    """
    Two jobs that differ in a digit are two jobs.
    """
    assert fingerprint(first) != fingerprint(second)


def test_what_is_kept_holds_no_literal() -> None:
    """
    A password in a statement must not reach the file, not even as part of a hash.
    """
    text = fingerprint("CREATE SECRET x OPTIONS (password = 'hunter2', pin = 4711)")

    assert text == "CREATE SECRET X OPTIONS ( PASSWORD = ? , PIN = ? )"


@given(st.text(max_size=200))
def test_any_text_has_a_fingerprint(statement: str) -> None:
    """
    What cannot be read as SQL is compared as it is; nothing is raised, and nothing hangs.
    """
    assert fingerprint(statement) == fingerprint(f"  {statement} ")
