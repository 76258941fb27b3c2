"""
Cutting SQL into statements without understanding it, and naming their kind.
"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehouse_tracker.cli._codes import CommandError
from onehouse_tracker.cli._statements import split


def texts(source: str) -> list[str]:
    """The statements in *source*."""
    return [statement.text for statement in split(source)]


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("RUN JOB a", ["RUN JOB a"]),
        ("RUN JOB a;\r\nRUN JOB b;", ["RUN JOB a", "RUN JOB b"]),
        (";;RUN JOB a;;\n;", ["RUN JOB a"]),
        ("SET x = 'a;b' ; SET y = 'it''s;'", ["SET x = 'a;b'", "SET y = 'it''s;'"]),
        ('USE "a;b"; USE `c;d`', ['USE "a;b"', "USE `c;d`"]),
        ('SET x = "say ""a;b"""; USE `c``;`', ['SET x = "say ""a;b"""', "USE `c``;`"]),
        ("RUN JOB a -- why; not\n b; x", ["RUN JOB a -- why; not\n b", "x"]),
        ("SHOW TABLES 'a;b' ; SHOW x\n", ["SHOW TABLES 'a;b'", "SHOW x"]),
        ("SET ü = 'é;😀' ; SET z = 1", ["SET ü = 'é;😀'", "SET z = 1"]),
        ("CREATE X WITH (a = 10_000, b = $c, d @ e # f)", None),
        ("", []),
        ("-- nothing; here\n", []),
        ("RUN JOB a;\n-- the end; don't\n/* it's; over */\n", ["RUN JOB a"]),
        # What stands around a statement may be a hint, or mean something to the server.
        ("-- don't;\n/* more;\n*/ RUN JOB a -- tail", None),
        ("--RUN JOB old;\nRUN JOB a;\n--it's;\nb", ["--RUN JOB old;\nRUN JOB a", "--it's;\nb"]),
        ("/*+ COALESCE(3) */ SELECT 1; SELECT 2", ["/*+ COALESCE(3) */ SELECT 1", "SELECT 2"]),
        ("{# note #}\nSELECT 1; {{ x }}", ["{# note #}\nSELECT 1", "{{ x }}"]),
        (
            "# a note\nSELECT 1;// another\nSELECT 2",
            ["# a note\nSELECT 1", "// another\nSELECT 2"],
        ),
        # Paths, expressions, JSON: full of marks, and read in one way.
        ("COPY 's3://b/x/*.json' ; x", ["COPY 's3://b/x/*.json'", "x"]),
        ("SET a = '--x', b = '/*', c = '#1', d = '$$', e = '{'; y", None),
        (r"SET x = '^\d+\.\w\\'; SET y = 'C:\dir\x'; z", None),
        (r"""SET x = '{"a": "b\";c"}'; y""", None),
        (r"""SET x = "{\"a\": {\"b\": 1}}"; y""", None),
        ("RUN ('--conf', 'a=b') /* it's */; SELECT a - -1, 5 - 3; y", None),
        ("SET x = '{{ var(\"a;b\") }}'; y", None),
        ("SET x = '{{ var('a') }}'; SET y = {{ z }}; w", None),
        ("/* a /* b */ c */ SELECT 1", None),
        # A last semicolon after which nothing comes ends nothing that matters.
        (r"SET x = 'it\'s';" + "\n", [r"SET x = 'it\'s'"]),
        (r"SET x = 'C:\dir\'", None),
        ("LOCATION s3://b/x;\n;", ["LOCATION s3://b/x"]),
    ],
)
def test_statements_are_cut_out_of_the_original_text(
    text: str, statements: list[str] | None
) -> None:
    """
    What is sent is what was written, character by character.
    """
    if statements is None:
        statements = [part.strip() for part in text.split("; ")]
    assert texts(text) == statements


