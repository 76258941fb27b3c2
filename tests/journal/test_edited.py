"""
A journal that somebody edited, or planted: told as such, never a traceback, never without an end.
"""

# ruff: noqa: S608, ISC004 - statements of the test's own, on files of its own

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from onehouse_tracker.errors import JournalCorruptError, JournalLockedError, StatusError
from onehouse_tracker.journal import Intended, JournalReader, ResultEntry, SqliteJournal
from onehouse_tracker.models import Outcome, Result
from onehouse_tracker.report import write_report
from onehouse_tracker.testing import SimulatedProject, SimulatorServer
from tests.cli.harness import run as command
from tests.journal.files import NOON, added, opened, recorded

DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000
DEEP_ENOUGH = '{"a":' * 300 + "1" + "}" * 300
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal with a request that is pending, one that has ended, and a statement."""
    path = tmp_path / "journal.db"
    with closing(opened(path)) as journal:
        journal.write([added("pending"), recorded("ended"), Intended("k", "RUN JOB x", "L", NOON)])
    return path


def edit(path: Path, *statements: str, values: Sequence[object] = ()) -> None:
    """Change the file as somebody with a shell would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            connection.execute(statement, values)


def look(path: Path) -> None:
    """Read all of it, in every way in which we do."""
    reader = JournalReader(path)
    list(reader.requests())
    list(reader.statements())
    reader.writer()
    write_report(path.with_name("report.html"), reader)


def follow(path: Path) -> None:
    """Open it, and read all of it as a tracker does that goes on from it."""
    with closing(opened(path)) as journal:
        journal.write([added("ended"), recorded("ended")])
        journal.unacknowledged(0, 9)
        journal.pending(0, 9)
        journal.last_number()


# Table, column, and what stands there.
VALUES: list[tuple[str, str, object]] = [
    ("requests", "response", "[1]"),
    ("requests", "response", "1"),
    ("requests", "response", "null"),
    ("requests", "response", "{"),
    ("requests", "response", DEEP),
    ("requests", "response", DEEP_ENOUGH),
    ("requests", "response", '{"a":' + "9" * 5_000 + "}"),
    ("requests", "response", b"\xff\x00"),
    ("requests", "error", "[]"),
    ("requests", "error", '"text"'),
    ("requests", "error", DEEP),
    ("requests", "error", '{"reason": 5}'),
    ("requests", "error", '{"http_status": "200"}'),
    ("requests", "error", '{"http_status": [1]}'),
    ("requests", "error", '{"grpc_status": {}}'),
    ("requests", "error", '{"http_status": 1e400}'),
    ("requests", "outcome", "fine"),
    ("requests", "outcome", b"FAILED"),
    ("requests", "outcome", 7),
    ("requests", "status", b"\xff"),
    ("requests", "polls", None),
    ("requests", "polls", "many"),
    ("requests", "polls", -1),
    ("requests", "polls", 1.5),
    ("requests", "waited_s", None),
    ("requests", "waited_s", "long"),
    ("requests", "waited_s", "9e999"),
    ("requests", "waited_s", 9e999),
    ("requests", "waited_s", -1.0),
    ("requests", "delay_bound_s", b"1"),
    ("requests", "delay_bound_s", 9e999),
    ("requests", "added_at", ""),
    ("requests", "added_at", 5),
    ("requests", "added_at", b"2026-01-01T00:00:00+00:00"),
    ("requests", "added_at", "2026-01-01T00:00:00"),
    ("requests", "added_at", "0001-01-01T00:00:00+23:59"),
    ("requests", "added_at", "9999-12-31T23:59:59-23:59"),
    ("requests", "submitted_at", "yesterday"),
    ("requests", "first_polled_at", 1e300),
    ("requests", "detected_at", "2026-13-01T00:00:00+00:00"),
    ("requests", "label", b"L"),
    ("requests", "request_id", ""),
    ("requests", "request_id", b"ended"),
    ("requests", "request_id", "a\nb"),
    ("requests", "request_id", "x" * 300),
    ("statements", "state", "fine"),
    ("statements", "state", b"sending"),
    ("statements", "label", b"L"),
    ("statements", "kind", b"RUN JOB"),
    ("statements", "sha256", ""),
    ("statements", "sha256", "\x1b[2J"),
    ("statements", "statement", b"\xff"),
    ("statements", "intended_at", "soon"),
    ("statements", "request_id", "a\x00b"),
    ("statements", "reason", b"\xff"),
    ("writer", "pid", "somebody"),
    ("writer", "host", b"\xff"),
    ("writer", "started_at", "then"),
]


