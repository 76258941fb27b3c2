"""
Cutting SQL into statements without understanding it, and naming their kind.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehouse_tracker.cli._codes import CommandError
from onehouse_tracker.cli._statements import label_of, split


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("RUN JOB a", ["RUN JOB a"]),
        ("RUN JOB a;\r\nRUN JOB b;", ["RUN JOB a", "RUN JOB b"]),
        (";;RUN JOB a;;\n;", ["RUN JOB a"]),
        ("SET x = 'a;b' ; SET y = 'it''s;'", ["SET x = 'a;b'", "SET y = 'it''s;'"]),
        ('USE "a;b"; USE `c;d`', ['USE "a;b"', "USE `c;d`"]),
        ("RUN JOB a -- why; not\n b; x", ["RUN JOB a -- why; not\n b", "x"]),
        ("-- head;\n/* more;\n*/ RUN JOB a -- tail;", ["RUN JOB a"]),
        ("RUN /* a /* nested; */ ; */ JOB b", ["RUN /* a /* nested; */ ; */ JOB b"]),
        ("SELECT /*+ hint; */ 1; SELECT 2", ["SELECT /*+ hint; */ 1", "SELECT 2"]),
        ("SHOW TABLES 'a;b' ; SHOW x\n", ["SHOW TABLES 'a;b'", "SHOW x"]),
        (r"SET x = 'it\'s; so'; SET y = 1", [r"SET x = 'it\'s; so'", "SET y = 1"]),
        (r"SET x = 'C:\dir\'; SET y = 1", [r"SET x = 'C:\dir\'", "SET y = 1"]),
        (r"SET x = 'a\.b'; SET y = 1", [r"SET x = 'a\.b'", "SET y = 1"]),
        ("SET ü = 'é;😀' ; SET z = 1", ["SET ü = 'é;😀'", "SET z = 1"]),
        ("CREATE X WITH (a = 10_000, b = $c, d @ e # f)", None),
        ("", []),
        ("-- nothing; here\n", []),
    ],
)
def test_statements_are_cut_out_of_the_original_text(
    text: str, statements: list[str] | None
) -> None:
    """
    What is sent is what was written, character by character.
    """
    assert split(text) == ([text] if statements is None else statements)


@pytest.mark.parametrize("text", ["RUN 'a; b", "RUN `a; b", 'RUN "a', "RUN /* a; b"])
def test_what_is_not_closed_is_refused(text: str) -> None:
    """
    Where a string never ends, nobody knows where its statement does.
    """
    with pytest.raises(CommandError, match=r"jobs\.sql: .* is not closed"):
        split(text, "jobs.sql")


def test_what_can_be_read_in_two_ways_is_refused() -> None:
    """
    A wrong guess would run a statement that nobody wrote.
    """
    with pytest.raises(CommandError, match="two ways"):
        split(r"SET a = 'x\'; DROP LAKE \'y'; SET b = 1")


_PIECES = st.lists(
    st.sampled_from(["RUN", "'a;b'", "'it''s'", '"q;"', "`n;`", "x", "=", "1.5", "(", ")", ","]),
    min_size=1,
    max_size=6,
).map(" ".join)


@given(
    statements=st.lists(_PIECES, max_size=6), gap=st.sampled_from([";", " ;\n", ";;\t", ";--;\n"])
)
def test_joined_statements_come_apart_again(statements: list[str], gap: str) -> None:
    """
    Whatever the statements are made of, only the semicolons between them count.
    """
    assert split(gap.join(statements)) == statements


@pytest.mark.parametrize(
    ("statement", "label"),
    [
        ("RUN JOB nightly", "RUN JOB"),
        ("run job nightly", "RUN JOB"),
        ("SHOW", "SHOW"),
        ("-- note\n  DESCRIBE /* x */ JOB_RUN 'a'", "DESCRIBE JOB_RUN"),
        ("CREATE API TOKEN 'a'", "CREATE API TOKEN"),
        ("SELECT 1", "SELECT"),
        ("(SELECT 1)", None),
        ("", None),
    ],
)
def test_the_leading_words_are_the_label(statement: str, label: str | None) -> None:
    """
    Requests with one label take about equally long; names of jobs and lakes are no part of it.
    """
    assert label_of(statement) == label