@pytest.mark.parametrize(
    ("text", "line", "yes", "no"),
    [
        (r'SET a;SET b = "x=\"a; c; b\"";', 1, 'escapes the "', "double quotes is a plain"),
        ("a;\n\n" + r"SET a = 'x\'; DROP LAKE \'y'; b", 3, "escapes the '", "single quotes"),
        (r"SET a = 'it\'s'; b", 1, "escapes the '", "the string that begins in line 1 is not"),
        (r"SET a = 'C:\dir\'; b", 1, "the string that begins in line 1 is not closed", "plain"),
        ("USE `a\\`;\nb`; c", 1, "escapes the `", "backticks"),
        (r"a = r'\'; b = 'c'; d", 1, "says whether backslashes escape", "means nothing"),
        (r"a = E'\'; b'; c", 1, "escapes the '", "plain character"),
        (r"a \; b; c", 1, "outside of quotes escapes", "outside of quotes is a plain"),
        ("a;\n/* s3://b/*.json */\nb; c", 2, "end of its own", "ends at the first */"),
        ("a /*+ b; */ c; d", 1, "is part of the statement", "a comment like any other"),
        ("a /*! b;\n */ c; d", 1, "is part of the statement", "a comment like any other"),
        ("/*+ a */; b", 1, "is part of the statement", "is nothing but a comment"),
        ("a # b; c\n; d", 1, "# begins a comment", "# is a plain character"),
        (
            "a;\n# don't\nb; c",
            2,
            "# begins a comment",
            "string that begins in line 2 is not closed",
        ),
        ("a; # the end", 1, "is nothing but a comment", "one statement up to the end"),
        ("LOCATION s3://b/x; c", 1, "// begins a comment", "// are plain"),
        ("a\n --b; c\nd --it's; e\n; f", 3, "two minus signs", "-- begins a comment"),
        ("a $$b; c$$; d", 1, "$$ and $name$ are quotes", "$ is a plain character"),
        ("a $x$b; c$x$; d", 1, "$$ and $name$ are quotes", "$ is a plain character"),
        ("a$$b $$;$$; c", 1, "$", "$"),
        ("a {{ 'b;' }}; {{ c; }} d", 1, "parts of a template", "braces are plain"),
        ("a {# it's #}; b", 1, "parts of a template", "braces are plain"),
        ("{% if a %}; b", 1, "is nothing but a comment", "braces are plain"),
        ("SET x = '{{ a'; b }}'; c", 1, "parts of a template", "braces are plain"),
        ("-- a\rb;\nc", 1, "end at a carriage return", "line feed only"),
        ("-- a\u2028b;\nc", 1, "Unicode line separator", "line feed only"),
        ("-- C:\\dir\\\nb;\nc", 1, "continues in the next", "ends with its line"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(text: str, line: int, yes: str, no: str) -> None:
    """
    A wrong guess would run a statement that nobody wrote; whoever wrote it knows which is right.
    """
    with pytest.raises(CommandError) as caught:
        split(text, "jobs.sql")

    first, *readings, advice = str(caught.value).split("\n")
    assert first == f"jobs.sql, line {line}: this can be read in two ways, so nothing is sent"
    assert len(readings) == 2
    assert yes in readings[0]
    assert no in readings[1]
    assert advice.endswith("Or give each statement as an argument, which is sent as it is.")


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a;\nRUN 'a; b", 2, "the string"),
        ("RUN `a; b", 1, "the name in backticks"),
        ('RUN\n"a', 2, "the text in double quotes"),
        ("RUN\n\n/* a; b", 3, "the comment"),
        ("/* a /* b", 1, "the comment"),
    ],
)
def test_what_is_not_closed_is_refused(text: str, line: int, what: str) -> None:
    """
    Where a string never ends, nobody knows where its statement does.
    """
    with pytest.raises(CommandError) as caught:
        split(text, "jobs.sql")

    assert str(caught.value).startswith(
        f"jobs.sql, line {line}: {what} that begins here is not closed"
    )


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("RUN JOB a;\n\ufeffRUN JOB b;", 2, "U+FEFF, the byte order mark of another file"),
        ("RUN JOB a;\n\u200b", 2, "U+200B, zero width space"),
        ("RUN JOB a;\r\n\x1a", 2, "U+001A, Ctrl-Z"),
        ("RUN\u00adJOB a", 1, "U+00AD, soft hyphen"),
        ("R\0U\0N\0", 1, "NUL character; if the file is UTF-16"),
        ("a;\n-- \0", 2, "NUL character"),
        ("a;\n-- b\u200b", None, ""),
        ("SET x = 'a\u200db' -- \ufeff c", None, ""),
    ],
)
def test_what_nobody_can_see_is_refused_outside_of_quotes(
    text: str, line: int | None, what: str
) -> None:
    """
    It was not written but left over, by an editor or by `cat a.sql b.sql`.
    """
    if line is None:
        split(text)
        return
    with pytest.raises(CommandError, match=rf"jobs\.sql, line {line}: .*{re.escape(what)}"):
        split(text, "jobs.sql")


def test_a_statement_knows_its_line() -> None:
    """
    What the server refuses has to be found in the file.
    """
    found = split("\n-- first\nRUN JOB a;\n\n RUN\n JOB b;c")

    assert found == [
        ("-- first\nRUN JOB a", "the file, line 2"),
        ("RUN\n JOB b", "the file, line 5"),
        ("c", "the file, line 6"),
    ]


def test_comments_within_each_other_do_not_take_for_ever() -> None:
    """
    A file may be anything: what nobody writes must not stop the command.
    """
    with pytest.raises(CommandError, match="is not closed"):
        split("/* " * 20_000)


_PIECES = st.lists(
    st.sampled_from(["RUN", "'a;b'", "'it''s'", '"q;"', "`n;`", "x", "=", "1.5", "(", ")", ","]),
    min_size=1,
    max_size=6,
).map(" ".join)


@given(
    statements=st.lists(_PIECES, max_size=6), gap=st.sampled_from([";", " ;\n", ";;\t", ";\r\n;"])
)
def test_joined_statements_come_apart_again(statements: list[str], gap: str) -> None:
    """
    Whatever the statements are made of, only the semicolons between them count.
    """
    assert texts(gap.join(statements)) == statements
