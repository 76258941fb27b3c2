"""
The file: what is on disk when a write returns, who may read it, and what it looks like.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onehouse_tracker import errors
from onehouse_tracker.errors import JournalLockedError
from onehouse_tracker.journal import (
    Accepted,
    Acknowledged,
    Added,
    Entry,
    Intended,
    JournalReader,
    ResultEntry,
    Settled,
    SqliteJournal,
    _schema,
)
from onehouse_tracker.journal import _rows as rows
from onehouse_tracker.journal._columns import RESULT_COLUMNS, Column
from onehouse_tracker.journal._schema import _STEPS, VERSION
from onehouse_tracker.models import Outcome, Request, Result
from tests.journal.files import NOON, added, opened, recorded, state


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal will be."""
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    """A journal that is open for writing."""
    with closing(opened(path)) as journal:
        yield journal


def test_write_reaches_the_disk_before_it_returns(journal: SqliteJournal, path: Path) -> None:
    """
    Write-ahead log and a full sync at each commit: that is what survives a power cut.
    """
    journal.write([added("a"), recorded("b")])

    assert state(path) == {"a": "pending", "b": "recorded"}
    connection = journal._connection
    assert connection is not None
    assert not connection.in_transaction
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA fullfsync").fetchone() == (1,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.skipif(sys.platform == "win32", reason="modes are a matter of POSIX")
def test_only_the_owner_may_read_any_of_its_files(tmp_path: Path) -> None:
    """
    Responses may hold secrets, and the write-ahead log holds what the file does.
    """
    before = os.umask(0)
    try:
        with closing(opened(tmp_path / "journal.db")) as journal:
            journal.write([added("a")])
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    finally:
        os.umask(before)

    assert modes == dict.fromkeys(
        ("journal.db", "journal.db-wal", "journal.db-shm", "journal.db-lock"), 0o600
    )


@pytest.mark.skipif(sys.platform == "win32", reason="modes are a matter of POSIX")
def test_file_that_others_may_read_is_closed_to_them(path: Path) -> None:
    """
    A file that was copied or created by hand gets the same protection.
    """
    opened(path).close()
    path.chmod(0o644)

    with closing(opened(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_but_the_file_and_its_lock_is_left_by_closing(
    journal: SqliteJournal, path: Path
) -> None:
    """
    A journal at rest is one file that can be copied.
    """
    journal.write([added("a")])
    journal.close()
    journal.close()

    assert {file.name for file in path.parent.iterdir()} == {path.name, f"{path.name}-lock"}
    assert state(path) == {"a": "pending"}


def test_adding_answers_with_what_is_known_already(journal: SqliteJournal) -> None:
    """
    A later wait is answered without a poll, also out of the same batch.
    """
    journal.write([added("old"), recorded("old", Outcome.FAILED)])

    found = journal.write([added("old"), added("new"), recorded("now"), added("now")])

    assert {key: result.outcome for key, result in found.items()} == {
        "old": Outcome.FAILED,
        "now": Outcome.SUCCEEDED,
    }
    assert journal.write([added("new")]) == {}


def test_known_results_are_found_among_thousands(journal: SqliteJournal) -> None:
    """
    More IDs than one statement may have parameters.
    """
    ids = [f"id-{number}" for number in range(2500)]
    journal.write([recorded(request_id) for request_id in ids[::2]])

    found = journal.write([added(request_id) for request_id in ids])

    assert set(found) == set(ids[::2])


def test_first_outcome_stands(journal: SqliteJournal) -> None:
    """
    What is final does not change, whatever a second look brings.
    """
    journal.write([recorded("a", Outcome.FAILED)])
    journal.write([recorded("a", Outcome.SUCCEEDED)])

    assert journal.write([added("a")])["a"].outcome is Outcome.FAILED


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome.finished])
def test_only_the_servers_own_word_is_final(
    journal: SqliteJournal, path: Path, outcome: Outcome
) -> None:
    """
    What we concluded may have been our own mistake: who asks again gets a new answer.
    """
    journal.write([recorded("a", outcome)])

    if outcome.final:
        assert journal.write([added("a")])["a"].outcome is outcome
        assert [item.request_id for item in journal.unacknowledged(0, 9)] == ["a"]
        assert journal.pending(0, 9) == []
        return
    assert journal.unacknowledged(0, 9) == []
    assert [(item.request_id, item.result) for item in journal.pending(0, 9)] == [("a", None)]
    assert journal.write([added("a")]) == {}
    assert state(path) == {"a": "pending"}
    journal.write([recorded("a")])
    assert journal.write([added("a")])["a"].ok