@pytest.mark.parametrize(("table", "column", "value"), VALUES)
def test_a_value_that_we_would_not_have_written_is_told(
    path: Path, table: str, column: str, value: object
) -> None:
    """
    It came from another hand, so nothing in the file is taken for what we knew.
    """
    where = " WHERE outcome IS NOT NULL" if table == "requests" else ""
    edit(path, f"UPDATE {table} SET {column} = ?{where}", values=[value])

    with pytest.raises(JournalCorruptError, match=r"journal\.db: a row does not make sense"):
        look(path)
    if table == "requests" and column != "request_id":  # of statements only the reader reads
        with pytest.raises(JournalCorruptError, match="a row does not make sense"):
            follow(path)


@pytest.mark.parametrize("column", ["label", "response"])
def test_text_that_is_none_is_told_without_it(path: Path, column: str) -> None:
    """
    Python's complaint quotes it, and it may be a secret.
    """
    edit(path, f"UPDATE requests SET {column} = CAST(x'733363726574ff' AS TEXT)")

    for use in (look, follow):
        with pytest.raises(JournalCorruptError) as caught:
            use(path)
        assert "s3cret" not in str(caught.value)


SCHEMAS = {
    "a view without an end": (
        "DROP TABLE requests",
        f"CREATE VIEW requests AS {ENDLESS} SELECT x AS number, 'r' || x AS request_id, NULL AS"
        " label, NULL AS submitted_at, '2026-01-01T00:00:00+00:00' AS added_at, NULL AS outcome,"
        " NULL AS status, NULL AS response, NULL AS error, NULL AS polls, NULL AS"
        " first_polled_at, NULL AS detected_at, NULL AS waited_s, NULL AS delay_bound_s, NULL AS"
        " acknowledged_at FROM n",
    ),
    "a view that never begins": (
        "DROP TABLE writer",
        f"CREATE VIEW writer AS {ENDLESS} SELECT x AS pid, 'h' AS host, '' AS started_at FROM n"
        " WHERE x < 0",
    ),
    "a column that is computed": ("ALTER TABLE requests ADD COLUMN y AS (zeroblob(1000000000))",),
    "a trigger": ("CREATE TRIGGER t AFTER INSERT ON requests BEGIN DELETE FROM statements; END",),
    "a condition": (
        "UPDATE sqlite_schema SET sql = replace(sql, 'label TEXT', 'label TEXT CHECK (0)')"
        " WHERE name = 'requests'",
    ),
    "an index of another hand": (
        "CREATE INDEX odd ON requests (hex(zeroblob(length(label) * 1000000)))",
    ),
    "a table less": ("DROP TABLE statements",),
    "a column less": ("ALTER TABLE requests DROP COLUMN response_note",),
    "a table of another make": (
        "CREATE VIRTUAL TABLE IF NOT EXISTS temp.f USING fts5(x)",
        "DROP TABLE writer",
        "CREATE VIRTUAL TABLE writer USING fts5(started_at, host, pid)",
    ),
    "a version below all": ("PRAGMA user_version = -1",),
    "a version that it is not": ("PRAGMA user_version = 1",),
    "no version": ("PRAGMA user_version = 0",),
}


@pytest.mark.parametrize("statements", SCHEMAS.values(), ids=SCHEMAS)
def test_tables_that_we_did_not_make_are_not_read(path: Path, statements: Sequence[str]) -> None:
    """
    A view may never end, a trigger may do anything: only tables of ours are used.
    """
    edit(path, *statements)

    for use in (look, follow):
        with pytest.raises(JournalCorruptError, match="its tables are not those"):
            use(path)


