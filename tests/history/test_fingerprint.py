"""
Which statements count as the same.
"""

from __future__ import annotations

import time
import tracemalloc

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
        ("SELECT * FROM t WHERE name = 'alice'", "SELECT * FROM t WHERE name = 'bob'"),
        ("WITH x AS (SELECT 1) SELECT type='a'", "WITH x AS (SELECT 2) SELECT type='b'"),
        ("UPDATE t SET name = 'alice'", "UPDATE t SET name = 'bob'"),
        ("DELETE FROM t WHERE type = 'a'", "DELETE FROM t WHERE type = 'b'"),
        ("CREATE TABLE t AS SELECT type = 'a'", "CREATE TABLE t AS SELECT type = 'b'"),
        ("SELECT 10L, 1.5D, 3BD", "SELECT 11L, 2.5D, 4BD"),
        ("SELECT 0x1F", "SELECT 0x2F"),
        ("CANCEL JOB_RUN `x` JOB_NAME='n'", "cancel job_run `x` job_name /* of */ = 'n'"),
        ("SELECT a = 'it\\'s of 1", "SELECT a = 'the end is missing"),
        ("SHOW TABLES /* of today", "SHOW TABLES /* of yesterday"),
        ("SELECT a FROM t WHERE d > current_date-1", "SELECT a FROM t WHERE d > current_date - 7"),
        ("SELECT c/100 FROM t", "SELECT c / 200 FROM t"),
        ("CREATE TABLE t AS SELECT c-1 FROM u", "CREATE TABLE t AS SELECT c-2 FROM u"),
        ("DELETE FROM t WHERE d < current_date-1", "DELETE FROM t WHERE d < current_date-7"),
        ("SELECT a FROM t WHERE a = -1", "SELECT a FROM t WHERE a=1"),
        ("SELECT a FROM t WHERE a IN (-1, 2, - 3)", "SELECT a FROM t WHERE a IN (1)"),
        ("SELECT a FROM t WHERE a BETWEEN -1 AND +1", "SELECT a FROM t WHERE a BETWEEN 1 AND 2"),
        (r"SELECT r'\' FROM t", r"SELECT R'\d' FROM t"),
        (r'SELECT r"\" FROM t', """SELECT r"it's" FROM t"""),
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
        ("RUN JOB 'load_1'", "RUN JOB 'load_2'"),
        ('RUN JOB "load_1"', 'RUN JOB "load_2"'),
        ("RUN JOB -- the first\n'load_1'", "RUN JOB -- the first\n'load_2'"),
        ("CREATE AND RUN JOB 'load_1'", "CREATE AND RUN JOB 'load_2'"),
        ("SHOW RUNS IN JOB 'load_1'", "SHOW RUNS IN JOB 'load_2'"),
        ("RUN JOB 2026-01", "RUN JOB 2026-02"),
        ("RUN JOB load#1", "RUN JOB load#2"),
        ("SHOW RUNS IN TABLE_SERVICE TABLE='a'", "SHOW RUNS IN TABLE_SERVICE TABLE='b'"),
        ("DELETE TABLE `t` LAKE = 'a'", "DELETE TABLE `t` LAKE = 'b'"),
        ("RUN JOB `? , ?`", "RUN JOB `?`"),
        (r"SELECT replace(x, r'\', '/') FROM load_1", r"SELECT replace(x, r'\', '/') FROM load_2"),
        (r"""SELECT replace(x, R"\", '') FROM a1""", r"""SELECT replace(x, R"\", '') FROM a2"""),
        ("SELECT a FROM load-1", "SELECT a FROM load-2"),
        ("SELECT a FROM t JOIN d.load-1 u", "SELECT a FROM t JOIN d.load-2 u"),
        ("INSERT INTO load-1 SELECT 1", "INSERT INTO load-2 SELECT 1"),
        ("INSERT INTO TABLE load-1 SELECT 1", "INSERT INTO TABLE load-2 SELECT 1"),
        ("start load-1", "start load-2"),
        ("load-1", "load-2"),
        ("CREATE JOB x-1", "CREATE JOB x-2"),
        ("SELECT a - 1 FROM t", "SELECT a + 1 FROM t"),
        ("SELECT f(a) -1 FROM t", "SELECT f(a), 1 FROM t"),
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


_PIECES = [
    "RUN JOB",
    "select",
    "r'",
    "-",
    "a-1",
    "\ud800",
    "name",
    "=",
    "'",
    '"',
    "`",
    "\\",
    "--",
    "/*",
    "*/",
    "1",
    ".",
    " ",
]


@given(st.text(max_size=200) | st.lists(st.sampled_from(_PIECES)).map("".join))
def test_any_text_has_a_fingerprint(statement: str) -> None:
    """
    What cannot be read as SQL is compared as it is; nothing is raised, and nothing hangs.
    """
    assert fingerprint(statement) == fingerprint(f"  {statement} ")


_REPEATED = [
    *("'", "\\'", "it\\'s ", "''", '"', '\\"', '""', "`", "``", "\\", "x'"),
    *("/*", "*/", "/* ", "--", "-", "\n", " ", "=", "name=", "job "),
    *("1", "1_", "1.", "1e", "1,", "0x", ".", "a", "a.", "a-", "a-1.", "= -1", "a "),
]


@pytest.mark.parametrize(
    "beginning",
    ["", "RUN JOB ", "SELECT ", "SELECT a-1.", "JOB_NAME='", "r'", "'", '"', "`", "/*", "1"],
)
def test_no_statement_takes_long(beginning: str) -> None:
    """
    Its fingerprint is made on the event loop, so time must not grow with the square of its length.

    It takes a hundredth of a second here, and several seconds where it does grow so.
    """
    for piece in _REPEATED:
        statement = beginning + piece * (50_000 // len(piece)) + "x"
        started = time.process_time()
        fingerprint(statement)
        assert time.process_time() - started < 0.5, piece


@pytest.mark.parametrize("piece", ["x", "it''s ", "\\n", "''", "x y "])
@pytest.mark.parametrize("quote", ["'", '"', "`", "r'", "/*", "--"])
def test_a_long_literal_costs_little_more_than_itself(quote: str, piece: str) -> None:
    """
    A statement that the server accepted must not fail for the memory of its fingerprint.
    """
    statement = f"SELECT {quote}" + piece * (1_000_000 // len(piece))
    tracemalloc.start()
    try:
        fingerprint(statement)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 6 * len(statement)