def test_a_conclusion_that_arrived_is_not_resumed(journal: SqliteJournal, path: Path) -> None:
    """
    Its owner knows, and can wait for it again; what is concluded next has to arrive again.
    """
    journal.write([recorded("a", Outcome.REJECTED)])
    journal.write([Acknowledged(("a",), NOON)])
    assert journal.pending(0, 9) == []
    assert state(path) == {"a": "acknowledged"}

    journal.write([added("a")])
    assert [item.request_id for item in journal.pending(0, 9)] == ["a"]
    journal.write([recorded("a")])
    assert state(path) == {"a": "recorded"}


def test_one_batch_keeps_the_order_of_what_happened_to_one_request(
    journal: SqliteJournal, path: Path
) -> None:
    """
    The disk was slow: what one waiter was done with, another one asks for anew.
    """
    journal.write([added("a")])
    journal.write([recorded("a", Outcome.NOT_FOUND), Acknowledged(("a",), NOON), added("a")])

    assert state(path) == {"a": "pending"}

    journal.write([Acknowledged(("a",), NOON), recorded("a")])
    assert state(path) == {"a": "recorded"}


def test_a_slow_reader_does_not_make_the_file_grow(
    journal: SqliteJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Somebody reads one line and goes to lunch: the writer can tidy up all the same.
    """
    monkeypatch.setattr("onehouse_tracker.journal._reader._PIECE", 10)
    journal.write([added(f"early-{number}") for number in range(30)])
    items = JournalReader(path).requests()
    seen = [next(items).request.request_id]

    for number in range(300):
        journal.write([added(f"late-{number}", "x" * 20_000)])
    wal = path.with_name(f"{path.name}-wal").stat().st_size

    assert wal < 6_000_000  # it begins anew every 4 MB, unless somebody reads what is in it
    seen += [item.request.request_id for item in items]
    assert seen == [f"early-{number}" for number in range(30)] + [
        f"late-{number}" for number in range(300)
    ]


def test_label_and_age_are_completed_and_never_overwritten(
    journal: SqliteJournal, path: Path
) -> None:
    """
    A second wait may know more about a request; the first one's word counts.
    """
    journal.write([added("a")])
    journal.write([Added(Request("a", label="first", submitted_at=NOON), NOON)])
    journal.write([Added(Request("a", label="second", submitted_at=NOON + timedelta(1)), NOON)])

    (item,) = JournalReader(path).requests()
    assert item.request == Request("a", label="first", submitted_at=NOON)


def test_only_results_can_be_acknowledged(journal: SqliteJournal, path: Path) -> None:
    """
    A pending request stays with those that `resume` goes on with.
    """
    journal.write([added("a"), recorded("b"), Acknowledged(("a", "b", "unheard of"), NOON)])

    assert state(path) == {"a": "pending", "b": "acknowledged"}
    assert [item.request_id for item in journal.pending(0, 10)] == ["a"]
    assert journal.unacknowledged(0, 10) == []


def test_chunks_follow_each_other_without_gaps(journal: SqliteJournal) -> None:
    """
    A million requests are read piece by piece.
    """
    ids = [f"id-{number}" for number in range(7)]
    journal.write([added(request_id) for request_id in ids])
    journal.write([recorded(ids[3])])

    seen, after = [], 0
    while chunk := journal.pending(after, 2):
        seen += [item.request_id for item in chunk]
        after = chunk[-1].number

    assert seen == [*ids[:3], *ids[4:]]
    assert [item.result for item in journal.unacknowledged(0, 2)] == [recorded(ids[3]).result]


def test_batch_is_written_wholly_or_not_at_all(journal: SqliteJournal, path: Path) -> None:
    """
    A failure in the middle of a batch leaves no half of it.
    """
    connection = journal._connection
    assert connection is not None
    connection.execute(
        "CREATE TEMP TRIGGER fail BEFORE UPDATE OF outcome ON requests"
        " BEGIN SELECT raise(FAIL, 'no'); END"
    )

    with pytest.raises(errors.JournalWriteError, match=r"journal\.db: no"):
        journal.write([added("a"), recorded("a")])

    assert state(path) == {}
    connection.execute("DROP TRIGGER fail")
    journal.write([added("a")])
    assert state(path) == {"a": "pending"}


def test_everything_is_text_that_a_person_can_read(journal: SqliteJournal, path: Path) -> None:
    """
    Any SQLite shell shows what happened, with words and ISO times.
    """
    result = Result(
        request_id="a",
        outcome=Outcome.REJECTED,
        label="RUN JOB",
        status=None,
        response={"key": ["value", 1]},
        error=errors.RejectedError("no", request_id="a", http_status=409),
        polls=2,
        first_polled_at=NOON,
        detected_at=NOON + timedelta(seconds=3),
        waited=3.0,
    )
    journal.write([Added(Request("a", label="RUN JOB"), NOON), ResultEntry(result, NOON)])

    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        row = dict(connection.execute("SELECT * FROM requests").fetchone())
    assert row == {
        "number": 1,
        "request_id": "a",
        "label": "RUN JOB",
        "submitted_at": None,
        "added_at": "2026-01-01T12:00:00+00:00",
        "outcome": "REJECTED",
        "status": None,
        "response": '{"key": ["value", 1]}',
        "error": (
            '{"type": "RejectedError", "reason": "no", "http_status": 409, "grpc_status": null}'
        ),
        "polls": 2,
        "first_polled_at": "2026-01-01T12:00:00+00:00",
        "detected_at": "2026-01-01T12:00:03+00:00",
        "waited_s": 3.0,
        "delay_bound_s": None,
        "recorded_at": "2026-01-01T12:00:00+00:00",
        "acknowledged_at": None,
        "response_note": None,
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
RESULTS = st.builds(
    Result,
    request_id=st.text("abc-é", min_size=1),
    outcome=st.sampled_from([outcome for outcome in Outcome if outcome.finished]),
    label=st.none() | st.text("xyz ä"),
    status=st.none() | st.text("STATUS ß"),
    response=st.none() | st.dictionaries(st.text(), JSON),
    error=st.none(),
    polls=st.integers(0, 10**6),
    first_polled_at=st.none() | st.datetimes(timezones=st.just(NOON.tzinfo)),
    detected_at=st.none() | st.datetimes(timezones=st.just(NOON.tzinfo)),
    waited=st.floats(0, 1e9),
    delay_bound=st.none() | st.floats(0, 1e9),
)


@given(RESULTS)
def test_results_come_back_as_they_were(result: Result) -> None:
    """
    A result that is delivered tomorrow is the one that was known today.
    """
    row = rows.result_row(ResultEntry(result, NOON), keep_response=True)
    request_id, label, added_at = row[:3]

    read = rows.journalled((1, request_id, label, None, added_at, *row[5:]))

    assert read.result == result


@pytest.mark.parametrize(
    "error",
    [
        errors.RejectedError("no", request_id="a", http_status=409, grpc_status=10),
        errors.NotFoundError("gone", request_id="a", http_status=404),
        errors.UnauthorizedError("who", request_id="a", http_status=403),
        errors.ThrottledError("slow", request_id="a", retry_after=2.0),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_come_back_as_they_were(
    journal: SqliteJournal, path: Path, error: errors.StatusError
) -> None:
    """
    Why it ended is part of how it ended.
    """
    result = Result(request_id="a", outcome=Outcome.REJECTED, error=error)
    journal.write([ResultEntry(result, NOON)])

    read = SqliteJournal.read(path)["a"].error

    assert read is not None
    assert type(read) is type(error)
    assert str(read) == str(error)
    assert (read.http_status, read.grpc_status) == (error.http_status, error.grpc_status)


def test_error_of_an_unknown_class_is_still_an_error(journal: SqliteJournal, path: Path) -> None:
    """
    A source of the user's own may raise a subclass that nobody can find again; and no name
    in the file makes us call something that is no error of a status.
    """

    class OwnError(errors.RejectedError):
        pass

    journal.write(
        [ResultEntry(Result(request_id="a", outcome=Outcome.REJECTED, error=OwnError("x")), NOON)]
    )
    assert journal._connection is not None
    journal.write([recorded("b")])
    journal._connection.execute(
        """UPDATE requests SET error = '{"type": "ConfigError"}' WHERE request_id = 'b'"""
    )

    found = SqliteJournal.read(path)

    assert type(found["a"].error) is errors.StatusError
    assert str(found["a"].error) == "request a: x"
    assert type(found["b"].error) is errors.StatusError


class Odd(dict[str, object]):
    """A mapping with something in it that refers to itself."""


def circular() -> dict[str, object]:
    """A response that no JSON can tell."""
    response: dict[str, object] = {}
    response["itself"] = response
    return response


@pytest.mark.parametrize(
    ("response", "kept", "note"),
    [
        ({"half": "\ud800"}, {"half": "\ud800"}, None),
        ({"when": NOON}, {"when": str(NOON)}, None),
        ({"deep": Odd(a=1)}, {"deep": {"a": 1}}, None),
        (circular(), None, "not kept, it is no JSON: ValueError"),
        ({(1, 2): 3}, None, "not kept, it is no JSON: TypeError"),
    ],
)
def test_odd_responses_keep_nothing_off_the_disk(
    journal: SqliteJournal, path: Path, response: dict[str, object], kept: object, note: str
) -> None:
    """
    What cannot be told in JSON is noted; the outcome, and the others in the batch, are kept.
    """
    result = Result(request_id="a", outcome=Outcome.SUCCEEDED, response=response)
    journal.write([ResultEntry(result, NOON), recorded("b")])

    assert SqliteJournal.read(path)["a"].response == kept
    assert SqliteJournal.read(path)["b"].ok
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT response_note FROM requests WHERE request_id = 'a'"
        assert connection.execute(query).fetchone() == (note,)


def test_strange_words_do_not_keep_anything_off_the_disk(
    journal: SqliteJournal, path: Path
) -> None:
    """
    Half a character in a label, a status or a reason is no UTF-8, and SQLite takes no other.
    """
    result = replace(recorded("a").result, label="\udc80", status="S\ud800")
    journal.write([ResultEntry(result, NOON), Settled("k", "unknown", "\ud800", NOON)])

    assert SqliteJournal.read(path)["a"].status == "S\\ud800"


def test_responses_stay_off_the_disk_if_they_should(path: Path) -> None:
    """
    Payloads may be what must not be written down: not in the file, not in its log.
    """
    journal = SqliteJournal(path, store_responses=False)
    journal.open()
    result = replace(recorded("a").result, response={"token": "hunter2-hunter2"})
    journal.write([ResultEntry(result, NOON)])

    assert SqliteJournal.read(path)["a"].response is None
    for file in path.parent.iterdir():
        assert b"hunter2" not in file.read_bytes()
    journal.close()


# --- one writer ------------------------------------------------------------------------


def test_second_writer_in_the_process_is_refused(journal: SqliteJournal, path: Path) -> None:
    """
    Two writers would deliver each other's results; the file says who has it.
    """
    with pytest.raises(
        JournalLockedError, match=rf"process {os.getpid()} on .* writes to it"
    ) as e:
        opened(path)

    assert str(path) in str(e.value)
    journal.write([added("a")])
    journal.close()
    opened(path).close()


def test_second_writer_through_a_link_is_refused(
    journal: SqliteJournal, path: Path, tmp_path: Path
) -> None:
    """
    Two names of one file are one journal, with one lock and one writer.
    """
    link = tmp_path / "link.db"
    link.symlink_to(path)

    with pytest.raises(JournalLockedError, match="writes to it"):
        opened(link)

    assert SqliteJournal(link).name == journal.name == str(path)


def test_second_process_is_refused_and_can_read(journal: SqliteJournal, path: Path) -> None:
    """
    Another process is told the file and the writer, and may look into it all the same.
    """
    journal.write([added("a"), recorded("b")])

    def in_another_process(code: str) -> str:
        program = f"from onehouse_tracker.journal import *\n{code}"
        done = subprocess.run(
            [sys.executable, "-c", program, str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    assert "JournalLockedError" in in_another_process(
        "import sys; SqliteJournal(sys.argv[1]).open()"
    )
    assert in_another_process(
        "import sys; print([item.state for item in JournalReader(sys.argv[1]).requests()])"
    ).strip() == str(["pending", "recorded"])


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_copying_the_files_does_not_drop_the_lock(
    journal: SqliteJournal, path: Path, tmp_path: Path
) -> None:
    """
    A process loses the locks that it has on a file when it closes that file once, elsewhere.
    """
    lock = path.with_name(f"{path.name}-lock")
    for number in range(2):
        shutil.copy(lock, tmp_path / f"copy-{number}")
        with pytest.raises(JournalLockedError):  # which may not drop it either
            SqliteJournal(path).open()

    program = f"""
from onehouse_tracker import SqliteJournal
from onehouse_tracker.errors import JournalLockedError
try:
    SqliteJournal({str(path)!r}).open()
except JournalLockedError as error:
    print("refused", error)
"""
    run = [sys.executable, "-c", program]
    first = subprocess.run(run, capture_output=True, text=True, check=True)
    assert first.stdout.startswith("refused")
    assert f"process {os.getpid()}" in first.stdout
    journal.close()
    second = subprocess.run(run, capture_output=True, text=True, check=True)
    assert second.stdout == ""


def test_child_after_fork_does_not_inherit_the_lock(path: Path) -> None:
    """
    A worker that outlives its killed parent must not keep the next run out.
    """
    program = """
import os, sys, time
from onehouse_tracker.journal import SqliteJournal
journal = SqliteJournal(sys.argv[1])
journal.open()
child = os.fork()
if child == 0:
    time.sleep(60)
print(child, flush=True)
os._exit(9)  # as good as killed: nothing is closed
"""
    done = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert done.stdout is not None
    child = int(done.stdout.readline())
    try:
        assert done.wait() == 9
        opened(path).close()
    finally:
        os.kill(child, 9)
        done.stdout.close()


# --- versions --------------------------------------------------------------------------


def old_file(path: Path) -> None:
    """A file of version 1, as the first release wrote it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(
            """
            CREATE TABLE requests (
                number INTEGER PRIMARY KEY, request_id TEXT NOT NULL UNIQUE, label TEXT,
                submitted_at TEXT, added_at TEXT NOT NULL, outcome TEXT, status TEXT,
                response TEXT, error TEXT, polls INTEGER, first_polled_at TEXT,
                detected_at TEXT, waited_s REAL, delay_bound_s REAL, recorded_at TEXT,
                acknowledged_at TEXT
            );
            CREATE TABLE writer (
                started_at TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL
            );
            INSERT INTO requests (request_id, added_at)
            VALUES ('a', '2026-01-01T12:00:00+00:00');
            INSERT INTO requests (request_id, added_at, outcome, polls, waited_s)
            VALUES ('b', '2026-01-01T12:00:00+00:00', 'SUCCEEDED', 3, 2.5);
            PRAGMA application_id = 0x6F685472;
            PRAGMA user_version = 1;
            """
        )


def test_older_file_is_brought_up_to_date(path: Path) -> None:
    """
    What an older version left is delivered by the new one.
    """
    old_file(path)

    with closing(opened(path)) as journal:
        assert [item.request_id for item in journal.pending(0, 9)] == ["a"]
        assert [item.request_id for item in journal.unacknowledged(0, 9)] == ["b"]
        journal.write([Intended("k", "RUN JOB x", None, NOON)])
        assert journal._connection is not None
        assert journal._connection.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_older_file_can_be_read_as_it_is(path: Path) -> None:
    """
    Looking at a file does not change it.
    """
    old_file(path)
    before = path.read_bytes()

    assert SqliteJournal.read(path)["b"].waited == 2.5
    assert list(JournalReader(path).statements()) == []
    assert path.read_bytes() == before


def test_newer_file_is_not_touched(path: Path) -> None:
    """
    A version that we do not know may mean anything.
    """
    old_file(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()

    with pytest.raises(errors.JournalVersionError, match="Update onehouse-tracker"):
        opened(path)
    with pytest.raises(errors.JournalVersionError, match="Update onehouse-tracker"):
        SqliteJournal.read(path)

    assert path.read_bytes() == before


def test_a_column_of_a_result_is_in_the_tables_that_the_steps_make() -> None:
    """
    Statements and rows are made from the columns, so nothing else would notice.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        _schema.migrate(connection, 0)
        made = {row[1]: row[2] for row in connection.execute("PRAGMA table_info (requests)")}

    assert {column.name: made.get(column.name) for column in RESULT_COLUMNS} == {
        column.name: column.sql_type for column in RESULT_COLUMNS
    }
    assert {column.field for column in RESULT_COLUMNS} == {
        field.name for field in dataclasses.fields(Result)
    } - {"request_id", "label"}


def test_a_new_column_comes_with_its_version(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An older file gets it when it is opened, and nobody writes a step by hand.
    """
    new = Column("bytes", "INTEGER", "bytes", int, int, since=VERSION + 1)
    old_file(path)
    monkeypatch.setattr(_schema, "RESULT_COLUMNS", (*RESULT_COLUMNS, new))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        _schema.migrate(connection, 1, until=VERSION + 1)
        columns = {row[1]: row[2] for row in connection.execute("PRAGMA table_info (requests)")}

    assert columns["bytes"] == "INTEGER"


@pytest.mark.parametrize(
    ("word", "what", "advice"),
    [
        ("CANCELED", "a newer version", "Update onehouse-tracker"),
        ("UNRECOGNISED", "an older version", "begin anew"),  # codespell:ignore
    ],
)
def test_an_outcome_that_we_do_not_know_tells_the_version(
    path: Path, word: str, what: str, advice: str
) -> None:
    """
    The next word of the server is no reason to blame somebody's editor.
    """
    with closing(opened(path)) as journal:
        journal.write([added("a"), recorded("a")])
        edit(path, word)
        match = f"{what}.*{word}.*{advice}"
        with pytest.raises(errors.JournalVersionError, match=match) as caught:
            journal.unacknowledged(0, 9)
        with pytest.raises(errors.JournalVersionError):
            journal.write([added("a")])
    with pytest.raises(errors.JournalVersionError, match="it was left as it is"):
        list(JournalReader(path).requests())

    assert caught.value.path == str(path)


def edit(path: Path, outcome: str) -> None:
    """Give all requests another outcome."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE requests SET outcome = ?", [outcome])


def test_migration_that_fails_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Half a migration would be a file of no version.
    """
    old_file(path)
    steps = (_STEPS[0], ("CREATE TABLE statements (number)", "CREATE TABLE statements (number)"))
    monkeypatch.setattr("onehouse_tracker.journal._schema._STEPS", steps)

    with pytest.raises(errors.JournalWriteError, match="already exists"):
        opened(path)

    monkeypatch.undo()
    with closing(opened(path)) as journal:
        assert len(journal.pending(0, 9)) == 1


# --- statements ------------------------------------------------------------------------


def test_statements_go_from_intent_to_fate(journal: SqliteJournal, path: Path) -> None:
    """
    Each ends as what is known about it, and an answer that came stands.
    """
    entries: list[Entry] = [
        Intended(key, f"RUN JOB {key}", "nightly", NOON) for key in ("a", "b", "c", "d")
    ]
    entries += [
        Accepted("a", Request("id-a", label="nightly", submitted_at=NOON), NOON),
        Settled("b", "refused", "syntax", NOON),
        Settled("c", "unknown", "reset", NOON),
        Settled("a", "unknown", "too late", NOON),
    ]
    journal.write(entries)

    read = list(JournalReader(path).statements())
    assert [(item.state, item.request_id, item.reason) for item in read] == [
        ("accepted", "id-a", None),
        ("refused", None, "syntax"),
        ("unknown", None, "reset"),
        ("sending", None, None),
    ]
    assert [item.fate_unknown for item in read] == [False, False, True, True]
    assert state(path) == {"id-a": "pending"}


@pytest.mark.parametrize("at_once", [True, False])
def test_statement_may_be_sent_again_after_a_refusal_for_its_rate(
    journal: SqliteJournal, path: Path, *, at_once: bool
) -> None:
    """
    While it waits nothing of it is on the wire; once it is, the file says so again.
    """
    again: list[Entry] = [
        Settled("a", "unsent", "rate", NOON),
        Intended("a", "RUN JOB x", None, NOON),
    ]
    journal.write([Intended("a", "RUN JOB x", None, NOON)])
    for entries in [again] if at_once else [[entry] for entry in again]:
        journal.write(entries)
    (item,) = JournalReader(path).statements()
    assert (item.state, item.reason) == ("sending", None)

    for fate in ("refused", "unknown"):
        journal.write([Settled("a", fate, "end", NOON)])
        journal.write([Intended("a", "RUN JOB x", None, NOON)])
        (item,) = JournalReader(path).statements()
        assert (item.state, item.reason) == ("refused", "end")


def test_statement_that_a_crash_interrupted_is_of_unknown_fate(path: Path) -> None:
    """
    Said once by the run that finds it, and listed for good.
    """
    with closing(opened(path)) as journal:
        journal.write([Intended("a", "RUN JOB x", None, NOON)])

    with closing(SqliteJournal(path)) as journal:
        assert journal.open() == 1
    with closing(SqliteJournal(path)) as journal:
        assert journal.open() == 0

    (item,) = JournalReader(path).statements()
    assert item.state == "unknown"
    assert item.reason == "the process ended before it wrote the answer down"


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("run job nightly", "RUN JOB"),
        ("  CREATE\n  CLUSTER x TYPE = 'a'", "CREATE CLUSTER"),
        ("SHOW TABLES", "SHOW TABLES"),
        ("SHOW TABLES;", "SHOW TABLES"),
        ("-- password hunter2", None),
        ("SET 'hunter2'", "SET"),
        ("SELECT hunter2", "SELECT"),
    ],
)
def test_text_of_a_statement_stays_off_the_disk(
    journal: SqliteJournal, path: Path, statement: str, kind: str | None
) -> None:
    """
    It may hold secrets: its hash, and the words that name its kind, tell it apart.
    """
    journal.write([Intended("k", statement, None, NOON)])

    (item,) = JournalReader(path).statements()
    assert item.kind == kind
    assert item.statement is None
    assert len(item.sha256) == 64
    for file in path.parent.iterdir():
        assert b"hunter2" not in file.read_bytes()
    assert "hunter2" not in repr(Intended("k", statement, None, NOON))


def test_text_of_a_statement_is_kept_if_it_should_be(path: Path) -> None:
    """
    Whoever has no secrets in statements may want to read them again.
    """
    journal = SqliteJournal(path, store_statements=True)
    journal.open()
    journal.write([Intended("k", "RUN JOB \ud800", None, NOON)])
    journal.close()

    (item,) = JournalReader(path).statements()
    assert item.statement == "RUN JOB \\ud800"