def test_what_does_not_concern_us_may_be_in_the_file(path: Path) -> None:
    """
    Somebody's own view is theirs, and is never touched.
    """
    edit(
        path,
        f"CREATE VIEW mine AS {ENDLESS} SELECT x FROM n",
        "CREATE TABLE notes (x)",
        "DROP INDEX requests_pending",
        "ANALYZE",
        "VACUUM",
    )

    look(path)
    follow(path)


def test_numbers_that_go_in_a_circle_end(path: Path) -> None:
    """
    Pages that lead back to each other have no end; whoever goes on behind the last would not.
    """
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    with closing(opened(path)) as journal:
        journal.write([added(f"id-{number}", "L" * 200) for number in range(2_000)])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        root = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'requests'"
        ).fetchone()[0]
    content = bytearray(path.read_bytes())
    page = memoryview(content)[(root - 1) * size : root * size]
    assert page[0] == 5  # an interior page of a table: all its children become the first one
    cells = [int.from_bytes(page[12 + 2 * n : 14 + 2 * n], "big") for n in range(page[4])]
    first = bytes(page[cells[0] : cells[0] + 4])
    for cell in cells:
        page[cell : cell + 4] = first
    page.release()
    path.write_bytes(content)

    with pytest.raises(JournalCorruptError, match="a row does not make sense"):
        list(JournalReader(path).requests())


def test_who_holds_it_is_not_asked_of_a_view(path: Path) -> None:
    """
    The error of who finds a journal locked must not hang either.
    """
    with closing(opened(path)):
        edit(path, *SCHEMAS["a view that never begins"])
        with pytest.raises(JournalLockedError, match="another tracker writes to it"):
            opened(path)


# --- As the command meets it -------------------------------------------------------------


@pytest.mark.parametrize(
    ("statements", "arguments"),
    [
        (["UPDATE requests SET response = '[1]'"], "wait ended --timeout 5 --journal"),
        (["UPDATE requests SET response = '[1]'"], "resume --journal"),
        ([f"UPDATE requests SET response = '{DEEP}'"], "journal"),
        (["UPDATE requests SET error = '[]'"], "report"),
        (SCHEMAS["a view without an end"], "journal"),
        (SCHEMAS["a trigger"], "wait pending --timeout 5 --journal"),
    ],
    ids=["wait", "resume", "journal", "report", "endless", "trigger"],
)
async def test_the_command_says_so_and_ends_with_2(
    path: Path, statements: Sequence[str], arguments: str
) -> None:
    """
    A wait went past its deadline with one such answer, and others ended in tracebacks.
    """
    edit(path, *statements)
    async with SimulatorServer(SimulatedProject()) as server:
        ended = await command(*arguments.split(), str(path), variables=server.environment())

    assert ended.code == 2
    assert "Traceback" not in ended.err
    assert f"journal {path}: " in ended.err
    assert "Was it edited by hand?" in ended.err


# --- What we write ourselves -------------------------------------------------------------


def test_what_a_source_of_the_users_own_brings_does_not_spoil_the_journal(tmp_path: Path) -> None:
    """
    A journal that its own writer could not read any more would keep all results from everybody.
    """
    odd = StatusError(reason=5, http_status=-7, grpc_status="text")  # type: ignore[arg-type]
    deep: dict[str, object] = {}
    for _ in range(400):
        deep = {"a": deep}
    path = tmp_path / "journal.db"
    with closing(opened(path)) as journal:
        for name, changes in [("deep", {"response": deep}), ("odd", {"error": odd})]:
            result = Result(request_id=name, outcome=Outcome.FAILED, **changes)  # type: ignore[arg-type]
            journal.write([ResultEntry(result, NOON)])

    results = SqliteJournal.read(path)
    assert results["deep"].response is None
    assert results["odd"].reason == "5"
