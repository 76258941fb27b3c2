"""
``onehouse-tracker submit`` sends what is written in a file, or nothing of it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onehouse_tracker.testing.server import SimulatorServer
from onehouse_tracker.testing.simulated_project import SimulatedProject
from onehouse_tracker.testing.statements import Kind
from tests.cli.harness import run
from tests.cli.test_submit import bodies

FAST = ("--limit", "1000")
PLAIN = b"RUN JOB before;\n"

REAL = r"""-- Nightly: don't change; ask the data team first
--RUN JOB old;
/* Paths:
   it's s3://bucket/raw; not s3://bucket/tmp */
CREATE LAKE `main` TYPE = 'MANAGED' PATH = 's3://bucket/lake/*.parquet';

CREATE AND RUN JOB `o'brien; report` TYPE='PYTHON'
  PARAMETERS=('s3://bucket/x.py', '--name', 'O''Brien; Sons', '--since={{ ds }}')
  CLUSTER='c'; RUN JOB `nightly`; -- it's the last of these
/*+ PRIORITY(2) */ ALTER FLOW `f` SET STATE = PAUSE -- a tail; here
;
SET pattern = '^\d+\.\w+;$', json = '{"a": "say \"hi; there\""}', "odd ""name;"" x" = 1;
DESCRIBE JOB_RUN `1b2c` JOB_NAME = 'é 日本 😀'
-- the end; that's all
"""
SENT = [
    (
        "-- Nightly: don't change; ask the data team first\n--RUN JOB old;\n/* Paths:\n   it's"
        " s3://bucket/raw; not s3://bucket/tmp */\nCREATE LAKE `main` TYPE = 'MANAGED' PATH ="
        " 's3://bucket/lake/*.parquet'"
    ),
    (
        "CREATE AND RUN JOB `o'brien; report` TYPE='PYTHON'\n  PARAMETERS=('s3://bucket/x.py',"
        " '--name', 'O''Brien; Sons', '--since={{ ds }}')\n  CLUSTER='c'"
    ),
    "RUN JOB `nightly`",
    (
        "-- it's the last of these\n/*+ PRIORITY(2) */ ALTER FLOW `f` SET STATE = PAUSE"
        " -- a tail; here"
    ),
    r"""SET pattern = '^\d+\.\w+;$', json = '{"a": "say \"hi; there\""}', "odd ""name;"" x" = 1""",
    "DESCRIBE JOB_RUN `1b2c` JOB_NAME = 'é 日本 😀'\n-- the end; that's all",
]


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
async def test_a_file_of_sql_is_sent_byte_for_byte(ends: str, tmp_path: Path) -> None:
    """
    Hints and comments may mean something to the server, and what is sent runs.
    """
    sql = tmp_path / "jobs.sql"
    sql.write_bytes(("\ufeff" + REAL.replace("\n", ends)).encode())
    async with SimulatorServer(SimulatedProject(kinds=[Kind(label="", duration=0)])) as server:
        ended = await run("submit", "--from", str(sql), *FAST, variables=server.environment())

    assert (ended.code, ended.err) == (0, "")
    assert bodies(server) == [text.replace("\n", ends) for text in SENT]
    labels = [line.partition("\t")[2] for line in ended.out.splitlines()]
    assert labels[:4] == ["CREATE LAKE", "CREATE AND", "RUN JOB", "ALTER FLOW"]


@pytest.mark.parametrize(
    ("content", "line", "told"),
    [
        (
            rb'RUN JOB j PARAMETERS = ("x=\"a; DELETE CLUSTER c; b\""); RUN JOB k;',
            2,
            (
                (
                    'if a backslash escapes the " after it, what begins in line 2 is a'
                    " statement that ends in line 2"
                    ' with ...ETERS = ("x=\\"a; DELETE CLUSTER c; b\\"");\n'
                ),
                (
                    "if a backslash in double quotes is a plain character, what begins in line 2"
                    ' is a statement that ends in line 2 with RUN JOB j PARAMETERS = ("x=\\"a;\n'
                ),
            ),
        ),
        (b"RUN JOB a;\n/* s3://b/*.json */\nRUN JOB b;", 3, ("ends at the first */",)),
        (b"RUN JOB a; {# don't #}\nRUN JOB b; c", 2, ("if braces are plain characters, ",)),
        (b'RUN JOB a;\n\nRUN JOB "b;', 4, ("the text in double quotes that begins here",)),
        (b"RUN JOB '\xe9';", 2, ("not UTF-8 (byte 0xe9): save the file as UTF-8",)),
        ("RUN JOB a;\n\ufeffRUN JOB b;".encode(), 3, ("U+FEFF, the byte order mark of another",)),
        ("RUN JOB a;\n\u200b\n".encode(), 3, ("U+200B, zero width space",)),
        (b"RUN JOB a;\r\n\x1a", 3, ("U+001A, Ctrl-Z",)),
        ("RUN JOB a;".encode("utf-16-le"), 2, ("a NUL character; if the file is UTF-16",)),
    ],
)
async def test_what_is_not_sure_is_refused_as_a_whole(
    content: bytes, line: int, told: tuple[str, ...], tmp_path: Path
) -> None:
    """
    Exit code 2 with the file and the line, and not even the statements before it are sent.
    """
    sql = tmp_path / "jobs.sql"
    sql.write_bytes(PLAIN + content)
    async with SimulatorServer() as server:
        ended = await run(
            *("submit", "SHOW A", "--from", str(sql), "--keep-going"),
            variables=server.environment(),
        )

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {sql}, line {line}: ")
    for words in told:
        assert words in ended.err
    assert server.seen == []


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        (os.fsdecode(b"RUN JOB '\xe9'"), "bytes that are not Unicode text in it (character 10)"),
        ("\ufeffRUN JOB a", "cannot begin with an invisible character (U+FEFF)"),
        ("RUN JOB a; \u200b", "cannot end with an invisible character (U+200B)"),
        (" ; ", "cannot be empty"),
    ],
)
async def test_an_argument_that_is_no_statement_is_refused(argument: str, told: str) -> None:
    """
    Before anything is sent, though it may be the last of many.
    """
    async with SimulatorServer() as server:
        ended = await run("submit", "SHOW A", argument, variables=server.environment())

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: argument 2: a statement ")
    assert told in ended.err
    assert server.seen == []


async def test_a_label_that_is_no_text_is_refused() -> None:
    """
    It could be neither printed nor written down, which would be noticed too late.
    """
    async with SimulatorServer() as server:
        label = os.fsdecode(b"\xe9")
        ended = await run("submit", "SHOW A", "--label", label, variables=server.environment())

    assert (ended.code, ended.out, ended.err) == (2, "", "error: a label is text in Unicode\n")
    assert server.seen == []


async def test_what_the_server_refuses_is_named_by_its_line(tmp_path: Path) -> None:
    """
    The third of forty statements is found by its line, not by its number.
    """
    sql = tmp_path / "jobs.sql"
    sql.write_text("SHOW A;\n\n-- wrong\nSYNTAX ERROR;\n")
    async with SimulatorServer() as server:
        ended = await run("submit", "--from", str(sql), *FAST, variables=server.environment())

    assert ended.code == 1
    assert ended.err.startswith(
        f"error: statement 2 (SYNTAX ERROR, {sql}, line 3) was not accepted: HTTP 400: "
    )
